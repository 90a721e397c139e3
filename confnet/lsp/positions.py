"""Places of a text as YAML, Python and an editor count them. Standard library only.

A span counts lines and characters from 1; YAML ends a line at a few characters more than an editor does. An editor
counts from 0, in units of UTF-16 unless it asks for others.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property

__all__ = ["Text"]

_EDITOR_BREAK = re.compile(r"\r\n|\n|\r")
_YAML_BREAK = re.compile("\r\n|\n|\r|\x85|\u2028|\u2029")
_UNITS = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}


class Text:
    """A text of a document, with its lines; lines and columns of its methods count from 0, columns in characters."""

    def __init__(self, text: str, encoding: str = "utf-16") -> None:
        self.text = text
        self.encoding = encoding

    @cached_property
    def lines(self) -> list[str]:
        """The lines as YAML counts them, without their ends."""
        return _YAML_BREAK.split(self.text)

    @cached_property
    def starts(self) -> list[int]:
        """Where each of them begins."""
        return [0, *(match.end() for match in _YAML_BREAK.finditer(self.text))]

    @cached_property
    def _editor_starts(self) -> list[int]:
        if not re.search("[\x85\u2028\u2029]", self.text):
            return self.starts
        return [0, *(match.end() for match in _EDITOR_BREAK.finditer(self.text))]

    def line(self, number: int) -> str:
        """A line, empty behind the last."""
        return self.lines[number] if 0 <= number < len(self.lines) else ""

    def offset(self, line: int, column: int) -> int:
        """The place of a line and column in the text."""
        if line >= len(self.starts):
            return len(self.text)
        return self.starts[max(line, 0)] + min(max(column, 0), len(self.lines[max(line, 0)]))

    def place(self, offset: int) -> tuple[int, int]:
        """The line and column of a place in the text."""
        line = bisect_right(self.starts, offset) - 1
        return line, offset - self.starts[line]

    def to_editor(self, line: int, column: int) -> tuple[int, int]:
        """The line and column as the editor counts them."""
        offset = self.offset(line, column)
        row = bisect_right(self._editor_starts, offset) - 1
        return row, self._units(self.text[self._editor_starts[row] : offset])

    def from_editor(self, row: int, units: int) -> tuple[int, int]:
        """The line and column of a position of the editor; one that does not exist means the nearest that does."""
        starts = self._editor_starts
        if row >= len(starts):
            return self.place(len(self.text))
        start = starts[row]
        end = starts[row + 1] if row + 1 < len(starts) else len(self.text)
        line = self.text[start:end].rstrip("\r\n")
        return self.place(start + self._characters(line, units))

    def _units(self, text: str) -> int:
        if text.isascii():
            return len(text)
        name, size = _UNITS[self.encoding]
        return len(text.encode(name, "surrogatepass")) // size

    def _characters(self, line: str, units: int) -> int:
        if line.isascii():
            return min(units, len(line))
        name, size = _UNITS[self.encoding]
        data = line.encode(name, "surrogatepass")[: units * size]
        return len(data.decode(name, "ignore"))
