"""Arguments of layers, initialisers, hooks and parametrizations as JSON Schema, from the catalog."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from confnet.catalog.arguments import Argument, Takes
from confnet.catalog.types import DTYPES, Member, Type, show
from confnet.schema.forms import EXPRESSION, LAYER, SCALAR, Schema, any_of, described, ref

__all__ = ["DEFINITIONS", "argument_schema", "call_schema"]

_TYPES: Final[Mapping[str, str]] = {
    "None": "null",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "str": "string",
    "literal": "string",
    "dtype": "string",
    "layer": "string",
    "dict": "object",
    "module": "object",
    "tensor": "array",
    "list": "array",
    "tuple": "array",
}
_DTYPE: Final = rf"^(?:torch\.)?(?:{'|'.join(DTYPES)})$|\$"
_DEFAULT: Final = re.compile(r"\.?\s*\(?Default:.*$", re.DOTALL | re.IGNORECASE)
_NUMERIC: Final = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")


def _dtype(*null: str) -> Schema:
    message = "a dtype of torch is expected here, such as `float32`, or a `$` expression"
    return {
        "title": "dtype",
        "type": ["string", *null],
        "pattern": _DTYPE,
        "patternErrorMessage": message,
        "errorMessage": message,
        "defaultSnippets": [{"label": name, "body": name} for name in dict.fromkeys(DTYPES.values())],
    }


DEFINITIONS: Final[Mapping[str, Schema]] = {
    "dtype": _dtype(),
    "dtype_or_null": _dtype("null"),
    "numbers": {
        "title": "numbers",
        "type": ["array", "number", "string"],
        "items": ref("numbers"),
        "pattern": EXPRESSION,
        "patternErrorMessage": "a number is expected here, or a `$` expression",
    },
}
"""Definitions that arguments refer to, besides `module` and `module_or_null`."""


# --- one argument -----------------------------------------------------------------------------------------------------


def argument_schema(argument: Argument) -> Schema:
    """What may be written for one argument, less its description.

    It refuses nothing that is right, and lets pass only what `tests/test_schema.py` lists.
    """
    kind = argument.parsed
    names = {member.name for member in kind.members}
    if "any" in names:
        return {}
    if kind.takes_module:
        return ref("module_or_null" if "None" in names else "module") if names <= {"None", "module"} else {}
    if names <= {"None", "dtype"}:
        return ref("dtype_or_null" if "None" in names else "dtype")
    return _flat(kind, argument)


def _flat(kind: Type, argument: Argument) -> Schema:
    types = dict.fromkeys(_TYPES[member.name] for member in kind.members)
    if "number" in types:
        types.pop("integer", None)
    types["string"] = types.pop("string", None)  # a `$` expression always may be
    made: Schema = {"type": list(types)}
    if not kind.has("str"):
        made["pattern"] = _pattern(kind, argument)
    if argument.texts:
        made["defaultSnippets"] = [{"label": text, "body": text} for text in argument.texts]
    bounds = _bounds(argument)
    if {"integer", "number"} & types.keys():
        made |= bounds
    if argument.choices:
        made |= {"if": {"type": ["number", "boolean"]}, "then": {"enum": list(argument.choices)}}
    made |= _items([member for member in kind.members if _TYPES[member.name] == "array"], argument)
    return _saying(made, f"`{argument.name}` takes {kind.describe()}, or a `$` expression")


def _saying(made: Schema, message: str) -> Schema:
    """The same with words for whoever breaks it: editors look under two keys."""
    return {**made, **({"patternErrorMessage": message} if "pattern" in made else {}), "errorMessage": message}


def _pattern(kind: Type, argument: Argument) -> str:
    """The texts that may be given: those of the type, and expressions."""
    texts = [*argument.texts, *(["auto"] if argument.inferable else [])]
    found = [f"^(?:{any_of(texts)})$"] if texts else []
    found += [_DTYPE] if kind.has("dtype") else []
    found += [f"^{LAYER}$"] if kind.has("layer") else []
    # Where a text belongs, one with an expression in it may turn out right; elsewhere it must be nothing else.
    textual = kind.literals or kind.has("dtype") or kind.has("layer")
    return "|".join([*found, r"\$" if textual else EXPRESSION])


def _bounds(argument: Argument) -> Schema:
    bounds = zip(_NUMERIC, (argument.ge, argument.gt, argument.le, argument.lt), strict=True)
    return {key: int(bound) if float(bound).is_integer() else bound for key, bound in bounds if bound is not None}


def _items(arrays: list[Member], argument: Argument) -> Schema:
    """What a list must be like, as far as its alternatives agree."""
    if not arrays or any(member.name == "list" and not member.items for member in arrays):
        return {}
    if any(member.name == "tensor" for member in arrays):
        return {"allOf": [{"if": {"type": "array"}, "then": {"items": ref("numbers")}}]} if len(arrays) == 1 else {}
    lengths = [0 if member.open or member.name == "list" else len(member.items) for member in arrays]
    made: Schema = {} if 0 in lengths else {"minItems": min(lengths), "maxItems": max(lengths)}
    kinds = dict.fromkeys(kind for member in arrays for kind in member.items)
    if len(kinds) > 1 and len(arrays) > 1:
        return made
    if not made:
        return {"allOf": [{"if": {"type": "array"}, "then": {"items": _item(next(iter(kinds)), argument)}}]}
    longest = max(arrays, key=lambda member: len(member.items))
    # Not `items`: an editor would write a list for the argument whose name is chosen.
    return {**made, "prefixItems": [_item(kind, argument) for kind in longest.items]}


def _item(kind: Type, argument: Argument) -> Schema:
    item = argument_schema(
        Argument(argument.name, str(kind), ge=argument.ge, gt=argument.gt, le=argument.le, lt=argument.lt)
    )
    message = f"`{argument.name}` takes {argument.parsed.describe()}; {kind.describe()} is expected here"
    return _saying(item, message) if "errorMessage" in item else item


# --- a call -----------------------------------------------------------------------------------------------------------


def call_schema(callee: Takes, at: str, summary: str, url: str, texts: Mapping[str, str]) -> Schema:
    """What may stand under the name of a callee; `at` is the JSON pointer of this schema, `texts` tell of arguments.

    A mapping gives arguments by name, a list by position, anything else is the first one; null is none.
    """
    markdown = f"{summary}\n\n`{_signature(callee)}`" + (f"\n\n[Documentation]({url})" if url else "")
    made = described({"title": callee.name}, f"{summary}\n\n{_signature(callee)}".strip(), markdown.strip())
    if callee.variadic:
        return made
    required = [argument.name for argument in callee.arguments if argument.required]
    made |= {
        "type": ["object"],
        "properties": {
            argument.name: described(argument_schema(argument), _told(argument, texts.get(argument.name, "")))
            for argument in callee.arguments
        },
        **({} if callee.keywords else {"additionalProperties": False}),
        **({"required": required} if required else {}),
    }
    return _by_position(made, [argument for argument in callee.arguments if argument.positional], required, at)


def _by_position(made: Schema, takers: list[Argument], required: list[str], at: str) -> Schema:
    """The same with what may be written instead of a mapping."""
    names = [argument.name for argument in takers]
    if set(required) <= set(names):
        made["type"].append("array")
        made |= {"minItems": max((names.index(name) + 1 for name in required), default=0), "maxItems": len(names)}
        if names:
            made["prefixItems"] = [{"$ref": f"{at}/properties/{name}"} for name in names]
    if set(required) <= set(names[:1]) and takers:
        made = _with_first(made, takers[0])
    if not required and "null" not in made["type"]:
        made["type"].append("null")
    return made


def _with_first(made: Schema, first: Argument) -> Schema:
    """The same with the first argument by itself."""
    if first.takes_module:
        alone: Schema = {"type": ["string"], "pattern": rf"^{LAYER}$|\$"}
    elif first.parsed.has("any"):
        alone = {"type": list(SCALAR)}
    else:
        alone = argument_schema(first)
        if "$ref" in alone:
            alone = dict(DEFINITIONS[alone["$ref"].rpartition("/")[2]])
    kinds = [kind for kind in alone["type"] if kind not in ("object", "array")]
    # Null is no argument at all, which is only right where none is required.
    made["type"] += [kind for kind in kinds if kind != "null"]
    kept = ("pattern", "patternErrorMessage", "if", "then", *_NUMERIC)
    return {**made, **{key: alone[key] for key in kept if key in alone}}


def _told(argument: Argument, text: str) -> str:
    """One argument in words: its type, its default, what it is for."""
    value = "required" if argument.required else f"default: {show(argument.default)}"
    text = _DEFAULT.sub("", text)
    return f"{argument.parsed.describe()} ({value})" + (f". {text}" if text else "")


def _signature(callee: Takes) -> str:
    return f"{callee.name}({', '.join(_parameters(callee.arguments))})"


def _parameters(arguments: Iterable[Argument]) -> Iterable[str]:
    named_only = False
    for argument in arguments:
        if not argument.positional and not named_only:
            named_only = True
            yield "*"
        yield argument.name if argument.required else f"{argument.name}={show(argument.default)}"
