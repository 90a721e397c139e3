"""Two trees of modules held beside each other: which module of one is which of the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from confnet.blueprint import modules_of
from confnet.diff.facts import Facts, FactsOf
from confnet.plan import ModulePlan, Plan
from confnet.resolved.code import codes_of, reads_of_others

__all__ = ["Pairing", "pair_up"]

_ALIGNED = 400
"""Longer lists of modules are compared by number: to align them would take too long."""


@dataclass
class Pairing:
    """Modules of A and B by their names: those in both, and those that only one of them has.

    What is equal all through is not gone into. `same` holds the pairs that differ somewhere in them, `moved` those that
    are equal under two names.
    """

    same: list[tuple[str, str, Facts, Facts]] = field(default_factory=list)
    moved: list[tuple[str, str, Facts]] = field(default_factory=list)
    removed: list[tuple[str, Facts]] = field(default_factory=list)
    added: list[tuple[str, Facts]] = field(default_factory=list)


def pair_up(a: Plan, b: Plan) -> Pairing:
    """The modules of two models, paired."""
    pairing = Pairing()
    outside = reads_of_others(text for plan in (a, b) for module in modules_of(plan) for text in codes_of(module))
    _Pairer(pairing, FactsOf(frozenset(outside))).modules("", "", a.root, b.root)
    _find_moved(pairing)
    return pairing


@dataclass
class _Pairer:
    pairing: Pairing
    facts: FactsOf

    def modules(self, path: str, other: str, a: ModulePlan, b: ModulePlan) -> None:
        before, after = self.facts(a), self.facts(b)
        if before.digest == after.digest:
            if path != other:
                self.pairing.moved.append((path, other, before))
            return
        self.pairing.same.append((path, other, before, after))
        for left, right in self.children(before, after):
            if left is not None and right is not None:
                self.modules(_below(path, left), _below(other, right), before.children[left], after.children[right])
            elif left is not None:
                self.pairing.removed.append((_below(path, left), self.facts(before.children[left])))
            elif right is not None:
                self.pairing.added.append((_below(other, right), self.facts(after.children[right])))

    def children(self, a: Facts, b: Facts) -> Iterator[tuple[str | None, str | None]]:
        """The children of two modules, paired by their names; of two lists by what they are."""
        if a.is_list and b.is_list:
            yield from self.items(a, b)
            return
        for name in a.children:
            yield name, name if name in b.children else None
        yield from ((None, name) for name in b.children if name not in a.children)

    def items(self, a: Facts, b: Facts) -> Iterator[tuple[str | None, str | None]]:
        ours, theirs = self.digests(a.children), self.digests(b.children)
        begin = next(
            (i for i, (x, y) in enumerate(zip(ours, theirs, strict=False)) if x != y), min(len(ours), len(theirs))
        )
        most = min(len(ours), len(theirs)) - begin
        end = next((i for i in range(most) if ours[-1 - i] != theirs[-1 - i]), most)
        yield from ((str(i), str(i)) for i in range(begin))
        left, right = ours[begin : len(ours) - end], theirs[begin : len(theirs) - end]
        for i, j in self.aligned(left, right):
            yield None if i is None else str(begin + i), None if j is None else str(begin + j)
        for i in range(end, 0, -1):
            yield str(len(ours) - i), str(len(theirs) - i)

    def digests(self, children: Mapping[str, ModulePlan]) -> list[str]:
        return [self.facts(child).digest for child in children.values()]

    def aligned(self, a: list[str], b: list[str]) -> Iterator[tuple[int | None, int | None]]:
        """The items of two lists that begin and end differently."""
        if len(a) == len(b) or max(len(a), len(b)) > _ALIGNED:
            blocks = [("replace", 0, len(a), 0, len(b))]
        else:
            blocks = list(SequenceMatcher(None, a, b, autojunk=False).get_opcodes())
        for _, i, i_end, j, j_end in blocks:
            both = min(i_end - i, j_end - j)
            yield from ((i + k, j + k) for k in range(both))
            yield from ((k, None) for k in range(i + both, i_end))
            yield from ((None, k) for k in range(j + both, j_end))


def _find_moved(pairing: Pairing) -> None:
    """What was removed in one place and added in another is moved: beside it first, else wherever it holds anything."""
    waiting: dict[str, list[tuple[str, Facts]]] = {}
    for each in pairing.added:
        waiting.setdefault(each[1].digest, []).append(each)
    for near in (True, False):
        for path, facts in list(pairing.removed):
            equal = waiting.get(facts.digest, [])
            match = next((each for each in equal if _is_moved(path, facts, each[0], near=near)), None)
            if match is not None:
                equal.remove(match)
                pairing.removed.remove((path, facts))
                pairing.added.remove(match)
                pairing.moved.append((path, match[0], facts))


def _is_moved(path: str, facts: Facts, other: str, *, near: bool) -> bool:
    if near:
        return path.rpartition(".")[0] == other.rpartition(".")[0]
    return bool(facts.children or facts.arguments or facts.said)  # every ReLU is as every other


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
