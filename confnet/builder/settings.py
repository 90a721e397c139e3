"""What a rule sets on modules besides their tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from confnet.builder.filling import error_at
from confnet.catalog.arguments import value_problem
from confnet.catalog.registry import lookup
from confnet.diagnostics import closest
from confnet.plan import RulePlan

__all__ = ["set_attribute"]


def set_attribute(
    module: nn.Module, name: str, value: object, rule: RulePlan, to_torch: Callable[[object], Any]
) -> None:
    """Set what the class of a module leaves open after its construction. Raises ConfnetError for anything else."""
    span = rule.setting_spans[name]
    layer = next((known for base in type(module).__mro__ if (known := lookup(base.__name__)) is not None), None)
    argument = layer.argument(name) if layer is not None else None
    open_ones = [a.name for a in layer.arguments if a.settable] if layer is not None else []
    label = type(module).__name__
    if argument is None or not argument.settable:
        guess = closest(name, open_ones)
        help = (
            f"did you mean `{guess}`?"
            if guess
            else f"it opens {', '.join(f'`{o}`' for o in open_ones)}"
            if open_ones
            else ""
        )
        raise error_at(
            "not-settable", f"`{name}` of `{label}` cannot be set after its construction", span, rule.chain, help
        )
    problem = value_problem(argument, value, label)
    if problem is not None:
        raise error_at(problem.code, problem.message, span, rule.chain, problem.help)
    setattr(module, name, to_torch(argument.parsed.coerce(value)))
