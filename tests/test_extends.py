"""`extends`: a file of changes is the file that somebody would have written out by hand."""

from __future__ import annotations

import itertools
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import confnet
from confnet.cli import commands
from confnet.diagnostics import ConfnetError, Diagnostic
from confnet.limits import Limits
from confnet.loading import Spec, load_texts

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"

BASE = """\
confnet: 1
name: Base
args: {width: {type: int, default: 4, ge: 1}, act: {type: module, default: ReLU}, rate: 0.5}
variants: {wide: {width: 8}}
let: {twice: $(2 * width)}
inputs: {x: [B, 4]}
modules:
  Norm: {args: {n: int}, LayerNorm: $n}
  Block:
    args: {n: int}
    children:
      norm: {Norm: $n}
      body: {Sequential: [{Linear: [$n, $twice]}, $act, {Linear: [$twice, $n]}]}
    forward: return x + body(norm(x))
children:
  stem: {Linear: [4, $width]}
  block$(i):
    repeat: 2
    as: i
    module: {Sequential: {first: {Block: $width}, second: {Block: $width}}}
  head: {Linear: [$width, 3]}
forward: return head(block1(block0(stem(x))))
apply:
  - {where: {name: head}, init: {bias: ones_}}
"""


def spec(changes: str, base: str = BASE, **others: str) -> Spec:
    """A file of changes of a base, and what else lies beside them."""
    files = {f"{name}.yaml": text for name, text in others.items()}
    return load_texts({"net.yaml": f"confnet: 1\nextends: base.yaml\n{changes}", "base.yaml": base, **files})


def same(changes: str, *replaced: tuple[str, str], base: str = BASE, variant: str | None = None) -> nn.Module:
    """Build a file of changes, and the base with these texts replaced by hand: they must be one model."""
    text = base
    for old, new in replaced:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    built = confnet.build(spec(changes, base), seed=0, variant=variant)
    by_hand = confnet.build(confnet.loads(text), seed=0, variant=variant)
    assert_same(built, by_hand)
    return built


def assert_same(one: nn.Module, two: nn.Module) -> None:
    """Equal classes and arguments, keys, bits and outputs."""
    assert repr(one) == repr(two)
    state, wanted = one.state_dict(), two.state_dict()
    assert list(state) == list(wanted)
    assert all(torch.equal(state[name], wanted[name]) for name in wanted)
    one, two = one.eval(), two.eval()
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(one(x), two(x))


def codes(changes: str, base: str = BASE, **others: str) -> list[Diagnostic]:
    with pytest.raises(ConfnetError) as caught:
        confnet.build(spec(changes, base, **others))
    return list(caught.value.diagnostics)


# --- the same as by hand ----------------------------------------------------------------------------------------------


def test_nothing_changed_is_the_base() -> None:
    same("")


def test_args_keep_their_declaration() -> None:
    same(
        "args: {width: 6, act: {LeakyReLU: 0.2}}",
        ("default: 4", "default: 6"),
        ("default: ReLU", "default: {LeakyReLU: 0.2}"),
    )
    (found,) = codes("args: {width: 0}")
    assert (found.code, str(found.span)) == ("invalid-value", "net.yaml:3:15")
    (found,) = codes("args: {rate: high}")
    assert (found.code, str(found.span)) == ("invalid-type", "net.yaml:3:14")


@pytest.mark.parametrize(
    ("declared", "default", "fine"),
    [
        ("3", "4", True),
        ("3", "0.5", False),
        ("0.5", "2", True),
        ("true", "false", True),
        ("true", "1", False),
        ("[1, 2]", "[3]", True),
        ("[1, 2]", "[a]", False),
        ("{default: {a: 1}}", "{type: int, default: 3}", True),
        ("{default: {a: 1}}", "3", False),
        ("int", "3", True),
        ("int", "abc", False),
        ("$(2 * 2)", "9", True),
        ("{type: int, nullable: true}", "null", True),
        ("{type: int, default: null}", "3", True),
        ("{type: int, default: 3}", "null", False),
        ("{type: str, default: a, choices: [a, b]}", "b", True),
        ("{type: str, default: a, choices: [a, b]}", "c", False),
    ],
)
def test_a_new_default_is_checked_as_the_base_declares(declared: str, default: str, fine: bool) -> None:
    base = f"confnet: 1\nargs:\n  n: {declared}\nSequential: [ReLU]\n"
    try:
        found = confnet.validate(spec(f"args: {{n: {default}}}", base)).diagnostics
    except ConfnetError as error:
        found = error.diagnostics
    assert [d.code for d in found] == ([] if fine else ["invalid-value" if default == "c" else "invalid-type"])
    assert all(d.span is not None and d.span.file == "net.yaml" for d in found)


