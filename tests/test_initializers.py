"""Initialisers: all of torch.nn.init, with the bits of the same code by hand, and those that a caller registers."""

from __future__ import annotations

import inspect
import io
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import confnet
from confnet.builder.filling import is_taken
from confnet.catalog.initializers import initializer_names
from confnet.diagnostics import Span
from confnet.plan import InitPlan

Fill = Callable[[torch.Tensor], object]

# The arguments in the file, the shape, and the same by hand.
CASES: dict[str, list[tuple[str, list[int], Fill]]] = {
    "constant_": [("{constant_: {val: 0.25}}", [3], lambda t: nn.init.constant_(t, 0.25))],
    "dirac_": [
        ("dirac_", [4, 4, 3], nn.init.dirac_),
        ("{dirac_: {groups: 2}}", [4, 2, 3, 3], lambda t: nn.init.dirac_(t, groups=2)),
    ],
    "eye_": [("eye_", [3, 4], nn.init.eye_)],
    "kaiming_normal_": [
        ("kaiming_normal_", [3, 4], nn.init.kaiming_normal_),
        (
            "{kaiming_normal_: {mode: fan_out, nonlinearity: relu}}",
            [8, 4, 3, 3],
            lambda t: nn.init.kaiming_normal_(t, mode="fan_out", nonlinearity="relu"),
        ),
    ],
    "kaiming_uniform_": [
        ("{kaiming_uniform_: {a: $(sqrt(5))}}", [3, 4], lambda t: nn.init.kaiming_uniform_(t, a=math.sqrt(5)))
    ],
    "normal_": [
        ("normal_", [5], nn.init.normal_),
        ("{normal_: {std: 0.02}}", [5, 2], lambda t: nn.init.normal_(t, std=0.02)),
        ("{normal_: [1, 0.5]}", [5, 2], lambda t: nn.init.normal_(t, 1, 0.5)),
    ],
    "ones_": [("ones_", [2, 2], nn.init.ones_)],
    "orthogonal_": [
        ("orthogonal_", [4, 3], nn.init.orthogonal_),
        ("{orthogonal_: {gain: 2.0}}", [3, 4], lambda t: nn.init.orthogonal_(t, 2.0)),
    ],
    "sparse_": [("{sparse_: {sparsity: 0.5, std: 0.1}}", [8, 4], lambda t: nn.init.sparse_(t, 0.5, 0.1))],
    "trunc_normal_": [
        (
            "{trunc_normal_: {std: 0.02, a: -0.04, b: 0.04}}",
            [50],
            lambda t: nn.init.trunc_normal_(t, std=0.02, a=-0.04, b=0.04),
        )
    ],
    "uniform_": [("{uniform_: {a: -2, b: 2.0}}", [5], lambda t: nn.init.uniform_(t, -2, 2.0))],
    "xavier_normal_": [("{xavier_normal_: {gain: 0.5}}", [3, 4], lambda t: nn.init.xavier_normal_(t, 0.5))],
    "xavier_uniform_": [("xavier_uniform_", [3, 4], nn.init.xavier_uniform_)],
    "zeros_": [("zeros_", [2, 2], nn.init.zeros_)],
}
EACH = [pytest.param(*case, id=case[0]) for cases in CASES.values() for case in cases]


def build(text: str, seeding: str = "parameter", **args: object) -> Any:
    torch.manual_seed(0)
    return confnet.build(io.StringIO(f"confnet: 1\n{text}"), seeding=seeding, args=args)


def codes(text: str) -> list[str]:
    return [d.code for d in confnet.validate(io.StringIO(f"confnet: 1\n{text}")).diagnostics]


def test_every_function_of_torch_is_reachable() -> None:
    public = {
        name
        for name, value in vars(nn.init).items()
        if inspect.isfunction(value)
        and name.endswith("_")
        and not name.startswith("_")
        and "tensor" in inspect.signature(value).parameters
    }
    assert public == set(initializer_names()) == set(CASES)


@pytest.mark.parametrize(("init", "shape", "by_hand"), EACH)
def test_parameter_has_the_bits_of_the_same_call(init: str, shape: list[int], by_hand: Fill) -> None:
    text = f"parameters: {{first: {{shape: {shape}, init: {init}}}, second: {{shape: {shape}, init: {init}}}}}"
    assert codes(text) == []
    model = build(text, seeding="torch")
    torch.manual_seed(0)
    for parameter in model.parameters():
        expected = torch.full(shape, 7.0)
        with torch.no_grad():
            by_hand(expected)
        assert torch.equal(parameter, expected)


