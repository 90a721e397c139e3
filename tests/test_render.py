"""Diagnostics as text and as JSON."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confnet.diagnostics import Diagnostic, Note, Span
from confnet.render import EXCERPT_WIDTH, printable, render_json, render_text, summary

LENET = "\n" * 8 + "    - Conv2d: {in_channels: 1, kernal_size: 5, out_channels: 6}\n    - ReLU\n"
MISSPELT = Diagnostic(
    "unknown-argument",
    "`Conv2d` has no argument `kernal_size`",
    "children.conv1",
    Span("examples/lenet.yaml", 9, 32, 9, 43),
    help="did you mean `kernel_size`?",
)


def at(line: int, column: int, end_line: int, end_column: int, label: str = "") -> Diagnostic:
    return Diagnostic(
        "some-code", "something is wrong", "a.b", Span("f.yaml", line, column, end_line, end_column), label
    )


def excerpt(text: str, diagnostic: Diagnostic) -> list[str]:
    """The lines below the arrow."""
    return render_text([diagnostic], {"f.yaml": text}).split("\n")[2:]


def test_layout_is_that_of_the_design() -> None:
    assert render_text([MISSPELT], {"examples/lenet.yaml": LENET}) == (
        "error[unknown-argument]: `Conv2d` has no argument `kernal_size`\n"
        " --> examples/lenet.yaml:9:32\n"
        "  |\n"
        "9 |     - Conv2d: {in_channels: 1, kernal_size: 5, out_channels: 6}\n"
        "  |                                ^^^^^^^^^^^\n"
        "  = help: did you mean `kernel_size`?"
    )


def test_label_and_notes_with_and_without_a_place() -> None:
    diagnostic = Diagnostic(
        "shape-mismatch",
        "the shapes do not meet",
        "x",
        Span("f.yaml", 12, 1, 12, 2),
        label="64 channels",
        notes=(Note("in `BasicBlock`, instantiated", Span("g.yaml", 9, 5, 9, 6)), Note("torch says so")),
        severity="warning",
    )
    assert render_text([diagnostic], {"f.yaml": "\n" * 11 + "x: 1"}) == (
        "warning[shape-mismatch]: the shapes do not meet\n"
        "  --> f.yaml:12:1\n"
        "   |\n"
        "12 | x: 1\n"
        "   | ^ 64 channels\n"
        "   = note: in `BasicBlock`, instantiated at g.yaml:9:5\n"
        "   = note: torch says so"
    )


def test_several_diagnostics_stand_apart_in_the_order_given() -> None:
    text = render_text([at(2, 1, 2, 2), MISSPELT], {"f.yaml": "a\nb", "examples/lenet.yaml": LENET})
    first, second = text.split("\n\n")
    assert first.startswith("error[some-code]")
    assert second.startswith("error[unknown-argument]")


def test_without_a_span_the_path_is_told() -> None:
    diagnostic = Diagnostic("missing-argument", "`depth` is not set", path="args.depth", help="set it")
    assert render_text([diagnostic], {}) == (
        "error[missing-argument]: `depth` is not set\n  = path: args.depth\n  = help: set it"
    )


def test_a_path_that_the_message_names_is_not_told_twice() -> None:
    assert render_text([Diagnostic("unreadable-file", "`x.yaml` does not exist", path="x.yaml")], {}) == (
        "error[unreadable-file]: `x.yaml` does not exist"
    )


@pytest.mark.parametrize(
    ("text", "place", "shown", "carets"),
    [
        pytest.param("key: |\n  a\n  b\n", (1, 1, 3, 4), "key: |", "^^^^^^", id="first line of a longer span"),
        pytest.param("key:   \n  a\n", (1, 1, 2, 4), "key:", "^^^^", id="not the blanks at a line's end"),
        pytest.param("a\tb: c", (1, 3, 1, 4), "a   b: c", "    ^", id="tab before"),
        pytest.param("a: \tb", (1, 4, 1, 6), "a:  b", "   ^^", id="tab underlined"),
        pytest.param("名: b", (1, 4, 1, 5), "名: b", "    ^", id="wide characters before"),
        pytest.param("a: 名前", (1, 4, 1, 6), "a: 名前", "   ^^^^", id="wide characters underlined"),
        pytest.param("e\u0301e\u0301: b", (1, 7, 1, 8), "e\u0301e\u0301: b", "    ^", id="combining characters before"),
        pytest.param("a: \x1b[2J z", (1, 9, 1, 10), "a: \\x1b[2J z", " " * 11 + "^", id="escape sequence before"),
        pytest.param("a: \u202eb c", (1, 7, 1, 8), "a: \\u202eb c", " " * 11 + "^", id="bidirectional override before"),
        pytest.param("a: b", (1, 5, 1, 5), "a: b", "    ^", id="empty span at the end of a line"),
        pytest.param("a: b", (1, 3, 1, 99), "a: b", "  ^^", id="span beyond the line's end"),
        pytest.param("a: b", (1, 50, 1, 99), "a: b", "    ^", id="span beyond the line"),
        pytest.param("", (1, 1, 1, 1), None, None, id="empty text"),
        pytest.param("a: b\n", (7, 1, 7, 4), None, None, id="span beyond the text"),
        pytest.param("a: b", (1, 4, 1, 2), "a: b", "   ^", id="span that ends before it begins"),
    ],
)  # fmt: skip
def test_excerpt(text: str, place: tuple[int, int, int, int], shown: str | None, carets: str | None) -> None:
    lines = excerpt(text, at(*place))
    assert lines == ([] if shown is None else ["  |", f"1 | {shown}", f"  | {carets}"])


def test_a_file_that_is_not_at_hand_is_named_without_an_excerpt() -> None:
    assert render_text([at(3, 1, 3, 2)], {}) == "error[some-code]: something is wrong\n --> f.yaml:3:1"


@pytest.mark.parametrize("column", [1, 30, 60, 500, 940, 1001])
def test_a_long_line_is_cut_to_a_window_around_the_caret(column: int) -> None:
    line = ("".join(chr(ord("a") + i % 26) for i in range(1000)))[: column - 1] + "X" + "b" * (1000 - column)
    _, shown, carets = excerpt(line, at(1, column, 1, column + 1, "here"))
    shown, carets = shown[4:], carets[4:]
    assert len(shown) <= EXCERPT_WIDTH
    assert shown[carets.index("^")] == "X"
    assert carets.endswith("^ here")
    assert shown.startswith("...") == (column > 60 or column == 60)
    assert shown.endswith("...") == (column < 900)


def test_a_long_underline_is_cut_with_its_line() -> None:
    _, shown, carets = excerpt("k: " + "v" * 1000, at(1, 4, 1, 1004))
    assert shown.endswith("v...")
    assert len(carets) == len(shown) - len("...")


def test_no_text_of_a_file_reaches_the_terminal_as_a_control() -> None:
    hostile = "\x1b]0;title\x07\x9b31m\r\u202e\u2066\ud800"
    diagnostic = Diagnostic(
        "a-code", f"message {hostile}", f"path {hostile}", Span(f"file{hostile}", 1, 1, 1, 3), f"label {hostile}",
        (Note(f"note {hostile}", Span(hostile, 1, 1, 1, 1)),), f"help {hostile}",
    )  # fmt: skip
    without_span = Diagnostic("b-code", "message", f"path {hostile}")
    text = render_text([diagnostic, without_span], {f"file{hostile}": f"excerpt {hostile}"})
    assert not [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c != "\n"]
    for part in ("message", "label", "note", "help", "excerpt", "path", "file"):
        assert re.search(rf"{part} ?\\x1b\]0;title\\x07\\x9b31m", text), part


def test_a_message_of_several_lines_cannot_pass_for_a_diagnostic() -> None:
    diagnostic = Diagnostic("a-code", "one\nerror[fake]: two\n", help="three\nfour")
    assert render_text([diagnostic], {}) == (
        "error[a-code]: one\n    error[fake]: two\n  = help: three\n          four"
    )


@given(
    st.text(st.characters(), max_size=300),
    st.integers(1, 12), st.integers(1, 320), st.integers(1, 12), st.integers(1, 320), st.text(max_size=20),
)  # fmt: skip
def test_any_span_over_any_text_gives_safe_aligned_lines(
    text: str, line: int, column: int, end_line: int, end_column: int, label: str
) -> None:
    lines = excerpt(text, at(line, column, end_line, end_column, label))
    assert len(lines) in (0, 3)
    assert (len(lines) == 3) == (line <= len(text.splitlines()))
    if lines:
        assert re.match(r" +\| +\^+( |$)", lines[2])
    assert all(printable(each) == each for each in lines)


def test_color_only_adds_ansi_codes() -> None:
    diagnostics = [MISSPELT, at(1, 1, 1, 2, "label")]
    sources = {"examples/lenet.yaml": LENET, "f.yaml": "abc"}
    colored = render_text(diagnostics, sources, color=True)
    assert "\x1b[1;31merror[unknown-argument]\x1b[0m" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == render_text(diagnostics, sources)


def test_json_has_the_fields_of_a_diagnostic() -> None:
    diagnostic = Diagnostic(
        "a-code", "m\u00e9", "a.b", Span("f", 1, 2, 3, 4), "l", (Note("n"), Note("p", Span("g", 5, 6, 7, 8))), "h"
    )
    text = render_json([diagnostic, Diagnostic("b-code", "w", severity="warning")], ok=False)
    assert text.isascii()
    assert json.loads(text) == {
        "ok": False,
        "diagnostics": [
            {
                "code": "a-code",
                "message": "m\u00e9",
                "path": "a.b",
                "span": {"file": "f", "line": 1, "column": 2, "end_line": 3, "end_column": 4},
                "label": "l",
                "notes": [
                    {"message": "n", "span": None},
                    {"message": "p", "span": {"file": "g", "line": 5, "column": 6, "end_line": 7, "end_column": 8}},
                ],
                "help": "h",
                "severity": "error",
            },
            {
                "code": "b-code",
                "message": "w",
                "path": "",
                "span": None,
                "label": "",
                "notes": [],
                "help": "",
                "severity": "warning",
            },
        ],
    }


@pytest.mark.parametrize(
    ("severities", "files", "expected"),
    [
        (["error", "warning", "error"], 1, "2 errors, 1 warning in 1 file"),
        (["error"], 3, "1 error in 3 files"),
        (["note", "warning", "warning"], 2, "2 warnings, 1 note in 2 files"),
        ([], 2, "no errors in 2 files"),
    ],
)
def test_summary(severities: list[str], files: int, expected: str) -> None:
    diagnostics = [Diagnostic("a-code", str(i), severity=s) for i, s in enumerate(severities)]  # type: ignore[arg-type]
    assert summary(diagnostics, files) == expected
