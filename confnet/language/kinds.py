"""What the checker of the forward language knows of a value before anything runs: its kind.

A module may only be called, indexed or iterated (containers), compared with None, or read for what it declares;
the kinds are what keeps it from being stored, passed or asked for anything else (DESIGN 1.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from confnet.records import dataclass

__all__ = [
    "DICT",
    "DTYPE",
    "FLAG",
    "NONE",
    "NUMBER",
    "TENSOR",
    "TEXT",
    "UNKNOWN",
    "DictKind",
    "Kind",
    "ListKind",
    "ModuleKind",
    "Parameter",
    "PlainKind",
    "Signature",
    "TupleKind",
    "UnionKind",
]


@dataclass(frozen=True, slots=True)
class PlainKind:
    """A kind without parts. `unknown` is any value except a module: inputs, results of calls, items of those."""

    name: Literal["tensor", "number", "flag", "text", "none", "dict", "dtype", "unknown"]


TENSOR = PlainKind("tensor")
NUMBER = PlainKind("number")
FLAG = PlainKind("flag")
TEXT = PlainKind("text")
NONE = PlainKind("none")
DICT = PlainKind("dict")
DTYPE = PlainKind("dtype")
UNKNOWN = PlainKind("unknown")


@dataclass(frozen=True, slots=True)
class TupleKind:
    """A tuple whose items' kinds are known one by one."""

    items: tuple[Kind, ...]


@dataclass(frozen=True, slots=True)
class ListKind:
    """A list, range or other iterable whose items are all of one kind. Only an iterable that is consumed at once
    (`for`, a comprehension, `enumerate`, `zip`, `reversed`) may have modules for items: `lazy` marks those."""

    item: Kind
    lazy: bool = False


@dataclass(frozen=True, slots=True)
class DictKind:
    """A dict with text keys whose values are all of one kind."""

    value: Kind


@dataclass(frozen=True, slots=True)
class UnionKind:
    """One of several kinds: an item of a container at a computed index, the two arms of a ternary."""

    options: tuple[Kind, ...]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of something callable."""

    name: str
    required: bool = True
    positional: bool = True
    keyword: bool = True


@dataclass(frozen=True, slots=True)
class Signature:
    """How something may be called. `variadic` takes any further positional arguments, `keywords` any keyword.

    `changes` names the parameters whose tensor a call may change in place; `shares_state` says that the result may
    share memory with a parameter or buffer of the callee. Both come from the `CheckResult` of its body; `inferred`
    says that there was one, so that `changes` is complete.
    """

    parameters: tuple[Parameter, ...]
    variadic: bool = False
    keywords: bool = False
    result: Kind = UNKNOWN
    changes: frozenset[str] = frozenset()
    shares_state: bool = False
    inferred: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ModuleKind:
    """A module.

    `label` names its class in messages (`Conv2d`, `BasicBlock`). `call` is its forward, or None when it has none
    (a ModuleList, a composite without `forward`). `methods` are the declared methods of a definition. `members`
    are what may be read of it by attribute: children, parameters, buffers, args and constructor arguments.
    `container` says how it may be indexed and iterated; `items` are its children then, by key, in order (an item
    may be of kind `none` where its `when` was false). The kind of a tied or shared child is that of its target.
    """

    label: str
    call: Signature | None = None
    methods: Mapping[str, Signature] = field(default_factory=dict)
    members: Mapping[str, Kind] = field(default_factory=dict)
    container: Literal["", "list", "dict"] = ""
    items: Mapping[str, Kind] = field(default_factory=dict)


Kind = PlainKind | TupleKind | ListKind | DictKind | UnionKind | ModuleKind
