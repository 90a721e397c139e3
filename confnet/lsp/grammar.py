"""What may stand where in a file: the kind of every place of an outline, and the keys that a place takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from confnet.lsp.outline import Node
from confnet.plan import CONTAINERS
from confnet.spec.words import LAYER_KEY

__all__ = ["KEYS", "Place", "is_layer", "layer_entry", "modules_in", "place_of"]


class Place(NamedTuple):
    """The kind of a place, and whose it is where that matters: the layer of an argument, the kind of a hook."""

    kind: str
    of: str = ""
    argument: str = ""


_SCOPE: Final = {
    "description": "text for readers; the docstring of the class",
    "args": "what a caller may set: a type name (required) or a default for each name",
    "let": "constants, computed in order",
    "require": "conditions on the args, each with the message for whoever breaks it",
    "inputs": "what `forward` takes: names, shapes, defaults",
    "outputs": "what `forward` returns, with shapes",
    "methods": "further methods: code, or a mapping with `inputs`, `outputs` and `forward`",
}
_COMPOSITE: Final = {
    "children": "submodules by name, registered in this order",
    "parameters": "parameters of its own, by name",
    "buffers": "buffers of its own, by name",
    "forward": "the code of the forward: a subset of Python over children, inputs and args",
    "tie": "parameters that are one: the left takes the right's Parameter",
}
_MODIFIERS: Final = {
    "when": "leave this out unless the condition holds",
    "else": "what stands here instead when `when` is false",
    "init": "initialisers by the name of the parameter",
    "parametrize": "a function of `torch.nn.utils.parametrizations`, by parameter",
    "requires_grad": "`false` freezes its parameters",
    "extra_repr": "what its `repr` shows in brackets",
    "apply": "rules over submodules, with the semantics of `nn.Module.apply`",
    "hooks": "torch's hooks, registered when the module is built",
}
_HEADER: Final = {
    "confnet": "the version of the language: `1`, required",
    "name": "class name of the root module; by default the file's name in CamelCase",
    "extends": "another document of which this one is a variation",
    "edit": "modules of the extended document to replace, remove or put others beside, by path",
    "include": "other files whose definitions this one uses, relative to this one",
    "variants": "named sets of values for args",
    "modules": "definitions: modules with args, used like layers",
}
_REPEAT: Final = {
    "repeat": "how often `module` or `children` stand here: a number, or a list of values",
    "share": "the module of that path, under a second name",
}
_IN_REPEAT: Final = {
    "repeat": "a number of steps, or a list of values",
    "as": "the name of the index, or of the value",
    "module": "one module for each step",
    "children": "several modules for each step, by name",
    "when": "leave all of it out unless the condition holds",
}

KEYS: Final[Mapping[str, Mapping[str, str]]] = {
    "document": {**_HEADER, **_SCOPE, **_COMPOSITE, **_MODIFIERS},
    "definition": {**_SCOPE, **_COMPOSITE, **_MODIFIERS},
    "module": {**_MODIFIERS, **_REPEAT, **_COMPOSITE, "inputs": _SCOPE["inputs"], "outputs": _SCOPE["outputs"]},
    "repeat": _IN_REPEAT,
    "arg": {
        "type": "the type of what a caller may give",
        "default": "what it is if the caller gives nothing",
        "ge": "at least",
        "gt": "more than",
        "le": "at most",
        "lt": "less than",
        "choices": "the values that are allowed",
        "nullable": "whether null is allowed",
        "description": "text for readers",
    },
    "input": {
        "shape": "a list of sizes: numbers, args, symbolic sizes (capitalised), `_` for any",
        "dtype": "the dtype of the tensor",
        "low": "the least value of an integer tensor",
        "high": "the bound that the values stay below, as in `torch.randint`",
        "default": "what it is if the caller gives nothing",
        "type": "what it is, where it is no tensor: `list`, `int`, `float`, `bool`, `str`, `dict`, `any`",
        "item": "the shape of every item of a list",
    },
    "parameter": {
        "shape": "a list of sizes",
        "dtype": "the dtype, by its name",
        "init": "its initialiser",
        "requires_grad": "`false` freezes it",
        "when": "the attribute is None unless the condition holds",
        "else": "what it is instead when `when` is false",
    },
    "buffer": {
        "value": "a number, a list, or code that computes it",
        "shape": "a list of sizes, with `fill`",
        "fill": "the value of every element",
        "dtype": "the dtype, by its name",
        "persistent": "whether the state dict has it; true by default",
        "when": "the attribute is None unless the condition holds",
        "else": "what it is instead when `when` is false",
    },
    "method": {
        "inputs": "what the method takes; `x` by default",
        "outputs": "what it returns, with shapes",
        "forward": "its code",
    },
    "rule": {
        "where": "which modules; without it, every submodule and the module itself",
        "init": _MODIFIERS["init"],
        "parametrize": _MODIFIERS["parametrize"],
        "requires_grad": _MODIFIERS["requires_grad"],
        "extra_repr": _MODIFIERS["extra_repr"],
        "set": "attributes to set after construction; only those that are safe to change",
        "methods": "further methods of the modules",
        "dtype": "the dtype of their floating-point parameters",
        "call": "a function that the caller registered with `confnet.applies`",
        "when": "leave the rule out unless the condition holds",
    },
    "where": {
        "type": "class name, glob or list; matched as `isinstance` does",
        "name": "dotted name, glob or list; `*` is one segment, `**` any number",
        "not": "a selector to leave out",
    },
    "hook": {
        "kind": "which of torch's hooks it is",
        "where": "which modules; without it the module that holds the hook",
        "do": "code over torch's arguments for this kind of hook",
        "call": "a built-in hook, or one that the caller registered with `confnet.hook`",
        "tensor": "for hooks on tensors: the name of a parameter, or `output` or `input`",
        "name": "by default the kind; `confnet.hooks(model)` finds it by this name",
        "prepend": "run before the hooks that are there already",
        "with_kwargs": "give the hook the keyword arguments of the call as well",
        "always_call": "run even if the forward raises",
        "when": "leave the hook out unless the condition holds",
    },
    "edited": {
        "before": "modules to put before it",
        "replace": "what takes its place; null removes it",
        "after": "modules to put behind it",
    },
}

_UNDER_MODULE: Final = {
    "confnet": "version", "name": "text", "description": "text", "extends": "include", "include": "includes",
    "edit": "edits", "variants": "variants", "modules": "definitions", "args": "args", "let": "values",
    "require": "require", "inputs": "inputs", "outputs": "outputs", "methods": "methods", "children": "children",
    "parameters": "parameters", "buffers": "buffers", "forward": "code", "tie": "ties", "when": "value",
    "else": "module", "init": "init", "parametrize": "parametrize", "requires_grad": "flag", "extra_repr": "text",
    "apply": "rules", "hooks": "hooks", "share": "path", "repeat": "value", "as": "text", "module": "module",
}  # fmt: skip
# Place of an entry by the kind of the place around it: of one called so, else of any (`*`), else of an item (`-`).
_UNDER: Final[Mapping[str, Mapping[str, str]]] = {
    "includes": {"-": "include"},
    "edits": {"*": "edited"},
    "edited": {"before": "container", "after": "container", "replace": "module"},
    "variants": {"*": "variant"},
    "variant": {"*": "value"},
    "definitions": {"*": "definition"},
    "children": {"*": "module"},
    "container": {"*": "module", "-": "module"},
    "args": {"*": "arg"},
    "arg": {"type": "type", "nullable": "flag", "description": "text", "*": "value"},
    "values": {"*": "value"},
    "require": {"*": "text"},
    "inputs": {"*": "input"},
    "input": {"dtype": "dtype", "type": "input type", "*": "value"},
    "methods": {"*": "method"},
    "method": {"inputs": "inputs", "outputs": "outputs", "forward": "code"},
    "parameters": {"*": "parameter"},
    "parameter": {"dtype": "dtype", "init": "initializer", "requires_grad": "flag", "else": "parameter", "*": "value"},
    "buffers": {"*": "buffer"},
    "buffer": {"value": "code", "dtype": "dtype", "persistent": "flag", "else": "buffer", "*": "value"},
    "init": {"*": "initializer"},
    "parametrize": {"*": "parametrization"},
    "rules": {"-": "rule"},
    "rule": {
        "where": "where", "init": "init", "parametrize": "parametrize", "requires_grad": "flag", "extra_repr": "text",
        "methods": "methods", "dtype": "dtype", "call": "apply call",
    },
    "where": {"type": "type pattern", "name": "name pattern", "not": "where"},
    "type pattern": {"-": "type pattern"},
    "name pattern": {"-": "name pattern"},
    "hooks": {"-": "hook"},
    "hook": {
        "kind": "hook kind", "where": "where", "do": "code", "call": "hook call", "prepend": "flag",
        "with_kwargs": "flag", "always_call": "flag", "tensor": "text", "name": "text",
    },
}  # fmt: skip
_ARGUMENTS_OF: Final = {"initializer": "init", "parametrization": "parametrize", "hook call": "hook"}


def is_layer(key: str) -> bool:
    """Whether a key names a layer, or the argument that holds one."""
    return LAYER_KEY.fullmatch(key) is not None or (key.startswith("$") and not key.startswith("$("))


def layer_entry(node: Node) -> Node | None:
    """The entry of a module whose key is its layer."""
    return next((child for child in node.children if not child.is_item and is_layer(child.key)), None)


def place_of(node: Node) -> Place:
    """What kind of place a node is."""
    place = Place("document")
    for inner in node.chain()[1:]:
        place = _inside(place, inner)
    return place


def _inside(place: Place, node: Node) -> Place:
    """The place of a node whose parent is that place."""
    kind, key = place.kind, node.key
    if node.is_word and not node.text:
        return place
    if kind in ("document", "definition", "module"):
        if not node.is_item and key and is_layer(key):
            return Place("container", key) if key in CONTAINERS else Place("arguments", key)
        found = _UNDER_MODULE.get(key, "")
        if found == "module" and key == "module" and node.parent is not None and node.parent.get("repeat") is None:
            return Place("")
        return Place(found)
    if kind.endswith("arguments"):
        name = str(node.parent.children.index(node)) if node.is_item and node.parent is not None else node.key
        return Place(kind.removesuffix("s"), place.of, name)
    if kind.endswith("argument"):  # what stands inside its value: a list, or the module that it takes
        return place if node.is_item else _inside(Place("module"), node) if is_layer(key) else Place("")
    if kind in _ARGUMENTS_OF and key:
        if key == "value" and kind == "initializer":
            return Place("code")
        return Place(f"{_ARGUMENTS_OF[kind]} arguments", key)
    table = _UNDER.get(kind, {})
    return Place(table.get("-", "") if node.is_item else table.get(key, table.get("*", "")))


def modules_in(node: Node) -> Iterator[Node]:
    """The modules directly below a container or `children`, also those that a repeat makes."""
    for child in node.children:
        inner = child.get("module") if child.get("repeat") is not None else None
        several = child.get("children") if child.get("repeat") is not None else None
        if several is not None:
            yield from modules_in(several)
        else:
            yield inner if inner is not None and not child.key else child
