"""Diagnostics as text and as JSON."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confnet.diagnostics import Diagnostic, Note, Span
from confnet.render import (
    EXCERPT_WIDTH,
    printable,
    render_github,
    render_json,
    render_sarif,
    render_text,
    summary,
)

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


# --- SARIF ----------------------------------------------------------------------------------------------------------

NOTED = Diagnostic(
    "shape-mismatch", "the shapes do not meet", "children.a", Span("models/my net.yaml", 2, 3, 4, 1), "64 channels",
    (Note("in `Block`, instantiated", Span("models/main.yaml", 9, 5, 9, 10)), Note("torch says so")),
    "mend it", "warning",
)  # fmt: skip

# What the SARIF 2.1.0 schema says of the objects that a log of confnet holds: property -> form, `!` for a required one.
# A form is a type, a tuple of allowed values, the name of an object, or a list of one.
MESSAGE_STRING = {"text!": str, "markdown": str}
SARIF: dict[str, dict[str, Any]] = {
    "log": {"$schema": "uri", "version!": ("2.1.0",), "runs!": ["run"]},
    "run": {
        "tool!": "tool",
        "results": ["result"],
        "columnKind": ("utf16CodeUnits", "unicodeCodePoints"),
    },
    "tool": {"driver!": "component"},
    "component": {"name!": str, "version": str, "rules": ["rule"]},
    "rule": {"id!": str, "name": str, "shortDescription": "string", "help": "string", "helpUri": "uri"},
    "string": MESSAGE_STRING,
    "message": MESSAGE_STRING,
    "result": {
        "ruleId": str,
        "ruleIndex": int,
        "level": ("none", "note", "warning", "error"),
        "message!": "message",
        "locations": ["location"],
        "relatedLocations": ["location"],
    },
    "location": {
        "id": int, "message": "message", "physicalLocation": "physical", "logicalLocations": ["logical"],
    },
    "logical": {"fullyQualifiedName": str},
    "physical": {"artifactLocation!": "artifact", "region": "region", "contextRegion": "region"},
    "artifact": {"uri": "uri-reference"},
    "region": {"startLine": int, "startColumn": int, "endLine": int, "endColumn": int, "snippet": "content"},
    "content": {"text": str},
}  # fmt: skip


def sarif_faults(value: Any, form: Any, place: str = "log") -> list[str]:
    """Where a value is not what the schema says."""
    if isinstance(form, tuple):
        return [] if value in form else [f"{place} is {value!r}"]
    if isinstance(form, list):
        if not isinstance(value, list):
            return [f"{place} is no list"]
        return [fault for n, each in enumerate(value) for fault in sarif_faults(each, form[0], f"{place}[{n}]")]
    if isinstance(form, type):
        return [] if type(value) is form else [f"{place} is {value!r}"]
    if form in ("uri", "uri-reference"):
        fine = isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+", value)
        return [] if fine and (form != "uri" or urlsplit(value).scheme) else [f"{place} is {value!r}"]
    properties = {name.rstrip("!"): each for name, each in SARIF[form].items()}
    required = [name[:-1] for name in SARIF[form] if name.endswith("!")]
    missing = [f"{place} lacks {name}" for name in required if name not in value]
    foreign = [f"{place} has {name}" for name in value if name not in properties]
    inner = [
        fault
        for name in value.keys() & properties.keys()
        for fault in sarif_faults(value[name], properties[name], f"{place}.{name}")
    ]
    return [*missing, *foreign, *inner]


def sarif(*diagnostics: Diagnostic, sources: dict[str, str] | None = None, pages: dict[str, str] | None = None) -> Any:
    text = render_sarif(diagnostics, sources or {}, pages or {}, "1.2.3")
    assert text.isascii()
    log = json.loads(text)
    assert sarif_faults(log, "log") == []
    return log["runs"][0]


def test_sarif_of_nothing() -> None:
    run = sarif()
    assert run["results"] == []
    assert run["tool"]["driver"] == {"name": "confnet", "version": "1.2.3", "rules": []}


def test_sarif_has_a_rule_for_each_code() -> None:
    pages = {"unknown-argument": "# unknown-argument\n\nA layer has no such\nargument. Look it up.\n\nWrong:\n"}
    run = sarif(MISSPELT, NOTED, MISSPELT, pages=pages)
    rules = run["tool"]["driver"]["rules"]
    assert rules == [
        {"id": "shape-mismatch", "name": "ShapeMismatch", "shortDescription": {"text": "shape-mismatch"}},
        {
            "id": "unknown-argument",
            "name": "UnknownArgument",
            "shortDescription": {"text": "A layer has no such argument. Look it up."},
            "help": {"text": pages["unknown-argument"], "markdown": pages["unknown-argument"]},
        },
    ]
    assert [result["ruleIndex"] for result in run["results"]] == [1, 0, 1]
    assert [rules[result["ruleIndex"]]["id"] for result in run["results"]] == [r["ruleId"] for r in run["results"]]


def test_sarif_of_a_diagnostic() -> None:
    run = sarif(NOTED, sources={"models/my net.yaml": "a: 1\n  b: \x1b2\n"})
    assert run["columnKind"] == "unicodeCodePoints"
    assert run["results"] == [
        {
            "ruleId": "shape-mismatch",
            "ruleIndex": 0,
            "level": "warning",
            "message": {
                "text": "the shapes do not meet (64 channels)\n"
                "note: in `Block`, instantiated at models/main.yaml:9:5\n"
                "note: torch says so\n"
                "help: mend it"
            },
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": "models/my%20net.yaml"},
                        "region": {"startLine": 2, "startColumn": 3, "endLine": 4, "endColumn": 1},
                        "contextRegion": {"startLine": 2, "snippet": {"text": "  b: \\x1b2"}},
                    },
                    "logicalLocations": [{"fullyQualifiedName": "children.a"}],
                }
            ],
            "relatedLocations": [
                {
                    "id": 0,
                    "message": {"text": "in `Block`, instantiated"},
                    "physicalLocation": {
                        "artifactLocation": {"uri": "models/main.yaml"},
                        "region": {"startLine": 9, "startColumn": 5, "endLine": 9, "endColumn": 10},
                    },
                }
            ],
        }
    ]


def test_sarif_places_that_are_no_files() -> None:
    of_args = Diagnostic("a-code", "m", span=Span("<args>", 1, 8, 1, 9), notes=(Note("n", Span("<text>", 1, 1, 1, 2)),))
    of_nothing = Diagnostic("b-code", "m", "some.path")
    results = sarif(of_args, of_nothing)["results"]
    assert [result["locations"] for result in results] == [
        [],
        [{"logicalLocations": [{"fullyQualifiedName": "some.path"}]}],
    ]
    assert results[0]["message"]["text"] == "m\nat: <args>:1:8\nnote: n at <text>:1:1"
    assert "relatedLocations" not in results[0]


@pytest.mark.parametrize("name", ["a b.yaml", "a:b.yaml", "d/ü%.yaml", "../x#y.yaml", "\udce9.yaml", "/tmp/a b?.yaml"])
def test_sarif_names_of_files(name: str) -> None:
    (result,) = sarif(Diagnostic("a-code", "m", span=Span(name, 1, 1, 1, 2)))["results"]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    parts = urlsplit(uri)
    assert parts.scheme == ("file" if Path(name).is_absolute() else "")
    assert not parts.query
    assert not parts.fragment
    assert unquote(parts.path, errors="surrogateescape") == name


@pytest.mark.parametrize(
    ("log", "fault"),
    [
        ({"version": "2.1.0"}, "log lacks runs"),
        ({"version": "2.0.0", "runs": []}, "log.version is '2.0.0'"),
        ({"version": "2.1.0", "runs": [{"tool": {"driver": {"name": 3}}}]}, "log.runs[0].tool.driver.name is 3"),
        ({"version": "2.1.0", "runs": [], "extra": 1}, "log has extra"),
    ],
)
def test_a_wrong_log_is_found(log: Any, fault: str) -> None:
    assert sarif_faults(log, "log") == [fault]


# --- GitHub ---------------------------------------------------------------------------------------------------------


def test_github_commands() -> None:
    note = Diagnostic("a-code", "look", span=Span("a.yaml", 1, 2, 1, 5), severity="note")
    assert render_github([MISSPELT, NOTED, note]).split("\n") == [
        "::error file=examples/lenet.yaml,line=9,col=32,endLine=9,endColumn=43,title=confnet unknown-argument"
        "::`Conv2d` has no argument `kernal_size`%0Ahelp: did you mean `kernel_size`?",
        # Columns of two lines cannot be told: GitHub would refuse them.
        "::warning file=models/my net.yaml,line=2,col=3,title=confnet shape-mismatch::the shapes do not meet"
        " (64 channels)%0Anote: in `Block`, instantiated at models/main.yaml:9:5%0Anote: torch says so%0Ahelp: mend it",
        "::notice file=a.yaml,line=1,col=2,endLine=1,endColumn=5,title=confnet a-code::look",
    ]


def test_github_escapes() -> None:
    hostile = Diagnostic("a-code", "100%\n::set-output x\r\x1b[2J", span=Span("a,b:c%\nd.yaml", 1, 1, 1, 2))
    assert render_github([hostile]) == (
        "::error file=a%2Cb%3Ac%25\\nd.yaml,line=1,col=1,endLine=1,endColumn=2,title=confnet a-code"
        "::100%25%0A::set-output x\\r\\x1b[2J"
    )


def test_github_without_a_file() -> None:
    diagnostics = [Diagnostic("a-code", "m", span=Span("<args>", 1, 8, 1, 9)), Diagnostic("b-code", "m", "p")]
    assert render_github(diagnostics).split("\n") == [
        "::error title=confnet a-code::m%0Aat: <args>:1:8",
        "::error title=confnet b-code::m",
    ]


@given(st.text(max_size=60), st.text(max_size=60), st.text(min_size=1, max_size=20))
def test_a_diagnostic_is_one_command(message: str, remedy: str, file: str) -> None:
    diagnostic = Diagnostic("a-code", message, span=Span(file, 1, 1, 1, 2), help=remedy)
    text = render_github([diagnostic])
    assert text.isprintable() or not [c for c in text if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs")]
    assert len(text.splitlines()) == 1
    properties = text.split("::")[1]
    assert properties.count(",") == (5 if not (file.startswith("<") and file.endswith(">")) else 0)


# --- the summary ----------------------------------------------------------------------------------------------------


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
