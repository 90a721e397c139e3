"""What each module of a plan says of itself, as texts to compare."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from confnet.catalog.registry import lookup
from confnet.catalog.types import show
from confnet.plan import AUTO, CONTAINERS, ModulePlan, Share
from confnet.resolved.code import codes_of, mentions
from confnet.resolved.parts import (
    buffer_data,
    hook_data,
    inputs_data,
    outputs_data,
    parameter_data,
    rule_data,
)
from confnet.source.layout import Code, flow_text, scalar_text

__all__ = ["Facts", "FactsOf"]

Said = tuple[str, str]
"""What is said (`argument`, `parameters`, ...), and its name."""


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """A module without its place: what it says, its code by name, and the modules in it.

    `arguments` are those that differ from the defaults, `defaults` all others of known default. Modules among the
    arguments are `children` under their names in brackets; a share is a fact of its holder. `digest` is equal for
    modules that are the same all through.
    """

    cls: str
    base: str
    arguments: Mapping[str, str]
    defaults: Mapping[str, str]
    said: Mapping[Said, str]
    code: Mapping[str, str]
    children: Mapping[str, ModulePlan]
    is_list: bool
    digest: str


@dataclass
class FactsOf:
    """Reads the facts of plans, each once. `outside` are names of args that code of other modules reads."""

    outside: frozenset[str] = frozenset()
    known: dict[int, Facts] = field(default_factory=dict)

    def __call__(self, plan: ModulePlan) -> Facts:
        if id(plan) not in self.known:
            self.known[id(plan)] = self.read(plan)
        return self.known[id(plan)]

    def read(self, plan: ModulePlan) -> Facts:
        cls = plan.definition.name if plan.definition is not None else plan.base
        arguments, defaults = _arguments(plan)
        said, code = _said(plan)
        read = mentions(codes_of(plan)) | (self.outside & {*plan.own_args})
        said |= {
            ("constant", name): _shown(value)
            for name, value in plan.constants.items()
            if name in read and name not in plan.children
        }
        children = {name: child for name, child in plan.children.items() if isinstance(child, ModulePlan)}
        children |= {f"({path})": module for name, value in _given(plan) for path, module in _modules_in(name, value)}
        inner = [(name, self(child).digest) for name, child in children.items()]
        order = list(plan.children)
        text = repr(
            (cls, plan.base, sorted(arguments.items()), sorted(said.items()), sorted(code.items()), inner, order)
        )
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        is_list = plan.base in CONTAINERS and list(children) == [str(index) for index in range(len(children))]
        return Facts(cls, plan.base, arguments, defaults, said, code, children, is_list, digest)


def _given(plan: ModulePlan) -> Iterator[tuple[str, object]]:
    """The arguments that a layer is called with, by name."""
    layer = lookup(plan.base)
    names = [argument.name for argument in layer.arguments if argument.positional] if layer is not None else []
    for index, value in enumerate(plan.positional):
        yield names[index] if index < len(names) else str(index), value
    yield from plan.keywords.items()


def _modules_in(name: str, value: object) -> Iterator[tuple[str, ModulePlan]]:
    """The modules of an argument: itself, or in lists and mappings."""
    if isinstance(value, ModulePlan):
        yield name, value
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _modules_in(f"{name}[{index}]", item)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _modules_in(f"{name}[{key}]", item)


def _arguments(plan: ModulePlan) -> tuple[dict[str, str], dict[str, str]]:
    """The arguments of a layer that are not its defaults, and the defaults that it has."""
    layer = lookup(plan.base)
    defaults = {a.name: _shown(a.default) for a in layer.arguments if not a.required} if layer is not None else {}
    given = {name: _shown(value) for name, value in _given(plan) if not isinstance(value, ModulePlan)}
    own = {name: text for name, text in given.items() if defaults.get(name) != text}
    return own, {name: text for name, text in defaults.items() if name not in own}


def _shown(value: object) -> str:
    if value == AUTO:
        return "auto"
    return scalar_text(value, flow=True) if isinstance(value, str) else show(value, sys.maxsize)


def _said(plan: ModulePlan) -> tuple[dict[Said, str], dict[str, str]]:
    """What a module says beside its arguments, and its code."""
    said: dict[Said, str] = {}
    code: dict[str, str] = {}

    def say(what: str, name: str, data: object) -> None:
        text = flow_text(data)
        if text is None:  # code of several lines
            for part, lines in _codes(data):
                code[f"{what}.{name}{part}"] = lines
            text = flow_text(_short(data)) or ""
        said[(what, name)] = text

    for name, child in plan.children.items():
        if isinstance(child, Share):
            say("share", name, child.path)
    for name, parameter in plan.parameters.items():
        say("parameters", name, parameter_data(parameter))
    for name, buffer in plan.buffers.items():
        say("buffers", name, buffer_data(buffer))
    for tie in plan.ties:
        say("tie", tie.name, tie.to)
    for index, rule in enumerate(plan.rules):
        say("apply", str(index), rule_data(rule, frozenset()))
    for hook in plan.hooks:
        say("hooks", hook.name, hook_data(hook))
    if plan.definition is not None:
        for name, method in plan.definition.methods.items():
            code[name] = method.code.text.rstrip()
        _say_contracts(plan, say)
    return said, code


def _say_contracts(plan: ModulePlan, say: Callable[[str, str, object], None]) -> None:
    for method, contract in plan.contracts.items():
        of = "" if method == "forward" else f"{method}."
        for what, data in (("inputs", inputs_data(contract, {})), ("outputs", outputs_data(contract, {}))):
            names = data if isinstance(data, list) else ()
            entries = data if isinstance(data, dict) else dict.fromkeys(names, "any")
            for name, text in entries.items():
                say(what, f"{of}{name}", text)


def _codes(data: object, path: str = "") -> Iterator[tuple[str, str]]:
    """The code of several lines inside some data, with the way to it."""
    if isinstance(data, Code) and "\n" in data.text.rstrip():
        yield path, data.text.rstrip()
    elif isinstance(data, dict):
        for key, item in data.items():
            yield from _codes(item, f"{path}.{key}")
    elif isinstance(data, list):
        for index, item in enumerate(data):
            yield from _codes(item, f"{path}.{index}")


def _short(data: object) -> object:
    """The data with `...` for code of several lines, which is compared by itself."""
    if isinstance(data, Code):
        return "..." if "\n" in data.text.rstrip() else data
    if isinstance(data, dict):
        return {key: _short(item) for key, item in data.items()}
    return [_short(item) for item in data] if isinstance(data, list) else data
