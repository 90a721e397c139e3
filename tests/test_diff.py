"""`confnet diff`: what differs between two specs, and what torch then says of a checkpoint."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import confnet
from confnet.checked import Checked
from confnet.cli import commands
from confnet.diagnostics import ConfnetError
from confnet.diff import Change, Detail, Difference, difference
from confnet.diff.folding import below, folded
from confnet.diff.pages import markdown, text_lines
from confnet.limits import DEFAULT_LIMITS

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"


def checked(source: str | Path, variant: str | None = None, root: str | None = None, **args: Any) -> Checked:
    spec = confnet.load(source) if isinstance(source, Path) else confnet.loads(source)
    return Checked.make(spec, args, variant, root, DEFAULT_LIMITS)


def compared(a: str, b: str, *, shapes: bool = False) -> Difference:
    return difference(checked(a), checked(b), shapes=shapes)


# --- the oracle: torch, on real models --------------------------------------------------------------------------------


def assert_torch_says_so(a: Checked, b: Checked, *, both_ways: bool = True) -> Difference:
    """The predicted keys are those that `load_state_dict` of a real model reports, in its order."""
    found = difference(a, b, shapes=False)
    one, other = (each.construct("cpu", None).module for each in (a, b))
    assert_loads_so(found, one, other)
    if both_ways:
        assert_loads_so(difference(b, a, shapes=False), other, one)
    return found


def assert_loads_so(found: Difference, one: nn.Module, other: nn.Module) -> None:
    heard: dict[str, list[str]] = {}

    def listen(_: nn.Module, keys: Any) -> None:
        heard.update(missing=list(keys.missing_keys), unexpected=list(keys.unexpected_keys))

    other.register_load_state_dict_post_hook(listen)  # type: ignore[no-untyped-call]
    error = ""
    try:
        other.load_state_dict(one.state_dict(), strict=False)
    except RuntimeError as raised:
        error = str(raised)
    if found:  # else its own keys are renamed when they are saved, and it is not asked
        assert (list(found.keys.missing), list(found.keys.unexpected)) == (heard["missing"], heard["unexpected"])
    sizes = re.findall(r"size mismatch for (\S+): .*?Size\(\[(.*?)\]\).*?Size\(\[(.*?)\]\)", error)
    assert [(key, str(list(x))[1:-1], str(list(y))[1:-1]) for key, x, y in found.keys.mismatched] == sizes
    assert not found or len(error.split("\n\t")[1:]) == len(sizes) + len(found.keys.errors)
    assert found.a.parameters == sum(p.numel() for p in one.parameters())
    assert found.b.parameters == sum(p.numel() for p in other.parameters())
    if not (found.changes or found.code):
        assert repr(one) == repr(other)
        assert list(one.state_dict()) == list(other.state_dict())


SMALL: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("resnet.yaml", {"width": 4}, {"width": 4, "layers": [1, 2, 3, 1]}),
    ("resnet.yaml", {"width": 4}, {"width": 4, "block": "Bottleneck", "expansion": 4}),
    ("resnet.yaml", {"width": 4, "norm": "BatchNorm2d"}, {"width": 4, "norm": "InstanceNorm2d"}),
    ("vit.yaml", {"image_size": 16, "depth": 1, "embed_dim": 12}, {"image_size": 32, "depth": 2, "embed_dim": 12}),
    ("gpt2.yaml", {"n_layer": 1, "n_embd": 24}, {"n_layer": 2, "n_embd": 36}),
    ("zoo/t5.yaml", {"d_model": 8, "num_layers": 1}, {"d_model": 8, "num_layers": 2, "is_gated_act": True}),
    ("zoo/t5.yaml", {"d_model": 8, "num_layers": 1}, {"d_model": 8, "num_layers": 1, "tie_word_embeddings": False}),
    ("zoo/vqvae.yaml", {}, {}),
    ("anatomy/renamed_checkpoint.yaml", {}, {}),
    ("anatomy/spectral_norm.yaml", {}, {}),
]


@pytest.mark.parametrize("case", SMALL, ids=lambda case: f"{case[0]}-{'-'.join(case[2])}")
def test_keys_of_examples_under_args(case: tuple[str, dict[str, Any], dict[str, Any]]) -> None:
    file, ours, theirs = case
    a, b = (checked(EXAMPLES / file, **args) for args in (ours, theirs))
    found = assert_torch_says_so(a, b)
    assert bool(found) == (ours != theirs)


@pytest.mark.parametrize(
    ("other", "args"), [("unet.yaml", {"width": 4}), ("lstm_tagger.yaml", {}), ("anatomy/renamed_checkpoint.yaml", {})]
)
def test_keys_of_unlike_models(other: str, args: dict[str, Any]) -> None:
    a, b = checked(EXAMPLES / "mlp.yaml"), checked(EXAMPLES / other, **args)
    assert assert_torch_says_so(a, b)


LAYERS = (
    "{Linear: [4, 4]}",
    "{Linear: {in_features: 4, out_features: 4, bias: false}}",
    "{LayerNorm: 4}",
    "{BatchNorm1d: 4}",
    "{BatchNorm1d: {num_features: 4, affine: false}}",
    "{BatchNorm1d: 5}",
    "ReLU",
    "{Linear: [4, 4], parametrize: {weight: weight_norm}}",
    "{Block: 4}",
    "{Block: 6}",
    "{Bilinear: [4, 4, 4]}",
    "{share: first}",
)
FRAME = """
confnet: 1
modules:
  Block:
    args: {n: int}
    parameters: {gain: {shape: [n]}}
    buffers: {steps: {value: 0, dtype: int64}, mask: {shape: [n], persistent: false}}
    children: {fc: {Linear: [4, $n]}, drop: {when: $(n > 4), Dropout: 0.1}}
