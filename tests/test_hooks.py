"""Hooks of every kind: run when and as torch says, change what torch lets them change, and are kept by copies."""

from __future__ import annotations

import copy
import io
import logging
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import confnet
from confnet.catalog.hooks import BUILTIN_HOOKS, HOOK_KINDS

LOG: list[tuple[Any, ...]] = []

NET = """
children: {first: {Linear: [3, 4]}, last: {Linear: [4, 2]}}
forward: return last(first(x).tanh())
"""


def build(text: str, **args: Any) -> Any:
    torch.manual_seed(0)
    return confnet.build(io.StringIO(f"confnet: 1\n{text}"), seeding="torch", **args)


def net(*hooks: str) -> Any:
    """The same two layers with hooks, each a line of YAML."""
    return build(NET + "hooks:\n" + "".join(f"  - {hook}\n" for hook in hooks))


def codes(text: str) -> list[str]:
    return [d.code for d in confnet.validate(io.StringIO(f"confnet: 1\n{text}")).diagnostics]


class Net(nn.Module):
    """The same by hand."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(3, 4)
        self.last = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x).tanh())  # type: ignore[no-any-return]


def x(grad: bool = True) -> torch.Tensor:
    return torch.linspace(-1, 1, 6).reshape(2, 3).requires_grad_(grad)


def outcome(model: nn.Module) -> list[torch.Tensor]:
    """What a forward and backward give: the output, the gradient of the input, the gradients of all parameters."""
    given = x()
    output = model(given)
    output.square().sum().backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert given.grad is not None
    return [output.detach(), given.grad, *(g for g in gradients if g is not None)]


def same(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return len(left) == len(right) and all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


# --- registered hooks tell what torch gives them ---------------------------------------------------------------------


def describe(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return tuple(value.shape)
    if isinstance(value, nn.Module):
        return type(value).__name__
    if isinstance(value, tuple | list):
        return type(value)(describe(item) for item in value) if type(value) in (tuple, list) else type(value).__name__
    if isinstance(value, dict):
        return sorted(value)
    return value


@confnet.hook(name="log_of_tests")
def log(*args: Any, tag: str) -> None:
    LOG.append((tag, *(describe(arg) for arg in args)))


def logging_hook(tag: str) -> Callable[..., None]:
    return lambda *args: log(*args, tag=tag)


def by_hand(register: Callable[[Any], None]) -> Net:
    model = Net()
    register(model)
    return model


Run = Callable[[Any], Any]
KINDS: dict[str, tuple[str, Callable[[Any], Any], Run]] = {
    "forward_pre": ("", lambda m: m.last.register_forward_pre_hook(logging_hook("t")), outcome),
    "forward": ("", lambda m: m.last.register_forward_hook(logging_hook("t")), outcome),
    "full_backward_pre": ("", lambda m: m.last.register_full_backward_pre_hook(logging_hook("t")), outcome),
    "full_backward": ("", lambda m: m.last.register_full_backward_hook(logging_hook("t")), outcome),
    "state_dict_pre": ("", lambda m: m.last.register_state_dict_pre_hook(logging_hook("t")), lambda m: m.state_dict()),
    "state_dict_post": (
        "",
        lambda m: m.last.register_state_dict_post_hook(logging_hook("t")),
        lambda m: m.state_dict(prefix="p."),
    ),
    "load_state_dict_pre": (
        "",
        lambda m: m.last.register_load_state_dict_pre_hook(logging_hook("t")),
        lambda m: m.load_state_dict(Net().state_dict()),
    ),
    "load_state_dict_post": (
        "",
        lambda m: m.last.register_load_state_dict_post_hook(logging_hook("t")),
        lambda m: m.load_state_dict(Net().state_dict()),
    ),
    "tensor": ("tensor: weight, ", lambda m: m.last.weight.register_hook(logging_hook("t")), outcome),
    "post_accumulate_grad": (
        "tensor: weight, ",
        lambda m: m.last.weight.register_post_accumulate_grad_hook(logging_hook("t")),
        outcome,
    ),
}


def logged(run: Run, model: nn.Module) -> list[tuple[Any, ...]]:
    LOG.clear()
    run(model)
    return list(LOG)


def test_every_kind_is_tested() -> None:
    assert set(KINDS) == set(HOOK_KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_runs_when_torch_runs_it_with_its_arguments(kind: str) -> None:
    extra, register, run = KINDS[kind]
    model = net(f"{{kind: {kind}, where: {{name: last}}, {extra}call: {{log_of_tests: {{tag: t}}}}}}")
    expected = logged(run, by_hand(register))
    assert len(expected) == 1
    assert logged(run, model) == expected
    assert logged(run, copy.deepcopy(model)) == expected
    assert logged(run, pickle.loads(pickle.dumps(model))) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_disable_enable_remove(kind: str) -> None:
    extra, _, run = KINDS[kind]
    model = net(f"{{kind: {kind}, name: h, where: {{name: last}}, {extra}call: {{log_of_tests: {{tag: t}}}}}}")
    handle = confnet.hooks(model)["h"]
    assert (handle.kind, handle.modules, handle.enabled) == (kind, ("last",), True)
    assert logged(run, model)
    handle.disable()
    for copied in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert not logged(run, copied)
        assert not confnet.hooks(copied)["h"].enabled
        confnet.hooks(copied)["h"].enable()
        assert logged(run, copied)
    with confnet.hooks_disabled(model):
        assert not logged(run, model)
    assert logged(run, model)
    handle.remove()
    handle.remove()
    assert not logged(run, model)
    assert confnet.hooks(model) == {}
    tables = [name for name in vars(model.last) if name.endswith(("_hooks", "_with_kwargs", "_always_called"))]
    assert len(tables) > 8
    assert all(not getattr(model.last, name) for name in tables)
    assert not logged(run, pickle.loads(pickle.dumps(model)))


def test_hooks_disabled_leaves_off_what_was_off() -> None:
    model = net("{kind: forward, name: a, do: return output + 1}", "{kind: forward, name: b, do: return output * 2}")
    confnet.hooks(model)["a"].disable()
    with pytest.raises(KeyError), confnet.hooks_disabled(model):
        raise KeyError
    assert [confnet.hooks(model)[name].enabled for name in "ab"] == [False, True]


# --- order and options -----------------------------------------------------------------------------------------------


def tagged(kind: str, tag: str, extra: str = "") -> str:
    return f"{{kind: {kind}, where: {{name: last}}, {extra}call: {{log_of_tests: {{tag: {tag}}}}}}}"


@pytest.mark.parametrize("kind", ["forward_pre", "forward", "full_backward_pre", "full_backward"])
def test_order_and_prepend(kind: str) -> None:
    def register(model: Any) -> None:
        put = getattr(model.last, f"register_{kind}_hook")
        put(logging_hook("a"))
        put(logging_hook("b"))
        put(logging_hook("c"), prepend=True)

    expected = logged(outcome, by_hand(register))
    assert [entry[0] for entry in expected] == ["c", "a", "b"]
    model = net(tagged(kind, "a"), tagged(kind, "b"), tagged(kind, "c", "prepend: true, "))
    assert logged(outcome, model) == expected
    assert logged(outcome, pickle.loads(pickle.dumps(model))) == expected


@pytest.mark.parametrize("kind", ["forward_pre", "forward"])
def test_with_kwargs(kind: str) -> None:
    def run(model: Any) -> None:
        model.last(input=torch.ones(1, 4))

    model = net(tagged(kind, "t", "with_kwargs: true, "))
    expected = logged(
        run, by_hand(lambda m: getattr(m.last, f"register_{kind}_hook")(logging_hook("t"), with_kwargs=True))
    )
    assert expected[0][3] == ["input"]
    assert logged(run, model) == expected
    assert logged(run, copy.deepcopy(model)) == expected


def test_with_kwargs_changes_them() -> None:
    model = net(
        "{kind: forward_pre, where: {name: last}, with_kwargs: true,"
        " do: \"return args, {'input': kwargs['input'] * 2}\"}"
    )
    given = torch.ones(1, 4)
    assert torch.equal(model.last(input=given), Net().last(given * 2))


@pytest.mark.parametrize("always", [False, True])
def test_always_call(always: bool) -> None:
    def run(model: Any) -> None:
        with pytest.raises(RuntimeError):
            model.last(torch.ones(7))

    model = net(tagged("forward", "t", f"always_call: {str(always).lower()}, "))
    assert len(logged(run, model)) == always


def test_inner_definitions_hooks_come_before_outer_ones() -> None:
    model = build("""
