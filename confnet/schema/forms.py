"""Forms of values as JSON Schema: what the validators of `confnet.spec.models` demand, and the patterns of names."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, get_args

from confnet.language.names import NAMESPACES
from confnet.spec import models
from confnet.spec.models import Part

__all__ = [
    "CODE",
    "EXPRESSION",
    "FLAG",
    "IDENTIFIER",
    "LAYER",
    "SCALAR",
    "SINGLE",
    "TEXT",
    "Schema",
    "any_of",
    "closed",
    "described",
    "either",
    "fields",
    "is_object",
    "named",
    "ref",
    "words",
]

Schema = dict[str, Any]

# Python's words and JavaScript's differ outside ASCII: these take every character there, and confnet sorts them out.
_FIRST: Final = r"[^\x00-@\[-^`{-\x7f]"
_REST: Final = r"[^\x00-/:-@\[-^`{-\x7f]*"
_NAME: Final = _FIRST + _REST
_RESERVED: Final = "|".join(sorted({*NAMESPACES, *keyword.kwlist, "self"}))

LAYER: Final = rf"_*[A-Z]{_REST}"
"""A pattern of the names of layers and definitions, without anchors."""
IDENTIFIER: Final = rf"^(?!(?:{_RESERVED})$)(?!__|_confnet_){_NAME}$"
"""A pattern of the names that code can read."""
EXPRESSION: Final = rf"^\$(?:{_NAME}|\([\s\S]*\))$"
"""A pattern of the texts that are one `$` expression, and have its type."""

SCALAR: Final = ("string", "number", "boolean", "null")

TEXT: Final[Schema] = {"type": "string"}
CODE: Final[Schema] = {"type": ["string", "number", "boolean"], "errorMessage": "code is a text, in a `|` block"}
SINGLE: Final[Schema] = {"type": list(SCALAR)}


def _or_expression(types: Iterable[str], takes: str) -> Schema:
    message = f"{takes} is expected here, or a `$` expression"
    return {"type": [*types, "string"], "pattern": r"\$", "patternErrorMessage": message, "errorMessage": message}


FLAG: Final = _or_expression(["boolean"], "true or false")

_FORMS: Final[tuple[tuple[Any, Schema], ...]] = (
    (models.Text, TEXT),
    (models.CodeText, CODE),
    (models.Flag, FLAG),
    (models.Number, _or_expression(["number"], "a number")),
    (models.List, {"type": "array"}),
    (models.Count, _or_expression(["integer", "array"], "a number or a list of values")),
    (models.Fill, _or_expression(["number", "boolean"], "a number")),
    (models.Single, SINGLE),
    (models.Shape, _or_expression(["array"], "a list of sizes")),
)


def fields(model: type[Part], own: Mapping[str, Schema]) -> dict[str, Schema]:
    """The keys of a file that a model stands for, with the form and the description of each; `own` has other forms."""
    found: dict[str, Schema] = {}
    for name, info in model.model_fields.items():
        if info.description is None:  # it is no key of the file
            continue
        key = info.alias or name
        found[key] = described(own.get(key, _form(info.metadata)), info.description)
    assert set(own) <= set(found), f"{set(own) - set(found)} are no keys of {model.__name__}"
    return found


def _form(metadata: Iterable[object]) -> Schema:
    marks = list(metadata)
    return next((schema for form, schema in _FORMS if get_args(form)[1] in marks), {})


def described(schema: Schema, text: str, markdown: str = "") -> Schema:
    """The schema with a description, which editors show; as markdown too where it holds any."""
    said: Schema = {**schema, "description": text}
    if markdown or "`" in text:
        said["markdownDescription"] = markdown or text
    return said


def ref(name: str) -> Schema:
    """What stands under `$defs`."""
    return {"$ref": f"#/$defs/{name}"}


def closed(title: str, properties: Mapping[str, Schema], *required: str, **more: Any) -> Schema:
    """A mapping with these keys and no others."""
    made: Schema = {"title": title, "type": "object", "properties": dict(properties), "additionalProperties": False}
    return {**made, **({"required": list(required)} if required else {}), **more}


def named(title: str, values: Schema, *, keys: str = "", message: str = "", null: bool = True) -> Schema:
    """A mapping of names, which match the pattern `keys`, to values; null is an empty one."""
    made: Schema = {"title": title, "type": ["object", "null"] if null else "object", "additionalProperties": values}
    if keys:
        made["propertyNames"] = {"pattern": keys, "patternErrorMessage": message}
    return made


def words(known: Iterable[str], *, otherwise: str = "", message: str = "") -> Schema:
    """A text that is one of `known`, which editors offer, or that the pattern `otherwise` is found in."""
    listed = list(known)
    pattern = f"^(?:{any_of(listed)})$" + (f"|{otherwise}" if otherwise else "")
    snippets = [{"label": word, "body": word} for word in listed]
    message = message or f"one of {', '.join(listed)} is expected here"
    return {"type": "string", "pattern": pattern, "patternErrorMessage": message, "defaultSnippets": snippets}


def any_of(texts: Iterable[str]) -> str:
    """A pattern of exactly these texts, without anchors. Python escapes more than JavaScript lets it."""
    return "|".join(re.sub(r"[\\^$.*+?()\[\]{}|/]", r"\\\g<0>", text) for text in texts)


def is_object(**more: Any) -> Schema:
    """The condition that a value is a mapping, and more."""
    return {"type": "object", **more}


def either(*keys: str) -> Schema:
    """The condition that a mapping has one of the keys at least."""
    return is_object(anyOf=[{"required": [key]} for key in keys])
