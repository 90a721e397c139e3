"""Default initialisers of our own: every layer of torch, its distribution, and streams that hold on any threads."""

from __future__ import annotations

import inspect
import itertools
import math
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrizations

from confnet.api import build, loads
from confnet.builder.defaults import (
    Slot,
    copies_of,
    default_initializer,
    defaults_of,
    own_defaults,
    reset_buffers,
)
from confnet.builder.initializers import (
    Constant,
    Initializer,
    Uniform,
    named,
)
from confnet.builder.kernels import without_compiler
from confnet.builder.streams import Job, run_all
from confnet.catalog.layers import torch_layers

Make = Callable[[], nn.Module]


def _encoder(width: int = 8) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(width, 2, 12, batch_first=True)


def _transformer(**keywords: Any) -> nn.Transformer:
    return nn.Transformer(8, 2, 2, 2, 12, batch_first=True, **keywords)


# Layers that draw or fill in the order of their own parameters, so that one stream must give torch's very bits.
LEAVES: dict[str, list[Make]] = {
    "Linear": [
        lambda: nn.Linear(7, 30),
        lambda: nn.Linear(30, 7, bias=False),
        lambda: nn.Linear(7, 5, dtype=torch.double),
    ],
    "Bilinear": [lambda: nn.Bilinear(5, 7, 6), lambda: nn.Bilinear(5, 7, 6, bias=False)],
    "Conv1d": [lambda: nn.Conv1d(4, 6, 3)],
    "Conv2d": [lambda: nn.Conv2d(4, 6, (3, 2), groups=2), lambda: nn.Conv2d(3, 6, 3, bias=False)],
    "Conv3d": [lambda: nn.Conv3d(2, 4, 3)],
    "ConvTranspose1d": [lambda: nn.ConvTranspose1d(4, 10, 3)],
    "ConvTranspose2d": [lambda: nn.ConvTranspose2d(4, 10, (3, 2), groups=2)],
    "ConvTranspose3d": [lambda: nn.ConvTranspose3d(2, 4, 3)],
    "Embedding": [lambda: nn.Embedding(20, 6), lambda: nn.Embedding(20, 6, padding_idx=-3)],
    "EmbeddingBag": [lambda: nn.EmbeddingBag(20, 6), lambda: nn.EmbeddingBag(20, 6, padding_idx=0)],
    "BatchNorm1d": [lambda: nn.BatchNorm1d(6), lambda: nn.BatchNorm1d(6, affine=False)],
    "BatchNorm2d": [lambda: nn.BatchNorm2d(6, track_running_stats=False)],
    "BatchNorm3d": [lambda: nn.BatchNorm3d(6)],
    "SyncBatchNorm": [lambda: nn.SyncBatchNorm(6)],
    "InstanceNorm1d": [lambda: nn.InstanceNorm1d(6), lambda: nn.InstanceNorm1d(6, affine=True)],
    "InstanceNorm2d": [lambda: nn.InstanceNorm2d(6, affine=True, track_running_stats=True)],
    "InstanceNorm3d": [lambda: nn.InstanceNorm3d(6, affine=True)],
    "LayerNorm": [
        lambda: nn.LayerNorm((3, 4)),
        lambda: nn.LayerNorm(4, bias=False),
        lambda: nn.LayerNorm(4, elementwise_affine=False),
    ],
    "GroupNorm": [lambda: nn.GroupNorm(2, 6), lambda: nn.GroupNorm(2, 6, affine=False)],
    "RMSNorm": [lambda: nn.RMSNorm(6), lambda: nn.RMSNorm(6, elementwise_affine=False)],
    "PReLU": [lambda: nn.PReLU(), lambda: nn.PReLU(5, init=0.4)],
    "RNN": [lambda: nn.RNN(3, 5, 2, bidirectional=True)],
    "LSTM": [lambda: nn.LSTM(3, 5, 2), lambda: nn.LSTM(3, 5, proj_size=2, bias=False)],
    "GRU": [lambda: nn.GRU(3, 5)],
    "RNNBase": [lambda: nn.RNNBase("LSTM", 3, 5)],
    "RNNCellBase": [lambda: nn.RNNCellBase(3, 5, True, num_chunks=2)],
    "RNNCell": [lambda: nn.RNNCell(3, 5)],
    "LSTMCell": [lambda: nn.LSTMCell(3, 5, bias=False)],
    "GRUCell": [lambda: nn.GRUCell(3, 5)],
    "AdaptiveLogSoftmaxWithLoss": [lambda: nn.AdaptiveLogSoftmaxWithLoss(16, 30, [5, 15], head_bias=True)],
    "LinearCrossEntropyLoss": [lambda: nn.LinearCrossEntropyLoss(5, 6, bias=True)],
}
# Layers of layers, some of which set anew what is inside, so that torch draws twice.
COMPOUND: dict[str, list[Make]] = {
    "MultiheadAttention": [
        lambda: nn.MultiheadAttention(8, 2),
        lambda: nn.MultiheadAttention(8, 2, kdim=5, vdim=3, add_bias_kv=True),
        lambda: nn.MultiheadAttention(8, 2, bias=False),
    ],
    "TransformerEncoderLayer": [_encoder],
    "TransformerDecoderLayer": [lambda: nn.TransformerDecoderLayer(8, 2, 12, bias=False)],
    "TransformerEncoder": [lambda: nn.TransformerEncoder(_encoder(), 2, nn.LayerNorm(8))],
    "TransformerDecoder": [lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 12), 2)],
    "Transformer": [
        _transformer,
        lambda: _transformer(custom_encoder=nn.Sequential(nn.Embedding(9, 8, padding_idx=0), nn.Bilinear(8, 8, 8))),
    ],
}
CASES = LEAVES | COMPOUND
# Calls with which a layer without parameters can be made, tried in this order.
CALLS: tuple[tuple[Any, ...], ...] = ((), (2,), (2, 2), (1, (1, 1)), (0.0, 1.0), (3, 3, 3), ([nn.ReLU()],))


