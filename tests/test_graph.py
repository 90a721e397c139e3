"""The picture of a model: its boxes and arrows, what is folded, and the texts for Graphviz and Mermaid."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from confnet.catalog.layers import torch_layers
from confnet.graph import GraphvizError, graph_html, picture, program
from confnet.graph.boxes import Graph, graph_of
from confnet.graph.details import Detail
from confnet.graph.dot import dot
from confnet.graph.kinds import COLOURS, WORDS, kind_of_layer
from confnet.graph.mermaid import mermaid
from confnet.graph.view import View, opened, shown, view_of
from confnet.graph.wording import lines_of, short_count
from tests.graph_tapes import Tape, named, residual

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "cases" / "graph"


def seen(graph: Graph, depth: int | None = None) -> View:
    return view_of(graph, opened(graph, depth))


def ends(view: View) -> list[tuple[str, str, bool]]:
    """The edges by what their ends are called."""
    return [(lines_of(e.source)[0], lines_of(e.target)[0], e.is_skip) for e in view.edges]


def blocks(count: int, tap: int | None = None) -> Graph:
    """Residual blocks in a chain; what block number `tap` gives is an output as well."""
    tape = Tape()
    x = tape.input("x", "B", 8)
    tape.begin()
    tapped = None
    for index in range(count):
        x = residual(tape, f"layers.{index}", x)
        tapped = x if index == tap else tapped
    x = tape.layer("head", "Linear", x, sizes=("B", 2))
    tape.output("y", x)
    if tapped is not None:
        tape.output("middle", tapped)
    return tape.graph()


# --- boxes and arrows -----------------------------------------------------------------------------------------------


def test_a_residual_block() -> None:
    view = seen(blocks(1))
    assert ends(view) == [
        ("x", "norm", False),
        ("norm", "fc", False),
        ("x", "+", True),
        ("fc", "+", False),
        ("+", "head", False),
        ("head", "y", False),
    ]


def test_functions_that_reshape_are_told_on_the_arrow() -> None:
    tape = Tape()
    x = tape.input("x", "B", 8)
    tape.begin()
    y = tape.function("transpose", tape.function("view", x, sizes=("B", 2, 4)), sizes=("B", 4, 2))
    tape.output("y", tape.layer("fc", "Linear", y))
    (arrow, _) = tape.graph().arrows
    assert (arrow.source.name, arrow.target.name, arrow.shape, arrow.via) == (
        "x",
        "fc",
        "B × 4 × 2",
        ("view", "transpose"),
    )


def test_a_module_that_only_reshapes_is_a_box() -> None:
    tape = Tape()
    x = tape.input("x", "B", 8)
    tape.begin()
    with tape.module("flat", "Flat", x):
        y = tape.function("reshape", x, sizes=("B*8",))
    tape.output("y", y)
    assert [(a.source.name, a.target.name) for a in tape.graph().arrows] == [("x", "flat"), ("flat", "y")]


def test_a_module_that_reads_sizes_only_has_its_arrow_while_it_is_folded() -> None:
    tape = Tape()
    x = tape.input("x", "B", 8)
    tape.begin()
    with tape.module("positions", "Positions", x):
        p = tape.function("cos", tape.function("arange", sizes=(8,)))
    tape.output("y", tape.function("mul", x, p))
    graph = tape.graph()
    assert ("x", "positions", False) in ends(seen(graph, 0))
    assert sorted(source for source, _, _ in ends(seen(graph, 1))) == ["arange", "cos", "x", "×"]


def test_a_module_called_twice_is_two_boxes() -> None:
    tape = Tape()
    a, b = tape.input("a", "B", 8), tape.input("b", "B", 8)
    tape.begin()
    tape.output("y", tape.function("sub", tape.layer("fc", "Linear", a), tape.layer("fc", "Linear", b)))
    assert sum(1 for box in tape.graph().boxes() if box.fqn == "fc") == 2


def test_parameters_come_first_and_their_arrows_bear_no_shape_twice() -> None:
    tape = Tape()
    x = tape.input("x", "B", 8)
    tape.begin()
    y = tape.layer("fc", "Linear", x)
    y = tape.function("mul", y, tape.state("gamma", 8))
    tape.output("y", y)
    view = seen(tape.graph())
    assert [node.name for node in view.nodes][:3] == ["x", "gamma", "fc"]
    assert [edge.labels for edge in view.edges if edge.source.name == "gamma"] == [[]]


def test_a_composite_that_holds_one_other_is_drawn_as_one_with_it() -> None:
    tape = Tape()
    x = tape.input("x", "B", 8)
    tape.begin()
    with tape.module("stage", "Stage", x), tape.module("stage.layers", "Sequential", x):
        x = tape.layer("stage.layers.0", "Linear", x)
        x = tape.layer("stage.layers.1", "ReLU", x)
    tape.output("y", x)
    box = named(tape.graph(), "stage")
    assert [child.name for child in box.children] == ["layers.0", "layers.1"]
    assert [inner.fqn for inner in box.joined] == ["stage.layers"]


def test_many_functions_in_a_row_are_one_box() -> None:
    tape = Tape()
    x = tape.input("x", "B", 8)
    tape.begin()
    y = tape.layer("fc", "Linear", x)
    for label in ("cos", "sin", "exp", "log", "abs", "neg", "sqrt"):
        y = tape.function(label, y)
    tape.output("y", y)
    graph = tape.graph()
    assert ends(seen(graph)) == [
        ("x", "fc", False),
        ("fc", "7 functions · cos, sin, exp, …", False),
        ("7 functions · cos, sin, exp, …", "y", False),
    ]


def test_what_is_never_called_is_told() -> None:
    tape = Tape()
    x = tape.input("x", "B", 8)
    tape.begin()
    for index in range(3):
        x = tape.layer(f"h.{index}.fc", "Linear", x)
    tape.output("y", x)
    tape.details |= {"h": Detail(), "spare": Detail(cls="Linear"), "spare.inner": Detail(cls="ReLU")}
    for index in range(3):
        tape.details |= {f"h.{index}": Detail(), f"h.{index}.drop": Detail(cls="Dropout")}
    tape.details["h.1.odd"] = Detail(cls="ReLU")
    assert tape.graph().notes == ("Not called in this forward: spare, h.*.drop (3 times), h.1.odd.",)


def test_without_a_trace_the_modules_stand_alone() -> None:
    details = {
        name: Detail(cls=cls, layer=cls)
        for name, cls in [("", "Net"), ("a", "Block"), ("a.fc", "Linear"), ("b", "ReLU")]
    }
    graph = graph_of("Net", details, None, "the file declares no inputs")
    assert graph.notes == ("Modules only, without arrows: the file declares no inputs.",)
    assert [box.fqn for box in graph.boxes()] == ["", "a", "a.fc", "b"]
    assert "style=invis" in dot(seen(graph))
    assert "~~~" in mermaid(seen(graph))


# --- repeats --------------------------------------------------------------------------------------------------------


def runs(graph: Graph) -> list[tuple[str, int]]:
    found = [box for box in graph.boxes() if box.run is not None and box.run.copies[0] is box]
    return [(lines_of(box)[0], len(box.run.copies)) for box in found if box.run is not None]


def test_equal_blocks_in_a_chain_are_one() -> None:
    graph = blocks(12)
    assert runs(graph) == [("layers.0 … layers.11 ×12", 12)]
    assert ends(seen(graph, 0)) == [
        ("x", "layers.0 … layers.11 ×12", False),
        ("layers.0 … layers.11 ×12", "head", False),
        ("head", "y", False),
    ]


def test_a_run_ends_where_something_else_takes_what_a_block_gives() -> None:
    assert runs(blocks(6, tap=2)) == [("layers.0 … layers.2 ×3", 3), ("layers.3 … layers.5 ×3", 3)]


@pytest.mark.parametrize("difference", ["argument", "class", "parameters", "mark", "size"])
def test_a_block_that_differs_is_not_folded(difference: str) -> None:
    tape = Tape()
    x = tape.input("x", "B", 8)
    tape.begin()
    for index in range(3):
        odd = difference if index == 1 else ""
        fqn = f"layers.{index}"
        with tape.module(fqn, "Block", x):
            x = tape.layer(
                f"{fqn}.fc",
                "Linear",
                x,
                bias="false" if odd == "argument" else "true",
                sizes=("B", 9) if odd == "size" else ("B", 8),
            )
            x = tape.layer(f"{fqn}.act", "GELU" if odd == "class" else "ReLU", x)
        if odd == "parameters":
            tape.details[fqn] = Detail(cls="Block", parameters=17)
        if odd == "mark":
            tape.details[fqn] = Detail(cls="Block", parameters=16, marks=("hook forward: capture",))
    tape.output("y", x)
    assert runs(tape.graph()) == []


def test_blocks_that_share_an_input_are_one() -> None:
    tape = Tape()
    x, mask, other = tape.input("x", "B", 8), tape.input("mask", "B", 8), tape.input("other", "B", 8)
    tape.begin()
    for index in range(4):
        with tape.module(f"layers.{index}", "Block", x):
            x = tape.function(
                "masked_fill", tape.layer(f"layers.{index}.fc", "Linear", x), mask if index != 2 else other
            )
    tape.output("y", x)
    assert runs(tape.graph()) == [("layers.0 … layers.1 ×2", 2)]


def test_steps_that_repeat_together_are_a_group() -> None:
    tape = Tape()
    x = tape.input("x", "B", 8)
    tape.begin()
    for index in range(3):
        x = tape.function("add", x, tape.layer(f"fc.{index}", "Linear", tape.layer(f"norm.{index}", "LayerNorm", x)))
    tape.output("y", x)
    graph = tape.graph()
    assert runs(graph) == [("×3", 3)]
    group = next(box for box in graph.boxes() if box.kind == "group")
    assert [child.label for child in group.children] == ["LayerNorm", "Linear", "add"]


def test_equal_branches_are_one() -> None:
    tape = Tape()
    x = tape.input("x", "B", 8)
    tape.begin()
    heads = []
    for index in range(4):
        with tape.module(f"heads.{index}", "Head", x):
            heads.append(tape.layer(f"heads.{index}.act", "ReLU", tape.layer(f"heads.{index}.fc", "Linear", x)))
    tape.output("y", tape.function("cat", *heads))
    assert runs(tape.graph()) == [("heads.0 … heads.3 ×4", 4)]


def test_one_module_called_again_and_again() -> None:
    tape = Tape()
    x = tape.input("x", "B", 8)
    tape.begin()
    for _ in range(5):
        x = residual(tape, "block", x)
    tape.output("y", x)
    assert runs(tape.graph()) == [("block ×5, the same module", 5)]


def test_a_module_to_open_may_be_inside_a_copy_or_joined_with_the_one_around_it() -> None:
    tape = Tape()
    x = tape.input("x", "B", 8)
    tape.begin()
    for index in range(6):
        name = f"h.{index}"
        with tape.module(name, "Block", x):
            with tape.module(f"{name}.attn", "Attn", x), tape.module(f"{name}.attn.all", "Sequential", x):
                for step in range(2):
                    x = tape.layer(f"{name}.attn.all.{step}", "Linear", x)
            x = tape.layer(f"{name}.act", "ReLU", x)
    tape.output("y", x)
    graph = tape.graph()
    for name in ("h.3.attn", "h.3.attn.all", "h.0.attn"):
        nodes = view_of(graph, opened(graph, 0, [name])).nodes
        assert [node.fqn for node in nodes if node.fqn] == ["h.0.attn.all.0", "h.0.attn.all.1", "h.0.act"], name


def test_a_very_long_row_is_parted() -> None:
    tape = Tape()
    x = tape.input("x", "B", 8)
    tape.begin()
    for index in range(1000):
        x = tape.layer(f"{index}", "Linear", x, sizes=("B", index + 1))
    tape.output("y", x)
    graph = tape.graph()
    assert len(seen(graph, 0).nodes) < 81
    assert sum(1 for box in graph.boxes() if box.kind == "module") == 1001
    assert len(ends(seen(graph, 0))) == len(seen(graph, 0).nodes) - 1


# --- any wiring -----------------------------------------------------------------------------------------------------


@st.composite
def tapes(draw: st.DrawFn) -> Tape:
    """Forwards of nested modules, where every step takes any earlier values."""
    tape = Tape()
    values = [tape.input("x", "B", 8)]
    tape.begin()

    def body(prefix: str, depth: int) -> None:
        for index in range(draw(st.integers(1, 4))):
            name = f"{prefix}{index}"
            taken = draw(st.lists(st.sampled_from(values[-4:]), min_size=1, max_size=2, unique=True))
            kind = draw(st.sampled_from(["layer", "function", "module", "view"]))
            if kind == "module" and depth < 3:
                with tape.module(name, "Block", *taken, whole=True):
                    body(f"{name}.", depth + 1)
            elif kind == "view":
                values.append(tape.function("view", taken[0]))
            elif kind == "function":
                values.append(tape.function("add", *taken))
            else:
                values.append(tape.layer(name, draw(st.sampled_from(["Linear", "ReLU"])), *taken))

    body("", 0)
    tape.output("y", values[-1])
    return tape


@settings(max_examples=150, deadline=None)
@given(tapes(), st.integers(0, 4))
def test_arrows_never_make_a_circle_and_no_step_is_lost(tape: Tape, depth: int) -> None:
    graph = tape.graph()
    view = seen(graph, depth)
    order = {id(node): number for number, node in enumerate(view.nodes)}
    assert all(order[id(edge.source)] < order[id(edge.target)] for edge in view.edges)
    drawn = [box for box in graph.root.leaves() if box.kind != "input"]
    made = [call for call in tape.calls if call.kind != "module" or call.fqn]
    leaves = {call.id for call in made} - {call.parent for call in made}
    reshaping = {call.id for call in made if call.label == "view"}
    # A composite whose steps only reshape is a step itself.
    only = {
        c.id
        for c in made
        if c.kind == "module"
        and {i.id for i in made if i.parent == c.id}
        and {i.id for i in made if i.parent == c.id} <= reshaping
    }
    assert len(drawn) == len((leaves - reshaping) | only) - 1
    positions = [box.position for box in graph.root.leaves()]
    assert positions == sorted(positions)


# --- texts ----------------------------------------------------------------------------------------------------------


def example() -> Graph:
    """One of everything."""
    tape = Tape()
    x, ids = tape.input("x", "B", 8), tape.input('ids "q" <b>', "B")
    tape.begin()
    e = tape.layer("embed", "Embedding", ids, sizes=("B", 8))
    x = tape.function("add", x, e)
    for index in range(3):
        x = residual(tape, f"layers.{index}", x)
    with tape.module("head", "Head & Co", x):
        x = tape.layer("head.fc", "Linear", x, sizes=("B", 2))
        x = tape.function("mul", x, tape.state("head.scale", 2))
    tape.output("y", x)
    tape.details["head.fc"] = Detail(
        cls="Linear", layer="Linear", summary="8→2", marks=("tied: weight is embed.weight", "hook forward: h")
    )
    tape.details["spare"] = Detail(cls="ReLU")
    return graph_of('Net "quoted"', tape.details, tape.trace())


@pytest.mark.parametrize(("name", "write"), [("example.dot", dot), ("example.mmd", mermaid)])
@pytest.mark.parametrize("depth", [0, 2])
def test_the_text(name: str, write: object, depth: int, request: pytest.FixtureRequest) -> None:
    assert callable(write)
    path = GOLDEN / name.replace(".", f"-{depth}.")
    text = write(seen(example(), depth))
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        pytest.fail(f"{path.name} was not there; it is written now: read it")
    assert text == path.read_text(encoding="utf-8")
    assert text == write(seen(example(), depth))


def test_signs_of_markdown_are_written_by_their_number() -> None:
    tape = Tape()
    x = tape.input("x", "2*B", "2*T")
    tape.begin()
    tape.output("y", tape.function("add", x, tape.layer("fc", "Linear", x)))
    text = mermaid(seen(tape.graph()))
    assert "2#42;B × 2#42;T" in text
    assert '("#43;")' in text
    assert not {"*", "+"} & {*text}


@pytest.mark.parametrize("form", ["svg", "png"])
def test_graphviz_draws_it(form: str) -> None:
    if shutil.which("dot") is None:
        pytest.skip("graphviz is not installed")
    drawn = program.run_dot(dot(seen(example())), form)
    assert drawn.startswith(b"\x89PNG" if form == "png" else b"<?xml")
    if form == "svg":
        assert "ids &quot;q&quot; &lt;b&gt;" in drawn.decode()


def test_no_character_of_a_file_breaks_a_text() -> None:
    details = {"": Detail(cls="Net"), "a": Detail(cls="Linear", summary="\x1b")}
    view = seen(graph_of("Net", details, None, 'it says "\ud800 \x00 \x1b \\N"'))
    for write in (dot, mermaid):
        assert all(character.isprintable() or character == "\n" for character in write(view))
    if shutil.which("dot") is not None:
        ElementTree.fromstring(program.run_dot(dot(view), "svg"))


def test_a_fault_of_graphviz_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(GraphvizError, match=r"graphviz is not installed: .*-o model\.html"):
        program.run_dot("digraph {}", "svg")
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/false")
    with pytest.raises(GraphvizError, match="graphviz failed: exit code 1"):
        program.run_dot("digraph {}", "svg")

    monkeypatch.setattr(shutil, "which", lambda name: "/")  # no program
    with pytest.raises(GraphvizError, match="graphviz cannot be started: "):
        program.run_dot("digraph {}", "svg")

    def late(*args: object, **kwargs: object) -> None:
        raise subprocess.TimeoutExpired("dot", 1)

    monkeypatch.setattr(subprocess, "run", late)
    with pytest.raises(GraphvizError, match="too long"):
        program.run_dot("digraph {}", "svg")


def test_every_kind_has_its_words_and_colours() -> None:
    styles = (ROOT / "confnet/graph/page.css").read_text(encoding="utf-8")
    light, dark = styles.split('[data-theme="dark"]')
    for kind, colour in COLOURS.items():
        assert WORDS[kind]
        assert f"--k-{kind}: {colour};" in light
        assert f"--k-{kind}: #" in dark
        assert f".k-{kind} {{ fill: var(--k-{kind}); }}" in styles


def test_kinds_of_layers() -> None:
    kinds = {name: kind_of_layer(name) for name in torch_layers()}
    wanted = {
        "Conv2d": "convolution", "LazyConvTranspose3d": "convolution", "Linear": "linear", "RMSNorm": "normalization",
        "LazyBatchNorm1d": "normalization", "ReLU6": "activation", "LogSoftmax": "activation", "GELU": "activation",
        "CELU": "activation", "Hardswish": "activation", "Softmax2d": "activation", "LSTMCell": "recurrent",
        "MultiheadAttention": "attention", "GRU": "recurrent",
        "AdaptiveAvgPool2d": "pooling", "EmbeddingBag": "embedding", "Dropout2d": "dropout", "AlphaDropout": "dropout",
        "Sequential": "module", "Flatten": "module", "MSELoss": "module",
    }  # fmt: skip
    assert {name: kinds[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1k"), (11_689_512, "11.7M"), (999_999, "1000k"), (46_700_000_000, "46.7B")],
)
def test_short_counts(number: int, text: str) -> None:
    assert short_count(number) == text


def test_shown_hides_copies() -> None:
    graph = blocks(3)
    assert [lines_of(box)[0] for box in shown(graph.root)] == ["x", "layers.0 … layers.2 ×3", "head", "y"]


# --- from a file ----------------------------------------------------------------------------------------------------

NET = """\
confnet: 1
name: Net
args: {width: 8}
modules:
  Block:
    description: half of a <transformer>
    children: {norm: {LayerNorm: $width}, fc: {Linear: [$width, $width]}, drop: {Dropout: 0.1}}
    forward: return x + drop(fc(norm(x)))
