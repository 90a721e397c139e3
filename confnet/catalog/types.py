"""The types of arguments: a small language of text (`int | tuple[int, int] | 'same'`) and what values belong to it.

    type   := member ("|" member)*
    member := None | int | float | bool | str | dtype | any | dict | layer | module | tensor | list
            | list[type] | tuple[type, ...] | tuple[type] | tuple[type, type] and so on | 'a text, literally'

It serves torch's layers, registered Python and the `args` of definitions alike. `tuple[int, ...]` spells three
dots literally and takes any number of items; every tuple is written as a list in a file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Final

from confnet.plan import DTypeName, LayerName, ModulePlan
from confnet.records import dataclass

__all__ = ["DTYPES", "MISMATCH", "UNKNOWN_VALUE", "Member", "TensorLiteral", "Type", "Unknown", "show"]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that is not known because its place has been reported already: it belongs to every type."""


UNKNOWN_VALUE: Final = Unknown()


@dataclass(frozen=True, slots=True)
class TensorLiteral:
    """Numbers that become a float tensor: nested tuples of one shape."""

    data: tuple[object, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Mismatch:
    """The outcome of a conversion that is not possible."""


MISMATCH: Final = _Mismatch()

_ALIASES: Final[Mapping[str, str]] = {
    "half": "float16",
    "float": "float32",
    "double": "float64",
    "chalf": "complex32",
    "cfloat": "complex64",
    "cdouble": "complex128",
    "short": "int16",
    "int": "int32",
    "long": "int64",
}

# torch's dtypes by their canonical names, and the aliases that torch itself has for some of them.
DTYPES: Final[Mapping[str, str]] = {
    **{
        name: name
        for name in (
            "bfloat16", "bool", "complex128", "complex32", "complex64", "float16", "float32", "float64",
            "float4_e2m1fn_x2", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz",
            "float8_e8m0fnu", "int16", "int32", "int64", "int8", "uint16", "uint32", "uint64", "uint8",
        )
    },
    **_ALIASES,
}  # fmt: skip

_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "None": ("null", "null"),
    "int": ("an integer", "integers"),
    "float": ("a number", "numbers"),
    "bool": ("true or false", "booleans"),
    "str": ("a text", "texts"),
    "dtype": ("a dtype", "dtypes"),
    "any": ("any value", "values"),
    "dict": ("a mapping", "mappings"),
    "layer": ("the name of a layer", "names of layers"),
    "module": ("a module", "modules"),
    "tensor": ("a list of numbers", "lists of numbers"),
    "list": ("a list", "lists"),
}
_COUNTS: Final = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
_LAYER_NAME: Final = re.compile(r"_*[A-Z][A-Za-z0-9_]*")
_TOKEN: Final = re.compile(r"\s*(?:('(?:[^'\\]|\\.)*')|(\.\.\.)|([A-Za-z]+)|([|,\[\]]))")


@dataclass(frozen=True, slots=True)
class Member:
    """One alternative of a type. `items` are the types inside brackets; `open` marks any number of the same item;
    a `literal` is one text, in `text`."""

    name: str
    items: tuple[Type, ...] = ()
    open: bool = False
    text: str = ""

    def describe(self) -> str:
        """In words: "a pair of integers"."""
        if self.name == "literal":
            return f"`{self.text}`"
        if not self.items:
            return _WORDS[self.name][0]
        if self.open or self.name == "list":
            return f"a list of {self.items[0].plural()}"
        if len(set(self.items)) > 1:
            return f"a list of {len(self.items)} items ({', '.join(item.describe() for item in self.items)})"
        if len(self.items) == 1:
            return f"a list of one item, {self.items[0].describe()}"
        if len(self.items) == 2:
            return f"a pair of {self.items[0].plural()}"
        return f"a list of {_COUNTS.get(len(self.items), len(self.items))} {self.items[0].plural()}"

    def plural(self) -> str:
        """Several of them, in words: "integers"."""
        if self.name == "literal" or self.items:
            return self.describe()
        return _WORDS[self.name][1]


