"""Shapes: what `validate` says of sizes is what really happens."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import confnet
from confnet.api import Report
from confnet.pipeline import make_plan
from confnet.shapes.domains import Domain, explore
from confnet.shapes.forms import Forms
from confnet.shapes.outputs import reads_mode

ROOT = Path(__file__).resolve().parent.parent


def check(text: str, **options: Any) -> Report:
    """The report of a text without its header."""
    return confnet.validate(io.StringIO(f"confnet: 1\nname: Net\n{text}"), **options)


def shown(text: str, **options: Any) -> str:
    """The shapes of a text that is right."""
    report = check(text, **options)
    assert report.ok, str(report)
    (shapes,) = report.shapes
    return str(shapes)


# --- examples -------------------------------------------------------------------------------------------------------

EXAMPLES = {
    "autoencoder": "x: [B, 784] -> reconstruction: [B, 784]",
    "blocks_vit": "image: [B, 3, 32, 32] -> logits: [B, 10]",
    "resnet_cifar": "x: [B, 3, H, W] -> logits: [B, 10]",
    "gpt2": "input_ids: [B, T] -> logits: [B, T, 50257] where T <= 1024",
    "inception_block": "x: [B, 192, H, W] -> y: [B, 256, H, W]",
    "lenet5": "x: [B, 1, 28, 28] -> logits: [B, 10]",
    "lstm_tagger": "tokens: [B, T] -> scores: [B, T, 17]",
    "mlp": "x: [B, 784] -> logits: [B, 10]",
    "multi_head": "x: [B, 64] -> features: [B, 128], logits: [B, 10]",
    "resnet": "x: [B, 3, H, W] -> logits: [B, 1000]",
    "siamese": "a: [B, 1, H, W], b: [B, 1, H, W] -> score: [B]",
    "unet": "x: [B, 1, 16*H, 16*W] -> logits: [B, 2, 16*H, 16*W]",
    "vit": "x: [B, 3, 224, 224] -> logits: [B, 1000]",
}
ANATOMY = {
    "alibi": "x: [B, T, 32] -> y: [B, T, 32] where T <= 64",
    "causal_mask": "x: [B, T, 32] -> y: [B, T, 32] where T <= 16",
    "feature_extraction": "image: [B, 3, H, W] -> y: [B, 32, H//8, W//8] where H >= 8 and W >= 8",
    "gpt2_init": "idx: [B, T] -> logits: [B, T, 65] where T <= 16",
    "normalised_input": "image: [B, 3, H, W] -> logits: [B, 10] where H >= 3 and W >= 3",
    "rotary": "x: [B, T, 32] -> y: [B, T, 32] where T <= 64",
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name: str) -> None:
    report = confnet.validate(ROOT / "examples" / f"{name}.yaml")
    assert not report.diagnostics
    assert str(report.shapes[0]) == EXAMPLES[name]
    assert all(shapes.checked for shapes in report.shapes)


def test_every_example_is_there() -> None:
    assert {path.stem for path in (ROOT / "examples").glob("*.yaml")} == set(EXAMPLES)


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "examples" / "anatomy").glob("*.yaml")))
def test_anatomy(name: str) -> None:
    """Nothing is wrong with any of them, and what they need is found."""
    report = confnet.validate(ROOT / "examples" / "anatomy" / f"{name}.yaml")
    assert report.ok, str(report)
    for shapes in report.shapes:
        assert shapes.checked, shapes.reason
        if shapes.conditions or name in ANATOMY:
            assert str(shapes) == ANATOMY[name]


def test_inner_values_and_their_places() -> None:
    (shapes, *_) = confnet.validate(ROOT / "examples" / "resnet.yaml", variant="resnet18").shapes
    found = {value.name: value for value in shapes.values}
    assert found["conv1"].text == "[B, 64, (H + 1)//2, (W + 1)//2]"
    assert found["layer4.1"].text == "[B, 512, (H + 31)//32, (W + 31)//32]"
    assert found["avgpool"].text == "[B, 512, 1, 1]"
    place = found["layer1.0.conv1"].span
    assert place is not None
    assert place.file.endswith("residual.yaml")


# --- sizes as expressions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("[{Conv2d: [1, 2, 3]}]", "[B, 2, H - 2, W - 2]"),
        ("[{Conv2d: {in_channels: 1, out_channels: 2, kernel_size: 3, padding: same}}]", "[B, 2, H, W]"),
        ("[{MaxPool2d: 2}, {MaxPool2d: 2}]", "[B, 1, H//4, W//4]"),
        ("[{MaxPool2d: {kernel_size: 3, stride: 2, ceil_mode: true}}]", "[B, 1, H//2, W//2]"),
        ("[{AvgPool2d: 2}, {Upsample: {scale_factor: 2}}]", "[B, 1, 2*(H//2), 2*(W//2)]"),
        ("[{AvgPool2d: 2}, Flatten]", "[B, (H//2)*(W//2)]"),
        ("[{Conv2d: [1, 4, 3]}, Flatten]", "[B, 4*(H - 2)*(W - 2)]"),
        ("[{ConvTranspose2d: [1, 1, 3, 2]}]", "[B, 1, 2*H + 1, 2*W + 1]"),
        ("[{PixelUnshuffle: 2}]", "[B, 4, H//2, W//2]"),
        ("[{Flatten: 0}]", "[B*H*W]"),
        ("[{AdaptiveAvgPool2d: [[3, null]]}]", "[B, 1, 3, W]"),
        ("[{LazyConv2d: [4, 1]}, {LazyBatchNorm2d: {}}]", "[B, 4, H, W]"),
    ],
)
def test_expressions(steps: str, expected: str) -> None:
    assert f"output: {expected}" in shown(f"inputs: {{x: [B, 1, H, W]}}\nSequential: {steps}\n")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("torch.cat([x, x], dim=1)", "[B, 2*T, 8]"),
        ("torch.cat([x, x[:, :1]], dim=1)", "[B, T + 1, 8]"),
        ("x[:, ::2]", "[B, (T + 1)//2, 8]"),
        ("x[:, :5]", "[B, min(T, 5), 8]"),
        ("x.reshape(-1, 8)", "[B*T, 8]"),
        ("x.reshape(-1, 4)", "[2*B*T, 4]"),
        ("x @ x.transpose(1, 2)", "[B, T, T]"),
        ("torch.einsum('btf,bsf->bts', x, x)", "[B, T, T]"),
        ("F.pad(x, (0, 0, 2, 1))", "[B, T + 3, 8]"),
        ("x.unfold(1, 3, 2)", "[B, (T - 1)//2, 8, 3]"),
        ("x.mean()", "[]"),
        ("F.one_hot(x.argmax(-1), 8)", "[B, T, 8]"),
        ("x[:, ::2][:, :9]", "[B, min((T + 1)//2, 9), 8]"),
        ("x[:, ::2][:, :3]", "[B, ?, 8]"),  # too few sizes are below the end to tell which
        ("x[:, :5].repeat(1, 2, 1)", "[B, min(2*T, 10), 8]"),
    ],
)
def test_expressions_of_code(code: str, expected: str) -> None:
    assert f"output: {expected}" in shown(f'inputs: {{x: [B, T, 8]}}\nforward: "return {code}"\n')


def test_forms_need_no_torch() -> None:
    points = [{"H": h, "W": w} for h, w in [(7, 64), (35, 97), (101, 40), (64, 201), (224, 99), (515, 130)]]
    forms = Forms("HW", points)
    functions: list[tuple[Callable[[int, int], int], str | None]] = [
        (lambda h, w: h // 4, "H//4"),
        (lambda h, w: (w + 1) // 2, "(W + 1)//2"),
        (lambda h, w: min(h, 60), "min(H, 60)"),
        (lambda h, w: max(h - 40, 0), "max(H - 40, 0)"),
        (lambda h, w: (h // 4) * ((w + 1) // 2) + 1, "(H//4)*((W + 1)//2) + 1"),
        (lambda h, w: h % 7, None),
    ]
    for function, text in functions:
        form = forms.find([function(p["H"], p["W"]) for p in points])
        if text is not None:
            assert form is not None
            assert form.text == text
            assert all(eval(text, dict(point)) == form.at(point) for point in points)
    assert forms.find([p["H"] % 7 for p in points]) is None


# --- conditions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("inputs: {x: [B, 1, H, W]}\nSequential: [{Conv2d: [1, 2, 7]}]", ["H >= 7", "W >= 7"]),
        ("inputs: {x: [B, 1, H, W]}\nSequential: [{PixelUnshuffle: 4}]", ["H % 4 == 0", "W % 4 == 0"]),
        ("inputs: {x: [B, T, 4]}\nparameters: {p: {shape: [9, 4]}}\nforward: return x + p[:x.shape[1]]", ["T <= 9"]),
        ("inputs: {x: [B, 6]}\nforward: return x.view(-1, 12)", ["B % 2 == 0"]),
        ("inputs: {x: [B, 1, 32 * H]}\nSequential: [{MaxPool1d: 32}]", []),
        ("inputs: {x: [B, T]}\nforward: |\n  assert x.shape[1] % 2 == 1, 'odd'\n  return x", ["T % 2 == 1"]),
        ("inputs: {x: [B, 4]}\nSequential: [{BatchNorm1d: 4}]", []),
        # A half of 2 is 1, which is broadcast: 2 works, other even sizes do not.
        (
            "inputs: {x: [B, T, 4]}\nforward: |\n  x = F.pad(x, (0, 0, 1, 0))\n  return x[:, ::2] + x[:, 1::2]",
            ["T % 2 == 1"],
        ),
    ],
)  # fmt: skip
def test_conditions(text: str, conditions: list[str]) -> None:
    report = check(text)
    assert report.ok, str(report)
    assert [condition.text for condition in report.shapes[0].conditions] == conditions
    assert all(condition.reason for condition in report.shapes[0].conditions)


def test_domains_where_sizes_work_in_runs() -> None:
    """A divided size that must be even: a step of 7 goes on to work for a while, one of 8 for ever."""
    works: Callable[[Mapping[str, int]], bool] = lambda p: p["A"] >= 16 and (p["A"] - 2) // 4 % 2 == 1  # noqa: E731
    found = explore(["A"], {"A": 16}, works, [515])
    assert all(works({"A": size}) for size in range(2, 600) if size in found.domains["A"])
    assert found.domains["A"].step == 8


def test_domains_of_a_function() -> None:
    found = explore(["A"], {"A": 24}, lambda p: p["A"] >= 9 and p["A"] % 3 == 0 and p["A"] <= 300, [515])
    assert found.domains["A"].low == 9
    assert found.domains["A"].high == 300
    assert found.domains["A"].step == 3
    assert 12 in found.domains["A"]
    assert 13 not in found.domains["A"]
    assert [text for text, _ in Domain(low=5, step=2).texts("T")] == ["T % 2 == 1", "T >= 5"]


# --- what is run ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Sequential: [{Linear: [4, 4]}]", "no `inputs` are declared"),
        ("inputs: [x]\nforward: return x", "the input `x` has no shape"),
        ("inputs: {x: any}\nforward: return x", "the input `x` has no shape"),
        ("inputs: {x: [B, 4], n: {type: int}}\nforward: return x * n", "the input `n` has no default"),
        ("inputs: {x: [B, 4]}\nchildren: {a: {Linear: [4, 4]}}\nmethods: {m: return a(x)}", "it has no forward"),
    ],
)
def test_unchecked(text: str, reason: str) -> None:
    assert shown(text) == f"unchecked: {reason}"


def test_every_way_to_call() -> None:
    """Optional tensors given or not, texts that are keys, flags."""
    text = """