@pytest.mark.parametrize(("init", "shape", "by_hand"), [case for case in EACH if len(case.values[1]) == 2])  # type: ignore[arg-type]
def test_rule_has_the_bits_of_the_same_apply(init: str, shape: list[int], by_hand: Fill) -> None:
    """Construction consumes the stream first, children before parents and in order, then `apply` does."""
    model = build(
        f"""
children:
  a: {{Linear: [{shape[1]}, {shape[0]}]}}
  b: {{Sequential: [{{Linear: [{shape[1]}, {shape[0]}]}}, {{LayerNorm: {shape[1]}}}]}}
forward: return a(b(x))
apply: [{{where: {{type: Linear}}, init: {{weight: {init}}}}}]
""",
        seeding="torch",
    )
    torch.manual_seed(0)
    expected = nn.ModuleDict(
        {"a": nn.Linear(shape[1], shape[0]), "b": nn.Sequential(nn.Linear(shape[1], shape[0]), nn.LayerNorm(shape[1]))}
    )

    def fill(module: Any) -> None:
        if isinstance(module, nn.Linear):
            with torch.no_grad():
                by_hand(module.weight)

    expected.apply(fill)
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in expected.named_parameters()]
    for given, wanted in zip(model.parameters(), expected.parameters(), strict=True):
        assert torch.equal(given, wanted)


def test_default_initialisation_is_torchs() -> None:
    model = build(
        "ModuleList:\n- Conv2d: [3, 4, 3]\n- BatchNorm2d: 4\n- LSTM: [4, 5]\n"
        "- MultiheadAttention: [4, 2]\n- Embedding: [5, 3]",
        seeding="torch",
    )
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.LSTM(4, 5), nn.MultiheadAttention(4, 2), nn.Embedding(5, 3)]
    expected = nn.ModuleList(layers)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), expected.parameters(), strict=True))
    assert set(confnet.init_report(model).values()) == {None}


def test_validate_leaves_the_random_stream_alone() -> None:
    text = """
parameters: {w: {shape: [4, 4], init: orthogonal_}}
buffers: {r: {value: "torch.rand(4)[torch.arange(4) > 1]"}}
children: {fc: {Linear: [4, 4], parametrize: {weight: orthogonal}, init: {weight: normal_}}}
forward: return fc(x) @ w
"""
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    assert codes(text) == []
    assert torch.equal(torch.rand(3), expected)


def test_value_is_code_over_shape_and_args() -> None:
    model = build(
        """
args: {scale: 2.0}
parameters:
  ramp: {shape: [2, 3], init: {value: "torch.arange(float(shape[1])) * scale"}}
  one: {shape: [4], init: {value: 1.5}}
children:
  fc:
    Linear: [3, 3]
    init: {weight: {value: "torch.eye(shape[0]) * scale"}, bias: {value: "torch.arange(3.0)[torch.arange(3) >= 0]"}}
forward: return fc(x + ramp)
""",
        scale=3.0,
    )
    assert torch.equal(model.ramp, torch.tensor([[0.0, 3.0, 6.0]]).expand(2, 3))
    assert torch.equal(model.one, torch.full((4,), 1.5))
    assert torch.equal(model.fc.weight, 3 * torch.eye(3))
    assert torch.equal(model.fc.bias, torch.arange(3.0))
    assert model.ramp.requires_grad
    assert model.ramp.is_leaf


@pytest.mark.parametrize(
    ("init", "code"),
    [
        ("{kaiming_normal_: {mode: fan_both}}", "invalid-value"),
        ("{normal_: {sdt: 1.0}}", "unknown-argument"),
        ("{uniform_: {a: low}}", "invalid-type"),
        ("kaiming_norml_", "unknown-initializer"),
        ("{value: torch.eye(3)}", "refused-by-torch"),
        ("{value: torch.load(shape)}", "unknown-function"),
        ("[zeros_]", "invalid-init"),
        ("{ramp_of_tests: {strat: 1.0}}", "unknown-argument"),
        ("{ramp_of_tests: {start: one}}", "invalid-type"),
        ("{ramp_of_tests: {start: 1.0}}", None),
        ("needs_values_of_tests", None),
    ],
)
def test_mistakes(init: str, code: str | None) -> None:
    wanted = [code] if code else []
    assert codes(f"parameters: {{w: {{shape: [2, 2], init: {init}}}}}") == wanted
    assert (
        codes(f"Sequential: [{{Linear: [2, 2]}}]\napply: [{{where: {{type: Linear}}, init: {{weight: {init}}}}}]")
        == wanted
    )


