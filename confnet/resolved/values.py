"""Values of a plan as a file writes them, where `$` is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from confnet.catalog.arguments import Argument, Takes
from confnet.catalog.types import MISMATCH, TensorLiteral
from confnet.plan import DTypeName, LayerName, ModulePlan
from confnet.resolved.code import expression_text
from confnet.spec.words import is_layer_key

__all__ = ["ModuleData", "call_data", "dtypes_in", "escaped", "expression", "plain_data", "value_data"]

ModuleData = Callable[[ModulePlan, str], object]
"""What a file writes for a module under a label."""


def escaped(text: str) -> str:
    """A text that says the same where `$` is evaluated."""
    return text.replace("$", "$$")


def expression(value: object) -> str:
    """A `$` expression that gives a value."""
    return f"$({expression_text(value, '')})"


def plain_data(value: object) -> object:
    """A value that code reads, exactly: a tuple stays one, and a dtype in a collection is that of the arg so called."""
    if isinstance(value, tuple | range):
        return expression(value)
    if isinstance(value, list):
        return [_inner(item) for item in value]
    if isinstance(value, dict):
        return {escaped(key): _inner(item) for key, item in value.items()}
    if isinstance(value, DTypeName):
        return value.name
    return escaped(value) if isinstance(value, str) else value


def _inner(value: object) -> object:
    return f"${value.name}" if isinstance(value, DTypeName) else plain_data(value)


def dtypes_in(value: object) -> Iterator[str]:
    """The dtypes in a collection, at any depth."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    for item in items:
        if isinstance(item, DTypeName):
            yield item.name
        yield from dtypes_in(item)


def value_data(value: object, argument: Argument | None, module: ModuleData) -> object:
    """A value that something is called with; `argument` is what the callee says of it."""
    if isinstance(value, ModulePlan):
        return module(value, argument.name if argument is not None else "")
    if isinstance(value, str) and argument is not None and argument.takes_module and is_layer_key(value):
        return expression(value)
    data = _data(value)
    if isinstance(value, tuple | list) and argument is not None:
        taken = argument.parsed.coerce(_lists(value))
        if taken is MISMATCH or type(taken) is not type(value) or taken != value:
            return plain_data(value)
    return data


def _data(value: object) -> object:
    if isinstance(value, DTypeName | LayerName):
        return value.name
    if isinstance(value, TensorLiteral):
        return _data(value.data)
    if isinstance(value, list | tuple | range):
        return [_data(item) for item in value]
    if isinstance(value, dict):
        return {escaped(key): _data(item) for key, item in value.items()}
    return escaped(value) if isinstance(value, str) else value


def _lists(value: object) -> object:
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value


def call_data(
    callee: Takes | None, positional: Sequence[object], keywords: Mapping[str, object], module: ModuleData
) -> object:
    """The arguments of a call: None where there are none, one value, a list or a mapping."""
    by_position = [argument for argument in callee.arguments if argument.positional] if callee is not None else []
    by_name = {argument.name: argument for argument in callee.arguments} if callee is not None else {}
    if keywords:
        return {name: value_data(value, by_name.get(name), module) for name, value in keywords.items()}
    if not positional:
        return None
    items = [
        value_data(value, by_position[index] if index < len(by_position) else None, module)
        for index, value in enumerate(positional)
    ]
    alone = len(items) == 1 and isinstance(items[0], bool | int | float | str)
    return items[0] if alone else items
