"""Diagnostics to text, for a person, or to JSON, SARIF or GitHub's workflow commands, for a program.

Files are not trusted: whatever of them reaches the text is made `printable` first, so that no file can speak to
the terminal. Standard library only.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import PurePath
from typing import Any, Final
from urllib.parse import quote

from confnet.diagnostics import Diagnostic, Note, Span
from confnet.records import dataclass

__all__ = ["as_data", "printable", "render_github", "render_json", "render_sarif", "render_text", "summary"]

EXCERPT_WIDTH: Final = 120
"""Columns of an excerpt; a longer line is cut to a window around what is underlined."""

_LEAD: Final = 40  # columns of a cut line that stay before what is underlined
_LOOK: Final = 200
_TAB: Final = 4
_DOTS: Final = "..."
_SEVERITIES: Final = ("error", "warning", "note")


# --- JSON -----------------------------------------------------------------------------------------------------------


def as_data(diagnostic: Diagnostic) -> dict[str, Any]:
    """A diagnostic as plain values, with the names of its fields."""
    return {
        "code": diagnostic.code,
        "message": diagnostic.message,
        "path": diagnostic.path,
        "span": _span_data(diagnostic.span),
        "label": diagnostic.label,
        "notes": [{"message": note.message, "span": _span_data(note.span)} for note in diagnostic.notes],
        "help": diagnostic.help,
        "severity": diagnostic.severity,
    }


def _span_data(span: Span | None) -> dict[str, Any] | None:
    if span is None:
        return None
    return {
        "file": span.file,
        "line": span.line,
        "column": span.column,
        "end_line": span.end_line,
        "end_column": span.end_column,
    }


def render_json(diagnostics: Iterable[Diagnostic], ok: bool) -> str:
    """One JSON document: `{"ok": ..., "diagnostics": [...]}`, in ASCII, so that any stream can carry it."""
    return json.dumps({"ok": ok, "diagnostics": [as_data(diagnostic) for diagnostic in diagnostics]}, indent=2)


# --- SARIF ----------------------------------------------------------------------------------------------------------

_SARIF_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def render_sarif(
    diagnostics: Iterable[Diagnostic], sources: Mapping[str, str], pages: Mapping[str, str], version: str
) -> str:
    """One SARIF 2.1.0 log, in ASCII, with a rule for each code that occurs.

    `sources` gives each place the text of its line, `pages` the Markdown page of a code, whose first paragraph is the
    rule's short description; a code without a page is described by its name. `version` is that of confnet.
    """
    found = list(diagnostics)
    codes = sorted({diagnostic.code for diagnostic in found})
    run = {
        "tool": {"driver": {"name": "confnet", "version": version, "rules": [_rule(c, pages.get(c)) for c in codes]}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(diagnostic, codes.index(diagnostic.code), sources) for diagnostic in found],
    }
    return json.dumps({"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _rule(code: str, page: str | None) -> dict[str, Any]:
    name = "".join(word.capitalize() for word in code.split("-"))
    if page is None:
        return {"id": code, "name": name, "shortDescription": {"text": code}}
    paragraph = page.split("\n\n")[1] if "\n\n" in page else page
    return {
        "id": code,
        "name": name,
        "shortDescription": {"text": " ".join(paragraph.split())},
        "help": {"text": page, "markdown": page},
    }


def _result(diagnostic: Diagnostic, rule: int, sources: Mapping[str, str]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": diagnostic.code,
        "ruleIndex": rule,
        "level": diagnostic.severity,
        "message": {"text": "\n".join(_report_lines(diagnostic))},
        "locations": [],
    }
    location: dict[str, Any] = {}
    if diagnostic.span is not None and _is_file(diagnostic.span.file):
        location["physicalLocation"] = _physical(diagnostic.span, sources)
    if diagnostic.path:
        location["logicalLocations"] = [{"fullyQualifiedName": printable(diagnostic.path)}]
    if location:
        result["locations"].append(location)
    related = [note for note in diagnostic.notes if note.span is not None and _is_file(note.span.file)]
    if related:
        result["relatedLocations"] = [
            {
                "id": number,
                "message": {"text": "\n".join(_printable_lines(note.message))},
                "physicalLocation": _physical(note.span, sources),
            }
            for number, note in enumerate(related)
            if note.span is not None
        ]
    return result


def _physical(span: Span, sources: Mapping[str, str]) -> dict[str, Any]:
    region = {
        "startLine": span.line,
        "startColumn": span.column,
        "endLine": span.end_line,
        "endColumn": span.end_column,  # the column after the last character, as in a span
    }
    location: dict[str, Any] = {"artifactLocation": {"uri": _uri(span.file)}, "region": region}
    lines = sources.get(span.file, "").splitlines()
    if 1 <= span.line <= len(lines):
        snippet = {"text": printable(lines[span.line - 1])}
        location["contextRegion"] = {"startLine": span.line, "snippet": snippet}
    return location


def _uri(file: str) -> str:
    """A file's name as a URI: absolute if the name is, else relative to where the command ran."""
    path = PurePath(file)
    if path.is_absolute():
        return path.as_uri()
    return quote(path.as_posix(), errors="surrogateescape")