def test_null_stays_allowed_where_it_was_the_default() -> None:
    base = "confnet: 1\nargs: {n: {type: int, default: null}}\nSequential: [ReLU]\n"
    assert confnet.validate(spec("args: {n: 3}", base), n=None).ok
    assert not confnet.validate(spec("args: {n: 3}", base), n="a").ok


def test_variants_constants_and_definitions_by_name() -> None:
    same("let: {twice: $(3 * width)}", ("$(2 * width)", "$(3 * width)"))
    same("modules: {Norm: {args: {n: int}, RMSNorm: $n}}", ("LayerNorm: $n", "RMSNorm: $n"))
    wide = same("variants: {wide: {width: 16}}", ("wide: {width: 8}", "wide: {width: 16}"), variant="wide")
    assert wide.get_parameter("stem.weight").shape == (16, 4)
    added = spec("variants: {small: {width: 2}}")
    assert [v.name for v in added.document.variants] == ["wide", "small"]
    assert confnet.validate(added).ok


def test_code_rules_and_contracts() -> None:
    same("forward: return head(block0(stem(x)))\nedit: {block$(i): {repeat: 1, as: i, module: {Block: $width}}}",
         ("block1(block0(stem(x)))", "block0(stem(x))"), ("repeat: 2", "repeat: 1"),
         ("{Sequential: {first: {Block: $width}, second: {Block: $width}}}", "{Block: $width}"))  # fmt: skip
    rule = "{where: {name: stem}, init: {bias: ones_}}"
    last = "  - {where: {name: head}, init: {bias: ones_}}\n"
    model = same(f"apply: [{rule}]", (last, f"{last}  - {rule}\n"))
    assert model.get_parameter("stem.bias").eq(1).all()
    (found,) = confnet.validate(spec("outputs: {y: [B, 4]}")).diagnostics
    assert found.span is not None
    assert found.span.file in ("net.yaml", "base.yaml")


def test_edits() -> None:
    same("edit: {head: {Linear: [$width, 3, false]}}", ("$width, 3]", "$width, 3, false]"))
    same("edit: {Block.body.1: Tanh}", ("$twice]}, $act", "$twice]}, Tanh"))
    same("edit: {Block.body.1: null}", ("$act, ", ""))
    same("edit: {Block.body.0: {after: [{Dropout: 0.1}], before: [Identity]}}",
         ("{Linear: [$n, $twice]}, $act", "Identity, {Linear: [$n, $twice]}, {Dropout: 0.1}, $act"))  # fmt: skip
    same(
        "edit: {block$(i).first: {after: {drop: {Dropout: 0.1}}}}",
        ("$width}, second", "$width}, drop: {Dropout: 0.1}, second"),
    )
    linear = "{Linear: [$width, $hidden]}"
    back = "{Linear: [$hidden, $width]}"
    same(
        f"args: {{hidden: 7}}\nedit: {{block$(i).second: {{replace: {linear}, after: {{out: {back}}}}}}}",
        ("rate: 0.5", "rate: 0.5, hidden: 7"),
        ("second: {Block: $width}", f"second: {linear}, out: {back}"),
    )


LIST = "confnet: 1\nSequential: [{Linear: [4, 4]}, ReLU, {Linear: [4, 4]}, Tanh, {Linear: [4, 4]}]\n"


def test_the_position_of_a_change_does_not_matter() -> None:
    """Removing item 1 does not renumber item 3, whichever is written first."""
    changes = ['"1": null', '"3": GELU', '"0": {before: [Identity]}', '"4": {after: [SiLU]}']
    shown = {
        repr(confnet.build(spec("edit:\n" + "".join(f"  {c}\n" for c in order), LIST), device="meta"))
        for order in itertools.permutations(changes)
    }
    assert len(shown) == 1
    assert re.findall(r"\): (\w+)\(", shown.pop()) == ["Identity", "Linear", "Linear", "GELU", "Linear", "SiLU"]


