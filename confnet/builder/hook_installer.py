"""Hooks from the plan onto the modules of a finished model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from confnet.blueprint import Blueprint
from confnet.builder.hooks import Hook, own
from confnet.builder.selection import named_postorder, selected
from confnet.diagnostics import ConfnetError, Diagnostic, Span
from confnet.plan import HookPlan

__all__ = ["HookInstaller"]

_Names = tuple[frozenset[str], frozenset[str]]


class HookInstaller:
    """Collects the hooks of every definition while it is constructed, and registers them when all modules exist."""

    def __init__(self, blueprint: Blueprint, value: Callable[[object], Any]) -> None:
        self.blueprint, self.value = blueprint, value
        self.waiting: list[tuple[nn.Module, nn.Module, HookPlan, _Names]] = []
        self.matched: dict[Span, int] = {}

    def add(self, owner: nn.Module, hooks: Iterable[tuple[nn.Module, HookPlan, _Names]]) -> None:
        """Take the hooks of a definition: each with the module that it stands beside."""
        self.waiting.extend((owner, holder, plan, names) for holder, plan, names in hooks)

    def install(self, root: nn.Module) -> None:
        """Register all hooks, those of inner definitions first, each definition's in the order of its file."""
        labels = {module: name for name, module in root.named_modules()}
        for owner, holder, plan, names in self.waiting:
            self.matched.setdefault(plan.span, 0)
            for module, paths in named_postorder(holder):
                if selected(plan.where, module, paths):
                    self.matched[plan.span] += 1
                    self.register(owner, module, plan, names, labels.get(module, ""))

    def register(self, owner: nn.Module, module: nn.Module, plan: HookPlan, names: _Names, label: str) -> None:
        arguments: tuple[list[Any], dict[str, Any]] = ([], {})
        if plan.call is not None:
            call = plan.call
            arguments = [self.value(v) for v in call.positional], {k: self.value(v) for k, v in call.keywords.items()}
        constants = {name: self.value(value) for name, value in plan.constants.items()}
        path = next(name for name, other in owner.named_modules(remove_duplicate=False) if other is module)
        hook = Hook(plan, self.blueprint, names, arguments, constants, path, label)
        if hook.on_parameter:
            _require_parameter(module, plan)
        hook.register(module)
        own(owner, hook)

    def unused(self) -> Iterable[Diagnostic]:
        """Hooks that no module got."""
        for span, count in self.matched.items():
            if not count:
                yield Diagnostic("rule-matches-nothing", "the hook matches no module", span=span)


def _require_parameter(module: nn.Module, plan: HookPlan) -> None:
    name = plan.tensor or ""
    parameter = getattr(module, name, None)
    label = type(module).__name__
    if not isinstance(parameter, torch.Tensor) or name in module._buffers:
        known = ", ".join(f"`{key}`" for key in module._parameters)
        message, help = f"`{label}` has no parameter `{name}`", f"it has {known}" if known else "it has no parameters"
        raise ConfnetError([Diagnostic("unknown-parameter", message, span=plan.span, notes=plan.chain, help=help)])
    if not parameter.requires_grad:
        message = f"`{name}` of `{label}` is frozen and gets no gradient"
        raise ConfnetError([Diagnostic("invalid-hook", message, span=plan.span, notes=plan.chain)])
