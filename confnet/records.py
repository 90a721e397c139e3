"""`dataclass`, made in a tenth of the time.

confnet's stages hand each other a hundred kinds of small records. The standard decorator compiles six methods
for each of them when its module is imported: a third of what a command needs to start. Here the methods are shared,
and `__init__`, the one worth compiling, is compiled when the first instance is made. Type checkers see the standard
decorator.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from dataclasses import dataclass

__all__ = ["dataclass"]

_T = TypeVar("_T")


def _record(*, frozen: bool = False, slots: bool = False, eq: bool = True) -> Callable[[type[_T]], type[_T]]:
    """As `dataclasses.dataclass`."""

    def decorate(cls: type[_T]) -> type[_T]:
        made = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots)(cls)
        fields = dataclasses.fields(made)  # type: ignore[arg-type]
        names = frozenset(field.name for field in fields)
        methods: dict[str, Any] = {"__init__": _first_init(made, frozen=frozen, slots=slots), "__repr__": _repr}
        if frozen:
            methods["__setattr__"] = _refusing("assign to", made, names)
            methods["__delattr__"] = _refusing("delete", made, names)
        if frozen and slots:
            methods.update(__getstate__=_getstate, __setstate__=_setstate)
        if eq:
            values = _values_of([field.name for field in fields if field.compare])
            methods["__eq__"] = _equal(values)
            methods["__hash__"] = (lambda self: hash(values(self))) if frozen else None
        for name, method in methods.items():
            if name not in cls.__dict__ or (name == "__hash__" and cls.__dict__[name] is None):
                setattr(made, name, method)
        return made

    return decorate


if not TYPE_CHECKING:
    dataclass = _record


# --- the methods --------------------------------------------------------------------------------------------------


def _first_init(cls: Any, *, frozen: bool, slots: bool) -> Callable[..., None]:
    """Stands for `__init__` until the first instance is made."""

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        cls.__init__ = _init_of(cls, frozen=frozen, slots=slots)
        cls.__init__(self, *args, **kwargs)

    return __init__


def _init_of(cls: type, *, frozen: bool, slots: bool) -> Callable[..., None]:
    """Sets each slot by its descriptor, or writes past the class, where it refuses to be changed."""
    names: dict[str, Any] = {"_set": object.__setattr__}
    by_slot = frozen and slots
    pattern = " _set_{0}(self, {1})" if by_slot else " _set(self, {0!r}, {1})" if frozen else " self.{0} = {1}"
    takes, body = ["self"], []
    for field in dataclasses.fields(cls):
        name, value = field.name, field.name
        names.update({f"_set_{name}": getattr(cls, name).__set__} if by_slot else {})
        if field.default_factory is not MISSING:
            names[f"_make_{name}"], names["_missing"] = field.default_factory, MISSING
            value = f"_make_{name}() if {name} is _missing else {name}" if field.init else f"_make_{name}()"
            takes.extend([f"{name}=_missing"] if field.init else [])
        elif field.default is not MISSING:
            names[f"_default_{name}"] = field.default
            value = name if field.init else f"_default_{name}"
            takes.extend([f"{name}=_default_{name}"] if field.init else [])
        else:
            takes.append(name)
        body.append(pattern.format(name, value))
    if hasattr(cls, "__post_init__"):
        body.append(" self.__post_init__()")
    exec(f"def __init__({', '.join(takes)}):\n" + ("\n".join(body) or " pass"), names)
    made: Callable[..., None] = names["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


@recursive_repr()
def _repr(self: Any) -> str:
    shown = (f"{f.name}={getattr(self, f.name)!r}" for f in dataclasses.fields(self) if f.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _values_of(names: list[str]) -> Callable[[Any], Any]:
    """What two records are compared by."""
    if len(names) > 1:
        return attrgetter(*names)
    return (lambda self: (getattr(self, names[0]),)) if names else (lambda self: ())


def _equal(values: Callable[[Any], Any]) -> Callable[[Any, object], bool]:
    def __eq__(self: Any, other: object) -> bool:
        return bool(values(self) == values(other)) if other.__class__ is self.__class__ else NotImplemented

    return __eq__


def _refusing(verb: str, cls: Any, names: frozenset[str]) -> Callable[..., None]:
    def refuse(self: Any, name: str, *value: Any) -> None:
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot {verb} field {name!r}")
        (super(cls, self).__setattr__ if value else super(cls, self).__delattr__)(name, *value)  # of a subclass

    return refuse


def _getstate(self: Any) -> list[Any]:
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def _setstate(self: Any, state: list[Any]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)
