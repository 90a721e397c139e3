"""The wiring of a forward: what is recorded is what happened, in the order and at the lines of the file."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import confnet
from confnet.api import trace
from confnet.shapes import tracing
from confnet.wiring import Call, Trace, Untraced, Value

ROOT = Path(__file__).resolve().parent.parent


def traced(text: str, **options: Any) -> Trace:
    """The wiring of a text without its header."""
    found = trace(io.StringIO(f"confnet: 1\nname: Net\n{text}"), **options)
    assert isinstance(found, Trace), found
    return consistent(found)


def consistent(found: Trace) -> Trace:
    """A trace whose ids lead somewhere: nothing is taken before it was made."""
    assert [call.id for call in found.calls] == list(range(len(found.calls)))
    assert [value.id for value in found.values] == list(range(len(found.values)))
    made: set[int] = set()
    for call in found.calls:
        assert call.parent is None or (call.parent < call.id and found.calls[call.parent].kind == "module")
        if call.kind != "module" or call.inputs:
            assert made.issuperset(call.inputs), call
        leaf = not any(other.parent == call.id for other in found.calls)
        if call.kind != "module" or leaf:
            made.update(call.outputs)
    assert made == {value.id for value in found.values}
    assert made.issuperset(found.outputs)
    return found


def lines(found: Trace) -> list[str]:
    """One line for each call: `line kind fqn label: inputs -> outputs`, values by their shape."""

    def shapes(ids: Iterable[int]) -> str:
        return " ".join(f"{number}{found.values[number].text}" for number in ids)

    return [
        f"{call.line} {call.kind} {call.fqn or '.'} {call.label}: {shapes(call.inputs)} -> {shapes(call.outputs)}"
        + (f" x{call.times}" if call.times > 1 else "")
        for call in found.calls
    ]


def calls(found: Trace, label: str) -> list[Call]:
    return [call for call in found.calls if call.label == label]


RESIDUAL = """
inputs: {x: [B, 4]}
outputs: {y: [B, 4]}
children:
  fc1: {Linear: [4, 8]}
  body: {Sequential: [ReLU, {Linear: [8, 4]}]}
forward: |
  h = body(fc1(x))
  return torch.relu(x + h)
"""


def test_a_residual_block() -> None:
    assert lines(traced(RESIDUAL)) == [
        "4 input . x:  -> 0[B, 4]",
        "1 module . Net: 0[B, 4] -> 5[B, 4]",
        "10 module fc1 Linear: 0[B, 4] -> 1[B, 8]",
        "10 module body Sequential: 1[B, 8] -> 3[B, 4]",
        "8 module body.0 ReLU: 1[B, 8] -> 2[B, 8]",
        "8 module body.1 Linear: 2[B, 8] -> 3[B, 4]",
        "11 function . add: 0[B, 4] 3[B, 4] -> 4[B, 4]",
        "11 function . relu: 4[B, 4] -> 5[B, 4]",
        "5 output . y: 5[B, 4] -> ",
    ]


def test_files_are_named() -> None:
    found = traced(RESIDUAL)
    assert {call.file for call in found.calls} == {"<text>"}
    assert (found.inputs, found.outputs) == ((0,), (5,))
    assert found.values[0] == Value(0, ("B", 4), "float32", "x")


def test_gpt2() -> None:
    found = trace(ROOT / "examples/gpt2.yaml", args={"n_layer": 3})
    assert isinstance(found, Trace)
    consistent(found)
    attentions = calls(found, "scaled_dot_product_attention")
    assert [call.fqn for call in attentions] == [f"transformer.h.{i}.attn" for i in range(3)]
    (output,) = attentions[2].outputs
    assert found.values[output].text == "[B, 12, T, 64]"
    residual = [call for call in calls(found, "add") if call.fqn == "transformer.h.2"]
    around = [found.calls[call.parent or 0] for call in residual]
    assert [call.fqn for call in around] == ["transformer.h.2"] * 2
    assert residual[0].inputs[0] == around[0].inputs[0]  # past the attention
    # The tie is one parameter: it has its first name, and each module that holds it reads it inside.
    assert [call.fqn for call in calls(found, "weight") if "lm_head" in call.fqn] == []
    assert [found.values[n].text for n in found.outputs] == ["[B, T, 50257]"]
    assert [call.fqn for call in found.calls if call.kind == "state"][:2] == [
        "transformer.position_ids",
        "transformer.h.0.attn.c_attn.bias",
    ]


def test_a_tie_that_code_reads_is_one_state() -> None:
    found = traced("""
