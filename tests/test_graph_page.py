"""The page of a picture, in a real browser: it opens, folds, searches and tells, by mouse and by keyboard."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from confnet.graph.boxes import Graph, graph_of
from confnet.graph.details import Detail, State
from confnet.graph.page import page
from confnet.graph.view import opened
from tests.browser.devtools import Browser, chromium
from tests.graph_tapes import Tape, residual

VENDOR = Path(__file__).parents[1] / "confnet" / "graph" / "vendor"

HOSTILE = (
    "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>\"'"
    "`${window.hacked = 3}<!--\u2028\\"
)


def picture(count: int = 12, hostile: str = "") -> Graph:
    tape = Tape()
    x = tape.input(f"x{hostile}", "B", 8)
    tape.begin()
    x = tape.layer("embed", "Linear", x)
    with tape.module("encoder", f"Encoder{hostile}", x):
        for index in range(count):
            x = residual(tape, f"encoder.layers.{index}", x)
        with tape.module("encoder.last", "Last", x):
            x = tape.layer("encoder.last.norm", "LayerNorm", x)
            x = tape.layer(f"encoder.last.{hostile or 'odd'}", "GELU", x)
    tape.output("y", tape.layer("head", "Linear", x, sizes=("B", f"2{hostile}")))
    tape.details["head"] = Detail(
        cls="Linear", layer="Linear", description=f"the <b>last</b> layer{hostile}",
        arguments={"bias": f"true{hostile}"}, summary="8→2", parameters=18, frozen=2,
        state=(State("weight", "[2, 8]"), State("bias", "[2]", f"frozen{hostile}")),
        place=("net.yaml", 3), marks=(f"tied: weight is embed.weight{hostile}",),
    )  # fmt: skip
    return graph_of(f"Net{hostile}", tape.details, tape.trace())


def text_of(graph: Graph, sources: dict[str, str] | None = None) -> str:
    return page(
        graph,
        opened(graph, 0),
        sources or {"net.yaml": "confnet: 1\nchildren:\n  head:\n    Linear: [8, 2]\n  other: ReLU\n"},
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if chromium() is None:
        pytest.skip("chromium is not installed")
    with Browser() as started:
        yield started


@pytest.fixture
def shown(browser: Browser, tmp_path: Path) -> Iterator[Browser]:
    """The picture, open in the browser. Nothing may go wrong in the page, and nothing is fetched."""
    (tmp_path / "net.html").write_text(text_of(picture()), encoding="utf-8")
    browser.errors.clear()
    browser.requests.clear()
    browser.open(tmp_path / "net.html")
    browser.wait("document.querySelectorAll('.item').length > 0")
    yield browser
    assert browser.errors == []
    assert [url for url in browser.requests if not url.startswith("file:")] == []


def names(browser: Browser) -> list[str]:
    """What the items are called, in order."""
    found: list[str] = browser.js(
        "[...document.querySelectorAll('.item')].map(e => e.getAttribute('aria-label').split(';')[0])"
    )
    return found


def middle(browser: Browser, name: str) -> tuple[float, float]:
    place = browser.js(
        "(() => { const e = [...document.querySelectorAll('.item')].find(e => e.getAttribute('aria-label').startsWith("
        f"{json.dumps(name)})); const r = e.getBoundingClientRect();"
        " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
    )
    return place[0], place[1]


def panel(browser: Browser) -> str:
    text: str = browser.js("document.getElementById('panel').hidden ? '' : document.getElementById('panel').innerText")
    return text


def focused(browser: Browser) -> str:
    text: str = browser.js("(document.activeElement.getAttribute('aria-label') || '').split(';')[0]")
    return text


# --- opening and folding --------------------------------------------------------------------------------------------


def test_it_opens_folded(shown: Browser) -> None:
    assert names(shown) == ["x", "embed", "encoder", "head", "y"]
    assert shown.js("document.title") == "Net"
    assert shown.js("document.querySelectorAll('.edge').length") == 4
    assert shown.js("[...document.querySelectorAll('.label')].map(e => e.textContent)") == ["B × 8", "B × 8"]


def test_double_click_opens_and_folds(shown: Browser) -> None:
    shown.click(*middle(shown, "encoder"), times=2)
    assert names(shown) == ["x", "embed", "encoder", "layers.0 … layers.11  ×12", "last", "head", "y"]
    assert shown.js("document.getElementById('status').textContent") == "encoder opened: 2 boxes"
    shown.click(*middle(shown, "encoder"), times=2)
    assert names(shown) == ["x", "embed", "encoder", "head", "y"]


def test_a_run_is_shown_copy_by_copy_and_folded_again(shown: Browser) -> None:
    shown.click(*middle(shown, "encoder"), times=2)
    shown.click(*middle(shown, "layers.0"))
    press(shown, "Show all 12")
    assert [name for name in names(shown) if name.startswith("layers")] == [f"layers.{index}" for index in range(12)]
    assert shown.js("document.querySelectorAll('.edge').length") > 12
    press(shown, "Fold 12 to one")
    assert "layers.0 … layers.11  ×12" in names(shown)


def press(browser: Browser, button: str) -> None:
    browser.js(
        f"[...document.querySelectorAll('#panel button')].find(e => e.textContent === {json.dumps(button)}).click()"
    )


def test_a_residual_arrow_is_marked(shown: Browser) -> None:
    for name in ("encoder", "layers.0"):
        shown.click(*middle(shown, name), times=2)
    assert names(shown) == [
        "x",
        "embed",
        "encoder",
        "layers.0 … layers.11  ×12",
        "norm",
        "fc",
        "+",
        "last",
        "head",
        "y",
    ]
    assert shown.js("document.querySelectorAll('.edge.skip').length") == 1


def test_the_buttons(shown: Browser) -> None:
    shown.js("document.getElementById('more').click()")
    shown.js("document.getElementById('more').click()")
    assert "norm" in names(shown)
    shown.js("document.getElementById('less').click()")
    assert names(shown) == ["x", "embed", "encoder", "head", "y"]
    before = shown.js("document.getElementById('camera').getAttribute('transform')")
    shown.js("document.getElementById('in').click()")
    assert shown.js("document.getElementById('camera').getAttribute('transform')") != before
    shown.js("document.getElementById('fit').click()")
    assert shown.js("document.getElementById('camera').getAttribute('transform')") == before


def test_the_mouse_moves_and_zooms(shown: Browser) -> None:
    before = shown.js("[view.x, view.y, view.scale]")
    for kind, x, y in [
        ("mousePressed", 200, 300),
        ("mouseMoved", 260, 330),
        ("mouseMoved", 300, 360),
        ("mouseReleased", 300, 360),
    ]:
        shown.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)
    after = shown.js("[view.x, view.y, view.scale]")
    assert after[2] == before[2]
    assert after[0] - before[0] == pytest.approx(100)
    assert after[1] - before[1] == pytest.approx(60)
    shown.call("Input.dispatchMouseEvent", type="mouseWheel", x=300, y=360, deltaX=0, deltaY=-200)
    shown.wait(f"view.scale > {before[2]}")


# --- details --------------------------------------------------------------------------------------------------------


def test_a_click_tells_of_a_module(shown: Browser) -> None:
    shown.click(*middle(shown, "head"))
    told = panel(shown)
    for text in (
        "head",
        "Linear · 8→2",
        "tied: weight is embed.weight",
        "the <b>last</b> layer",
        "bias",
        "true",
        "Parameters: 18, 2 frozen",
    ):
        assert text in told
    assert re.search(r"from encoder\s+B × 8", told)
    assert re.search(r"gives\s+B × 2", told)
    assert re.search(r"In the file: net\.yaml:3\s+3\s+head:\s+4\s+Linear: \[8, 2\]", told)
    assert "other: ReLU" not in told
    shown.key("Escape")
    assert panel(shown) == ""


def test_an_open_box_tells_what_goes_through_its_frame(shown: Browser) -> None:
    shown.click(*middle(shown, "encoder"), times=2)
    shown.click(*middle(shown, "encoder"))
    assert re.search(r"from embed\s+B × 8\s+gives\s+B × 8\s+to head\s+B × 8", panel(shown))
    assert shown.js("document.querySelectorAll('.edge.lit').length") == 4  # outside the frame and inside it


def test_lines_are_counted_as_yaml_counts_them(browser: Browser, tmp_path: Path) -> None:
    lines = ["confnet: 1", "children:", "  head:", "    Linear: [8, 2]", "  other: ReLU"]
    for ending in ("\r", "\r\n", "\x85", "\u2028"):
        (tmp_path / "net.html").write_text(text_of(picture(), {"net.yaml": ending.join(lines)}), encoding="utf-8")
        browser.errors.clear()
        browser.open(tmp_path / "net.html")
        browser.wait("document.querySelectorAll('.item').length > 0")
        browser.click(*middle(browser, "head"))
        assert re.search(r"In the file: net\.yaml:3\s+3\s+head:\s+4\s+Linear: \[8, 2\]", panel(browser)), ending
        assert browser.errors == []


# --- search ---------------------------------------------------------------------------------------------------------


def test_search_opens_what_it_finds(shown: Browser) -> None:
    shown.key("/")
    shown.type("last.norm")
    assert shown.js("[...document.querySelectorAll('#found li')].map(e => e.textContent)") == [
        "encoder.last.norm LayerNorm"
    ]
    assert shown.js("document.getElementById('query').getAttribute('aria-expanded')") == "true"
    shown.key("Enter")
    assert focused(shown) == "norm"
    assert "encoder.last.norm" in panel(shown)
    place = shown.js(
        "(() => { const r = document.querySelector('.item.chosen').getBoundingClientRect(); return [r.x, r.y]; })()"
    )
    assert 0 < place[0] < 1040
    assert 50 < place[1] < 900


def test_search_finds_a_copy_and_a_class(shown: Browser) -> None:
    shown.key("/")
    shown.type("layers.7.fc")
    shown.key("Enter")
    assert "encoder.layers.7.fc" in panel(shown)
    assert "layers.7" in names(shown)
    shown.key("/")
    shown.type("gelu")
    shown.key("Enter")
    assert focused(shown) == "odd"
    shown.key("/")
    shown.type("no such thing")
    assert shown.js("document.getElementById('found').textContent") == "nothing is so called"
    shown.key("Escape")
    assert shown.js("document.getElementById('found').hidden")


# --- keyboard and screen readers ------------------------------------------------------------------------------------


def test_the_keyboard(shown: Browser) -> None:
    assert shown.js("document.querySelectorAll('.item[tabindex=\"0\"]').length") == 1
    shown.js("document.querySelector('.item[tabindex=\"0\"]').focus()")
    assert focused(shown) == "x"
    for key, where in [
        ("ArrowDown", "embed"), ("ArrowDown", "encoder"), ("ArrowRight", "encoder"),
        ("ArrowRight", "layers.0 … layers.11  ×12"), ("ArrowDown", "last"), ("ArrowLeft", "encoder"),
        ("End", "y"), ("Home", "x"), ("ArrowUp", "x"),
    ]:  # fmt: skip
        shown.key(key)
        assert focused(shown) == where, key
    assert "layers.0 … layers.11  ×12" in names(shown)
    for _ in range(2):
        shown.key("ArrowDown")
    shown.key("ArrowLeft")
    assert names(shown) == ["x", "embed", "encoder", "head", "y"]
    assert focused(shown) == "encoder"
    shown.key("Enter")
    assert "last" in names(shown)
    assert "Encoder" in panel(shown)
    shown.key("Enter")
    assert "last" not in names(shown)


def test_what_a_screen_reader_hears(shown: Browser) -> None:
    assert shown.js("document.querySelector('svg').getAttribute('role')") == "tree"
    item: dict[str, Any] = shown.js(
        "(() => { const e = [...document.querySelectorAll('.item')][2];"
        " return Object.fromEntries(e.getAttributeNames().map(n => [n, e.getAttribute(n)])); })()"
    )
    assert (item["role"], item["aria-expanded"], item["aria-level"]) == ("treeitem", "false", "1")
    assert item["aria-label"] == "encoder; Encoder · 16; module; gives B × 8; from embed; to head"
    tree = shown.call("Accessibility.getFullAXTree")["nodes"]
    assert sum(1 for node in tree if node["role"]["value"] == "treeitem") == 5


# --- light and dark -------------------------------------------------------------------------------------------------


def test_light_and_dark(shown: Browser) -> None:
    def paper() -> int:
        colour: str = shown.js("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)))

    try:
        shown.dark(False)
        shown.wait("document.documentElement.dataset.theme === 'light'")
        assert paper() > 700
        shown.dark(True)
        shown.wait("document.documentElement.dataset.theme === 'dark'")
        assert paper() < 150
        shown.js("document.getElementById('theme').click()")
        assert paper() > 700
        for printing in ("beforeprint", "afterprint"):  # which leaves what the button has chosen
            shown.js(f"dispatchEvent(new Event('{printing}'))")
            assert paper() > 700
    finally:
        shown.dark(False)


# --- other models ---------------------------------------------------------------------------------------------------


def test_nothing_of_a_file_is_ever_executed(browser: Browser, tmp_path: Path) -> None:
    text = text_of(picture(hostile=HOSTILE), {"net.yaml": f"{HOSTILE}\na\n  head: {HOSTILE}\n"})
    (tmp_path / "net.html").write_text(text, encoding="utf-8")
    browser.errors.clear()
    browser.requests.clear()
    browser.open(tmp_path / "net.html")
    browser.wait("document.querySelectorAll('.item').length > 0")
    for _ in range(4):
        browser.js("document.getElementById('more').click()")
    for name in names(browser):
        browser.js(
            "choose(scene.items.find(item => item.element.getAttribute('aria-label')"
            f".startsWith({json.dumps(name)})).box)"
        )
    browser.key("/")
    browser.type("script")
    assert browser.js("document.querySelectorAll('#found li').length") > 0
    assert browser.js("'hacked' in window") is False
    assert browser.js("document.querySelectorAll('img, script').length") == 2
    assert browser.js("document.title") == f"Net{HOSTILE}"
    assert HOSTILE in browser.js("document.getElementById('title').textContent")
    assert browser.errors == []
    assert all(url.startswith("file:") and url.endswith("net.html") for url in browser.requests)


def test_the_policy_stops_any_other_script(browser: Browser, tmp_path: Path) -> None:
    text = text_of(picture()).replace(
        "</main>", "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'></main>"
    )
    (tmp_path / "net.html").write_text(text, encoding="utf-8")
    browser.open(tmp_path / "net.html")
    browser.wait("document.querySelectorAll('.item').length > 0")
    assert browser.js("'hacked' in window") is False
    assert any("Content Security Policy" in error for error in browser.errors)
    browser.errors.clear()


def test_modules_without_arrows(browser: Browser, tmp_path: Path) -> None:
    details = {f"a{index}": Detail(cls="Linear", layer="Linear") for index in range(9)}
    graph = graph_of(
        "Net",
        {"": Detail(cls="Net"), **details, "b": Detail(cls="B"), "b.c": Detail(cls="ReLU")},
        None,
        "it has no inputs",
    )
    (tmp_path / "net.html").write_text(text_of(graph), encoding="utf-8")
    browser.errors.clear()
    browser.open(tmp_path / "net.html")
    browser.wait("document.querySelectorAll('.item').length > 0")
    assert names(browser) == ["a0 … a8  ×9", "b"]
    assert (
        browser.js("document.getElementById('notes').textContent") == "Modules only, without arrows: it has no inputs."
    )
    assert browser.errors == []


def test_ten_thousand_modules_open_in_a_moment(browser: Browser, tmp_path: Path) -> None:
    tape = Tape()
    x = tape.input("x", "B", 8)
    tape.begin()
    for index in range(2500):
        with tape.module(f"blocks.{index}", "Block", x):
            x = tape.layer(f"blocks.{index}.norm", "LayerNorm", x)
            x = tape.layer(f"blocks.{index}.fc", "Linear", x, sizes=("B", 8 + index % 5))
            x = tape.layer(f"blocks.{index}.act", "GELU", x)
    tape.output("y", x)
    graph = tape.graph()
    assert sum(1 for box in graph.boxes() if box.kind == "module") >= 10_000
    (tmp_path / "net.html").write_text(text_of(graph), encoding="utf-8")
    browser.errors.clear()
    browser.open(tmp_path / "net.html")
    browser.wait("document.querySelectorAll('.item').length > 0")
    seconds = browser.js("performance.now() / 1000")
    assert seconds < 20  # about one, on a quiet machine
    browser.key("/")
    browser.type("blocks.1234.fc")
    browser.key("Enter")
    assert "Drawn for its equal blocks.1234.fc as well" in panel(browser)
    assert browser.errors == []


def test_the_library_is_what_npm_has() -> None:
    assert hashlib.sha256((VENDOR / "dagre.min.js").read_bytes()).hexdigest() == (
        "54a503e346f93ca0bb10abe7999587e037262935687aca45eb4e4b0f64bbb578"
    )
    licence = (VENDOR / "LICENSE.dagre.txt").read_text(encoding="utf-8")
    assert "Permission is hereby granted, free of charge" in licence
    assert "3.1.3" in licence
    assert licence in text_of(picture())