modules:
  Inner:
    children: {fc: {Linear: [3, 3]}}
    forward: return fc(x)
    hooks: [{kind: forward, call: {log_of_tests: {tag: inner}}}]
children:
  a: {Inner: {}, hooks: [{kind: forward, call: {log_of_tests: {tag: beside}}}]}
  b: {Inner: {}}
forward: return b(a(x))
hooks: [{kind: forward, where: {type: Inner}, call: {log_of_tests: {tag: outer}}}]
""")
    LOG.clear()
    model(x())
    assert [entry[0] for entry in LOG] == ["inner", "beside", "outer", "inner", "outer"]
    assert list(confnet.hooks(model)) == ["forward", "a.forward", "a.forward1", "b.forward"]


# --- what a hook may change: the same numbers as by hand -------------------------------------------------------------

CHANGES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "forward_pre": (
        "{kind: forward_pre, where: {name: last}, do: 'return (args[0] * 3,)'}",
        lambda m: m.last.register_forward_pre_hook(lambda module, args: (args[0] * 3,)),
    ),
    "forward_pre, one value": (
        "{kind: forward_pre, where: {name: last}, do: 'return args[0] * 3'}",
        lambda m: m.last.register_forward_pre_hook(lambda module, args: args[0] * 3),
    ),
    "forward": (
        "{kind: forward, where: {name: first}, do: 'return output + module.weight.sum()'}",
        lambda m: m.first.register_forward_hook(lambda module, args, output: output + module.weight.sum()),
    ),
    "forward of the model": (
        "{kind: forward, do: 'return output * args[0].sum()'}",
        lambda m: m.register_forward_hook(lambda module, args, output: output * args[0].sum()),
    ),
    "full_backward_pre": (
        "{kind: full_backward_pre, where: {name: last}, do: 'return (grad_output[0] * 0.5,)'}",
        lambda m: m.last.register_full_backward_pre_hook(lambda module, grad: (grad[0] * 0.5,)),
    ),
    "full_backward": (
        "{kind: full_backward, where: {name: last}, do: 'return tuple([-2 * g for g in grad_input])'}",
        lambda m: m.last.register_full_backward_hook(lambda module, grad, _: tuple(-2 * g for g in grad)),
    ),
    "tensor, a parameter": (
        "{kind: tensor, where: {name: last}, tensor: weight, do: return 0.1 * grad}",
        lambda m: m.last.weight.register_hook(lambda grad: 0.1 * grad),
    ),
    "tensor, the output": (
        "{kind: tensor, where: {name: first}, tensor: output, do: return 0.1 * grad}",
        lambda m: m.first.register_forward_hook(
            lambda module, args, out: out.register_hook(lambda g: 0.1 * g) and None
        ),
    ),
    "tensor, the input": (
        "{kind: tensor, where: {name: last}, tensor: input, do: return 0.1 * grad}",
        lambda m: m.last.register_forward_pre_hook(
            lambda module, args: args[0].register_hook(lambda g: 0.1 * g) and None
        ),
    ),
    "post_accumulate_grad": (
        "{kind: post_accumulate_grad, where: {name: last}, tensor: weight, call: {scale_grad: {factor: 3}}}",
        lambda m: m.last.weight.register_post_accumulate_grad_hook(
            lambda param: setattr(param, "grad", param.grad * 3)
        ),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_are_those_of_a_registration_by_hand(change: str) -> None:
    line, register = CHANGES[change]
    expected = outcome(by_hand(register))
    assert not same(expected, outcome(Net()))
    model = net(line)
    assert same(outcome(model), expected)
    for copied in (copy.deepcopy(net(line)), pickle.loads(pickle.dumps(net(line)))):
        assert same(outcome(copied), expected)


def test_a_tensor_hook_is_once_on_an_input_that_comes_again() -> None:
    model = net("{kind: tensor, where: {name: first}, tensor: input, do: return 2 * grad}")
    given = x()
    for _ in range(2):
        given.grad = None
        model(given).sum().backward()
    plain = x()
    Net()(plain).sum().backward()
    assert given.grad is not None
    assert plain.grad is not None
    assert torch.allclose(given.grad, 2 * plain.grad)


def test_state_dict_code_may_refuse() -> None:
    model = net(
        "{kind: load_state_dict_pre, do: \"assert len(state_dict) == 4, 'four tensors are needed'\"}",
        "{kind: load_state_dict_post, do: \"assert not incompatible_keys.unexpected_keys, 'too many'\"}",
        "{kind: state_dict_pre, do: \"assert prefix == '', 'no prefix'\"}",
    )
    model.load_state_dict(Net().state_dict())
    with pytest.raises(AssertionError, match="four tensors"):
        model.load_state_dict({}, strict=False)
    with pytest.raises(AssertionError, match="no prefix"):
        model.state_dict(prefix="a.")


def test_hook_under_repeat_reads_the_variable() -> None:
    model = build("""
