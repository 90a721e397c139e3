"""`confnet explain FILE NAME`: each place and each decision that it tells is the one of the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import confnet
from confnet.api import explain, inspect
from confnet.cli import commands
from confnet.pipeline import make_plan
from confnet.provenance import Explanation, Fact, Unknown

ROOT = Path(__file__).resolve().parent.parent

TEXT = """\
confnet: 1
name: Net
args: {width: 4, depth: 3, rate: 0.5}
let: {inner: $(2 * width)}
variants: {wide: {width: 8}}
modules:
  Block:
    args: {channels: int, hidden: $(channels * 2), drop: 0.0}
    inputs: {x: [B, channels]}
    children:
      up: {Linear: [$channels, $hidden]}
      down: {Linear: {in_features: $hidden, out_features: $channels, bias: false}}
      act: ReLU
    parameters:
      gain: {shape: [channels], init: ones_}
    forward: |
      h = act(up(x))
      return x + gain * down(h)
inputs: {x: [B, width]}
outputs: {y: [B, T]}
children:
  blocks:
    Sequential:
      - repeat: $depth
        as: i
        module: {Block: {channels: $width, drop: $(rate * i)}}
  head: {Linear: [$width, $inner]}
  tied: {Linear: [$width, $inner, false]}
  encoder: {TransformerEncoderLayer: {d_model: $width, nhead: 1}}
  again: {share: head}
tie: {tied.weight: head.weight}
forward: |
  return again(blocks(x)) + tied(x)
hooks:
  - {kind: forward, where: {name: head}, do: return output * 2, name: double}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("net.yaml").write_text(TEXT)
    return "net.yaml"


def told(file: str, name: str, **options: Any) -> Explanation:
    return explain(file, name, **options)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["explain", *arguments], prog_name="confnet")


def line(text: str) -> str:
    """The place of the line of the file that begins so."""
    (number,) = [n for n, each in enumerate(TEXT.splitlines(), 1) if each.strip().startswith(text)]
    return f"net.yaml:{number}"


def shown(facts: tuple[Fact, ...]) -> list[tuple[str, ...]]:
    return [(fact.name, fact.text, fact.place, fact.by) for fact in facts]


def test_a_module(file: str) -> None:
    found = told(file, "blocks.1.down", args={"depth": 2})
    assert (found.kind, found.what) == ("module", "Linear")
    assert shown(found.path) == [
        ("", "Net", "net.yaml:1", ""),
        ("blocks", "Sequential", line("blocks:"), ""),
        ("blocks.1", "Block", line("module: {Block"), ""),
        ("blocks.1.down", "Linear", line("down:"), ""),
    ]
    repeat, definition = found.path[2].reasons
    assert (repeat.text, repeat.place) == ("step 1 of `repeat: $depth`, `i` is 1", line("- repeat"))
    assert shown(repeat.reasons) == [("depth", "2", "", "the caller")]
    assert (definition.text, definition.place) == ("`Block`", line("Block:"))
    assert shown(found.sections["called by"]) == [("blocks.1", "Block", line("return x + gain"), "")]
    assert shown(found.sections["shapes"]) == [("takes", "[B, 8]", "", ""), ("returns", "[B, 4]", "", "")]
    (weight,) = found.sections["parameters"]
    assert (weight.name, weight.text, weight.place) == ("blocks.1.down.weight", "[4, 8] of float32", line("down:"))


def test_who_decided_each_argument(file: str) -> None:
    arguments = {fact.name: fact for fact in told(file, "blocks.2", variant="wide").sections["arguments"]}
    call, definition = line("module: {Block"), line("args: {channels")
    assert shown(tuple(arguments.values())) == [
        ("channels", "8 = $width", call, "the file"),
        ("hidden", "16 = $(channels * 2)", definition, "the default"),
        ("drop", "1.0 = $(rate * i)", call, "the file"),
    ]
    assert shown(arguments["channels"].reasons) == [("width", "8", line("variants"), "the variant `wide`")]
    assert shown(arguments["drop"].reasons) == [
        ("i", "2", line("- repeat"), "`repeat: $depth`"),
        ("rate", "0.5", line("args: {width"), "the default"),
    ]
    (channels,) = arguments["hidden"].reasons
    assert (channels.name, channels.reasons[0].by) == ("channels", "the variant `wide`")
    assert (
        told(file, "blocks.2", variant="wide", args={"width": 2}).sections["arguments"][0].reasons[0].by == "the caller"
    )


