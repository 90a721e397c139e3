"""Finds what repeats: boxes of equal structure, chained one after the other, are drawn once with their number.

Boxes are equal if they are of one class with the same arguments and sizes, hold equal boxes, and are wired alike.
Copies may be folded to one if each takes from outside what all take, and from the copy before it what all take from
the copy before them; and if only the next copy takes what a copy gives, but for the last one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable
from dataclasses import dataclass, field

from confnet.graph.steps import Arrow, Box, Run

__all__ = ["fold_repeats"]

_LONGEST_PERIOD = 16


def fold_repeats(root: Box, arrows: list[Arrow]) -> None:
    """Mark every run below `root` (`Box.run`). Steps that repeat together are put into a box of kind "group"."""
    _Folding(arrows).visit(root)


@dataclass(slots=True)
class _Facts:
    """What is known of a box: its extent in the order of steps, its structure (equal numbers are equal structures),
    the steps outside that it takes from, in order of use, and the (own step, outer step) pairs that it gives to."""

    begin: int
    end: int
    structure: int
    takes: list[int]
    gives: list[tuple[int, int]]


@dataclass(slots=True)
class _Folding:
    arrows: list[Arrow]
    numbers: dict[Hashable, int] = field(default_factory=dict)
    facts: dict[int, _Facts] = field(default_factory=dict)
    into: dict[int, list[Arrow]] = field(default_factory=dict)
    out_of: dict[int, list[Arrow]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for arrow in self.arrows:
            self.into.setdefault(id(arrow.target), []).append(arrow)
            self.out_of.setdefault(id(arrow.source), []).append(arrow)

    def visit(self, box: Box) -> _Facts:
        """Find the runs inside a box, and what it looks like from outside."""
        for child in box.children:
            self.visit(child)
        if box.children:
            self.fold(box)
        return self.look(box)

    # --- what a box is ----------------------------------------------------------------------------------------------

    def look(self, box: Box) -> _Facts:
        inner = [self.facts[id(child)] for child in box.children]
        begin = min([box.position, *(fact.begin for fact in inner)])
        end = max([begin + 1, *(fact.end for fact in inner)])
        own = self.into.get(id(box), [])
        sources = [place for fact in inner for place in fact.takes] + [arrow.source.position for arrow in own]
        takes = list(dict.fromkeys(place for place in sources if not begin <= place < end))
        if box.children:
            gives = [pair for fact in inner for pair in fact.gives if not begin <= pair[1] < end]
        else:
            gives = [(box.position, arrow.target.position) for arrow in self.out_of.get(id(box), [])]
        numbers = {place: number for number, place in enumerate(takes)}
        wires = tuple(
            (fact.structure, *(numbers.get(place, begin - place - 1) for place in fact.takes)) for fact in inner
        )
        reading = tuple((numbers.get(arrow.source.position, -1), arrow.shape, arrow.via) for arrow in own)
        fact = _Facts(begin, end, self.number((*_nature(box), wires, reading)), takes, gives)
        self.facts[id(box)] = fact
        return fact

    def number(self, structure: Hashable) -> int:
        return self.numbers.setdefault(structure, len(self.numbers))

    # --- runs -------------------------------------------------------------------------------------------------------

    def fold(self, box: Box) -> None:
        """Find the runs among the children of a box, the one that covers most first."""
        row = box.children
        facts = [self.facts[id(child)] for child in row]
        alike = _alike([fact.structure for fact in facts])
        found: list[Box] = []
        start = 0
        while start < len(row):
            period, count = self.best(row, facts, start, alike)
            if count:
                copies = [row[start + k * period : start + (k + 1) * period] for k in range(count)]
                found += self.run(copies, box)
            else:
                found.append(row[start])
            start += max(1, period * count)
        box.children = found

    def best(self, row: list[Box], facts: list[_Facts], start: int, alike: list[list[int]]) -> tuple[int, int]:
        """The period and the number of copies of the longest run that begins at `start`; zeros if there is none."""
        best = (0, 0)
        for period in range(1, min(_LONGEST_PERIOD, (len(row) - start) // 2) + 1):
            if any(period % q == 0 and alike[q - 1][start] >= period - q for q in range(1, period)):
                continue  # these are several copies of something shorter
            count = alike[period - 1][start] // period + 1
            if count * period > best[0] * best[1] and count >= 2:
                count = _Wiring(facts, start, period, bool(self.arrows)).copies(count)
                if count >= _fewest(row[start : start + period]) and count * period > best[0] * best[1]:
                    best = (period, count)
        return best

    def run(self, copies: list[list[Box]], around: Box) -> list[Box]:
        boxes = [members[0] if len(members) == 1 else self.group(members, around) for members in copies]
        run = Run(boxes)
        for box in boxes:
            box.run = run
        return boxes

    def group(self, members: list[Box], around: Box) -> Box:
        """Steps that repeat together, as a box of their own."""
        labels = list(dict.fromkeys(member.label for member in members))
        label = ", ".join(labels[:4]) + (", …" if len(labels) > 4 else "")
        group = Box("group", "", label, place=members[0].place)
        group.children, group.parent, group.position = members, around, members[0].position
        group.shapes = members[-1].shapes
        for member in members:
            member.parent = group
        self.fold(group)
        self.look(group)
        return group


def _nature(box: Box) -> tuple[Hashable, ...]:
    """What a box is, its name and its place left out."""
    marks = tuple(mark if mark.startswith("hook") else mark.partition(":")[0] for mark in box.detail.marks)
    detail = box.detail
    return (box.kind, box.label, box.shapes, box.times, detail.structure, detail.parameters, detail.frozen, marks)


def _fewest(members: list[Box]) -> int:
    """How many copies are worth a fold: two of something large, three of a single layer or function."""
    if any(member.children for member in members) or len(members) >= 4:
        return 2
    return 3


def _alike(structures: list[int]) -> list[list[int]]:
    """For each period, for how many places from each one on the structures are those one period later."""
    tables: list[list[int]] = []
    for period in range(1, min(_LONGEST_PERIOD, len(structures) // 2) + 1):
        table = [0] * (len(structures) + 1)
        for place in range(len(structures) - period - 1, -1, -1):
            if structures[place] == structures[place + period]:
                table[place] = table[place + 1] + 1
        tables.append(table)
    return tables


@dataclass(slots=True)
class _Wiring:
    """Whether possible copies of a run are wired as copies must be."""

    facts: list[_Facts]
    start: int
    period: int
    wired: bool
    begins: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.begins = [fact.begin for fact in self.facts]

    def copies(self, possible: int) -> int:
        """How many of `possible` copies in a row can be folded to one."""
        if not self.wired:
            return possible
        first, second = self.takes(0), self.takes(1)
        if len(first) != len(second) or not all(map(_begins_like, first, second)):
            return 1
        if not any(kind == "before" for kind, *_ in second):
            return self.parallel(possible)
        for copy in range(possible):
            if copy > 1 and self.takes(copy) != second:
                return copy
            if copy + 1 < possible and not self.gives_to_next(copy):
                return copy + 1
        return possible

    def parallel(self, possible: int) -> int:
        """Copies beside each other: all take the same, and what they give goes to the same steps."""
        first, second = self.takes(0), self.takes(1)
        if first != second:
            return 1
        given = self.given(0)
        for copy in range(1, possible):
            if self.given(copy) != given or self.takes(copy) != second:
                return copy
        return possible

    def takes(self, copy: int) -> list[tuple[str, int, int]]:
        """Where each thing that a copy takes comes from: the copy itself, the one before it, or elsewhere."""
        here = self.start + copy * self.period
        found: list[tuple[str, int, int]] = []
        for member in range(here, here + self.period):
            for place in self.facts[member].takes:
                giver = bisect_right(self.begins, place) - 1
                within = place - self.begins[giver] if giver >= 0 else 0
                if here <= giver < here + self.period:
                    found.append(("inside", giver - here, within))
                elif copy and here - self.period <= giver < here:
                    found.append(("before", giver - here, within))
                else:
                    found.append(("outside", place, 0))
        return found

    def extent(self, copy: int) -> tuple[int, int]:
        here = self.start + copy * self.period
        return self.facts[here].begin, self.facts[here + self.period - 1].end

    def gives_to_next(self, copy: int) -> bool:
        """Whether nothing but the copy itself and the next one takes what a copy gives."""
        begin, end = self.extent(copy)[0], self.extent(copy + 1)[1]
        return all(begin <= target < end for _, target in self.pairs(copy))

    def given(self, copy: int) -> list[tuple[int, int]]:
        begin, end = self.extent(copy)
        return [(source - begin, target) for source, target in self.pairs(copy) if not begin <= target < end]

    def pairs(self, copy: int) -> list[tuple[int, int]]:
        here = self.start + copy * self.period
        return [pair for fact in self.facts[here : here + self.period] for pair in fact.gives]


def _begins_like(first: tuple[str, int, int], second: tuple[str, int, int]) -> bool:
    """Whether the first copy takes a thing as the second does, or from anywhere what that takes from the first."""
    return first[0] == "outside" if second[0] == "before" else first == second