Sequential:
  - repeat: 3
    as: i
    module: {Identity: {}, hooks: [{kind: forward, name: "h$i", do: return output + 10 ** i}]}
""")
    for copied in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert copied(torch.tensor(0)) == 111
        assert list(confnet.hooks(copied)) == ["0.h0", "1.h1", "2.h2"]
        confnet.hooks(copied)["1.h1"].disable()
        assert copied(torch.tensor(0)) == 101


def test_hook_of_a_definition_reads_its_own_instance() -> None:
    model = build("""
modules:
  Add:
    args: {by: int}
    buffers: {twice: {value: torch.tensor(2 * by)}}
    forward: return x
    hooks: [{kind: forward, do: return output + by + twice}]
Sequential: [{Add: 1}, {Add: 10}, {Add: 100}]
""")
    for copied in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert copied(torch.tensor(0)) == 333


def test_hook_on_a_shared_module_is_one() -> None:
    model = build("""
children: {a: {Identity: {}}, b: {share: a}}
forward: return b(a(x))
hooks: [{kind: forward, where: {name: ["a", "b"]}, do: return output + 1}]
""")
    for copied in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert copied(torch.tensor(0)) == 2
        assert confnet.hooks(copied)["forward"].modules == ("a",)


# --- copies ----------------------------------------------------------------------------------------------------------

READS = """
buffers: {mean: {value: [1.0, 2.0]}, unread: {shape: [100000], fill: 1.0}}
children: {stem: {Linear: [2, 2]}, head: {Linear: [2, 2]}}
forward: return head(stem(x))
hooks:
  - {kind: forward_pre, where: {name: stem}, do: "return (args[0] - mean,)"}
  - {kind: tensor, where: {name: head}, tensor: weight, do: return 2 * grad}
