"""The classes of a model, made once in a process for the same text, and how their instances are pickled.

A class made while a program runs cannot be found by pickle under its name. An instance is pickled as its blueprint
(texts and args), the identity of its definition and its state; loading reads and checks the texts again.
"""

from __future__ import annotations

import copy
import threading
import weakref
from collections.abc import Callable
from types import FunctionType
from typing import Any, cast

from torch import nn
from torch.nn.utils import parametrize

from confnet.blueprint import Blueprint
from confnet.builder.code import function_of, show_lines
from confnet.builder.hooks import adopt, retie, ties_in_force
from confnet.builder.meta import buffers_without_values, compute_again
from confnet.builder.origins import ORIGINS
from confnet.catalog.registry import lookup
from confnet.display import shown
from confnet.plan import Definition, RulePlan

__all__ = ["BLUEPRINT", "blueprint_of", "class_of", "extend", "layer_class"]

BLUEPRINT = "_confnet_blueprint"
_IDENTITY = "_confnet_identity"

Identity = tuple[str, ...]
"""Of a class: the identity of its definition, or the dotted name of another class, then the places of the rules that
gave it further methods."""

_CLASSES: weakref.WeakValueDictionary[tuple[str, Identity], type[nn.Module]] = weakref.WeakValueDictionary()
_MAKING = threading.Lock()  # two threads that build the same text get the same class


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
                guard=blueprint.guarded,
            )
            for method in definition.methods.values()
        }
        return _make(
            definition.name, layer_class(definition.base), functions, (definition.identity,), definition.description
        )

    return _cached(blueprint, (definition.identity,), make)


def extend(module: nn.Module, rule: RulePlan, blueprint: Blueprint) -> None:
    """Give one module the methods of a rule: its class becomes a subclass of the same name."""
    cls = type(module)
    if parametrize.is_parametrized(module):  # torch gave it a class of its own, which no other module may share
        module.__class__ = _with_methods(cls, rule, blueprint)
    else:
        module.__class__ = _extended(cls, rule, blueprint)
    if BLUEPRINT not in module.__dict__:
        setattr(module, BLUEPRINT, blueprint)


def _extended(cls: type[nn.Module], rule: RulePlan, blueprint: Blueprint) -> type[nn.Module]:
    return _cached(blueprint, _identity_with(cls, rule), lambda: _with_methods(cls, rule, blueprint))


def _with_methods(cls: type[nn.Module], rule: RulePlan, blueprint: Blueprint) -> type[nn.Module]:
    functions = {
        method.name: function_of(
            blueprint.traced(method.code), method.name, cls.__name__, method.inputs, (), guard=blueprint.guarded
        )
        for method in rule.methods.values()
    }
    return _make(cls.__name__, cls, functions, _identity_with(cls, rule), "")


def _identity_with(cls: type[nn.Module], rule: RulePlan) -> Identity:
    return (*getattr(cls, _IDENTITY, (f"{cls.__module__}.{cls.__qualname__}",)), str(rule.span))


def _cached(blueprint: Blueprint, identity: Identity, make: Callable[[], type[nn.Module]]) -> type[nn.Module]:
    key = (blueprint.digest, identity)
    with _MAKING:
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
        "_apply": _apply,
        "_repr_html_": _repr_html,
        _IDENTITY: identity,
        **functions,
    }
    if not hasattr(base, "__deepcopy__"):
        namespace["__deepcopy__"] = _deep_copy
    return type(name, (base,), namespace)


def _reduce(self: nn.Module, protocol: int) -> tuple[Any, ...]:
    state: Any = cast(Any, self).__getstate__()
    native = next(cls for cls in type(self).__mro__ if _IDENTITY not in cls.__dict__)
    return _restored, (self.__dict__[BLUEPRINT], getattr(type(self), _IDENTITY), native), state


def _set_state(self: nn.Module, state: Any) -> None:
    _inherited(type(self), "__setstate__", _set_state)(self, state)
    adopt(self)


def _repr_html(self: nn.Module) -> str | None:
    """What a notebook shows of the root of a model; of a part of one it shows the text."""
    return shown("model", self) if ORIGINS in self.__dict__ else None


def _apply(self: nn.Module, fn: Callable[[Any], Any], recurse: bool = True) -> nn.Module:
    """As torch's, which makes new parameters and buffers where it cannot convert the old ones: on a move from meta."""
    without, ties = buffers_without_values(self), ties_in_force(self)
    _inherited(type(self), "_apply", _apply)(self, fn, recurse)
    retie(self, ties)
    compute_again(self, without)
    return self


def _deep_copy(self: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """As deepcopy does without this method; torch's own for parametrized modules would know nothing of hooks."""
    made = type(self).__new__(type(self))
    memo[id(self)] = made
    if parametrize.is_parametrized(self):
        made.__dict__ = copy.deepcopy(self.__dict__, memo)
        adopt(made)
    else:
        made.__setstate__(copy.deepcopy(cast(Any, self).__getstate__(), memo))
    return made


def _inherited(cls: type[nn.Module], name: str, own: Callable[..., Any]) -> Any:
    """What the class that confnet's classes derive from says under a name."""
    return next(getattr(base, name) for base in cls.__mro__ if getattr(base, name, own) is not own)


def _restored(blueprint: Blueprint, identity: Identity, native: type[nn.Module]) -> nn.Module:
    """An instance without state, which pickle then gives it; `native` is the class that confnet's derive from.

    Raises ConfnetError for a text that does not pass the checks.
    """
    cls = _CLASSES.get((blueprint.digest, identity))
    if cls is None:
        first, *rules = identity
        cls = class_of(blueprint.definition(first), blueprint) if ":" in first else native
        for place in rules:
            cls = _extended(cls, blueprint.rule(place), blueprint)
    return cls.__new__(cls)


def blueprint_of(module: nn.Module) -> Blueprint | None:
    """Where a module made by confnet came from; None for any other module."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"a module is expected, not {type(module).__name__}")
    found = module.__dict__.get(BLUEPRINT)
    return found if isinstance(found, Blueprint) else None