CHANGE = st.fixed_dictionaries(
    {"before": st.integers(0, 2), "keep": st.sampled_from(["keep", "remove", "replace"]), "after": st.integers(0, 2)}
)


@given(st.dictionaries(st.integers(0, 4), CHANGE), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_edits_of_a_list_are_pythons(changes: dict[int, dict[str, Any]], random: Any) -> None:
    items = ["Linear", "ReLU", "Linear", "Tanh", "Linear"]
    wanted, lines = [], []
    for number, item in enumerate(items):
        change = changes.get(number, {"before": 0, "keep": "keep", "after": 0})
        middle = {"keep": [item], "remove": [], "replace": ["Sigmoid"]}[change["keep"]]
        wanted += ["GELU"] * change["before"] + middle + ["SiLU"] * change["after"]
        said = [
            f"before: [{', '.join(['GELU'] * change['before'])}]",
            f"after: [{', '.join(['SiLU'] * change['after'])}]",
        ]
        said += {"keep": [], "remove": ["replace: null"], "replace": ["replace: Sigmoid"]}[change["keep"]]
        if number in changes:
            lines.append(f'  "{number}": {{{", ".join(said)}}}\n')
    random.shuffle(lines)
    changed = spec(f"edit:\n{''.join(lines)}" if lines else "", LIST)
    root = changed.document.root
    assert root is not None
    assert root.layer is not None
    assert [i.module.layer.name.text for i in root.layer.items or () if i.module and i.module.layer] == wanted


# --- chains, includes, places -----------------------------------------------------------------------------------------


MIDDLE = "confnet: 1\nextends: base.yaml\nedit: {head: {Linear: [$width, 5]}, stem: {after: {drop: {Dropout: 0.1}}}}\n"
MIDDLE += "forward: return head(block1(block0(drop(stem(x)))))\n"


def chain(changes: str) -> Spec:
    return load_texts(
        {"net.yaml": f"confnet: 1\nextends: middle.yaml\n{changes}", "middle.yaml": MIDDLE, "base.yaml": BASE}
    )


def test_a_chain_is_followed_and_the_outer_file_wins() -> None:
    assert confnet.build(chain("")).get_parameter("head.weight").shape == (5, 4)
    model = confnet.build(chain("edit: {head: {Linear: [$width, 7]}, drop: {Dropout: 0.3}}"))
    assert model.get_parameter("head.weight").shape == (7, 4)
    assert model.get_submodule("drop").p == 0.3
    assert list(chain("").texts) == ["net.yaml", "middle.yaml", "base.yaml"]


def test_a_definition_takes_the_place_of_one_that_the_base_includes() -> None:
    base = "confnet: 1\ninclude: [parts.yaml]\nSequential: [A, B]\n"
    parts = "confnet: 1\nmodules:\n  A: {Linear: [4, 4]}\n  B: {Sequential: [A]}\n"
    changed = spec("modules: {A: {Linear: [4, 4, false]}}", base, parts=parts)
    assert confnet.validate(changed).ok
    model = confnet.build(changed)
    assert list(model.state_dict()) == ["0.weight", "1.0.weight", "1.0.bias"]  # the included file sees itself alone
    (found,) = codes("include: [parts.yaml]\nmodules: {A: {Linear: [4, 4]}}", LIST, parts=parts)
    assert found.code == "duplicate-definition"


def test_what_was_written_where() -> None:
    (found,) = codes("edit: {head: {Linear: [$widht, 3]}}")
    assert (found.code, str(found.span), found.path) == ("undefined-name", "net.yaml:3:25", "edit.head.Linear[0]")
    (found,) = codes("edit: {head: null}")
    assert (found.code, str(found.span)[:9]) == ("undefined-name", "base.yaml")
    (found,) = codes("edit: {Block.bdy.1: Tanh}")
    assert found.code == "unknown-edit"
    assert found.help == "did you mean `Block.body.1`?"
    assert found.notes[0].span is not None
    assert found.notes[0].span.file == "base.yaml"


def test_mistakes_of_the_base_are_told_in_the_base() -> None:
    found = codes("", BASE.replace("confnet: 1\n", "").replace("repeat: 2", "repeet: 2"))
    assert {d.span.file for d in found if d.span} == {"base.yaml"}
    assert "missing-key" in {d.code for d in found}


def test_limits_hold_for_bases() -> None:
    with pytest.raises(ConfnetError) as caught:
        load_texts(
            {"net.yaml": "confnet: 1\nextends: middle.yaml\n", "middle.yaml": MIDDLE, "base.yaml": BASE},
            Limits(files=1),
        )
    assert [d.code for d in caught.value.diagnostics] == ["too-many-files"]
    with pytest.raises(ConfnetError) as caught:  # a chain goes through its bases again and again
        load_texts(
            {f"b{n}.yaml": f"confnet: 1\nextends: b{n + 1}.yaml\n" for n in range(5)} | {"b5.yaml": BASE},
            Limits(nodes=500),
        )
    assert [d.code for d in caught.value.diagnostics] == ["too-many-nodes"]
    deep = "{Sequential: [" * 6 + "ReLU" + "]}" * 6
    base = f"confnet: 1\nSequential: [{{Sequential: [{deep}]}}]\n"
    path = ".".join("0" * 8)
    assert confnet.validate(spec(f'edit: {{"{path}": {deep}}}', base)).ok
    with pytest.raises(ConfnetError) as caught:
        load_texts(
            {"net.yaml": f'confnet: 1\nextends: base.yaml\nedit: {{"{path}": {deep}}}\n', "base.yaml": base},
            Limits(nesting=20),
        )
    assert [d.code for d in caught.value.diagnostics] == ["nested-too-deeply"]


def test_an_alias_is_changed_in_one_place() -> None:
    base = "confnet: 1\nSequential:\n  a: &x {Sequential: [{Linear: [4, 4]}, ReLU]}\n  b: *x\n"
    assert re.findall("ReLU|GELU", repr(confnet.build(spec("edit: {b.1: GELU}", base)))) == ["ReLU", "GELU"]


def test_a_base_comes_from_the_folder_or_from_the_package(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/blocks.yaml").write_text("confnet: 1\nmodules: {A: {Linear: [4, 4]}}\n")
    (tmp_path / "parts/base.yaml").write_text("confnet: 1\ninclude: [blocks.yaml]\nSequential: [A]\n")
    path = tmp_path / "net.yaml"
    path.write_text(
        "confnet: 1\nextends: parts/base.yaml\ninclude: ['confnet:mlp.yaml']\nedit: {'0': {after: [{MLP: 4}]}}\n"
    )
    model = confnet.build(path)
    assert [type(child).__name__ for child in model.children()] == ["A", "MLP"]
    for wrong, code in (
        ("../net.yaml", "include-escapes"),
        ("/net.yaml", "include-not-relative"),
        ("no.yaml", "unreadable-file"),
    ):
        path.write_text(f"confnet: 1\nextends: {wrong}\n")
        assert [d.code for d in confnet.validate(path).diagnostics] == [code]


# --- what a model of an extending file can do -------------------------------------------------------------------------


def test_pickle_spec_of_audit_show_and_validate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    file, args = "examples/resnet_cifar.yaml", {"width": 4, "layers": [1, 1, 1, 1]}
    model = confnet.build(file, args=args, seed=0).eval()
    record = confnet.spec_of(model)
    again = confnet.build(record.spec, args=record.args, seed=0).eval()
    loaded = pickle.loads(pickle.dumps(model))
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(again(x), model(x))
    assert torch.equal(loaded(x), model(x))
    assert type(loaded) is type(model)
    includes = [place for use in confnet.audit(file).uses if use.kind == "include" for place in map(str, use.places)]
    assert includes == ["examples/resnet.yaml:8:11", "examples/resnet_cifar.yaml:3:10"]
    report = confnet.validate(spec("args: {width: 6}"))
    assert report.ok
    assert [(shape.variant, shape.checked) for shape in report.shapes] == [(None, True), ("wide", True)]


# --- everything in use: depth, width, classes, activation, norm, head -------------------------------------------------


def command(*words: str) -> Result:
    return CliRunner().invoke(commands, words, prog_name="confnet")


NORM = "modules: {GroupNorm2: {args: {n: int}, GroupNorm: [2, $n]}}\n"
USES: dict[str, tuple[str, dict[str, Any], list[str], str, str]] = {
    "depth": ("mlp", {"hidden": [8, 8, 8]}, ["hidden=[8, 8, 8]"], "args: {hidden: [8, 8, 8]}", "(6): Linear("),
    "width": ("mlp", {"hidden": [8]}, ["hidden=[8]"], "args: {hidden: [8]}", "Linear(in_features=784, out_features=8"),
    "classes": ("mlp", {"out_features": 3}, ["out_features=3"], "args: {out_features: 3}", "out_features=3, bias"),
    "activation": ("mlp", {"activation": "SiLU"}, ["activation=SiLU"], "args: {activation: SiLU}", "SiLU()"),
    "activation with arguments": (
        "mlp",
        {"activation": {"LeakyReLU": 0.1}},
        ["activation={LeakyReLU: 0.1}"],
        "args: {activation: {LeakyReLU: 0.1}}",
        "LeakyReLU(negative_slope=0.1)",
    ),
    "norm by a definition": (
        "normed",
        {"norm": "GroupNorm2", "layers": [1, 1, 1, 1], "width": 4},
        ["norm=GroupNorm2", "layers=[1, 1, 1, 1]", "width=4"],
        "args: {norm: GroupNorm2, layers: [1, 1, 1, 1], width: 4}",
        "(bn1): GroupNorm2(2, 4,",
    ),
    "head": (
        "resnet_cifar",
        {"head": {"Linear": [32, 5]}, "layers": [1, 1, 1, 1], "width": 4},
        ["head={Linear: [32, 5]}", "layers=[1, 1, 1, 1]", "width=4"],
        "args: {layers: [1, 1, 1, 1], width: 4}\nedit: {fc: {Linear: [32, 5]}}",
        "(fc): Linear(in_features=32, out_features=5",
    ),
}  # fmt: skip


@pytest.mark.parametrize("use", USES)
def test_one_change_from_python_the_command_line_and_a_file(use: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    stem, args, settings_, changes, shown = USES[use]
    for name in ("resnet.yaml", "resnet_cifar.yaml", "mlp.yaml", "blocks/residual.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((EXAMPLES / name).read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "normed.yaml").write_text(f"confnet: 1\nextends: resnet.yaml\n{NORM}")
    base, file, out = tmp_path / f"{stem}.yaml", tmp_path / "changed.yaml", tmp_path / "out.safetensors"
    file.write_text(f"confnet: 1\nextends: {stem}.yaml\nname: {confnet.load(base).document.name}\n{changes}\n")

    from_python, from_file = confnet.build(base, args=args, seed=3), confnet.build(file, seed=3)
    assert shown in repr(from_python)
    assert repr(from_file) == repr(from_python)
    words = [word for text in settings_ for word in ("--set", text)]
    result = command("build", str(base), *words, "--seed", "3", "-o", str(out))
    assert result.exit_code == 0, result.output
    assert_states(load_file(out), from_python.state_dict())
    assert_states(from_file.state_dict(), from_python.state_dict())
    listed = command("show", str(base), "--repr", *words)
    assert shown in re.sub(r"^ *[\d,]* *", "", listed.output, flags=re.MULTILINE)


def assert_states(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> None:
    assert set(one) == set(two)
    assert all(torch.equal(one[name], two[name]) for name in two)


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("activation=SiLLU", "unknown-layer", "SiLLU"),
        ("activation={LeakyReLU: {slop: 0.1}}", "unknown-argument", "slop"),
        ("hidden=[8, a]", "invalid-type", "a"),
        ("hiden=[8]", "unknown-argument", "hiden"),
        ("dropout=1.5", "invalid-value", "1.5"),
    ],
)
def test_a_wrong_setting_is_shown_where_it_is_wrong(text: str, code: str, place: str) -> None:
    for name in ("validate", "build", "show"):
        result = command(name, str(EXAMPLES / "mlp.yaml"), "--set", text)
        assert result.exit_code == 1
        assert f"error[{code}]" in result.output
        lines = result.output.splitlines()
        marks = next(number for number, line in enumerate(lines) if re.fullmatch(r" +\| +\^+", line))
        at, end = lines[marks].index("^"), lines[marks].rindex("^") + 1
        assert place in lines[marks - 1][at:end]
        assert "<args>" in result.output


def test_a_part_of_an_arg_is_not_set() -> None:
    result = command("validate", str(EXAMPLES / "mlp.yaml"), "--set", "hidden.0=3")
    assert result.exit_code == 2
    assert "'hidden.0' is not a name; set the whole of 'hidden'" in result.output
