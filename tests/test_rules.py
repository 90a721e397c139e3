"""Rules: which modules they reach, in which order, what each key does, and what the init report says afterwards."""

from __future__ import annotations

import copy
import io
import json
import pickle
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import confnet

TREE = """
modules:
  Block:
    children:
      fc1: {Linear: [2, 2]}
      norm: {LayerNorm: 2}
      fc2: {Linear: [2, 2]}
    forward: return fc2(norm(fc1(x)))
children:
  stem: {Linear: [2, 2]}
  layers: {ModuleList: [{repeat: 3, as: i, module: {Block: {}}}]}
  drop: {Dropout: 0.5}
  head: {Sequential: {fc: {Linear: [2, 2]}, act: ReLU}}
forward: |
  x = stem(x)
  for layer in layers:
      x = layer(x)
  return head(drop(x))
"""


def build(text: str, **more: Any) -> Any:
    torch.manual_seed(0)
    return confnet.build(io.StringIO(f"confnet: 1\n{text}"), **more)


def tree(*rules: str) -> Any:
    return build(TREE + "apply:\n" + "".join(f"  - {rule}\n" for rule in rules))


def problems(text: str) -> list[confnet.Diagnostic]:
    return list(confnet.validate(io.StringIO(f"confnet: 1\n{text}")).diagnostics)


def tree_codes(*rules: str) -> list[str]:
    return [d.code for d in problems(TREE + "apply:\n" + "".join(f"  - {rule}\n" for rule in rules))]


# --- selectors -------------------------------------------------------------------------------------------------------


@confnet.applies(name="mark_of_tests")
def mark(module: Any, tag: str = "m") -> None:
    module.__dict__.setdefault("marks", []).append(tag)


def marked(where: str) -> list[str]:
    model = tree(f"{{{where}call: mark_of_tests}}")
    return [name for name, module in model.named_modules() if "marks" in module.__dict__]


FC = [f"layers.{i}.fc{j}" for i in range(3) for j in (1, 2)]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("where: {type: Linear}", ["stem", *FC, "head.fc"]),
        ("where: {type: [ReLU, LayerNorm]}", [f"layers.{i}.norm" for i in range(3)] + ["head.act"]),
        ("where: {type: B*}", [f"layers.{i}" for i in range(3)]),
        ("where: {type: _DropoutNd}", ["drop"]),
        ("where: {name: 'layers.*.fc?'}", FC),
        ("where: {name: 'layers.*'}", [f"layers.{i}" for i in range(3)]),
        ("where: {name: 'layers.1.**'}", ["layers.1", "layers.1.fc1", "layers.1.norm", "layers.1.fc2"]),
        ("where: {name: '**.fc2'}", [f"layers.{i}.fc2" for i in range(3)]),
        ("where: {name: [stem, 'head.*']}", ["stem", "head.fc", "head.act"]),
        ("where: {name: ''}", [""]),
        ("where: {type: Linear, not: {name: ['layers.**', stem]}}", ["head.fc"]),
        ("where: {type: Linear, not: {name: '*.*', not: {name: head.fc}}}", ["stem", *FC, "head.fc"]),
        ("where: {type: Linear, name: 'layers.*.fc1', not: {name: 'layers.0.**'}}", ["layers.1.fc1", "layers.2.fc1"]),
    ],
)
def test_selectors(where: str, expected: list[str]) -> None:
    assert marked(where + ", ") == expected


def test_without_where_every_module_children_first() -> None:
    order: list[nn.Module] = []
    expected: list[nn.Module] = []
    ORDER["it"] = order
    model = tree("{call: order_of_tests}")
    model.apply(expected.append)
    assert [id(module) for module in order] == [id(module) for module in expected]
    assert len(order) == len(set(model.modules()))


ORDER: dict[str, list[nn.Module]] = {"it": []}


@confnet.applies(name="order_of_tests")
def record_order(module: Any) -> None:
    ORDER["it"].append(module)


# --- what wins -------------------------------------------------------------------------------------------------------


