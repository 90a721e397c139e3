"""What the rules and hooks of each part of a model reach in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn
from torch.nn.utils import parametrize

from confnet.builder.construct import Built
from confnet.builder.selection import all_selected, named_postorder, selected
from confnet.plan import ModulePlan

__all__ = ["Reach", "reach_of"]


@dataclass(slots=True)
class Reach:
    """Of one plan, over all modules that were made of it: the rules and hooks, by number, that mean some module, and
    for each rule the names of parameters that one of its modules has."""

    rules: dict[int, set[str]] = field(default_factory=dict)
    hooks: set[int] = field(default_factory=set)


def reach_of(built: Built) -> dict[int, Reach]:
    """What the rules and hooks of each plan reach, by the id of the plan; a plan without any is left out."""
    found: dict[int, Reach] = {}
    for module, plan in built.places.items():
        if plan.rules or plan.hooks:
            _add(found.setdefault(id(plan), Reach()), module, plan)
    return found


def _add(reach: Reach, holder: nn.Module, plan: ModulePlan) -> None:
    places = dict(named_postorder(holder))
    for index, rule in enumerate(plan.rules):
        for module in all_selected(rule.where, places):
            names = reach.rules.setdefault(index, set())
            names |= {name for name in (*rule.init, *rule.parametrize) if _has(module, name)}
    for index, hook in enumerate(plan.hooks):
        if any(selected(hook.where, module, names) for module, names in places.items()):
            reach.hooks.add(index)


def _has(module: nn.Module, name: str) -> bool:
    return name in module._parameters or parametrize.is_parametrized(module, name)
