"""`confnet resolve`: a file that says all in full, and builds to the same model."""

from __future__ import annotations

import importlib
import io
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import confnet
import tests.zoo
from confnet.checked import Checked
from confnet.cli import commands
from confnet.diff import difference
from confnet.limits import DEFAULT_LIMITS, Limits
from confnet.loading import Spec
from confnet.resolved import documents, resolved
from confnet.source import parse, plain
from confnet.source.layout import Code, Prose, lay_out
from tests.oracle import leaves
from tests.soundness import drawn
from tests.test_anatomy import CASES as ANATOMY
from tests.test_examples import CASES as EXAMPLES

ROOT = Path(__file__).resolve().parents[1]
ZOO = ROOT / "examples" / "zoo"


@dataclass(frozen=True)
class Case:
    """A file under a small config, and arguments for its forward."""

    path: Path
    args: Mapping[str, Any]
    inputs: Callable[[], Any]
    variant: str | None = None
    root: str | None = None

    def __str__(self) -> str:
        chosen = "-".join(filter(None, [self.variant, self.root]))
        return self.path.stem + (f"-{chosen}" if chosen else "")


LARGE = {"ddpm", "detr", "efficientnet", "googlenet", "mobilenet_v2", "regnet", "segformer", "swin", "yolov8"}
"""Files of the zoo whose models have the most modules."""


def cases() -> Iterator[Any]:
    """The examples; large ones, and of those with several configs what follows the first, are left to long runs."""
    seen = set()
    for case in all_cases():
        is_long = case.path in seen or (case.path.parent == ZOO and case.path.stem in LARGE)
        yield pytest.param(case, marks=[pytest.mark.soak] if is_long else [], id=str(case))
        seen.add(case.path)


def all_cases() -> Iterator[Case]:
    for example in EXAMPLES:
        yield Case(example.path, example.args, example.inputs)
    for anatomy in ANATOMY:
        yield Case(anatomy.path, anatomy.args, anatomy.inputs)
    for found in pkgutil.iter_modules(tests.zoo.__path__):
        if found.name not in ("harness", "page"):
            file = importlib.import_module(f"tests.zoo.{found.name}").ARCHITECTURE
            for config in file.configs:
                yield Case(file.path, config.args, config.inputs, config.variant, config.root)


def written(spec: Spec, case: Case) -> str:
    return resolved(spec, args=case.args, variant=case.variant, root=case.root)


def assert_same_model(one: nn.Module, other: nn.Module) -> None:
    """Equal classes and names, values, ties, modes of parameters, and hooks."""
    assert repr(one) == repr(other)
    modules, others = (dict(model.named_modules(remove_duplicate=False)) for model in (one, other))
    assert [(n, type(m).__name__, type(m).__doc__) for n, m in modules.items()] == [
        (n, type(m).__name__, type(m).__doc__) for n, m in others.items()
    ]
    for name, module in modules.items():
        for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_state_dict_hooks"):
            assert len(getattr(module, kind)) == len(getattr(others[name], kind)), (name, kind)
    assert list(confnet.hooks(one)) == list(confnet.hooks(other))
    state, wanted = one.state_dict(), other.state_dict()
    assert list(state) == list(wanted)
    for name in state:
        assert torch.equal(state[name], wanted[name]), name
    assert ties(one) == ties(other)
    assert [(n, b.dtype, b.tolist()) for n, b in one.named_buffers()] == [
        (n, b.dtype, b.tolist()) for n, b in other.named_buffers()
    ]


def ties(model: nn.Module) -> list[tuple[str, int, bool]]:
    """Each name of a parameter with the place of the first name of the same one."""
    first: dict[int, int] = {}
    named = list(model.named_parameters(remove_duplicate=False))
    return [(name, first.setdefault(id(p), place), p.requires_grad) for place, (name, p) in enumerate(named)]