def test_later_rules_win_and_outer_ones_come_after_inner_ones() -> None:
    model = build("""
modules:
  Inner:
    children: {a: {Linear: [2, 2], init: {weight: {constant_: {val: 1}}}}, b: {Linear: [2, 2]}}
    forward: return b(a(x))
    apply: [{where: {name: b}, init: {weight: {constant_: {val: 2}}}}]
children: {one: {Inner: {}, apply: [{where: {name: b}, init: {weight: {constant_: {val: 3}}}}]}, two: {Inner: {}}}
forward: return two(one(x))
apply:
  - {where: {name: "*.b"}, init: {bias: {constant_: {val: 4}}}}
  - {where: {name: two.b}, init: {bias: {constant_: {val: 5}}}}
""")
    values = {name: parameter.flatten()[0].item() for name, parameter in model.named_parameters() if name != "x"}
    assert (values["one.a.weight"], values["one.b.weight"], values["one.b.bias"]) == (1, 3, 4)
    assert (values["two.a.weight"], values["two.b.weight"], values["two.b.bias"]) == (1, 2, 5)
    lines = {
        name: (origin.initializer, origin.line) if isinstance(origin, confnet.InitOrigin) else origin
        for name, origin in confnet.init_report(model).items()
    }
    assert lines == {
        "one.a.weight": ("constant_", 5),
        "one.a.bias": None,
        "one.b.weight": ("constant_", 8),
        "one.b.bias": ("constant_", 11),
        "two.a.weight": ("constant_", 5),
        "two.a.bias": None,
        "two.b.weight": ("constant_", 7),
        "two.b.bias": ("constant_", 12),
    }


# --- what a rule may do ----------------------------------------------------------------------------------------------


def test_requires_grad_reaches_inside_but_not_what_is_excluded() -> None:
    def trained(*rules: str) -> set[str]:
        return {name.rpartition(".")[0] for name, p in tree(*rules).named_parameters() if p.requires_grad}

    norms = {f"layers.{i}.norm" for i in range(3)}
    assert trained("{where: {name: layers}, requires_grad: false}") == {"stem", "head.fc"}
    assert trained("{where: {not: {name: 'head.**'}}, requires_grad: false}") == {"head.fc"}
    assert trained("{where: {not: {type: LayerNorm}}, requires_grad: false}") == norms
    assert trained("{requires_grad: false}", "{where: {type: Linear}, requires_grad: true}") == {"stem", *FC, "head.fc"}
    parametrized = "{where: {name: stem}, parametrize: {weight: weight_norm}}"
    assert trained(parametrized, "{where: {not: {name: stem}}, requires_grad: false}") == {
        "stem",
        "stem.parametrizations.weight",
    }


