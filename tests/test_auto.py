"""`auto`: numbers that torch infers. The model must be the one in which they are written out: keys, bits, results.

The oracle is hand-written PyTorch, constructed in the same order under the same seed.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import confnet
from confnet.api import Report, inspect
from confnet.catalog.layers import torch_layers
from confnet.cli import commands
from confnet.limits import Limits
from confnet.pipeline import make_plan
from tests.oracle import assert_equal, assert_same_state, disturb


def build(text: str, **options: Any) -> nn.Module:
    torch.manual_seed(7)
    return confnet.build(confnet.loads(text), seeding="torch", **options)


def twin(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(7)
    return make()


def validate(text: str, **options: Any) -> Report:
    return confnet.validate(confnet.loads(text), **options)


def codes(report: Report) -> list[str]:
    return [diagnostic.code for diagnostic in report.diagnostics]


def assert_is(text: str, make: Callable[[], nn.Module], *inputs: Tensor, **options: Any) -> nn.Module:
    """The model of a text is the hand-written one: accepted, the same bits under one seed, results and gradients."""
    report = validate(text, **options)
    assert str(report) == "ok"
    built, reference = build(text, **options), twin(make)
    assert_same_state(built, reference)
    for module in built.modules():
        assert not isinstance(module, nn.modules.lazy.LazyModuleMixin)
        assert "forward" not in vars(module)
    disturb(reference)
    built.load_state_dict(reference.state_dict(), strict=True)
    for training in (True, False):
        assert_equal(built.train(training), reference.train(training), inputs)
    return built


NET = """
confnet: 1
name: Net
args: {size: 12, width: 4}
inputs: {x: [B, 3, size, size]}
Sequential:
  - Conv2d: [auto, $width, 3]
  - BatchNorm2d: auto
  - ReLU
  - Conv2d: {in_channels: auto, out_channels: 8, kernel_size: 3, groups: $width}
  - Flatten
  - Linear: [auto, 6]
  - Linear: {out_features: 5, in_features: auto, bias: false}
variants:
  wide: {width: 8}
  large: {size: 16}
"""


def net(size: int = 12, width: int = 4) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, width, 3),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 8, 3, groups=width),
        nn.Flatten(),
        nn.Linear(8 * (size - 4) ** 2, 6),
        nn.Linear(6, 5, bias=False),
    )


# --- which arguments ----------------------------------------------------------------------------------------------

LAZY = sorted(name.removeprefix("Lazy") for name in dir(nn) if name.startswith("Lazy"))


def test_the_arguments_are_those_of_the_lazy_classes() -> None:
    inferable = {
        (name, argument.name)
        for name, layer in torch_layers().items()
        for argument in layer.arguments
        if argument.inferable
    }
    assert {name for name, _ in inferable} == set(LAZY)
    assert len(LAZY) == len(inferable) == 13
    assert {argument for _, argument in inferable} == {"in_features", "in_channels", "num_features"}


@pytest.mark.parametrize("name", LAZY)
def test_each_layer(name: str) -> None:
    """By position and by name; the same class, arguments and bits as with the number 6."""
    spatial = 0 if name == "Linear" else int(name[-2])
    shape = [6, *([7] * spatial)]
    (argument,) = [a.name for a in torch_layers()[name].arguments if a.inferable]
    more = {"Linear": {"out_features": 4}, "Conv": {"out_channels": 4, "kernel_size": 3}}
    own = more.get("Conv" if "Conv" in name else name, {})
    text = f"confnet: 1\ninputs: {{x: [B, {', '.join(map(str, shape))}]}}\nSequential: [{{{name}: GIVEN}}]\n"
    make = lambda: nn.Sequential(getattr(nn, name)(6, **own))  # noqa: E731
    assert_is(text.replace("GIVEN", str(["auto", *own.values()])), make, torch.randn(3, *shape))
    assert_same_state(build(text.replace("GIVEN", str({**own, argument: "auto"}))), twin(make))


@pytest.mark.parametrize(
    ("layer", "own"),
    [
        ("Linear: [4, auto]", "in_features` of `Linear"),
        ("Conv2d: {in_channels: auto, out_channels: 4, kernel_size: auto}", "in_channels` of `Conv2d"),
        ("BatchNorm1d: {num_features: auto, eps: auto}", "num_features` of `BatchNorm1d"),
        ("LazyLinear: auto", "in_features` of `Linear`, `in_channels` of convolutions"),
        ("LayerNorm: auto", "in_features` of `Linear`, `in_channels` of convolutions"),
        ("GroupNorm: [1, auto]", "in_features` of `Linear`, `in_channels` of convolutions"),
        ("Block: auto", "in_features` of `Linear`, `in_channels` of convolutions"),
    ],
)
def test_any_other_argument_is_refused(layer: str, own: str) -> None:
    text = f"""