def assert_same_results(one: nn.Module, other: nn.Module, given: Any) -> None:
    results = []
    for model in (one, other):
        torch.manual_seed(1)
        with torch.no_grad():
            results.append(model(**given) if isinstance(given, dict) else model(*given))
    for left, right in zip(*(list(leaves(result)) for result in results), strict=True):
        assert torch.equal(left, right)


@pytest.mark.filterwarnings("ignore:.*rule.*:UserWarning")
@pytest.mark.parametrize("case", list(cases()))
def test_builds_the_same_model(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = confnet.load(case.path)
    if case.path.parent == ZOO:  # what is built below is checked then
        monkeypatch.setattr(documents, "_check", lambda text, limits: None)
    text = written(spec, case)
    full = confnet.loads(text)
    model = confnet.build(spec, args=case.args, variant=case.variant, root=case.root, seed=3)
    other = confnet.build(full, seed=3)
    assert_same_model(model, other)
    torch.manual_seed(0)
    assert_same_results(model, other, case.inputs())
    if case.path.parent != ZOO:
        assert resolved(full) == text  # nothing is left to resolve


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:.*rule.*:UserWarning")
@pytest.mark.parametrize("case", [case for case in all_cases() if case.path.parent == ZOO], ids=str)
def test_nothing_is_left_to_resolve(case: Case) -> None:
    text = written(confnet.load(case.path), case)
    assert resolved(confnet.loads(text)) == text


CORNERS = {
    "names made by a repeat": """
confnet: 1
name: Heads
children:
  head_$name:
    repeat: [a, b]
    as: name
    module:
      children: {fc: {Linear: [4, "$(2 if name == 'a' else 3)"]}}
      forward: return fc(x)
  body:
    ModuleList:
      - repeat: 2
        as: i
        module:
          let: {power: $(i + 1)}
          children: {fc: {Linear: [4, 4]}}
          forward: return fc(x) ** power
forward: |
  for layer in body:
      x = layer(x)
  return torch.cat([head_a(x), head_b(x)], dim=-1)
""",
    "constants of every kind": """
confnet: 1
name: Constants
args:
  precision: {type: dtype, default: float64}
  mode: {type: str, default: a$$b}
  none: {type: int, default: null}
  flag: true
  words: {type: dict, default: {one: 1, two: [1, 2]}}
let:
  pair: $((2, 3))
  steps: $(range(1, 4))
  lone: $((7,))
  factor: 1e-3
  kinds: $([precision, 1])
  both: $((precision, 2))
children:
  inner:
    children: {fc: {Linear: [4, 4]}}
    forward: return fc(x).to(precision).to(x.dtype) * pair[0] * factor
forward: |
  y = inner(x).to(kinds[0]).to(both[0]).to(x.dtype)
  for step in steps:
      y = y + step
  if flag and none is None and mode != "a":
      y = y * (pair + lone)[2] + words["one"]
  return y
""",
    "code that reads repeat variables and args": """
confnet: 1
args: {std: -0.5, depth: 3}
children:
  layers:
    Sequential:
      - repeat: $depth
        as: i
        module:
          Linear: [4, 4]
          init: {weight: {value: "torch.full(shape, std) * (i + 1)"}}
          hooks: [{kind: forward, do: "return output * std - i"}]
parameters:
  bias: {shape: [depth + 1], init: {value: "torch.arange(depth + 1) * std"}}
buffers:
  mask: {value: "torch.tril(torch.ones(depth, depth))", persistent: false}
  fifty: {shape: [2], fill: 0.5}
  absent: {when: false, shape: [2]}
  off: null
forward: return layers(x) + bias + mask.sum() + fifty.sum()
apply:
  - where: {name: "layers.0"}
    init: {bias: {value: "torch.full(shape, float(depth))"}}
""",
    "rules that mean something in some instances": """
confnet: 1
modules:
  Block:
    args: {wide: bool, n: 4}
    children:
      fc: {Linear: [$n, $n]}
      drop: {when: $wide, Dropout: 0.1}
      norm: {LayerNorm: {normalized_shape: $n, bias: $wide}}
    forward: return norm(fc(x) if drop is None else drop(fc(x)))
    apply:
      - where: {type: Dropout}
        set: {p: 0.25}
      - where: {type: LayerNorm}
        init: {bias: ones_}
    hooks:
      - {kind: forward, where: {type: Dropout}, do: "return output + n"}
Sequential:
  - Block: true
  - {Block: false, requires_grad: false}
  - {Block: {wide: false, n: 4}, hooks: [{kind: forward_pre, do: "return (args[0] * 2,)"}]}
  - Block: {wide: true}
""",
    "classes named as layers, inside and outside": """
confnet: 1
modules:
  LayerNorm:
    args: {n: int}
    parameters: {scale: {shape: [n], init: ones_}}
    forward: return x * scale
  Stack:
    args: {norm: layer, act: module}
    children:
      norm: {$norm: 4}
      other: {$norm: 4}
      act: $act
      again: $act
      linear: {Linear: [4, 4]}
    forward: return again(act(linear(other(norm(x)))))
Sequential:
  - Stack: {norm: LayerNorm, act: GELU}
  - Stack: {norm: RMSNorm, act: {LeakyReLU: 0.2}}
  - Stack:
      norm: RMSNorm
      act:
        let: {slope: 0.5}
        children: {fc: {Linear: [4, 4]}}
        forward: return fc(x) * slope
""",
    "args that other code reads": """
confnet: 1
modules:
  Inner:
    args: {n: int, scale: 2, words: {type: str, default: "x y"}}
    children: {fc: {Linear: [$n, $n]}}
    forward: return fc(x)
children:
  a: {Inner: 4}
  b: {Inner: {n: 4, scale: 3}}
forward: return a(x) * a.scale + b(x) * b.scale + b.n
""",
    "symbols and constants of one name": """
confnet: 1
args: {B: 3}
modules:
  Part:
    inputs: {x: [N, 4], y: {shape: [N, 4], default: null}, rate: 1.0, mode: {default: sum, type: str}}
    outputs: {out: [N, 4], two: any}
    methods:
      both:
        inputs: {x: [N, K], items: {type: list, item: [N, K], default: null}}
        outputs: {z: [N, K]}
        forward: return x * 2
      plain: return x + 1
    forward: |
      z = both(plain(x)) * rate
      return {"out": z if y is None else z + y, "two": z}
inputs: {x: [N, 4]}
children: {part: Part}
forward: return part(x)["out"] * B
""",
    "subclasses, shares and ties": """
confnet: 1
modules:
  Norm: {args: {n: int}, LayerNorm: $n}
  Pair:
    args: {n: int}
    Sequential: {first: {Linear: [$n, $n]}, second: {Linear: [$n, $n]}}
    methods:
      once: {inputs: [x], forward: "return first(x)"}
children:
  norm: {Norm: 4}
  pair: {Pair: 4}
  named: {inputs: {x: [N, 4]}, Sequential: [{Linear: [4, 4]}, ReLU]}
  again: {share: pair}
  dict: {ModuleDict: {a: {share: pair.first}, "1": ReLU}}
  empty: {Sequential: []}
  nothing: {children: {}}
tie: {pair.second.weight: pair.first.weight, pair.first.bias: {when: false, to: pair.second.bias}}
init: {}
forward: return dict["a"](again(named(pair(norm(x)))) + pair.once(x))
""",
    "a recursion": """
confnet: 1
modules:
  Tree:
    args: {depth: int}
    children:
      leaf: {when: $(depth == 0), Linear: [4, 4]}
      left: {when: $(depth > 0), Tree: $(depth - 1)}
      right: {when: $(depth > 0), Tree: $(depth - 1)}
    forward: |
      if leaf is not None:
          return leaf(x)
      return left(x) + right(x)
Sequential: [{Tree: 2}]
""",
    "parametrizations, and a layer that takes modules": """
confnet: 1
Sequential:
  - {Linear: [4, 4], parametrize: {weight: {weight_norm: {dim: 0}}}, init: {weight: {trunc_normal_: [0.0, 0.02]}}}
  - TransformerEncoder:
      encoder_layer:
        TransformerEncoderLayer: {d_model: 4, nhead: 2, dim_feedforward: 8, batch_first: true, dropout: 0.0}
      num_layers: 2
      norm: {LayerNorm: [[4]]}
      enable_nested_tensor: false
apply:
  - where: {type: Linear, not: {name: ["0", "1.layers.0.*"]}}
    parametrize: {weight: spectral_norm}
  - extra_repr: a$$b
    where: {name: "0"}
""",
    "what only code can say, and what YAML could take for something else": """
confnet: 1
args: {none: .nan, all: .inf, text: {type: str, default: "a)$$('\\"\\t\\u2028 😀"}, off: {type: str, default: "off"}}
let: {pair: "$((all, -all, text))", lone: "$((text,))"}
modules:
  Inner:
    args: {scale: {type: float, default: .nan}}
    Linear: [4, 4]
children:
  layers:
    Sequential:
      - repeat: 2
        as: i
        module: {Linear: [4, 4], init: {bias: {value: "torch.tensor([float(i) for i in range(4)]) * i"}}}
  last: {Linear: [4, 4], init: {bias: {value: "torch.nan_to_num(torch.full(shape, none), 7.0)"}}}
  inner: Inner
forward: |
  if pair[2] != text or lone[0] != text or off != "off":
      return x  #\ta tab
  return torch.where(last(layers(x)) > pair[1], inner(x), torch.nan_to_num(x * inner.scale, 5.0))
""",
    "numbers found by running": """
confnet: 1
inputs: {x: [N, 4]}
Sequential:
  - repeat: 2
    as: i
    module: {Linear: {in_features: auto, out_features: $(i * 4 + 4)}}
  - LazyLinear: 4
""",
}


@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
@pytest.mark.parametrize("name", CORNERS)
def test_corners(name: str) -> None:
    spec = confnet.loads(CORNERS[name])
    text = resolved(spec)
    report = confnet.validate(confnet.loads(text))
    assert report.ok, f"{report}\n{text}"
    data = plain(parse(text, "<text>").root)
    assert not {"variants", "include", "extends", "require"} & data.keys()
    assert "repeat" not in text
    assert "auto" not in text.split()
    model, other = (confnet.build(each, seed=5) for each in (spec, confnet.loads(text)))
    x = torch.randn(3, 4)
    if "Lazy" in text:
        model(x), other(x)
        return
    assert_same_model(model, other)
    torch.manual_seed(0)
    assert_same_results(model, other, (x,))
    assert resolved(confnet.loads(text)) == text


def assert_resolves(seed: int) -> bool:
    """A random spec resolves to the same model; one that is wrong is passed over."""
    text = confnet.dumps(drawn(seed)[0])
    try:
        spec = confnet.loads(text)
        model = confnet.build(spec, seed=1)
    except confnet.ConfnetError:
        return False
    full = confnet.loads(resolved(spec))
    assert_same_model(model, confnet.build(full, seed=1))
    found = difference(*(Checked.make(each, {}, None, None, DEFAULT_LIMITS) for each in (spec, full)), shapes=False)
    assert not found, found.as_data()
    return True


def test_random_specs() -> None:
    assert sum(assert_resolves(seed) for seed in range(15)) > 7


@pytest.mark.soak
def test_many_random_specs() -> None:
    assert sum(assert_resolves(seed) for seed in range(15, 1500)) > 1000


# --- names of classes -------------------------------------------------------------------------------------------------


def test_the_name_of_a_keyword_is_no_value_that_code_reads() -> None:
    spec = confnet.loads("confnet: 1\nargs: {dim: 4}\nmodules: {G: {forward: return x.sum(dim=1)}}\nSequential: [G]\n")
    assert "let" not in resolved(spec)


def test_a_definition_may_say_what_its_class_is_called() -> None:
    text = "confnet: 1\nmodules: {A: {name: Block, args: {n: 4}, Linear: [$n, 4]}}\nSequential: [{A: 2}, A]\n"
    rules = "apply: [{where: {type: Block}, init: {bias: ones_}}]\n"
    model = confnet.build(confnet.loads(text + rules))
    assert [type(module).__name__ for module in model.children()] == ["Block", "Block"]
    assert all(bool((b == 1).all()) for name, b in model.named_parameters() if name.endswith("bias"))
    assert _codes(text.replace("Block", "block")) == {"invalid-name"}
    assert _codes("confnet: 1\nSequential: [{Linear: [2, 2], name: Block}]\n") == {"unknown-key"}


def _codes(text: str) -> set[str]:
    return {diagnostic.code for diagnostic in confnet.validate(io.StringIO(text)).diagnostics}


# --- the layout of what is written ------------------------------------------------------------------------------------

TEXT = st.text("ab1:#-'\"{}[], \n|>&*!%@`~$()\\\t.?0_\u2028😀", max_size=30)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)
WORDS = ("on", "No", "1_000", "0x1F", "010", "1:30", "1e3", "2020-01-01", "=", "~", ".inf", "null", "0b1", "y", "a b")


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(TEXT | st.sampled_from(WORDS), VALUE | st.sampled_from(WORDS), max_size=5))
def test_values_come_back(value: dict[str, Any]) -> None:
    text = lay_out(value)
    assert plain(parse(text, "a").root) == value if value else text == ""
    assert (yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}) == value, (
        "readers of YAML 1.1 have the same"
    )