def test_dtype() -> None:
    model = tree("{where: {not: {name: stem}}, dtype: float64}")
    assert {name for name, p in model.named_parameters() if p.dtype == torch.float32} == {"stem.weight", "stem.bias"}
    model = build(TREE + "apply: [{where: {name: stem}, dtype: float64}]", dtype=torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert tree_codes("{dtype: int64}") == ["invalid-type"]


@pytest.mark.parametrize("dtype", ["float16", "complex64"])
def test_dtype_converts_what_torch_converts(dtype: str) -> None:
    text = f"""
parameters: {{w: {{shape: [2]}}, c: {{shape: [2], dtype: complex128}}}}
buffers: {{n: {{value: 1}}, f: {{value: 1.0}}}}
apply: [{{dtype: {dtype}}}]
"""
    model = build(text)
    wanted = getattr(torch, dtype)
    assert (model.w.dtype, model.f.dtype, model.n.dtype) == (wanted, wanted, torch.int64)
    assert model.c.dtype == (wanted if wanted.is_complex else torch.complex128)


def test_extra_repr_set_and_methods() -> None:
    model = build(
        "args: {p: 0.25}"
        + TREE
        + """
apply:
  - {where: {type: Block}, extra_repr: "p=$p"}
  - {where: {type: Dropout}, set: {p: $p, inplace: true}}
  - where: {type: Linear}
    methods:
      twice: return 2 * self.weight @ x
      shifted: {inputs: {x: any, by: 1.0}, forward: return x + by}
""",
    )
    for one in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert "Block(\n      p=0.25" in repr(one)
        assert (one.drop.p, one.drop.inplace) == (0.25, True)
        given = torch.ones(2)
        assert torch.equal(one.stem.twice(given), 2 * one.stem.weight @ given)
        assert one.head.fc.shifted(given, by=2.0).tolist() == [3, 3]
        assert isinstance(one.stem, nn.Linear)
        assert type(one.stem) is type(one.head.fc)
        assert type(one.stem).__name__ == "Linear"
        assert torch.equal(one.eval()(given), model.eval()(given))


@confnet.applies(name="halve_of_tests")
def halve(module: Any, which: str, *, by: float = 0.5) -> None:
    parameter = getattr(module, which)
    parameter.mul_(by)


@confnet.applies(name="replace_of_tests")
def replace(module: Any) -> None:
    module.weight = nn.Parameter(torch.ones(2, 2))


@confnet.applies(name="needs_values_of_tests")
def needs_values(module: Any) -> None:
    if module.weight.sum().item() == 12345:
        raise AssertionError


@confnet.applies(name="fails_of_tests")
def fails(module: Any) -> None:
    raise KeyError("no such thing")


def test_calls_are_made_and_reported() -> None:
    rules = (
        "{where: {type: Linear}, init: {weight: ones_}}",
        "{where: {name: stem}, call: {halve_of_tests: [weight], needs_values_of_tests: {}}}",
        "{where: {name: head.fc}, call: replace_of_tests}",
        "{where: {name: layers.0.fc1}, call: {halve_of_tests: {which: bias, by: 0}}}",
    )
    assert tree_codes(*rules) == []
    model = tree(*rules)
    assert (model.stem.weight == 0.5).all()
    assert not model.get_parameter("layers.0.fc1.bias").any()
    report = confnet.init_report(model)
    first = len(TREE.splitlines()) + 3
    found = {
        name: (origin.initializer, origin.line - first)
        for name, origin in report.items()
        if isinstance(origin, confnet.InitOrigin)
    }
    assert found == {
        "stem.weight": ("halve_of_tests", 1),
        "head.fc.weight": ("replace_of_tests", 2),
        "layers.0.fc1.bias": ("halve_of_tests", 3),
        **{f"{name}.weight": ("ones_", 0) for name in FC},
    }


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("{where: {type: Linear}, call: halve_of_tests}", "missing-argument"),
        ("{where: {type: Linear}, call: {halve_of_tests: {which: 1}}}", "invalid-type"),
        ("{where: {type: Linear}, call: {halve_of_tests: {which: weight, bye: 1}}}", "unknown-argument"),
        ("{where: {type: Linear}, call: fails_of_tests}", "refused-by-torch"),
        ("{call: nothing_of_tests}", "unknown-function"),
        ("{where: {type: Dropout}, set: {p: 1.5}}", "invalid-value"),
        ("{where: {type: Dropout}, set: {p: much}}", "invalid-type"),
        ("{where: {type: Dropout}, set: {training: false}}", "not-settable"),
        ("{where: {type: Linear}, set: {in_features: 3}}", "not-settable"),
        ("{where: {type: Linaer}, requires_grad: false}", "rule-matches-nothing"),
        ("{where: {name: 'layers.3'}, requires_grad: false}", "rule-matches-nothing"),
        ("{where: {type: Linear}, init: {wieght: zeros_}}", "unknown-parameter"),
        ("{where: {type: [Linear, ReLU]}, init: {weight: zeros_}}", None),
        ("{where: {type: Linear}, parametrize: {wieght: weight_norm}}", "unknown-parameter"),
        ("{where: {type: Linear}, parametrize: {bias: orthogonal}}", "refused-by-torch"),
        ("{where: {type: Linear}, parametrize: {weight: orthogonal}}", None),
        ("{where: {type: Linear}, methods: {forward: return x}}", "reserved-name"),
        ("{where: {type: Linear}, methods: {half: return x}}", "reserved-name"),
        ("{where: {type: Linear}, methods: {f: return self.wieght}}", "missing-member"),
        ("{where: {type: Linear}, methods: {f: return torch.load(x)}}", "unknown-function"),
        ("{where: {type: Linear}, init: {weight: zeros_}, when: false}", None),
    ],
)
def test_mistakes(rule: str, code: str | None) -> None:
    assert tree_codes(rule) == ([code] if code else [])


def test_code_of_a_rule_is_checked_where_no_module_of_the_file_is_meant() -> None:
    """The modules that a layer makes inside itself are met at the build: code on them must be checked before."""
    rule = "apply: [{where: {type: NonDynamicallyQuantizableLinear}, methods: {f: return torch.load(x)}}]"
    text = f"children: {{a: {{MultiheadAttention: [2, 1]}}}}\nforward: return a(x, x, x)[0]\n{rule}"
    assert [d.code for d in problems(text)] == ["unknown-function"]
    with pytest.raises(confnet.ConfnetError):
        build(text)


