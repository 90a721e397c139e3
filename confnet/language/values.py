"""Abstract values: what the checker knows of a value before anything runs.

Beside its kind, a value carries labels: what it may share memory with. They are what keeps an in-place operation
from reaching a parameter through a view, a list or a conditional.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Literal, NamedTuple

from confnet.catalog.types import UNKNOWN_VALUE
from confnet.language.kinds import (
    DICT,
    DTYPE,
    FLAG,
    NONE,
    NUMBER,
    TENSOR,
    TEXT,
    UNKNOWN,
    DictKind,
    Kind,
    ListKind,
    ModuleKind,
    PlainKind,
    TupleKind,
    UnionKind,
)
from confnet.plan import DTypeName, LayerName
from confnet.records import dataclass

__all__ = [
    "BROKEN",
    "HEAP",
    "PRESENT",
    "UNSETTLED",
    "Label",
    "Labels",
    "Value",
    "an",
    "constant",
    "describe",
    "flat",
    "has_inplace",
    "holds_module",
    "join",
    "join_kinds",
    "modules_of",
    "options",
    "plain",
    "surely_tensor",
    "tuple_kind",
    "widen",
]

MAX_TUPLE = 16
MAX_OPTIONS = 8
MAX_TUPLE_NESTING = 4
MAX_PARTS = 64


class Label(NamedTuple):
    """Something that a value may share memory with. `list` is a list made in the body, `heap` whatever was put
    into one."""

    role: Literal["parameter", "buffer", "child", "constant", "input", "list", "heap"]
    name: str


Labels = frozenset[Label]
HEAP = Label("heap", "")
CLEAN: Labels = frozenset()


class _Sentinel:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


UNSETTLED = _Sentinel("UNSETTLED")  # known only when the body runs
PRESENT = _Sentinel("PRESENT")  # not None, whatever it is


@dataclass(frozen=True, slots=True)
class Value:
    """One abstract value.

    `own` are the labels of the value itself, `inside` those of what it holds. `static` is its value if it is settled
    before the body runs. `symbolic` numbers come from the shape of a tensor. `fresh` lists were made in the body.
    `maybe` marks a local that some path leaves unassigned. `nonempty` says that iteration gives at least one item.
    `broken` marks the value of something that was reported already, about which nothing more is said.
    """

    kind: Kind
    own: Labels = CLEAN
    inside: Labels = CLEAN
    static: object = UNSETTLED
    symbolic: bool = False
    fresh: bool = False
    maybe: bool = False
    nonempty: bool = False
    broken: bool = False

    @property
    def labels(self) -> Labels:
        """Everything that this value may share memory with, itself or through what it holds."""
        return self.own | self.inside

    def local(self) -> Value:
        """The value as a local keeps it: names carry no settled values but None."""
        return replace(self, static=None if self.kind == NONE else UNSETTLED, maybe=False)


BROKEN = Value(UNKNOWN, broken=True)


# --- kinds -----------------------------------------------------------------------------------------


def options(kind: Kind) -> Iterator[Kind]:
    """The kinds that a value may be of, unions taken apart."""
    if isinstance(kind, UnionKind):
        for option in kind.options:
            yield from options(option)
    else:
        yield kind


def modules_of(kind: Kind) -> list[ModuleKind]:
    """The modules that a value may be."""
    return [option for option in options(kind) if isinstance(option, ModuleKind)]


def holds_module(kind: Kind) -> bool:
    """Whether a value is a module, or an iterable of modules that must be consumed at once."""
    match kind:
        case ModuleKind():
            return True
        case UnionKind(options=parts) | TupleKind(items=parts):
            return any(holds_module(part) for part in parts)
        case ListKind(item=item):
            return holds_module(item)
        case DictKind(value=item):
            return holds_module(item)
    return False


def join_kinds(kinds: Iterable[Kind]) -> Kind:
    """The kind of a value that is of one of several kinds."""
    found: dict[object, Kind] = {}
    for kind in kinds:
        for option in options(kind):
            found.setdefault(id(option) if isinstance(option, ModuleKind) else option, option)
    if UNKNOWN in found or len(found) - sum(isinstance(k, ModuleKind) for k in found.values()) > MAX_OPTIONS:
        found.setdefault(UNKNOWN, UNKNOWN)
    if UNKNOWN in found:  # it stands for every kind but modules; None is worth remembering
        kept = [k for k in found.values() if holds_module(k) or k in (UNKNOWN, NONE)]
    else:
        kept = list(found.values())
    if not kept:
        return UNKNOWN
    return kept[0] if len(kept) == 1 else UnionKind(tuple(kept))


def _nesting(kind: Kind) -> int:
    match kind:
        case TupleKind(items=parts) | UnionKind(options=parts):
            return 1 + max(map(_nesting, parts), default=0)
        case ListKind(item=item):
            return 1 + _nesting(item)
        case DictKind(value=item):
            return 1 + _nesting(item)
    return 0


def _size(kind: Kind) -> int:
    match kind:
        case TupleKind(items=parts) | UnionKind(options=parts):
            return 1 + sum(map(_size, parts))
        case ListKind(item=item):
            return 1 + _size(item)
        case DictKind(value=item):
            return 1 + _size(item)
    return 1


def flat(kind: Kind) -> Kind:
    """`kind`, or `unknown` where it is so deep or large that comparing kinds would take long."""
    small = _nesting(kind) < MAX_TUPLE_NESTING and _size(kind) <= MAX_PARTS
    return kind if small or holds_module(kind) else UNKNOWN


def tuple_kind(items: Iterable[Kind]) -> Kind:
    """The kind of a tuple of the given items, kept small."""
    parts = tuple(flat(item) for item in items)
    return TupleKind(parts) if len(parts) <= MAX_TUPLE else flat(ListKind(join_kinds(parts)))


SPELT_WITH_VOWEL = re.compile(r"[aeioAEIO]|[uU](?!n[iI]|[A-Z])|[FHLMNRSX](?=[A-Z])(?![A-Z]*[AEIOU])")


def an(name: str) -> str:
    """A name with its article, by its sound as far as spelling tells: "a `Conv2d`", "an `LSTM`"."""
    return f"an `{name}`" if SPELT_WITH_VOWEL.match(name) else f"a `{name}`"


def describe(kind: Kind) -> str:
    """A kind in a word or two for messages."""
    match kind:
        case ModuleKind(label=label):
            return f"{an(label)} module"
        case PlainKind(name=name):
            words = {"none": "None", "unknown": "a value", "text": "text"}
            return words.get(name, f"a {name}")
        case TupleKind():
            return "a tuple"
        case ListKind():
            return "a list"
        case DictKind():
            return "a dict"
        case UnionKind(options=parts):
            return " or ".join(dict.fromkeys(map(describe, parts)))
    raise AssertionError(kind)


# --- values ----------------------------------------------------------------------------------------


def join(values: Iterable[Value]) -> Value:
    """The value that is one of several; there must be at least one."""
    parts = list(values)
    first = parts[0]
    same = all(type(v.static) is type(first.static) and v.static == first.static for v in parts)
    return Value(
        join_kinds(v.kind for v in parts),
        frozenset().union(*(v.own for v in parts)),
        frozenset().union(*(v.inside for v in parts)),
        first.static if same else UNSETTLED,
        any(v.symbolic for v in parts),
        all(v.fresh for v in parts),
        any(v.maybe for v in parts),
        all(v.nonempty for v in parts),
        any(v.broken for v in parts),
    )


def widen(value: Value) -> Value:
    """The same value with a kind that can hardly change any more: `unknown`, None, and the modules that it may be."""
    none = [NONE] if NONE in options(value.kind) else []
    return replace(value, kind=join_kinds([*modules_of(value.kind), UNKNOWN, *none]), static=UNSETTLED, nonempty=False)


def constant(name: str, value: object) -> Value:
    """The abstract value of an arg or `let`: it is settled, and nothing in it may be changed."""
    if value is UNKNOWN_VALUE:  # it could not be computed, which was reported
        return BROKEN
    kind = _constant_kind(value)
    mutable = isinstance(value, list | dict | tuple)
    labels: Labels = frozenset({Label("constant", name)}) if mutable else CLEAN
    nonempty = isinstance(value, list | dict | tuple | range) and len(value) > 0
    return Value(kind, labels, labels, value, nonempty=nonempty)


def _constant_kind(value: object) -> Kind:
    match value:
        case None:
            return NONE
        case bool():
            return FLAG
        case int() | float():
            return NUMBER
        case str() | LayerName():
            return TEXT
        case DTypeName():
            return DTYPE
        case tuple():
            return tuple_kind(_constant_kind(item) for item in value)
        case list() | range():
            return flat(ListKind(join_kinds(_constant_kind(item) for item in value)))
        case Mapping():
            return flat(DictKind(join_kinds(_constant_kind(item) for item in value.values()))) if value else DICT
        case _:
            return ModuleKind("module argument")


def plain(kind: Kind) -> bool:
    """Whether values of this kind hold no memory that could be changed."""
    return all(option in (NUMBER, FLAG, TEXT, NONE, DTYPE) for option in options(kind))


def surely_tensor(kind: Kind) -> bool:
    """Whether a value is a tensor on every path."""
    return all(option == TENSOR for option in options(kind))


def has_inplace(kind: ModuleKind) -> bool:
    """Whether a call of a module may change what it is given: it, or a module that it runs, has the constructor
    argument `inplace`. Of a composite its code tells, whatever it holds."""
    stack: list[Kind] = [kind]
    seen: set[int] = set()
    while stack:
        module = stack.pop()
        if not isinstance(module, ModuleKind) or id(module) in seen:
            continue
        seen.add(id(module))
        call = module.call
        if call is not None and call.changes:
            return True
        if call is not None and call.inferred:
            continue
        if "inplace" in module.members:
            return True
        stack.extend([*module.items.values(), *module.members.values()])
    return False
