"""Seeds that hold: the bits of a parameter depend on the seed and its name, and on nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import confnet
from tests import test_anatomy, test_examples
from tests.test_zoo import ARCHITECTURES

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

Call = tuple[Path, dict[str, Any]]
"""A file, and what `build` is given besides."""


def _calls() -> dict[str, Call]:
    """Every example once, as small as its other tests build it."""
    found: dict[str, Call] = {}
    cases: list[Any] = [*test_examples.CASES, *test_anatomy.CASES]
    for example in cases:
        found.setdefault(str(example.path.relative_to(EXAMPLES)), (example.path, {"args": example.args}))
    for architecture in ARCHITECTURES:
        config = architecture.configs[0]
        options = {"variant": config.variant, "root": config.root, "args": config.args}
        found.setdefault(str(architecture.path.relative_to(EXAMPLES)), (architecture.path, options))
    return found


CALLS = _calls()


def build(text: str, **options: Any) -> Any:
    return confnet.build(confnet.loads(f"confnet: 1\n{text}"), **options)


def values(model: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers(remove_duplicate=False))}


def assert_same(one: nn.Module, other: nn.Module, close: float = 0.0) -> None:
    """Equal parameters and buffers, non-persistent ones too."""
    left, right = values(one), values(other)
    assert list(left) == list(right)
    for name, tensor in left.items():
        assert not tensor.is_meta
        torch.testing.assert_close(right[name], tensor, rtol=0, atol=close, equal_nan=True, msg=name)


@pytest.fixture
def threads() -> Any:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


# --- every example ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CALLS)
def test_a_seed_gives_one_model(name: str, threads: Any) -> None:
    """On one thread and on three, and on meta first; another seed gives another."""
    path, options = CALLS[name]
    threads(1)
    model = confnet.build(path, seed=5, **options)
    abstract = confnet.build(path, device="meta", **options)
    assert all(tensor.is_meta for tensor in abstract.parameters())
    assert_same(model, confnet.materialize(abstract, "cpu", seed=5))
    assert confnet.init_report(model) == confnet.init_report(abstract)
    threads(3)
    assert_same(model, confnet.build(path, seed=5, **options), close=1e-5)
    drawn = [p for p in model.parameters() if p.numel() > 1 and bool((p != p.flatten()[0]).any())]
    others = values(confnet.build(path, seed=6, **options))
    same = {id(p): name for name, p in model.named_parameters()}
    assert not drawn or any(not torch.equal(p, others[same[id(p)]]) for p in drawn)


@pytest.mark.parametrize("name", CALLS)
def test_the_global_generator_decides_without_a_seed(name: str) -> None:
    path, options = CALLS[name]
    torch.manual_seed(3)
    one = confnet.build(path, **options)
    torch.manual_seed(3)
    assert_same(one, confnet.build(path, **options))


FROM_LIBRARIES = {"gpt2.yaml"}
"""Examples whose reference is a library's, which initialises otherwise than the file says."""


@pytest.mark.parametrize("case", test_examples.CASES, ids=str)
def test_as_hand_written_code_draws(case: Any) -> None:
    """The examples of `examples/anatomy` are compared so in their own tests."""
    if case.file in FROM_LIBRARIES:
        torch.manual_seed(4)
        first = case.build()
        torch.manual_seed(4)
        assert_same(first, case.build())
        return
    torch.manual_seed(4)
    built = case.build()
    after = torch.rand(2)
    torch.manual_seed(4)
    reference = case.reference()
    assert torch.equal(after, torch.rand(2)), "as much is drawn"
    state, wanted = built.state_dict(), reference.state_dict()
    assert list(state) == list(wanted)
    for name, tensor in wanted.items():
        assert torch.equal(state[name], tensor), name


# --- what else is in the model ---------------------------------------------------------------------------------------