confnet: 1
modules: {{Block: {{args: {{cin: int}}, Sequential: [{{Linear: [$cin, 4]}}]}}}}
inputs: {{x: [B, 4]}}
Sequential: [{{{layer}}}]
"""
    (found,) = validate(text).diagnostics
    assert found.code == "invalid-type"
    assert "the text `auto`" in found.message
    assert own in found.help


def test_elsewhere_it_is_a_text() -> None:
    text = """
confnet: 1
args: {mode: {type: str, default: auto, choices: [auto, manual]}}
children: {fc: {Linear: [4, 4]}}
forward: 'return fc(x) if mode == "auto" else x'
"""
    assert str(validate(text)) == "ok"
    assert build(text)(torch.randn(2, 4)).shape == (2, 4)


def test_what_torch_refuses_is_still_refused() -> None:
    text = "confnet: 1\ninputs: {x: [B, 4, 9, 9]}\nSequential: [{Conv2d: {in_channels: auto, GIVEN}}]\n"
    for more, code in (
        ("out_channels: 4, kernel_size: 3, groups: 3", "invalid-value"),  # 3 does not divide 4
        ("out_channels: 6, kernel_size: 3, groups: 3", "shape-mismatch"),  # nor the 4 channels that arrive
        ("out_channels: 4, kernel_size: 0", "invalid-value"),
        ("out_channels: 4, kernel_sise: 3", "unknown-argument"),
    ):
        assert codes(validate(text.replace("GIVEN", more))) == [code], more


# --- the model ----------------------------------------------------------------------------------------------------


def test_a_network() -> None:
    built = assert_is(NET, net, torch.randn(3, 3, 12, 12))
    assert [type(module) for module in built.children()][:2] == [nn.Conv2d, nn.BatchNorm2d]
    assert str(built).splitlines()[1:] == str(twin(net)).splitlines()[1:]


def test_args_and_variants_change_the_numbers() -> None:
    assert_is(NET, lambda: net(16), torch.randn(2, 3, 16, 16), variant="large")
    assert_is(NET, lambda: net(12, 8), torch.randn(2, 3, 12, 12), variant="wide")
    assert_is(NET, lambda: net(10, 2), torch.randn(2, 3, 10, 10), args={"size": 10, "width": 2})


def test_an_arg_may_hand_it_on_or_a_number() -> None:
    text = """
confnet: 1
args: {features: {type: any, default: auto}, norm: {type: layer, default: BatchNorm1d}}
inputs: {x: [B, 7]}
Sequential: [{Linear: [$features, 3]}, {$norm: auto}]
"""
    make = lambda: nn.Sequential(nn.Linear(7, 3), nn.BatchNorm1d(3))  # noqa: E731
    assert_is(text, make, torch.randn(4, 7))
    assert_is(text, make, torch.randn(4, 7), args={"features": 7})
    assert codes(validate(text, args={"features": 8})) == ["shape-mismatch"]
    assert codes(validate(text, args={"norm": "LayerNorm"})) == ["invalid-type"]


def test_each_instance_and_each_step_has_its_own() -> None:
    text = """
confnet: 1
modules:
  Block:
    args: {out: int}
    children: {fc: {Linear: [auto, $out]}, norm: {BatchNorm1d: auto}}
    forward: return torch.cat([x, norm(fc(x))], dim=1)
inputs: {x: [B, 5]}
Sequential:
  - Block: 3
  - Block: 3
  - repeat: 3
    module: {Block: 2}
  - Sequential: {a: {Linear: [auto, 4]}, b: {Linear: [auto, 4]}}
