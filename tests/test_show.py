"""What `confnet show` tells is what happens: FLOPs and saved tensors are compared with real runs on the CPU."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import re
import sys
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import confnet
from confnet.api import overview
from confnet.builder.guard import TooLong
from confnet.cli import commands, terminal
from confnet.cli.overview import markdown, table
from confnet.diagnostics import Diagnostic
from confnet.figures import footer
from confnet.markdown import as_code, as_prose
from confnet.overview import Counts, Node, Overview, Row, rows
from confnet.shapes import costs

ROOT = Path(__file__).resolve().parent.parent


def told(text: str, **options: Any) -> Overview:
    """The overview of a text without its header."""
    return overview(io.StringIO(f"confnet: 1\nname: Net\n{text}"), **options)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["show", *arguments], prog_name="confnet")


def nodes(root: Node) -> dict[str, Node]:
    found = {root.fqn: root}
    for child in root.children:
        found.update(nodes(child))
    return found


# --- against real runs ----------------------------------------------------------------------------------------------


def really(model: nn.Module, *inputs: torch.Tensor) -> tuple[int, int]:
    """The FLOPs of a forward on the CPU, and the bytes of the storages that it saves beside the model's own."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: list[torch.Tensor] = []
    saved: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with FlopCounterMode(display=False) as counter, torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        model(*inputs)
    return counter.get_total_flops(), sum(saved.values())