inputs: {x: [B, 4], flag: {type: bool}, task: {type: str}, mask: {shape: [B, 4], default: null}}
children: {heads: {ModuleDict: {a: {Linear: [4, 3]}, b: {Linear: [WIDTH, 3]}}}}
forward: |
  if mask is not None:
      x = x * mask
  return heads[task](x) if flag else x
"""
    assert "output: [B, 4]" in shown(text.replace("WIDTH", "4"))
    (wrong,) = check(text.replace("WIDTH", "5")).diagnostics
    assert wrong.code == "shape-mismatch"
    assert "flag = True, task = 'b'" in "".join(note.message for note in wrong.notes)


def test_both_modes_and_registered_defaults() -> None:
    assert check("inputs: {x: [B, 4], scale: 2.0}\nforward: return x * scale").ok
    report = check("inputs: {x: [B, 4]}\nforward: return x if training else x.view(3, 5)")
    assert "this is in eval mode" in str(report)


def test_sizes_that_only_one_mode_needs() -> None:
    """Code that asks for the mode is run in both at every size."""
    text = "inputs: {x: [B, 1, H, W]}\nchildren: {c: {Conv2d: [1, 1, 7]}}\nforward: return x if training else c(x)\n"
    report = check(text)
    assert report.ok
    assert not report.diagnostics
    (shapes,) = report.shapes
    assert [condition.text for condition in shapes.conditions] == ["H >= 7", "W >= 7"]
    assert str(shapes).startswith("x: [B, 1, H, W] -> output: [B, 1, H, W] (in eval mode output: [B, 1, H - 6, W - 6])")


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ("return F.dropout(x, 0.5, training)", False),
        ("return F.dropout(x, training=self.training)", False),
        ("p = 0.1 if training else 0.0\n  return F.dropout(x, p)", False),
        ("p = 0.1 if training else 0.0\n  return F.dropout(x, p) * p", True),
        ("p = 2 if training else 3\n  return x.repeat(p, 1)", True),
        ("if training:\n      return x\n  return F.dropout(x, 0.5, training)", True),
        ("return F.dropout(x, 0.5, training)[: 2 if training else 3]", True),
        ("return x", False),
    ],
)
def test_who_asks_for_the_mode(body: str, asked: bool) -> None:
    text = f"confnet: 1\nname: Net\ninputs: {{x: [B, T]}}\nforward: |\n  {body}\n"
    plan, _ = make_plan(confnet.loads(text))
    assert reads_mode(plan) is asked


def test_outputs_are_stated_for_both_modes() -> None:
    text = "outputs: {y: [B, _]}\ninputs: {x: [B, T]}\nforward: return x if training else x[:, :1]\n"
    (warning,) = check(text).diagnostics
    assert warning.code == "shape-varies"
    assert "in eval mode: `float32` of" in "".join(note.message for note in warning.notes)


def test_an_expression_is_right_everywhere_or_is_none() -> None:
    """Divisions inside divisions agree with a simpler one at most sizes."""
    layers = "[{Conv2d: [1, 1, 3, 2]}, {ReflectionPad2d: 1}, {ConvTranspose2d: [1, 1, 2, 3]}, {MaxPool2d: [3, 2]}]"
    (shapes,) = check(f"inputs: {{x: [B, 1, H, W]}}\nSequential: {layers}").shapes
    for size in shapes.outputs[0].sizes[2:]:
        for value in range(9, 80):
            inner = 3 * ((value - 3) // 2 + 1 + 2 - 1) + 2
            assert size == "?" or eval(str(size), {"H": value, "W": value}) == (inner - 3) // 2 + 1


def test_what_torch_lacks_for_values_too_is_an_error() -> None:
    """A NotImplementedError is not always the lack of a meta kernel."""
    (wrong,) = check("inputs: {x: [B, 1, H, W, 4]}\nSequential: [{ReflectionPad2d: 2}]").diagnostics
    assert wrong.code == "shape-mismatch"


def test_lazy_layers_take_their_size_from_the_first_forward() -> None:
    text = "inputs: {x: [B, 3, H, W]}\nSequential: [{LazyConv2d: [4, 3]}, Flatten, {LazyLinear: 5}]"
    (shapes,) = check(text).shapes
    assert str(shapes.outputs[0]) == "output: [B, 5]"
    assert any("stays as in the first forward" in condition.text for condition in shapes.conditions)


def test_variants_and_roots() -> None:
    text = """