"""

    class Block(nn.Module):
        def __init__(self, features: int, out: int) -> None:
            super().__init__()
            self.fc = nn.Linear(features, out)
            self.norm = nn.BatchNorm1d(out)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x, self.norm(self.fc(x))], dim=1)

    def make() -> nn.Module:
        blocks = [Block(5, 3), Block(8, 3), Block(11, 2), Block(13, 2), Block(15, 2)]
        return nn.Sequential(*blocks, nn.Sequential(OrderedDict(a=nn.Linear(17, 4), b=nn.Linear(4, 4))))

    built = assert_is(text, make, torch.randn(4, 5))
    assert len({type(block) for block in list(built.children())[:5]}) == 1


class Everything(nn.Module):
    """The twin of EVERYTHING."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.encode = nn.Linear(6, 6)
        self.decode = self.encode
        self.head = nn.Linear(6, 11, bias=False)
        self.wide = nn.Linear(11, 3)
        nn.init.orthogonal_(self.encode.weight)
        nn.init.constant_(self.wide.bias, 0.5)
        self.head.weight = self.embed.weight
        self.scale = nn.Parameter(torch.full((11,), 3.0))
        parametrizations.weight_norm(self.wide)
        self.wide.requires_grad_(False)

    def forward(self, tokens: Tensor) -> Tensor:
        logits = self.head(self.decode(self.encode(self.embed(tokens)))) * self.scale
        out: Tensor = self.wide(logits) * self.wide.in_features
        return out


EVERYTHING = """
confnet: 1
inputs: {tokens: {shape: [B, T], dtype: int64, low: 0, high: 11}}
children:
  embed: {Embedding: [11, 6]}
  encode: {Linear: [auto, 6], init: {weight: orthogonal_}}
  decode: {share: encode}
  head: {Linear: {in_features: auto, out_features: 11, bias: false}}
  wide: {Linear: [auto, 3], parametrize: {weight: weight_norm}, requires_grad: false}
parameters:
  scale: {shape: [11], init: {constant_: 3.0}}
tie: {head.weight: embed.weight}
forward: |
  logits = head(decode(encode(embed(tokens)))) * scale
  return wide(logits) * wide.in_features
apply:
  - {where: {name: wide}, init: {bias: {constant_: 0.5}}}
hooks:
  - {kind: forward, where: {type: Linear}, call: check_finite}
  - {kind: tensor, where: {name: encode}, tensor: weight, call: check_finite}
"""


def test_shares_ties_rules_and_hooks() -> None:
    assert str(validate(EVERYTHING)) == "ok"
    built, reference = build(EVERYTHING), Everything()
    assert list(built.state_dict()) == list(reference.state_dict())
    assert built.head.weight is built.embed.weight  # type: ignore[union-attr]
    assert built.decode is built.encode
    assert len(confnet.hooks(built)) == 2
    assert type(built.get_submodule("encode")) is nn.Linear
    weight = built.get_parameter("encode.weight")
    torch.testing.assert_close(weight @ weight.T, torch.eye(6))
    assert built.get_parameter("wide.bias").tolist() == [0.5] * 3
    disturb(reference)
    built.load_state_dict(reference.state_dict())
    tokens = torch.randint(0, 11, (2, 5))
    torch.testing.assert_close(built(tokens), reference(tokens))
    assert [p.requires_grad for p in built.wide.parameters()] == [False] * 3  # type: ignore[union-attr]


def test_rules_see_the_real_class_and_the_real_number() -> None:
    text = """
confnet: 1
inputs: {x: [B, 5]}
Sequential: {fc: {Linear: [auto, 3]}, out: {Linear: [auto, 2]}}
apply:
  - {where: {type: Linear}, init: {weight: {value: "torch.arange(shape[0] * shape[1]).reshape(shape)"}}}
  - {where: {name: out}, dtype: float64, init: {bias: zeros_}}
hooks:
  - {kind: forward_pre, where: {name: out}, do: "return (args[0].double(),)"}
"""
    assert str(validate(text)) == "ok"
    built = build(text)
    assert torch.equal(built.get_parameter("fc.weight"), torch.arange(15.0).reshape(3, 5))
    assert built(torch.randn(2, 5)).dtype == torch.float64
    missing = text.replace("{type: Linear}", "{type: LazyLinear}")
    assert codes(validate(missing)) == ["rule-matches-nothing"]


