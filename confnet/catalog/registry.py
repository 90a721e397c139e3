"""What a caller adds to the catalog: layers and functions written in Python. A file can only name them.

@confnet.register
class MyLayer(torch.nn.Module): ...

@confnet.register(name="my_hook")
def hook(module, args, output): ...
"""

from __future__ import annotations

import importlib
import keyword
import re
from collections.abc import Callable
from dataclasses import field
from types import ModuleType
from typing import Any, Final, TypeVar, overload

from confnet.catalog.arguments import Callee
from confnet.catalog.initializers import initializer_names
from confnet.catalog.layers import NOT_LAYERS, Layer, torch_layers
from confnet.catalog.parametrizations import parametrization_names
from confnet.catalog.signatures import (
    arguments_of_callable,
    is_module_class,
    is_torch_module,
    signature_of_callable,
    takes_any,
)
from confnet.language.kinds import Signature
from confnet.records import dataclass

__all__ = [
    "DEFAULT_REGISTRY",
    "Function",
    "Registry",
    "applies",
    "hook",
    "initializer",
    "layer_names",
    "load_plugin",
    "lookup",
    "register",
]

_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., Any])
_LAYER_NAME: Final = re.compile(r"_*[A-Z][A-Za-z0-9_]*")
_FUNCTION_NAME: Final = re.compile(r"_?[A-Za-z][A-Za-z0-9_]*")
# Names that mean something else wherever a function can be named.
_TAKEN: Final = frozenset({"torch", "F", "nn", "math", "self", "value", "constant", "_"})


@dataclass(frozen=True, slots=True)
class Function:
    """A registered function: how code may call it, and its arguments where torch gives the first ones."""

    name: str
    call: Callable[..., Any]
    signature: Signature

    def after(self, count: int) -> Callee:
        """Its arguments less the first `count`: 1 for an initialiser (the tensor) or an `apply` call (the module)."""
        variadic, keywords = takes_any(self.call, count)
        return Callee(self.name, arguments_of_callable(self.call, count), variadic, keywords)


@dataclass(slots=True)
class Registry:
    """Layers and functions by name. One name means one object for good: nothing is overridden."""

    layers: dict[str, Layer] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    hooks: dict[str, Function] = field(default_factory=dict)
    initializers: dict[str, Function] = field(default_factory=dict)
    applies: dict[str, Function] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How much is registered. Nothing is ever taken back: what depends on it is out of date once this has grown."""
        functions = (self.functions, self.hooks, self.initializers, self.applies)
        return len(self.layers) + sum(len(table) for table in functions)

    @overload
    def register(self, obj: None = None, *, name: str | None = None) -> Callable[[_T], _T]: ...
    @overload
    def register(self, obj: _T, *, name: str | None = None) -> _T: ...
    def register(self, obj: object = None, *, name: str | None = None) -> object:
        """Add a subclass of `torch.nn.Module` or a function, under its own name or `name`; usable as a decorator.

        Registering the same object again changes nothing. Raises TypeError for any other object and for a
        signature that cannot be used, ValueError for a name that is no identifier or is taken.
        """
        if obj is None:
            return lambda later: self.register(later, name=name)
        if is_module_class(obj):
            self._add_layer(obj, name)  # type: ignore[arg-type]
        elif callable(obj) and not isinstance(obj, type):
            self._add_function(self.functions, obj, name)
        else:
            raise TypeError(f"`{obj!r}` is neither a subclass of `torch.nn.Module` nor a function")
        return obj

    def register_in(self, table: dict[str, Function], obj: object, name: str | None) -> object:
        """Add a function to one of the tables, as `register` does; usable as a decorator."""
        if obj is None:
            return lambda later: self.register_in(table, later, name)
        if not callable(obj) or isinstance(obj, type):
            raise TypeError(f"`{obj!r}` is not a function")
        self._add_function(table, obj, name)
        return obj

    def _add_layer(self, cls: type, name: str | None) -> None:
        name = cls.__name__ if name is None else name
        if not _LAYER_NAME.fullmatch(name):
            raise ValueError(
                f"`{name}` cannot name a layer: it must be an identifier that begins with a capital letter"
            )
        if name in torch_layers() or name in NOT_LAYERS:
            raise ValueError(f"`{name}` is a name of torch.nn: register `{cls.__name__}` under another `name`")
        known = self.layers.get(name)
        if known is not None and known.cls is not cls:
            raise ValueError(f"`{name}` is registered already, as another class: give this one another `name`")
        if known is None:
            self.layers[name] = layer_of_class(cls, name)

    def _add_function(self, table: dict[str, Function], function: Callable[..., Any], name: str | None) -> None:
        name = getattr(function, "__name__", None) if name is None else name
        if not isinstance(name, str) or not _FUNCTION_NAME.fullmatch(name) or keyword.iskeyword(name):
            raise ValueError(f"`{name}` cannot name a function: register it under a `name` that is an identifier")
        if name in _TAKEN or name in initializer_names() or name in parametrization_names():
            raise ValueError(f"`{name}` has a meaning in files already: register the function under another `name`")
        known = table.get(name)
        if known is not None and known.call is not function:
            raise ValueError(f"`{name}` is registered already, as another function: give this one another `name`")
        if known is None:
            table[name] = Function(name, function, signature_of_callable(function, 0))

    def lookup(self, name: str) -> Layer | None:
        """The layer called `name`, torch's or registered, or None."""
        return torch_layers().get(name) or self.layers.get(name)

    def layer_names(self) -> tuple[str, ...]:
        """Every layer that a file may name: torch's, then registered ones."""
        return (*torch_layers(), *self.layers)

    def function(self, name: str) -> Function | None:
        """The registered function called `name`, or None."""
        return self.functions.get(name)


