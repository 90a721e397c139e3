"""Diagnostics to text, for a person, or to JSON, for a program.

Files are not trusted: whatever of them reaches the text is made `printable` first, so that no file can speak to
the terminal. Standard library only.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from confnet.diagnostics import Diagnostic, Note, Span

__all__ = ["as_data", "printable", "render_json", "render_text", "summary"]

EXCERPT_WIDTH: Final = 120
"""Columns of an excerpt; a longer line is cut to a window around what is underlined."""

_LEAD: Final = 40  # columns of a cut line that stay before what is underlined
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