def test_what_reads_the_number_before_the_layer_is_called() -> None:
    text = """
confnet: 1
inputs: {x: [B, 6]}
children: {fc: {Linear: [auto, 4]}, out: {Linear: [auto, 2]}, last: {Linear: [auto, 3]}}
forward: |
  wide = x.new_ones(x.shape[0], fc.in_features + fc.weight.shape[1])
  hidden = out(torch.cat([fc(x) + F.linear(x, fc.weight), wide], dim=1))
  return last(torch.cat([hidden, x.new_ones(x.shape[0], out.in_features)], dim=1))
"""
    assert str(validate(text)) == "ok"
    built = build(text)
    assert [built.get_submodule(name).in_features for name in ("fc", "out", "last")] == [6, 4 + 12, 2 + 16]
    assert built(torch.randn(3, 6)).shape == (3, 3)
    swapped = text.replace("fc(x) + F.linear(x, fc.weight)", "F.linear(x, fc.weight) + fc(x)")
    assert "the number of an `auto` argument is not known before" in refused(swapped, "shape-mismatch")


def test_a_layer_that_is_a_definition_or_the_root() -> None:
    named = """
confnet: 1
modules:
  Head: {args: {out: int}, Linear: [auto, $out], methods: {total: {inputs: [], forward: return self.weight.sum()}}}
inputs: {x: [B, 6]}
children: {head: {Head: 4}}
forward: return head(x) + head.total()
"""
    assert str(validate(named)) == "ok"
    head = build(named).get_submodule("head")
    assert isinstance(head, nn.Linear)
    assert (type(head).__name__, head.in_features) == ("Head", 6)
    assert_is("confnet: 1\ninputs: {x: [B, 6]}\nLinear: [auto, 4]\n", lambda: nn.Linear(6, 4), torch.randn(2, 6))


