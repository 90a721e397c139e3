"""How `confnet show` prints the overview of a model: on a terminal, for a program, for a review comment."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from confnet.figures import flops_text, footer, parameters_text, size_text, what_text
from confnet.markdown import as_code, as_prose
from confnet.overview import Overview, Row, rows
from confnet.render import printable

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["markdown", "table"]

_GAP = "  "
_NARROWEST = 26
"""So many columns a module has at least beside the others; else shapes stand below it."""
_SPARE = 36
"""So many it has before the column of shapes gets all that it wants."""


@dataclass(frozen=True, slots=True)
class _Lines:
    """The lines that a tree is drawn with."""

    through: str
    last: str
    down: str
    dot: str


_DRAWN = _Lines("├ ", "└ ", "│ ", "·")
_PLAIN = _Lines("  ", "  ", "  ", "-")


@dataclass(frozen=True, slots=True)
class _Cell:
    """One line of a module's cell: the lines of the tree, then pieces of text with the style of each."""

    guide: str
    pieces: tuple[tuple[str, str], ...] = ()

    @property
    def length(self) -> int:
        return len(self.guide) + sum(len(text) for text, _ in self.pieces)


# --- the table ------------------------------------------------------------------------------------------------------


def table(overview: Overview, depth: int | None, width: int | None, lines: bool) -> list[Text]:
    """The tree beside what each module costs, at most `width` columns wide."""
    drawn = _DRAWN if lines else _PLAIN
    shown = list(rows(overview.root, depth))
    measured = overview.root.flops is not None
    columns = [("parameters", [parameters_text(row.node.counts) for row in shown])]
    if measured:
        columns.append(("FLOPs", [flops_text(row.node) for row in shown]))
    sizes = [size_text(row.node.counts.bytes) if row.node.counts.bytes else "" for row in shown]
    if width is None or width >= 100:
        columns.append(("memory", sizes))
    shapes = [", ".join(row.node.outputs) or "-" for row in shown]
    return _laid_out(shown, columns, shapes, width, drawn)


def _laid_out(
    shown: Sequence[Row], columns: Sequence[tuple[str, list[str]]], shapes: list[str], width: int | None, lines: _Lines
) -> list[Text]:
    from rich.text import Text

    widths = [max(map(len, [head, *cells])) for head, cells in columns]
    right = sum(widths) + len(_GAP) * len(widths)
    wide = max(map(len, ["output", *shapes]))
    most: int | None = None
    below = False
    if width is not None:
        left = width - right - 1
        wide = min(wide, max(16, left - len(_GAP) - _SPARE))
        below = left - wide - len(_GAP) < _NARROWEST
        most = max(left - (0 if below else wide + len(_GAP)), 12)
        if below:
            wide = 0
    cells = [
        _module_cell(row, shape if below and shape != "-" else "", most, lines)
        for row, shape in zip(shown, shapes, strict=True)
    ]
    rests = [_rest(row, lines) for row in shown]
    first = max(line.length for cell in cells for line in cell)
    first = max(first, len("module"))
    head = ["module".ljust(first), *(["output".ljust(wide)] if wide else [])]
    head += [name.rjust(size) for (name, _), size in zip(columns, widths, strict=True)]
    found = [Text(_GAP.join(head).rstrip(), style="bold")]
    for number, cell in enumerate(cells):
        shape_lines = _wrapped(shapes[number], wide) if wide else []
        for place in range(max(len(cell), len(shape_lines))):
            line = Text()
            piece = cell[place] if place < len(cell) else _Cell(rests[number])
            line.append(piece.guide, style="dim")
            for text, style in piece.pieces:
                line.append(text, style=style)
            line.append(" " * (first - piece.length))
            if wide:
                shape = shape_lines[place] if place < len(shape_lines) else ""
                line.append(_GAP)
                line.append(shape.ljust(wide), style="cyan")
            if place == 0:
                for (_, values), size in zip(columns, widths, strict=True):
                    line.append(_GAP + values[number].rjust(size))
            line.rstrip()
            found.append(line)
    return found


def _rest(row: Row, lines: _Lines) -> str:
    """The lines of the tree beside what stands below the first line of a module."""
    around = "".join("  " if last else lines.down for last in row.lasts)
    inside = lines.down if row.node.children and not row.hidden else "  "
    return around + inside + ("" if lines is _DRAWN else "  ")


def _module_cell(row: Row, shape: str, most: int | None, lines: _Lines) -> list[_Cell]:
    """The lines of one module: its name, class and arguments, its marks, and its shape if that has no column."""
    guide = "".join("  " if last else lines.down for last in row.lasts[:-1])
    guide += "" if not row.lasts else lines.last if row.lasts[-1] else lines.through
    rest = _rest(row, lines)
    pieces = [(word, "bold") for word in _label(row).split(" ") if word]
    pieces += [(word, "") for word in what_text(row.node).split(" ")]
    pieces += [(word, "dim") for word in ([f"(+ {row.hidden} inside)"] if row.hidden else [])]
    for mark in row.node.marks:
        pieces += [(word, "yellow") for word in f"{lines.dot} {printable(mark)}".split(" ")]
    room = None if most is None else max(most - len(guide), 6)
    found = [_Cell(guide)]
    used = 0
    for word, style in _broken(pieces, room):
        space = " " if found[-1].pieces else ""
        if room is not None and found[-1].pieces and used + len(space) + len(word) > room:
            found.append(_Cell(rest))
            used, space = len(rest) - len(guide), ""
        found[-1] = _Cell(found[-1].guide, (*found[-1].pieces, (space + word, style)))
        used += len(space) + len(word)
    for part in _wrapped(shape, (room or 0) - 2) if shape else []:
        found.append(_Cell(rest, ((part, "cyan"),)))
    return found


def _broken(pieces: Iterable[tuple[str, str]], room: int | None) -> Iterator[tuple[str, str]]:
    """The words, those that are longer than the room in parts."""
    for word, style in pieces:
        size = max(len(word), 1) if room is None else max(room - 2, 4)
        yield from ((word[start : start + size], style) for start in range(0, len(word), size))


def _wrapped(text: str, size: int) -> list[str]:
    """A shape in lines, broken between its sizes."""
    whole = re.sub(r"(?<!,) ", "\N{NO-BREAK SPACE}", text)
    lines = textwrap.wrap(whole, max(size, 4), break_on_hyphens=False)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def _label(row: Row) -> str:
    return f"{printable(row.label)} (x {row.times})" if row.times > 1 else printable(row.label)


# --- Markdown -------------------------------------------------------------------------------------------------------


def markdown(overview: Overview, depth: int | None) -> str:
    """A table of Markdown, each module under its dotted name, and the totals as a list."""
    measured = overview.root.flops is not None
    head = ["module", "class", "output", "parameters", *(["FLOPs"] if measured else []), "remarks"]
    lines = [_markdown_row(head), _markdown_row(["---", "---", "---", "---:", *(["---:"] if measured else []), "---"])]
    path: list[str] = []
    for row in rows(overview.root, depth):
        path[max(len(row.lasts) - 1, 0) :] = [row.label] if row.lasts else []
        node = row.node
        times = f" (x {row.times})" if row.times > 1 else ""
        cells = [
            as_code(".".join(path)) + times if path else "",
            as_code(what_text(node)),
            as_code(", ".join(node.outputs)) if node.outputs else "-",
            parameters_text(node.counts),
            *([flops_text(node)] if measured else []),
            as_prose("; ".join(node.marks)),
        ]
        lines.append(_markdown_row(cells))
    return "\n".join([*lines, "", *(f"- {as_prose(line)}" for line in footer(overview))])


def _markdown_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
