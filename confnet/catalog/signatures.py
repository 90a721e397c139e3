"""Arguments and forwards of Python classes and functions that a caller registers, read from their signatures."""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any, Final

from confnet.catalog.arguments import Argument
from confnet.catalog.types import Type
from confnet.language.kinds import Parameter, Signature
from confnet.plan import DTypeName, LayerName

__all__ = ["arguments_of_callable", "is_module_class", "is_torch_module", "signature_of_callable", "takes_any"]

_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def is_module_class(value: object) -> bool:
    """Whether `value` is a subclass of torch.nn.Module, told without importing torch."""
    return isinstance(value, type) and any(is_torch_module(base) for base in value.__mro__)


def is_torch_module(cls: type) -> bool:
    """Whether `cls` is torch.nn.Module itself."""
    return _is(cls, "torch.nn.modules.module", "Module")


def _is(cls: object, module: str, name: str) -> bool:
    return getattr(cls, "__module__", "") == module and getattr(cls, "__qualname__", "") == name


def arguments_of_callable(function: Callable[..., Any], skip: int) -> tuple[Argument, ...]:
    """The arguments of `function` after its first `skip`, with types from annotations and defaults.

    Raises TypeError if Python cannot tell the signature, or if an argument can be given by position only.
    """
    hints = _hints(function)
    found = []
    for parameter in _parameters(function, skip):
        if parameter.kind in _VARIADIC or (parameter.name == "device" and parameter.default is not parameter.empty):
            continue  # the device is the caller's choice
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise TypeError(f"`{parameter.name}` of `{function.__qualname__}` cannot be given by name; remove the `/`")
        found.append(_argument(parameter, hints.get(parameter.name, parameter.empty)))
    return tuple(found)


def takes_any(function: Callable[..., Any], skip: int) -> tuple[bool, bool]:
    """Whether `function` takes further positional arguments, and further keywords."""
    kinds = [parameter.kind for parameter in _parameters(function, skip)]
    return inspect.Parameter.VAR_POSITIONAL in kinds, inspect.Parameter.VAR_KEYWORD in kinds


def signature_of_callable(function: Callable[..., Any], skip: int) -> Signature:
    """How code may call `function`, less its first `skip` arguments. What comes out of it is not known."""
    taken = [parameter for parameter in _parameters(function, skip) if parameter.kind not in _VARIADIC]
    variadic, keywords = takes_any(function, skip)
    parameters = tuple(
        Parameter(
            parameter.name,
            parameter.default is parameter.empty,
            parameter.kind in _POSITIONAL,
            parameter.kind is not parameter.POSITIONAL_ONLY,
        )
        for parameter in taken
    )
    return Signature(parameters, variadic, keywords)


def _parameters(function: Callable[..., Any], skip: int) -> list[inspect.Parameter]:
    try:
        found = list(inspect.signature(function).parameters.values())
    except ValueError as error:
        raise TypeError(f"Python cannot tell the signature of `{function!r}`") from error
    fixed = [parameter for parameter in found[:skip] if parameter.kind in _POSITIONAL]
    return found[len(fixed) :]


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except Exception:  # an annotation may name anything, and evaluating it may raise anything
        annotations = getattr(function, "__annotations__", {})
        return {name: _hint(hint, getattr(function, "__globals__", {})) for name, hint in annotations.items()}


def _hint(annotation: object, names: dict[str, Any]) -> object:
    """One annotation, evaluated by itself; empty if that fails."""
    try:
        return typing.get_type_hints(types.SimpleNamespace(__annotations__={"it": annotation}), names)["it"]
    except Exception:
        return inspect.Parameter.empty


def _argument(parameter: inspect.Parameter, hint: object) -> Argument:
    required = parameter.default is parameter.empty
    default = None if required else _plain(parameter.default)
    kind = "any" if hint is parameter.empty else _spell(hint)
    if not required and kind != "any" and not Type.parse(kind).accepts(default):
        # `x: int = None` is common; any other default outside the annotation shows that it is no promise
        kind = f"{kind} | None" if default is None else "any"
    return Argument(
        name=parameter.name,
        type=kind,
        required=required,
        default=default,
        positional=parameter.kind in _POSITIONAL,
    )


def _plain(default: object) -> object:
    """The default as a value of a file; one that no file can write stands as it is, to be shown only."""
    if isinstance(default, tuple):
        return [_plain(item) for item in default]
    if is_module_class(default):
        return LayerName(default.__name__)  # type: ignore[attr-defined]
    if _is(type(default), "torch", "dtype"):
        return DTypeName(str(default).removeprefix("torch."))
    return default


_NAMES: Final[dict[Any, str]] = {
    type(None): "None",
    None: "None",
    int: "int",
    float: "float",
    bool: "bool",
    str: "str",
    dict: "dict",
    list: "list",
    tuple: "tuple[any, ...]",
}
_CLASSES: Final = (
    ("torch", "dtype", "dtype"),
    ("torch", "Tensor", "tensor"),
    ("torch", "Size", "tuple[int, ...]"),
)


def _spell(hint: Any) -> str:
    """An annotation in the language of `confnet.catalog.types`; `any` for what it cannot say."""
    try:
        if hint in _NAMES:
            return _NAMES[hint]
    except TypeError:
        return "any"
    if isinstance(hint, type) and typing.get_origin(hint) is None:
        return _spell_class(hint)
    origin, items = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _spell(items[0])
    if origin in (typing.Union, types.UnionType):
        return _joined([_spell(item) for item in items])
    if origin is typing.Literal:
        return _spell_literal(items)
    return _spell_generic(origin, items)


def _spell_class(cls: type) -> str:
    if is_module_class(cls):
        return "module"
    return next((name for module, qualname, name in _CLASSES if _is(cls, module, qualname)), "any")


def _spell_literal(items: tuple[Any, ...]) -> str:
    if not all(item is None or isinstance(item, str) for item in items):
        return "any"
    quoted = ["None" if item is None else "'" + item.replace("\\", "\\\\").replace("'", "\\'") + "'" for item in items]
    return _joined(quoted)


def _spell_generic(origin: Any, items: tuple[Any, ...]) -> str:
    if origin in (list, collections.abc.Sequence, collections.abc.Iterable):
        return f"list[{_spell(items[0])}]"
    if origin is tuple:
        return f"tuple[{', '.join('...' if item is ... else _spell(item) for item in items)}]" if items else "any"
    if origin in (dict, collections.abc.Mapping):
        return "dict"
    if origin is type and items and is_module_class(items[0]):
        return "layer"
    return "any"


def _joined(members: list[str]) -> str:
    return "any" if "any" in members else " | ".join(dict.fromkeys(members))