"""

COPIES = pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))], ids=["deepcopy", "pickle"]
)


@COPIES
def test_hooks_of_a_copy_act_on_the_copy(copied: Callable[[Any], Any]) -> None:
    model = build(READS)
    given = torch.ones(1, 2)
    before = model(given)
    other = copied(model)
    assert torch.equal(other(given), before)
    with torch.no_grad():
        other.mean.add_(1)
    assert torch.equal(model(given), before)
    assert not torch.equal(other(given), before)
    again = copied(other)
    assert torch.equal(again(given), other(given))
    del model
    assert torch.equal(again(given), other(given))


@COPIES
def test_a_child_takes_along_what_its_hook_reads_and_no_more(copied: Callable[[Any], Any]) -> None:
    model = build(READS)
    given = torch.ones(1, 2)
    expected = model.stem(given)
    for child in (copied(model.stem), copied(copied(model.stem))):
        assert torch.equal(child(given), expected)
    assert len(pickle.dumps(model.stem)) < 10_000 < len(pickle.dumps(model))


@COPIES
def test_tensor_hooks_follow_parameters(copied: Callable[[Any], Any]) -> None:
    model = copied(build(READS))

    def ratio() -> float:
        plain = copy.deepcopy(model)
        confnet.hooks(plain)["tensor"].remove()
        gradients = []
        for one in (model, plain):
            one.zero_grad()
            one(torch.ones(1, 2)).sum().backward()
            assert one.head.weight.grad is not None
            gradients.append(one.head.weight.grad)
        return float((gradients[0] / gradients[1]).mean())

    assert ratio() == pytest.approx(2)
    model.load_state_dict(OrderedDict(model.state_dict()), assign=True)
    assert ratio() == pytest.approx(2)
    model.load_state_dict({k: v.clone() for k, v in model.state_dict().items()}, assign=True)
    assert ratio() == pytest.approx(2)
    model.to(torch.float64).to(torch.float32)
    assert ratio() == pytest.approx(2)


def test_tensor_hooks_survive_the_move_from_meta() -> None:
    model = build(READS, device="meta").to_empty(device="cpu")
    model.load_state_dict(build(READS).state_dict())
    plain = copy.deepcopy(model)
    confnet.hooks(plain)["tensor"].remove()
    for one in (model, plain):
        one(torch.ones(1, 2)).sum().backward()
    assert torch.equal(model.head.weight.grad, 2 * plain.head.weight.grad)


def test_hooks_of_a_parametrized_owner_act_on_the_copy() -> None:
    model = build("""