def every(table: Mapping[str, list[Make]]) -> list[Any]:
    """The rows of a table as parameters of a test."""
    rows = [(f"{name}-{index}", make) for name, makes in table.items() for index, make in enumerate(makes)]
    return [pytest.param(make, id=name) for name, make in rows]


def slots(module: nn.Module) -> dict[Slot, str]:
    """Each place of a parameter, with its dotted name."""
    return {
        (inner, name): f"{prefix}.{name}" if prefix else name
        for prefix, inner in module.named_modules()
        for name, parameter in inner._parameters.items()
        if parameter is not None
    }


def by_name(module: nn.Module) -> dict[str, Initializer]:
    names = slots(module)
    return {names[slot]: initializer for slot, initializer in defaults_of(module).items()}


def filled(module: nn.Module, seed: int, threads: int = 1) -> nn.Module:
    """A module with all of its parameters drawn anew by what is ours."""
    names, defaults, copies = slots(module), defaults_of(module), copies_of(module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(math.nan)
    run_all(
        [Job(slot[0]._parameters[slot[1]], defaults[slot], seed, names[copies.get(slot, slot)]) for slot in names],  # type: ignore[arg-type]
        threads,
    )
    return module


# --- every layer ----------------------------------------------------------------------------------------------------


def torch_classes() -> dict[str, type[nn.Module]]:
    """Every Module class of torch.nn, and of the catalog."""
    found = {name: cls for name, cls in vars(nn).items() if inspect.isclass(cls) and issubclass(cls, nn.Module)}
    return found | {name: getattr(nn, name) for name in torch_layers()}


def uncovered(classes: Mapping[str, type[nn.Module]]) -> list[str]:
    """The layers with parameters that no case covers, and those that cannot even be tried without one."""
    found = []
    for name, cls in classes.items():
        if name in CASES or name.startswith("Lazy") or name in ("Module", "Container"):
            continue
        module = tried(cls)
        if module is None or own_defaults(module) is None or module.state_dict():
            found.append(name)
    return found


def tried(cls: type[nn.Module]) -> nn.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of names that torch keeps for old code
        for arguments in CALLS:
            with suppress(TypeError, ValueError, AssertionError):
                return cls(*arguments)
    return None


def test_every_layer_of_torch_is_covered() -> None:
    assert uncovered(torch_classes()) == []
    assert set(CASES) <= set(torch_classes())


def test_a_new_layer_would_be_noticed() -> None:
    class Novel(nn.Module):
        """One that torch might gain."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.empty(3))

    class Outer(nn.Module):
        """One that sets anew what is inside it."""

        def reset_parameters(self) -> None:
            """Nothing that anyone could see."""

    class Unmade(nn.Module):
        def __init__(self, *, odd: int) -> None:
            super().__init__()

    for cls in (Novel, Outer, Unmade):
        cls.__module__ = "torch.nn.modules.novel"
        assert uncovered({cls.__name__: cls}) == [cls.__name__]


@pytest.mark.parametrize("name", [name for name in torch_layers() if name.startswith("Lazy")])
def test_lazy_layers_begin_with_nothing_and_end_as_their_layer(name: str) -> None:
    arguments = {"LazyLinear": (5,)}.get(name, (6, 3) if "Conv" in name else ())
    module = getattr(nn, name)(*arguments)
    assert {name for name, parameter in module.named_parameters() if not is_lazy(parameter)} == set(by_name(module))
    assert reset_buffers(module) == ()
    dimensions = int(name[-2]) if name.endswith("d") else 0
    module(torch.ones(2, 4, *[5] * dimensions))
    assert set(defaults_of(module)) == set(slots(module))


@pytest.mark.parametrize("make", every(CASES))
def test_the_names_are_all_parameters(make: Make) -> None:
    module = make()
    assert set(defaults_of(module)) == set(slots(module))


@pytest.mark.parametrize("make", every(LEAVES))
def test_one_by_one_as_all_at_once(make: Make) -> None:
    module = make()
    assert {slot: default_initializer(*slot) for slot in slots(module)} == defaults_of(module)


@pytest.mark.parametrize("make", every(CASES))
def test_meta_says_the_same(make: Make) -> None:
    with torch.device("meta"), without_compiler():
        abstract = make()
    assert by_name(abstract) == by_name(make())


@pytest.mark.parametrize("make", every(LEAVES))
def test_one_stream_gives_the_bits_of_torch(make: Make) -> None:
    torch.manual_seed(11)
    theirs = make()
    ours, generator = make(), torch.Generator().manual_seed(11)
    defaults = defaults_of(ours)
    for (module, name), (left, right) in zip(
        slots(ours), zip(ours.parameters(), theirs.parameters(), strict=True), strict=True
    ):
        left.data.fill_(math.nan)
        defaults[module, name](left, generator)
        assert torch.equal(left, right), name


def samples(make: Make, draw: Callable[[nn.Module, int], nn.Module], least: int) -> dict[str, torch.Tensor]:
    """The values of each parameter over several draws, at least so many."""
    found: dict[str, list[torch.Tensor]] = {}
    for seed in itertools.count():
        torch.manual_seed(seed)
        for name, parameter in draw(make(), seed).named_parameters():
            found.setdefault(name, []).append(parameter.detach().clone().flatten())
        if all(sum(map(len, values)) >= least for values in found.values()) or seed >= 24:
            return {name: torch.cat(values) for name, values in found.items()}
    raise AssertionError


def distance(left: torch.Tensor, right: torch.Tensor) -> float:
    """The Kolmogorov-Smirnov statistic of two samples, in units that do not depend on their sizes."""
    where = torch.cat([left, right]).sort().values
    steps = [torch.searchsorted(x.sort().values, where, right=True) / len(x) for x in (left, right)]
    return (steps[0] - steps[1]).abs().max().item() / math.sqrt(1 / len(left) + 1 / len(right))


@pytest.mark.parametrize("make", every(CASES))
def test_the_distribution_is_that_of_torch(make: Make) -> None:
    initializers = by_name(make())
    theirs = samples(make, lambda module, seed: module, 600)
    ours = samples(make, filled, 600)
    assert list(ours) == list(theirs)
    for name, initializer in initializers.items():
        left, right = ours[name], theirs[name]
        if isinstance(initializer, Constant):
            assert torch.equal(left, right), name
            continue
        if isinstance(initializer, Uniform):
            # exactly: nothing of torch is outside, and torch comes as near as so many draws do
            bound = torch.tensor(initializer.high, dtype=right.dtype)
            assert initializer.low == -initializer.high
            assert bound * (1 - 30 / len(right)) < right.abs().max() <= bound, name
            assert left.abs().max() <= bound, name
        assert distance(left, right) < 2.3, name  # chance alone passes it once in 20,000
        noise = right.std().item() * math.sqrt(1 / len(left) + 1 / len(right))
        assert abs(left.mean() - right.mean()) < 5 * noise, name
        assert abs(left.std() - right.std()) < 5 * noise, name


def test_the_distance_tells_distributions_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    plain, other = (torch.rand(600, generator=generator) for _ in range(2))
    assert distance(plain, other) < 2.3 < distance(plain, other * 1.2)
    assert distance(plain, torch.rand(600, generator=generator) ** 1.5) > 2.3


# --- structure ------------------------------------------------------------------------------------------------------


def test_padding_is_zero_and_nothing_else_is() -> None:
    table = filled(nn.Embedding(20, 6, padding_idx=-3), 0).get_parameter("weight")
    assert not table[17].any()
    assert torch.cat([table[:17], table[18:]]).all()


def test_a_transformer_sets_matrices_anew_and_keeps_the_rest() -> None:
    model = _transformer(custom_encoder=nn.Sequential(nn.Embedding(9, 8, padding_idx=0), nn.Linear(8, 4)))
    found = by_name(model)
    assert found["encoder.0.weight"] == named("xavier_uniform_", (), {}, (9, 8))
    assert filled(model, 0).get_parameter("encoder.0.weight")[0].any()  # as in torch, the row of padding too
    assert found["encoder.1.bias"] == Uniform(-1 / math.sqrt(8), 1 / math.sqrt(8))
    assert found["decoder.layers.0.self_attn.out_proj.bias"] == Constant(0.0)


def test_layers_of_an_encoder_begin_alike_as_in_torch() -> None:
    def alike(module: nn.Module) -> set[str]:
        first, second = (dict(layer.named_parameters()) for layer in module.layers)  # type: ignore[union-attr]
        return {name for name in first if torch.equal(first[name], second[name])}

    def encoder() -> nn.Module:
        return nn.TransformerEncoder(_encoder(), 2)

    assert alike(filled(encoder(), 5)) == alike(encoder()) == {name for name, _ in _encoder().named_parameters()}
    inner, ours = _transformer(), filled(_transformer(), 5)
    assert alike(ours.encoder) == alike(inner.encoder)  # type: ignore[arg-type]
    assert "linear1.bias" in alike(ours.encoder)  # type: ignore[arg-type]
    assert "linear1.weight" not in alike(ours.encoder)  # type: ignore[arg-type]


def test_copies_of_copies_have_one_original() -> None:
    class Stack(nn.Module):
        """Not of torch: its name is all that matters below."""

    outer = nn.TransformerEncoder(_encoder(), 2)
    outer.layers[0].inner = nn.TransformerEncoder(_encoder(), 2)
    outer.layers[1].inner = nn.TransformerEncoder(_encoder(), 2)
    names = slots(outer)
    found = {names[slot]: names[original] for slot, original in copies_of(outer).items()}
    assert found["layers.1.inner.layers.1.linear1.weight"] == "layers.0.inner.layers.0.linear1.weight"
    assert copies_of(Stack()) == {}


@pytest.mark.parametrize("make", every(CASES))
def test_buffers_that_a_constructor_fills(make: Make) -> None:
    theirs, ours = make(), make()
    for buffer in ours.buffers():
        buffer.fill_(7)
    assert [left for module in ours.modules() for left in reset_buffers(module)] == []
    assert all(torch.equal(a, b) for a, b in zip(ours.buffers(), theirs.buffers(), strict=True))


def test_buffers_that_no_constructor_knows_are_named() -> None:
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0]))
    assert reset_buffers(loss) == ("weight",)
    assert loss.weight is not None
    assert loss.weight.tolist() == [1, 2]

    class Mine(nn.BatchNorm1d):
        """A registered layer may give its buffers any values."""

    assert reset_buffers(Mine(3)) == ("running_mean", "running_var", "num_batches_tracked")


def test_what_is_not_of_torch_is_unknown_with_all_inside() -> None:
    class Mine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 3)
            nn.init.zeros_(self.inner.weight)

    class Named(nn.Linear):
        """No method of its own, but who knows its constructor."""

    model = nn.Sequential(nn.Linear(3, 3), Mine(), Named(3, 3))
    assert set(by_name(model)) == {"0.weight", "0.bias"}
    assert own_defaults(model[1]) is None
    assert default_initializer(model[2], "weight") is None
    assert default_initializer(model[0], "nothing") is None
    inside = _transformer(custom_encoder=Mine())
    assert {"encoder.inner.weight"} == {name for name in by_name(inside) if name.startswith("encoder")}


def test_definitions_inherit() -> None:
    text = """
confnet: 1
modules:
  Head:
    args: {width: int}
    Linear: [$width, 3]
children:
  norm: {BatchNorm1d: 4}
  head: {Head: {width: 4}}
parameters:
  scale: {shape: [2]}
"""
    model: Any = build(loads(text))
    assert type(model.head).__module__ == "confnet.models"
    bound = 1 / math.sqrt(4)
    found = by_name(model)
    assert set(found) == {"norm.weight", "norm.bias", "head.weight", "head.bias"}
    assert found["head.bias"] == Uniform(-bound, bound)


def test_a_parametrized_layer_still_tells() -> None:
    layer = parametrizations.weight_norm(nn.Linear(4, 3))
    assert default_initializer(layer, "weight") == default_initializer(nn.Linear(4, 3), "weight")
    assert set(by_name(layer)) == {"bias"}


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    one, two = _transformer(), _transformer()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    values = filled(one, 2)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    again = filled(two, 2, threads=2)
    assert all(torch.equal(a, b) for a, b in zip(values.parameters(), again.parameters(), strict=True))
