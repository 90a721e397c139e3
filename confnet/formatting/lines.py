"""Lines of a formatted file: blank ones between them, comments behind them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["Line", "joined"]

GAP = 2
"""The least columns between a value and the comment behind it."""


@dataclass(slots=True)
class Line:
    """One line of the outcome. `column` is where its comment stood before; a `fixed` line is part of a text."""

    indent: int
    text: str
    comment: str = ""
    column: int = 0
    fixed: bool = False

    @property
    def body(self) -> str:
        """The line without its comment."""
        return " " * self.indent + self.text if self.text else ""


def joined(lines: Iterable[Line]) -> str:
    """The text of lines: no blank line at the ends, none after another.

    A comment behind a value keeps its column, which its neighbours may share, if the value leaves it room there.
    """
    return "".join(f"{_whole(line)}\n" for line in _without_blanks(lines))


def _whole(line: Line) -> str:
    if not line.comment or not line.text:
        return line.body
    return f"{line.body:<{max(line.column, len(line.body) + GAP)}}{line.comment}"


def _without_blanks(lines: Iterable[Line]) -> Iterator[Line]:
    waiting, begun = False, False
    for line in lines:
        if not line.text and not line.comment and not line.fixed:
            waiting = begun
            continue
        if waiting:
            yield Line(0, "")
        waiting, begun = False, True
        yield line
