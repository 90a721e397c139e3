"""The catalog for a reader: lists of what a file may name, and a page about each. Plain data, made without torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from fnmatch import fnmatchcase
from typing import Any, Final, get_args

from confnet.catalog import functions
from confnet.catalog.arguments import Argument, Takes, bounds_text
from confnet.catalog.documentation import (
    Documentation,
    example_of,
    function_documentation,
    hook_documentation,
    initializer_documentation,
    layer_documentation,
    parametrization_documentation,
)
from confnet.catalog.hooks import BUILTIN_HOOKS, HOOK_KINDS
from confnet.catalog.initializers import initializer, initializer_names
from confnet.catalog.layers import NOT_LAYERS, Layer
from confnet.catalog.parametrizations import parametrization, parametrization_names
from confnet.catalog.registry import DEFAULT_REGISTRY, Function
from confnet.catalog.types import show
from confnet.diagnostics import closest
from confnet.records import dataclass

__all__ = ["TABLES", "Entry", "Page", "PageArgument", "Table"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a list. `group` says what kind of thing it is, where the list has several."""

    name: str
    summary: str
    group: str = ""

    def as_data(self) -> dict[str, str]:
        """As JSON has it."""
        return {"name": self.name, "summary": self.summary, **({"group": self.group} if self.group else {})}


@dataclass(frozen=True, slots=True)
class PageArgument:
    """One argument. `type` and `bounds` are text; `default` is text as a file would write it, None where required."""

    name: str
    type: str = ""
    default: str | None = None
    bounds: str = ""
    by_name: bool = False
    description: str = ""

    def as_data(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "name": self.name,
            "type": self.type,
            "required": self.default is None,
            "default": self.default,
            "bounds": self.bounds,
            "by_name": self.by_name,
            "description": self.description,
        }


@dataclass(frozen=True, slots=True)
class Page:
    """Everything about one name. `facts` are further lines, by their heading; `withheld` says why of each argument."""

    name: str
    summary: str
    calls: tuple[str, ...] = ()
    arguments: tuple[PageArgument, ...] = ()
    facts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    withheld: Mapping[str, str] = field(default_factory=dict)
    example: str = ""
    url: str = ""

    def as_data(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "name": self.name,
            "summary": self.summary,
            "calls": list(self.calls),
            "arguments": [argument.as_data() for argument in self.arguments],
            "facts": {name: list(lines) for name, lines in self.facts.items()},
            "withheld": dict(self.withheld),
            "example": self.example,
            "url": self.url,
        }


@dataclass(frozen=True, slots=True)
class Table:
    """One kind of thing that a file may name: all of them, the page about one, and what to say of one left out."""

    what: str
    entries: Callable[[], tuple[Entry, ...]]
    page: Callable[[str], Page]
    refusal: Callable[[str], str] = lambda _: ""

    def found(self, pattern: str) -> tuple[Entry, ...]:
        """The entries that a pattern finds: one of exactly that name, else those it matches or is a part of.

        Letters may be capital or small. `*`, `?` and `[...]` mean what they mean to a shell.
        """
        entries = self.entries()
        exact = [entry for entry in entries if entry.name == pattern] or [
            entry for entry in entries if entry.name.lower() == pattern.lower()
        ]
        if exact:
            return tuple(exact[:1])
        wanted = pattern.lower()
        if not re.search(r"[*?[]", wanted):
            wanted = f"*{wanted}*"
        return tuple(entry for entry in entries if fnmatchcase(entry.name.lower(), wanted))

    def near(self, pattern: str) -> str | None:
        """The name that was meant, if one is near."""
        names = [entry.name for entry in self.entries()]
        last = {name.rpartition(".")[2]: name for name in reversed(names)}
        near = closest(pattern, names) or closest(pattern.rpartition(".")[2], list(last))
        return last.get(near, near) if near is not None else None


_SENTENCE: Final = re.compile(r"(.+?[^.\s]{2}[.!?])(?= [A-Z`(]|$)")


def _entry(name: str, said: Documentation | None, group: str = "") -> Entry:
    """A line of a list: the first sentence is enough there."""
    text = said.summary if said is not None else ""
    first = _SENTENCE.match(text)
    return Entry(name, first[1] if first else text, group)


def _arguments(callee: Takes, said: Documentation) -> tuple[PageArgument, ...]:
    return tuple(_argument(argument, said.arguments.get(argument.name, "")) for argument in callee.arguments)


def _argument(argument: Argument, description: str) -> PageArgument:
    return PageArgument(
        argument.name,
        _type(argument),
        None if argument.required else show(argument.default),
        bounds_text(argument),
        not argument.positional,
        description or argument.description,
    )