def _is_file(name: str) -> bool:
    """Whether a span's file is one on disk, and not a caller's text (`<args>`, `<stdin>`)."""
    return not (name.startswith("<") and name.endswith(">"))


def _report_lines(diagnostic: Diagnostic) -> Iterable[str]:
    """A diagnostic in full for who shows no more than a text, but not the place that a report has a field for."""
    yield from _printable_lines(diagnostic.message + (f" ({diagnostic.label})" if diagnostic.label else ""))
    if diagnostic.span is not None and not _is_file(diagnostic.span.file):
        yield f"at: {printable(str(diagnostic.span))}"
    for note in diagnostic.notes:
        yield from _printable_lines(f"note: {_note(note)}")
    if diagnostic.help:
        yield from _printable_lines(f"help: {diagnostic.help}")


# --- GitHub ---------------------------------------------------------------------------------------------------------

_GITHUB_COMMANDS: Final = {"error": "error", "warning": "warning", "note": "notice"}


def render_github(diagnostics: Iterable[Diagnostic]) -> str:
    """A workflow command for each diagnostic, one a line, which a GitHub Action shows beside the changed lines."""
    return "\n".join(_github_command(diagnostic) for diagnostic in diagnostics)


def _github_command(diagnostic: Diagnostic) -> str:
    properties: dict[str, object] = {}
    span = diagnostic.span
    if span is not None and _is_file(span.file):
        properties = {"file": PurePath(span.file).as_posix(), "line": span.line, "col": span.column}
        if span.end_line == span.line:  # GitHub takes columns only within one line
            properties |= {"endLine": span.end_line, "endColumn": span.end_column}
    properties["title"] = f"confnet {diagnostic.code}"
    given = ",".join(f"{name}={_github_property(printable(str(value)))}" for name, value in properties.items())
    return f"::{_GITHUB_COMMANDS[diagnostic.severity]} {given}::{_github_data(chr(10).join(_report_lines(diagnostic)))}"


def _github_data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _github_property(text: str) -> str:
    return _github_data(text).replace(":", "%3A").replace(",", "%2C")


# --- text -----------------------------------------------------------------------------------------------------------


def summary(diagnostics: Iterable[Diagnostic], files: int) -> str:
    """What a report of `files` files amounts to: `2 errors, 1 warning in 1 file`."""
    counts = Counter(diagnostic.severity for diagnostic in diagnostics)
    parts = [_plural(counts[severity], severity) for severity in _SEVERITIES if counts[severity]]
    return f"{', '.join(parts) or 'no errors'} in {_plural(files, 'file')}"


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def render_text(diagnostics: Iterable[Diagnostic], sources: Mapping[str, str], color: bool = False) -> str:
    """The text a person reads: every diagnostic with an excerpt of `sources` (file name to text), a blank line between.

    A span whose file or line is not in `sources` is named without an excerpt.
    """
    paint = _Paint(color)
    lines: dict[str, list[str]] = {}

    def lines_of(file: str) -> list[str]:
        if file not in lines:
            lines[file] = sources.get(file, "").splitlines()
        return lines[file]

    return "\n\n".join("\n".join(_diagnostic(d, lines_of(d.span.file) if d.span else [], paint)) for d in diagnostics)


@dataclass(frozen=True, slots=True)
class _Paint:
    """ANSI colours, or none."""

    color: bool

    def __call__(self, style: str, text: str) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.color and text else text


_STYLES: Final = {
    "error": "1;31",
    "warning": "1;33",
    "note": "1;36",
    "message": "1",
    "gutter": "1;34",
    "word": "1",
}


def _diagnostic(diagnostic: Diagnostic, lines: Sequence[str], paint: _Paint) -> list[str]:
    severity, span = diagnostic.severity, diagnostic.span
    title = f"{severity}[{diagnostic.code}]"
    first, *more = _printable_lines(diagnostic.message)
    out = [paint(severity, title) + paint("message", f": {first}"), *(paint("message", f"    {line}") for line in more)]
    # The gutter is as wide as the line number that stands in it.
    margin = " "
    if span is not None:
        margin *= len(str(span.line))
        out.append(f"{margin}{paint('gutter', '-->')} {printable(str(span))}")
        out += _excerpt(span, diagnostic.label, severity, lines, margin, paint)
    elif diagnostic.path and f"`{diagnostic.path}`" not in diagnostic.message:
        out += _remark("path", diagnostic.path, margin, paint)
    for note in diagnostic.notes:
        out += _remark("note", _note(note), margin, paint)
    if diagnostic.help:
        out += _remark("help", diagnostic.help, margin, paint)
    return out