parameters: {w: {shape: [2, 2], init: ones_}}
parametrize: {w: weight_norm}
buffers: {scale: {value: 2.0}}
forward: return x @ w
hooks: [{kind: forward, do: return output * scale}]
""")
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.scale.zero_()
    assert not other(torch.ones(1, 2)).any()
    assert model(torch.ones(1, 2)).all()
    with pytest.raises(RuntimeError, match="state_dict"):
        pickle.dumps(model)


# --- names -----------------------------------------------------------------------------------------------------------


def test_names_are_unique_and_stable() -> None:
    text = """
args: {more: true}
children:
  fc:
    Linear: [2, 2]
    hooks:
      - {kind: forward, when: $more, do: return None}
      - {kind: forward, do: return None}
      - {kind: forward, name: forward, do: return None}
  other: {Linear: [2, 2], hooks: [{kind: forward, do: return None}]}
forward: return other(fc(x))
"""
    assert list(confnet.hooks(build(text))) == ["fc.forward1", "fc.forward2", "fc.forward", "other.forward"]
    assert list(confnet.hooks(build(text, more=False))) == ["fc.forward2", "fc.forward", "other.forward"]


def test_names_are_those_of_the_model_that_is_asked() -> None:
    model = build("""
children:
  inner:
    children: {fc: {Linear: [2, 2]}}
    forward: return fc(x)
    hooks: [{kind: forward, where: {name: fc}, name: h, call: {capture: {key: k}}}]