@dataclass(frozen=True, slots=True)
class Type:
    """A parsed type: its members, in the order written."""

    members: tuple[Member, ...]

    @staticmethod
    def parse(text: str) -> Type:
        """The type that `text` spells. Raises ValueError for text outside the grammar."""
        return _parse(text)

    def accepts(self, value: object) -> bool:
        """Whether `value` belongs to the type, as it is or after `coerce`."""
        return self.coerce(value) is not MISMATCH

    def coerce(self, value: object) -> object:
        """`value` as torch wants it, or MISMATCH: lists become tuples, an integer where a number belongs becomes
        a float, text that names a dtype a `DTypeName`. A bool is no integer, a whole float no integer, text no number.
        """
        if value is UNKNOWN_VALUE:
            return value
        for member in self.members:  # an exact member first, so that `int | float` leaves an integer alone
            if _exact(member, value):
                return value
        for member in self.members:
            converted = _convert(member, value)
            if converted is not MISMATCH:
                return converted
        return MISMATCH

    def describe(self) -> str:
        """In words, for messages: "an integer or a pair of integers"."""
        words = list(dict.fromkeys(member.describe() for member in self.members))
        return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"

    def plural(self) -> str:
        """Several of them, in words."""
        return " or ".join(dict.fromkeys(member.plural() for member in self.members))

    @property
    def literals(self) -> tuple[str, ...]:
        """The texts that the type names one by one."""
        return tuple(member.text for member in self.members if member.name == "literal")

    @property
    def nullable(self) -> bool:
        """Whether null belongs to the type."""
        return self.has("None") or self.has("any")

    @property
    def takes_module(self) -> bool:
        """Whether a module belongs to the type, by itself or in a list."""
        return any(
            member.name == "module" or any(item.takes_module for item in member.items) for member in self.members
        )

    def has(self, name: str) -> bool:
        """Whether a member of that name stands at the top of the type."""
        return any(member.name == name for member in self.members)

    def __str__(self) -> str:
        return " | ".join(_spell(member) for member in self.members)


def _spell(member: Member) -> str:
    if member.name == "literal":
        return "'" + member.text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if not member.items:
        return member.name
    inner = ", ".join(str(item) for item in member.items)
    return f"{member.name}[{inner}{', ...' if member.open else ''}]"


# --- reading the grammar ------------------------------------------------------------------------------------------


def _tokens(text: str) -> Iterator[str]:
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"`{text}` is not a type: `{text[at:]}` is not understood")
        at = match.end()
        yield match.group().strip()


@lru_cache(maxsize=4096)
def _parse(text: str) -> Type:
    tokens = list(_tokens(text))
    try:
        found, at = _parse_type(tokens, 0)
    except (IndexError, KeyError) as error:
        raise ValueError(f"`{text}` is not a type") from error
    if at != len(tokens):
        raise ValueError(f"`{text}` is not a type: `{tokens[at]}` is not expected")
    return found


def _parse_type(tokens: list[str], at: int) -> tuple[Type, int]:
    members: list[Member] = []
    while True:
        member, at = _parse_member(tokens, at)
        if member not in members:
            members.append(member)
        if at >= len(tokens) or tokens[at] != "|":
            return Type(tuple(members)), at
        at += 1


def _parse_member(tokens: list[str], at: int) -> tuple[Member, int]:
    token = tokens[at]
    at += 1
    if token.startswith("'"):
        return Member("literal", text=re.sub(r"\\(.)", r"\1", token[1:-1])), at
    if token == "tuple" or (token == "list" and at < len(tokens) and tokens[at] == "["):
        return _parse_items(token, tokens, at)
    _WORDS[token]  # KeyError for a word that names no type
    return Member(token), at