def _type(argument: Argument) -> str:
    """The type as a file would write its values: `[int, int]` for a tuple, `null` for None, `auto` where it may be."""
    if argument.choices:
        return " | ".join(show(choice) for choice in argument.choices)
    text = re.sub(r"\btuple\[", "[", argument.type)
    text = re.sub(r"\bNone\b", "null", re.sub(r"'([\w-]+)'", r"\1", text))
    return f"{text} | auto" if argument.inferable else text


def _registered(functions: Mapping[str, Function], find: Callable[[str], Documentation | None]) -> Iterable[Entry]:
    return (_entry(name, find(name), "registered") for name in functions)


# --- layers -------------------------------------------------------------------------------------------------------


def _layers() -> tuple[Entry, ...]:
    registered = DEFAULT_REGISTRY.layers
    names = DEFAULT_REGISTRY.layer_names()
    return tuple(_entry(name, layer_documentation(name), "registered" if name in registered else "") for name in names)


def _layer_page(name: str) -> Page:
    layer, said = DEFAULT_REGISTRY.lookup(name), layer_documentation(name)
    assert layer is not None
    assert said is not None
    return Page(
        name,
        said.summary,
        arguments=_arguments(layer, said),
        facts={heading: lines for heading, lines in _layer_facts(layer) if lines},
        withheld=layer.withheld,
        example=example_of(name),
        url=said.url,
    )


def _layer_facts(layer: Layer) -> Iterable[tuple[str, tuple[str, ...]]]:
    takes = [p.name if p.required else f"{p.name}=..." for p in layer.forward.parameters or ()]
    yield "forward", (f"({', '.join(takes)})",) if layer.has_forward else ()
    yield "parameters", layer.parameters
    yield "buffers", layer.buffers
    yield "children", tuple(f"{name}: {cls}" if cls else name for name, cls in layer.children.items())
    yield "a kind of", layer.bases
    if layer.cls is not None:
        yield "registered by", (layer.cls.__module__,)
    if layer.variadic or layer.keywords:
        yield "also takes", ("any further arguments",)


def _not_a_layer(name: str) -> str:
    row = NOT_LAYERS.get(name)
    return f"{row.reason}: {row.help}" if row is not None else ""


# --- functions ----------------------------------------------------------------------------------------------------

_SPACES: Final[Mapping[str, str]] = {"torch": "torch", "functional": "F", "tensor": "Tensor"}


def _functions() -> tuple[Entry, ...]:
    listed = [f"{_SPACES[space]}.{name}" for space in get_args(functions.Namespace) for name in functions.names(space)]
    own = DEFAULT_REGISTRY.functions
    return (*(_entry(name, function_documentation(name)) for name in listed), *_registered(own, function_documentation))


def _function_page(name: str) -> Page:
    said = function_documentation(name)
    assert said is not None
    own = DEFAULT_REGISTRY.functions.get(name)
    if own is not None:
        return _registered_page(own, said, 0)
    space, _, rest = name.partition(".")
    find = {"torch": functions.torch_function, "F": functions.functional, "Tensor": functions.tensor_method}
    found = find[space](rest)
    assert found is not None
    label = name.replace("Tensor.", "tensor.")
    calls = tuple(f"{label}({_form(form)})" for form in found.forms) or (f"{label}(...)",)
    facts = {
        "group": (found.group,),
        "changes": ("self",) if found.in_place else found.mutates,
        "may share memory": ("with an argument",) if found.view and not found.in_place else (),
    }
    arguments = tuple(
        PageArgument(p.name, default=None if p.required else "", by_name=not p.positional, description=text)
        for p in found.parameters or ()
        if (text := said.arguments.get(p.name, ""))
    )
    return Page(
        name, said.summary, calls, arguments, {key: lines for key, lines in facts.items() if lines}, {}, "", said.url
    )


def _form(form: functions.Form) -> str:
    words: list[str] = []
    for parameter in form.parameters:
        if not parameter.positional and "*" not in words:
            words.append("*")
        words.append(parameter.name if parameter.required else f"{parameter.name}=...")
    if form.variadic and words:
        last = max(index for index, parameter in enumerate(form.parameters) if parameter.positional)
        words[last] = f"*{words[last].removesuffix('=...')}"
        words = [word for word in words if word != "*"]
    return ", ".join(words)


def _refused_function(name: str) -> str:
    return functions.refusal_help(name)


