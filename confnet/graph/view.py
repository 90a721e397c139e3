"""What of a picture is seen: which boxes stand open, and the arrows between those that are seen."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from confnet.graph.boxes import Graph
from confnet.graph.steps import Arrow, Box

__all__ = ["ENOUGH", "ENOUGH_TO_BEGIN", "Edge", "View", "opened", "view_of"]

ENOUGH = 25
"""Boxes that are taken in at a glance: a picture opens at first no further than to so many."""

ENOUGH_TO_BEGIN = 16
"""The same for a page, where the reader opens what he wants to see."""


def opened(graph: Graph, depth: int | None = None, names: Collection[str] = (), most: int = ENOUGH) -> set[int]:
    """The ids (as by `id`) of the boxes that stand open: to a depth, or as far as no more than `most` are seen.

    `names` are dotted names of modules to open as well, with what is around them. Functions drawn as one stay closed.
    """
    found = {id(graph.root)}
    row = [graph.root]
    level = 0
    while True:
        row = [box for around in row for box in shown(around) if box.children and box.kind != "functions"]
        level += 1
        if not row or (depth is not None and level > depth):
            break
        more = found | {id(box) for box in row}
        if depth is None and sum(1 for _ in _seen(graph.root, more)) > most:
            break
        found = more
    if names:
        places = _places(graph)
        for box in graph.boxes():
            if box.kind == "module" and box.children and not {*box.fqns}.isdisjoint(names):
                found |= {id(seen) for seen in _stand_ins(_path(box), places)}
    return found


def shown(box: Box) -> list[Box]:
    """The boxes inside one, of every run the first."""
    return [child for child in box.children if child.run is None or child.run.copies[0] is child]


def _seen(box: Box, open_boxes: set[int]) -> Iterator[Box]:
    for child in shown(box):
        if child.children and id(child) in open_boxes:
            yield from _seen(child, open_boxes)
        else:
            yield child


@dataclass(slots=True)
class Edge:
    """An arrow between two boxes that are seen. `labels` are the shapes of what goes along it, with what reshapes it;
    `is_skip` tells that there is a longer way from the one to the other as well."""

    source: Box
    target: Box
    labels: list[str] = field(default_factory=list)
    is_skip: bool = False


@dataclass(slots=True)
class View:
    """The boxes that are seen as nodes, in order, and the edges between them. `open` are ids of the open boxes."""

    graph: Graph
    open: set[int]
    nodes: list[Box]
    edges: list[Edge]

    def is_open(self, box: Box) -> bool:
        """Whether a box is seen as a frame around others."""
        return bool(box.children) and id(box) in self.open


def view_of(graph: Graph, open_boxes: set[int]) -> View:
    """What is seen of a picture."""
    nodes = list(_seen(graph.root, open_boxes))
    if graph.is_wired:
        edges = _edges(graph, open_boxes)
        _find_skips(nodes, edges)
    else:
        edges = []
    return View(graph, open_boxes, nodes, edges)


def _edges(graph: Graph, open_boxes: set[int]) -> list[Edge]:
    places = _places(graph)
    found: dict[tuple[int, int], Edge] = {}
    for arrow in graph.arrows:
        source, target = _path(arrow.source), _path(arrow.target)
        if _within_run(source, target):
            continue
        one, other = (_visible(path, places, open_boxes) for path in (source, target))
        if one is other or _is_open(other, open_boxes):  # inside one node; or a target that stands open takes nothing
            continue
        edge = found.setdefault((id(one), id(other)), Edge(one, other))
        if arrow.shape not in edge.labels and not _is_told(arrow):
            edge.labels.append(arrow.shape)
    return list(found.values())


def _is_told(arrow: Arrow) -> bool:
    """Whether one of the ends bears the shape itself."""
    ends = [box for box in (arrow.source, arrow.target) if box.kind in ("input", "output", "state")]
    return any(box.shapes[:1] == (arrow.shape,) for box in ends)


def _path(box: Box) -> list[Box]:
    path = [box]
    while path[-1].parent is not None:
        path.append(path[-1].parent)
    return path[::-1]


def _within_run(source: list[Box], target: list[Box]) -> bool:
    """Whether an arrow goes from one copy of a run to another: that is what the fold to one box leaves out."""
    for one, other in zip(source, target, strict=False):
        if one is not other:
            return one.run is not None and one.run is other.run
    return False


def _visible(path: list[Box], places: Mapping[int, int], open_boxes: set[int]) -> Box:
    """The box that is seen where a box is: a box around it that is closed, in the first copy of each run."""
    seen = path[0]
    for seen in _stand_ins(path, places):
        if not _is_open(seen, open_boxes):
            break
    return seen


def _places(graph: Graph) -> dict[int, int]:
    """Where each box stands among the children of the one around it."""
    return {id(child): index for box in graph.boxes() for index, child in enumerate(box.children)}


def _stand_ins(path: list[Box], places: Mapping[int, int]) -> Iterator[Box]:
    """What is drawn for each box on the way to one: in the place of any copy of a run the first of them."""
    here = path[0]
    yield here
    for box in path[1:]:
        here = here.children[places[id(box)]]
        if here.run is not None:
            here = here.run.copies[0]
        yield here


def _is_open(box: Box, open_boxes: set[int]) -> bool:
    return bool(box.children) and id(box) in open_boxes


def _find_skips(nodes: list[Box], edges: list[Edge]) -> None:
    """Mark the edges that have a longer way beside them. Every edge leads to a node that stands later in the order."""
    order = {id(node): number for number, node in enumerate(nodes)}
    onward: dict[int, list[int]] = {}
    for edge in edges:
        onward.setdefault(order[id(edge.source)], []).append(order[id(edge.target)])
    for edge in edges:
        start, end = order[id(edge.source)], order[id(edge.target)]
        waiting = [place for place in onward[start] if place < end]
        reached = set(waiting)
        while waiting and not edge.is_skip:
            for place in onward.get(waiting.pop(), ()):
                edge.is_skip = edge.is_skip or place == end
                if place < end and place not in reached:
                    reached.add(place)
                    waiting.append(place)
