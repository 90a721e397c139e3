"""`confnet layers`, `functions`, `initializers`, `parametrizations` and `hooks`: lists, pages, JSON, did-you-mean."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import confnet
from confnet.catalog import functions
from confnet.catalog.hooks import BUILTIN_HOOKS, HOOK_KINDS
from confnet.catalog.layers import torch_layers
from confnet.catalog.pages import TABLES
from confnet.catalog.registry import DEFAULT_REGISTRY
from confnet.cli import commands

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests of this process registered is no part of the lists."""
    for table in fields(DEFAULT_REGISTRY):
        monkeypatch.setattr(DEFAULT_REGISTRY, table.name, {})


def run(*arguments: str, code: int = 0) -> str:
    result: Result = CliRunner().invoke(commands, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


def data(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


# --- lists --------------------------------------------------------------------------------------------------------


def test_all_layers_are_listed_one_a_line() -> None:
    lines = run("layers").splitlines()
    assert [line.split()[0] for line in lines] == list(torch_layers())
    assert "Tanh                           Applies the Hyperbolic Tangent (Tanh) function element-wise." in lines
    assert all(len(line.split(maxsplit=1)) == 2 for line in lines)


def test_everything_else_is_listed() -> None:
    count = sum(len(functions.names(space)) for space in ("torch", "functional", "tensor"))
    assert len(run("functions").splitlines()) == count > 1000
    assert "kaiming_normal_" in run("initializers")
    assert [line.split()[0] for line in run("parametrizations").splitlines()] == [
        "orthogonal",
        "spectral_norm",
        "weight_norm",
    ]
    lines = run("hooks").splitlines()
    assert [line.split()[0] for line in lines] == ["kinds:", *HOOK_KINDS, "built-in", *BUILTIN_HOOKS]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("conv2", ["Conv2d", "LazyConv2d"]),
        ("CONV2", ["Conv2d", "LazyConv2d"]),
        ("*norm2d", ["BatchNorm2d", "InstanceNorm2d", "LazyBatchNorm2d", "LazyInstanceNorm2d"]),
        ("?onv[12]d", ["Conv1d", "Conv2d"]),
    ],
)
def test_patterns(pattern: str, names: list[str]) -> None:
    assert [line.split()[0] for line in run("layers", pattern).splitlines()] == names
    assert [entry["name"] for entry in data("layers", pattern)["layers"]] == names


# --- pages --------------------------------------------------------------------------------------------------------

CONV1D = """\
ConstantPad1d
  Pads the input tensor boundaries with a constant value.

Arguments
  padding: int | [int, int], required
      the size of the padding. If is `int`, uses the same padding in both boundaries. If a 2-`tuple`, uses \
(`padding_left`, `padding_right`)
  value: float, required
      the value to pad with

forward  (input)

Example
  ConstantPad1d: {padding: 1, value: 0.0}

https://docs.pytorch.org/docs/stable/generated/torch.nn.ConstantPad1d.html
"""


def test_the_page_of_a_layer() -> None:
    assert run("layers", "ConstantPad1d") == CONV1D
    assert run("layers", "constantpad1d") == CONV1D  # one is exactly that
    page = run("layers", "Linear")
    assert "  in_features: int | auto, at least 0, required\n      size of each input sample\n" in page
    assert "  dtype: dtype | null = null, by name only\n" in page
    assert "Not in a file\n  device: the caller of `build` chooses the device; remove it\n" in page
    assert "parameters  weight, bias\n" in page


def test_the_page_of_a_layer_as_json() -> None:
    page = data("layers", "BatchNorm2d")
    assert page["arguments"][2] == {
        "name": "momentum",
        "type": "float | null",
        "required": False,
        "default": "0.1",
        "bounds": "",
        "by_name": False,
        "description": page["arguments"][2]["description"],
    }
    assert page["arguments"][2]["description"].startswith("the value used for the running_mean")
    assert page["facts"]["buffers"] == ["running_mean", "running_var", "num_batches_tracked"]
    assert page["withheld"].keys() == {"device"}
    assert page["example"] == "BatchNorm2d: {num_features: 64}"


def test_the_page_of_a_function() -> None:
    page = data("functions", "F.interpolate")
    assert page["calls"] == [
        "F.interpolate(input, size=..., scale_factor=..., mode=..., align_corners=..., recompute_scale_factor=..., "
        "antialias=...)"
    ]
    assert data("functions", "Tensor.view")["calls"] == ["tensor.view(*size)", "tensor.view(dtype)"]
    assert data("functions", "torch.zeros")["calls"][0].startswith("torch.zeros(*size, dtype=...")
    assert data("functions", "Tensor.add_")["facts"]["changes"] == ["self"]


def test_every_page_can_be_made_and_every_example_validates() -> None:
    seen = 0
    for name, table in TABLES.items():
        for entry in table.entries():
            page = table.page(entry.name)
            assert page.name == entry.name
            assert page.summary
            json.dumps(page.as_data())
            if name == "layers" or not page.example:  # those of layers are built in test_documentation
                continue
            body = f"children: {{fc: {{Linear: [4, 4], {page.example}}}}}"
            if name == "initializers" and page.facts.get("tensors") == ("from 3 to 5 dimensions",):
                body = f"children: {{fc: {{Conv1d: [4, 4, 3], {page.example}}}}}"
            report = confnet.validate(confnet.loads(f"confnet: 1\n{body}\n"))
            assert report.ok, (page.example, str(report))
            seen += 1
    assert seen == 14 + 3 + len(HOOK_KINDS) + len(BUILTIN_HOOKS)


