"""Documents for the tests of the JSON Schema: right ones, and ones that somebody spoilt a little.

They are plain values. What the schema cannot know (wiring, names, code) is kept trivial, so that whatever is wrong in
them is a matter of form.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

from confnet.catalog.arguments import Argument, Takes
from confnet.catalog.hooks import BUILTIN_HOOKS
from confnet.catalog.initializers import initializer, initializer_names
from confnet.catalog.layers import Layer, torch_layers
from confnet.catalog.parametrizations import parametrization, parametrization_names
from confnet.catalog.types import Member, Type
from confnet.spec.words import COMPOSITE_KEYS, HEADER_KEYS, MODIFIER_KEYS, SCOPE_KEYS

__all__ = ["Plain", "documents", "spoilt"]

Plain = Any
"""A plain value: null, a number, a text, a list or a mapping."""

Draw = Callable[[st.SearchStrategy[Any]], Any]

_LAYERS = [layer for layer in torch_layers().values() if not layer.container]
_HOOK_KINDS = ("forward_pre", "forward", "full_backward_pre", "full_backward")


def _one(draw: Draw, *values: Plain) -> Plain:
    return draw(st.sampled_from(values))


# --- arguments --------------------------------------------------------------------------------------------------------


def _value(draw: Draw, argument: Argument, depth: int) -> Plain:
    """A value that an argument takes, as far as it alone is concerned."""
    return _of_type(draw, argument.parsed, argument, depth)


def _of_type(draw: Draw, kind: Type, argument: Argument, depth: int) -> Plain:
    member = draw(st.sampled_from(kind.members))
    if draw(st.integers(0, 5)) == 0 and member.name in ("int", "float", "bool"):
        return {"int": _one(draw, "$width", "$(2 * width)"), "float": "$(width / 8)", "bool": "$(width > 2)"}[
            member.name
        ]
    return _of_member(draw, member, argument, depth)


def _of_member(draw: Draw, member: Member, argument: Argument, depth: int) -> Plain:
    match member.name:
        case "None":
            return None
        case "int":
            return argument.choices[0] if argument.choices else _one(draw, 1, 2, 4)
        case "float":
            return _one(draw, *((0.5, 0.25) if argument.lt is not None or argument.le is not None else (0.5, 1.0, 1)))
        case "bool":
            return draw(st.booleans())
        case "str" | "any":
            return _one(draw, "text", "a$width")
        case "literal":
            return member.text
        case "dtype":
            return _one(draw, "float32", "torch.float64", "bfloat16")
        case "dict":
            return {"a": 1}
        case "layer":
            return _one(draw, "ReLU", "LayerNorm")
        case "module":
            return _module(draw, depth + 1)
        case "tensor":
            return _one(draw, [1.0, 2.0], [0.5], [[1, 2], [3, 4]])
        case "list" if not member.items:
            return [1]
    items = member.items * draw(st.integers(1, 3)) if member.open or member.name == "list" else member.items
    return [_of_type(draw, item, argument, depth) for item in items]


def _arguments(draw: Draw, callee: Takes, depth: int) -> Plain:
    """What stands under the name of a callee: a mapping, a list, one value or null."""
    required = [argument for argument in callee.arguments if argument.required]
    by_position = [argument for argument in callee.arguments if argument.positional]
    forms = ["mapping", "list"] + (["value"] if len(required) <= 1 and by_position else []) + ["none"] * (not required)
    match _one(draw, *forms):
        case "mapping":
            free = [argument for argument in callee.arguments if not argument.required]
            more = draw(st.lists(st.sampled_from(free), max_size=2, unique_by=lambda a: a.name)) if free else []
            return {argument.name: _value(draw, argument, depth) for argument in (*required, *more)}
        case "list":
            last = max((by_position.index(argument) + 1 for argument in required), default=0)
            taken = by_position[: draw(st.integers(last, min(last + 1, len(by_position))))]
            return [_value(draw, argument, depth) for argument in taken]
        case "value":
            value = _value(draw, by_position[0], depth)
            return value if not isinstance(value, list | dict) and not (value is None and required) else [value]
    return None


def _layer(draw: Draw, depth: int) -> Plain:
    simple = [layer for layer in _LAYERS if not any(argument.takes_module for argument in layer.arguments)]
    layer: Layer = draw(st.sampled_from(_LAYERS if depth < 2 else simple))
    if not any(argument.required for argument in layer.arguments) and draw(st.booleans()):
        return layer.name
    return {layer.name: _arguments(draw, layer, depth)}


# --- modules ----------------------------------------------------------------------------------------------------------


def _module(draw: Draw, depth: int) -> Plain:
    kinds = ["layer", "layer", "block", "with", "reference"] + (["container", "composite", "when"] if depth < 3 else [])
    match _one(draw, *kinds):
        case "block":
            return _one(draw, {"Block": 4}, {"Block": {"size": "$width"}}, {"Block": [4]})
        case "reference":
            return _one(draw, "$act", {"$norm": 4})
        case "container":
            return _container(draw, depth)
        case "composite":
            return _composite(draw, depth)
        case "when":
            module = _layer(draw, depth)
            module = {module: None} if isinstance(module, str) else module
            made = {**module, "when": _one(draw, True, "$(width > 2)")}
            return {**made, "else": _module(draw, depth + 1)} if draw(st.booleans()) else made
        case "with":
            return {"Linear": [4, 4], **_modifiers(draw)}
    return _layer(draw, depth)


def _modifiers(draw: Draw) -> dict[str, Plain]:
    made: dict[str, Plain] = {}
    if draw(st.booleans()):
        made["init"] = {"weight": _initializer(draw)}
    if draw(st.booleans()):
        name = draw(st.sampled_from(parametrization_names()))
        callee = parametrization(name)
        assert callee is not None
        made["parametrize"] = {"weight": _one(draw, name, {name: _arguments(draw, callee, 9)})}
    if draw(st.booleans()):
        made["requires_grad"] = _one(draw, False, "$(width > 2)")
    if draw(st.booleans()):
        made["hooks"] = _one(draw, None, [_hook(draw)])
    if draw(st.booleans()):
        made["extra_repr"] = "width=$width"
    return made


def _initializer(draw: Draw) -> Plain:
    name = draw(st.sampled_from(initializer_names()))
    callee = initializer(name)
    assert callee is not None
    if not any(argument.required for argument in callee.arguments) and draw(st.booleans()):
        return name
    return _one(draw, {name: _arguments(draw, callee, 9)}, {"value": "torch.zeros(shape)"})


def _hook(draw: Draw) -> Plain:
    kind = draw(st.sampled_from(_HOOK_KINDS))
    made: dict[str, Plain] = {"kind": kind}
    if draw(st.booleans()):
        hook = draw(st.sampled_from([hook for hook in BUILTIN_HOOKS.values() if kind in hook.kinds]))
        made["call"] = {hook.name: _arguments(draw, hook, 9)}
    else:
        made["do"] = "return None"
    if draw(st.booleans()):
        made["where"] = _one(draw, {}, {"type": "Linear"}, {"name": ["a.*"], "not": {"type": "ReLU"}})
    if draw(st.booleans()):
        made["prepend"] = _one(draw, True, "$(width > 2)")
    return made


def _container(draw: Draw, depth: int) -> Plain:
    name = _one(draw, "Sequential", "ModuleList", "ModuleDict")
    if name == "ModuleDict" or draw(st.booleans()):
        return {name: _one(draw, None, _named(draw, depth)) if name == "ModuleDict" else _named(draw, depth)}
    return {
        name: [_repeat(draw, depth) if draw(st.integers(0, 4)) == 0 else _module(draw, depth + 1) for _ in range(2)]
    }


def _named(draw: Draw, depth: int) -> dict[str, Plain]:
    made = {name: _module(draw, depth + 1) for name in ("first", "second")}
    if draw(st.integers(0, 3)) == 0:
        made["step$i"] = {"repeat": _one(draw, 2, [1, 2], "$width"), "as": "i", "module": _module(draw, depth + 1)}
    return made


def _repeat(draw: Draw, depth: int) -> Plain:
    made: dict[str, Plain] = {"repeat": _one(draw, 2, [1, 2], "$width")}
    if draw(st.booleans()):
        return {**made, "module": _module(draw, depth + 1)}
    return {**made, "as": "i", "children": [_module(draw, depth + 1)], "when": _one(draw, True, "$(width > 2)")}


def _composite(draw: Draw, depth: int) -> dict[str, Plain]:
    made: dict[str, Plain] = {"children": _one(draw, None, _named(draw, depth)), "forward": "return x"}
    further: dict[str, Plain] = {
        "description": "text",
        "let": {"half": "$(width // 2)"},
        "inputs": _one(
            draw, ["x"], {"x": ["B", 4]}, {"x": "any", "scale": 1.0}, {"x": {"shape": ["B"], "dtype": "int64"}}
        ),
        "outputs": _one(draw, ["y"], {"y": "any"}, {"y": ["B", 4]}),
        "parameters": _one(draw, {"p": {"shape": [4], "init": "zeros_"}}, {"p": None}, None),
        "buffers": _one(draw, {"b": {"value": [1, 2]}}, {"b": {"shape": ["$width"], "fill": 1, "persistent": False}}),
        "methods": _one(draw, {"twice": "return 2 * x"}, {"two": {"inputs": ["a"], "forward": "return a"}}),
        "apply": [{"where": {"type": "Linear"}, "init": {"weight": _initializer(draw)}}],
        "requires_grad": True,
        "require": {"$(width > 0)": "a width"},
    }
    for key in draw(st.lists(st.sampled_from(sorted(further)), max_size=3, unique=True)):
        made[key] = further[key]
    return made


# --- documents --------------------------------------------------------------------------------------------------------

_ARGS: dict[str, Plain] = {
    "width": 4,
    "act": {"type": "module", "default": "ReLU"},
    "norm": {"type": "layer", "default": "LayerNorm"},
}
_BLOCK: dict[str, Plain] = {
    "args": {"size": "int", "rate": {"type": "float", "default": None, "ge": 0}},
    "Linear": ["$size", 4],
}


@st.composite
def documents(draw: Draw) -> dict[str, Plain]:
    """A document whose form is right."""
    root = _container(draw, 0) if draw(st.booleans()) else _composite(draw, 0)
    made: dict[str, Plain] = {"confnet": 1, "args": _ARGS, "modules": {"Block": _BLOCK}}
    if draw(st.booleans()):
        made |= {"name": "Net", "variants": {"wide": {"width": 8}, "same": None}}
    made |= {key: value for key, value in root.items() if key != "args"}
    return copy.deepcopy(made)


_STRAY: tuple[Plain, ...] = (
    None, True, 0, -1, 3, 1.5, "", "text", "same", "auto", "$width", "a$width", "$(width > 2)", "ReLU", "Linear", "int",
    [], [1, 2], [[1]], ["a"], {}, {"a": 1}, {"ReLU": None}, {"Linear": [4, 4]}, {"when": True}, {"repeat": 2},
)  # fmt: skip
_KEYS = (
    *HEADER_KEYS, *SCOPE_KEYS, *COMPOSITE_KEYS, *MODIFIER_KEYS, "ReLU", "Linear", "Sequential", "Unknown", "repeat",
    "as", "module", "share", "bias", "shape", "value", "kind", "call", "do", "type", "default", "strange",
)  # fmt: skip


@st.composite
def spoilt(draw: Draw) -> dict[str, Plain]:
    """A document with one or two changes somewhere: mostly wrong, now and then still right."""
    made: dict[str, Plain] = draw(documents())
    for _ in range(draw(st.integers(1, 2))):
        _spoil(draw, made)
    return made


def _spoil(draw: Draw, document: dict[str, Plain]) -> None:
    places = [place for place in _places(document) if place]
    holder = draw(st.sampled_from(places))
    value = copy.deepcopy(draw(st.sampled_from(_STRAY)))
    if isinstance(holder, list):
        at = draw(st.integers(0, len(holder) - 1))
        match _one(draw, "replace", "remove", "add"):
            case "replace":
                holder[at] = value
            case "remove":
                del holder[at]
            case "add":
                holder.insert(at, value)
        return
    key = draw(st.sampled_from(sorted(holder)))
    match _one(draw, "replace", "replace", "remove", "misspell", "add"):
        case "replace":
            holder[key] = value
        case "remove":
            del holder[key]
        case "misspell":
            holder[_one(draw, key[:-1] or "x", f"{key}x", key.lower(), key.upper(), f"{key}-")] = holder.pop(key)
        case "add":
            holder[draw(st.sampled_from(_KEYS))] = value


def _places(value: Plain) -> Iterator[list[Plain] | dict[str, Plain]]:
    """Every list and mapping of a document, itself first."""
    if isinstance(value, dict):
        yield value
        for child in value.values():
            yield from _places(child)
    elif isinstance(value, list):
        yield value
        for child in value:
            yield from _places(child)