NUMBERS = [0, 1, -1, 0.5, 70000.0, -1e39, 1e308, float("inf"), float("-inf"), float("nan"), 10**400, True, None, "1"]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.bool, torch.complex64]


def test_torch_is_not_asked_only_where_it_would_not_refuse() -> None:
    """What `is_taken` lets through is filled by torch's own function on the CPU, and the usual is let through."""
    span = Span("<text>", 1, 1, 1, 2)
    calls: list[tuple[str, tuple[object, ...]]] = [
        ("zeros_", ()),
        ("xavier_uniform_", ()),
        ("kaiming_normal_", ()),
        ("kaiming_normal_", (0, "fan_max")),
    ]
    calls += [("constant_", (number,)) for number in NUMBERS]
    calls += [(name, pair) for name in ("normal_", "uniform_") for pair in itertools.product(NUMBERS, repeat=2)]
    taken = set()
    for (name, arguments), shape, dtype in itertools.product(calls, [(2, 3), (3,), ()], DTYPES):
        tensor = torch.zeros(shape, dtype=dtype)
        plan = InitPlan(name, arguments, {}, None, {}, span)
        if is_taken(tensor, plan, lambda value: value):
            taken.add((name, repr(arguments), shape, dtype))
            getattr(nn.init, name)(tensor, *arguments)
    for dtype in DTYPES[:4]:
        assert {("zeros_", "()", (3,), dtype), ("xavier_uniform_", "()", (2, 3), dtype)} <= taken
        assert {("normal_", "(0, 0.5)", (3,), dtype), ("uniform_", "(-1, 0.5)", (3,), dtype)} <= taken
    refused = {("normal_", "(0, -1)"), ("uniform_", "(1, 0)"), ("normal_", "(0, True)"), ("constant_", "(None,)")}
    assert refused.isdisjoint((name, arguments) for name, arguments, _, _ in taken)


@confnet.initializer(name="ramp_of_tests")
def ramp(tensor: torch.Tensor, start: float = 0.0) -> None:
    tensor.copy_(torch.arange(start, start + tensor.numel(), device=tensor.device).view_as(tensor))


@confnet.initializer(name="needs_values_of_tests")
def needs_values(tensor: torch.Tensor) -> None:
    tensor.fill_(tensor.sum().item())


def test_registered_initialiser() -> None:
    model = build(
        "Sequential: [{Linear: [2, 2]}]\napply: [{where: {type: Linear}, init: {weight: {ramp_of_tests: {start: 1}}}}]"
    )
    assert torch.equal(model[0].weight, torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    origin = confnet.init_report(model)["0.weight"]
    assert isinstance(origin, confnet.InitOrigin)
    assert (origin.initializer, origin.line) == ("ramp_of_tests", 3)


# --- parametrized weights --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm", "orthogonal"])
def test_parametrized_weight_is_set_through_its_right_inverse(name: str) -> None:
    text = f"Sequential: [{{Linear: [4, 4], parametrize: {{weight: {name}}}, init: {{weight: xavier_uniform_}}}}]"
    assert codes(text) == []
    model = build(text, seeding="torch")
    torch.manual_seed(0)
    layer = nn.Linear(4, 4)
    getattr(nn.utils.parametrizations, name)(layer, "weight")
    with torch.no_grad():
        layer.weight = nn.init.xavier_uniform_(torch.empty(4, 4))
    assert torch.equal(model[0].weight, layer.weight)
    assert set(model.state_dict()) == {f"0.{key}" for key in layer.state_dict()}
    for key, value in layer.state_dict().items():
        assert torch.equal(model.state_dict()[f"0.{key}"], value), key
    report = confnet.init_report(model)
    assert all((origin is None) == (key == "0.bias") for key, origin in report.items())


def test_right_inverse_that_torch_lacks_is_told_at_validate() -> None:
    layer = (
        "{Linear: [4, 4], parametrize: {weight: {orthogonal: {use_trivialization: false}}}, init: {weight: normal_}}"
    )
    (diagnostic,) = confnet.validate(io.StringIO(f"confnet: 1\nSequential: [{layer}]")).diagnostics
    assert diagnostic.code == "refused-by-torch"
    assert "use_trivialization=False" in diagnostic.message