def _note(note: Note) -> str:
    return note.message if note.span is None else f"{note.message} at {note.span}"


def _remark(word: str, text: str, margin: str, paint: _Paint) -> list[str]:
    first, *more = _printable_lines(text)
    indent = f"{margin}   {' ' * len(word)}  "
    return [f"{margin} {paint('gutter', '=')} {paint('word', word)}: {first}", *(indent + line for line in more)]


def _excerpt(span: Span, label: str, severity: str, lines: Sequence[str], margin: str, paint: _Paint) -> list[str]:
    """The line of the text where a span begins, underlined; nothing if the text has no such line."""
    if not 1 <= span.line <= len(lines):
        return []
    text, carets = _underlined(lines[span.line - 1], span)
    bar = paint("gutter", "|")
    remark = f" {' '.join(_printable_lines(label))}" if label else ""
    return [
        f"{margin} {bar}",
        f"{paint('gutter', str(span.line))} {bar} {text}".rstrip(),
        f"{margin} {bar} {' ' * (len(carets) - len(carets.lstrip()))}{paint(severity, carets.lstrip() + remark)}",
    ]


def _underlined(line: str, span: Span) -> tuple[str, str]:
    """A line as shown and the carets below it, both cut to the width of an excerpt."""
    before = max(min(span.column - 1, len(line)) - _LOOK, 0)
    if before or len(line) > 2 * _LOOK:  # of a very long line, only what stands near is looked at
        line = ("." if before else "") + line[before : before + 2 * _LOOK]
        shift = before - 1 if before else 0
        end_column = max(span.end_column - shift, 1) if span.end_line == span.line else span.end_column
        span = replace(span, column=span.column - shift, end_column=end_column)
    cells = _cells(line)
    starts = [0, *accumulate(width for _, width in cells)]  # the column where each character begins, and the end
    begin = min(max(span.column - 1, 0), len(cells))
    # Only the first line of a longer span is underlined: its end is a line that the reader does not see.
    end = span.end_column - 1 if span.end_line == span.line else len(line.rstrip())
    end = min(max(end, begin), len(cells))
    low, high = _window(starts, begin)
    left, right = _DOTS if low else "", _DOTS if high < len(cells) else ""
    text = left + "".join(shown for shown, _ in cells[low:high]) + right
    first = len(left) + starts[begin] - starts[low]
    width = max(starts[min(end, high)] - starts[begin], 1)
    return text, " " * first + "^" * width


def _window(starts: Sequence[int], begin: int) -> tuple[int, int]:
    """Which characters of a line are shown: all of them, or as many as an excerpt holds around `begin`."""
    total = starts[-1]
    if total <= EXCERPT_WIDTH:
        return 0, len(starts) - 1
    room = EXCERPT_WIDTH - 2 * len(_DOTS)
    edge = max(min(starts[begin] - _LEAD, total - room), 0)
    low = next(index for index, start in enumerate(starts) if start >= edge)
    high = max(index for index, start in enumerate(starts) if start - starts[low] <= room)
    return low, max(high, min(begin + 1, len(starts) - 1))


def _cells(line: str) -> list[tuple[str, int]]:
    """What is shown for each character of a line, and how many columns of the terminal it takes."""
    cells: list[tuple[str, int]] = []
    column = 0
    for character in line:
        if character == "\t":
            width = _TAB - column % _TAB
            cells.append((" " * width, width))
        elif _is_safe(character):
            width = _width(character)
            cells.append((character, width))
        else:
            shown = _escape(character)
            width = len(shown)
            cells.append((shown, width))
        column += width
    return cells


def _width(character: str) -> int:
    if character.isascii():
        return 1
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


# --- text that is safe to show --------------------------------------------------------------------------------------

# Controls, format characters (which can reverse the order of what is read), lone surrogates, line separators.
_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS: Final = "\u200c\u200d"  # within words of several scripts, and within emoji


def _is_safe(character: str) -> bool:
    return " " <= character <= "~" or character in _JOINERS or unicodedata.category(character) not in _UNSAFE


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def printable(text: str) -> str:
    """The text with every character that could act on a terminal written as its escape (`\\x1b`), on one line."""
    return "".join(character if _is_safe(character) else _escape(character) for character in text)


def _printable_lines(text: str) -> list[str]:
    return [printable(line) for line in text.strip("\n").split("\n")]