children:
  first: {Linear: [4, 4]}
"""


@st.composite
def frames(draw: st.DrawFn) -> str:
    names = draw(st.lists(st.sampled_from("abcdef"), unique=True, max_size=4))
    layers = [f"  {name}: {draw(st.sampled_from(LAYERS))}" for name in names]
    inner = draw(st.lists(st.sampled_from(LAYERS[:-1]), max_size=5))
    kind = draw(st.sampled_from(["Sequential", "ModuleList"]))
    lines = [*layers, f"  body: {{{kind}: [{', '.join(inner)}]}}"]
    if draw(st.booleans()):
        lines.append("hooks:\n  - {kind: state_dict_post, call: {rename_keys: {pattern: '^a[.]', to: z.}}}")
    if draw(st.booleans()):
        lines.append("apply: [{where: {name: first}, requires_grad: false}]")
    return FRAME + "\n".join(lines) + "\n"


@settings(max_examples=25, deadline=None)
@given(frames(), frames())
def test_keys_of_random_edits(a: str, b: str) -> None:
    try:
        ours, theirs = checked(a), checked(b)
        found = assert_torch_says_so(ours, theirs, both_ways=False)
    except ConfnetError:
        assume(False)
    assert not difference(ours, checked(a), shapes=False)
    list(text_lines(found))
    markdown(found)
    json.dumps(found.as_data())


# --- modules ----------------------------------------------------------------------------------------------------------

BASE = """
confnet: 1
name: Net
inputs: {x: [B, 8]}
outputs: {y: [B, 2]}
modules:
  Block:
    args: {n: int}
    children: {fc: {Linear: [$n, $n]}, act: ReLU}
    forward: return x + act(fc(x))
children:
  stem: {Linear: [8, 8]}
  layers: {Sequential: [{repeat: 3, module: {Block: 8}}]}
  head: {Linear: [8, 2]}
tie: {stem.weight: layers.0.fc.weight}
forward: return head(layers(stem(x)))
apply:
  - {where: {type: Linear}, init: {bias: zeros_}}
hooks:
  - {kind: forward, where: {name: stem}, do: return output * 2}