# --- what is not there --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("layers", "Conv9"), "no layer is called 'Conv9'; did you mean 'Conv1d'?"),
        (("layers", "qqqqq"), "no layer is called 'qqqqq'; 'confnet layers' lists all of them"),
        (("layers", "DataParallel"), "it is a way to run a model, not a part of it: wrap the built model in Python"),
        (("functions", "Tensor.item"), "a tensor stays a tensor in code: compute with it as it is"),
        (("functions", "F.relux"), "did you mean 'F.relu'?"),
        (("functions", "sofmax"), "did you mean 'torch.softmax'?"),
        (("hooks", "captur3"), "did you mean 'capture'?"),
        (("initializers", "xavier_unifrom_"), "did you mean 'xavier_uniform_'?"),
    ],
)
def test_what_is_not_there_is_explained(arguments: tuple[str, ...], said: str) -> None:
    assert said in run(*arguments, code=2)


def test_a_hostile_pattern_is_shown_harmless() -> None:
    assert "\x1b" not in run("layers", "\x1b[31mx", code=2)


# --- plugins ------------------------------------------------------------------------------------------------------

PLUGIN = '''
import torch
import confnet


@confnet.register
class CatalogGate(torch.nn.Module):
    """Multiplies two values.

    Args:
        width: how wide both are
    """

    def __init__(self, width: int, *, scale: float = 1.0) -> None:
        super().__init__()

    def forward(self, x, y):
        return x * y


@confnet.register
def catalog_halve(x):
    """Halves a tensor."""
    return x / 2


@confnet.hook
def catalog_hook(module, args, output, rate: float):
    """Does nothing."""


@confnet.initializer
def catalog_fill(tensor, value: float = 0.0):
    """Fills a tensor."""
'''


ASKED = """\
import io, json, sys
from contextlib import redirect_stdout
from confnet.cli import commands

for words in json.loads(sys.argv[1]):
    with redirect_stdout(io.StringIO()) as out:
        commands([*words, "--plugin", "catalog_plugin"], standalone_mode=False)
    print(json.dumps(out.getvalue()))
"""


def test_registered_ones_are_in_all_of_it(tmp_path: Path) -> None:
    """In one other process, as what is registered stays so."""
    (tmp_path / "catalog_plugin.py").write_text(PLUGIN)
    asked = (
        ("layers",), ("layers", "CatalogGate"), ("functions", "*halve*"), ("hooks",), ("initializers", "catalog_fill"),
    )  # fmt: skip
    shown = subprocess.run(
        [sys.executable, "-c", ASKED, json.dumps(asked)],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True,
    ).stdout  # fmt: skip
    answers = dict(zip(asked, map(json.loads, shown.splitlines()), strict=True))

    def answer(*arguments: str) -> str:
        found: str = answers[arguments]
        return found

    assert answer("layers").endswith("registered:\nCatalogGate                    Multiplies two values.\n")
    assert answer("layers", "CatalogGate") == (
        "CatalogGate\n  Multiplies two values.\n\nArguments\n  width: int, required\n      how wide both are\n"
        "  scale: float = 1.0, by name only\n\nforward        (x, y)\nregistered by  catalog_plugin\n\n"
        "Not in a file\n  device: the caller of `build` chooses the device; remove it\n\n"
        "Example\n  CatalogGate: {width: 1}\n"
    )
    assert "catalog_halve" in answer("functions", "*halve*")
    assert answer("hooks").rstrip().endswith("catalog_hook          Does nothing.")
    assert "  value: float = 0.0\n" in answer("initializers", "catalog_fill")


# --- terminals ----------------------------------------------------------------------------------------------------


def on_terminal(columns: int, *arguments: str, **environment: str) -> str:
    """What the command writes to a terminal of that width."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    plain = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "LINES", "TERM")}
    process = subprocess.Popen(
        [sys.executable, "-m", "confnet", *arguments],
        stdout=slave,
        env={**plain, "PYTHONPATH": str(ROOT), "TERM": "xterm", **environment},
    )
    os.close(slave)
    written = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the terminal is closed
            break
        if not part:
            break
        written += part
    assert process.wait() == 0
    os.close(master)
    return written.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [50, 80])
def test_lines_fit_the_terminal(columns: int) -> None:
    for arguments in (("layers",), ("layers", "Conv2d"), ("layers", "LSTM")):
        text = on_terminal(columns, *arguments)
        assert "\x1b[1m" in text
        plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
        listed = plain.split("\nExample\n")[0]
        assert max(map(len, listed.splitlines())) <= columns, listed
        assert len(listed.splitlines()) > 10


def test_no_color_is_plain() -> None:
    assert "\x1b" not in on_terminal(80, "layers", "ReLU", NO_COLOR="1")
    assert "\x1b" not in on_terminal(80, "layers", "ReLU", TERM="dumb")


def test_torch_is_not_needed() -> None:
    code = (
        "import sys; from confnet.cli import commands\n"
        "for words in (['layers'], ['layers', 'Conv2d'], ['functions', 'F.relu', '--json'], ['hooks'],\n"
        "              ['initializers', 'zeros_']):\n"
        "    commands(words, standalone_mode=False)\n"
        "assert not {'torch', 'yaml', 'pydantic', 'rich'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True
    )