forward: return inner(x)
""")
    model(torch.ones(1, 2))
    assert {name: handle.modules for name, handle in confnet.hooks(model).items()} == {"inner.h": ("inner.fc",)}
    assert {name: handle.modules for name, handle in confnet.hooks(model.inner).items()} == {"h": ("fc",)}
    assert "k" in confnet.captured(model.inner)


def test_a_module_that_was_replaced_does_not_break_the_rest() -> None:
    model = build(READS)
    del model.head
    assert set(confnet.hooks(model)) == {"forward_pre", "tensor"}
    copy.deepcopy(model).load_state_dict(model.state_dict())
    confnet.hooks(model)["tensor"].remove()
    assert set(confnet.hooks(model)) == {"forward_pre"}


# --- built-in hooks --------------------------------------------------------------------------------------------------


def test_capture_outputs_inputs_and_gradients() -> None:
    model = net(
        "{kind: forward, where: {name: first}, call: {capture: {key: out}}}",
        "{kind: forward_pre, where: {name: last}, call: {capture: {key: in, detach: false}}}",
        "{kind: full_backward, where: {name: last}, call: {capture: grads}}",
        "{kind: tensor, where: {name: last}, tensor: weight, call: {capture: w}}",
        "{kind: forward, where: {name: [first, last]}, call: {capture: {key: both, append: true}}}",
    )
    given = x()
    for _ in range(2):
        model.zero_grad()
        output = model(given)
        output.sum().backward()
    found = confnet.captured(model)
    assert torch.equal(found["out"], model.first(given))
    assert not found["out"].requires_grad
    assert found["in"].requires_grad
    assert torch.equal(found["in"], found["out"].tanh())
    assert torch.allclose(found["grads"], torch.ones(2, 2) @ model.last.weight)
    assert torch.equal(found["w"], model.last.weight.grad)
    assert {name: len(values) for name, values in found["both"].items()} == {"first": 3, "last": 2}
    assert confnet.captured(copy.deepcopy(model)) == {}


@pytest.mark.parametrize(
    "kind", ["forward_pre", "forward", "full_backward_pre", "full_backward", "tensor", "post_accumulate_grad"]
)
def test_check_finite(kind: str) -> None:
    tensor = "tensor: weight, " if HOOK_KINDS[kind].on_tensor else ""
    model = net(f"{{kind: {kind}, where: {{name: last}}, {tensor}call: check_finite}}")
    outcome(model)
    with pytest.raises(FloatingPointError, match=r"`last` is not finite \(<text>:6:5\)"):
        (model(x() * float("nan")) * float("nan")).sum().backward()


def clip_norm(grad: torch.Tensor) -> torch.Tensor:
    parameter = nn.Parameter(grad.clone())
    parameter.grad = grad.clone()
    nn.utils.clip_grad_norm_([parameter], 0.1)
    return parameter.grad


@pytest.mark.parametrize("kind", ["full_backward_pre", "full_backward", "tensor", "post_accumulate_grad"])
@pytest.mark.parametrize(
    ("call", "function"),
    [
        ("{scale_grad: {factor: -0.5}}", lambda grad: grad * -0.5),
        ("{clip_grad_value: 0.01}", lambda grad: grad.clamp(-0.01, 0.01)),
        ("{clip_grad_norm: {max_norm: 0.1}}", clip_norm),
    ],
)
def test_gradients_are_changed(kind: str, call: str, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    def register(model: Any) -> None:
        match kind:
            case "tensor":
                model.last.weight.register_hook(function)
            case "post_accumulate_grad":
                model.last.weight.register_post_accumulate_grad_hook(lambda p: setattr(p, "grad", function(p.grad)))
            case "full_backward":
                model.last.register_full_backward_hook(lambda module, grads, _: tuple(function(g) for g in grads))
            case _:
                model.last.register_full_backward_pre_hook(lambda module, grads: tuple(function(g) for g in grads))

    tensor = "tensor: weight, " if HOOK_KINDS[kind].on_tensor else ""
    expected = outcome(by_hand(register))
    assert not same(expected, outcome(Net()))
    for given, wanted in zip(
        outcome(net(f"{{kind: {kind}, where: {{name: last}}, {tensor}call: {call}}}")), expected, strict=True
    ):
        assert torch.allclose(given, wanted, rtol=1e-6, atol=0)


def test_cast() -> None:
    model = net("{kind: forward, call: {cast: {dtype: float64}}}", "{kind: forward_pre, call: {cast: float32}}")
    assert model(x(grad=False).double()).dtype == torch.float64
    both = net("{kind: forward_pre, with_kwargs: true, call: {cast: float32}}")
    assert torch.equal(both(x=x().double()), both(x().double()))


def test_log_stats_print_shape_time(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    model = net(
        "{kind: forward, where: {name: first}, call: {log_stats: {level: warning}}}",
        "{kind: forward, call: print_shape}",
        "{kind: forward_pre, where: {name: last}, call: print_shape}",
        "{kind: forward, call: {time: seconds}}",
    )
    with caplog.at_level(logging.WARNING, "confnet.hooks"):
        output = model.first(x())
    assert f"first [2, 4]: mean {output.mean().item():.4g}" in caplog.text
    model(x())
    assert capsys.readouterr().out == "last: [2, 4]\nthe model: [2, 2]\n"
    assert 0 < confnet.captured(model)["seconds"] < 10
    with pytest.raises(RuntimeError):
        model(torch.ones(9))
    assert set(confnet.captured(model)) == {"seconds"}


def test_keys_are_renamed_dropped_and_prefixed() -> None:
    model = net(
        "{kind: state_dict_post, call: {rename_keys: {pattern: '^first[.](weight|bias)', to: 'fc1.\\1'}}}",
        "{kind: state_dict_post, call: {drop_keys: {pattern: '^last[.]bias'}}}",
        "{kind: state_dict_post, call: {add_prefix: {prefix: module.}}}",
        "{kind: load_state_dict_pre, call: {strip_prefix: {prefix: module.}}}",
        "{kind: load_state_dict_pre, call: {rename_keys: ['^fc1', first]}}",
    )
    state = model.state_dict()
    assert list(state) == ["module.fc1.weight", "module.fc1.bias", "module.last.weight"]
    assert hasattr(state, "_metadata")
    assert list(model.state_dict(prefix="p.")) == [f"p.{key}" for key in state]
    before = dict(state)
    for copied in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert copied.load_state_dict(state, strict=False).missing_keys == ["last.bias"]
        assert dict(state) == before
        assert list(copied.state_dict()) == list(state)


def test_keys_of_an_inner_module() -> None:
    model = build("""