"""


def edited(*edits: tuple[str, str]) -> str:
    text = BASE
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    return text


def changes(b: str) -> list[Change]:
    return list(compared(BASE, b).changes)


def test_equal_specs_have_no_difference() -> None:
    found = compared(BASE, BASE.replace("[8, 8]", "{out_features: 8, in_features: 8, bias: true}"), shapes=True)
    assert not found
    assert [line for line, _ in text_lines(found)][-1] == "no difference"


def test_added_and_removed() -> None:
    used = (("head(layers", "head(drop(layers"), ("(stem(x)))", "(stem(x))))"))
    found = changes(edited(("  head:", "  drop: {Dropout: 0.2}\n  head:"), *used))
    assert [(c.kind, c.path, c.cls) for c in found] == [("added", "drop", "Dropout")]
    assert found[0].details == (Detail("argument", "p", None, "0.2"),)
    back = compared(edited(("  head:", "  drop: {Dropout: 0.2}\n  head:")), BASE).changes
    assert [(c.kind, c.path) for c in back] == [("removed", "drop")]


def test_an_argument_and_what_follows() -> None:
    head = "head: {Linear: {in_features: 8, out_features: 3, bias: false}}"
    found = compared(BASE, edited(("head: {Linear: [8, 2]}", head)))
    (change,) = found.changes
    assert (change.path, change.parameters) == ("head", 24 - 18)
    assert change.details == (Detail("argument", "out_features", "2", "3"), Detail("argument", "bias", "true", "false"))
    assert found.keys.unexpected == ("head.bias",)
    assert found.keys.mismatched == (("head.weight", (2, 8), (3, 8)),)


def test_renamed_and_moved() -> None:
    found = compared(BASE, edited(("head:", "out:"), ("head(", "out(")))
    assert [(c.kind, c.path, c.to) for c in found.changes] == [("renamed", "head", "out")]
    assert found.keys.missing == ("out.weight", "out.bias")
    inner = edited(
        ("  head: {Linear: [8, 2]}", "  top: {ModuleDict: {head: {Linear: [8, 2]}}}"), ("head(l", "top['head'](l")
    )
    moved = compared(BASE, inner).changes
    assert ("added", "top") in [(c.kind, c.path) for c in moved]


def test_a_list_that_grew_in_the_middle() -> None:
    a = "confnet: 1\nSequential: [{Linear: [4, 4]}, ReLU, {Linear: [4, 3]}, Tanh]\n"
    b = "confnet: 1\nSequential: [{Linear: [4, 4]}, {LayerNorm: 4}, ReLU, {Linear: [4, 3]}, Tanh]\n"
    found = compared(a, b)
    assert [(c.kind, c.path, c.to) for c in found.changes] == [
        ("added", "1", ""),
        ("renamed", "1", "2"),
        ("renamed", "2", "3"),
        ("renamed", "3", "4"),
    ]
    assert set(found.keys.missing) == {"1.weight", "1.bias", "3.weight", "3.bias"}
    assert set(found.keys.unexpected) == {"2.weight", "2.bias"}


def test_a_class_rules_hooks_ties_and_parameters() -> None:
    (change,) = changes(edited(("act: ReLU", "act: GELU")))[:1]
    assert (change.path, change.details[0]) == ("layers.0.act", Detail("class", "", "ReLU", "GELU"))
    (change,) = changes(edited(("bias: zeros_", "bias: ones_")))
    assert [(d.what, d.name) for d in change.details] == [("apply", "0")]
    (change,) = changes(edited(("output * 2", "output * 3")))
    assert [(d.what, d.name) for d in change.details] == [("hooks", "forward")]
    (change,) = changes(edited(("tie: {stem.weight: layers.0.fc.weight}", "parameters: {g: {shape: [2]}}")))
    assert {(d.what, d.name) for d in change.details} == {("tie", "stem.weight"), ("parameters", "g")}
    assert change.parameters == 64 + 2, "what was tied is a parameter of its own"


def test_code_is_told_once_for_all_modules_of_a_class() -> None:
    found = compared(BASE, edited(("return x + act(fc(x))", "return act(x + fc(x))")))
    assert not found.changes
    (code,) = found.code
    assert (code.owner, code.name) == ("Block", "forward")
    assert code.places == ("layers.0", "layers.1", "layers.2")
    lines = [line for line, _ in text_lines(found)]
    assert "    -return x + act(fc(x))" in lines
    assert "    +return act(x + fc(x))" in lines
    assert not found.keys, "no key changes"


def test_shapes_that_follow() -> None:
    found = compared(BASE, edited(("[8, 2]}", "[8, 5]}"), ("[B, 2]", "[B, 5]")), shapes=True)
    assert [(s.kind, s.name, s.before, s.after) for s in found.shapes] == [
        ("output", "y", "[B, 2]", "[B, 5]"),
        ("value", "head", "[B, 2]", "[B, 5]"),
    ]
    unchecked = compared("confnet: 1\nLinear: [2, 2]\n", "confnet: 1\nLinear: [2, 3]\n", shapes=True)
    assert not unchecked.shapes
    assert unchecked.unchecked


def test_equal_changes_are_told_together() -> None:
    lines = [line for line, _ in text_lines(compared(BASE, edited(("act: ReLU", "act: GELU"))))]
    assert "  ~ layers.{0-2}.act  GELU (3 of them)" in lines


def test_names_are_folded() -> None:
    assert folded(["a.0.b", "a.1.b", "a.2.b", "a.5.b"]) == "a.{0-2,5}.b"
    assert folded(["a.0.1", "a.1.0"]) == "a.*.*"
    assert folded(["a.b"]) == "a.b"
    keys = ["x.0.w", "x.0.b", "x.1.w", "x.1.b", "y.w"]
    assert list(below(keys, ["x.0", "x.1"])) == [("x.{0-1}.*", 4), ("y.w", 1)]


@pytest.mark.parametrize(
    "rest",
    [
        "buffers: {mask: {value: 'torch.ones(n, n)'}}",
        "Identity: {}\nhooks: [{kind: forward, do: return output * n}]",
        "modules: {I: {args: {scale: 1}, Linear: [2, 2]}}\nchildren: {i: {I: $n}}\nforward: return i(x) * i.scale",
        "forward: |\n  return x if n == 2 else -x",
    ],
)
def test_whatever_code_reads_is_compared(rest: str) -> None:
    text = f"confnet: 1\nargs: {{n: {{type: any, default: 2}}}}\n{rest}\n"
    found = difference(checked(text), checked(text, n=3), shapes=False)
    (change,) = found.changes
    assert (change.details[0].before, change.details[0].after) == ("2", "3")
    assert not difference(checked(text), checked(text, n=2), shapes=False)


def test_long_values_and_kinds_are_compared() -> None:
    text = "confnet: 1\nargs: {n: {type: any, default: 2}}\nforward: return x if n == 2 else -x\n"
    assert difference(checked(text, n=1), checked(text, n="1"), shapes=False)
    found = difference(checked(text, n=[*range(200), 1]), checked(text, n=[*range(200), 2]), shapes=False)
    assert found
    assert max(len(line) for line, _ in text_lines(found)) < 250
    assert max(len(line) for line in markdown(found).splitlines()) < 500


def test_digits_of_other_scripts_are_no_numbers() -> None:
    layers = ", ".join(f"'{name}': {{Linear: [$n, 1]}}" for name in ("1", "²", "01"))
    text = f"confnet: 1\nargs: {{n: 2}}\nModuleDict: {{{layers}}}\n"
    lines = [line for line, _ in text_lines(difference(checked(text), checked(text, n=3), shapes=False))]
    assert {line.split()[1] for line in lines if line.startswith("  ~")} == {"1", "²", "01"}


# --- the command ------------------------------------------------------------------------------------------------------


def run(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["diff", *arguments])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text(BASE)
    (tmp_path / "b.yaml").write_text(edited(("[8, 2]}", "[8, 5]}"), ("[B, 2]", "[B, 5]")))
    return tmp_path


def test_exit_codes(folder: Path) -> None:
    assert run("a.yaml", "b.yaml").exit_code == 0
    assert run("a.yaml", "b.yaml", "--exit-code").exit_code == 1
    (folder / "c.yaml").write_text(BASE)
    assert run("a.yaml", "c.yaml", "--exit-code").exit_code == 0
    assert run("a.yaml").exit_code == 2
    wrong = run("a.yaml", "none.yaml")
    assert (wrong.exit_code, wrong.stdout) == (1, "")
    assert "error[unreadable-file]" in wrong.stderr


def test_forms(folder: Path) -> None:
    text = run("a.yaml", "b.yaml").stdout
    assert "  ~ head  Linear, +27 parameters\n      out_features: 2 -> 5\n" in text
    assert "    head.weight: [2, 8] -> [5, 8]\n" in text
    assert "8 of 10 keys of A fit into B" in text
    data = json.loads(run("a.yaml", "b.yaml", "--format", "json").stdout)
    assert data["ok"]
    assert data["different"]
    assert data["keys"]["mismatched"] == [["head.weight", [2, 8], [5, 8]], ["head.bias", [2], [5]]]
    page = run("a.yaml", "b.yaml", "--format", "markdown").stdout
    assert page.startswith("### `a.yaml` → `b.yaml`\n")
    assert "| changed | `head` | `Linear` | `out_features: 2 -> 5` | +27 |" in page
    assert "<details><summary>other shape: 2</summary>" in page


def test_two_variants_of_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    options = ("examples/resnet.yaml", "--no-shapes", "--set", "width=4")
    result = run(*options, "--variant-a", "resnet18", "--variant-b", "resnet34")
    assert "examples/resnet.yaml (resnet34)" in result.stdout
    assert "  + layer3.{2-5}  BasicBlock" in result.stdout
    assert "(in_channels=5)" in run(*options, "--set-b", "in_channels=5").stdout


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    models = tmp_path / "models"
    (models / "parts").mkdir(parents=True)
    (models / "parts" / "fc.yaml").write_text("confnet: 1\nmodules: {Fc: {args: {n: int}, Linear: [4, $n]}}\n")
    (models / "net.yaml").write_text("confnet: 1\ninclude: [parts/fc.yaml]\nSequential: [{Fc: 3}]\n")
    (tmp_path / "top.yaml").write_text("confnet: 1\nSequential: [ReLU]\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    (models / "parts" / "fc.yaml").write_text(
        "confnet: 1\nmodules: {Fc: {args: {n: int}, Linear: {in_features: 4, out_features: $n, bias: false}}}\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_revision_with_its_own_includes(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("HEAD:models/net.yaml", "models/net.yaml", "--exit-code")
    assert result.exit_code == 1, result.output
    assert "  ~ 0  Fc, -3 parameters\n      bias: true -> false\n" in result.stdout
    assert "A  HEAD:models/net.yaml\n   Net, 15 parameters\n" in result.stdout
    assert run("HEAD:top.yaml", "top.yaml", "--exit-code").exit_code == 0, "called after the file all the same"
    monkeypatch.chdir(repository / "models")
    assert run("HEAD:./net.yaml", "net.yaml", "--exit-code").exit_code == 1
    git(repository, "commit", "-q", "-a", "-m", "two")
    assert run("HEAD:./net.yaml", "net.yaml", "--exit-code").exit_code == 0
    assert run("HEAD~1:models/net.yaml", "HEAD:models/net.yaml", "--exit-code").exit_code == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("HEAD:none.yaml", "does not exist in `HEAD`"),
        ("nowhere:top.yaml", "nowhere"),
        ("--output=x:top.yaml", "does not begin with `-`"),
        ("HEAD:models", "bad file"),
    ],
)
def test_revisions_that_cannot_be_read(repository: Path, name: str, said: str) -> None:
    result = run("--", name, "top.yaml")
    assert result.exit_code == 1
    assert "error[unreadable-file]" in result.stderr
    assert said in result.stderr
    assert not (repository / "x:top.yaml").exists()


def test_a_file_with_a_colon_in_its_name_is_a_file(folder: Path) -> None:
    (folder / "HEAD:a.yaml").write_text(BASE)
    assert run("HEAD:a.yaml", "a.yaml", "--exit-code").exit_code == 0


def test_a_model_that_cannot_save_itself_is_told(folder: Path) -> None:
    hook = "hooks: [{kind: state_dict_post, call: {rename_keys: {pattern: '^[ab][.]', to: c.}}}]"
    (folder / "c.yaml").write_text(
        f"confnet: 1\nSequential: {{a: {{Linear: [2, 2]}}, b: {{Linear: [2, 2]}}}}\n{hook}\n"
    )
    result = run("c.yaml", "a.yaml", "--no-shapes")
    assert result.exit_code == 0
    assert "two keys of the state dict would be called" in result.stdout
