"""Modules as JSON Schema: layers by name, composites, containers, repeats and definitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from confnet.catalog.documentation import layer_documentation
from confnet.catalog.layers import Layer
from confnet.catalog.registry import DEFAULT_REGISTRY, layer_names
from confnet.plan import CONTAINERS
from confnet.schema.arguments import call_schema
from confnet.schema.forms import LAYER, Schema, any_of, closed, described, either, fields, is_object, named, ref
from confnet.schema.parts import code_methods
from confnet.spec.models import BodySpec, ModifiersSpec, ModuleSpec, RepeatSpec
from confnet.spec.words import COMPOSITE_KEYS, HEADER_KEYS, MODIFIER_KEYS, SCOPE_KEYS

__all__ = ["CLASS_NAME", "body_keys", "modifier_keys", "module_definitions", "module_like"]

_MODULE: Final = (
    "a module is expected here: a layer such as `ReLU` or `Linear: [784, 10]`, a definition, or a `$` value"
)
_SEVERAL: Final = "a body cannot stand beside a layer key: make the layer one of its `children`"


CLASS_NAME: Final[Schema] = {
    "type": "string",
    "pattern": f"^{LAYER}$",
    "patternErrorMessage": "a class name is a capitalised identifier",
}


def module_definitions() -> dict[str, Schema]:
    """What schemas of modules refer to under `$defs`."""
    module = _module()
    return {
        **{layer.name: _layer(layer) for layer in _layers()},
        "module": module,
        "module_or_null": {**module, "title": "a module, or null", "type": [*module["type"], "null"]},
        "item": _item("repeat"),
        "list_item": _item("list_repeat"),
        "edited": _item("any_repeat"),
        "repeat": _repeat(ref("children")),
        "list_repeat": _repeat(ref("list")),
        "any_repeat": _repeat(
            {"type": ["object", "array"], "additionalProperties": ref("item"), "items": ref("list_item")}
        ),
        "children": named("children", ref("item")),
        "list": {"title": "modules", "type": "array", "items": ref("list_item")},
        "definition": _definition(),
        **_one_layer(),
    }


# --- layers -----------------------------------------------------------------------------------------------------------


def _layers() -> Iterable[Layer]:
    return (layer for layer in map(DEFAULT_REGISTRY.lookup, layer_names()) if layer is not None)


def _layer(layer: Layer) -> Schema:
    said = layer_documentation(layer.name)
    summary, url = (said.summary, said.url) if said is not None else (layer.summary, layer.url)
    if layer.name not in CONTAINERS:
        return call_schema(layer, f"#/$defs/{layer.name}", summary, url, said.arguments if said is not None else {})
    container: Schema = {
        "title": layer.name,
        "type": ["object", "array", "null"],
        "additionalProperties": ref("item"),
        "items": ref("list_item"),
        **({"maxItems": 0} if layer.container == "dict" else {}),
    }
    return described(container, summary, f"{summary}\n\n[Documentation]({url})")


def _layer_keys() -> Schema:
    """The keys that name a layer: known ones, and others that may be definitions, registered layers, `$` values."""
    return {
        "properties": {layer.name: ref(layer.name) for layer in _layers()},
        "patternProperties": {rf"^{LAYER}$|^\$": {}},
    }


def _bare() -> Schema:
    """A module that is written as a name alone."""
    demanding = [layer.name for layer in _layers() if any(argument.required for argument in layer.arguments)]
    ready = [layer for layer in _layers() if layer.name not in demanding]
    return {
        "pattern": rf"^(?!(?:{any_of(demanding)})$){LAYER}$|^\$",
        "patternErrorMessage": f"{_MODULE}; one with required arguments is no name alone",
        "defaultSnippets": [{"label": layer.name, "body": layer.name, "description": layer.summary} for layer in ready],
    }


# --- modules ----------------------------------------------------------------------------------------------------------


def module_like(kind: str, keys: Mapping[str, Schema], **more: Any) -> Schema:
    """A mapping with a layer key or a body, and with other `keys` beside it: a document, definition or module."""
    layers = _layer_keys()
    several: Schema = {
        "if": either(*COMPOSITE_KEYS),
        "then": {"propertyNames": {"pattern": rf"^(?!{LAYER}$|\$)", "patternErrorMessage": _SEVERAL}},
        "else": ref(f"one_layer_of_{kind}"),
    }
    if "share" in keys:
        message = "`share` stands alone, or with `when` and `else`"
        alone = {"propertyNames": {"pattern": "^(?:share|when|else)$", "patternErrorMessage": message}}
        several = {"if": {"required": ["share"]}, "then": alone, "else": several}
    return {
        "title": f"a {kind}",
        "type": "object",
        "minProperties": 1,
        "properties": {**layers["properties"], **keys},
        "patternProperties": layers["patternProperties"],
        "additionalProperties": False,
        # Nearly all modules are one key, and editors ask for all of a file at every stroke.
        "if": {"maxProperties": 1},
        "then": ref("no_layer"),
        "else": {"if": {"type": "object"}, "then": {"dependentRequired": {"else": ["when"]}, **several}},
        **more,
    }


def body_keys() -> dict[str, Schema]:
    """The keys of a composite body, less `args`."""
    own = {
        "require": ref("require"),
        "let": ref("let"),
        "inputs": ref("inputs"),
        "outputs": ref("outputs"),
        "children": ref("children"),
        "parameters": ref("parameters"),
        "buffers": ref("buffers"),
        "methods": code_methods(),
        "tie": ref("tie"),
        "args": ref("args"),
    }
    return {key: schema for key, schema in fields(BodySpec, own).items() if key != "args"}


def modifier_keys() -> dict[str, Schema]:
    """The keys beside a layer key or in a body: rules about that module alone, `when` and `else`."""
    own = {
        "when": ref("condition"),
        "else": ref("module"),
        "init": ref("inits"),
        "parametrize": ref("parametrize"),
        "apply": ref("apply"),
        "hooks": ref("hooks"),
    }
    return fields(ModifiersSpec, own)


def _module() -> Schema:
    keys = {**body_keys(), **modifier_keys(), **fields(ModuleSpec, {"share": {"type": "string"}})}
    return module_like("module", keys, **{**_bare(), "type": ["object", "string"]})


def _definition() -> Schema:
    args = fields(BodySpec, {"args": ref("args")})["args"]
    name = described(CLASS_NAME, "the class name, if it is not the definition's own")
    return module_like("definition", {"name": name, **body_keys(), **modifier_keys(), "args": args})


def _item(repeat: str) -> Schema:
    """What stands in a container or among children: a module, or a repeat."""
    count = fields(RepeatSpec, {})["repeat"]
    return {
        "title": "a module or a repeat",
        "if": is_object(required=["repeat"]),
        "then": ref(repeat),
        "else": ref("module"),
        "defaultSnippets": _bare()["defaultSnippets"],
        "properties": {"repeat": count},
    }


def _repeat(children: Schema) -> Schema:
    own = {"module": ref("module"), "children": children, "when": ref("condition")}
    made = closed("a repeat", fields(RepeatSpec, own), "repeat")
    message = "a repeat has `module` for one per step, or `children` for several"
    both = {"properties": {"children": False}, "errorMessage": message}
    neither = {"required": ["children"], "errorMessage": message}
    return {**made, "allOf": [{"if": {"required": ["module"]}, "then": both, "else": neither}]}


# --- one layer key ----------------------------------------------------------------------------------------------------

_BESIDE: Final = (
    *(key for key in HEADER_KEYS if key not in ("extends", "edit", "name")),
    "name",
    "args",
    *(key for key in SCOPE_KEYS if key != "args"),
    *MODIFIER_KEYS,
)
"""What may stand beside a layer key: first what only documents have, then what definitions have too,
then what every module may have."""
_FROM: Final = {"document": 0, "definition": _BESIDE.index("name"), "module": _BESIDE.index("args") + 1}


def _one_layer() -> dict[str, Schema]:
    """That exactly one key of a mapping is a layer key, where the others are of `_BESIDE`.

    JSON Schema cannot count keys of a kind. But it can count keys, and ask for each of `_BESIDE` in turn whether it is
    there: `count_I_K` is asked after the first I, of which K are there. Mappings of one key, as nearly all are, take no
    count. What is no key at all is told of already, and not counted.
    """
    last = len(_BESIDE)
    counts = {
        f"count_{place}_{present}": {
            "if": {"required": [_BESIDE[place]]},
            "then": ref(f"count_{place + 1}_{present + 1}"),
            "else": ref(f"count_{place + 1}_{present}"),
        }
        for place in range(last)
        for present in range(place + 1)
    }
    ends = {f"count_{last}_{present}": _exactly(present + 1) for present in range(last + 1)}
    return {
        **{f"one_layer_of_{kind}": _one_layer_of(kind) for kind in _FROM},
        **counts,
        **ends,
        "no_layer": {
            "propertyNames": {
                "pattern": f"^(?!(?:{'|'.join(_BESIDE)})$)",
                "patternErrorMessage": "this stands beside no module: write a layer key such as `Linear:`, or a body",
            },
        },
        "several_layers": {
            "properties": dict.fromkeys(_BESIDE, True),
            "additionalProperties": False,
            "errorMessage": "one module is one layer: put both into a list under `Sequential:`",
        },
    }


def _one_layer_of(kind: str) -> Schema:
    beside = "|".join(_BESIDE[_FROM[kind] :])
    known = {"propertyNames": {"pattern": rf"^(?:{beside}|{LAYER}|\$[\s\S]*)$"}}
    return {"if": known, "then": ref(f"count_{_FROM[kind]}_0")}


def _exactly(count: int) -> Schema:
    """That a mapping has so many keys, with words for what it is if it has not."""
    most = {"if": {"maxProperties": count}, "else": ref("several_layers")}
    return {"if": {"minProperties": count}, "then": most, "else": ref("no_layer")}
