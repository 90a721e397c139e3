"""The check of shapes is quick, and what makes it quick changes no answer of torch's."""

from __future__ import annotations

import gc
import io
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import confnet
from confnet.builder.guard import Budget, TooLong, within
from confnet.builder.kernels import _kept_apart, without_compiler
from confnet.shapes.likeness import Likeness
from confnet.shapes.recorder import CallMemory, Construction, Recorder
from confnet.shapes.reductions import _POINTWISE, reduced

ROOT = Path(__file__).resolve().parent.parent


def check(text: str, **options: Any) -> confnet.Report:
    return confnet.validate(io.StringIO(f"confnet: 1\nname: Net\n{text}"), **options)


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


# --- smaller calls --------------------------------------------------------------------------------------------------


def form(result: Any) -> Any:
    return tuple(result.shape), result.stride(), result.dtype


def both(func: Callable[..., Any], *args: Any, **keywords: Any) -> tuple[Any, Any]:
    """What torch says of a call, and what is made of its answer to the smaller one (None if that is not asked)."""
    reduction = reduced(func.__name__, args, keywords)
    if reduction is None:
        return None, None
    smaller, whole = reduction
    answer = whole(func(*smaller, **keywords))
    return form(func(*args, **keywords)), None if answer is None else form(answer)


_OPERANDS = [
    (meta(5, 7, 11), meta(5, 7, 11)),
    (meta(5, 7, 11), meta(11)),
    (meta(11), meta(5, 1, 11)),
    (meta(5, 7, 11), meta(7, 1)),
    (meta(1, 7), meta(1, 1, 7)),
    (meta(9), meta()),
    (meta(9, dtype=torch.int64), meta(9)),
    (meta(9, dtype=torch.float16), meta(dtype=torch.float64)),
    (meta(4, 3, dtype=torch.bool), meta(4, 3, dtype=torch.int32)),
    (meta(6, 5), 2),
    (meta(6, 5, dtype=torch.int64), 2.5),
    (meta(6, 5, dtype=torch.bool), True),
]


@pytest.mark.filterwarnings("ignore:An output with one or more elements was resized")
@pytest.mark.parametrize("name", sorted(_POINTWISE))
def test_pointwise_answers_are_those_of_torch(name: str) -> None:
    func = getattr(torch.Tensor, name, None) or getattr(F, name, None) or getattr(torch, name, None)
    compared = 0
    for operands in _OPERANDS:
        for args in (operands, operands[:1]):
            try:
                expected, answer = both(func, *args) if func is not None else (None, None)
            except (RuntimeError, TypeError, ValueError, IndexError, AttributeError):
                continue  # refused: then the call itself is made
            compared += answer is not None
            assert answer is None or answer == expected, (name, args)
    assert compared or func is None or name in ("softmax", "log_softmax", "masked_fill", "masked_fill_", "dropout_"), (
        name
    )


@pytest.mark.parametrize(
    ("func", "args"),
    [
        (F.linear, (meta(5, 9, 3), meta(8, 3), meta(8))),
        (F.linear, (meta(5, 3), meta(8, 3))),
        (F.linear, (meta(3, 5).t(), meta(8, 3))),
        (torch.addmm, (meta(8), meta(50, 3), meta(3, 8))),
        (F.embedding, (meta(5, 9, dtype=torch.int64), meta(100, 8))),
        (F.layer_norm, (meta(5, 9, 8), (8,), meta(8), meta(8))),
        (F.batch_norm, (meta(5, 9, 8), meta(9), meta(9), meta(9), meta(9), True)),
        (F.scaled_dot_product_attention, (meta(5, 4, 9, 8), meta(5, 4, 9, 8), meta(5, 4, 9, 8))),
        (F.scaled_dot_product_attention, (meta(5, 4, 9, 8), meta(5, 4, 17, 8), meta(5, 4, 17, 6))),
        (torch.cat, ([meta(5, 2, 8), meta(5, 9, 8)], 1)),
        (torch.softmax, (meta(5, 9), -1)),
        (torch.Tensor.masked_fill, (meta(5, 9), meta(9, dtype=torch.bool), 0.0)),
    ],
)
def test_smaller_answers_are_those_of_torch(func: Callable[..., Any], args: tuple[Any, ...]) -> None:
    expected, answer = both(func, *args)
    assert answer is not None
    assert answer == expected