def _registered_page(function: Function, said: Documentation, given: int) -> Page:
    callee = function.after(given)
    return Page(
        function.name,
        said.summary,
        arguments=_arguments(callee, said),
        facts={"registered by": (function.call.__module__,)},
        withheld=callee.withheld,
    )


# --- initialisers, parametrizations, hooks ------------------------------------------------------------------------


def _initializers() -> tuple[Entry, ...]:
    own = _registered(DEFAULT_REGISTRY.initializers, initializer_documentation)
    return (*(_entry(name, initializer_documentation(name)) for name in initializer_names()), *own)


def _initializer_page(name: str) -> Page:
    said = initializer_documentation(name)
    assert said is not None
    own = DEFAULT_REGISTRY.initializers.get(name)
    if own is not None:
        return _registered_page(own, said, 1)
    found = initializer(name)
    assert found is not None
    least, most = found.min_dimensions, found.max_dimensions
    counts = f"of {least}" if least == most else f"from {least} to {most}" if most else f"of {least} or more"
    facts = {"tensors": (f"{counts} dimensions",)} if least else {}
    return Page(
        name, said.summary, (), _arguments(found, said), facts, found.withheld, f"init: {_use(found)}", said.url
    )


def _parametrizations() -> tuple[Entry, ...]:
    return tuple(_entry(name, parametrization_documentation(name)) for name in parametrization_names())


def _parametrization_page(name: str) -> Page:
    said, found = parametrization_documentation(name), parametrization(name)
    assert said is not None
    assert found is not None
    example = f"parametrize: {{weight: {name}}}"
    return Page(name, said.summary, (), _arguments(found, said), {}, found.withheld, example, said.url)


def _use(callee: Takes) -> str:
    """How a rule names an initialiser: alone, or with its required arguments."""
    given = ", ".join(f"{argument.name}: 0.1" for argument in callee.arguments if argument.required)
    return f"{{weight: {{{callee.name}: {{{given}}}}}}}" if given else f"{{weight: {callee.name}}}"


def _hooks() -> tuple[Entry, ...]:
    return (
        *(_entry(name, hook_documentation(name), "kind") for name in HOOK_KINDS),
        *(_entry(name, hook_documentation(name), "built-in") for name in BUILTIN_HOOKS),
        *_registered(DEFAULT_REGISTRY.hooks, hook_documentation),
    )


def _hook_page(name: str) -> Page:
    said = hook_documentation(name)
    assert said is not None
    kind, built_in, own = HOOK_KINDS.get(name), BUILTIN_HOOKS.get(name), DEFAULT_REGISTRY.hooks.get(name)
    if kind is not None:
        calls = (f"do: code over {', '.join(kind.names('with_kwargs' in kind.options))}",)
        arguments = tuple(PageArgument(name, description=text) for name, text in said.arguments.items())
        facts = {"options": kind.options} if kind.options else {}
        where = ", tensor: weight" if kind.on_tensor else ""
        call = next(hook for hook in BUILTIN_HOOKS.values() if name in hook.kinds) if _is_served(name) else None
        example = f"hooks: [{{kind: {name}{where}, {_call(call)}}}]"
        given = tuple(argument for argument in arguments if argument.name not in kind.options)
        return Page(name, said.summary, calls, given, facts, {}, example, said.url)
    if built_in is not None:
        first = built_in.kinds[0]
        where = ", tensor: weight" if HOOK_KINDS[first].on_tensor else ""
        example = f"hooks: [{{kind: {first}{where}, {_call(built_in)}}}]"
        return Page(name, said.summary, (), _arguments(built_in, said), {"kinds": built_in.kinds}, {}, example)
    assert own is not None
    return _registered_page(own, said, 0)


def _is_served(kind: str) -> bool:
    return any(kind in hook.kinds for hook in BUILTIN_HOOKS.values())


_VALUES: Final[Mapping[str, str]] = {"str": "features", "float": "0.5", "dtype": "float32"}


def _call(hook: Takes | None) -> str:
    if hook is None:
        return "do: pass"
    given = ", ".join(f"{a.name}: {_VALUES[a.type]}" for a in hook.arguments if a.required)
    return f"call: {{{hook.name}: {{{given}}}}}" if given else f"call: {hook.name}"


TABLES: Final[Mapping[str, Table]] = {
    "layers": Table("layer", _layers, _layer_page, _not_a_layer),
    "functions": Table("function", _functions, _function_page, _refused_function),
    "initializers": Table("initializer", _initializers, _initializer_page),
    "parametrizations": Table("parametrization", _parametrizations, _parametrization_page),
    "hooks": Table("hook", _hooks, _hook_page),
}
"""What a file may name, by the name of the command that lists it."""
