"""The schema of a whole file."""

from __future__ import annotations

import json
from typing import Final

from confnet.catalog.layers import torch_version
from confnet.plan import CONTAINERS
from confnet.schema.arguments import DEFINITIONS
from confnet.schema.calls import callee_definitions
from confnet.schema.forms import LAYER, TEXT, Schema, closed, described, either, fields, is_object, named, ref
from confnet.schema.modules import CLASS_NAME, body_keys, modifier_keys, module_definitions, module_like
from confnet.schema.parts import part_definitions
from confnet.spec.models import BodySpec, Document
from confnet.spec.words import COMPOSITE_KEYS

__all__ = ["document_schema", "schema_text"]

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"


def document_schema() -> Schema:
    """The JSON Schema of a file, with every layer of torch and whatever is registered in this process."""
    return {
        "$schema": _DRAFT,
        "title": "confnet",
        "description": "A torch.nn.Module as a YAML file",
        "$comment": f"Made by `confnet schema` from the layers of torch {torch_version()}. Do not edit.",
        "type": "object",
        "if": {"required": ["extends"]},
        "then": ref("variation"),
        "else": ref("document"),
        "$defs": {
            "document": _document(),
            "variation": _variation(),
            **part_definitions(),
            **callee_definitions(),
            **{name: dict(schema) for name, schema in DEFINITIONS.items()},
            **module_definitions(),
        },
    }


def schema_text() -> str:
    """The schema as it is written to a file."""
    return json.dumps(document_schema(), indent=1, ensure_ascii=False) + "\n"


def _header() -> dict[str, Schema]:
    """The keys of a document that no other module has."""
    version: Schema = {"const": 1, "errorMessage": "the version of the language is 1: write `confnet: 1`"}
    message = "a definition has a capitalised name, and none of torch's containers"
    names = rf"^(?!(?:{'|'.join(CONTAINERS)})$){LAYER}$"
    own = {
        "name": CLASS_NAME,
        "include": {"title": "include", "type": ["array", "null"], "items": TEXT},
        "variants": named("variants", {"title": "a set of args", "type": ["object", "null"]}),
        "modules": named("definitions", ref("definition"), keys=names, message=message),
    }
    base = described(TEXT, "the path of a document of which this one is a variation")
    edit = named("edits", _edit())
    return {
        "confnet": described(version, "the version of the language, which is 1; required"),
        **fields(Document, own),
        "extends": base,
        "edit": described(
            edit, "what becomes of the base's modules, by path: a module instead, `null`, or others beside it"
        ),
    }


def _edit() -> Schema:
    around = ("before", "replace", "after")
    beside: Schema = {
        "type": ["object", "array", "null"],
        "additionalProperties": ref("item"),
        "items": ref("list_item"),
    }
    keys = {
        "before": described(beside, "modules to put before it"),
        "replace": described(_edited(), "the module to have instead; null removes it"),
        "after": described(beside, "modules to put after it"),
    }
    return {"title": "an edit", "if": either(*around), "then": closed("an edit", keys), "else": _edited()}


def _edited() -> Schema:
    return {"if": {"not": {"type": "null"}}, "then": ref("edited")}


def _document() -> Schema:
    args = fields(BodySpec, {"args": ref("args")})["args"]
    keys = {**_header(), **body_keys(), **modifier_keys(), "args": args}
    made = module_like("document", keys, required=["confnet"])
    # A file may define modules and be none itself.
    rootless = is_object(propertyNames={"pattern": rf"^(?!(?:{'|'.join(COMPOSITE_KEYS)}|{LAYER})$|\$)"})
    message = "the document has no module: write a layer key such as `Sequential:`, a body, or `modules:`"
    library = {"required": ["modules"], "errorMessage": message}
    kinds = {key: made.pop(key) for key in ("if", "then", "else")}
    return {
        **made,
        "dependentRequired": {"edit": ["extends"]},
        "if": rootless,
        "then": library,
        "else": kinds,
    }


def _variation() -> Schema:
    header, body = _header(), body_keys()
    modifiers = modifier_keys()
    keys = {
        **header,
        "args": described(named("args", {}), fields(BodySpec, {})["args"]["description"]),
        **{key: schema for key, schema in body.items() if key != "children"},
        **{key: modifiers[key] for key in ("apply", "hooks")},
    }
    return closed("a variation of another document", keys, "extends")