def test_attention_of_transposed_heads() -> None:
    heads = meta(5, 9, 4, 8).transpose(1, 2)
    expected, answer = both(F.scaled_dot_product_attention, heads, heads, heads)
    assert answer in (None, expected)  # None where the order in memory is not the usual one


def test_refusals_tell_the_sizes_of_the_model() -> None:
    with pytest.raises(RuntimeError, match="50"), Recorder(CallMemory()):
        F.linear(meta(50, 9, 4), meta(8, 3))


def test_changes_in_place_are_seen() -> None:
    """A call that is answered from memory still counts as a change of its operand."""
    memory = CallMemory()
    for _ in range(3):
        x = meta(4, 4)
        with Recorder(memory):
            before = x._version
            assert x.add_(1) is x
            assert F.relu(x, inplace=True) is x
        assert x._version > before + 1


# --- what is alike --------------------------------------------------------------------------------------------------


def numbers(*models: nn.Module) -> list[int]:
    likeness = Likeness()
    found = []
    for model in models:
        names = {module: name for name, module in model.named_modules()}
        found.append(likeness.of(names, {})[model])
    return found


def test_modules_that_behave_alike() -> None:
    with torch.device("meta"):
        one, two = (nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5)) for _ in range(2))
        others = [
            nn.Sequential(nn.Linear(3, 5), nn.Dropout(0.5)),
            nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.25)),
            nn.Sequential(nn.Linear(3, 4, bias=False), nn.Dropout(0.5)),
            nn.Sequential(nn.Linear(3, 4, dtype=torch.float64), nn.Dropout(0.5)),
            nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.ReLU()),
        ]
        hooked = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))
        hooked[0].register_forward_hook(lambda *_: None)
    found = numbers(one, two, *others, hooked)
    assert found[0] == found[1]
    assert len(set(found)) == len(found) - 1


def test_one_and_true_are_not_alike() -> None:
    models = [nn.Identity() for _ in range(3)]
    for model, value in zip(models, (1, True, 1.0), strict=True):
        model.__dict__["flag"] = value
    assert len(set(numbers(*models))) == 3


def test_tensors_with_values_are_not_alike() -> None:
    """A layer may make sizes of what they hold."""
    models = [nn.Identity() for _ in range(2)]
    for model, value in zip(models, (1, 2), strict=True):
        model.__dict__["size"] = torch.tensor(value)
    assert len(set(numbers(*models))) == 2


def test_variants_that_say_nothing_new_are_not_run_again() -> None:
    text = """
args: {width: 4, act: {type: module, default: ReLU}}
variants: {same: {width: 4}, float: {}, wide: {width: 5}}
inputs: {x: [B, width]}
Sequential: [{Linear: ["$width", 3]}, $act]
"""
    report = check(text)
    assert report.ok
    assert [shapes.variant for shapes in report.shapes] == [None, "same", "float", "wide"]
    assert [str(shapes.inputs[0]) for shapes in report.shapes] == ["x: [B, 4]"] * 3 + ["x: [B, 5]"]


def test_a_variant_of_another_type_is_another_model() -> None:
    text = "args: {n: {type: any, default: 1}}\nvariants: {b: {n: true}}\nlet: {m: '$(str(n))'}\n"
    text += "inputs: {x: [B, 4]}\nchildren: {a: {ModuleDict: {'1': {Linear: [4, 3]}, 'True': {Linear: [4, 2]}}}}\n"
    report = check(text + "forward: return a[m](x)\n")
    if report.ok:
        assert [shapes.outputs[0].text for shapes in report.shapes] == ["[B, 3]", "[B, 2]"]


# --- torch's compiler -----------------------------------------------------------------------------------------------


def test_torchs_compiler_is_not_imported() -> None:
    code = (
        "import sys, confnet; report = confnet.validate('examples/multi_head.yaml'); assert report.shapes[0].checked;"
        "assert 'torch._dynamo' not in sys.modules, 'it was';"
        "import torch; torch.ones(2, device='meta') + 1; assert 'torch._dynamo' in sys.modules, 'it stayed away'"
    )
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_kernels_are_left_as_they_were() -> None:
    assert len(_kept_apart()) > 50
    before = [dict(function.__dict__) for function in _kept_apart()]
    with without_compiler(), without_compiler():
        assert torch.equal(torch.ones(2) + 1, torch.full((2,), 2.0))
    assert [dict(function.__dict__) for function in _kept_apart()] == before


