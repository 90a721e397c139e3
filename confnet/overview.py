"""What `confnet show` tells of a model, as plain data: its tree, what each part costs, what training it takes.

`confnet.shapes.overview` finds it out; whoever prints it needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

__all__ = ["Counts", "Memory", "Node", "Overview", "Row", "rows"]


@dataclass(frozen=True, slots=True)
class Counts:
    """Elements of parameters, each Parameter counted once, and of buffers; `lazy` counts what has no shape yet.

    `tied` are those among the parameters that another module holds as well and that are counted there in the whole
    model. `bytes` is what parameters and buffers take.
    """

    trainable: int = 0
    frozen: int = 0
    tied: int = 0
    buffers: int = 0
    lazy: int = 0
    bytes: int = 0

    @property
    def parameters(self) -> int:
        """All elements of parameters."""
        return self.trainable + self.frozen


@dataclass(frozen=True, slots=True)
class Node:
    """One module of the tree.

    `arguments` are those that the file gives and that differ from the default, as text by name; `required` names
    those of a layer that have no default. `outputs` are the shapes of what it returns, empty where
    that is not known. `flops` are those of all its calls together, `calls` how often it is called; None where the
    model was not run. `marks` tell what is special about it.
    """

    name: str
    fqn: str
    type: str
    arguments: tuple[tuple[str, str], ...] = ()
    outputs: tuple[str, ...] = ()
    counts: Counts = field(default_factory=Counts)
    flops: int | None = None
    calls: int | None = None
    marks: tuple[str, ...] = ()
    place: str = ""
    children: tuple[Node, ...] = ()
    required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """What one training step needs, in bytes: `optimizer` are the two moments that Adam keeps of each gradient,
    `activations` what the forward saves for the backward, each storage once; None where the model was not run."""

    weights: int
    buffers: int
    gradients: int
    optimizer: int
    activations: int | None

    @property
    def total(self) -> int:
        """All of it, as far as it is known."""
        return self.weights + self.buffers + self.gradients + self.optimizer + (self.activations or 0)


@dataclass(frozen=True, slots=True)
class Overview:
    """A model at a glance. `sizes` are those that FLOPs and activations are told for.

    `inputs`, `outputs` and `conditions` are those of its `ShapeReport`, as text. `reasons` say what is not told, and
    why.
    """

    root: Node
    dtype: str
    sizes: Mapping[str, int]
    memory: Memory
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """The same as plain data: every module in the order of the tree, nothing folded."""
        return {
            "dtype": self.dtype,
            "sizes": dict(self.sizes),
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "conditions": list(self.conditions),
            "reasons": list(self.reasons),
            "flops": self.root.flops,
            "training_memory": {
                **{name: getattr(self.memory, name) for name in ("weights", "buffers", "gradients", "optimizer")},
                "activations": self.memory.activations,
                "total": self.memory.total,
            },
            "tree": [_node_data(node) for node in _walk(self.root)],
        }


def _node_data(node: Node) -> dict[str, Any]:
    counts = node.counts
    return {
        "name": node.fqn,
        "type": node.type,
        "arguments": dict(node.arguments),
        "outputs": list(node.outputs),
        "parameters": counts.parameters,
        "trainable": counts.trainable,
        "frozen": counts.frozen,
        "tied": counts.tied,
        "buffers": counts.buffers,
        "bytes": counts.bytes,
        "flops": node.flops,
        "calls": node.calls,
        "marks": list(node.marks),
        "place": node.place,
    }


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _walk(child)


# --- the rows of a table --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a module, or `times` modules that are equal in all that is told of them.

    `lasts` say for each level above the row, and for its own, whether it is the last one there. `label` is the name, or
    the first and the last name of those that are folded. `hidden` counts modules inside that are left out.
    """

    node: Node
    label: str
    times: int
    lasts: tuple[bool, ...]
    hidden: int = 0


def rows(root: Node, depth: int | None = None) -> Iterator[Row]:
    """The rows of a tree, down to `depth` levels below the root; neighbours that are equal share one."""
    yield from _rows(root, root.name, 1, (), depth, {})


def _rows(
    node: Node, label: str, times: int, lasts: tuple[bool, ...], depth: int | None, known: dict[int, object]
) -> Iterator[Row]:
    if depth is not None and len(lasts) >= depth:
        yield Row(node, label, times, lasts, sum(1 for _ in _walk(node)) - 1)
        return
    yield Row(node, label, times, lasts)
    groups = list(_folded(node.children, known))
    for place, group in enumerate(groups):
        first, last = group[0], group[-1]
        name = first.name if len(group) == 1 else f"{first.name}-{last.name}"
        yield from _rows(first, name, len(group), (*lasts, place == len(groups) - 1), depth, known)


def _folded(nodes: Sequence[Node], known: dict[int, object]) -> Iterator[list[Node]]:
    """Neighbours that are equal together; only such as have a number for a name, as the items of a list have."""
    group: list[Node] = []
    for node in nodes:
        if group and node.name.isdigit() and group[-1].name.isdigit() and _form(group[-1], known) == _form(node, known):
            group.append(node)
            continue
        if group:
            yield group
        group = [node]
    if group:
        yield group


def _form(node: Node, known: dict[int, object]) -> object:
    """All that is told of a module but its name."""
    if id(node) not in known:
        bare = replace(node, name="", fqn="", place="", children=())
        known[id(node)] = (bare, tuple((child.name, _form(child, known)) for child in node.children))
    return known[id(node)]