CASES: dict[str, tuple[dict[str, Any], dict[str, int], Callable[[], torch.Tensor]]] = {
    "resnet_cifar": ({"variant": "resnet18", "args": {"width": 8}}, {"B": 2, "H": 16, "W": 24},
                     lambda: torch.rand(2, 3, 16, 24)),
    "gpt2": ({"args": {"n_layer": 3, "n_embd": 24, "n_head": 3, "vocab_size": 50}}, {"B": 2, "T": 7},
             lambda: torch.randint(0, 50, (2, 7))),
    "lstm_tagger": ({"args": {"vocab_size": 40}}, {"B": 3, "T": 6}, lambda: torch.randint(0, 40, (3, 6))),
    "unet": ({"args": {"width": 4, "depth": 3}}, {"B": 2, "H": 4, "W": 2}, lambda: torch.rand(2, 1, 32, 16)),
    "blocks_vit": ({}, {"B": 2}, lambda: torch.rand(2, 3, 32, 32)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_flops_and_activations_are_those_of_a_real_run(name: str) -> None:
    options, sizes, given = CASES[name]
    path = ROOT / f"examples/{name}.yaml"
    document = confnet.load(path).document
    args = {key: value for key, value in options.get("args", {}).items() if key in {arg.name for arg in document.args}}
    assert args.keys() == options.get("args", {}).keys(), "an example was changed"
    model = confnet.build(path, variant=options.get("variant"), args=args)
    enabled = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(enabled and name != "lstm_tagger")  # its fused layers hide what they compute
    try:
        flops, saved = really(model, given())
    finally:
        torch._C._set_mkldnn_enabled(enabled)
    found = overview(path, variant=options.get("variant"), args=args, sizes=sizes)
    assert found.reasons == ()
    assert (found.root.flops, found.memory.activations) == (flops, saved)


def test_instances_that_are_alike_cost_what_each_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    path = ROOT / "examples/resnet_cifar.yaml"
    quick = overview(path, variant="resnet34", args={"width": 4})
    monkeypatch.setattr(costs._Meter, "key", lambda *_: None)
    assert overview(path, variant="resnet34", args={"width": 4}) == quick


def test_flops_of_each_module_add_up() -> None:
    found = nodes(overview(ROOT / "examples/gpt2.yaml", args={"n_layer": 2}).root)
    block = found["transformer.h.0"]
    attention = found["transformer.h.0.attn"]
    assert block.flops == sum(child.flops or 0 for child in block.children)
    assert attention.flops == sum(child.flops or 0 for child in attention.children) + 2 * 2 * 128 * 128 * 768
    assert found["transformer.h"].flops == 2 * (block.flops or 0)
    assert found[""].flops == (found["transformer"].flops or 0) + 2 * 128 * 768 * 50257


PARTS = """
modules:
  Half: {children: {fc: {Linear: [4, 8]}}, forward: "return fc(x).chunk(2, dim=-1)[0]"}
inputs: {x: [B, 4]}
Sequential: [{repeat: 4, module: Half}]
"""


def test_a_part_of_a_tensor_keeps_all_of_it() -> None:
    model = confnet.build(io.StringIO(f"confnet: 1\nname: Net\n{PARTS}"))
    assert told(PARTS, sizes={"B": 3}).memory.activations == really(model, torch.rand(3, 4))[1]


def test_a_run_that_takes_too_long_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Mapping[str, int]] = []

    def late(built: object, case: object, point: Mapping[str, int], *_: object, **__: object) -> None:
        tried.append(point)
        raise TooLong([Diagnostic("code-too-long", "this code takes too long")])

    monkeypatch.setattr(sys.modules["confnet.shapes.overview"], "measure", late)
    found = told("inputs: {x: [B, 4]}\nSequential: [{Linear: [4, 4]}]")
    assert found.reasons == ("FLOPs and activations are unknown: the run at B=1 failed: this code takes too long",)
    assert tried == [{"B": 1}]


CODE_READS_INSIDE = """
modules:
  Inner: {inputs: {x: [B, 4]}, children: {fc: {Linear: [4, 4]}}, forward: return fc(x)}
inputs: {x: [B, 4]}
children: {inner: Inner, other: Inner}
forward: return x @ other.fc.weight + inner(x)
"""


def test_state_that_is_read_from_outside() -> None:
    assert told(CODE_READS_INSIDE).root.flops == 2 * (2 * 4 * 4)


def test_adam_and_gradients_are_those_of_real_training() -> None:
    found = told(
        "inputs: {x: [B, 5]}\nSequential: [{Linear: [5, 7]}, {Linear: [7, 3], requires_grad: false}]", sizes={"B": 4}
    )
    model = confnet.loads("confnet: 1\nSequential: [{Linear: [5, 7]}, {Linear: [7, 3], requires_grad: false}]")
    module = confnet.build(model)
    optimizer = torch.optim.Adam(p for p in module.parameters() if p.requires_grad)
    module(torch.rand(4, 5)).sum().backward()
    optimizer.step()
    moments = [s[key] for s in optimizer.state.values() for key in ("exp_avg", "exp_avg_sq")]
    assert found.memory.optimizer == sum(moment.nbytes for moment in moments)
    assert found.memory.gradients == sum(p.grad.nbytes for p in module.parameters() if p.grad is not None)
    assert found.memory.weights == sum(p.nbytes for p in module.parameters())


# --- what is told ---------------------------------------------------------------------------------------------------

MARKED = """
inputs: {ids: {shape: [B, T], dtype: int64, low: 0, high: 9}}
children:
  embed: {Embedding: [9, 4]}
  norm: {Linear: [4, 4, false], parametrize: {weight: spectral_norm}}
  frozen: {Linear: [4, 4], requires_grad: false}
  again: {share: norm}
  unused: {Linear: [4, 2]}
  head: {Linear: [4, 9, false]}
tie: {head.weight: embed.weight}
forward: return head(again(norm(frozen(embed(ids)))))
hooks: [{kind: forward, where: {name: norm}, do: return output * 2, name: double}]
"""


def test_marks() -> None:
    found = nodes(told(MARKED).root)
    assert found["head"].marks == ("tied: weight = embed.weight",)
    assert found["norm"].type == "Linear"
    assert found["norm"].marks == ("parametrized: weight (SpectralNorm)", "hook: forward double", "called 2 times")
    assert found["frozen"].marks == ("frozen",)
    assert found["again"].marks == ("shared: norm",)
    assert found["unused"].marks == ("not called",)
    assert found["embed"].marks == ()
    assert found["head"].counts == Counts(trainable=36, tied=36, bytes=144)
    assert found[""].counts.parameters == 36 + 16 + 20 + 10
    assert found[""].counts.frozen == 20
    assert (found["norm"].counts.buffers, found["norm"].outputs) == (8, ("[B, T, 4]",))


def test_arguments_that_differ_from_the_default() -> None:
    found = nodes(
        told(
            "inputs: {x: [B, 3, H, W]}\nSequential: [{Conv2d: [3, 8, 3, 1], padding: 1}]".replace(", padding: 1", "")
        ).root
    )
    assert found["0"].arguments == (
        ("in_channels", "3"),
        ("out_channels", "8"),
        ("kernel_size", "3"),
    )  # stride 1 is the default
    text = "modules: {Block: {args: {a: int, b: 2, c: 3}, Linear: [$a, $b]}}\nSequential: [{Block: {a: 4, c: 5}}]"
    (block,) = told(text).root.children
    assert (block.type, dict(block.arguments)["c"], "b" in dict(block.arguments)) == ("Block", "5", False)


def test_equal_neighbours_share_a_row() -> None:
    found = told("Sequential: [{repeat: 3, module: {Linear: [4, 4]}}, ReLU, {Linear: [4, 4]}, {Linear: [4, 5]}]")
    assert [(row.label, row.times) for row in rows(found.root)] == [("", 1), ("0-2", 3), ("3", 1), ("4", 1), ("5", 1)]
    assert [row.hidden for row in rows(found.root, 0)] == [6]


def test_named_children_are_not_folded() -> None:
    found = told("children: {a: {Linear: [4, 4]}, b: {Linear: [4, 4]}}")
    assert [row.label for row in rows(found.root)] == ["", "a", "b"]


def test_what_is_not_known_is_said_once() -> None:
    found = told("Sequential: [{Linear: [4, 4]}]")
    assert found.reasons == ("output shapes, FLOPs and activations are unknown: no `inputs` are declared",)
    assert (found.root.flops, found.root.outputs, found.memory.activations) == (None, (), None)
    wrong = told("inputs: {x: [B, 3]}\nSequential: [{Linear: [4, 4]}]")
    assert wrong.root.outputs == ()
    assert "cannot take `[B, 3]`" in wrong.reasons[0]


# --- sizes and dtypes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "layers", "sizes"),
    [
        ("{x: [B, 3, H, W]}", "[{Conv2d: [3, 4, 3]}]", {"B": 1, "H": 224, "W": 224}),
        ("{x: [B, 3, '32 * H', '32 * W']}", "[{Conv2d: [3, 4, 3]}]", {"B": 1, "H": 7, "W": 7}),
        ("{x: [B, T, 4]}", "[{Linear: [4, 4]}]", {"B": 1, "T": 128}),
        ("{x: [B, 3, H, H]}", "[{PixelUnshuffle: 5}]", {"B": 1, "H": 220}),
        ("{x: [B, 4]}", "[{BatchNorm1d: 4}]", {"B": 2}),  # of one value it has no variance
    ],
)
def test_sizes_that_are_common(inputs: str, layers: str, sizes: Mapping[str, int]) -> None:
    found = told(f"inputs: {inputs}\nSequential: {layers}")
    assert (found.sizes, found.reasons) == (sizes, ())


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"N": 3}, "there is no size `N`; the sizes are B, H"),
        ({"H": 3}, "the model needs `H >= 5`"),
    ],
)
def test_sizes_that_are_none(sizes: Mapping[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        told("inputs: {x: [B, 1, H]}\nSequential: [{Conv1d: [1, 1, 5]}]", sizes=sizes)


def test_a_dtype_halves_the_memory() -> None:
    text = "inputs: {x: [B, 64]}\nSequential: [{Linear: [64, 64]}, ReLU, {Linear: [64, 64]}]"
    single, half = told(text), told(text, dtype="bfloat16")
    assert half.dtype == "bfloat16"
    assert half.memory.total * 2 == single.memory.total
    assert half.root.flops == single.root.flops
    with pytest.raises(TypeError, match="there is no dtype 'float31'"):
        told(text, dtype="float31")


# --- printing -------------------------------------------------------------------------------------------------------


@lru_cache
def of_example(name: str) -> Overview:
    return overview(ROOT / f"examples/{name}.yaml")


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 120, None])
@pytest.mark.parametrize("name", ["gpt2", "resnet_cifar"])
def test_no_line_is_wider_than_the_terminal(columns: int | None, name: str) -> None:
    found = of_example(name)
    lines = [line.plain for line in table(found, None, columns, lines=True)]
    assert max(map(len, lines)) <= (columns or 200)
    text = " ".join(lines)
    assert f"{found.root.counts.parameters:,}" in text
    words = {word for row in rows(found.root) for word in [row.node.type, *row.node.outputs]}
    if columns is None:
        assert all(any(word in line for line in lines) for word in words)


