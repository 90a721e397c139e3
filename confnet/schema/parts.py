"""The parts of a module besides other modules as JSON Schema: args, contracts, tensors, methods, rules and hooks."""

from __future__ import annotations

from typing import Final, get_args

from confnet.catalog.hooks import HOOK_KINDS
from confnet.schema.forms import (
    CODE,
    IDENTIFIER,
    SCALAR,
    TEXT,
    Schema,
    closed,
    either,
    fields,
    is_object,
    named,
    ref,
    words,
)
from confnet.spec.models import (
    ArgSpec,
    BufferSpec,
    HookSpec,
    InputSpec,
    MethodSpec,
    ParameterSpec,
    RuleSpec,
    SelectorSpec,
    TieSpec,
)
from confnet.spec.words import ARG_TYPES

__all__ = ["code_methods", "part_definitions"]

_NAME: Final = "this cannot be a name in code"


def part_definitions() -> dict[str, Schema]:
    """What schemas of modules refer to under `$defs`, besides modules."""
    return {
        "condition": _condition(),
        "args": named("args", ref("arg"), keys=IDENTIFIER, message=_NAME),
        "arg": _arg(),
        "let": named("let", {}, keys=IDENTIFIER, message=_NAME),
        "require": named("require", TEXT, keys=r"^\$", message="a condition is a `$` expression"),
        "inputs": _inputs(),
        "input": _input(),
        "outputs": _outputs(),
        "parameters": named("parameters", _nullable("parameter")),
        "parameter": _parameter(),
        "buffers": named("buffers", _nullable("buffer")),
        "buffer": _buffer(),
        "tie": named("tie", _tie()),
        "apply": {"title": "apply", "type": ["array", "null"], "items": ref("rule")},
        "rule": _rule(),
        "selector": _selector(),
        "hooks": {"title": "hooks", "type": ["array", "null"], "items": ref("hook")},
        "hook": _hook(),
        "inits": named("init", ref("initializer"), null=False),
        "parametrize": named("parametrize", ref("parametrization")),
    }


def _condition() -> Schema:
    message = "a condition is true or false, or a `$` expression"
    types = ["boolean", "number", "null", "string"]
    return {"type": types, "pattern": r"\$", "patternErrorMessage": message, "errorMessage": message}


def _nullable(name: str) -> Schema:
    return {"if": {"not": {"type": "null"}}, "then": ref(name)}


# --- args and contracts -----------------------------------------------------------------------------------------------


def _arg() -> Schema:
    kinds = words(ARG_TYPES)
    message = f"a word here is a type ({', '.join(ARG_TYPES)}); a text default is `{{type: str, default: ...}}`"
    keys = fields(ArgSpec, {"type": kinds})
    untyped = {
        "required": ["default"],
        "errorMessage": "an arg has a `type`, or a `default` that tells it",
        "properties": {"default": {"type": [kind for kind in ("object", "array", *SCALAR) if kind != "null"]}},
    }
    return {
        "title": "an arg: a type, or a default",
        "type": ["object", "array", *(kind for kind in SCALAR if kind != "null")],
        "properties": keys,
        "additionalProperties": False,
        "pattern": rf"{kinds['pattern']}|^\$",
        "patternErrorMessage": message,
        "defaultSnippets": kinds["defaultSnippets"],
        "if": is_object(**{"not": {"required": ["type"]}}),
        "then": untyped,
        "else": {
            "if": is_object(properties={"type": {"const": "module"}}),
            "then": {"properties": {"default": ref("module_or_null")}},
        },
    }


def _inputs() -> Schema:
    return {
        "title": "inputs",
        "type": ["object", "array", "null"],
        "propertyNames": {"pattern": IDENTIFIER, "patternErrorMessage": _NAME},
        "additionalProperties": ref("input"),
        "items": {"type": "string", "pattern": IDENTIFIER, "patternErrorMessage": _NAME},
        "uniqueItems": True,
    }