LAYERS = {
    "linear": "{Linear: [6, 6]}",
    "normal": "{Linear: [6, 6], init: {weight: normal_, bias: {uniform_: [-1, 1]}}}",
    "value": "{Linear: [6, 6], init: {weight: {value: torch.randn(shape)}}}",
    "orthogonal": "{Linear: [6, 6], init: {weight: orthogonal_}}",
    "parametrized": "{Linear: [6, 6], parametrize: {weight: spectral_norm}}",
    "attention": "{TransformerEncoderLayer: {d_model: 6, nhead: 2, dim_feedforward: 4}}",
    "recurrent": "{LSTM: [6, 3]}",
    "composite": (
        "{children: {inner: {Linear: [6, 6]}}, buffers: {noise: {value: torch.randn(4)}}, forward: return inner(x)}"
    ),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_other_layers_change_nothing(layer: str) -> None:
    """Whatever is added, taken away or moved, a layer under one name begins with the same bits."""
    alone = build(f"children:\n  it: {LAYERS[layer]}\nforward: return it(x)", seed=11)
    others = "".join(f"  {name}_0: {text}\n" for name, text in LAYERS.items())
    before = build(f"children:\n{others}  it: {LAYERS[layer]}\nforward: return it(x)", seed=11)
    after = build(f"children:\n  it: {LAYERS[layer]}\n{others}forward: return it(x)", seed=11)
    for model in (before, after):
        assert_same(alone.get_submodule("it"), model.get_submodule("it"))


def test_layers_of_one_kind_differ() -> None:
    model = build("Sequential: [{repeat: 3, module: {Linear: [4, 4]}}]", seed=0)
    weights = [layer.weight for layer in model]
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])


def test_a_rule_draws_anew_from_the_same_stream() -> None:
    """The last rule decides; what an earlier one would have drawn leaves no trace."""
    once = build("Sequential: [{Linear: [4, 4], init: {weight: {normal_: {std: 3}}}}]", seed=2)
    twice = build(
        "children: {fc: {Linear: [4, 4]}}\nforward: return fc(x)\n"
        "apply:\n- {where: {type: Linear}, init: {weight: orthogonal_}}\n"
        "- {where: {name: fc}, init: {weight: {normal_: {std: 3}}}}",
        seed=2,
    )
    plain = build(
        "children: {fc: {Linear: [4, 4], init: {weight: {normal_: {std: 3}}}}}\nforward: return fc(x)", seed=2
    )
    assert torch.equal(twice.fc.weight, plain.fc.weight)
    assert not torch.equal(once[0].weight, plain.fc.weight)


def test_two_builds_differ_and_leave_one_number_drawn() -> None:
    text = "Sequential: [{Linear: [4, 4]}, {Linear: [4, 400]}]"
    torch.manual_seed(0)
    one, two = build(text), build(text)
    assert not torch.equal(one[0].weight, two[0].weight)
    after = torch.rand(1)
    torch.manual_seed(0)
    build("Sequential: [{Linear: [4, 4]}]"), build("Sequential: [Tanh]")
    assert torch.equal(after, torch.rand(1)), "as many numbers as builds, whatever is in them"


def test_a_seed_leaves_the_global_generator_alone() -> None:
    text = f"children: {{{', '.join(f'{name}: {layer}' for name, layer in LAYERS.items())}}}\nforward: return x"
    before = torch.get_rng_state()
    build(text, seed=1)
    build(text, device="meta")
    assert torch.equal(before, torch.get_rng_state())


def test_seeds_that_are_none() -> None:
    text = "Sequential: [{Linear: [4, 4]}]"
    for seed in (2**64, -(2**63) - 1):
        with pytest.raises(ValueError, match="out of range"):
            build(text, seed=seed)
    for wrong in (True, 1.0, "1"):
        with pytest.raises(TypeError, match="`seed` is an int"):
            build(text, seed=wrong)
    with pytest.raises(ValueError, match="one of 'parameter', 'cpu', 'torch'"):
        build(text, seeding="global")
    with pytest.raises(ValueError, match=r"call `torch\.manual_seed`"):
        build(text, seed=1, seeding="torch")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="another device than the CPU is needed")
@pytest.mark.parametrize("layer", LAYERS)
def test_bits_of_the_cpu_on_another_device(layer: str) -> None:
    text = f"children:\n  it: {LAYERS[layer]}\nforward: return it(x)"
    there = build(text, seed=1, seeding="cpu", device="cuda")
    assert all(tensor.is_cuda for tensor in values(there).values())
    assert_same(build(text, seed=1), there.cpu())
    drawn = build(text, seed=1, device="cuda")
    assert_same(drawn, confnet.materialize(build(text, device="meta"), "cuda", seed=1))
