"""The classes of a model, made once in a process for the same text, and how their instances are pickled.

A class made while a program runs cannot be found by pickle under its name. An instance is pickled as its blueprint
(texts and args), the identity of its definition and its state; loading reads and checks the texts again.
"""

from __future__ import annotations

import weakref
from typing import Any, cast

import torch.nn

from confnet.blueprint import Blueprint
from confnet.build.code import function_of, show_lines
from confnet.catalog.registry import lookup
from confnet.plan import Definition

__all__ = ["BLUEPRINT", "blueprint_of", "class_of", "layer_class"]

BLUEPRINT = "_confnet_blueprint"
_IDENTITY = "_confnet_identity"

_CLASSES: weakref.WeakValueDictionary[tuple[str, str], type[torch.nn.Module]] = weakref.WeakValueDictionary()


def layer_class(name: str) -> type[torch.nn.Module]:
    """The class of a layer of the catalog: of torch.nn, or registered by the caller."""
    if name == "Module":
        return torch.nn.Module
    layer = lookup(name)
    if layer is not None and layer.cls is not None:
        return layer.cls
    return cast(type[torch.nn.Module], getattr(torch.nn, name))


def class_of(definition: Definition, blueprint: Blueprint) -> type[torch.nn.Module]:
    """The class of a definition. The same text gives the same class, as long as it is in use."""
    key = (blueprint.digest, definition.identity)
    made = _CLASSES.get(key)
    if made is None:
        show_lines(dict(blueprint.texts))
        made = _CLASSES[key] = _make(definition)
    return made


def _make(definition: Definition) -> type[torch.nn.Module]:
    namespace: dict[str, Any] = {
        "__module__": "confnet.models",
        "__qualname__": definition.name,
        "__doc__": definition.description or None,
        "__reduce_ex__": _reduce,
        _IDENTITY: definition.identity,
    }
    for method in definition.methods.values():
        namespace[method.name] = function_of(method.code, method.name, method.inputs, definition)
    return type(definition.name, (layer_class(definition.base),), namespace)


def _reduce(self: torch.nn.Module, protocol: int) -> tuple[Any, ...]:
    state: Any = cast(Any, self).__getstate__()
    return _restore, (self.__dict__[BLUEPRINT], getattr(type(self), _IDENTITY)), state


def _restore(blueprint: Blueprint, identity: str) -> torch.nn.Module:
    """An instance without state, which pickle and deepcopy then give it. Raises ConfnetError for a text that does
    not pass the checks."""
    cls = _CLASSES.get((blueprint.digest, identity))
    if cls is None:
        cls = class_of(blueprint.definition(identity), blueprint)
    return cls.__new__(cls)


def blueprint_of(module: torch.nn.Module) -> Blueprint | None:
    """Where a module made by confnet came from; None for any other module."""
    found = module.__dict__.get(BLUEPRINT)
    return found if isinstance(found, Blueprint) else None