children:
  body:
    Linear: [2, 2]
    hooks:
      - {kind: state_dict_post, call: {rename_keys: [weight, w]}}
      - {kind: load_state_dict_pre, call: {rename_keys: ['^w$$', weight]}}
forward: return body(x)
""")
    assert list(model.state_dict()) == ["body.w", "body.bias"]
    model.load_state_dict(model.state_dict())


def test_two_keys_of_one_name_are_an_error() -> None:
    model = net("{kind: state_dict_post, call: {rename_keys: {pattern: '[.].*', to: ''}}}")
    with pytest.raises(KeyError, match="would be called 'first'"):
        model.state_dict()


@pytest.mark.parametrize(
    ("pattern", "to", "fine"),
    [
        (r"^layers\.(\d+)\.(.*)", r"blocks.\1.\2", True),
        (r"(\w+)\.(\w+)\.(\w+)\.(\w+)\.(\w+)", "x", True),
        (r"(layer|block)s?\.", "", True),
        (r"(a+)+b", "", False),
        (r"(a|aa)*b", "", False),
        (r".*.*.*.*b", "", False),
        (r"a*b*a*b*a*b*a*c", "", False),
        (r"(?i)a+A+a+A+b", "", False),
        ("a?" * 30 + "a" * 30, "", False),
        ("(a", "", False),
        ("a", r"\1", False),
        ("a", r"\q", False),
    ],
)
def test_patterns(pattern: str, to: str, fine: bool) -> None:
    pattern, to = pattern.replace("$", "$$"), to.replace("$", "$$")
    hook = f"hooks: [{{kind: state_dict_post, call: {{rename_keys: {{pattern: '{pattern}', to: '{to}'}}}}}}]"
    assert codes(f"Sequential: [ReLU]\n{hook}") == ([] if fine else ["invalid-value"])


def test_every_builtin_is_tested() -> None:
    with open(__file__, encoding="utf-8") as file:
        text = file.read()
    assert all(name in text for name in BUILTIN_HOOKS)


# --- registered hooks ------------------------------------------------------------------------------------------------


@confnet.hook(name="times_of_tests")
def times(module: Any, args: Any, output: torch.Tensor, factor: float, *, offset: int = 0) -> torch.Tensor:
    return output * factor + offset


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("times_of_tests", "missing-argument"),
        ("{times_of_tests: two}", "invalid-type"),
        ("{times_of_tests: [2, 3]}", "too-many-arguments"),
        ("{times_of_tests: {factor: 2, ofset: 1}}", "unknown-argument"),
        ("tims_of_tests", "unknown-hook"),
        ("{times_of_tests: {factor: 2, offset: 1}}", None),
    ],
)
def test_arguments_of_a_registered_hook(call: str, code: str | None) -> None:
    assert codes(f"{NET}hooks: [{{kind: forward, call: {call}}}]") == ([code] if code else [])


def test_registered_hook() -> None:
    model = net("{kind: forward, call: {times_of_tests: {factor: 2, offset: 1}}}")
    expected = Net()(x()) * 2 + 1
    for copied in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(copied(x()), expected)


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hook", "code"),
    [
        ("{kind: state_dict_post, do: return state_dict}", "invalid-hook"),
        ("{kind: load_state_dict_post, do: return 1}", "invalid-hook"),
        ("{kind: forward, where: {name: list}, do: return output}", "invalid-hook"),
        ("{kind: tensor, where: {name: norm}, tensor: weight, do: return grad}", "invalid-hook"),
        ("{kind: tensor, where: {name: frozen}, tensor: weight, do: return grad}", "invalid-hook"),
        ("{kind: tensor, where: {name: bare}, tensor: bias, do: return grad}", "unknown-parameter"),
        ("{kind: tensor, where: {name: [bare, full]}, tensor: bias, do: return grad}", None),
        ("{kind: tensor, where: {name: norm.parametrizations.weight}, tensor: original1, do: return grad}", None),
        ("{kind: forward, where: {name: norm.parametrizations.*}, do: return None}", None),
        ("{kind: forward, where: {name: full}, do: return module.wieght}", "missing-member"),
        ("{kind: forward, where: {name: inner.linear1}, do: return module.weight.mean() + output}", None),
        ("{kind: forward, where: {name: inner.linear1}, do: return torch.load(output)}", "unknown-function"),
        ("{kind: tensor, where: {name: lazy}, tensor: weight, do: return grad}", "invalid-hook"),
        ("{kind: tensor, where: {type: Linear}, tensor: bias, do: return grad}", "invalid-hook"),
        ("{kind: tensor, where: {type: Linear, not: {name: frozen}}, tensor: bias, do: return grad}", None),
        ("{kind: forward, where: {name: nothing}, do: return output}", "rule-matches-nothing"),
        ("{kind: forward, call: {log_stats: {level: loud}}}", "invalid-value"),
    ],
)
def test_hooks_that_cannot_be(hook: str, code: str | None) -> None:
    text = f"""