def _parse_items(name: str, tokens: list[str], at: int) -> tuple[Member, int]:
    items: list[Type] = []
    while tokens[at] in ("[", ","):
        at += 1
        if tokens[at] == "..." and name == "tuple" and len(items) == 1 and tokens[at + 1] == "]":
            return Member(name, tuple(items), open=True), at + 2
        item, at = _parse_type(tokens, at)
        items.append(item)
    if tokens[at] != "]" or not items or (name == "list" and len(items) != 1):
        raise KeyError(name)
    return Member(name, tuple(items)), at + 1


# --- values -------------------------------------------------------------------------------------------------------


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_EXACT: Final[Mapping[str, Callable[[object], bool]]] = {
    "None": lambda value: value is None,
    "int": _is_int,
    "float": lambda value: isinstance(value, float),
    "bool": lambda value: isinstance(value, bool),
    "str": lambda value: isinstance(value, str),
    "dtype": lambda value: isinstance(value, DTypeName) and value.name in DTYPES,
    "any": lambda value: True,
    "dict": lambda value: isinstance(value, dict),
    "layer": lambda value: isinstance(value, LayerName),
    "module": lambda value: isinstance(value, ModulePlan),
    "tensor": lambda value: isinstance(value, TensorLiteral),
    "list": lambda value: isinstance(value, list),
}


def _exact(member: Member, value: object) -> bool:
    if member.name == "literal":
        return isinstance(value, str) and value == member.text
    return not member.items and _EXACT[member.name](value)


def _convert(member: Member, value: object) -> object:
    if member.items:
        return _convert_items(member, value)
    if member.name == "float" and _is_int(value):
        try:
            return float(value)  # type: ignore[arg-type]
        except OverflowError:
            return MISMATCH
    if member.name == "dtype" and isinstance(value, str):
        name = DTYPES.get(value.removeprefix("torch."))
        return DTypeName(name) if name else MISMATCH
    if member.name == "layer" and isinstance(value, str) and _LAYER_NAME.fullmatch(value):
        return LayerName(value)
    if member.name == "tensor" and isinstance(value, list | tuple):
        return _tensor(value)
    if member.name == "list" and isinstance(value, tuple):
        return list(value)
    return MISMATCH


def _convert_items(member: Member, value: object) -> object:
    if not isinstance(value, list | tuple):
        return MISMATCH
    many = member.open or member.name == "list"
    if not many and len(value) != len(member.items):
        return MISMATCH
    types = member.items * len(value) if many else member.items
    items = [kind.coerce(item) for kind, item in zip(types, value, strict=True)]
    if any(item is MISMATCH for item in items):
        return MISMATCH
    return items if member.name == "list" else tuple(items)


def _tensor(value: list[object] | tuple[object, ...]) -> object:
    data = _nested(value)
    shape = _shape(data)
    return MISMATCH if shape is None or not isinstance(data, tuple) else TensorLiteral(data, shape)


def _nested(value: object) -> object:
    return tuple(_nested(item) for item in value) if isinstance(value, list | tuple) else value


def _shape(data: object) -> tuple[int, ...] | None:
    """The shape of nested tuples of numbers, or None if they have none."""
    if not isinstance(data, tuple):
        return () if data is UNKNOWN_VALUE or isinstance(data, float) or _is_int(data) else None
    inner = {_shape(item) for item in data}
    if None in inner or len(inner) > 1:
        return None
    return (len(data), *(next(iter(inner)) or ())) if inner else (0,)


# --- showing ------------------------------------------------------------------------------------------------------


def show(value: object, width: int = 60) -> str:
    """A value as a file would write it, cut at `width`."""
    text = _text_of(value)
    return text if len(text) <= width else text[: width - 3] + "..."


def _text_of(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_text_of(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_text_of(item)}' for key, item in value.items())}}}"
    if isinstance(value, TensorLiteral):
        return _text_of(value.data)
    if isinstance(value, DTypeName | LayerName):
        return value.name
    if isinstance(value, ModulePlan):
        return value.definition.name if value.definition else value.base
    return "_" if isinstance(value, Unknown) else str(value)
