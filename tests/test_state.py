"""Parameters, buffers, ties and shares: registered as torch registers them, and kept by copies, pickles and moves."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import confnet


def build(text: str, **more: Any) -> Any:
    torch.manual_seed(0)
    return confnet.build(io.StringIO(f"confnet: 1\n{text}"), **more)


def codes(text: str) -> list[str]:
    return [d.code for d in confnet.validate(io.StringIO(f"confnet: 1\n{text}")).diagnostics]


# --- parameters ------------------------------------------------------------------------------------------------------


def test_parameters() -> None:
    model = build("""
args: {n: 3}
parameters:
  z: {shape: [n, "2 * n"]}
  a: {shape: [], init: ones_, requires_grad: false}
  none: null
  low: {shape: [2], dtype: bfloat16, init: normal_}
  ids: {shape: [2], dtype: int64, requires_grad: false}
  wave: {shape: [2], dtype: complex64, init: normal_}
  left: {shape: [1], when: $(n > 5)}
  other: {shape: [1], when: $(n > 5), else: {shape: [n]}}
""")
    assert list(model._parameters) == ["z", "a", "none", "low", "ids", "wave", "left", "other"]
    assert model.none is None
    assert model.left is None
    assert "none" not in model.state_dict()
    found = {name: (tuple(p.shape), p.dtype, p.requires_grad) for name, p in model.named_parameters()}
    assert found == {
        "z": ((3, 6), torch.float32, True),
        "a": ((), torch.float32, False),
        "low": ((2,), torch.bfloat16, True),
        "ids": ((2,), torch.int64, False),
        "wave": ((2,), torch.complex64, True),
        "other": ((3,), torch.float32, True),
    }
    assert not model.z.any()
    assert model.wave.imag.any()


def test_integer_parameter_that_wants_gradients_is_refused() -> None:
    assert codes("parameters: {ids: {shape: [2], dtype: int64}}") == ["refused-by-torch"]


# --- buffers ---------------------------------------------------------------------------------------------------------

BUFFERS = """
args: {n: 3}
buffers:
  count: {value: 0, dtype: int64}
  flag: {value: true}
  rate: {value: 0.5}
  table: {value: [[1, 2], [3, 4]]}
  shaped: {shape: [2, n], fill: 7}
  bits: {shape: [n], fill: true}
  wave: {shape: [2], fill: 2, dtype: complex64}
  code: {value: "torch.complex(torch.ones(n), -torch.ones(n))"}
  mask: {value: "torch.tril(torch.ones(n, n)).bool()", persistent: false}
  chosen: {value: "torch.arange(n)[torch.arange(n) > 0]"}
  low: {value: "torch.ones(n)", dtype: float16}
  number: {value: "n * 2"}
  none: null
"""


def test_buffers() -> None:
    assert codes(BUFFERS) == []
    model = build(BUFFERS)
    expected = {
        "count": torch.tensor(0),
        "flag": torch.tensor(True),
        "rate": torch.tensor(0.5),
        "table": torch.tensor([[1, 2], [3, 4]]),
        "shaped": torch.full((2, 3), 7.0),
        "bits": torch.ones(3, dtype=torch.bool),
        "wave": torch.full((2,), 2 + 0j, dtype=torch.complex64),
        "code": torch.full((3,), 1 - 1j),
        "mask": torch.tril(torch.ones(3, 3)).bool(),
        "chosen": torch.tensor([1, 2]),
        "low": torch.ones(3, dtype=torch.float16),
        "number": torch.tensor(6),
    }
    assert list(model._buffers) == [*expected, "none"]
    assert model.none is None
    for name, value in expected.items():
        buffer = model.get_buffer(name)
        assert buffer.dtype == value.dtype, name
        assert torch.equal(buffer, value), name
    assert set(model.state_dict()) == set(expected) - {"mask"}


def test_dtype_of_a_build_keeps_what_is_not_floating() -> None:
    model = build(BUFFERS, dtype=torch.float64)
    kept = {name: buffer.dtype for name, buffer in model.named_buffers()}
    assert kept["rate"] == kept["low"] == kept["shaped"] == torch.float64
    assert kept["count"] == torch.int64
    assert kept["mask"] == torch.bool
    assert kept["wave"] == kept["code"] == torch.complex64
    with pytest.raises(TypeError, match="int64"):
        build(BUFFERS, dtype=torch.int64)


@pytest.mark.parametrize("dtype", [None, torch.float64])
def test_non_persistent_buffers_come_back_from_meta(dtype: torch.dtype | None) -> None:
    text = """
modules:
  Block:
    args: {n: int}
    buffers:
      ids: {value: "torch.arange(n)", persistent: false}
      scale: {shape: [n], fill: $(n / 2), persistent: false}
ModuleList: [{Block: 2}, {Block: 3}]
"""
    model = build(text, device="meta")
    assert all(buffer.is_meta for buffer in model.buffers())
    for moved in (
        model.to_empty(device="cpu"),
        copy.deepcopy(build(text, device="meta")).to(dtype).to_empty(device="cpu"),
    ):
        moved.load_state_dict({})
        assert [block.ids.tolist() for block in moved] == [[0, 1], [0, 1, 2]]
        assert [block.scale.tolist() for block in moved] == [[1, 1], [1.5] * 3]
    assert moved[0].scale.dtype == (dtype or torch.float32)
    moved[0].ids.zero_()
    moved.to_empty(device="cpu")  # a move that is none from meta does what torch does
    pickle.loads(pickle.dumps(build(text, device="meta")))


# --- ties and shares -------------------------------------------------------------------------------------------------

TIED = """
children:
  embed: {Embedding: [6, 4]}
  encoder: {Sequential: {first: {Linear: [4, 4]}, again: {share: encoder.first}}}
  head: {Linear: {in_features: 4, out_features: 6, bias: false}}
  alias: {share: embed}
