"""What the command needs to start: the benchmark of it runs, and what is not needed is not imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import confnet
from benchmarks import startup
from benchmarks.measuring import Setting
from confnet.cli import commands
from confnet.cli.lazy import LazyGroup

ROOT = Path(__file__).parents[1]
TINY = Setting(repetitions=1, tiny=True)


def test_the_benchmark_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is compiled already: compiling everything anew takes longer than all the rest."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    monkeypatch.setattr(startup, "_environment", lambda folder: variables)
    starting, growing = startup.tables(TINY)
    assert [row.cells[1] for row in starting.rows] == [startup.BASE, "right", "a definition and code", "3 mistakes"]
    assert [row.cells[0] for row in growing.rows] == ["10", "20"]
    assert growing.remarks == []
    assert all(int(row.cells[3]) < startup.MEMORY for row in growing.rows)


def test_its_files_are_of_the_size_that_is_said() -> None:
    model = confnet.build(confnet.loads(startup.plain(150)), device="meta")
    assert len(list(model.children())) == 150
    layers = list(confnet.build(confnet.loads(startup.composed(150)), device="meta").modules())
    assert 148 <= sum(not list(m.children()) for m in layers) <= 150
    wrong = startup.plain(150, startup._CONV.replace("kernel_size", "kernal_size"))
    assert len(confnet.validate(confnet.loads(wrong)).diagnostics) == 50


def test_a_run_that_ends_otherwise_than_it_should_is_no_measurement(tmp_path: Path) -> None:
    variables = startup._environment(tmp_path)
    assert startup._cost([sys.executable, "-c", "import confnet"], variables, 0) > 0
    assert list((tmp_path / "compiled").rglob("confnet/__init__*.pyc"))
    with pytest.raises(RuntimeError, match="ended with 3"):
        startup._cost([sys.executable, "-c", "raise SystemExit(3)"], variables, 0)


def test_a_command_is_imported_when_it_is_called() -> None:
    code = (
        "import sys\n"
        "from confnet.cli import commands\n"
        "try:\n"
        "    commands(['validate', '--no-shapes', 'examples/mlp.yaml'], standalone_mode=False)\n"
        "finally:\n"
        "    print([name for name in sys.modules if name.startswith('confnet.cli.')])\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert "confnet.cli.build" not in shown
    assert "confnet.cli.catalog" not in shown
    assert shown.startswith("examples/mlp.yaml: ok (without torch)\n")


def test_every_later_command_is_there() -> None:
    assert isinstance(commands, LazyGroup)
    context = click.Context(commands)
    for name in commands.later:
        command = commands.get_command(context, name)
        assert command is not None
        assert command.name == name
    assert set(commands.later) < set(commands.list_commands(context))
    assert "validate" in commands.list_commands(context)
    result = CliRunner().invoke(commands, ["no-such-command"])
    assert result.exit_code == 2
    help = CliRunner().invoke(commands, ["--help"]).output
    assert all(f"\n  {name} " in help for name in commands.list_commands(context))