inputs: {ids: {shape: [B, T], dtype: int64, low: 0, high: 10}}
children: {embed: {Embedding: [10, 4]}, head: {Linear: [4, 10, false]}}
tie: {head.weight: embed.weight}
forward: |
  h = embed(ids)
  return h @ head.weight.T + h @ embed.weight.T
""")
    assert [(call.fqn, call.line, call.parent) for call in found.calls if call.kind == "state"] == [
        ("embed.weight", 5, 1)
    ]
    assert [call.label for call in found.calls if call.kind == "function"] == ["T", "matmul", "T", "matmul", "add"]


def test_an_lstm_has_three_outputs() -> None:
    found = trace(ROOT / "examples/lstm_tagger.yaml")
    assert isinstance(found, Trace)
    (lstm,) = calls(consistent(found), "LSTM")
    assert [found.values[number].text for number in lstm.outputs] == ["[B, T, 256]", "[2, B, 128]", "[2, B, 128]"]
    (head,) = calls(found, "Linear")
    assert head.inputs == lstm.outputs[:1]


def test_tuples_and_dictionaries_come_out_under_their_names() -> None:
    found = trace(ROOT / "examples/multi_head.yaml")
    assert isinstance(found, Trace)
    assert [call.label for call in consistent(found).calls if call.kind == "output"] == ["features", "logits"]
    assert len(found.calls[1].outputs) == 2


def test_a_module_called_twice_is_two_calls() -> None:
    found = traced("""
inputs: {a: [B, 3], b: [N, 3]}
children: {shared: {Linear: [3, 2]}}
forward: return torch.cat([shared(a), shared(b)])
""")
    first, second = calls(found, "Linear")
    assert (first.fqn, second.fqn) == ("shared", "shared")
    (cat,) = calls(found, "cat")
    assert cat.inputs == (*first.outputs, *second.outputs)
    assert found.values[cat.outputs[0]].text == "[B + N, 2]"


def test_what_is_changed_in_place_is_another_value() -> None:
    found = traced("""
inputs: {x: [B, 3]}
children: {act: {ReLU: {inplace: true}}}
forward: |
  y = x + 1
  y[:, 0] = 0
  y += x
  return act(y)
""")
    assert lines(found)[2:] == [
        "7 function . add: 0[B, 3] -> 1[B, 3]",
        "8 function . setitem: 1[B, 3] -> 2[B, 3]",
        "9 function . add_: 2[B, 3] 0[B, 3] -> 3[B, 3]",
        "10 module act ReLU: 3[B, 3] -> 4[B, 3]",
        "0 output . output: 4[B, 3] -> ",
    ]


def test_sizes_are_no_steps_and_views_are() -> None:
    found = traced("""
inputs: {x: [B, 2, H]}
forward: return x.view(x.shape[0], -1) * x.size(1)
""")
    assert [call.label for call in found.calls if call.kind == "function"] == ["view", "mul"]
    assert found.values[-1].text in ("[B, 2*H]", "[B, H*2]")


def test_a_loop_at_one_place_is_one_step() -> None:
    found = traced("""
inputs: {x: [B, 6]}
forward: |
  parts = [p.neg() for p in x.chunk(3, dim=1)]
  return torch.cat(parts, dim=1)
