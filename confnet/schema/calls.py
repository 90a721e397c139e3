"""What is called by its name as JSON Schema: initialisers, parametrizations, hooks, and functions of rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from confnet.catalog.arguments import Takes
from confnet.catalog.documentation import (
    Documentation,
    hook_documentation,
    initializer_documentation,
    parametrization_documentation,
)
from confnet.catalog.hooks import BUILTIN_HOOKS
from confnet.catalog.initializers import initializer, initializer_names
from confnet.catalog.parametrizations import parametrization, parametrization_names
from confnet.catalog.registry import DEFAULT_REGISTRY
from confnet.schema.arguments import call_schema
from confnet.schema.forms import SCALAR, Schema, any_of, described

__all__ = ["callee_definitions"]

_Callees = Mapping[str, Takes | None]
_Document = Callable[[str], Documentation | None]


def callee_definitions() -> dict[str, Schema]:
    """What stands under `$defs` for what is called by its name, or by its name with arguments.

    A file may name what its caller registers: only the names of parametrizations are all known.
    """
    registry = DEFAULT_REGISTRY
    inits: _Callees = {
        **{name: initializer(name) for name in initializer_names()},
        **{name: function.after(1) for name, function in registry.initializers.items()},
    }
    parametrizations: _Callees = {name: parametrization(name) for name in parametrization_names()}
    applied: _Callees = {name: function.after(1) for name, function in registry.applies.items()}
    code = described({"type": list(SCALAR)}, "code over the parameter's `shape` and what code may read")
    called = {
        "initializer": _named("initializer", inits, initializer_documentation, {"value": code}),
        "parametrization": _named("parametrization", parametrizations, parametrization_documentation, {}),
        # The kind of a hook tells how many arguments torch gives it: those of a registered one are not known here.
        "hook_call": _named("hook_call", BUILTIN_HOOKS, hook_documentation, {name: {} for name in registry.hooks}),
        "applied": _named("applied", applied, lambda name: None, {}),
    }
    one = {"minProperties": 1, "maxProperties": 1}
    return {
        "initializer": {"title": "an initialiser", **called["initializer"], **one},
        "parametrization": {"title": "a parametrization", **called["parametrization"], **one, **_closed(called)},
        "hook_call": {"title": "a hook", **called["hook_call"], **one},
        "applied": {"title": "functions", **called["applied"]},
    }


def _named(at: str, callees: _Callees, document: _Document, more: Mapping[str, Schema]) -> Schema:
    """A name, or a mapping of a name to its arguments; `at` is where this stands under `$defs`, `more` are names that
    have a schema already."""
    known = {name: callee for name, callee in callees.items() if callee is not None}
    demanding = [name for name, callee in known.items() if any(argument.required for argument in callee.arguments)]
    made: Schema = {
        "type": ["object", "string"],
        "properties": {**{name: _call(at, callee, document(name)) for name, callee in known.items()}, **more},
        "additionalProperties": True,
        "defaultSnippets": [{"label": name, "body": name} for name in known if name not in demanding],
    }
    if demanding:
        made["pattern"] = f"^(?!(?:{any_of(demanding)})$)"
        made["patternErrorMessage"] = "this one has required arguments: write a mapping of its name to them"
    return made


def _closed(called: Mapping[str, Schema]) -> Schema:
    """No other parametrizations than those of torch."""
    names = list(called["parametrization"]["properties"])
    message = f"the parametrizations are {', '.join(names)}"
    return {"additionalProperties": False, "pattern": f"^(?:{'|'.join(names)})$", "patternErrorMessage": message}


def _call(at: str, callee: Takes, said: Documentation | None) -> Schema:
    said = said or Documentation("")
    return call_schema(callee, f"#/$defs/{at}/properties/{callee.name}", said.summary, said.url, said.arguments)
