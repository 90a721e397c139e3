"""Edits of a document as it is written: where its modules stand, and the document with others there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Mapping as AnyMapping
from dataclasses import field, replace

from confnet.plan import CONTAINERS
from confnet.records import dataclass
from confnet.source import Mapping, Node, Scalar, Sequence

__all__ = [
    "Edit",
    "Edits",
    "Member",
    "Members",
    "Step",
    "definitions",
    "inside",
    "is_null",
    "mapping_of",
    "members",
    "node_at",
    "rebuilt",
]

Step = str | int
"""A key of a mapping, or the number of an item of a list."""


# --- edits as data ----------------------------------------------------------------------------------------------------


@dataclass()
class Edit:
    """What becomes of one module: `node` is what stands there then (None or null: nothing), where it `replaces`."""

    path: Scalar
    key: Scalar | None
    replaces: bool
    node: Node | None
    before: list[tuple[Scalar, Node]] = field(default_factory=list)
    after: list[tuple[Scalar, Node]] = field(default_factory=list)

    @property
    def removes(self) -> bool:
        return self.replaces and (self.node is None or is_null(self.node))


@dataclass()
class Edits:
    """Edits by their steps, as a tree."""

    edit: Edit | None = None
    inner: dict[Step, Edits] = field(default_factory=dict)

    def put(self, steps: tuple[Step, ...], edit: Edit) -> None:
        at = self
        for step in steps:
            at = at.inner.setdefault(step, Edits())
        at.edit = edit

    def replaces(self, steps: tuple[Step, ...]) -> bool:
        at = self
        for step in steps:
            at = at.inner[step]
        return at.edit is not None and at.edit.replaces


def rebuilt(node: Node, edits: Edits) -> Node:
    """A node with the edits inside it. Nodes are shared between places by aliases, so that none is changed."""
    if isinstance(node, Mapping):
        entries = [pair for key, child in node for pair in _entry(key, child, edits.inner.get(key.text))]
        return mapping_of(node, [(key, child) for key, child in entries if key is not None])
    assert isinstance(node, Sequence), "a step leads into a mapping or a list"
    items = [
        child for number, item in enumerate(node.items) for _, child in _entry(None, item, edits.inner.get(number))
    ]
    return replace(node, items=tuple(items))


def _entry(key: Scalar | None, child: Node, edits: Edits | None) -> Iterator[tuple[Scalar | None, Node]]:
    """What stands in the place of one entry of a mapping or list: it, others around it, another, or nothing."""
    if edits is None:
        yield key, child
        return
    edit = edits.edit
    if edit is None:
        yield key, rebuilt(child, edits)
        return
    yield from edit.before
    if not edit.replaces:
        yield key, rebuilt(child, edits) if edits.inner else child
    elif not edit.removes and edit.node is not None:
        # The name is the base's, its place the edit's; a pattern's text is evaluated where it stands.
        own = key if key is None or edit.key is None else replace(edit.key, text=key.text, value=key.value)
        yield own, edit.node
    yield from edit.after


# --- the base as written ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Member:
    """A module inside another, as written: the steps to it from there, and its name in a path."""

    steps: tuple[Step, ...]
    node: Node
    name: str


class Members:
    """The modules inside another by name."""

    def __init__(self, names: AnyMapping[str, Member]) -> None:
        self.names = names
        self.dots = max((name.count(".") for name in names), default=0)

    def of(self, path: str) -> Member | None:
        """The one that a path begins with. The longest name wins: the pattern of a repeat may hold a dot."""
        parts = path.split(".", self.dots + 1)
        for count in range(min(len(parts), self.dots + 1), 0, -1):
            member = self.names.get(".".join(parts[:count]))
            if member is not None:
                return member
        return None


def members(module: Mapping) -> Iterator[tuple[str, Member]]:
    """The modules that stand right inside a composite, a container or a repeat."""
    holders = [("children", module.get("children"))]
    holders += [(key.text, node) for key, node in module if key.text in CONTAINERS]
    for step, holder in holders:
        if isinstance(holder, Mapping):
            for key, node in holder:
                yield key.text, Member((step, key.text), node, key.text)
        elif isinstance(holder, Sequence):
            for number, node in enumerate(holder.items):
                yield str(number), Member((step, number), node, str(number))


def definitions(document: Mapping) -> Iterator[tuple[str, Node]]:
    modules = document.get("modules")
    if isinstance(modules, Mapping):
        yield from ((key.text, node) for key, node in modules)


def inside(member: Member) -> tuple[tuple[Step, ...], Node]:
    """Where the members of a member are looked for: what a repeat repeats has no name of its own."""
    node = member.node
    if isinstance(node, Mapping) and "repeat" in node.index and "module" in node.index:
        return ("module",), node.index["module"]
    return (), node


# --- nodes ------------------------------------------------------------------------------------------------------------


def mapping_of(like: Node, entries: Iterable[tuple[Scalar, Node]]) -> Mapping:
    made = tuple(entries)
    return Mapping(made, like.span, getattr(like, "flow", False), {key.text: node for key, node in made})


def node_at(node: Node, step: Step) -> Node:
    if isinstance(node, Mapping):
        return node.index[str(step)]
    assert isinstance(node, Sequence), "a step leads into a mapping or a list"
    return node.items[int(step)]


def is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None