# --- the making of models -------------------------------------------------------------------------------------------


def test_initialisers_are_asked_once() -> None:
    seen: set[object] = set()
    for _ in range(2):
        with torch.device("meta"), Construction(seen), torch.no_grad():
            weight = nn.Parameter(torch.empty(3, 4))
            assert nn.init.normal_(weight, std=0.1) is weight
    assert seen
    with torch.device("meta"), Construction(seen), pytest.raises(RuntimeError, match="std"):
        nn.init.normal_(nn.Parameter(torch.empty(3, 4)), std=-1.0)
    with torch.device("cpu"), Construction(seen), torch.no_grad():
        assert float(torch.zeros(3, 4).fill_(2.0).sum()) == 24.0


# --- long forwards --------------------------------------------------------------------------------------------------

LONG = """
inputs: {x: [B, 4]}
forward: |
  for i in range(900):
      for j in range(900):
          x = STEP
  return x
"""


@pytest.mark.parametrize("step", ["x * 2", "torch.relu(x)"])
def test_long_forwards_are_a_warning_soon(step: str) -> None:
    begin = time.process_time()
    report = check(LONG.replace("STEP", step))
    assert time.process_time() - begin < 8
    assert report.ok
    assert [d.code for d in report.diagnostics if d.severity == "warning"] == ["shapes-unchecked"]
    assert not report.shapes[0].checked


def test_large_models_are_not_taken_for_long_ones() -> None:
    text = "inputs: {x: [B, 4]}\nSequential: [{repeat: 400, module: {Linear: [4, 4]}}]\n"
    report = check(text)
    assert not report.diagnostics
    assert report.shapes[0].checked


def test_the_budget_is_one_for_all() -> None:
    allowed = Budget(steps=100, seconds=60)
    with within(allowed), within(Budget(1, 0)):
        allowed.spend(60)
    with within(allowed), pytest.raises(TooLong, match="too many steps"):
        allowed.spend(60)
    slow = Budget(steps=10**6, seconds=-1, free=500)
    with within(slow):
        slow.spend(500)
        with pytest.raises(TooLong, match="too long"):
            slow.spend(64)


def test_the_collector_is_on_again() -> None:
    assert gc.isenabled()
    check("inputs: {x: [B, 4]}\nLinear: [4, 4]\n")
    check("Relu:\n")
    assert gc.isenabled()


# --- several mistakes -----------------------------------------------------------------------------------------------

TWO = """
modules:
  Encoder:
    inputs: {x: [B, 8]}
    outputs: {y: [B, PROMISED]}
    children: {fc: {Linear: [FIRST, 16]}}
    forward: return fc(x)
  Decoder:
    inputs: {x: [B, 16]}
    outputs: {y: [B, 4]}
    children: {fc: {Linear: [SECOND, 4]}}
    forward: return fc(x)
inputs: {x: [B, 8]}
children: {encoder: Encoder, decoder: Decoder, out: {Linear: [THIRD, 4]}}
forward: return out(decoder(encoder(x)))
"""


@pytest.mark.parametrize(
    ("sizes", "lines"),
    [
        ({}, []),
        ({"FIRST": 9}, [9]),
        ({"FIRST": 9, "SECOND": 17}, [9, 14]),
        ({"FIRST": 9, "SECOND": 17, "THIRD": 5}, [9, 14, 17]),
        ({"SECOND": 17, "THIRD": 5}, [14, 17]),
        ({"PROMISED": 17}, [17]),  # and not what the decoder makes of 17
    ],
)
def test_unrelated_mistakes_are_told_together(sizes: dict[str, int], lines: list[int]) -> None:
    text = TWO
    for name, size in {"PROMISED": 16, "FIRST": 8, "SECOND": 16, "THIRD": 4, **sizes}.items():
        text = text.replace(name, str(size))
    report = check(text)
    assert [d.span.line for d in report.diagnostics if d.span] == lines, str(report)


def test_a_definition_without_a_promise_ends_it() -> None:
    text = TWO.replace("    outputs: {y: [B, PROMISED]}\n", "").replace("FIRST", "9").replace("SECOND", "17")
    assert len(check(text.replace("THIRD", "4")).diagnostics) == 1