args: {width: 4}
variants: {small: {width: 2}, wrong: {width: 5}}
modules: {Half: {inputs: {x: [B, 6]}, Sequential: [{Linear: [6, 3]}]}}
inputs: {x: [B, width]}
children: {fc: {Linear: ["$(min(width, 4))", 3]}}
forward: return fc(x)
"""
    report = check(text)
    assert [shapes.variant for shapes in report.shapes] == [None, "small", "wrong"]
    assert [d.code for d in report.diagnostics if d.severity == "error"] == ["shape-mismatch"]
    assert "under the variant `wrong`" in str(report)
    assert shown(text, root="Half") == "x: [B, 6] -> output: [B, 3]"


def test_shapes_can_be_left_out() -> None:
    wrong = "inputs: {x: [B, 4]}\nSequential: [{Linear: [5, 4]}]"
    assert not check(wrong).ok
    report = check(wrong, shapes=False)
    assert report.ok
    assert report.shapes == ()


# --- no effects -----------------------------------------------------------------------------------------------------


def test_nothing_is_drawn_printed_or_kept(capsys: pytest.CaptureFixture[str]) -> None:
    text = """
inputs: {x: [B, 8]}
children: {fc: {Linear: [8, 8]}, drop: {Dropout: 0.5}}
forward: return drop(fc(x)) + torch.rand(8)
hooks:
  - {kind: forward, where: {name: fc}, call: {print_shape: {}}}
  - {kind: forward, where: {name: fc}, call: {log_stats: {level: error}}}
  - {kind: forward, where: {name: fc}, call: {check_finite: {}}}
