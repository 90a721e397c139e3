"""How large a model may be, asked of one that stands on the meta device, where nothing is allocated."""

from __future__ import annotations

from confnet.builder.construct import Built
from confnet.builder.outline import parameter_totals
from confnet.diagnostics import ConfnetError, Diagnostic, Note

__all__ = ["check_parameters"]

_NAMED = 3


def check_parameters(built: Built, limit: int) -> None:
    """Raise ConfnetError where the parameters of a model have more than `limit` elements; tied ones count once."""
    total = parameter_totals([built.module]).parameters
    if total <= limit:
        return
    own = {module: sum(p.numel() for p in module.parameters(recurse=False)) for module in built.module.modules()}
    largest = sorted((module for module in own if module in built.places), key=lambda module: -own[module])[:_NAMED]
    notes = [
        Note(f"`{type(module).__name__}` has {own[module]:,} of its own", built.places[module].span)
        for module in largest
        if own[module]
    ]
    message = f"the model has {total:,} parameters, and {limit:,} are allowed"
    span = built.places[built.module].span
    raise ConfnetError([Diagnostic("too-many-parameters", message, span=span, notes=tuple(notes))])