DEFAULT_REGISTRY: Final = Registry()


def layer_of_class(cls: type, name: str) -> Layer:
    """A layer from its class. Raises TypeError if its constructor's signature cannot be used."""
    constructor, forward = cls.__init__, getattr(cls, "forward")  # type: ignore[misc]  # noqa: B009
    # Module's own constructor says `*args, **kwargs` and refuses all of them.
    bare = any(is_torch_module(base) and vars(base)["__init__"] is constructor for base in cls.__mro__)
    arguments, (variadic, keywords) = ((), (False, False)) if bare else _constructor(constructor)
    has_forward = getattr(forward, "__name__", "") != "_forward_unimplemented"
    return Layer(
        name=name,
        arguments=arguments,
        forward=signature_of_callable(forward, 1) if has_forward else Signature(()),
        has_forward=has_forward,
        bases=tuple(base.__name__ for base in cls.__mro__[1:] if _is_torch_layer(base)),
        summary=_first_paragraph(cls),
        cls=cls,
        variadic=variadic,
        keywords=keywords,
        opaque=True,
        withheld={"device": "the caller of `build` chooses the device; remove it"},
    )


def _constructor(constructor: Callable[..., Any]) -> tuple[tuple[Any, ...], tuple[bool, bool]]:
    return arguments_of_callable(constructor, 1), takes_any(constructor, 1)


def _is_torch_layer(cls: type) -> bool:
    return cls.__module__.startswith("torch.nn.modules.") and cls.__name__ in torch_layers()


def _first_paragraph(cls: type) -> str:
    text = vars(cls).get("__doc__") or ""
    return " ".join(text.strip().split("\n\n")[0].split())


@overload
def register(obj: None = None, *, name: str | None = None) -> Callable[[_T], _T]: ...
@overload
def register(obj: _T, *, name: str | None = None) -> _T: ...
def register(obj: object = None, *, name: str | None = None) -> object:
    """Add a layer or function to what every file of this process may name; see `Registry.register`."""
    return DEFAULT_REGISTRY.register(obj, name=name)


@overload
def hook(function: None = None, *, name: str | None = None) -> Callable[[_F], _F]: ...
@overload
def hook(function: _F, *, name: str | None = None) -> _F: ...
def hook(function: object = None, *, name: str | None = None) -> object:
    """Register a hook: `fn(*what torch gives a hook of its kind, **arguments of the file)`. Usable as a decorator."""
    return DEFAULT_REGISTRY.register_in(DEFAULT_REGISTRY.hooks, function, name)


@overload
def initializer(function: None = None, *, name: str | None = None) -> Callable[[_F], _F]: ...
@overload
def initializer(function: _F, *, name: str | None = None) -> _F: ...
def initializer(function: object = None, *, name: str | None = None) -> object:
    """Register an initialiser: `fn(tensor, **arguments of the file)` fills the tensor. Usable as a decorator."""
    return DEFAULT_REGISTRY.register_in(DEFAULT_REGISTRY.initializers, function, name)


@overload
def applies(function: None = None, *, name: str | None = None) -> Callable[[_F], _F]: ...
@overload
def applies(function: _F, *, name: str | None = None) -> _F: ...
def applies(function: object = None, *, name: str | None = None) -> object:
    """Register a function for `call` in a rule: `fn(module, **arguments of the file)`. Usable as a decorator."""
    return DEFAULT_REGISTRY.register_in(DEFAULT_REGISTRY.applies, function, name)


def lookup(name: str, registry: Registry = DEFAULT_REGISTRY) -> Layer | None:
    """The layer called `name`, torch's or registered, or None."""
    return registry.lookup(name)


def layer_names(registry: Registry = DEFAULT_REGISTRY) -> tuple[str, ...]:
    """Every layer that a file may name."""
    return registry.layer_names()


def load_plugin(name: str) -> ModuleType:
    """Import the Python module `name`, so that what it registers is known. Only a caller does this, never a file.

    Raises ValueError for text that is no dotted name, ImportError if there is no such module; whatever the module
    itself raises comes through as it is.
    """
    if not all(part.isidentifier() and not keyword.iskeyword(part) for part in name.split(".")):
        raise ValueError(f"`{name}` is not the dotted name of a Python module")
    return importlib.import_module(name)
