"""The classes of a model, made once in a process for the same text, and how their instances are pickled.

A class made while a program runs cannot be found by pickle under its name. An instance is pickled as its blueprint
(texts and args), the identity of its definition and its state; loading reads and checks the texts again.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from types import FunctionType
from typing import Any, cast

from torch import nn

from confnet.blueprint import Blueprint
from confnet.builder.code import function_of, show_lines
from confnet.builder.hooks import adopt
from confnet.catalog.registry import lookup
from confnet.plan import Definition, RulePlan

__all__ = ["BLUEPRINT", "blueprint_of", "class_of", "extend", "layer_class"]

BLUEPRINT = "_confnet_blueprint"
_IDENTITY = "_confnet_identity"

Identity = tuple[str, ...]
"""Of a class: the identity of its definition, or the name of its layer, then the places of the rules that gave it
further methods."""

_CLASSES: weakref.WeakValueDictionary[tuple[str, Identity], type[nn.Module]] = weakref.WeakValueDictionary()


def layer_class(name: str) -> type[nn.Module]:
    """The class of a layer of the catalog: of torch.nn, or registered by the caller."""
    if name == "Module":
        return nn.Module
    layer = lookup(name)
    if layer is not None and layer.cls is not None:
        return layer.cls
    return cast(type[nn.Module], getattr(nn, name))


def class_of(definition: Definition, blueprint: Blueprint) -> type[nn.Module]:
    """The class of a definition. The same text gives the same class, as long as it is in use."""

    def make() -> type[nn.Module]:
        functions = {
            method.name: function_of(
                blueprint.traced(method.code),
                method.name,
                definition.name,
                method.inputs,
                definition.constants,
                definition.members,
            )
            for method in definition.methods.values()
        }
        return _make(definition.name, layer_class(definition.base), functions, (definition.identity,), definition.description)

    return _cached(blueprint, (definition.identity,), make)


def extend(module: nn.Module, rule: RulePlan, blueprint: Blueprint) -> None:
    """Give one module the methods of a rule: its class becomes a subclass of the same name."""
    cls = type(module)
    module.__class__ = _extended(cls, rule, blueprint)
    if BLUEPRINT not in module.__dict__:
        setattr(module, BLUEPRINT, blueprint)


def _extended(cls: type[nn.Module], rule: RulePlan, blueprint: Blueprint) -> type[nn.Module]:
    identity: Identity = (*getattr(cls, _IDENTITY, (cls.__name__,)), str(rule.span))

    def make() -> type[nn.Module]:
        functions = {
            method.name: function_of(blueprint.traced(method.code), method.name, cls.__name__, method.inputs, ())
            for method in rule.methods.values()
        }
        return _make(cls.__name__, cls, functions, identity, "")

    return _cached(blueprint, identity, make)


def _cached(blueprint: Blueprint, identity: Identity, make: Callable[[], type[nn.Module]]) -> type[nn.Module]:
    key = (blueprint.digest, identity)
    made = _CLASSES.get(key)
    if made is None:
        show_lines(blueprint)
        made = _CLASSES[key] = make()
    return made


def _make(
    name: str, base: type[nn.Module], functions: dict[str, FunctionType], identity: Identity, description: str
) -> type[nn.Module]:
    namespace: dict[str, Any] = {
        "__module__": "confnet.models",
        "__qualname__": name,
        "__doc__": description or None,
        "__reduce_ex__": _reduce,
        "__setstate__": _set_state,
        _IDENTITY: identity,
        **functions,
    }
    return type(name, (base,), namespace)


def _reduce(self: nn.Module, protocol: int) -> tuple[Any, ...]:
    state: Any = cast(Any, self).__getstate__()
    return _restored, (self.__dict__[BLUEPRINT], getattr(type(self), _IDENTITY)), state


def _set_state(self: nn.Module, state: Any) -> None:
    cls = type(self)
    while "__setstate__" in cls.__dict__ and cls.__dict__["__setstate__"] is _set_state:
        cls = cls.__mro__[1]
    cls.__setstate__(self, state)  # type: ignore[attr-defined]
    adopt(self)


def _restored(blueprint: Blueprint, identity: Identity) -> nn.Module:
    """An instance without state, which pickle and deepcopy then give it. Raises ConfnetError for a text that does
    not pass the checks."""
    cls = _CLASSES.get((blueprint.digest, identity))
    if cls is None:
        first, *rules = identity
        cls = layer_class(first) if lookup(first) is not None else class_of(blueprint.definition(first), blueprint)
        for place in rules:
            cls = _extended(cls, blueprint.rule(place), blueprint)
    return cls.__new__(cls)


def blueprint_of(module: nn.Module) -> Blueprint | None:
    """Where a module made by confnet came from; None for any other module."""
    found = module.__dict__.get(BLUEPRINT)
    return found if isinstance(found, Blueprint) else None
