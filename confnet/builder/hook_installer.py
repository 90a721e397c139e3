"""Hooks from the plan onto the modules of a finished model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from torch import nn
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils import parametrize

from confnet.blueprint import Blueprint
from confnet.builder.filling import arguments_of
from confnet.builder.hook_circles import circles
from confnet.builder.hooks import Hook, own
from confnet.builder.selection import named_postorder, nothing_helps, selected
from confnet.diagnostics import ConfnetError, Diagnostic, Span
from confnet.plan import HookPlan, Selector

__all__ = ["HookInstaller"]

_Names = tuple[frozenset[str], frozenset[str]]
_ON_CALLS: Final = ("forward_pre", "forward", "full_backward_pre", "full_backward")


class HookInstaller:
    """Collects the hooks of every definition while it is constructed, and registers them when all modules exist."""

    def __init__(self, blueprint: Blueprint, value: Callable[[object], Any]) -> None:
        self.blueprint, self.value = blueprint, value
        self.waiting: list[tuple[nn.Module, nn.Module, HookPlan, _Names]] = []
        self.seen: dict[Span, _Seen] = {}

    def add(self, owner: nn.Module, hooks: Iterable[tuple[nn.Module, HookPlan, _Names]]) -> None:
        """Take the hooks of a definition: each with the module that it stands beside."""
        self.waiting.extend((owner, holder, plan, names) for holder, plan, names in hooks)

    def install(self, root: nn.Module) -> None:
        """Register all hooks, those of inner definitions first, each definition's in the order of its file.

        Raises ConfnetError for a hook that torch would not let be.
        """
        labels = {module: name for name, module in root.named_modules()}
        inside: dict[nn.Module, dict[nn.Module, str]] = {}
        registered: list[tuple[nn.Module, nn.Module, Hook]] = []
        for owner, holder, plan, names in self.waiting:
            seen = self.seen.setdefault(plan.span, _Seen(plan.where))
            if owner not in inside:
                inside[owner] = {module: path for path, module in owner.named_modules()}
            paths = inside[owner]
            for module, places in named_postorder(holder):
                if not selected(plan.where, module, places):
                    if not seen.matched:
                        seen.classes.add(type(module).__name__)
                        seen.names.update(dict.fromkeys(name for name in places if name))
                    continue
                seen.matched += 1
                problem = _problem(module, plan) if module in paths else _not_in_the_model(plan)
                if problem is not None:
                    seen.problems.append(problem)
                    continue
                seen.registered += 1
                hook = self.hook(plan, names, paths[module], paths.get(holder, ""), labels.get(module, ""))
                self.register(owner, module, hook)
                registered.append((owner, module, hook))
        if found := list(circles(registered)):
            raise ConfnetError(found)

    def hook(self, plan: HookPlan, names: _Names, path: str, place: str, label: str) -> Hook:
        arguments = arguments_of(plan.call, self.value) if plan.call is not None else ([], {})
        constants = {name: self.value(value) for name, value in plan.constants.items()}
        return Hook(plan, self.blueprint, names, arguments, constants, path, place, label)

    def register(self, owner: nn.Module, module: nn.Module, hook: Hook) -> None:
        hook.register(module)
        own(owner, hook)

    def unused(self) -> Iterable[Diagnostic]:
        """Hooks that no module got."""
        helps = nothing_helps((s.where, s.classes, s.names) for s in self.seen.values() if not s.matched)
        for span, seen in self.seen.items():
            if not seen.matched:
                yield Diagnostic("rule-matches-nothing", "the hook matches no module", span=span, help=next(helps))
            elif not seen.registered:
                yield seen.problems[0]


@dataclass(slots=True)
class _Seen:
    """What became of one hook over all instances of its definition."""

    where: Selector | None = None
    classes: set[str] = field(default_factory=set)
    names: dict[str, None] = field(default_factory=dict)
    matched: int = 0
    registered: int = 0
    problems: list[Diagnostic] = field(default_factory=list)


def _problem(module: nn.Module, plan: HookPlan) -> Diagnostic | None:
    """Why a hook would never run on a module, or None."""
    label = type(module).__name__.removeprefix("Parametrized")
    if plan.kind in _ON_CALLS or plan.tensor in ("output", "input"):
        if getattr(type(module), "forward", None) is getattr(nn.Module, "forward", None):
            message = f"`{label}` has no forward: the hook never runs"
            return _invalid(plan, message, "put it on the modules inside, or on the one that calls them")
        return None
    return None if plan.tensor is None else _parameter_problem(module, plan, plan.tensor, label)


def _parameter_problem(module: nn.Module, plan: HookPlan, name: str, label: str) -> Diagnostic | None:
    if parametrize.is_parametrized(module, name):
        help = f"put it on `parametrizations.{name}` of the module, with `tensor: original`"
        return _invalid(plan, f"`{name}` of `{label}` is parametrized, and no parameter any more", help)
    parameter = module._parameters.get(name)
    if parameter is None:
        known = ", ".join(f"`{key}`" for key, value in module._parameters.items() if value is not None)
        message, help = f"`{label}` has no parameter `{name}`", f"it has {known}" if known else "it has no parameters"
        return Diagnostic("unknown-parameter", message, span=plan.span, notes=plan.chain, help=help)
    if isinstance(parameter, UninitializedParameter):
        help = "register it with torch after the first forward"
        return _invalid(plan, f"`{name}` of `{label}` has no shape before the first forward, and takes no hooks", help)
    if not parameter.requires_grad:
        raise ConfnetError(
            [
                _invalid(
                    plan, f"`{name}` of `{label}` is frozen and gets no gradient", "leave such modules out with `not`"
                )
            ]
        )
    return None


def _not_in_the_model(plan: HookPlan) -> Diagnostic:
    return _invalid(
        plan,
        "the layer above takes copies of this module, which are without the hook",
        "put the hook beside the layer, with `where`",
    )


def _invalid(plan: HookPlan, message: str, help: str) -> Diagnostic:
    return Diagnostic("invalid-hook", message, span=plan.span, notes=plan.chain, help=help)