def test_constants_and_defaults_of_torch(file: str) -> None:
    arguments = {fact.name: fact for fact in told(file, "head").sections["arguments"]}
    (inner,) = arguments["out_features"].reasons
    assert shown((inner, *inner.reasons)) == [
        ("inner", "8 = $(2 * width)", line("let"), "`let`"),
        ("width", "4", line("args: {width"), "the default"),
    ]
    assert (arguments["bias"].text, arguments["bias"].by) == ("true", "the default of `Linear`")


def test_parameters_buffers_and_values(file: str) -> None:
    gain = told(file, "blocks.0.gain")
    assert (gain.kind, gain.what) == ("parameter", "[4] of float32")
    assert shown(gain.sections["initialised by"]) == [("ones_", "", line("gain: {shape"), "")]
    assert shown(gain.sections["read by"]) == [("blocks.0", "mul", line("return x + gain"), "")]
    x = told(file, "x")
    assert (x.kind, x.what, x.path[0].place) == ("input", "[B, 4] of float32", line("inputs: {x: [B, width]}"))
    assert [(fact.name, fact.text) for fact in x.sections["read by"][:1]] == [("blocks.0.up", "Linear")]
    assert shown(told(file, "y").sections["made by"]) == [("", "add", line("return again"), "")]
    mean = explain(ROOT / "examples/anatomy/normalised_input.yaml", "mean")
    assert (mean.kind, mean.what) == ("buffer", "[3, 1, 1] of float32, not persistent")
    assert [fact.text for fact in mean.sections["read by"]] == ["sub"]


def test_ties_shares_and_hooks(file: str) -> None:
    tied = told(file, "tied.weight")
    assert shown(tied.sections["ties"]) == [("tied.weight", "is `head.weight`", line("tie:"), "")]
    assert told(file, "head.weight").sections["ties"] == tied.sections["ties"]
    assert told(file, "tied").sections["ties"] == tied.sections["ties"]
    again = told(file, "again")
    assert again.what == "the module `head` under a second name"
    assert again.path[-1].place == line("again:")
    assert shown(told(file, "head").sections["hooks"]) == [("forward", "runs do `double`", line("- {kind"), "")]


def test_what_is_inside_a_second_name_is_told_at_the_first() -> None:
    text = """\
confnet: 1
name: Net
inputs: {x: [B, 4]}
children: {norm: {Sequential: [{BatchNorm1d: 4}, LazyBatchNorm1d]}, other: {share: norm}}
forward: |
  for i in range(10):
      x = norm(x)
  return other(x)
"""
    spec = confnet.loads(text)
    for name in ("0", "0.running_mean", "0.weight"):
        assert explain(spec, f"other.{name}").name in (f"norm.{name}", "other.0.weight")
    assert explain(spec, "norm.1.running_mean").what == "not sized yet of float32, persistent"
    assert shown(explain(spec, "norm").sections["called by"][-1:]) == [("...", "and 3 calls more", "", "")]


def test_inputs_that_are_not_known() -> None:
    with pytest.raises(Unknown, match=r"there is no `x` in the model \(of its inputs .* `x` has no shape\)"):
        explain(confnet.loads("confnet: 1\nname: Net\ninputs: {x: any}\nSequential: [ReLU]\n"), "x")


def test_what_a_layer_makes_inside_itself(file: str) -> None:
    found = told(file, "encoder.self_attn.out_proj")
    assert found.what == "NonDynamicallyQuantizableLinear, which a layer makes inside itself"
    assert found.path[-1].text == "made by `TransformerEncoderLayer` inside itself"
    assert found.path[-2].place == line("encoder:")


