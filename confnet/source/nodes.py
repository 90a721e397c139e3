"""Located values: what a file holds, and where each value stands."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import field
from functools import cached_property
from typing import Any

from confnet.diagnostics import Span
from confnet.records import dataclass

__all__ = ["Mapping", "Node", "Plain", "Scalar", "Sequence", "Source", "plain"]

Plain = None | bool | int | float | str


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """A single value. `text` is what the user wrote, without quotes; `style` is '', ', ", | or > as in YAML.

    For a block (`|`), `first_line` is the line of its first line of content and `indent` the number of columns
    its content is shifted by, so that line k, column c of `value` stands at (first_line + k, indent + c + 1).
    For a scalar on one line the same two numbers hold for its only line.
    """

    value: Plain
    text: str
    span: Span
    style: str = ""
    first_line: int = 0
    indent: int = 0

    @property
    def one_line(self) -> bool:
        """Whether the scalar stands on a single line of the file."""
        return self.style not in ("|", ">") and self.span.line == self.span.end_line


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """A list of nodes. `flow` tells `[a, b]` from a block list."""

    items: tuple[Node, ...]
    span: Span
    flow: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Mapping:
    """Keys (scalars, named by their text) and nodes, in order, without duplicates."""

    entries: tuple[tuple[Scalar, Node], ...]
    span: Span
    flow: bool = False
    index: dict[str, Node] = field(default_factory=dict, repr=False)

    def get(self, key: str) -> Node | None:
        """The node under `key`, or None."""
        return self.index.get(key)

    def key(self, name: str) -> Scalar:
        """The key node called `name`; raises KeyError if there is none."""
        for key, _ in self.entries:
            if key.text == name:
                return key
        raise KeyError(name)

    def __iter__(self) -> Iterator[tuple[Scalar, Node]]:
        return iter(self.entries)


Node = Scalar | Sequence | Mapping


@dataclass(frozen=True, eq=False)
class Source:
    """A file as read: its name as the user gave it, its text, its values with their places, and their number."""

    file: str
    text: str
    root: Node
    nodes: int = 0

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the text, without their ends, as YAML counts them."""
        return self.text.splitlines()

    @cached_property
    def _sorted_parts(self) -> dict[int, tuple[list[tuple[int, int]], list[_Part]]]:
        return {}

    def path_at(self, span: Span) -> str:
        """The dotted path of the innermost value around `span`: `modules.Block.children.conv1`."""
        place = (span.line, span.column)
        path, node = "", self.root
        while True:
            begins, parts = self._parts(node)
            last = bisect_right(begins, place) - 1
            if last < 0:
                return path
            part = parts[bisect_left(begins, begins[last])]  # the first of several aliases of one value
            if not (place < part.end or part.begin == place):
                return path
            path += part.text if not path or part.text.startswith("[") else f".{part.text}"
            node = part.node

    def _parts(self, node: Node) -> tuple[list[tuple[int, int]], list[_Part]]:
        """The parts of a node in the order of their places, and where each begins."""
        found = self._sorted_parts.get(id(node))
        if found is None:
            parts = sorted(_parts_of(node), key=lambda part: part.begin)
            found = self._sorted_parts[id(node)] = [part.begin for part in parts], parts
        return found


@dataclass(frozen=True, slots=True)
class _Part:
    """A value inside another: how a path names it, and where it begins (with its key) and ends."""

    text: str
    node: Node
    begin: tuple[int, int]
    end: tuple[int, int]


def _parts_of(node: Node) -> Iterator[_Part]:
    if isinstance(node, Mapping):
        for key, child in node.entries:
            begin = min((key.span.line, key.span.column), (child.span.line, child.span.column))
            yield _Part(key.text, child, begin, (child.span.end_line, child.span.end_column))
    elif isinstance(node, Sequence):
        for number, child in enumerate(node.items):
            span = child.span
            yield _Part(f"[{number}]", child, (span.line, span.column), (span.end_line, span.end_column))


def plain(node: Node) -> Any:
    """The Python value of a node: None, bool, int, float, str, list or dict with text keys."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return {key.text: plain(child) for key, child in node.entries}