"""
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    assert check(text).ok
    assert torch.equal(before, torch.random.get_rng_state())
    assert capsys.readouterr() == ("", "")


def test_no_memory_is_taken() -> None:
    """A model of a terabyte is checked in a moment."""
    start = time.perf_counter()
    assert "[B, T, 500000]" in shown("inputs: {x: [B, T, 500000]}\nSequential: [{Linear: [500000, 500000]}]")
    assert time.perf_counter() - start < 60


def test_hooks_that_change_shapes_are_seen() -> None:
    text = "inputs: {x: [B, 4]}\nSequential: [{Linear: [4, 4]}]\nhooks: [{kind: forward, do: 'return output[:, :2]'}]\n"
    assert "output: [B, 2]" in shown(text)


def test_steps_without_a_meta_kernel_are_a_warning() -> None:
    report = check("inputs: {x: [B, 4]}\nforward: return x[x > 0]")
    assert report.ok
    assert [d.code for d in report.diagnostics] == ["shapes-unchecked"]
    assert not report.shapes[0].checked


@pytest.mark.parametrize(("features", "wrong"), [(12, ""), (16, "cannot take"), (10, "multiple of 16 bytes")])
def test_grouped_products_need_no_bfloat16(features: int, wrong: str) -> None:
    """Torch's meta kernel takes nothing else, those with values do; what they refuse is refused."""
    report = confnet.validate(
        {
            "confnet": 1,
            "inputs": {"x": ["N", features], "ends": {"shape": [4], "dtype": "int32"}},
            "outputs": {"y": ["N", 20]},
            "parameters": {"weight": {"shape": [4, 20, 10 if features == 10 else 12]}},
            "forward": "return F.grouped_mm(x, weight.mT, offs=ends)",
        }
    )
    assert report.ok == (not wrong), str(report)
    assert wrong in str(report)


def test_messages_point_into_the_file() -> None:
    """Each golden text of this stage names a line, and the shapes that met there."""
    cases = sorted((ROOT / "tests" / "cases" / "invalid").glob("shapes-*.txt"))
    assert len(cases) > 25
    for case in cases:
        assert re.search(r"--> shapes-[a-z-]+\.yaml:\d+:\d+", case.read_text(encoding="utf-8"))