inputs: {ids: {shape: [B, T], dtype: int64, low: 0, high: 10}}
children:
  embed: {Embedding: [10, $width]}
  blocks: {Sequential: [{repeat: 4, module: Block}]}
  head: {Linear: {in_features: $width, out_features: 10, bias: false}, requires_grad: false}
  spare: ReLU
tie: {head.weight: embed.weight}
forward: return head(blocks(embed(ids)))
"""


def test_a_file() -> None:
    from confnet import loads

    drawn = picture(loads(NET, name="net.yaml"))
    graph = drawn.graph
    assert runs(graph) == [("0 … 3 ×4", 4)]
    head = named(graph, "head").detail
    assert head.arguments == {"in_features": "8", "out_features": "10", "bias": "false"}
    assert head.summary == "8→10"
    assert "tied: weight is embed.weight" in head.marks
    assert head.place == ("net.yaml", 13)
    block = named(graph, "blocks.0").detail
    assert block.description == "half of a <transformer>"
    assert block.defined == ("net.yaml", 5)
    assert block.parameters == 8 + 8 + 64 + 8
    assert graph.notes == ("Not called in this forward: spare.",)
    assert "net.yaml" in drawn.sources
    with pytest.raises(ValueError, match="svg, png, html, mmd, dot"):
        drawn.written("gif")


def test_a_page_of_a_file_in_one_call(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text("confnet: 1\nSequential: [ReLU]\n")
    page = graph_html(path)
    assert page.startswith("<!doctype html>")
    assert "Modules only" in page