class Stack(nn.Module):
    """Copies of the layer that it is given, as `nn.TransformerEncoder` makes them."""

    def __init__(self, layer: nn.Module, count: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(copy.deepcopy(layer) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


@pytest.fixture
def stack() -> None:
    confnet.register(Stack, name="StackOfCopies")


@pytest.mark.usefixtures("stack")
def test_a_layer_that_is_an_argument() -> None:
    text = """
confnet: 1
inputs: {x: [B, 6]}
Sequential: [{StackOfCopies: {layer: {Linear: [auto, 6]}, count: 2}}]
"""
    assert_is(text, lambda: nn.Sequential(Stack(nn.Linear(6, 6), 2)), torch.randn(2, 6))


def test_optional_inputs_flags_and_eval_mode() -> None:
    text = """
confnet: 1
inputs: {x: [B, 6], extra: {shape: [B, 3], default: null}}
children: {fc: {Linear: [auto, 4]}, more: {Linear: [auto, 4]}, last: {Linear: [auto, 2]}}
forward: |
  y = fc(x)
  if extra is not None:
      y = y + more(extra)
  if training:
      return y
  return last(y)
"""
    report = validate(text)
    assert report.ok
    built = build(text)
    assert [built.get_submodule(name).in_features for name in ("fc", "more", "last")] == [6, 3, 4]


def test_normalisation_without_weights_and_without_batch() -> None:
    text = """
confnet: 1
inputs: {x: [5, L], y: [B, 4, H, W]}
children:
  one: {InstanceNorm1d: auto}
  two: {InstanceNorm2d: {num_features: auto, affine: true}}
  three: {BatchNorm2d: {num_features: auto, affine: false, track_running_stats: false}}
forward: return one(x), three(two(y))
"""
    assert str(validate(text)) == "ok"
    built = build(text)
    assert [built.get_submodule(name).num_features for name in ("one", "two", "three")] == [5, 4, 4]


def test_beside_a_lazy_layer_and_a_recurrent_one() -> None:
    text = """
confnet: 1
inputs: {x: [B, T, 6]}
children:
  rnn: {GRU: {input_size: 6, hidden_size: 5, batch_first: true}}
  lazy: {LazyLinear: 7}
  fc: {Linear: [auto, 2]}
forward: |
  y, _ = rnn(x)
  return fc(lazy(y))
"""
    assert validate(text).ok
    assert build(text).get_submodule("fc").in_features == 7


def test_the_step_after_the_last_auto_may_depend_on_values() -> None:
    text = """
confnet: 1
inputs: {x: [B, 6]}
children: {fc: {Linear: [auto, 4]}}
forward: |
  y = fc(x)
  return y[y > 0]
"""
    assert codes(validate(text)) == ["shapes-unchecked"]
    assert build(text).get_submodule("fc").in_features == 6


# --- what a user does with it -------------------------------------------------------------------------------------


def test_copies_pickles_and_compiles() -> None:
    built, x = build(NET).eval(), torch.randn(2, 3, 12, 12)
    expected = built(x)
    loaded = pickle.loads(pickle.dumps(built))
    assert type(loaded) is type(built)
    for other in (copy.deepcopy(built), loaded):
        assert torch.equal(other(x), expected)
    torch._dynamo.reset()
    assert torch.equal(torch.compile(built, fullgraph=True, backend="eager")(x), expected)
    torch._dynamo.reset()


def test_on_meta_and_in_another_dtype() -> None:
    built = build(NET, device="meta")
    assert {p.device.type for p in built.parameters()} == {"meta"}
    shapes = {name: tuple(tensor.shape) for name, tensor in built.state_dict().items()}
    assert shapes == {name: tuple(tensor.shape) for name, tensor in net().state_dict().items()}
    assert {p.dtype for p in build(NET, dtype=torch.float64).parameters()} == {torch.float64}


def test_it_draws_no_random_numbers_and_says_nothing(recwarn: pytest.WarningsRecorder) -> None:
    text = NET.replace("ReLU", "Dropout: 0.5")
    build(text)
    after = torch.random.get_rng_state()
    twin(net)
    assert torch.equal(torch.random.get_rng_state(), after)
    assert not list(recwarn)


def test_what_can_be_asked_of_it(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(NET)
    shown = CliRunner().invoke(commands, ["show", str(path), "--repr", "--set", "size=10"]).output
    assert "Linear(in_features=288, out_features=6, bias=True)" in shown
    assert "auto" not in shown
    assert "auto" not in str(confnet.audit(path))
    record = confnet.spec_of(confnet.build(path, size=10))
    assert (record.args, "[auto, 6]" in confnet.dumps(record.spec)) == ({"size": 10}, True)
    assert inspect(path).parameters[0]["shape"] == [4, 3, 3, 3]


def test_limits_count_the_real_numbers() -> None:
    count = sum(p.numel() for p in net().parameters())
    text = NET.partition("variants")[0]
    assert validate(text, limits=Limits(parameters=count)).ok
    assert codes(validate(text, limits=Limits(parameters=count - 1))) == ["too-many-parameters"]


def test_without_shapes_nothing_is_run() -> None:
    assert str(validate(EVERYTHING, shapes=False)) == "ok"
    assert str(validate("confnet: 1\nSequential: [{Linear: [auto, 4]}]\n", shapes=False)) == "ok"
    assert codes(validate("confnet: 1\nSequential: [{Linear: [4, auto]}]\n", shapes=False)) == ["invalid-type"]


def test_a_model_without_it_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its plan is built as it is."""
    plain = NET
    for number in ("3, $width", "4", "4", "512", "6"):
        plain = plain.replace("auto", number.removesuffix(", $width"), 1)
    plan, _ = make_plan(confnet.loads(plain))
    assert not plan.has_auto

    def fails(*_: object) -> None:
        raise AssertionError("the model was run")

    monkeypatch.setattr("confnet.shapes.infer", fails)
    assert_same_state(build(plain), twin(net))
    with pytest.raises(AssertionError, match="the model was run"):
        build(NET)


# --- what cannot be inferred --------------------------------------------------------------------------------------


def refused(text: str, code: str) -> str:
    """What `validate` and `build` both say."""
    report = validate(text)
    assert codes(report) == [code]
    with pytest.raises(confnet.ConfnetError) as caught:
        build(text)
    assert [d.message for d in caught.value.diagnostics] == [d.message for d in report.diagnostics]
    return str(report)


FLAT = """
confnet: 1
inputs: {x: [B, 3, H, W]}
children: {conv: {Conv2d: [auto, 8, KERNEL]}, fc: {Linear: [auto, 10]}}
forward: return fc(conv(x).flatten(1))
"""


@pytest.mark.parametrize("kernel", ["3", "3, 32, 1"])
def test_an_open_size_must_not_decide(kernel: str) -> None:
    """Also where sizes that differ by little give the same number."""
    text = FLAT.replace("KERNEL", kernel)
    said = refused(text, "auto-depends-on-size")
    assert "`in_features` of `Linear` depends on the symbolic sizes `H`, `W`" in said
    assert f"<text>:4:{text.splitlines()[3].index('Linear') + 1}" in said
    one = text.replace("H, W", '"32 * H", 64')
    assert "depends on the symbolic size `H`\n" in refused(one, "auto-depends-on-size")


def test_sizes_that_go_together_must_not_decide() -> None:
    text = """
confnet: 1
inputs: {x: [B, N], y: [B, M]}
children: {fc: {Linear: [auto, 10]}}
forward: return fc(x + y)
"""
    assert "depends on the symbolic size" in refused(text, "auto-depends-on-size")


@pytest.mark.parametrize(
    ("inputs", "forward", "what"),
    [
        ("x: [B, _]", "fc(x)", "a size `_` of `x`"),
        ("xs: {type: list, item: [B, 6]}", "fc(torch.cat(xs, dim=1))", "the number of items in `xs`"),
        ("x: [B, 6], n: {type: int, low: 2, high: 6}", "fc(x[:, :n])", "the value of `n`"),
        ("x: [B, _], y: [B, H]", "fc(torch.cat([x, y], dim=1))", "the symbolic size `H` and a size `_` of `x`"),
    ],
)
def test_what_has_no_name_must_not_decide_either(inputs: str, forward: str, what: str) -> None:
    text = f"confnet: 1\ninputs: {{{inputs}}}\nchildren: {{fc: {{Linear: [auto, 4]}}}}\nforward: return {forward}\n"
    assert f"`in_features` of `Linear` depends on {what}\n" in refused(text, "auto-depends-on-size")


def test_the_only_value_decides() -> None:
    text = """
confnet: 1
inputs: {x: [B, 6], n: {type: int, low: 2, high: 3}}
children: {fc: {Linear: [auto, 4]}}
forward: return fc(x[:, :n])
"""
    assert build(text).get_submodule("fc").in_features == 2


def test_fixed_sizes_decide() -> None:
    text = FLAT.replace("KERNEL", "3").replace("H, W", "9, 8")
    assert build(text).get_submodule("fc").in_features == 8 * 7 * 6
    pooled = FLAT.replace("KERNEL", "3").replace("conv(x)", "F.adaptive_avg_pool2d(conv(x), (2, 3))")
    assert build(pooled).get_submodule("fc").in_features == 8 * 2 * 3


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ("", "no `inputs` are declared"),
        ("inputs: [x]", "the input `x` has no shape"),
        ("inputs: {x: any}", "the input `x` has no shape"),
    ],
)
def test_shapes_must_be_declared(inputs: str, reason: str) -> None:
    said = refused(f"confnet: 1\n{inputs}\nSequential: [{{Linear: [auto, 4]}}]\n", "auto-without-inputs")
    assert f"`in_features` of `Linear` cannot be inferred: {reason}" in said


def test_a_model_without_a_forward() -> None:
    text = "confnet: 1\ninputs: {x: [B, 4]}\nModuleList: [{Linear: [auto, 4]}]\n"
    assert "it has no forward" in refused(text, "auto-without-inputs")


def test_a_layer_that_is_never_called() -> None:
    text = """
confnet: 1
inputs: {x: [B, 4]}
children: {fc: {Linear: [auto, 4]}, other: {Linear: [auto, 3]}}
methods: {more: return other(x)}
forward: return fc(x)
"""
    assert "the forward never comes to this layer" in refused(text, "auto-unknown")
    assert "<text>:4:45" in str(validate(text))


def test_a_layer_behind_a_step_that_depends_on_values() -> None:
    text = """
confnet: 1
inputs: {x: [B, 4]}
children: {fc: {Linear: [auto, 4]}}
forward: return fc(x[x > 0])
"""
    said = refused(text, "auto-unknown")
    assert "a step before it depends on the values of tensors" in said
    assert "it is this step at <text>:5:20" in said


def test_a_forward_that_fails() -> None:
    text = """
confnet: 1
inputs: {x: [B, 4]}
children: {fc: {Linear: [auto, 4]}, bad: {Linear: [5, 4]}, last: {Linear: [auto, 4]}}
forward: return last(bad(fc(x)))
"""
    assert "`bad` (`Linear(in_features=5" in refused(text, "shape-mismatch")


def test_two_calls_of_different_sizes() -> None:
    """The first call decides, as in torch; the second is the mistake."""
    text = "confnet: 1\ninputs: {x: [B, 4]}\nchildren: {fc: {Linear: [auto, 3]}}\nforward: return fc(fc(x))\n"
    (found,) = validate(text).diagnostics
    assert (found.code, found.message.split("(")[1]) == ("shape-mismatch", "`Linear")
    assert "in_features=4" in found.message


def test_one_error_for_a_repeated_layer() -> None:
    text = """
confnet: 1
inputs: {x: [B, N]}
children: {layers: {ModuleList: [{repeat: 3, module: {Linear: [auto, 4]}}]}}
forward: |
  total = 0
  for layer in layers:
      total = total + layer(x)
  return total
"""
    refused(text, "auto-depends-on-size")


def test_a_library_waits_for_its_users() -> None:
    library = "confnet: 1\nmodules: {Block: {args: {out: 4}, Sequential: [{Linear: [auto, $out]}]}}\n"
    assert str(validate(library)) == "ok"
    assert codes(validate(library, root="Block")) == ["auto-without-inputs"]


def test_a_hostile_forward_is_stopped() -> None:
    text = """
confnet: 1
inputs: {x: [B, 4]}
children: {fc: {Linear: [auto, 4]}}
forward: |
  n = 0
  for i in range(100000):
      for j in range(100000):
          n = n + 1
  return fc(x) + n
"""
    with pytest.raises(confnet.ConfnetError):
        build(text)


# --- any network --------------------------------------------------------------------------------------------------


@st.composite
def networks(draw: st.DrawFn) -> tuple[list[tuple[str, list[Any]]], list[int]]:
    """Layers with their arguments, the numbers written out, and the shape of an input without its batch."""
    channels, size = draw(st.integers(1, 6)), draw(st.integers(6, 12))
    shape = [channels, size, size]
    layers: list[tuple[str, list[Any]]] = []
    for _ in range(draw(st.integers(1, 4))):
        match draw(st.sampled_from(["Conv2d", "ConvTranspose2d", "BatchNorm2d", "InstanceNorm2d"])):
            case "Conv2d" | "ConvTranspose2d" as kind:
                out = draw(st.integers(1, 6))
                layers.append((kind, [channels, out, 3, 1, 1]))
                channels = out
            case kind:
                layers.append((kind, [channels]))
    if draw(st.booleans()):
        layers.append(("Flatten", []))
        features = channels * size * size
        for _ in range(draw(st.integers(1, 2))):
            out = draw(st.integers(1, 6))
            layers.append(("Linear", [features, out]))
            features = out
    return layers, shape


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(networks(), st.data())
def test_any_network(network: tuple[list[tuple[str, list[Any]]], list[int]], data: st.DataObject) -> None:
    """Any of the numbers may be `auto`."""
    layers, shape = network
    lines = [f"confnet: 1\ninputs: {{x: [B, {', '.join(map(str, shape))}]}}\nSequential:\n"]
    for name, arguments in layers:
        open_ = bool(arguments) and data.draw(st.sampled_from([True, False]))
        written = ["auto", *arguments[1:]] if open_ else arguments
        lines.append(f"  - {name}: [{', '.join(map(str, written))}]\n")
    text = "".join(lines)
    reference = twin(lambda: nn.Sequential(*(getattr(nn, name)(*arguments) for name, arguments in layers)))
    built = build(text)
    assert_same_state(built, reference)
    assert str(built).splitlines()[1:] == str(reference).splitlines()[1:]
    assert confnet.validate(io.StringIO(text)).ok
