"""The kinds of what a plan holds: values, inputs, layers, and what torch gives a hook."""

from __future__ import annotations

from collections.abc import Mapping

from confnet.catalog.registry import lookup
from confnet.language.kinds import (
    DICT,
    FLAG,
    NONE,
    NUMBER,
    TENSOR,
    TEXT,
    UNKNOWN,
    Kind,
    ListKind,
    ModuleKind,
    Parameter,
    Signature,
)
from confnet.language.scope import CheckResult
from confnet.plan import DTypeName, Input, Method, ModulePlan

__all__ = [
    "BROKEN_KIND",
    "HOOK_INPUTS",
    "argument_kinds",
    "input_kind",
    "layer_kind",
    "parameter_of",
    "shares_state",
    "signature_of",
    "value_kind",
]

BROKEN_KIND = ModuleKind("?", call=Signature((), variadic=True, keywords=True))
"""The kind of a module that could not be resolved: it may be called in any way."""

HOOK_INPUTS: Mapping[str, Kind] = {
    "args": ListKind(UNKNOWN),
    "kwargs": DICT,
    "grad_input": ListKind(UNKNOWN),
    "grad_output": ListKind(UNKNOWN),
    "grad": TENSOR,
    "prefix": TEXT,
    "keep_vars": FLAG,
    "strict": FLAG,
    "missing_keys": ListKind(TEXT),
    "unexpected_keys": ListKind(TEXT),
    "error_msgs": ListKind(TEXT),
    "param": TENSOR,
    # A thing with two parts that may be read.
    "incompatible_keys": ModuleKind(
        "incompatible_keys", members={"missing_keys": ListKind(TEXT), "unexpected_keys": ListKind(TEXT)}
    ),
}


def layer_kind(plan: ModulePlan) -> ModuleKind:
    """The kind of a layer of the catalog."""
    layer = lookup(plan.base)
    if layer is None:
        return BROKEN_KIND
    members: dict[str, Kind] = {argument.name: UNKNOWN for argument in layer.arguments}
    members.update(dict.fromkeys((*layer.parameters, *layer.buffers), TENSOR))
    members.update({name: ModuleKind(cls) for name, cls in layer.children.items()})
    return ModuleKind(plan.base, call=layer.forward if layer.has_forward else None, members=members)


def argument_kinds(plan: ModulePlan) -> dict[str, Kind]:
    return {name: value_kind(plan.constants[name]) for name in plan.own_args}


def value_kind(value: object) -> Kind:
    if value is None:
        return NONE
    if isinstance(value, bool):
        return FLAG
    if isinstance(value, int | float):
        return NUMBER
    if isinstance(value, str):
        return TEXT
    if isinstance(value, dict):
        return DICT
    return UNKNOWN if isinstance(value, DTypeName) else ListKind(UNKNOWN)


def input_kind(item: Input) -> Kind:
    """What an input is as far as its contract says; a default of None leaves it open."""
    kinds: dict[str, Kind] = {"tensor": TENSOR, "int": NUMBER, "float": NUMBER, "bool": FLAG, "str": TEXT, "dict": DICT}
    declared = getattr(item.contract, "type", None)
    if declared in kinds and not (not item.required and item.default is None):
        return kinds[declared]
    return UNKNOWN


def parameter_of(item: Input) -> Parameter:
    return Parameter(item.name, required=item.required)


def signature_of(method: Method, result: CheckResult) -> Signature:
    return Signature(
        tuple(parameter_of(item) for item in method.inputs),
        result=UNKNOWN if isinstance(result.result, ModuleKind) else result.result,
        changes=result.changes,
        shares_state=bool(result.shares),
        inferred=True,
    )


def shares_state(kind: Kind) -> bool:
    return isinstance(kind, ModuleKind) and kind.call is not None and kind.call.shares_state
