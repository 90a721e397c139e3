"""How large a model may be, asked of one that stands on the meta device, where nothing is allocated."""

from __future__ import annotations

import torch

from confnet.blueprint import Blueprint
from confnet.builder.construct import Built, Streams, construct
from confnet.builder.outline import parameter_totals
from confnet.diagnostics import ConfnetError, Diagnostic, Note
from confnet.plan import Plan

__all__ = ["check_parameters", "construct_within"]

_NAMED = 3


def construct_within(
    limit: int | None,
    plan: Plan,
    blueprint: Blueprint,
    *,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
    streams: Streams | None,
) -> Built:
    """The module of a plan, as `construct` makes it, of no more than `limit` parameters (None: of any number).

    A model for another device is made on meta before: some layers allocate while they are made.
    """
    target = torch.get_default_device() if device is None else torch.device(device)
    if limit is not None and target.type != "meta":
        check_parameters(construct(plan, blueprint, device="meta"), limit)
    built = construct(plan, blueprint, device=device, dtype=dtype, streams=streams)
    if limit is not None and target.type == "meta":
        check_parameters(built, limit)
    return built


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