children:
  list: {{ModuleList: [ReLU]}}
  norm: {{Linear: [2, 2], parametrize: {{weight: weight_norm}}}}
  frozen: {{Linear: [2, 2], requires_grad: false}}
  bare: {{Linear: {{in_features: 2, out_features: 2, bias: false}}}}
  full: {{Linear: [2, 2]}}
  lazy: {{LazyLinear: 2}}
  inner: {{TransformerEncoderLayer: {{d_model: 2, nhead: 1}}}}
forward: return inner(lazy(full(bare(frozen(norm(list[0](x)))))))
hooks: [{hook}]
"""
    assert codes(text) == ([code] if code else [])


def test_a_layer_that_takes_copies_gets_no_hooks_silently() -> None:
    layer = "{TransformerEncoderLayer: {d_model: 2, nhead: 1, batch_first: true}, hooks: [{kind: forward, do: pass}]}"
    assert codes(f"TransformerEncoder: {{encoder_layer: {layer}, num_layers: 2, enable_nested_tensor: false}}") == [
        "invalid-hook"
    ]


def test_hooks_in_the_body_of_a_container() -> None:
    model = build("Sequential: [{Linear: [3, 2]}, ReLU]\nhooks: [{kind: forward, do: return output - 1}]")
    assert (model(x()) >= -1).all()
    assert (model(x()) == -1).any()


# --- compiled --------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("default")
def test_compiles_without_graph_breaks() -> None:
    torch._dynamo.reset()
    model = build("""
args: {shift: 2.0}
buffers: {mean: {value: 0.5}}
children: {first: {Linear: [3, 4]}, last: {Linear: [4, 2], hooks: [{kind: forward, do: return output + shift}]}}
forward: return last(first(x))
hooks:
  - {kind: forward_pre, where: {name: first}, do: "return (args[0] - mean,)"}
  - {kind: forward, where: {name: first}, call: {capture: {key: features}}}
  - {kind: forward, where: {name: last}, call: {times_of_tests: {factor: 2}}}
  - {kind: forward, call: {capture: {key: all, append: true}}}
  - {kind: forward, name: wide, call: {cast: {dtype: float64}}}
""")
    expected, features = model(x()), confnet.captured(model)["features"]
    compiled: Any = torch.compile(model, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x()), expected)
    assert torch.equal(confnet.captured(model)["features"], features)
    assert len(confnet.captured(model)["all"]) == 2
    confnet.hooks(model)["wide"].disable()
    assert compiled(x()).dtype == torch.float32
    with confnet.hooks_disabled(model):
        assert torch.equal(compiled(x()), model(x()))
