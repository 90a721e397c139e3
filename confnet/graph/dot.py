"""A picture as text for Graphviz (https://graphviz.org/doc/info/lang.html)."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import pairwise
from typing import Final

from confnet.graph.kinds import COLOURS
from confnet.graph.steps import Box
from confnet.graph.view import Edge, View, shown
from confnet.graph.wording import count_text, lines_of, marks_text

__all__ = ["dot"]

_INK: Final = "#222222"
_FAINT: Final = "#8A8F98"
_SKIP: Final = "#0077BB"
_FRAMES: Final = ("#FFFFFF", "#F6F7F9", "#EEF0F4", "#E6E9EF")
"""What frames inside frames are filled with, so that the depth is seen."""

_HEAD: Final = """\
  graph [rankdir=TB, compound=true, nodesep=0.25, ranksep=0.32, pad=0.2, fontname="Helvetica,Arial,sans-serif", \
fontsize=11, fontcolor="#222222", labeljust=l, labelloc=t, bgcolor="#FFFFFF"];
  node [shape=box, style="filled,rounded", fontname="Helvetica,Arial,sans-serif", fontsize=10, fontcolor="#222222", \
color="#5F6672", penwidth=0.8, margin="0.12,0.06", height=0.3];
  edge [fontname="Helvetica,Arial,sans-serif", fontsize=8, fontcolor="#5F6672", color="#5F6672", arrowsize=0.6, \
penwidth=0.9];"""


def dot(view: View) -> str:
    """The text of a `digraph`; the same for the same picture."""
    return "\n".join(_Writer(view).lines()) + "\n"


class _Writer:
    def __init__(self, view: View) -> None:
        self.view = view
        self.numbers: dict[int, str] = {}

    def lines(self) -> Iterator[str]:
        yield f"digraph {_quoted(self.view.graph.title)} {{"
        yield _HEAD
        yield from self.inside(self.view.graph.root, 0)
        edges = self.view.edges
        for edge in sorted(edges, key=lambda edge: (edge.source.position, edge.target.position)):
            yield f"  {self.edge(edge)}"
        if not self.view.graph.is_wired:
            yield from self.stack(self.view.graph.root)
        if self.view.graph.notes:
            notes = _quoted("\n".join(self.view.graph.notes), "\\l")
            yield f'  label={notes}; labelloc=b; labeljust=l; fontcolor="{_FAINT}"; fontsize=9;'
        yield "}"

    def name(self, box: Box) -> str:
        return self.numbers.setdefault(id(box), f"n{len(self.numbers)}")

    def inside(self, around: Box, depth: int) -> Iterator[str]:
        indent = "  " * (depth + 1)
        for box in shown(around):
            if not self.view.is_open(box):
                yield f"{indent}{self.node(box)}"
                continue
            yield f"{indent}subgraph cluster_{self.name(box)} {{"
            fill = _FRAMES[min(depth + 1, len(_FRAMES) - 1)]
            pile = ",bold" if box.run else ""
            yield f'{indent}  style="filled,rounded{pile}"; color="#A5ABB5"; fillcolor="{fill}";'
            yield f"{indent}  label={_html(lines_of(box), marks_text(box), '  ')};"
            yield from self.inside(box, depth + 1)
            yield f"{indent}}}"

    def node(self, box: Box) -> str:
        lines = [*lines_of(box), *filter(None, [marks_text(box)])]
        settings = [f"label={_html(lines_of(box), marks_text(box))}", f'fillcolor="{COLOURS[box.colour]}"']
        if box.colour in ("input", "output"):
            settings.append('shape=box style="filled,rounded,bold"')
        elif box.colour == "state":
            settings.append('style="filled,dashed"')
        elif len(lines) == 1 and len(lines[0]) == 1:
            settings.append('shape=circle style=filled margin="0.02,0.02" width=0.28 fixedsize=true')
        elif box.kind == "function":
            settings.append('margin="0.08,0.03"')
        if box.children:
            settings.append("peripheries=2")  # there is more inside
        return f"{self.name(box)} [{', '.join(settings)}];"

    def edge(self, edge: Edge) -> str:
        settings = []
        label = count_text(edge.labels)
        if label:
            settings.append(f"label={_quoted(f' {label} ')}")
        if edge.is_skip:
            settings.append(f'color="{_SKIP}", fontcolor="{_SKIP}", penwidth=1.4')
        elif edge.source.kind == "state":
            settings.append("style=dashed")
        ends = f"{self.name(edge.source)} -> {self.name(edge.target)}"
        return f"{ends} [{', '.join(settings)}];" if settings else f"{ends};"

    def stack(self, around: Box) -> Iterator[str]:
        """Without arrows, what stands in a box stands one below the other, in order."""
        row = shown(around)
        for one, other in pairwise(row):
            yield f"  {self.name(self.last(one))} -> {self.name(self.first(other))} [style=invis];"
        for box in row:
            if self.view.is_open(box):
                yield from self.stack(box)

    def first(self, box: Box) -> Box:
        return self.first(shown(box)[0]) if self.view.is_open(box) else box

    def last(self, box: Box) -> Box:
        return self.last(shown(box)[-1]) if self.view.is_open(box) else box


def _html(lines: list[str], marks: str, between: str = "<br/>") -> str:
    """The lines on a box as Graphviz's own kind of HTML: the first is what a reader looks for, the marks stand out."""
    first, *more = (escape(_plain(line)) for line in lines)
    parts = [f"<b>{first}</b>" if more else first, *(f'<font point-size="9">{line}</font>' for line in more)]
    if marks:
        parts.append(f'<font point-size="9"><b><i>{escape(marks)}</i></b></font>')
    return f"<{between.join(parts)}>"


def _plain(text: str) -> str:
    """A text without what XML or UTF-8 cannot hold."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _quoted(text: str, newline: str = "\\n") -> str:
    """A text between quotes: nothing in it means anything to Graphviz."""
    lines = (_plain(line).replace("\\", "\\\\").replace('"', '\\"') for line in text.split("\n"))
    return f'"{newline.join(lines)}"'