def _input() -> Schema:
    kinds = get_args(get_args(InputSpec.model_fields["type"].annotation)[0])
    return {
        "title": "an input: its shape, a default, or `any`",
        "type": ["object", "array", *SCALAR],
        "properties": fields(InputSpec, {"type": words(kinds), "dtype": ref("dtype_or_null")}),
        "additionalProperties": False,
        "pattern": "^any$",
        "patternErrorMessage": "an input is a shape such as `[B, 3, H, W]`, a default, or `any`",
        "defaultSnippets": [{"label": "any", "body": "any"}],
    }


def _outputs() -> Schema:
    value = {
        "type": ["array", "string", "null"],
        "pattern": "^(?:any|_)$",
        "patternErrorMessage": "an output is a shape or `any`",
    }
    names = {"type": "string"}
    return {"title": "outputs", "type": ["object", "array", "null"], "additionalProperties": value, "items": names}


def code_methods() -> Schema:
    """Methods by name: code, or a mapping of their contract and their code."""
    inner = closed("a method", fields(MethodSpec, {"inputs": ref("inputs"), "outputs": ref("outputs")}), "forward")
    method = {**inner, "type": ["object", *CODE["type"]]}
    return named("methods", method, keys=IDENTIFIER, message=_NAME)


# --- parameters and buffers -------------------------------------------------------------------------------------------


def _parameter() -> Schema:
    own = {
        "init": ref("initializer"),
        "else": ref("parameter"),
        "dtype": ref("dtype_or_null"),
        "when": ref("condition"),
    }
    made = closed("a parameter", fields(ParameterSpec, own), "shape")
    return {**made, "dependentRequired": {"else": ["when"]}}


def _buffer() -> Schema:
    own = {
        "value": {"type": ["array", "number", "boolean", "string"]},
        "else": ref("buffer"),
        "dtype": ref("dtype_or_null"),
        "when": ref("condition"),
    }
    made = closed("a buffer", fields(BufferSpec, own))
    message = "a buffer has `value` for what it holds, or `shape` (and `fill`) for one number everywhere"
    one = {
        "if": {"required": ["value"]},
        "then": {"properties": {"shape": False}, "errorMessage": message},
        "else": {"required": ["shape"], "errorMessage": message},
    }
    return {**made, "dependentRequired": {"else": ["when"], "fill": ["shape"]}, "allOf": [one]}


def _tie() -> Schema:
    inner = closed("a tie", fields(TieSpec, {"when": ref("condition")}), "to")
    return {**inner, "type": ["string", "object"]}


# --- rules and hooks --------------------------------------------------------------------------------------------------


def _rule() -> Schema:
    own = {
        "where": ref("selector"),
        "init": ref("inits"),
        "parametrize": ref("parametrize"),
        "set": {"type": "object"},
        "methods": code_methods(),
        "dtype": ref("dtype_or_null"),
        "call": ref("applied"),
        "when": ref("condition"),
    }
    keys = fields(RuleSpec, own)
    return {**closed("a rule", keys), "allOf": [either(*(key for key in keys if key not in ("where", "when")))]}


def _selector() -> Schema:
    texts = {"type": ["string", "array"], "items": TEXT}
    return closed("which modules", fields(SelectorSpec, {"type": texts, "name": texts, "not": ref("selector")}))


def _hook() -> Schema:
    own = {
        "kind": words(HOOK_KINDS, otherwise=r"\$"),
        "where": ref("selector"),
        "call": ref("hook_call"),
        "when": ref("condition"),
    }
    made = closed("a hook", fields(HookSpec, own), "kind")
    message = "a hook has `do` with code, or `call` with the name of a hook"
    one = {
        "if": {"required": ["call"]},
        "then": {"properties": {"do": False}, "errorMessage": message},
        "else": {"required": ["do"], "errorMessage": message},
    }
    return {**made, "allOf": [one]}