@settings(max_examples=60, deadline=None)
@given(TEXT, TEXT)
def test_texts_come_back(code: str, prose: str) -> None:
    assume(not re.search(r"[\t\r]", code + prose))
    data = plain(parse(lay_out({"a": [{"code": Code(code)}], "b": {"prose": Prose(prose * 5)}}), "a").root)
    assert data["a"][0]["code"].rstrip("\n") == code.rstrip("\n")
    assert data["b"]["prose"] == prose * 5


# --- the command ------------------------------------------------------------------------------------------------------


def run(*arguments: str, input: str | None = None) -> Result:
    return CliRunner().invoke(commands, ["resolve", *arguments], input=input)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    out = tmp_path / "full.yaml"
    plain_text = run("examples/resnet.yaml", "--variant", "resnet18", "--set", "width=4")
    assert plain_text.exit_code == 0
    assert run("examples/resnet.yaml", "--variant", "resnet18", "--set", "width=4", "-o", str(out)).exit_code == 0
    assert out.read_text() == plain_text.stdout
    assert run("examples/resnet.yaml", "-o", str(out)).exit_code == 2
    assert run("examples/resnet.yaml", "--force").exit_code == 2
    assert run("-", input=plain_text.stdout).stdout == plain_text.stdout
    assert run("examples/anatomy/gpt2_init.yaml", "--root", "MLP").stdout.startswith("confnet: 1\nname: MLP\n")
    wrong = run("-", input="confnet: 1\nLinaer: [1, 2]\n")
    assert (wrong.exit_code, wrong.stdout) == (1, "")
    assert "error[unknown-layer]" in wrong.stderr


def test_what_is_too_large_written_out_is_told() -> None:
    names = ", ".join(f"a{i}: 1" for i in range(20))
    text = f"confnet: 1\nSequential: [{{repeat: 600, as: i, module: {{Linear: [$(i + 1), 2]}}}}]\nlet: {{{names}}}\n"
    with pytest.raises(confnet.ConfnetError, match="too-many-nodes"):
        resolved(confnet.loads(text), limits=Limits(nodes=1000))