""")
    (neg,) = calls(found, "neg")
    assert (neg.times, len(neg.inputs), len(neg.outputs)) == (3, 3, 3)
    assert [call.times for call in found.calls if call.label != "neg"] == [1] * (len(found.calls) - 1)


def test_steps_of_a_loop_over_a_size_are_told_of_the_first_run() -> None:
    found = traced("""
inputs: {x: [B, T, 2]}
children: {cell: {Linear: [2, 2]}}
forward: |
  h = x[:, 0]
  for t in range(1, x.shape[1]):
      h = cell(h + x[:, t])
  return h
""")
    linear = calls(found, "Linear")
    assert len(linear) > 1
    assert {found.values[call.outputs[0]].text for call in linear} == {"[B, 2]"}


def test_a_function_belongs_to_the_module_whose_code_calls_it() -> None:
    found = traced("""
modules:
  Encoder:
    children: {fc: {Linear: [2, 2]}}
    methods: {encode: {inputs: {x: [B, 2]}, forward: return fc(x).relu()}}
inputs: {x: [B, 2]}
children: {encoder: Encoder}
forward: return encoder.encode(x)
""")
    (relu,) = calls(found, "relu")
    assert (relu.fqn, relu.parent, relu.line) == ("encoder", 1, 7)


def test_hooks_of_the_file_are_steps() -> None:
    found = trace(ROOT / "examples/anatomy/normalised_input.yaml")
    assert isinstance(found, Trace)
    consistent(found)
    assert [call.label for call in found.calls if call.kind == "function"][:2] == ["sub", "div"]
    assert [call.fqn for call in found.calls if call.kind == "state"] == ["mean", "std"]


LAZY = """
modules:
  Block: {inputs: {x: [B, _]}, children: {fc: {LazyLinear: 4}, norm: LazyBatchNorm1d}, forward: return norm(fc(x))}
inputs: {x: [B, 6]}
children: {blocks: {Sequential: [{repeat: 2, module: Block}]}, last: {LazyLinear: 4}}
forward: |
  y = blocks(x)
  return last(y) + y @ last.weight
"""


def test_that_lazy_layers_make_their_parameters_is_no_step() -> None:
    found = traced(LAZY)
    assert [call.label for call in found.calls if call.kind == "function"] == ["matmul", "add"]
    assert [call.fqn for call in found.calls if call.kind == "module"] == [
        "", "blocks", "blocks.0", "blocks.0.fc", "blocks.0.norm", "blocks.1", "blocks.1.fc", "blocks.1.norm", "last",
    ]  # fmt: skip
    assert {found.values[number].text for number in found.outputs} == {"[B, 4]"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Linear: [2, 2]", "no `inputs` are declared"),
        ("inputs: {x: any}\nSequential: [ReLU]", "the input `x` has no shape"),
        ("children: {a: ReLU}", "it has no forward"),
        ("inputs: {x: [B, 3]}\nLinear: [2, 2]", "cannot take `[B, 3]`"),
    ],
)
def test_what_cannot_be_traced(text: str, reason: str) -> None:
    found = trace(io.StringIO(f"confnet: 1\nname: Net\n{text}\n"))
    assert isinstance(found, Untraced)
    assert reason in found.reason, found.reason


@pytest.mark.parametrize("name", ["resnet_cifar", "anatomy/gpt2_init", "anatomy/containers"])
def test_instances_that_are_alike_are_told_as_if_each_was_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = confnet.load(ROOT / f"examples/{name}.yaml")
    variant = next((each.name for each in spec.document.variants), None)
    quick = trace(spec, variant=variant)
    monkeypatch.setattr(tracing._Tracer, "form", lambda *_: None)
    assert trace(spec, variant=variant) == quick


def test_mistakes_are_raised() -> None:
    with pytest.raises(confnet.ConfnetError, match="unknown-layer"):
        trace(io.StringIO("confnet: 1\nname: Net\nLinaer: [2, 2]\n"))