def test_a_narrow_table_and_a_wide_one() -> None:
    found = told("inputs: {x: [B, 4]}\nSequential: [{repeat: 3, module: {Linear: [4, 4]}}, {Sequential: [ReLU]}]")
    assert [line.plain for line in table(found, None, None, lines=True)] == [
        "module                    output  parameters  FLOPs  memory",
        "Net                       [B, 4]          60     96   240 B",
        "├ 0-2 (x 3) Linear(4, 4)  [B, 4]          20     32    80 B",
        "└ 3 Sequential            [B, 4]",
        "  └ 0 ReLU                [B, 4]",
    ]
    assert [line.plain for line in table(found, 1, 40, lines=False)] == [
        "module              parameters  FLOPs",
        "Net                         60     96",
        "    [B, 4]",
        "  0-2 (x 3)                 20     32",
        "      Linear(4, 4)",
        "      [B, 4]",
        "  3 Sequential",
        "      (+ 1 inside)",
        "      [B, 4]",
    ]


def test_shapes_that_are_not_known_are_a_dash() -> None:
    lines = [line.plain for line in table(told("Sequential: [{Linear: [4, 4]}, ReLU]"), None, 80, lines=True)]
    assert lines == [
        "module            output  parameters",
        "Net               -               20",
        "├ 0 Linear(4, 4)  -               20",
        "└ 1 ReLU          -",
    ]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_told_after_a_while_and_only_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "PATIENCE", 0.01)
    monkeypatch.setenv("TERM", "xterm")
    for stream, told_of in ((_Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        with terminal.Progress() as progress, contextlib.redirect_stdout(io.StringIO()) as out:
            progress.step("finding shapes")
            for _ in range(500):
                if "finding shapes" in stream.getvalue() or not told_of:
                    break
                time.sleep(0.01)
            assert sys.stdout is out  # nobody else may have put his own in its place
        assert ("finding shapes ..." in stream.getvalue()) is told_of
        assert sys.stdout is not out


def test_the_footer() -> None:
    found = told("inputs: {x: [B, 4]}\nSequential: [{Linear: [4, 4]}]", sizes={"B": 1024})
    assert footer(found) == [
        "20 parameters: 20 trainable, 0 frozen",
        "x: [B, 4] -> output: [B, 4]",
        "32.8 k FLOPs at B=1024 (torch's count: a multiply and an add are two)",
        "a training step in float32 takes 16.3 KiB: weights 80 B, gradients 80 B, Adam 160 B, activations 16.0 KiB",
    ]


def test_markdown() -> None:
    found = told("inputs: {x: [B, 4]}\nSequential: {a: {Sequential: [{repeat: 2, module: {Linear: [4, 4]}}]}}")
    assert markdown(found, None).splitlines()[:5] == [
        "| module | class | output | parameters | FLOPs | remarks |",
        "| --- | --- | --- | ---: | ---: | --- |",
        "|  | `Net` | `[B, 4]` | 40 | 64 |  |",
        "| `a` | `Sequential` | `[B, 4]` | 40 | 64 |  |",
        "| `a.0-1` (x 2) | `Linear(4, 4)` | `[B, 4]` | 20 | 32 |  |",
    ]


def test_markdown_is_shown_as_it_is_meant() -> None:
    found = told("inputs: {x: ['2*B', '2*H', 4]}\nSequential: [{Linear: [4, 4]}]")
    assert markdown(found, 0).splitlines()[-3] == "- x: [2\\*B, 2\\*H, 4] -> output: [2\\*B, 2\\*H, 4]"
    assert as_code("a ``b`` <c>") == "``` a ``b`` <c> ```"
    assert as_prose("<img> of `a*b_` and _x_ in a_b, 1 < 2") == "\\<img> of `a*b_` and \\_x\\_ in a_b, 1 < 2"


def test_the_picture_of_the_docs_is_what_is_printed(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("draw", ROOT / "docs/images/draw.py")
    assert spec is not None
    assert spec.loader is not None
    draw = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw)
    draw.draw_show(tmp_path / "show.svg")
    picture = (ROOT / "docs/images/show.svg").read_text(encoding="utf-8")
    assert (tmp_path / "show.svg").read_text(encoding="utf-8") == picture, "run python docs/images/draw.py"


def test_hostile_names_do_not_break_the_lines() -> None:
    node = Node("a\n\x1b[31m", "a", "L|x", (("", "'`|\n'"),))
    root = Node("", "", "Net", children=(node,))
    assert list(rows(root))[1] == Row(node, node.name, 1, (True,))
    shown = Overview(root, "float32", {}, overview(io.StringIO("confnet: 1\nReLU: {}")).memory)
    for line in (*(line.plain for line in table(shown, None, 80, lines=True)), *markdown(shown, None).splitlines()):
        assert "\x1b" not in line
        assert "\n" not in line


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "net.yaml"
    path.write_text("confnet: 1\nname: Net\ninputs: {x: [B, 4]}\nSequential: [{Linear: [4, 2]}, ReLU]\n")
    return str(path)


def test_the_command(file: str) -> None:
    result = run(file, "--size", "B=3", "--dtype", "float64")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "module            output  parameters  FLOPs  memory",
        "Net               [B, 2]          10     48    80 B",
        "├ 0 Linear(4, 2)  [B, 2]          10     48    80 B",
        "└ 1 ReLU          [B, 2]",
        "",
        "10 parameters: 10 trainable, 0 frozen",
        "x: [B, 4] -> output: [B, 2]",
        "48 FLOPs at B=3 (torch's count: a multiply and an add are two)",
        "a training step in float64 takes 464 B: weights 80 B, gradients 80 B, Adam 160 B, activations 144 B",
    ]
    assert run(file, "--markdown", "--depth", "0").stdout.startswith("| module | class |")


def test_json(file: str) -> None:
    shown = json.loads(run(file, "--json").stdout)
    assert (shown["sizes"], shown["flops"], shown["dtype"]) == ({"B": 1}, 16, "float32")
    assert shown["training_memory"] == {
        "weights": 40,
        "buffers": 0,
        "gradients": 40,
        "optimizer": 80,
        "activations": 24,
        "total": 184,
    }
    assert shown["tree"][1] == {
        "name": "0",
        "type": "Linear",
        "arguments": {"in_features": "4", "out_features": "2"},
        "outputs": ["[B, 2]"],
        "parameters": 10,
        "trainable": 10,
        "frozen": 0,
        "tied": 0,
        "buffers": 0,
        "bytes": 40,
        "flops": 16,
        "calls": 1,
        "marks": [],
        "place": f"{file}:4",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--size", "B"), "'B' is no size; write NAME=N, N from 1 to 999999999"),
        (("--size", "B=0"), "'B=0' is no size"),
        (("--size", "B=1", "--size", "B=2"), "'B' is given twice"),
        (("--size", "T=1"), "there is no size `T`; the sizes are B"),
        (("--markdown", "--init"), "tables are printed as text or as JSON"),
        (("--parameters", "--dtype", "float16"), "'--size', '--dtype' and '--depth' are for the overview"),
    ],
)
def test_wrong_usage(file: str, arguments: tuple[str, ...], message: str) -> None:
    result = run(file, *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
