"""Boxes and arrows, the two things that a picture consists of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from confnet.graph.details import Detail

__all__ = ["Arrow", "Box", "Run"]


@dataclass(slots=True, eq=False)
class Run:
    """Boxes of equal structure, chained one after the other, that may be drawn as the first of them alone."""

    copies: list[Box]


@dataclass(slots=True, eq=False)
class Box:
    """One step of a forward, or a stretch of it.

    `kind` is that of the call ("module", "function", "input", "output", "state"), "functions" for functions drawn as
    one, or "group" for steps that repeat together. `name` is what the module around calls it, `label` the class or
    the function. `position` counts the innermost boxes in order; that of an outer box is where it begins. `run` is
    the run that the box is a copy of, `times` how often one place of the code calls it in a row. `joined` are modules
    that were all that this one holds: they are drawn as one with it.
    """

    kind: str
    name: str
    label: str
    fqn: str = ""
    place: tuple[str, int] = ("", 0)
    times: int = 1
    detail: Detail = field(default_factory=Detail)
    colour: str = "module"
    shapes: tuple[str, ...] = ()
    note: str = ""
    children: list[Box] = field(default_factory=list)
    parent: Box | None = None
    run: Run | None = None
    joined: tuple[Box, ...] = ()
    position: int = 0
    first_arrow: int = 0

    @property
    def fqns(self) -> tuple[str, ...]:
        """The dotted names that the box stands for: its own, and those of the modules that are joined with it."""
        return (self.fqn, *(inner.fqn for inner in self.joined))

    def leaves(self) -> Iterator[Box]:
        """The innermost boxes, in order."""
        waiting = [self]
        while waiting:
            box = waiting.pop()
            if box.children:
                waiting += reversed(box.children)
            else:
                yield box


@dataclass(slots=True, eq=False)
class Arrow:
    """A value on its way from the step that gives it to one that takes it. `via` are functions that reshape it on the
    way. The target is an outer box only where no step inside takes the value."""

    source: Box
    target: Box
    shape: str
    via: tuple[str, ...] = ()
