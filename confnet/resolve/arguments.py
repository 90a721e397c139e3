"""Arguments of calls to values: of layers, definitions, documents, initialisers and hooks alike."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from dataclasses import replace
from typing import Protocol

from confnet.calls import Written, declared, report_unknown_layer
from confnet.catalog.arguments import Argument, Bound, Callee, Takes, bind
from confnet.catalog.registry import lookup
from confnet.catalog.types import UNKNOWN_VALUE
from confnet.diagnostics import Span
from confnet.plan import BROKEN, CONTAINERS, LayerName, ModulePlan, Origin, Share
from confnet.resolve.places import Place, Reports, TooLarge
from confnet.source import Mapping, Node, Scalar, plain
from confnet.spec import read_module
from confnet.spec.models import ArgSpec, LetSpec, ModuleSpec, RequireSpec
from confnet.spec.words import is_layer_key
from confnet.values import Names, Values

__all__ = ["Arguments", "Modules"]


class Modules(Protocol):
    """Whoever makes the plan of a module: arguments may be modules."""

    def optional(self, spec: ModuleSpec, place: Place) -> ModulePlan | Share | None: ...


_PLAIN = (bool, int, float, str, type(None))


class Arguments(Reports):
    """Binds what a file writes to what is called, `most` calls in all: a repeat may ask for any number of them."""

    def __init__(self, values: Values, modules: Modules, most: int, record: bool = False) -> None:
        self.values, self.modules, self.most, self.record = values, modules, most, record
        self.found = values.found
        self.count = 0
        self.results: dict[tuple[object, ...], Bound] = {}
        self.callees: dict[tuple[str, int], tuple[tuple[ArgSpec, ...], Callee]] = {}
        self.kept: dict[int, Takes] = {}  # objects whose id() is part of a key of `results`

    def bound(self, callee: Takes, given: Written, place: Place) -> tuple[tuple[object, ...] | None, dict[str, object]]:
        """The values of a call, checked against the callee's arguments. (None, {}) where they are wrong."""
        positional: list[object] = []
        keywords: dict[str, object] = {}
        for slot, node, argument in given.slots(callee):
            value = self.argument(node, argument, place, given.literal)
            if isinstance(slot, int):
                positional.append(value)
            else:
                keywords[slot] = value
        result = self.result(callee, positional, keywords, given, place)
        given.report(result.problems, self.found, place.names.chain)
        if result.problems:
            return None, {}
        return tuple(result.positional), dict(result.keywords)

    def origins(
        self, callee: Takes, given: Written, place: Place, values: AnyMapping[str, object]
    ) -> dict[str, Origin]:
        """Where the arguments of a call come from, by name, if that is recorded."""
        if not self.record:
            return {}
        found = {}
        for slot, node, argument in given.slots(callee):
            name = argument.name if argument is not None else str(slot)
            kind = "call" if not given.literal else "set" if node.span.file.startswith("<args") else "variant"
            names = Names() if given.literal else place.names
            found[name] = names.origin(kind, node, values.get(name, UNKNOWN_VALUE))
        return found

    def result(
        self, callee: Takes, positional: list[object], keywords: dict[str, object], given: Written, place: Place
    ) -> Bound:
        """What `bind` makes of a call; a repeat may make the same one many thousand times."""
        self.computed(given.span, place)
        values = [*positional, *keywords.values()]
        key: tuple[object, ...] | None = None
        if all(type(value) in _PLAIN for value in values):
            key = (id(callee), *keywords, *map(type, values), *values)
            if key in self.results:
                return self.results[key]
        made = bind(callee, positional, keywords)
        if key is not None:
            self.kept[id(callee)] = callee
            self.results[key] = made
        return made

    def computed(self, span: Span, place: Place, number: int = 1) -> None:
        """Count what is made anew each time; raises TooLarge, which is reported, where it is too much."""
        self.count += number
        if self.count > self.most:
            message = f"the file asks for more than {self.most:,} layers and definitions to be worked out one by one"
            self.error("too-much-work", message, span, place)
            raise TooLarge

    def argument(self, node: Node, argument: Argument | None, place: Place, literal: bool) -> object:
        """The value of one argument: a module where its type is one, else what the node evaluates to."""
        deferred = isinstance(node, Scalar) and isinstance(node.value, str) and "$" in node.value
        if argument is not None and argument.takes_module and not deferred:
            if isinstance(node, Scalar) and node.value is None:
                return None
            if isinstance(node, Mapping) or (
                isinstance(node, Scalar) and isinstance(node.value, str) and is_layer_key(node.value)
            ):
                spec = read_module(node, argument.name, self.found)
                return UNKNOWN_VALUE if spec is None else self.module_value(spec, place)
        value: object = plain(node) if literal else self.values.value(node, place.names)
        if argument is not None and argument.parsed.has("layer") and isinstance(value, str):
            return self.layer_value(value, node, place)
        return value

    def module_value(self, spec: ModuleSpec, place: Place) -> object:
        plan = self.modules.optional(spec, place)
        if isinstance(plan, Share):
            self.error(
                "invalid-share",
                "a share cannot be an argument",
                spec.span,
                place,
                help="write the module out, or make it a child",
            )
            return UNKNOWN_VALUE
        return UNKNOWN_VALUE if plan is BROKEN else plan

    def layer_value(self, name: str, node: Node, place: Place) -> object:
        if name in place.scope.definitions or name in CONTAINERS or lookup(name) is not None:
            return LayerName(name, place.scope)
        self.unknown_layer(name, node.span, place)
        return UNKNOWN_VALUE

    def unknown_layer(self, name: str, span: Span, place: Place) -> None:
        """Report a name that no layer and no definition of the file has."""
        report_unknown_layer(name, span, place.scope.definitions, self.found, place.names.chain)

    # --- definitions and documents --------------------------------------------------------------------------------

    def arguments(
        self, label: str, args: tuple[ArgSpec, ...], given: Written, caller: Place, inner: Place
    ) -> tuple[Names, dict[str, object]]:
        """Bind a call's arguments to the args of a definition or document; defaults may use earlier args.

        The names have the origins of the args, where they are recorded.
        """
        known = (label, id(args))
        if known not in self.callees:
            self.callees[known] = (args, Callee(label, tuple(declared(arg) for arg in args)))
        callee = self.callees[known][1]
        positional, keywords = self.bound(callee, given, caller)
        own: dict[str, object] = {}
        if positional is None:
            own = {arg.name: UNKNOWN_VALUE for arg in args}
            return inner.names.with_names(own), own
        own.update(zip((arg.name for arg in args), positional, strict=False))
        own.update(keywords)
        origins = self.origins(callee, given, caller, own)
        names = inner.names
        ordered: dict[str, object] = {}
        for arg, argument in zip(args, callee.arguments, strict=True):
            if arg.name not in own:
                own[arg.name] = self.default(label, arg, argument, replace(inner, names=names))
                if self.record and arg.default is not None:
                    origins[arg.name] = names.origin("default", arg.default, own[arg.name])
            ordered[arg.name] = own[arg.name]
            names = names.with_names({arg.name: own[arg.name]}, {n: o for n, o in origins.items() if n == arg.name})
        return names, ordered

    def default(self, label: str, arg: ArgSpec, argument: Argument, place: Place) -> object:
        if arg.default is None:
            return UNKNOWN_VALUE
        value = self.argument(arg.default, argument, place, literal=False)
        result = bind(Callee(label, (argument,)), (), {arg.name: value})
        for problem in result.problems:
            self.error(problem.code, problem.message, arg.default.span, place, help=problem.help)
        return UNKNOWN_VALUE if result.problems else result.keywords[arg.name]

    def constants(self, let: tuple[LetSpec, ...], names: Names) -> Names:
        for constant in let:
            value = self.values.value(constant.value, names)
            origins = {constant.name: names.origin("let", constant.value, value)} if self.record else None
            names = names.with_names({constant.name: value}, origins)
        return names

    def requirements(self, require: tuple[RequireSpec, ...], names: Names) -> bool:
        """Whether every condition holds. What is built on values that break one would only be wrong again."""
        met = True
        for item in require:
            condition = Scalar(
                item.condition.text,
                item.condition.text,
                item.span,
                item.condition.style,
                item.condition.first_line,
                item.condition.indent,
            )
            value = self.values.scalar(condition, names)
            if value is not UNKNOWN_VALUE and not value:
                message = self.values.text(Scalar(None, str(item.message.value), item.message.span), names)
                self.values.error("requirement", message, item.span, names)
                met = False
        return met