def test_the_model_itself(file: str) -> None:
    found = told(file, "")
    assert [fact.name for fact in found.sections["children"]] == ["blocks", "head", "tied", "encoder"]
    assert shown(found.sections["arguments"])[1] == ("depth", "3", line("args: {width"), "the default")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("blocks.0.dwn", "there is no `blocks.0.dwn` in the model; did you mean `blocks.0.down`?"),
        ("enc", "there is no `enc`; names that begin so: encoder, encoder.self_attn"),
        ("nothing_like_it", "there is no `nothing_like_it` in the model"),
    ],
)
def test_names_that_are_none(file: str, name: str, message: str) -> None:
    with pytest.raises(Unknown) as caught:
        told(file, name)
    assert str(caught.value.args[0]).startswith(message)
    result = run(file, name)
    assert result.exit_code == 2
    assert message.split(",")[0] in " ".join(result.stderr.split())


@pytest.mark.parametrize("name", ["lstm_tagger", "anatomy/tied_language_model"])
def test_every_name_of_an_example_can_be_explained(name: str) -> None:
    path = ROOT / f"examples/{name}.yaml"
    tables = inspect(path).tables()
    spec = confnet.load(path)
    for kind in ("modules", "parameters", "buffers"):
        names = [row["name"] for row in tables[kind]]
        for each in (*names[:2], *names[-2:]):
            found = explain(spec, each)
            assert found.kind + "s" == kind
            assert found.path[-1].place or found.path[-1].text.startswith("made by")


def test_a_plan_records_only_when_asked(file: str) -> None:
    spec = confnet.load(file)
    plain, recorded = (make_plan(spec, record=record)[0].root for record in (False, True))
    assert (dict(plain.origins), plain.steps) == ({}, ())
    assert list(recorded.origins) == ["width", "depth", "rate"]
    blocks = recorded.children["blocks"].children  # type: ignore[union-attr]
    assert len({id(block) for block in blocks.values()}) == 3


def test_the_command(file: str) -> None:
    result = run(file, "blocks.1.up", "--set", "depth=2")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[:11] == [
        "module blocks.1.up: Linear",
        "",
        "written",
        "  the model  Net                                  net.yaml:1",
        f"  blocks  Sequential                              {line('blocks:')}",
        f"  blocks.1  Block                                 {line('module: {Block')}",
        f"    repeat  step 1 of `repeat: $depth`, `i` is 1  {line('- repeat')}",
        "      depth = 2 (the caller)",
        f"    definition  `Block`                           {line('Block:')}",
        f"  blocks.1.up  Linear                             {line('up:')}",
        "",
    ]
    data = json.loads(run(file, "blocks.1.up", "--format", "json").stdout)
    assert (data["kind"], data["arguments"][0]["by"]) == ("module", "the file")
    assert run(file).stdout.startswith("module the model: Net\n")


def test_mistakes_of_the_file_are_diagnostics(file: str) -> None:
    Path("bad.yaml").write_text(TEXT.replace("ReLU", "RelU"))
    result = run("bad.yaml", "head")
    assert (result.exit_code, "error[unknown-layer]" in result.output) == (1, True)
    assert not json.loads(run("bad.yaml", "head", "--format", "json").stdout)["ok"]


def test_a_code_is_still_a_code(file: str) -> None:
    assert run("unknown-layer").stdout == run("error[unknown-layer]").stdout
    assert run("unknown-laier").exit_code == 2


def test_a_parametrized_weight_is_told_by_what_it_is_computed_from() -> None:
    spec = confnet.loads(
        "confnet: 1\nchildren: {head: {Linear: [4, 4], parametrize: {weight: weight_norm}}}\nforward: return head(x)\n"
    )
    with pytest.raises(Unknown, match=r"computed, .* `head.parametrizations.weight.original0`, `head.*original1`$"):
        explain(spec, "head.weight")
