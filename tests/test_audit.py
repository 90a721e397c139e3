"""What a file would use, told without torch: everything that is there, at its places, and nothing else."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import nn

import confnet
from confnet.auditing import KINDS, Audit
from confnet.catalog.registry import DEFAULT_REGISTRY, lookup
from confnet.cli import commands
from confnet.diagnostics import ConfnetError

ROOT = Path(__file__).parents[1]

TEXT = """\
confnet: 1
include: []
args: {norm: {type: layer, default: GroupNorm}, act: {type: module, default: SiLU}}
variants: {small: {norm: LayerNorm}, large: {act: {Hardtanh: [0, 1]}}}
modules:
  Block:
    children:
      a: {Linear: [4, 4], init: {weight: {normal_: {std: 0.1}}, bias: {value: "torch.zeros(shape)"}}}
      b: {when: false, Bilinear: [4, 4, 4], else: {Identity: }}
      c: {Linear: [4, 4], parametrize: {weight: weight_norm}}
      d: {TransformerEncoder: {encoder_layer: {TransformerEncoderLayer: [4, 1]}, num_layers: 1}}
    parameters: {p: {shape: [4], init: ones_}}
    buffers: {m: {value: "torch.tril(torch.ones(4, 4))"}}
    forward: |
      y = F.relu(a(x)).transpose(0, 1)
      z = torch.nn.functional.relu(c(y))
      for i in range(2):
          z = z + math.sqrt(2.0)
      return torch.cat([z, d(z)], dim=0).to(torch.float32)
children: {one: Block, two: {$norm: 4}, three: $act}
forward: return one(x)
apply:
  - {where: {type: Linear}, init: {bias: zeros_}}
hooks:
  - {kind: forward, where: {name: one}, call: {capture: {key: k}}}
  - {kind: forward_pre, where: {name: one}, do: "return (args[0].detach(),)"}