def test_a_rule_that_nothing_is_left_of_is_a_warning_of_validate() -> None:
    rules = ("{where: {name: stem}, init: {weight: zeros_}}", "{where: {type: Linear}, init: {weight: ones_}}")
    (warning,) = problems(TREE + "apply:\n" + "".join(f"  - {rule}\n" for rule in rules))
    assert (warning.code, warning.severity) == ("rule-overridden", "warning")
    assert warning.span is not None
    assert warning.span.line == len(TREE.splitlines()) + 3
    assert confnet.validate(io.StringIO(f"confnet: 1\n{TREE}apply: [{', '.join(rules)}]")).ok
    assert tree_codes(*reversed(rules)) == []
    partly = "{where: {name: [stem, head.fc]}, init: {weight: zeros_}}"
    assert tree_codes(partly, "{where: {name: stem}, init: {weight: ones_}}") == []


def test_rules_on_what_a_layer_copies_are_reported() -> None:
    layer = (
        "{TransformerEncoderLayer: {d_model: 2, nhead: 1, batch_first: true},"
        " apply: [{where: {type: Linear}, init: {weight: ones_}}]}"
    )
    model = build(f"TransformerEncoder: {{encoder_layer: {layer}, num_layers: 2, enable_nested_tensor: false}}")
    report = confnet.init_report(model)
    assert list(report) == [name for name, _ in model.named_parameters()]
    for name, parameter in model.named_parameters():
        is_linear = "linear" in name or "out_proj" in name
        assert (report[name] is not None) == (is_linear and name.endswith("weight")), name
        assert (report[name] is None) or bool((parameter == 1).all())


def test_the_report_is_of_the_root_and_goes_with_copies() -> None:
    model = tree("{where: {type: Linear}, init: {weight: zeros_}}")
    assert confnet.init_report(pickle.loads(pickle.dumps(model))) == confnet.init_report(model)
    assert confnet.init_report(copy.deepcopy(model)) == confnet.init_report(model)
    with pytest.raises(TypeError, match="root"):
        confnet.init_report(nn.Linear(2, 2))
    assert not [key for module in model.modules() for key in module.__dict__ if key.endswith("so_far")]


# --- laws over random trees ------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c", "d"])
INITS = st.sampled_from(["zeros_", "ones_", "normal_", {"constant_": {"val": 0.5}}, {"uniform_": [-1, 1]}])
DTYPES = st.sampled_from(["float32", "float64", "int64", "bool", "complex64"])
LEAVES = st.sampled_from(
    [
        {"Linear": [2, 2]},
        {"Linear": {"in_features": 2, "out_features": 2, "bias": False}},
        {"BatchNorm1d": 2},
        {"PReLU": {}},
        "ReLU",
    ]
)


@st.composite
def leaf(draw: st.DrawFn) -> Any:
    layer = draw(LEAVES)
    if isinstance(layer, dict) and "Linear" in layer:
        layer = dict(layer)
        if draw(st.booleans()):
            layer["init"] = {"weight": draw(INITS)}
        if draw(st.integers(0, 3)) == 0:
            layer["parametrize"] = {"weight": draw(st.sampled_from(["weight_norm", "spectral_norm"]))}
        if draw(st.integers(0, 3)) == 0:
            layer["requires_grad"] = False
    return layer


@st.composite
def parameter(draw: st.DrawFn) -> Any:
    if draw(st.integers(0, 4)) == 0:
        return None
    made: dict[str, Any] = {
        "shape": draw(st.lists(st.integers(0, 3), max_size=3)),
        "requires_grad": draw(st.booleans()),
    }
    if draw(st.booleans()):
        made["init"] = draw(INITS)
    return made


@st.composite
def buffer(draw: st.DrawFn) -> Any:
    made: dict[str, Any] = {"persistent": draw(st.booleans())}
    match draw(st.integers(0, 2)):
        case 0:
            made |= {"value": draw(st.sampled_from([0, 1.5, True, [1, 2], "torch.arange(3)", "torch.ones(2, 2)"]))}
        case 1:
            made |= {"value": 1, "dtype": draw(DTYPES)}
        case _:
            made |= {"shape": draw(st.lists(st.integers(0, 3), max_size=2)), "fill": draw(st.sampled_from([0, 2.5]))}
    return made


