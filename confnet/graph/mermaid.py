"""A picture as text for Mermaid (https://mermaid.js.org/syntax/flowchart.html), which GitHub draws in Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from confnet.graph.kinds import COLOURS
from confnet.graph.steps import Box
from confnet.graph.view import Edge, View, shown
from confnet.graph.wording import count_text, lines_of, marks_text

__all__ = ["mermaid"]

_PLAIN = {"module", "function", "state"}


def mermaid(view: View) -> str:
    """The text of a flowchart; the same for the same picture."""
    return "\n".join(_Writer(view).lines()) + "\n"


class _Writer:
    def __init__(self, view: View) -> None:
        self.view = view
        self.numbers: dict[int, str] = {}

    def lines(self) -> Iterator[str]:
        yield "flowchart TB"
        yield from (f"  %% {_comment(note)}" for note in self.view.graph.notes)
        yield from self.inside(self.view.graph.root, 1)
        edges = sorted(self.view.edges, key=lambda edge: (edge.source.position, edge.target.position))
        yield from (f"  {self.edge(edge)}" for edge in edges)
        if not self.view.graph.is_wired:
            yield from self.stack(self.view.graph.root)
        yield from self.styles(edges)

    def name(self, box: Box) -> str:
        return self.numbers.setdefault(id(box), f"n{len(self.numbers)}")

    def inside(self, around: Box, depth: int) -> Iterator[str]:
        indent = "  " * depth
        for box in shown(around):
            label = _quoted([*lines_of(box), marks_text(box)])
            if self.view.is_open(box):
                yield f"{indent}subgraph {self.name(box)} [{label}]"
                yield from self.inside(box, depth + 1)
                yield f"{indent}end"
            elif box.children:  # there is more inside
                yield f"{indent}{self.name(box)}[[{label}]]"
            elif box.kind in ("input", "output"):
                yield f"{indent}{self.name(box)}([{label}])"
            else:
                yield f"{indent}{self.name(box)}({label})"

    def edge(self, edge: Edge) -> str:
        label = f"|{_quoted(count_text(edge.labels).splitlines())}|" if edge.labels else ""
        arrow = "==>" if edge.is_skip else "-.->" if edge.source.kind == "state" else "-->"
        return f"{self.name(edge.source)} {arrow}{label} {self.name(edge.target)}"

    def stack(self, around: Box) -> Iterator[str]:
        """Without arrows, what stands in a box stands one below the other, in order."""
        row = shown(around)
        for one, other in pairwise(row):
            yield f"  {self.name(one)} ~~~ {self.name(other)}"
        for box in row:
            if self.view.is_open(box):
                yield from self.stack(box)

    def styles(self, edges: list[Edge]) -> Iterator[str]:
        kinds: dict[str, list[str]] = {}
        for box in self.view.nodes:
            if box.colour not in _PLAIN:
                kinds.setdefault(box.colour, []).append(self.name(box))
        for kind, names in kinds.items():
            yield f"  classDef {kind} fill:{COLOURS[kind]},stroke:#5F6672,color:#222222"
            yield f"  class {','.join(names)} {kind}"
        skips = [str(number) for number, edge in enumerate(edges) if edge.is_skip]
        if skips:
            yield f"  linkStyle {','.join(skips)} stroke:#0077BB"


def _quoted(lines: list[str]) -> str:
    """Lines as a label: what means something to Mermaid, to HTML or to Markdown (a `+` alone is a list, two stars are
    emphasis) is written by its number."""
    return '"' + "<br>".join("".join(map(_character, line)) for line in lines if line) + '"'


def _character(character: str) -> str:
    if character.isalnum() or character in " .,:_-/×→…·@÷()[]=\N{MINUS SIGN}":
        return character
    return f"#{ord(character)};"


def _comment(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
