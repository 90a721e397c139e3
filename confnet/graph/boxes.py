"""The picture as data: boxes inside boxes, and arrows between the innermost ones.

A forward is a sequence of steps, and a call of a module is an unbroken stretch of it. So a box may be folded to one
node at any time without making a circle of arrows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from confnet.graph.details import Detail
from confnet.graph.kinds import RESHAPING, kind_of_function
from confnet.graph.repeats import fold_repeats
from confnet.graph.steps import Arrow, Box
from confnet.wiring import Call, Trace

__all__ = ["Graph", "graph_of"]

_MANY_FUNCTIONS = 6
"""So many functions in a row are one box at first."""

_MOST = 80
"""So many boxes at most are side by side in one: longer rows are drawn in parts, which open one by one."""


@dataclass(slots=True)
class Graph:
    """A whole picture. `root` holds the inputs, what the model consists of, and the outputs.

    `notes` are sentences for the reader: what could not be traced, what is never called. Without a trace there are
    no arrows (`is_wired` is false), only the modules.
    """

    title: str
    root: Box
    arrows: list[Arrow] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    is_wired: bool = True

    def boxes(self) -> Iterator[Box]:
        """Every box, each before what is inside it."""
        waiting = [self.root]
        while waiting:
            box = waiting.pop()
            yield box
            waiting += reversed(box.children)


def graph_of(title: str, details: Mapping[str, Detail], trace: Trace | None, reason: str = "") -> Graph:
    """The picture of a model: its wiring, or without one the tree of its modules and the `reason`."""
    if trace is None:
        return _tree(title, details, reason)
    drawing = _Drawing(trace, details)
    root = drawing.draw()
    _join(root, drawing.arrows)
    fold_repeats(root, drawing.arrows)
    for box in _inside(root):
        _fold_functions(box)
        _part(box)
    return Graph(title, root, drawing.arrows, _uncalled(details, trace))


# --- from a trace ---------------------------------------------------------------------------------------------------


class _Drawing:
    """Makes boxes of calls, and arrows of the values that go between them."""

    def __init__(self, trace: Trace, details: Mapping[str, Detail]) -> None:
        self.trace = trace
        self.details = details
        self.inside: dict[int | None, list[Call]] = {}
        for call in trace.calls:
            self.inside.setdefault(call.parent, []).append(call)
        self.made: dict[int, tuple[Box, tuple[str, ...]]] = {}  # who gave each value, and how it was reshaped since
        self.arrows: list[Arrow] = []
        self.count = 0

    def draw(self) -> Box:
        outermost = self.inside.get(None, [])
        models = [call for call in outermost if call.kind == "module"]
        whole = models[0] if len(models) == 1 else None
        detail = self.details.get("", Detail())
        root = Box("module", "", detail.cls, detail=detail)
        for call in outermost:
            if call.kind != "output" and call is not whole:
                self.step(call, root)
        if whole is not None and self.inside.get(whole.id):
            root.place = (whole.file, whole.line)
            self.steps(whole, root)
        elif whole is not None:
            self.step(whole, root)
        for call in outermost:
            if call.kind == "output":
                self.step(call, root)
        return root

    def steps(self, around: Call, box: Box) -> None:
        """Everything that happens in one call. Parameters come first: they depend on nothing."""
        calls = self.inside[around.id]
        for call in calls:
            if call.kind == "state":
                self.step(call, box)
        for call in calls:
            if call.kind != "state":
                self.step(call, box)

    def step(self, call: Call, around: Box) -> None:
        if self.is_reshaping(call):
            source = self.made.get(call.inputs[0])
            if source is not None:
                self.made.update(dict.fromkeys(call.outputs, (source[0], (*source[1], call.label))))
                return
        box = self.box(call, around)
        around.children.append(box)
        if any(not self.is_reshaping(inner) for inner in self.inside.get(call.id, ())):
            before = self.count
            self.steps(call, box)
            self.close(call, box, before)
            return
        box.position = self.count
        self.count += 1
        for value in call.inputs:
            self.arrow(value, box)
        self.made.update(dict.fromkeys(call.outputs, (box, ())))

    def close(self, call: Call, box: Box, before: int) -> None:
        """What a module takes without any step inside it taking it, as where only its sizes are read."""
        taken = {id(arrow.source) for arrow in self.arrows[box.first_arrow :]}
        box.position = before
        for value in call.inputs:
            source = self.made.get(value)
            if source is not None and source[0].position < before and id(source[0]) not in taken:
                self.arrow(value, box)
        last = box
        while last.children:
            last = last.children[-1]
        for value in call.outputs:
            self.made.setdefault(value, (last, ()))

    def is_reshaping(self, call: Call) -> bool:
        return call.kind == "function" and call.label in RESHAPING and len(call.inputs) == 1

    def arrow(self, value: int, target: Box) -> None:
        made = self.made.get(value)
        if made is not None:
            source, via = made
            self.arrows.append(Arrow(source, target, self.shape(value), via))

    def shape(self, value: int) -> str:
        return " × ".join(map(str, self.trace.values[value].sizes)) or "scalar"

    def box(self, call: Call, around: Box) -> Box:
        box = Box(call.kind, _short(call.fqn, around), call.label, call.fqn, (call.file, call.line), times=call.times)
        box.parent, box.first_arrow = around, len(self.arrows)
        box.shapes = tuple(self.shape(value) for value in call.outputs)
        if call.kind == "module":
            detail = self.details.get(call.fqn, Detail(cls=call.label, layer=call.label))
            box.detail, box.colour = detail, detail.kind
        elif call.kind == "function":
            box.name, box.colour = "", kind_of_function(call.label)
        elif call.kind in ("input", "output"):
            box.name, box.colour, box.label = call.label, call.kind, call.kind
            box.shapes = box.shapes or tuple(self.shape(value) for value in call.inputs)
        else:
            box.colour = "state"
        return box


def _short(fqn: str, around: Box) -> str:
    """A name as it is known inside the module around it."""
    while around.kind != "module" and around.parent is not None:
        around = around.parent
    prefix = f"{around.fqn}." if around.fqn else ""
    return fqn.removeprefix(prefix)


def _uncalled(details: Mapping[str, Detail], trace: Trace) -> tuple[str, ...]:
    """A sentence about the modules that the forward never reaches."""
    reached = {""}
    for call in trace.calls:
        name = call.fqn if call.kind != "state" else call.fqn.rpartition(".")[0]
        while name and name not in reached:
            reached.add(name)
            name = name.rpartition(".")[0]
    leaves = {call.fqn for call in trace.calls if call.kind == "module"} - {
        trace.calls[call.parent].fqn for call in trace.calls if call.parent is not None
    }
    missing: dict[str, list[str]] = {}
    for name in details:
        around = name.rpartition(".")[0]
        if name not in reached and around in reached and around not in leaves and "parametrizations" not in name:
            pattern = re.sub(r"(?<=\.)\d+(?=\.)", "*", name)  # of blocks that repeat, all at once
            missing.setdefault(pattern, []).append(name)
    if not missing:
        return ()
    told = [names[0] if len(names) == 1 else f"{pattern} ({len(names)} times)" for pattern, names in missing.items()]
    more = f" and {len(told) - 5} more" if len(told) > 5 else ""
    return (f"Not called in this forward: {', '.join(told[:5])}{more}.",)


# --- without a trace ------------------------------------------------------------------------------------------------


def _tree(title: str, details: Mapping[str, Detail], reason: str) -> Graph:
    detail = details.get("", Detail())
    root = Box("module", "", detail.cls, detail=detail)
    known: dict[str, Box] = {"": root}
    for name, inner in details.items():
        if not name or "parametrizations" in name.split("."):
            continue
        around = known[name.rpartition(".")[0]]
        box = Box("module", name.rpartition(".")[2], inner.cls, name, inner.place, detail=inner, colour=inner.kind)
        box.parent, box.position = around, len(known)
        around.children.append(box)
        known[name] = box
    _join(root, [])
    fold_repeats(root, [])
    for box in _inside(root):
        _part(box)
    note = f"Modules only, without arrows: {reason}." if reason else "Modules only, without arrows."
    return Graph(title, root, [], (note,), is_wired=False)


# --- frames ---------------------------------------------------------------------------------------------------------


def _join(root: Box, arrows: list[Arrow]) -> None:
    """A module that holds nothing but one other composite is drawn as one box with it."""
    gone: dict[int, Box] = {}
    for box in _inside(root):
        while box is not root and len(box.children) == 1 and box.children[0].children:
            inner = box.children[0]
            gone[id(inner)] = box
            box.joined = (*box.joined, inner)
            box.detail = replace(box.detail, marks=tuple(dict.fromkeys((*box.detail.marks, *inner.detail.marks))))
            box.children = inner.children
            for child in box.children:
                child.parent = box
                if child.kind == "module":
                    child.name = _short(child.fqn, box)
    for arrow in arrows:
        while id(arrow.target) in gone:
            arrow.target = gone[id(arrow.target)]


# --- functions ------------------------------------------------------------------------------------------------------


def _inside(root: Box) -> Iterator[Box]:
    """Every box that holds others, each before those inside it."""
    waiting = [root]
    while waiting:
        box = waiting.pop()
        if box.children:
            yield box
            waiting += reversed(box.children)


def _fold_functions(box: Box) -> None:
    """Many functions in a row become one box, which opens to them."""
    if box.kind == "functions":
        return
    groups: list[Box] = []
    row: list[Box] = []

    def close() -> None:
        if len(row) >= _MANY_FUNCTIONS and len(row) < len(box.children):
            groups.append(_functions(row, box))
        else:
            groups.extend(row)
        row.clear()

    for child in box.children:
        if child.kind == "function" and child.run is None:
            row.append(child)
        else:
            close()
            groups.append(child)
    close()
    box.children = groups


def _functions(row: list[Box], around: Box) -> Box:
    labels = list(dict.fromkeys(step.label for step in row))
    named = ", ".join(labels[:3]) + (", …" if len(labels) > 3 else "")
    box = Box("functions", "", f"{len(row)} functions", place=row[0].place, colour="function", children=list(row))
    box.parent, box.position, box.note = around, row[0].position, named
    box.shapes = row[-1].shapes
    for step in row:
        step.parent = box
    return box


def _part(box: Box) -> None:
    """A very long row becomes parts of equal length, one after the other. The copies of a run stay together."""
    units: list[list[Box]] = []
    for child in box.children:
        if units and child.run is not None and child.run is units[-1][0].run:
            units[-1].append(child)
        else:
            units.append([child])
    if len(units) <= _MOST:
        return
    size = max(-(-len(units) // _MOST), round(len(units) ** 0.5))
    parts: list[Box] = []
    for start in range(0, len(units), size):
        held = [child for unit in units[start : start + size] for child in unit]
        names = [child.name for child in held if child.name]
        label = f"{names[0]} … {names[-1]}" if names else held[0].label
        part = Box("group", "", label, place=held[0].place, note=f"{len(held)} steps", children=held)
        part.parent, part.position, part.shapes = box, held[0].position, held[-1].shapes
        for child in held:
            child.parent = part
        parts.append(part)
    box.children = parts
