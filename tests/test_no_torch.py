"""What is imported when: torch takes two seconds, so nothing loads it before it is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "pydantic", "yaml", "rich", "numpy")

WRONG = """\
confnet: 1
Sequential:
- Conv2d: {in_channels: 1, kernal_size: 5, out_channels: 6}
"""

RIGHT = """\
confnet: 1
args: {width: 8}
children: {fc: {Linear: [$width, 2]}}
forward: return torch.relu(fc(x))
"""


def loaded(code: str, *arguments: str) -> tuple[set[str], int, str]:
    """Which heavy packages a process has loaded after `code`, with the code it exits with and what it printed."""
    script = (
        "import atexit, sys\n"
        f"atexit.register(lambda: sys.stderr.write('loaded: ' + ' '.join(m for m in {HEAVY} if m in sys.modules)))\n"
        f"{code}\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    before, mark, names = result.stderr.rpartition("loaded: ")
    assert mark, result.stderr
    assert before == "", before
    return set(names.split()), result.returncode, result.stdout


def command_line(*arguments: str) -> tuple[set[str], int, str]:
    return loaded("from confnet.cli import main; main()", *arguments)


def test_the_check_can_fail() -> None:
    assert "torch" in loaded("import torch")[0]


def test_importing_confnet_loads_nothing_heavy() -> None:
    assert loaded("import confnet; confnet.__version__; dir(confnet)") == (set(), 0, "")


@pytest.mark.parametrize("name", ["validate", "load", "register", "ConfnetError", "Report", "Spec"])
def test_public_names_do_not_load_torch(name: str) -> None:
    packages, code, _ = loaded(f"from confnet import {name}")
    assert (code, "torch" in packages) == (0, False)


@pytest.mark.parametrize("arguments", [("--help",), ("validate", "--help"), ("show", "--help"), ("--version",)])
def test_help_loads_click_alone(arguments: tuple[str, ...]) -> None:
    packages, code, output = command_line(*arguments)
    assert (packages, code) == (set(), 0)
    assert output


@pytest.mark.parametrize("arguments", [("validate",), ("show",)])
def test_a_wrong_file_is_told_without_torch(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(WRONG)
    packages, code, output = command_line(*arguments, str(path))
    assert code == 1
    assert "error[unknown-argument]: `Conv2d` has no argument `kernal_size`" in output
    assert "torch" not in packages
    assert "pydantic" in packages  # the file was read and checked, not refused at the door


def test_without_shapes_torch_is_not_needed(tmp_path: Path) -> None:
    path = tmp_path / "right.yaml"
    path.write_text(f"{RIGHT}variants: {{a: {{width: 3}}, b: {{}}}}\n")
    packages, code, output = command_line("validate", "--no-shapes", str(path))
    assert (code, output) == (0, f"{path}: ok (without torch)\n")
    assert "torch" not in packages
    packages, code, output = command_line("validate", "--no-shapes", "--format", "json", str(path))
    assert json.loads(output) == {"ok": True, "diagnostics": [], "torch": False}
    assert "torch" not in packages


def test_parameters_are_counted_without_shapes(tmp_path: Path) -> None:
    path = tmp_path / "right.yaml"
    path.write_text(RIGHT)
    packages, code, output = command_line("validate", "--no-shapes", "--max-parameters", "5", str(path))
    assert code == 1
    assert "error[too-many-parameters]" in output
    assert "torch" in packages
    packages, code, output = command_line("validate", "--no-shapes", "--max-parameters", "5000", str(path))
    assert (code, output) == (0, f"{path}: ok\n")


def test_a_wrong_set_is_told_without_torch(tmp_path: Path) -> None:
    path = tmp_path / "right.yaml"
    path.write_text("confnet: 1\nargs: {width: int}\nSequential: [{Linear: [$width, 2]}]\n")
    packages, code, output = command_line("validate", str(path), "--set", "widht=3")
    assert (code, "torch" in packages) == (1, False)
    assert "widht" in output


def test_public_names_stay_what_they_are() -> None:
    """Python sets `confnet.build` to the subpackage when that is imported, were nothing done about it."""
    code = (
        "import confnet\n"
        "before = {name: getattr(confnet, name) for name in confnet.__all__}\n"
        "confnet.build(confnet.loads('confnet: 1\\nReLU: {}\\n'))\n"
        "after = {name: getattr(confnet, name) for name in confnet.__all__}\n"
        "print([name for name in confnet.__all__ if after[name] is not before[name]])\n"
    )
    packages, exit_code, output = loaded(code)
    assert "torch" in packages
    assert (exit_code, output) == (0, "[]\n")