tie: {head.weight: embed.weight}
forward: return head(encoder(alias(x)))
"""


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(6, 4)
        first = nn.Linear(4, 4)
        self.encoder = nn.Sequential()
        self.encoder.first = first
        self.encoder.again = first
        self.head = nn.Linear(4, 6, bias=False)
        self.alias = self.embed
        self.head.weight = self.embed.weight


def check_tied(model: Any) -> None:
    assert model.head.weight is model.embed.weight
    assert model.alias is model.embed
    assert model.encoder.first is model.encoder.again
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in Tied().named_parameters()]


MOVES: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda m: m,
    "deepcopy": copy.deepcopy,
    "pickle": lambda m: pickle.loads(pickle.dumps(m)),
    "twice": lambda m: pickle.loads(pickle.dumps(copy.deepcopy(m))),
    "dtype": lambda m: m.to(torch.float64).half(),
    "assign": lambda m: m.load_state_dict({k: v.clone() for k, v in m.state_dict().items()}, assign=True) and m,
    "assign after a copy": lambda m: MOVES["assign"](copy.deepcopy(m)),
    "to_empty": lambda m: m.to("meta").to_empty(device="cpu"),
}


@pytest.mark.parametrize("move", MOVES)
def test_ties_and_shares_hold(move: str) -> None:
    model = build(TIED, seeding="torch")
    assert list(model.state_dict()) == list(Tied().state_dict())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), Tied().parameters(), strict=True))
    check_tied(MOVES[move](model))


def test_meta_build_is_tied_once_it_is_real() -> None:
    model = build(TIED, device="meta").to_empty(device="cpu")
    check_tied(model)
    model.load_state_dict(Tied().state_dict(), strict=True)
    assert torch.equal(model.embed.weight, Tied().embed.weight)


def test_a_tied_parameter_is_trained_once() -> None:
    model = build(TIED)
    model(torch.tensor([1, 2])).sum().backward()
    other = pickle.loads(pickle.dumps(model))
    torch.optim.SGD(other.parameters(), 0.1).zero_grad()
    assert other.head.weight.grad is other.embed.weight.grad


def test_tie_then_init_and_requires_grad() -> None:
    model = build(TIED + "apply: [{where: {name: head}, init: {weight: ones_}, requires_grad: false}]")
    assert (model.embed.weight == 1).all()
    assert not model.embed.weight.requires_grad
    report = confnet.init_report(model)
    assert set(report) == {name for name, _ in model.named_parameters()}
    origin = report["embed.weight"]
    assert isinstance(origin, confnet.InitOrigin)
    assert origin.initializer == "ones_"


def test_init_of_what_a_tie_replaces_is_told() -> None:
    text = TIED.replace("bias: false}}", "bias: false}, init: {weight: ones_}}")
    (warning,) = confnet.validate(io.StringIO(f"confnet: 1\n{text}")).diagnostics
    assert (warning.code, warning.severity) == ("rule-overridden", "warning")
    assert confnet.init_report(build(text))["embed.weight"] is None


@pytest.mark.parametrize("name", ["spectral_norm", "weight_norm"])
def test_tied_and_parametrized(name: str) -> None:
    model = build(TIED + f"apply: [{{where: {{name: head}}, parametrize: {{weight: {name}}}}}]")
    by_hand: Any = Tied()
    getattr(nn.utils.parametrizations, name)(by_hand.head, "weight")
    tied = [m.embed.weight in set(m.head.parametrizations.weight.parameters()) for m in (model, by_hand)]
    assert tied[0] == tied[1]
    for one in (model, copy.deepcopy(model)):
        one.load_state_dict({k: v.clone() for k, v in one.state_dict().items()}, assign=True)
        assert (one.embed.weight in set(one.head.parametrizations.weight.parameters())) == tied[0]


# --- registered by pickle in another process -------------------------------------------------------------------------


def test_a_rules_methods_survive_pickle_on_layers_that_torch_makes() -> None:
    model = build("""
children: {attention: {MultiheadAttention: [2, 1]}, norm: {Linear: [2, 2], parametrize: {weight: weight_norm}}}
forward: return norm(x)
apply: [{where: {type: Linear}, methods: {twice: return 2 * x}}]
""")
    assert model.attention.out_proj.twice(2) == 4
    assert copy.deepcopy(model).norm.twice(2) == 4
    attention = pickle.loads(pickle.dumps(model.attention.out_proj))
    assert attention.twice(3) == 6
    assert type(attention) is type(model.attention.out_proj)
    assert isinstance(attention, type(nn.MultiheadAttention(2, 1).out_proj))


def test_parametrized_modules_with_methods_do_not_share_a_class() -> None:
    model = build("""
children:
  a: {Linear: [2, 2], parametrize: {weight: weight_norm}}
  b: {Linear: [2, 2], parametrize: {bias: weight_norm}}
forward: return a(x) + b(x)
apply: [{where: {type: Linear}, methods: {twice: return 2 * x}}]
""")
    for one in (model, copy.deepcopy(model)):
        one(torch.ones(1, 2)).sum().backward()
        assert one.a.parametrizations.weight.original1.grad is not None
        assert one.b.parametrizations.bias.original1.grad is not None
        assert one.a.bias.grad is not None
