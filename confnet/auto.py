"""`auto` in a plan: the arguments whose numbers torch infers, and the plan with numbers in their places.

A layer's argument may be `auto` if torch has a lazy class for it. `confnet.shapes.infer` finds the numbers by running
the model; here they are written into the plan, so that no later stage knows that they were not in the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from confnet.catalog.registry import lookup
from confnet.plan import AUTO, ModulePlan, Plan
from confnet.records import dataclass

__all__ = ["AutoLayer", "Settled", "settle"]


@dataclass(frozen=True, slots=True, eq=False)
class AutoLayer:
    """A layer whose `argument` was `auto`: its plan with a number, and the position or keyword of that number."""

    plan: ModulePlan
    argument: str
    where: int | str


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """A plan without `auto`, and the layers that had one, in the order in which they are constructed."""

    plan: Plan
    layers: tuple[AutoLayer, ...]


def settle(plan: Plan, numbers: Sequence[int | None] = (), *, bare: bool = False) -> Settled:
    """The plan with a number for each `auto`: those of `numbers` in order, where there is none some number that torch
    accepts. Each layer gets a plan of its own, also where instances of a definition had one in common.

    A `bare` plan is without all that needs the right numbers and says nothing of shapes: initialisers, ties,
    parametrizations, functions that rules call, hooks on gradients and state.
    """
    settling = _Settling(numbers, bare)
    return Settled(replace(plan, root=settling.module(plan.root), has_auto=False), tuple(settling.layers))


class _Settling:
    def __init__(self, numbers: Sequence[int | None], bare: bool) -> None:
        self.numbers, self.bare = numbers, bare
        self.layers: list[AutoLayer] = []
        self.without: dict[int, ModulePlan] = {}  # plans that hold no `auto` stay in common

    def module(self, plan: ModulePlan) -> ModulePlan:
        if id(plan) in self.without:
            return self.without[id(plan)]
        before = len(self.layers)
        made = self.inside(plan)
        where = _where(plan)
        if where is not None:
            made = self.numbered(made, where)
        if len(self.layers) == before:
            made = self.without[id(plan)] = made if self.bare else plan
        return made

    def inside(self, plan: ModulePlan) -> ModulePlan:
        """The plan with everything in it settled."""
        children = {name: self.module(c) if isinstance(c, ModulePlan) else c for name, c in plan.children.items()}
        positional = tuple(self.value(value) for value in plan.positional)
        keywords = {name: self.value(value) for name, value in plan.keywords.items()}
        made = replace(plan, children=children, positional=positional, keywords=keywords)
        return _bare(made) if self.bare else made

    def value(self, value: object) -> object:
        if isinstance(value, ModulePlan):
            return self.module(value)
        if isinstance(value, list | tuple):
            return type(value)(self.value(item) for item in value)
        if isinstance(value, dict):
            return {key: self.value(item) for key, item in value.items()}
        return value

    def numbered(self, plan: ModulePlan, where: int | str) -> ModulePlan:
        """The plan of a layer with the next number."""
        place = len(self.layers)
        number = self.numbers[place] if place < len(self.numbers) else None
        if number is None:
            number = _some_number(plan)
        if isinstance(where, int):
            made = replace(plan, positional=(*plan.positional[:where], number, *plan.positional[where + 1 :]))
        else:
            made = replace(plan, keywords={**plan.keywords, where: number})
        name = where if isinstance(where, str) else _argument_names(plan)[where]
        self.layers.append(AutoLayer(made, name, where))
        return made


def _where(plan: ModulePlan) -> int | str | None:
    """The position or keyword of the argument that is `auto`; torch has no layer with two."""
    if AUTO in plan.positional:
        return plan.positional.index(AUTO)
    return next((name for name, value in plan.keywords.items() if value == AUTO), None)


def _argument_names(plan: ModulePlan) -> list[str]:
    layer = lookup(plan.base)
    return [argument.name for argument in layer.arguments] if layer is not None else []


def _some_number(plan: ModulePlan) -> int:
    """A number that the layer can be constructed with: channels must be divisible by `groups`."""
    given = {**dict(zip(_argument_names(plan), plan.positional, strict=False)), **plan.keywords}
    groups = given.get("groups")
    return groups if isinstance(groups, int) else 1


def _bare(plan: ModulePlan) -> ModulePlan:
    rules = [replace(rule, init={}, parametrize={}, requires_grad=None, calls=()) for rule in plan.rules]
    return replace(
        plan,
        rules=tuple(rules),
        hooks=tuple(hook for hook in plan.hooks if hook.kind in ("forward_pre", "forward")),
        parameters={name: p and replace(p, init=None) for name, p in plan.parameters.items()},
        ties=(),
    )