"""


def places(found: Audit, kind: str, name: str) -> list[tuple[int, int]]:
    (use,) = [use for use in found.uses if (use.kind, use.name) == (kind, name)]
    return [(place.line, place.column) for place in use.places]


def test_everything_is_listed() -> None:
    found = confnet.audit(confnet.loads(TEXT))
    layers = "Bilinear GroupNorm Hardtanh Identity LayerNorm Linear SiLU TransformerEncoder TransformerEncoderLayer"
    assert found.of("layer") == tuple(layers.split())
    assert found.of("computed layer") == ("$act", "$norm")
    functions = "F.relu math.sqrt range torch.cat torch.ones torch.tril torch.zeros"
    assert found.of("function") == tuple(functions.split())
    assert found.of("method") == ("detach", "to", "transpose")
    assert found.of("initializer") == ("normal_", "ones_", "zeros_")
    assert found.of("parametrization") == ("weight_norm",)
    assert found.of("hook") == ("capture", "code on forward_pre")
    assert found.registered == ()


def test_places() -> None:
    found = confnet.audit(confnet.loads(TEXT))
    assert places(found, "layer", "Linear") == [(8, 11), (10, 11)]
    assert places(found, "function", "F.relu") == [(15, 11), (16, 11)]
    assert places(found, "initializer", "normal_") == [(8, 43)]
    lines = TEXT.splitlines()
    for use in found.uses:
        for place in use.places:
            text = lines[place.line - 1][place.column - 1 :]
            word = use.name.rpartition(".")[2]
            assert word in text or use.kind in ("hook", "method"), (use, text)


def test_includes_are_followed(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("confnet: 1\nmodules: {A: {Sequential: [Tanh]}}\n")
    (tmp_path / "main.yaml").write_text("confnet: 1\ninclude: [a.yaml]\nSequential: [A, ReLU]\n")
    found = confnet.audit(str(tmp_path / "main.yaml"))
    assert found.of("include") == ("a.yaml",)
    assert found.of("layer") == ("ReLU", "Sequential", "Tanh")


def test_registered_names_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    for table in fields(DEFAULT_REGISTRY):
        monkeypatch.setattr(DEFAULT_REGISTRY, table.name, dict(getattr(DEFAULT_REGISTRY, table.name)))

    @confnet.register
    class Doubling(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2

    @confnet.register
    def tripled(x: torch.Tensor) -> torch.Tensor:
        return x * 3

    found = confnet.audit(
        confnet.loads("confnet: 1\nchildren: {a: Doubling, b: ReLU}\nforward: return tripled(b(a(x)))\n")
    )
    assert [(use.kind, use.name) for use in found.registered] == [("layer", "Doubling"), ("function", "tripled")]


def test_a_wrong_file_is_refused() -> None:
    with pytest.raises(ConfnetError, match="unknown-key"):
        confnet.audit(confnet.loads("confnet: 1\nimports: [os]\nReLU:\n"))


def test_layers_that_nobody_has_are_told_apart() -> None:
    found = confnet.audit(confnet.loads("confnet: 1\nSequential: [Rellu]\n"))
    assert found.of("layer") == ("Sequential",)
    assert found.of("unknown layer") == ("Rellu",)


def test_it_is_told_as_text_and_as_data() -> None:
    found = confnet.audit(confnet.loads("confnet: 1\nSequential: [ReLU, ReLU]\n"))
    assert str(found) == "layers\n  ReLU  <text>:2:14 and 1 more\n  Sequential  <text>:2:1"
    assert found.as_data()[0] == {
        "kind": "layer",
        "name": "ReLU",
        "registered": False,
        "places": [{"file": "<text>", "line": 2, "column": 14}, {"file": "<text>", "line": 2, "column": 20}],
    }


EXAMPLES = sorted(p for p in (ROOT / "examples").rglob("*.yaml") if "confnet: 1" in p.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT / "examples")))
def test_the_audit_covers_the_model(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every layer of a built example, and every function that its code names, is on the list."""
    found = confnet.audit(str(path))
    assert {use.kind for use in found.uses} <= set(KINDS)
    spec = confnet.load(path)
    if spec.document.root is None or any(not arg.has_default for arg in spec.document.args):
        pytest.skip("needs args")
    model = confnet.build(spec, device="meta")
    listed = {lookup(name).cls or getattr(nn, name) for name in found.of("layer") if lookup(name)} | {  # type: ignore[union-attr]
        nn.Sequential,
        nn.ModuleList,
        nn.ModuleDict,
    }
    built = {type(module) for module in model.modules() if type(module).__module__.startswith("torch.nn.modules")}
    inside = {type(part) for module in model.modules() if type(module) in listed for part in module.modules()}
    assert built <= listed | inside
    functions = {name.rpartition(".")[2] for name in (*found.of("function"), *found.of("method"))}
    for unit in spec.units():
        for line in unit.source.lines:
            if line.strip().startswith("return "):
                try:
                    tree = ast.parse(line.strip())
                except SyntaxError:
                    continue
                calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
                called = {function.attr for function in calls if isinstance(function, ast.Attribute)}
                assert {name for name in called if hasattr(torch, name) and hasattr(torch.Tensor, name)} <= functions


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("confnet: 1\nSequential: [ReLU]\n")
    path = str(tmp_path / "m.yaml")
    told = CliRunner().invoke(commands, ["audit", path])
    assert told.exit_code == 0
    assert told.output == f"layers\n  ReLU  {path}:2:14\n  Sequential  {path}:2:1\n"
    data = json.loads(CliRunner().invoke(commands, ["audit", "--format", "json", path]).output)
    assert [use["name"] for use in data["uses"]] == ["ReLU", "Sequential"]
    (tmp_path / "m.yaml").write_text("confnet: 1\nimports: [os]\nReLU:\n")
    wrong = CliRunner().invoke(commands, ["audit", path])
    assert wrong.exit_code == 1
    assert "unknown-key" in wrong.output


def test_torch_is_not_needed() -> None:
    code = (
        "import sys, confnet\n"
        f"assert confnet.audit({str(ROOT / 'examples/vit.yaml')!r}).uses\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
