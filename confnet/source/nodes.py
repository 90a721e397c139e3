"""Located values: what a file holds, and where each value stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from confnet.diagnostics import Span

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
    """A file as read: its name as the user gave it, its text, and its values with their places."""

    file: str
    text: str
    root: Node

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the text, without their ends, as YAML counts them."""
        return self.text.splitlines()

    def path_at(self, span: Span) -> str:
        """The dotted path of the innermost value around `span`: `modules.Block.children.conv1`."""
        place = (span.line, span.column)
        path, node = "", self.root
        while True:
            for step, child in _steps(node):
                begin, end = _extent(child)
                if step.span is not None:
                    begin = min(begin, (step.span.line, step.span.column))
                if begin <= place < end or begin == place:
                    path += step.text if not path or step.text.startswith("[") else f".{step.text}"
                    node = child
                    break
            else:
                return path


@dataclass(frozen=True, slots=True)
class _Step:
    text: str
    span: Span | None


def _steps(node: Node) -> Iterator[tuple[_Step, Node]]:
    if isinstance(node, Mapping):
        for key, child in node.entries:
            yield _Step(key.text, key.span), child
    elif isinstance(node, Sequence):
        for number, child in enumerate(node.items):
            yield _Step(f"[{number}]", None), child


def _extent(node: Node) -> tuple[tuple[int, int], tuple[int, int]]:
    return (node.span.line, node.span.column), (node.span.end_line, node.span.end_column)


def plain(node: Node) -> Any:
    """The Python value of a node: None, bool, int, float, str, list or dict with text keys."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return {key.text: plain(child) for key, child in node.entries}
