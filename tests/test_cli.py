"""The command line: what it prints, and the code it exits with."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from torch import nn

import confnet
from confnet.builder.outline import outline, parameter_totals
from confnet.cli import commands

ROOT = Path(__file__).parents[1]

GOOD = """\
confnet: 1
args: {width: 4, depth: 1, bias: true}
variants: {wide: {width: 16}}
modules:
  Head:
    Sequential: [{Linear: [3, 2]}]
Sequential:
  first: {Linear: {in_features: $width, out_features: 3, bias: $bias}}
  act: ReLU
"""
BAD = GOOD.replace("in_features", "in_featurs")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a good and a bad file."""
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(BAD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(commands, arguments, prog_name="confnet")


def process(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own, where `main` has the last word on exit codes."""
    command = [sys.executable, "-m", "confnet", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": ""}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, **options)  # type: ignore[call-overload,no-any-return]


# --- validate -------------------------------------------------------------------------------------------------------


def test_a_good_file(folder: Path) -> None:
    result = run("validate", "good.yaml")
    assert (result.exit_code, result.output) == (0, "good.yaml: ok\n")


def test_quiet_prints_nothing_for_a_good_file(folder: Path) -> None:
    result = run("validate", "--quiet", "good.yaml")
    assert (result.exit_code, result.output) == (0, "")


def test_a_bad_file(folder: Path) -> None:
    result = run("validate", "--quiet", "bad.yaml")
    assert result.exit_code == 1
    assert result.stderr == ""
    assert result.stdout == (
        "error[unknown-argument]: `Linear` has no argument `in_featurs`\n"
        " --> bad.yaml:8:20\n"
        "  |\n"
        "8 |   first: {Linear: {in_featurs: $width, out_features: 3, bias: $bias}}\n"
        "  |                    ^^^^^^^^^^\n"
        "  = help: did you mean `in_features`?\n"
        "\n"
        "1 error in 1 file\n"
    )


def test_several_files_are_all_checked(folder: Path) -> None:
    result = run("validate", "bad.yaml", "good.yaml", "good.yaml", "absent.yaml")
    assert result.exit_code == 1
    assert result.output.endswith("does not exist\n\ngood.yaml: ok\n2 errors in 3 files\n")
    assert "error[unknown-argument]" in result.output
    assert "error[unreadable-file]: `absent.yaml` does not exist" in result.output


def test_a_broken_include_is_reported_once(folder: Path) -> None:
    (folder / "blocks.yaml").write_text("confnet: 1\nmodules:\n  Block:\n    Sequential: [{Linaer: [1, 2]}]\n")
    for name in ("a.yaml", "b.yaml"):
        (folder / name).write_text("confnet: 1\ninclude: [blocks.yaml]\nSequential: [Block]\n")
    result = run("validate", "a.yaml", "b.yaml")
    assert result.exit_code == 1
    assert result.output.count("error[unknown-layer]") == 1


def test_json_is_one_document_for_several_files(folder: Path) -> None:
    result = run("validate", "--format", "json", "good.yaml", "bad.yaml")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["ok"] is False
    (diagnostic,) = document["diagnostics"]
    assert diagnostic["code"] == "unknown-argument"
    assert diagnostic["span"] == {"file": "bad.yaml", "line": 8, "column": 20, "end_line": 8, "end_column": 30}


def test_json_of_a_good_file(folder: Path) -> None:
    result = run("validate", "--format", "json", "good.yaml")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"ok": True, "diagnostics": []})


# --- which files ----------------------------------------------------------------------------------------------------


@pytest.fixture
def models(folder: Path) -> Path:
    """A folder with files of ours, of others, and of nobody."""
    texts = {
        "models/b.yaml": GOOD,
        "models/a.yml": f"# a comment\n{GOOD}",
        "models/deep/c.YAML": BAD,
        "models/flow.yaml": "{confnet: 1, Sequential: [ReLU]}\n",
        "models/quoted.yaml": '"confnet": 1\nSequential: [ReLU]\n',
        "models/marked.yaml": "\ufeffconfnet: 1\nSequential: [ReLU]\n",
        "models/other.yaml": "steps:\n  confnet: 1\nconfnetwork: 2\n",
        "models/notes.txt": BAD,
        "models/.hidden/d.yaml": BAD,
        "others/a.yaml": "on: push\n",
        "others/b.yml": "x: 'confnet: 1'\n",
    }
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_a_folder_means_its_confnet_files(models: Path) -> None:
    result = run("validate", "models")
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout.splitlines()[1] == " --> models/deep/c.YAML:8:20"
    assert result.stdout.endswith(
        "\n\nmodels/a.yml: ok\nmodels/b.yaml: ok\nmodels/flow.yaml: ok\nmodels/marked.yaml: ok\n"
        "models/quoted.yaml: ok\n1 error in 6 files\n"
    )


def test_a_file_is_read_whatever_it_holds(models: Path) -> None:
    result = run("validate", "models/other.yaml")
    assert result.exit_code == 1
    assert "error[unknown-key]" in result.output


def test_a_pattern(models: Path) -> None:
    result = run("validate", "models/[ab].*")
    assert (result.exit_code, result.output) == (0, "models/a.yml: ok\nmodels/b.yaml: ok\nno errors in 2 files\n")
    result = run("validate", "models/**/[ac].*")
    assert result.output.endswith("models/a.yml: ok\n1 error in 2 files\n")


def test_a_name_with_brackets_is_no_pattern(folder: Path) -> None:
    (folder / "a[1].yaml").write_text(GOOD)
    assert run("validate", "a[1].yaml").output == "a[1].yaml: ok\n"


def test_a_pattern_that_matches_nothing_is_an_error(folder: Path) -> None:
    result = run("validate", "*.yml")
    assert result.exit_code == 1
    assert "error[unreadable-file]: `*.yml` does not exist" in result.output


def test_a_file_named_twice_is_read_once(models: Path) -> None:
    (models / "link.yaml").symlink_to("models/b.yaml")
    result = run(
        "validate", "models/b.yaml", "./models/b.yaml", "link.yaml", "models/[b].yaml", str(models / "models/b.yaml")
    )
    assert (result.exit_code, result.output) == (0, "models/b.yaml: ok\n")


def test_a_folder_without_confnet_files_is_told(models: Path) -> None:
    (models / "empty").mkdir()
    result = run("validate", "others", "empty", "good.yaml")
    assert (result.exit_code, result.stdout) == (0, "good.yaml: ok\n")
    assert result.stderr == (
        "note: no file with the key `confnet` in others: 2 other YAML files\n"
        "note: no file with the key `confnet` in empty\n"
    )
    assert run("validate", "--quiet", "others", "good.yaml").output == ""
    alone = run("validate", "--quiet", "others")
    assert (alone.exit_code, alone.stdout) == (0, "")
    assert alone.stderr.startswith("note: no file")  # a check of nothing is not passed over in silence


@pytest.mark.parametrize("command", ["validate", "show"])
def test_standard_input(folder: Path, command: str) -> None:
    result = CliRunner().invoke(commands, [command, "-"], input=GOOD)
    assert result.exit_code == 0, result.output
    assert ("Linear(4, 3)" in result.output) if command == "show" else (result.output == "<stdin>: ok\n")
    result = CliRunner().invoke(commands, [command, "-"], input=BAD)
    assert result.exit_code == 1
    assert " --> <stdin>:8:20\n" in result.output


def test_standard_input_with_an_include(folder: Path) -> None:
    result = CliRunner().invoke(commands, ["validate", "-", "good.yaml"], input="confnet: 1\ninclude: [good.yaml]\n")
    assert result.exit_code == 1
    assert "error[include-without-folder]" in result.output


def test_standard_input_that_is_no_text(folder: Path) -> None:
    result = CliRunner().invoke(commands, ["validate", "-"], input=b"confnet: 1\nname: R\xe9\n")
    assert result.exit_code == 1
    assert "error[invalid-character]" in result.output


# --- formats --------------------------------------------------------------------------------------------------------


def test_sarif_format(models: Path) -> None:
    result = run("validate", "--format", "sarif", "models", "good.yaml")
    assert (result.exit_code, result.stderr) == (1, "")
    (log,) = json.loads(result.stdout)["runs"]
    (found,) = log["results"]
    assert found["ruleId"] == "unknown-argument"
    assert found["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": "models/deep/c.YAML"}
    (rule,) = log["tool"]["driver"]["rules"]
    assert rule["help"]["markdown"].startswith("# unknown-argument\n")
    assert log["tool"]["driver"]["version"] == confnet.__version__
    fine = run("validate", "--format", "sarif", "good.yaml")
    assert (fine.exit_code, json.loads(fine.stdout)["runs"][0]["results"]) == (0, [])


def test_github_format(folder: Path) -> None:
    result = run("validate", "--format", "github", "good.yaml", "bad.yaml")
    assert result.exit_code == 1
    assert result.stdout == (
        "::error file=bad.yaml,line=8,col=20,endLine=8,endColumn=30,title=confnet unknown-argument"
        "::`Linear` has no argument `in_featurs`%0Ahelp: did you mean `in_features`?\n"
        "good.yaml: ok\n"
        "1 error in 2 files\n"
    )
    assert run("validate", "--format", "github", "--quiet", "good.yaml").output == ""


@pytest.mark.parametrize("form", ["text", "json", "sarif", "github"])
def test_reports_are_the_same_each_time(models: Path, form: str) -> None:
    first, second = (run("validate", "--format", form, "models", "bad.yaml").output for _ in range(2))
    assert first == second


@pytest.mark.parametrize("form", ["sarif", "github"])
def test_show_has_tables_and_no_reports(folder: Path, form: str) -> None:
    result = run("show", "good.yaml", "--format", form)
    assert result.exit_code == 2
    assert "is not one of 'text', 'json', 'markdown'" in " ".join(result.stderr.split())


# --- options --------------------------------------------------------------------------------------------------------


def features(*arguments: str) -> str:
    """The first layer of the good file as `show` prints it."""
    result = run("show", "good.yaml", "--repr", *arguments)
    assert result.exit_code == 0, result.output
    found = re.search(r"\(first\): (.*)", result.output)
    assert found
    return found[1]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "Linear(in_features=4, out_features=3, bias=True)"),
        (("--set", "width=7"), "Linear(in_features=7, out_features=3, bias=True)"),
        (("--set", "width=7", "--set", "bias=false"), "Linear(in_features=7, out_features=3, bias=False)"),
        (("--variant", "wide"), "Linear(in_features=16, out_features=3, bias=True)"),
        (("--variant", "wide", "--set", "width=7"), "Linear(in_features=7, out_features=3, bias=True)"),
    ],
)
def test_set_and_variant(folder: Path, arguments: tuple[str, ...], expected: str) -> None:
    assert features(*arguments) == expected


def test_root(folder: Path) -> None:
    result = run("show", "good.yaml", "--repr", "--root", "Head")
    assert result.output.split() == [
        *("8", "Head(", "8", "(0):", "Linear(in_features=3,", "out_features=2,", "bias=True)", ")"),
        *("8", "parameters:", "8", "trainable,", "0", "frozen"),
    ]


def test_set_takes_flow_values(folder: Path) -> None:
    (folder / "list.yaml").write_text(
        "confnet: 1\nargs:\n  sizes: list[int]\nSequential:\n- Linear: ['$(sizes[0])', '$(sizes[1])']\n"
    )
    result = run("show", "list.yaml", "--repr", "--set", "sizes=[5, 6]")
    assert "Linear(in_features=5, out_features=6, bias=True)" in result.output


def test_a_set_value_of_the_wrong_type_is_a_diagnostic(folder: Path) -> None:
    result = run("validate", "good.yaml", "--set", "width=wide")
    assert result.exit_code == 1
    assert "error[invalid-type]" in result.output


@pytest.mark.parametrize("name", ["device", "variant", "source", "path", "dtype", "limits"])
def test_set_names_args_of_the_document_only(folder: Path, name: str) -> None:
    result = run("show", "good.yaml", "--set", f"{name}=1")
    assert result.exit_code == 1
    assert name in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("validate",), "Missing argument 'FILE...'"),
        (("validate", "good.yaml", "--set", "width"), "'width' has no '='; write name=value"),
        (("validate", "good.yaml", "--set", "=1"), "'' is not a name"),
        (("validate", "good.yaml", "--set", "a.b=1"), "'a.b' is not a name"),
        (("validate", "good.yaml", "--set", "width=1", "--set", "width=2"), "'width' is set twice"),
        (("validate", "good.yaml", "--set", "width=[1, 2"), "the value of 'width' is not YAML"),
        (("validate", "good.yaml", "--set", "width=!!python/name:os.system x"), "the value of 'width' is not YAML"),
        (("validate", "good.yaml", "--format", "xml"), "'xml' is not one of 'text', 'json', 'sarif', 'github'"),
        (("validate", "good.yaml", "--plugin", "no_such_plugin"), "'no_such_plugin' cannot be imported"),
        (("validate", "good.yaml", "--plugin", "not a name"), "'not a name' cannot be imported"),
        (("validate", "good.yaml", "--colour"), "No such option"),
        (("show",), "Missing argument 'FILE'"),
        (("frobnicate",), "No such command 'frobnicate'"),
    ],
)
def test_wrong_usage(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in " ".join(result.stderr.split())


def test_plugin_adds_layers(folder: Path) -> None:
    (folder / "my_layers.py").write_text(
        "import confnet\nfrom torch import nn\n\nprint('hello')  # which is no part of the answer\n\n\n"
        "@confnet.register\nclass MyScale(nn.Module):\n"
        "    def __init__(self, factor: float) -> None:\n        super().__init__()\n\n"
        "    def forward(self, x):\n        return x\n"
    )
    (folder / "mine.yaml").write_text("confnet: 1\nSequential: [{MyScale: 2.0}]\n")
    without = process("validate", "mine.yaml", cwd=folder)
    assert (without.returncode, "unknown-layer" in without.stdout) == (1, True)
    with_plugin = process("validate", "mine.yaml", "--plugin", "my_layers", cwd=folder)
    assert (with_plugin.returncode, with_plugin.stdout) == (0, "mine.yaml: ok\n"), with_plugin.stderr


def test_audit_with_a_plugin(folder: Path) -> None:
    (folder / "audited_layers.py").write_text(
        "import confnet\nfrom torch import nn\n\n@confnet.register\nclass Audited(nn.Module):\n    pass\n"
    )
    (folder / "audited.yaml").write_text("confnet: 1\nSequential: [Audited]\n")
    told = process("audit", "audited.yaml", "--plugin", "audited_layers", cwd=folder)
    assert told.returncode == 0, told.stderr
    assert "Audited (registered)  audited.yaml:2:14" in told.stdout
    missing = process("audit", "audited.yaml", "--plugin", "no_such_plugin", cwd=folder)
    assert (missing.returncode, "'no_such_plugin' cannot be imported" in missing.stderr) == (2, True)


def test_a_plugin_that_raises_is_told_with_its_traceback(folder: Path) -> None:
    (folder / "broken_plugin.py").write_text("1 / 0\n")
    result = process("validate", "good.yaml", "--plugin", "broken_plugin", cwd=folder)
    assert result.returncode == 2
    assert 'broken_plugin.py", line 1' in result.stderr
    assert "importing 'broken_plugin' raised ZeroDivisionError, see above" in " ".join(result.stderr.split())


@pytest.mark.parametrize("arguments", [("--help",), ("validate", "--help"), ("show", "-h"), ("explain", "-h")])
def test_help_has_an_example(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 0
    assert re.search(r"Examples?:\n +confnet ", result.output)


def test_version() -> None:
    assert run("--version").output == f"confnet, version {confnet.__version__}\n"


# --- show -----------------------------------------------------------------------------------------------------------


def test_show_prints_the_tree_beside_its_counts(folder: Path) -> None:
    result = run("show", "good.yaml", "--repr", "--set", "width=1000")
    assert result.exit_code == 0
    assert result.output == (
        "3,003  Good(\n"
        "3,003    (first): Linear(in_features=1000, out_features=3, bias=True)\n"
        "         (act): ReLU()\n"
        "       )\n"
        "\n"
        "3,003 parameters: 3,003 trainable, 0 frozen\n"
    )


def test_show_json(folder: Path) -> None:
    result = run("show", "--format", "json", "good.yaml")
    assert result.exit_code == 0
    shown = json.loads(result.stdout)
    assert (shown["ok"], shown["diagnostics"]) == (True, [])
    assert shown["totals"] == {"total": 15, "trainable": 15, "frozen": 0, "lazy": 0}
    assert shown["modules"] == [
        {"name": "", "type": "Good", "parameters": 15, "place": "good.yaml:7"},
        {"name": "first", "type": "Linear", "parameters": 15, "place": "good.yaml:8"},
        {"name": "act", "type": "ReLU", "parameters": 0, "place": "good.yaml:9"},
    ]
    assert run("show", "--json", "good.yaml").stdout == result.stdout


def test_show_tables(folder: Path) -> None:
    result = run("show", "good.yaml", "--parameters", "--init")
    assert result.exit_code == 0
    assert result.output == (
        "parameters: 2\n"
        "name          shape   dtype    count  requires_grad  place\n"
        "first.weight  [3, 4]  float32  12     yes            good.yaml:8\n"
        "first.bias    [3]     float32  3      yes            good.yaml:8\n"
        "\n"
        "init: 2\n"
        "name          initializer    place\n"
        "first.weight  torch default  good.yaml:8\n"
        "first.bias    torch default  good.yaml:8\n"
    )
    assert set(json.loads(run("show", "good.yaml", "--buffers", "--json").stdout)) == {
        "ok",
        "diagnostics",
        "totals",
        "buffers",
    }


def test_show_of_a_bad_file(folder: Path) -> None:
    result = run("show", "bad.yaml")
    assert result.exit_code == 1
    assert result.output == run("validate", "--quiet", "bad.yaml").output
    result = run("show", "--format", "json", "bad.yaml")
    assert result.exit_code == 1
    assert json.loads(result.output) == json.loads(run("validate", "--format", "json", "bad.yaml").output)


def test_show_on_a_narrow_terminal(folder: Path) -> None:
    output = on_a_terminal("show", "good.yaml", "--repr", cwd=folder, columns=32)
    assert "\x1b[" in output
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    lines = [line.rstrip() for line in plain.splitlines()]
    assert all(len(line) <= 32 for line in lines[: lines.index("")])
    begin = next(line for line in lines if "(first)" in line)
    following = lines[lines.index(begin) + 1]
    assert begin.lstrip().startswith("15 ")
    assert len(following) - len(following.lstrip()) == begin.index("(first)")  # goes on below its own beginning


def test_diagnostics_are_colored_on_a_terminal_only(folder: Path) -> None:
    assert "\x1b[1;31merror" in on_a_terminal("validate", "bad.yaml", cwd=folder)
    assert "\x1b" not in on_a_terminal("validate", "bad.yaml", cwd=folder, NO_COLOR="1")
    assert "\x1b" not in process("validate", "bad.yaml", cwd=folder).stdout


def on_a_terminal(*arguments: str, cwd: Path, columns: int = 80, **variables: str) -> str:
    """What the command writes to a terminal of that width."""
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "CI")}
    environment |= {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": str(columns), **variables}
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "confnet", *arguments], stdout=theirs, stderr=theirs, cwd=cwd, env=environment
        ):
            os.close(theirs)
            chunks = []
            while chunk := _read(ours):
                chunks.append(chunk)
    finally:
        os.close(ours)
    return b"".join(chunks).decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says so when the other side is gone
        return b""


class OwnWords(nn.Module):
    """A layer that prints itself in its own way."""

    def __repr__(self) -> str:
        return "own words\nin two lines"


class ManyLines(nn.Linear):
    """A layer whose extra_repr has two lines, and no children."""

    def extra_repr(self) -> str:
        return "one\ntwo"


def test_outline_is_what_torch_prints() -> None:
    block = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    holder = nn.Module()
    holder.add_module("absent", None)
    model = nn.Sequential(
        nn.ModuleList([block, nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.ReLU(), block]),
        nn.ModuleList(),
        nn.ModuleDict({"a": OwnWords(), "b": ManyLines(1, 1)}),
        nn.ParameterList([nn.Parameter(nn.Linear(1, 1).weight)]),
        nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)),
        nn.MultiheadAttention(4, 2),
        nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8), 2, enable_nested_tensor=False),
        holder,
    )
    assert "\n".join("  " * line.depth + line.text for line in outline(model)) == str(model)


def test_outline_counts_every_parameter_once() -> None:
    shared = nn.Linear(3, 3)
    frozen = nn.Linear(3, 3, bias=False).requires_grad_(False)
    model = nn.ModuleList([shared, shared, frozen])
    totals = parameter_totals([model])
    assert (totals.trainable, totals.frozen, totals.parameters) == (12, 9, 21)
    counts = [line.totals.parameters for line in outline(model) if line.totals]
    assert counts == [21, 12, 9]  # the two that print alike share a line, and its parameters


def test_outline_of_lazy_layers() -> None:
    totals = parameter_totals([nn.Sequential(nn.LazyLinear(3), nn.Linear(1, 1))])
    assert (totals.parameters, totals.lazy) == (2, 2)


# --- the process ----------------------------------------------------------------------------------------------------


def test_exit_codes_of_the_process(folder: Path) -> None:
    assert process("validate", "bad.yaml", cwd=folder).returncode == 1
    assert process("validate", cwd=folder).returncode == 2
    assert process("--version", cwd=folder).returncode == 0


def test_an_internal_fault_is_not_disguised(folder: Path) -> None:
    script = (
        "from confnet import api, cli\n"
        "def validate(*args, **kwargs): raise KeyError('fault')\n"
        "api.validate = validate\n"
        "cli.main()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, "validate", "good.yaml"],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert result.returncode == 3
    assert result.stdout == ""
    assert "KeyError: 'fault'" in result.stderr
    assert result.stderr.endswith("internal error in confnet: please report it with the text above\n")


@pytest.mark.parametrize("command", ["validate", "show"])
def test_a_closed_pipe_is_quiet(folder: Path, command: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = subprocess.run(
            [sys.executable, "-m", "confnet", command, "good.yaml"],
            stdout=writer, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
        )  # fmt: skip
    finally:
        os.close(writer)
    assert result.stderr == ""


def test_text_that_the_terminal_cannot_encode(folder: Path) -> None:
    (folder / "bad.yaml").write_text("confnet: 1\nSequential: [Łayer]\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "cp1252"}
    result = subprocess.run(
        [sys.executable, "-m", "confnet", "validate", "bad.yaml"], capture_output=True, env=environment, check=False
    )
    assert result.returncode == 1, result.stderr
    assert rb"\u0141ayer" in result.stdout


def test_torch_without_numpy_is_nothing_to_speak_of(folder: Path) -> None:
    (folder / "numpy").mkdir()
    (folder / "numpy/__init__.py").write_text("raise ModuleNotFoundError('no numpy here', name='numpy')\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}

    def stderr(*command: str) -> str:
        result = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment, check=True)
        return result.stderr

    assert "NumPy" in stderr("-c", "import torch")
    assert stderr("-W", "error", "-m", "confnet", "validate", "good.yaml") == ""


# --- the pre-commit hook --------------------------------------------------------------------------------------------


def test_the_hook_runs_a_command_that_takes_files(folder: Path) -> None:
    hook, _ = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["id"] == "confnet-validate"
    program, *arguments = hook["entry"].split()
    assert program == "confnet"
    assert run(*arguments, "good.yaml").exit_code == 0
    assert run(*arguments, "good.yaml", "bad.yaml").exit_code == 1


def recipes() -> dict[str, dict[str, Any]]:
    """The files of docs/ci.md that other programs read, by name."""
    text = (ROOT / "docs/ci.md").read_text(encoding="utf-8")
    found = re.findall(r"<!-- file: (\S+) -->\n```text\n(.*?)```", text, re.DOTALL)
    return {name: yaml.safe_load(recipe) for name, recipe in found}


def test_the_recipe_for_pre_commit_is_our_hook() -> None:
    hook, _ = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    (repository,) = recipes()[".pre-commit-config.yaml"]["repos"]
    (recipe,) = repository["hooks"]
    own = {"description", "language"}
    assert {k: v for k, v in recipe.items() if k not in {"language", "files"}} == {
        k: v for k, v in hook.items() if k not in own
    }


@pytest.mark.parametrize("name", ["annotations", "scanning"])
def test_the_recipes_run_commands_that_there_are(models: Path, name: str) -> None:
    (job,) = recipes()[f"{name}.yaml"]["jobs"].values()
    (command,) = [step["run"] for step in job["steps"] if step.get("run", "").startswith("confnet ")]
    arguments = command.removesuffix(" > confnet.sarif").split()[1:]
    result = run(*arguments)
    assert (result.exit_code, result.stderr) == (1, "")
    assert "unknown-argument" in result.stdout


def test_max_parameters(folder: Path) -> None:
    assert run("validate", "good.yaml", "--max-parameters", "200").exit_code == 0
    result = run("validate", "good.yaml", "--max-parameters", "10")
    assert result.exit_code == 1
    assert "error[too-many-parameters]" in result.output
    assert run("validate", "good.yaml", "--max-parameters", "-1").exit_code == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("arguments", [["layers"], ["new", "unet"]], ids=" ".join)
def test_a_full_device_is_told(arguments: list[str]) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        result = subprocess.run(
            [sys.executable, "-m", "confnet", *arguments],
            stdout=full, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
        )  # fmt: skip
    assert result.returncode == 2
    assert result.stderr == "confnet: the output cannot be written: no space left on device\n"
