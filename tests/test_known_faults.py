"""Faults that were found by use, each with what must hold instead. Faults of messages are in tests/cases."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch

from confnet.api import build, inspect, loads, validate
from confnet.builder.instances import blueprint_of
from confnet.limits import Limits

BUFFERS = """\
confnet: 1
buffers:
  base: {shape: [3], fill: 2.0}
  twice: {value: base * 2, persistent: false}
  more: {value: twice + base, persistent: false}
forward: return x + twice + more
"""


def test_buffers_computed_from_buffers_keep_their_values_through_meta() -> None:
    model: Any = build(loads(BUFFERS))
    late: Any = build(loads(BUFFERS), device="meta").to_empty(device="cpu")
    late.base.fill_(7.0)  # what was in the memory
    assert late.twice.tolist() == model.twice.tolist() == [4.0, 4.0, 4.0]
    assert late.more.tolist() == model.more.tolist() == [6.0, 6.0, 6.0]
    late.load_state_dict(model.state_dict())
    assert torch.equal(late(torch.zeros(3)), model(torch.zeros(3)))


def test_to_empty_leaves_what_is_no_computed_buffer_alone() -> None:
    model = build(loads(BUFFERS), device="meta")
    later: Any = model.to_empty(device="cpu")
    assert list(later.state_dict()) == ["base"]
    assert later.base.device.type == "cpu"


def test_a_model_over_the_default_limits_can_be_unpickled() -> None:
    variants = "".join(f"  v{i}: {{}}\n" for i in range(101))
    text = f"confnet: 1\nvariants:\n{variants}children: {{fc: {{Linear: [2, 2]}}}}\nforward: return fc(x)\n"
    assert [d.code for d in validate(loads(text, limits=Limits(variants=200)), variant="v0").diagnostics] == []
    model = build(loads(text, limits=Limits(variants=200)), variant="v0", limits=Limits(variants=200))
    blueprint = pickle.loads(pickle.dumps(blueprint_of(model)))
    assert blueprint.limits == Limits(variants=200)
    assert len(blueprint.spec().document.variants) == 101
    assert type(pickle.loads(pickle.dumps(model))) is type(model)


def test_hooks_that_confnet_needs_itself_are_not_listed() -> None:
    text = """\
confnet: 1
children: {a: {Linear: [4, 4]}, b: {Linear: [4, 4]}}
tie: {b.weight: a.weight}
forward: return b(a(x))
hooks: [{kind: forward, call: print_shape}]
"""
    assert [(row["kind"], row["runs"]) for row in inspect(loads(text)).hooks] == [("forward", "print_shape")]


@pytest.mark.parametrize("name", ["weight_norm", "orthogonal"])
def test_spectral_norm_may_stand_over_another_parametrization(name: str) -> None:
    text = f"""\
confnet: 1
Sequential: [{{Linear: [4, 4], parametrize: {{weight: {name}}}}}]
apply: [{{where: {{name: "0"}}, parametrize: {{weight: spectral_norm}}}}]
"""
    assert validate(loads(text)).ok
    assert build(loads(text))(torch.zeros(2, 4)).shape == (2, 4)


def test_an_unmet_requirement_of_unused_defaults_is_one_only_where_it_is_used() -> None:
    text = """\
confnet: 1
modules:
  Even:
    args: {width: 3}
    require: {$(width % 2 == 0): width must be even}
    Linear: [4, $width]
Sequential: [{Linear: [4, 4]}]
"""
    assert not validate(loads(text)).diagnostics
    assert [d.code for d in validate(loads(text), root="Even").diagnostics] == ["requirement"]
    used = text.replace("[{Linear: [4, 4]}]", "[Even]")
    assert [d.code for d in validate(loads(used)).diagnostics] == ["requirement"]


def test_many_selectors_that_mean_nothing_do_not_take_long() -> None:
    children = ", ".join(f"layer_{i}: ReLU" for i in range(300))
    rules = "".join(f"  - {{where: {{name: lauer_{i}x}}, requires_grad: false}}\n" for i in range(300))
    text = f"confnet: 1\nSequential: {{{children}}}\napply:\n{rules}"
    helps = [d.help for d in validate(loads(text)).diagnostics if d.code == "rule-matches-nothing"]
    assert len(helps) == 300
    assert helps[0] == "did you mean `layer_0`?"
    assert helps[-1] == ""