def module(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    @st.composite
    def composite(draw: st.DrawFn) -> Any:
        made: dict[str, Any] = {
            "children": draw(st.dictionaries(NAMES, children, min_size=1, max_size=3)),
            "parameters": draw(st.dictionaries(st.sampled_from(["p", "q"]), parameter(), max_size=2)),
            "buffers": draw(st.dictionaries(st.sampled_from(["u", "v"]), buffer(), max_size=2)),
        }
        if draw(st.booleans()):
            made["hooks"] = [{"kind": "forward", "where": {"name": "**"}, "do": "return None"}]
        return made

    container = st.lists(children, min_size=1, max_size=3).map(lambda items: {"ModuleList": items})
    return composite() | container


TREES = st.recursive(leaf(), module, max_leaves=8).filter(lambda tree: isinstance(tree, dict) and "children" in tree)
RULES = st.lists(
    st.fixed_dictionaries(
        {
            "where": st.fixed_dictionaries(
                {},
                optional={
                    "type": st.sampled_from(["Linear", "*", "Batch*"]),
                    "name": st.sampled_from(["**", "a.**", "*", "**.b"]),
                },
            )
        },
        optional={
            "init": st.dictionaries(st.sampled_from(["weight", "p"]), INITS, min_size=1, max_size=2),
            "requires_grad": st.booleans(),
        },
    ).filter(lambda rule: len(rule) > 1),
    max_size=3,
)


def share_some(tree: dict[str, Any], wanted: bool) -> dict[str, Any]:
    names = list(tree["children"])
    return {**tree, "children": {**tree["children"], "shared": {"share": names[0]}}} if wanted else tree


def equal(left: nn.Module, right: nn.Module) -> bool:
    a, b = left.state_dict(), right.state_dict()
    buffers = dict(left.named_buffers()), dict(right.named_buffers())
    return (
        list(a) == list(b)
        and all(torch.equal(a[key], b[key]) and a[key].dtype == b[key].dtype for key in a)
        and list(buffers[0]) == list(buffers[1])
        and all(torch.equal(buffers[0][key], buffers[1][key]) for key in buffers[0])
        and [(n, p.requires_grad) for n, p in left.named_parameters()]
        == [(n, p.requires_grad) for n, p in right.named_parameters()]
        and repr(left) == repr(right)
    )


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(TREES, RULES, st.booleans())
def test_random_models(tree: dict[str, Any], rules: list[dict[str, Any]], shared: bool) -> None:
    spec = {"confnet": 1, **share_some(tree, shared), "apply": rules}
    report = confnet.validate(spec)
    if not report.ok:  # a rule may match nothing, or name what is nowhere
        assert {d.code for d in report.diagnostics if d.severity == "error"} <= {
            "rule-matches-nothing",
            "unknown-parameter",
        }, report
        with pytest.raises(confnet.ConfnetError):
            confnet.build(spec)
        return
    torch.manual_seed(0)
    model = confnet.build(spec)
    origins = confnet.init_report(model)
    assert list(origins) == [name for name, _ in model.named_parameters()]
    for origin in origins.values():
        assert origin is None or isinstance(origin, confnet.InitOrigin)
        assert origin is None or origin.initializer.rstrip("_") in json.dumps(spec) or origin.initializer == "zeros_"

    torch.manual_seed(0)
    again = confnet.build(spec)
    assert equal(model, again)

    other = confnet.build(spec)
    assert other.load_state_dict(model.state_dict()).missing_keys == []
    assert all(torch.equal(a, b) for a, b in zip(other.state_dict().values(), model.state_dict().values(), strict=True))

    copied = copy.deepcopy(model)
    assert equal(copied, model)
    assert not {p.data_ptr() for p in copied.parameters() if p.numel()} & {
        p.data_ptr() for p in model.parameters() if p.numel()
    }
    assert list(confnet.hooks(copied)) == list(confnet.hooks(model))
    if any(nn.utils.parametrize.is_parametrized(module) for module in model.modules()):
        with pytest.raises(RuntimeError, match="state_dict"):
            pickle.dumps(model)
        return
    loaded = pickle.loads(pickle.dumps(model))
    assert equal(loaded, model)
    assert confnet.init_report(loaded) == origins
    assert {name: handle.modules for name, handle in confnet.hooks(loaded).items()} == {
        name: handle.modules for name, handle in confnet.hooks(model).items()
    }
