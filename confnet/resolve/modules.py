"""Modules of a document to plans: layers, containers, composites and instances of definitions."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as AnyMapping
from dataclasses import replace

from confnet.calls import Written, report_unknown_layer
from confnet.catalog.arguments import Takes
from confnet.catalog.registry import lookup
from confnet.catalog.types import UNKNOWN_VALUE
from confnet.diagnostics import Collector, Note, Span
from confnet.limits import Limits
from confnet.plan import AUTO, BROKEN, InitPlan, LayerName, Method, ModulePlan, Origin, Share, total_size
from confnet.records import dataclass
from confnet.resolve.arguments import Arguments
from confnet.resolve.classes import Classes
from confnet.resolve.content import Content
from confnet.resolve.contracts import Contracts
from confnet.resolve.places import NO_BODY, Place, Reports, Scope, TooLarge
from confnet.resolve.state import State, sources_first
from confnet.rules import RuleReader
from confnet.source import Mapping, Node, Scalar, Sequence
from confnet.spec.models import ArgSpec, DefinitionSpec, LayerSpec, MethodSpec, ModifiersSpec, ModuleSpec
from confnet.spec.words import is_layer_key
from confnet.values import Names, Values, is_plain

__all__ = ["Modules"]

COMPOSITE_CALLS = 4
"""So many calls of layers take as long as one composite."""


class Modules(Reports):
    """Makes the plan of each module; a definition is resolved once per distinct arguments.

    `own_scope` holds the ids of the modules whose constants are settled before: of documents and definitions.
    """

    def __init__(self, own_scope: set[int], found: Collector, limits: Limits, record: bool = False) -> None:
        self.own_scope, self.found, self.limits, self.record = own_scope, found, limits, record
        self.values = Values(found)
        self.arguments = Arguments(self.values, self, limits.steps // (1 if record else 32), record)
        self.state = State(self.arguments)
        self.content = Content(self.values, self, limits.modules, self.counted, record)
        self.classes = Classes(self.content)
        self.contracts = Contracts(self.state)
        self.resolved: dict[tuple[object, ...], ModulePlan] = {}
        self.static: dict[int, tuple[LayerSpec, ModulePlan, tuple[Note, ...]]] = {}
        self.kept: list[object] = []  # objects whose id() is part of a key of `resolved`
        self.count = self.matches = 0
        self.has_auto = False

    def module(self, spec: ModuleSpec, place: Place) -> ModulePlan:
        """The plan of a module that stands where it cannot be absent or shared."""
        plan = self.optional(spec, place)
        if isinstance(plan, ModulePlan):
            return plan
        what = "a share" if isinstance(plan, Share) else "absent"
        self.error("not-a-module", f"a module is needed here, and this one is {what}", spec.span, place)
        return BROKEN

    def optional(self, spec: ModuleSpec, place: Place) -> ModulePlan | Share | None:
        """The plan of a module, a share of another, or None where its `when` is false."""
        modifiers = spec.modifiers
        if modifiers is not None and not self.values.condition(modifiers.when, place.names):
            return self.optional(modifiers.otherwise, place) if modifiers.otherwise else None
        if spec.share is not None:
            return Share(self.values.text(spec.share, place.names), spec.share.span)
        if spec.reference is not None:
            return self.referenced(spec.reference, place)
        self.counted(spec.span, place, 1)
        if spec.body is not None and id(spec) not in self.own_scope:  # a composite in place has constants of its own
            place = replace(place, names=self.arguments.constants(spec.body.let, place.names))
            if not self.arguments.requirements(spec.body.require, place.names):
                return BROKEN
        plan = self.composite(spec, place) if spec.layer is None else self.layer(spec, spec.layer, place)
        return plan if modifiers is None or plan is BROKEN else self.modified(plan, spec, modifiers, place)

    def modified(self, plan: ModulePlan, spec: ModuleSpec, modifiers: ModifiersSpec, place: Place) -> ModulePlan:
        """The plan with what stands beside its layer key or in its body: `apply`, a rule of its own, hooks."""
        reader = RuleReader(PlacedTools(self.arguments, self.state, self.classes, place))
        rules = list(reader.rules(modifiers.apply or (), place.names))
        own = reader.own_rule(modifiers, spec.span, place.names)
        hooks = reader.hooks(
            modifiers.hooks or (), place.names, in_body=spec.body is not None, taken=[hook.name for hook in plan.hooks]
        )
        self.matches += plan.size * (len(rules) + len(hooks))  # each is compared with every module inside
        if self.matches > self.limits.steps:
            message = f"rules and hooks must be compared with modules more than {self.limits.steps:,} times"
            self.error("too-much-work", message, spec.span, place)
            raise TooLarge
        return replace(plan, rules=(*plan.rules, *rules, *([own] if own else [])), hooks=(*plan.hooks, *hooks))

    def counted(self, span: Span, place: Place, number: int) -> None:
        self.count += number
        if self.count > self.limits.modules:
            self.error(
                "too-many-modules", f"the file expands to more than {self.limits.modules:,} modules", span, place
            )
            raise TooLarge

    def referenced(self, node: Scalar, place: Place) -> ModulePlan | None:
        """The module that a `$` value is: an argument of type `module`, or the name of a layer."""
        value = self.values.scalar(node, place.names)
        if value is UNKNOWN_VALUE:
            return BROKEN
        if isinstance(value, ModulePlan):
            self.counted(node.span, place, value.size)
            return value
        if value is None:
            return None
        if isinstance(value, LayerName) or (isinstance(value, str) and is_layer_key(value)):
            return self.call(value, Written((), {}, node.span), place, node)
        self.error(
            "not-a-module",
            f"`{node.text}` is `{value}`, not a module",
            node.span,
            place,
            help="declare the argument with `type: module`",
        )
        return BROKEN

    def layer(self, spec: ModuleSpec, layer: LayerSpec, place: Place) -> ModulePlan:
        """A layer, a container or an instance of a definition; with a body, a named subclass of it."""
        if layer.items is not None:
            self.arguments.computed(spec.span, place)
            plan = self.content.container(layer, place)
        else:
            name: object = layer.name.text
            if layer.name.text.startswith("$"):
                name = self.values.scalar(layer.name, place.names)
                if name is UNKNOWN_VALUE or name is None:
                    if name is None:
                        self.error(
                            "not-a-module",
                            f"`{layer.name.text}` is null, not a layer",
                            layer.name.span,
                            place,
                            help="give it a `when` that is false then",
                        )
                    return BROKEN
                if isinstance(name, ModulePlan):
                    self.error(
                        "not-a-layer",
                        f"`{layer.name.text}` is a module, not the name of a layer",
                        layer.name.span,
                        place,
                        help=f"write `{layer.name.text}` alone, or declare the argument with `type: layer`",
                    )
                    return BROKEN
            plan = self.called(name, layer, place)
        if spec.body is None or plan is BROKEN:
            return plan
        if plan.definition is not None:
            if spec.body.inputs is None and spec.body.outputs is None and not spec.body.methods:
                return plan  # an instance of the definition as it is
            self.error(
                "layer-with-body",
                f"`{layer.name.text}` is a definition, which says its inputs and methods itself",
                layer.name.span,
                place,
                help="write a composite body with it as a child",
            )
            return BROKEN
        self.content.clashes(spec.body, plan.children, place)
        definition = self.classes.definition(spec, plan.base, place)
        return replace(
            plan,
            definition=definition,
            constants=self.classes.read_constants(spec, place),
            contracts=self.contracts.of(spec.body, place),
            chain=place.names.chain,
        )

    def called(self, name: object, layer: LayerSpec, place: Place) -> ModulePlan:
        """The plan of a call as the file writes it, made once where nothing in it depends on the place."""
        known = self.static.get(id(layer))
        if known is not None and known[2] is place.names.chain and not self.record:
            self.counted(layer.span, place, known[1].size - 1)
            return known[1]
        plan = self.call(name, Written.read(layer.arguments, layer.span), place, layer.name)
        if plan.definition is None and name == layer.name.text and _is_static(layer.arguments):
            self.static[id(layer)] = (layer, plan, place.names.chain)
        return plan

    def call(self, name: object, given: Written, place: Place, key: Scalar) -> ModulePlan:
        """Call the layer or definition of a name with arguments."""
        scope, text = place.scope, name
        if isinstance(name, LayerName):
            text = name.name
            scope = name.scope if isinstance(name.scope, Scope) else scope
        if not isinstance(text, str):
            self.error("not-a-layer", f"`{key.text}` is `{name}`, not the name of a layer", key.span, place)
            return BROKEN
        if text in scope.definitions:
            definition, inner = scope.definitions[text]
            return self.instantiate(definition, inner, given, place, key)
        layer = lookup(text)
        if layer is None:
            report_unknown_layer(text, key.span, scope.definitions, self.found, place.names.chain)
            return BROKEN
        positional, keywords = self.arguments.bound(layer, given, place)
        if positional is None:
            return BROKEN
        self.has_auto = self.has_auto or AUTO in positional or AUTO in keywords.values()
        size = _own_size(text, positional, keywords)
        self.counted(key.span, place, size - 1)
        plan = ModulePlan(text, key.span, positional=positional, keywords=keywords, chain=place.names.chain, size=size)
        return replace(plan, origins=self.arguments.origins(layer, given, place, {})) if self.record else plan

    # --- definitions ----------------------------------------------------------------------------------------------

    def instantiate(
        self, definition: DefinitionSpec, scope: Scope, given: Written, place: Place, key: Scalar | None
    ) -> ModulePlan:
        """An instance of a definition: one plan per distinct arguments."""
        if place.depth >= self.limits.definition_depth:
            self.error(
                "recursive-definition",
                f"`{definition.name}` is nested more than {self.limits.definition_depth} definitions deep",
                given.span,
                place,
                help="give the recursion an end with `when`",
            )
            raise TooLarge
        body = definition.module.body or NO_BODY
        chain = place.names.chain
        if key is not None:
            note = Note(f"in `{definition.name}`, instantiated", given.span)
            chain = chain if note in chain else (note, *chain)  # a recursion passes the same place many times
        inner = Place(scope, Names(scope.names.table, chain, scope.names.origins), place.depth + 1)
        errors = len(self.found.found)
        names, own = self.arguments.arguments(definition.name, body.args, given, place, inner)
        if any(value is UNKNOWN_VALUE for value in own.values()) and len(self.found.found) > errors:
            return BROKEN
        identity = (id(definition), *((name, _freeze(value, self.kept)) for name, value in own.items()))
        if identity in self.resolved and not self.record:
            plan = self.resolved[identity]
            self.counted(given.span, place, max(plan.size - 1, 0))
            return plan
        names = self.arguments.constants(body.let, names)
        if not self.arguments.requirements(body.require, names):
            self.resolved[identity] = BROKEN
            return BROKEN
        made = self.module(definition.module, replace(inner, names=names))
        plan = self.owned(made, [arg.name for arg in body.args], own, given)
        if self.record and plan is not BROKEN:
            plan = replace(plan, origins=_of_args(body.args, names))
        self.resolved[identity] = plan
        return plan

    def owned(self, plan: ModulePlan, args: list[str], values: AnyMapping[str, object], given: Written) -> ModulePlan:
        """The plan with the args of its definition among its constants: an instance can be asked for them."""
        if plan is BROKEN or plan.definition is None:
            return plan
        own = {name: values[name] for name in args if is_plain(values.get(name, UNKNOWN_VALUE))}
        names = (*args[: len(given.positional)], *given.keywords)
        return replace(plan, constants={**plan.constants, **own}, own_args=tuple(own), given=names)

    # --- composites and containers --------------------------------------------------------------------------------

    def composite(self, spec: ModuleSpec, place: Place) -> ModulePlan:
        body = spec.body or NO_BODY
        self.arguments.computed(spec.span, place, COMPOSITE_CALLS)
        definition = self.classes.definition(spec, "Module", place)
        children, places = self.content.children(body, place)
        parameters = {
            p.text if isinstance(p, Scalar) else p.name.text: self.state.parameter(p, place)
            for p in body.parameters or ()
        }
        buffers = {
            b.text if isinstance(b, Scalar) else b.name.text: self.state.buffer(b, place) for b in body.buffers or ()
        }
        for name in self.content.clashes(body, children, place):
            parameters.pop(name, None)
            buffers.pop(name, None)
        plan = ModulePlan(
            "Module",
            spec.span,
            definition=definition,
            children=children,
            places=places,
            parameters=parameters,
            buffers=buffers,
            constants=self.classes.read_constants(spec, place),
            contracts=self.contracts.of(body, place),
            ties=sources_first(tie for tie in (self.state.tie(tie, place) for tie in body.tie) if tie),
            chain=place.names.chain,
        )
        return replace(plan, size=1 + total_size(children.values()))


@dataclass(frozen=True, slots=True)
class PlacedTools:
    """What the reading of rules needs of the resolver, at one place."""

    arguments: Arguments
    state: State
    classes: Classes
    place: Place

    @property
    def found(self) -> Collector:
        return self.arguments.found

    @property
    def values(self) -> Values:
        return self.arguments.values

    def call_arguments(self, callee: Takes, given: Written) -> tuple[tuple[object, ...] | None, dict[str, object]]:
        return self.arguments.bound(callee, given, self.place)

    def init(self, node: Node) -> InitPlan | None:
        return self.state.init(node, None, self.place)

    def dtype(self, node: Scalar | None) -> str | None:
        return self.state.dtype(node, self.place)

    def methods(self, specs: Iterable[MethodSpec]) -> dict[str, Method]:
        return self.classes.methods(specs, self.place)


def _of_args(args: Iterable[ArgSpec], names: Names) -> dict[str, Origin]:
    """The origins of the args of a definition."""
    return {arg.name: names.origins[arg.name] for arg in args if arg.name in names.origins}


def _is_static(arguments: Node | None) -> bool:
    """Whether arguments mean the same wherever they stand: plain values, no `$` and nothing that may be a module."""
    if isinstance(arguments, Mapping):
        return all(not isinstance(node, Mapping) and _is_static(node) for _, node in arguments)
    if isinstance(arguments, Sequence):
        return all(isinstance(node, Scalar | Sequence) and _is_static(node) for node in arguments.items)
    text = arguments.value if arguments is not None else None
    return not isinstance(text, str) or not ("$" in text or is_layer_key(text))


def _own_size(base: str, positional: tuple[object, ...], keywords: AnyMapping[str, object]) -> int:
    """How many modules a layer will hold: those among its arguments, times the count that it makes of them."""

    def given(name: str, default: int) -> int:
        """The whole number that the layer is given for an argument."""
        value = keywords.get(name)
        if value is None:
            known = lookup(base)
            slots = [argument.name for argument in known.arguments] if known else []
            value = positional[slots.index(name)] if name in slots[: len(positional)] else default
        return value if isinstance(value, int) else default

    inside = total_size([*positional, *keywords.values()])
    made = sum(max(given(name, 0), 0) * each for name, each in _STACKS.get(base, {}).items())
    if made:
        return 1 + inside + made
    count = given("num_layers", 1)
    return max(_OWN.get(base, 1), 1 + (inside or 1) * count if count > 1 else 1 + inside)


_OWN = {"TransformerEncoderLayer": 11, "TransformerDecoderLayer": 15}
_RECURRENT = {"num_layers": 10}  # a layer of these is no module, and takes as long to make as ten
_STACKS = {
    "LSTM": _RECURRENT,
    "GRU": _RECURRENT,
    "RNN": _RECURRENT,
    "Transformer": {"num_encoder_layers": 11, "num_decoder_layers": 15},
}
"""How many modules each layer of a stack is."""


def _freeze(value: object, kept: list[object]) -> object:
    """A hashable stand-in: equal exactly for values that resolve alike (`1`, `1.0` and `True` do not)."""
    if isinstance(value, list | tuple):
        return (type(value).__name__, *(_freeze(item, kept) for item in value))
    if isinstance(value, dict):
        return ("dict", *((key, _freeze(item, kept)) for key, item in value.items()))
    if isinstance(value, LayerName):
        return ("layer", value.name, id(value.scope))
    if isinstance(value, ModulePlan):
        kept.append(value)
        return ("module", id(value))
    return (type(value).__name__, repr(value))
