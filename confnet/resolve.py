"""Document -> Plan: includes, args, variants, constants, `repeat`, `when` and `share` settled.

Definitions are resolved once per distinct set of arguments. Everything that can be wrong here is collected; the
modules that cannot be resolved become `BROKEN`, about which later stages stay silent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field, replace

from confnet.calls import Written, declared, report_unknown_layer
from confnet.catalog.arguments import Argument, Callee, Takes, bind
from confnet.catalog.initializers import initializer, initializer_names
from confnet.catalog.registry import DEFAULT_REGISTRY, lookup
from confnet.catalog.types import UNKNOWN_VALUE, Type
from confnet.diagnostics import Collector, ConfnetError, Note, Span, closest
from confnet.language.code import Code
from confnet.language.names import MODULE_ATTRIBUTES
from confnet.limits import DEFAULT_LIMITS, Limits
from confnet.loading import Spec, Unit
from confnet.plan import (
    BROKEN,
    CONTAINERS,
    BufferPlan,
    Definition,
    DTypeName,
    InitPlan,
    Input,
    LayerName,
    Method,
    ModulePlan,
    ParameterPlan,
    Plan,
    Share,
    Tie,
)
from confnet.rules import RuleReader
from confnet.source import Mapping, Node, Scalar, plain
from confnet.source import Sequence as SequenceNode
from confnet.spec import read_module
from confnet.spec.models import (
    ArgSpec,
    BodySpec,
    BufferSpec,
    DefinitionSpec,
    InputSpec,
    ItemSpec,
    LayerSpec,
    LetSpec,
    MethodSpec,
    ModifiersSpec,
    ModuleSpec,
    ParameterSpec,
    RepeatSpec,
    RequireSpec,
    TieSpec,
)
from confnet.spec.reader import camel_case, is_identifier, is_layer_key, name_help
from confnet.values import Names, Values, code_of, is_plain, mentioned

__all__ = ["resolve"]


def resolve(
    spec: Spec,
    found: Collector,
    *,
    args: Mapping | None = None,
    variant: str | None = None,
    root: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Plan:
    """The plan of a spec under `args` (a mapping node), a variant and a root. Mistakes go to `found`."""
    return _Resolver(spec, found, limits).plan(args, variant, root)


@dataclass(eq=False)
class _Scope:
    """What the modules of one file see: its definitions (own and included) and its args and constants."""

    unit: Unit
    definitions: dict[str, tuple[DefinitionSpec, _Scope]] = field(default_factory=dict)
    names: Names = field(default_factory=Names)
    usable: bool = True  # whether what the file requires of its args holds


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """Where a module stands: its file's scope, the names in force, and how deep in definitions it is."""

    scope: _Scope
    names: Names
    depth: int = 0

    def with_names(self, own: AnyMapping[str, object]) -> _Place:
        return replace(self, names=self.names.with_names(own))


class _TooLarge(Exception):
    """The spec expands to more modules than the limit; reported already."""


class _Resolver:
    def __init__(self, spec: Spec, found: Collector, limits: Limits) -> None:
        self.spec, self.found, self.limits = spec, found, limits
        self.values = Values(found)
        self.scopes: dict[int, _Scope] = {}
        self.resolved: dict[tuple[object, ...], ModulePlan] = {}
        self.made: dict[tuple[int, str], Definition] = {}
        self.kept: list[object] = []  # objects whose id() is part of a key of `resolved`
        self.count = 0
        documents = [unit.document for unit in spec.units()]
        self.own_scope = {id(d.root) for d in documents} | {id(m.module) for d in documents for m in d.modules}

    # --- documents ------------------------------------------------------------------------------------------------

    def plan(self, args: Mapping | None, variant: str | None, root: str | None) -> Plan:
        scope = self.scope(self.spec.root)
        values: dict[str, object] = {}
        try:
            if root is None:
                module, values = self.document(scope, self.document_args(args, variant))
            else:
                module, values = self.named_root(scope, root, args, variant)
            unused = tuple(self.unused(scope))
        except _TooLarge:
            module, unused = BROKEN, ()
        return Plan(module, values, self.spec.texts, unused)

    def unused(self, scope: _Scope) -> Iterable[ModulePlan]:
        """Instances of the file's own definitions that nothing instantiates, where no argument is required."""
        used = {key[0] for key in self.resolved}
        place = _Place(scope, scope.names)
        for definition in scope.unit.document.modules:
            body = definition.module.body or _NO_BODY
            if id(definition) not in used and all(arg.has_default for arg in body.args):
                yield self.instantiate(definition, scope, Written((), {}, definition.span), place, None)

    def document_args(self, args: Mapping | None, variant: str | None) -> Written:
        document = self.spec.document
        given: dict[str, tuple[Scalar, Node]] = {}
        if variant is not None:
            chosen = next((v for v in document.variants if v.name == variant), None)
            if chosen is None:
                names = [v.name for v in document.variants]
                guess = closest(variant, names)
                help = f"did you mean `{guess}`?" if guess else f"the variants are {', '.join(names)}" if names else "the file has none"
                self.found.add("unknown-variant", f"there is no variant `{variant}`", document.span, help=help)
            else:
                given.update({key.text: (key, value) for key, value in chosen.args})
        if args is not None:
            given.update({key.text: (key, value) for key, value in args})
        missing = [arg for arg in document.args if not arg.has_default and arg.name not in given]
        span = missing[0].span if missing else document.span
        help = "give it to `build`, on the command line (`--set name=value`) or in a variant; or declare a default"
        return Written((), given, span, literal=True, help=help)

    def scope(self, unit: Unit) -> _Scope:
        """The scope of a file, made once; its args have their defaults until the document itself is resolved."""
        if id(unit) in self.scopes:
            return self.scopes[id(unit)]
        scope = self.scopes[id(unit)] = _Scope(unit)
        for definition in unit.document.modules:
            scope.definitions[definition.name] = (definition, scope)
        origins = {d.name: d.span for d in unit.document.modules}
        for included in unit.includes:
            inner = self.scope(included)
            for definition in included.document.modules:
                if definition.name in scope.definitions:
                    self.found.add(
                        "duplicate-definition", f"`{definition.name}` is defined twice", definition.span,
                        notes=[Note("also defined", origins[definition.name])], help="rename one of the two",
                    )  # fmt: skip
                    continue
                origins[definition.name] = definition.span
                scope.definitions[definition.name] = (definition, inner)
        if unit is not self.spec.root:
            required = next((arg for arg in unit.document.args if not arg.has_default), None)
            place = required.span if required else unit.document.span
            self.file_names(scope, Written((), {}, place, help="declare a default: nobody gives args to an included file"))
        return scope

    def file_names(self, scope: _Scope, given: Written) -> dict[str, object]:
        """Give a file's scope the values of its args and constants; returns those of the args."""
        document = scope.unit.document
        place = _Place(scope, Names())
        names, args = self.arguments(document.name, document.args, given, place, place)
        names = self.constants(document.let, names)
        scope.names = names
        scope.usable = self.requirements(document.require, names)
        return args

    def document(self, scope: _Scope, given: Written) -> tuple[ModulePlan, dict[str, object]]:
        document = scope.unit.document
        values = self.file_names(scope, given)
        if document.root is None:
            help = f"choose one with `root`: {', '.join(f'`{d.name}`' for d in document.modules)}" if document.modules else ""
            self.found.add("no-root", "the document has no root module", document.span, help=help)
            return BROKEN, values
        if not scope.usable:
            return BROKEN, values
        module = self.module(document.root, _Place(scope, scope.names))
        if self.made.get((id(document.root), module.base)) is module.definition:
            module = self.owned(module, [arg.name for arg in document.args], values)
        return module, values

    def named_root(
        self, scope: _Scope, root: str, args: Mapping | None, variant: str | None
    ) -> tuple[ModulePlan, dict[str, object]]:
        """A definition as the root: args that it has itself go to it, the others to the document."""
        given = self.document_args(args, variant)
        found = scope.definitions.get(root)
        if found is None:
            guess = closest(root, scope.definitions)
            help = f"did you mean `{guess}`?" if guess else f"the definitions are {', '.join(scope.definitions)}"
            self.found.add("unknown-root", f"there is no definition `{root}`", scope.unit.document.span, help=help)
            return BROKEN, {}
        definition, inner = found
        own = {arg.name for arg in (definition.module.body or _NO_BODY).args}
        mine = {name: pair for name, pair in given.keywords.items() if name in own}
        rest = {name: pair for name, pair in given.keywords.items() if name not in own}
        outer = self.file_names(scope, replace(given, keywords=rest))
        plan = self.instantiate(
            definition, inner, Written((), mine, definition.span, literal=True), _Place(scope, scope.names), None
        )
        return plan, {**outer, **{k: v for k, v in plan.constants.items() if k in own}}

    # --- modules --------------------------------------------------------------------------------------------------

    def module(self, spec: ModuleSpec, place: _Place) -> ModulePlan:
        """The plan of a module that stands where it cannot be absent or shared."""
        plan = self.optional(spec, place)
        if isinstance(plan, ModulePlan):
            return plan
        what = "a share" if isinstance(plan, Share) else "absent"
        self.error("not-a-module", f"a module is needed here, and this one is {what}", spec.span, place)
        return BROKEN

    def optional(self, spec: ModuleSpec, place: _Place) -> ModulePlan | Share | None:
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
            place = replace(place, names=self.constants(spec.body.let, place.names))
            if not self.requirements(spec.body.require, place.names):
                return BROKEN
        plan = self.composite(spec, place) if spec.layer is None else self.layer(spec, spec.layer, place)
        return plan if modifiers is None or plan is BROKEN else self.modified(plan, spec, modifiers, place)

    def modified(self, plan: ModulePlan, spec: ModuleSpec, modifiers: ModifiersSpec, place: _Place) -> ModulePlan:
        """The plan with what stands beside its layer key or in its body: `apply`, a rule of its own, hooks."""
        reader = RuleReader(_PlacedTools(self, place))
        rules = list(reader.rules(modifiers.apply or (), place.names))
        own = reader.own_rule(modifiers, spec.span, place.names)
        hooks = reader.hooks(
            modifiers.hooks or (), place.names, in_body=spec.body is not None, taken=[hook.name for hook in plan.hooks]
        )
        return replace(plan, rules=(*plan.rules, *rules, *([own] if own else [])), hooks=(*plan.hooks, *hooks))

    def counted(self, span: Span, place: _Place, number: int) -> None:
        self.count += number
        if self.count > self.limits.modules:
            self.error("too-many-modules", f"the file expands to more than {self.limits.modules:,} modules", span, place)
            raise _TooLarge

    def referenced(self, node: Scalar, place: _Place) -> ModulePlan | None:
        """The module that a `$` value is: an argument of type `module`, or the name of a layer."""
        value = self.values.scalar(node, place.names)
        if value is UNKNOWN_VALUE:
            return BROKEN
        if isinstance(value, ModulePlan):
            self.counted(node.span, place, value.size)
            return value
        if value is None:
            return None
        if isinstance(value, LayerName) or isinstance(value, str) and is_layer_key(value):
            return self.call(value, Written((), {}, node.span), place, node)
        self.error(
            "not-a-module", f"`{node.text}` is `{value}`, not a module", node.span, place,
            help="declare the argument with `type: module`",
        )  # fmt: skip
        return BROKEN

    def layer(self, spec: ModuleSpec, layer: LayerSpec, place: _Place) -> ModulePlan:
        """A layer, a container or an instance of a definition; with a body, a named subclass of it."""
        if layer.items is not None:
            plan = self.container(layer, place)
        else:
            name: object = layer.name.text
            if layer.name.text.startswith("$"):
                name = self.values.scalar(layer.name, place.names)
                if name is UNKNOWN_VALUE or name is None:
                    if name is None:
                        self.error(
                            "not-a-module", f"`{layer.name.text}` is null, not a layer", layer.name.span, place,
                            help="give it a `when` that is false then",
                        )  # fmt: skip
                    return BROKEN
                if isinstance(name, ModulePlan):
                    self.error(
                        "not-a-layer", f"`{layer.name.text}` is a module, not the name of a layer", layer.name.span, place,
                        help=f"write `{layer.name.text}` alone, or declare the argument with `type: layer`",
                    )  # fmt: skip
                    return BROKEN
            plan = self.call(name, Written.read(layer.arguments, layer.span), place, layer.name)
        if spec.body is None or plan is BROKEN:
            return plan
        if plan.definition is not None:
            if spec.body.inputs is None and spec.body.outputs is None and not spec.body.methods:
                return plan  # an instance of the definition as it is
            self.error(
                "layer-with-body", f"`{layer.name.text}` is a definition, which says its inputs and methods itself",
                layer.name.span, place, help="write a composite body with it as a child",
            )  # fmt: skip
            return BROKEN
        definition = self.definition(spec, plan.base, place)
        return replace(plan, definition=definition, constants=self.read_constants(spec, place), chain=place.names.chain)

    def call(self, name: object, given: Written, place: _Place, key: Scalar) -> ModulePlan:
        """Call the layer or definition of a name with arguments."""
        scope, text = place.scope, name
        if isinstance(name, LayerName):
            text = name.name
            scope = name.scope if isinstance(name.scope, _Scope) else scope
        if not isinstance(text, str):
            self.error("not-a-layer", f"`{key.text}` is `{name}`, not the name of a layer", key.span, place)
            return BROKEN
        if text in scope.definitions:
            definition, inner = scope.definitions[text]
            return self.instantiate(definition, inner, given, place, key)
        layer = lookup(text)
        if layer is None:
            self.unknown_layer(text, scope, key.span, place)
            return BROKEN
        positional, keywords = self.bound(layer, given, place)
        if positional is None:
            return BROKEN
        plan = ModulePlan(text, key.span, positional=positional, keywords=keywords, chain=place.names.chain)
        size = _own_size(plan)
        self.counted(key.span, place, size - 1)
        return replace(plan, size=size)

    def unknown_layer(self, name: str, scope: _Scope, span: Span, place: _Place) -> None:
        report_unknown_layer(name, span, scope.definitions, self.found, place.names.chain)

    def bound(
        self, callee: Takes, given: Written, place: _Place
    ) -> tuple[tuple[object, ...] | None, dict[str, object]]:
        """The values of a call, checked against the callee's arguments. (None, {}) where they are wrong."""
        positional: list[object] = []
        keywords: dict[str, object] = {}
        for slot, node, argument in given.slots(callee):
            value = self.argument(node, argument, place, given.literal)
            if isinstance(slot, int):
                positional.append(value)
            else:
                keywords[slot] = value
        result = bind(callee, positional, keywords)
        given.report(result.problems, self.found, place.names.chain)
        if result.problems:
            return None, {}
        return tuple(result.positional), dict(result.keywords)

    def argument(self, node: Node, argument: Argument | None, place: _Place, literal: bool) -> object:
        """The value of one argument: a module where its type is one, else what the node evaluates to."""
        deferred = isinstance(node, Scalar) and isinstance(node.value, str) and "$" in node.value
        if argument is not None and argument.takes_module and not deferred:
            if isinstance(node, Scalar) and node.value is None:
                return None
            if isinstance(node, Mapping) or isinstance(node, Scalar) and isinstance(node.value, str) and is_layer_key(node.value):
                spec = read_module(node, argument.name, self.found)
                return UNKNOWN_VALUE if spec is None else self.module_value(spec, place)
        if literal and isinstance(node, Scalar):
            value: object = node.value
        else:
            value = self.values.value(node, place.names)
        if argument is not None and argument.parsed.has("layer") and isinstance(value, str):
            return self.layer_value(value, node, place)
        return value

    def module_value(self, spec: ModuleSpec, place: _Place) -> object:
        plan = self.optional(spec, place)
        if isinstance(plan, Share):
            self.error("invalid-share", "a share cannot be an argument", spec.span, place, help="write the module out, or make it a child")
            return UNKNOWN_VALUE
        return UNKNOWN_VALUE if plan is BROKEN else plan

    def layer_value(self, name: str, node: Node, place: _Place) -> object:
        if name in place.scope.definitions or name in CONTAINERS or lookup(name) is not None:
            return LayerName(name, place.scope)
        self.unknown_layer(name, place.scope, node.span, place)
        return UNKNOWN_VALUE

    # --- definitions ----------------------------------------------------------------------------------------------

    def instantiate(
        self, definition: DefinitionSpec, scope: _Scope, given: Written, place: _Place, key: Scalar | None
    ) -> ModulePlan:
        """An instance of a definition: one plan per distinct arguments."""
        if place.depth >= self.limits.definition_depth:
            self.error(
                "recursive-definition", f"`{definition.name}` is nested more than {self.limits.definition_depth} definitions deep",
                given.span, place, help="give the recursion an end with `when`",
            )  # fmt: skip
            raise _TooLarge
        body = definition.module.body or _NO_BODY
        chain = place.names.chain
        if key is not None:
            note = Note(f"in `{definition.name}`, instantiated", given.span)
            chain = chain if note in chain else (note, *chain)  # a recursion passes the same place many times
        inner = _Place(scope, Names(scope.names.table, chain), place.depth + 1)
        errors = len(self.found.found)
        names, own = self.arguments(definition.name, body.args, given, place, inner)
        if any(value is UNKNOWN_VALUE for value in own.values()) and len(self.found.found) > errors:
            return BROKEN
        identity = (id(definition), *((name, _freeze(value, self.kept)) for name, value in own.items()))
        if identity in self.resolved:
            plan = self.resolved[identity]
            self.counted(given.span, place, max(plan.size - 1, 0))
            return plan
        names = self.constants(body.let, names)
        if not self.requirements(body.require, names):
            self.resolved[identity] = BROKEN
            return BROKEN
        plan = self.owned(self.module(definition.module, replace(inner, names=names)), [a.name for a in body.args], own)
        self.resolved[identity] = plan
        return plan

    def owned(self, plan: ModulePlan, args: Iterable[str], values: AnyMapping[str, object]) -> ModulePlan:
        """The plan with the args of its definition among its constants: an instance can be asked for them."""
        if plan is BROKEN or plan.definition is None:
            return plan
        own = {name: values[name] for name in args if is_plain(values.get(name, UNKNOWN_VALUE))}
        return replace(plan, constants={**plan.constants, **own}, own_args=tuple(own))

    def arguments(
        self, label: str, args: tuple[ArgSpec, ...], given: Written, caller: _Place, inner: _Place
    ) -> tuple[Names, dict[str, object]]:
        """Bind a call's arguments to the args of a definition or document; defaults may use earlier args."""
        slots = tuple(declared(arg) for arg in args)
        positional, keywords = self.bound(Callee(label, slots), given, caller)
        own: dict[str, object] = {}
        if positional is None:
            own = {arg.name: UNKNOWN_VALUE for arg in args}
            return inner.names.with_names(own), own
        own.update(zip((arg.name for arg in args), positional, strict=False))
        own.update(keywords)
        names = inner.names
        ordered: dict[str, object] = {}
        for arg, argument in zip(args, slots, strict=True):
            if arg.name not in own:
                own[arg.name] = self.default(label, arg, argument, replace(inner, names=names))
            ordered[arg.name] = own[arg.name]
            names = names.with_names({arg.name: own[arg.name]})
        return names, ordered

    def default(self, label: str, arg: ArgSpec, argument: Argument, place: _Place) -> object:
        if arg.default is None:
            return UNKNOWN_VALUE
        value = self.argument(arg.default, argument, place, literal=False)
        result = bind(Callee(label, (argument,)), (), {arg.name: value})
        for problem in result.problems:
            self.error(problem.code, problem.message, arg.default.span, place, help=problem.help)
        return UNKNOWN_VALUE if result.problems else result.keywords[arg.name]

    def constants(self, let: tuple[LetSpec, ...], names: Names) -> Names:
        for constant in let:
            names = names.with_names({constant.name: self.values.value(constant.value, names)})
        return names

    def requirements(self, require: tuple[RequireSpec, ...], names: Names) -> bool:
        """Whether every condition holds. What is built on values that break one would only be wrong again."""
        met = True
        for item in require:
            condition = Scalar(item.condition.text, item.condition.text, item.span, item.condition.style, item.condition.first_line, item.condition.indent)
            value = self.values.scalar(condition, names)
            if value is not UNKNOWN_VALUE and not value:
                message = self.values.text(Scalar(None, str(item.message.value), item.message.span), names)
                self.values.error("requirement", message, item.span, names)
                met = False
        return met

    # --- composites and containers --------------------------------------------------------------------------------

    def composite(self, spec: ModuleSpec, place: _Place) -> ModulePlan:
        body = spec.body or _NO_BODY
        definition = self.definition(spec, "Module", place)
        children, places = self.children(body, place)
        parameters = {p.text if isinstance(p, Scalar) else p.name.text: self.parameter(p, place) for p in body.parameters or ()}
        buffers = {b.text if isinstance(b, Scalar) else b.name.text: self.buffer(b, place) for b in body.buffers or ()}
        for name in self.clashes(body, children, place):
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
            constants=self.read_constants(spec, place),
            ties=tuple(tie for tie in (self.tie(tie, place) for tie in body.tie) if tie),
            chain=place.names.chain,
        )
        return replace(plan, size=1 + _total(children.values()))

    def children(
        self, body: BodySpec, place: _Place
    ) -> tuple[dict[str, ModulePlan | Share | None], dict[str, Span]]:
        """The children of a composite, and where each stands."""
        found: dict[str, ModulePlan | Share | None] = {}
        places: dict[str, Span] = {}
        for name, plan, span in self.expand(body.children or (), place):
            assert name is not None
            if name in found:
                self.error("duplicate-name", f"the child `{name}` stands twice", span, place, help="rename one of the two")
            elif self.attribute(name, span, place, "a child") or name in MODULE_ATTRIBUTES:
                found[name] = plan  # under a reserved name as well: code that uses it is not wrong once more
                places[name] = span
        return found, places

    def container(self, layer: LayerSpec, place: _Place) -> ModulePlan:
        children: dict[str, ModulePlan | Share | None] = {}
        places: dict[str, Span] = {}
        base = layer.name.text
        for name, plan, span in self.expand(layer.items or (), place):
            if plan is None:  # a container has no attribute to be None: the item is left out
                continue
            key = str(len(children)) if name is None else name
            if key in children:
                self.error("duplicate-name", f"the item `{key}` stands twice", span, place, help="rename one of the two")
            elif name is None or self.item_name(key, base, span, place):
                children[key] = plan
                places[key] = span
        plan = ModulePlan(base, layer.span, children=children, places=places, chain=place.names.chain)
        return replace(plan, size=1 + _total(children.values()))

    def expand(
        self, items: Sequence[ItemSpec], place: _Place
    ) -> Iterable[tuple[str | None, ModulePlan | Share | None, Span]]:
        """The modules of a list or mapping, repeats expanded in place."""
        for item in items:
            if item.repeat is not None:
                yield from self.repeated(item.repeat, item.name, place)
            elif item.module is not None:
                name = self.values.text(item.name, place.names) if item.name else None
                yield name, self.optional(item.module, place), item.span if item.name else item.module.span

    def repeated(
        self, repeat: RepeatSpec, pattern: Scalar | None, place: _Place
    ) -> Iterable[tuple[str | None, ModulePlan | Share | None, Span]]:
        if not self.values.condition(repeat.when, place.names):
            return
        steps = self.steps(repeat, place)
        if repeat.module is not None and pattern is not None and "$" not in pattern.text and len(steps) > 1:
            self.error(
                "invalid-repeat", f"the {len(steps)} modules of this repeat have one name, `{pattern.text}`", pattern.span, place,
                help=f"make the key a pattern, such as `{pattern.text}_${repeat.variable.text if repeat.variable else 'i'}`",
            )  # fmt: skip
            steps = steps[:1]
        for step in steps:
            inner = place.with_names({repeat.variable.text: step} if repeat.variable is not None else {})
            if repeat.module is None:
                yield from self.expand(repeat.children or (), inner)
                continue
            name = self.values.text(pattern, inner.names) if pattern else None
            yield name, self.optional(repeat.module, inner), pattern.span if pattern else repeat.module.span

    def steps(self, repeat: RepeatSpec, place: _Place) -> Sequence[object]:
        value = self.values.value(repeat.count, place.names)
        if value is UNKNOWN_VALUE:
            return ()
        if isinstance(value, int) and not isinstance(value, bool):
            if value < 0:
                self.error("invalid-repeat", f"a repeat cannot have {value} steps", repeat.count.span, place)
                return ()
            if value > self.limits.modules:
                self.counted(repeat.count.span, place, value)
            return range(value)
        if isinstance(value, list | tuple | range):
            return list(value)
        self.error("invalid-repeat", f"`repeat` takes a number or a list of values, not `{value}`", repeat.count.span, place)
        return ()

    def attribute(self, name: str, span: Span, place: _Place, what: str) -> bool:
        """Whether a name may be an attribute of a composite."""
        if not is_identifier(name):
            self.error("invalid-name", f"`{name}` cannot name {what}", span, place, help=name_help(name))
        elif name in MODULE_ATTRIBUTES:
            self.error("reserved-name", f"`{name}` is an attribute of every `nn.Module`", span, place, help="choose another name")
        else:
            return True
        return False

    def item_name(self, name: str, base: str, span: Span, place: _Place) -> bool:
        """Whether a name may be a key of a container."""
        if not name or "." in name:
            help = f"a dot separates the names of a path; write `{name.replace('.', '_')}`" if name else "give it a name"
            self.error("invalid-name", f"`{name}` cannot name an item", span, place, help=help)
        elif name in MODULE_ATTRIBUTES or base == "ModuleDict" and name in ("keys", "values", "items", "pop", "clear", "update"):
            self.error("reserved-name", f"`{name}` is an attribute of every `{base}`", span, place, help="choose another name")
        else:
            return True
        return False

    def clashes(self, body: BodySpec, children: AnyMapping[str, object], place: _Place) -> set[str]:
        """The names used twice: children, parameters, buffers and methods of one module share one set of names."""
        found = set()
        taken = dict.fromkeys(children, "child")
        groups: list[tuple[str, Iterable[Scalar]]] = [
            ("parameter", [p if isinstance(p, Scalar) else p.name for p in body.parameters or ()]),
            ("buffer", [b if isinstance(b, Scalar) else b.name for b in body.buffers or ()]),
            ("method", [m.name for m in body.methods]),
        ]
        for what, names in groups:
            for name in names:
                if name.text in taken:
                    self.error(
                        "duplicate-name", f"`{name.text}` is a {taken[name.text]} and a {what}", name.span, place,
                        help="rename one of the two",
                    )  # fmt: skip
                    found.add(name.text)
                elif what == "method" or self.attribute(name.text, name.span, place, f"a {what}"):
                    taken[name.text] = what
        return found

    # --- parameters, buffers, ties --------------------------------------------------------------------------------

    def parameter(self, spec: ParameterSpec | Scalar, place: _Place) -> ParameterPlan | None:
        if isinstance(spec, Scalar):
            return None
        if not self.values.condition(spec.when, place.names):
            return self.parameter(spec.otherwise, place) if spec.otherwise else None
        shape = self.values.shape(spec.shape, place.names)
        dtype = self.dtype(spec.dtype, place)
        requires_grad = self.values.flag(spec.requires_grad, place.names, True)
        init = self.init(spec.init, shape or (), place) if spec.init is not None else None
        return ParameterPlan(shape or (), dtype, requires_grad, init, spec.span)

    def dtype(self, node: Scalar | None, place: _Place) -> str | None:
        if node is None:
            return None
        value = self.values.scalar(node, place.names)
        if value is None or value is UNKNOWN_VALUE:
            return None
        kind = Type.parse("dtype")
        coerced = kind.coerce(value)
        if isinstance(coerced, DTypeName):
            return coerced.name
        self.error("invalid-type", f"`{value}` is not a dtype", node.span, place, help="write a name such as `float32` or `int64`")
        return None

    def init(self, node: Node, shape: tuple[int, ...] | None, place: _Place) -> InitPlan | None:
        """An initialiser: a name, or a mapping of a name to its arguments, or `{value: code}`."""
        if isinstance(node, Scalar) and isinstance(node.value, str):
            return self.initializer(node, None, shape, place)
        if isinstance(node, Mapping) and len(node.entries) == 1:
            key, arguments = node.entries[0]
            if key.text == "value" and isinstance(arguments, Scalar):
                code = self.code(arguments, place)
                return InitPlan("", (), {}, code, mentioned([code.text], place.names), node.span)
            return self.initializer(key, arguments, shape, place)
        self.error(
            "invalid-init", "an initialiser is a name, or a mapping of one name to its arguments", node.span, place,
            help="write `zeros_`, or `{normal_: {std: 0.02}}`",
        )  # fmt: skip
        return None

    def initializer(self, key: Scalar, arguments: Node | None, shape: tuple[int, ...] | None, place: _Place) -> InitPlan | None:
        known = initializer(key.text)
        registered = DEFAULT_REGISTRY.initializers
        if known is None and key.text in registered:
            positional, keywords = self.bound(registered[key.text].after(1), Written.read(arguments, key.span), place)
            return None if positional is None else InitPlan(key.text, positional, keywords, None, {}, key.span)
        if known is None:
            guess = closest(key.text, [*initializer_names(), *registered])
            help = f"did you mean `{guess}`?" if guess else "the initialisers are those of `torch.nn.init`, and registered ones"
            self.error("unknown-initializer", f"there is no initialiser `{key.text}`", key.span, place, help=help)
            return None
        if shape is not None and not known.takes_shape(shape):
            wanted = f"at least {known.min_dimensions}" if known.max_dimensions != known.min_dimensions else str(known.min_dimensions)
            self.error(
                "invalid-init", f"`{key.text}` needs {wanted} dimensions, and the shape {list(shape)} has {len(shape)}", key.span, place
            )
            return None
        positional, keywords = self.bound(known, Written.read(arguments, key.span), place)
        return None if positional is None else InitPlan(key.text, positional, keywords, None, {}, key.span)

    def buffer(self, spec: BufferSpec | Scalar, place: _Place) -> BufferPlan | None:
        if isinstance(spec, Scalar):
            return None
        if not self.values.condition(spec.when, place.names):
            return self.buffer(spec.otherwise, place) if spec.otherwise else None
        shape = self.values.shape(spec.shape, place.names) if spec.shape is not None else None
        dtype = self.dtype(spec.dtype, place)
        persistent = self.values.flag(spec.persistent, place.names, True)
        code, value = None, None
        if spec.shape is not None:
            value = self.values.scalar(spec.fill, place.names) if spec.fill is not None else 0
        elif isinstance(spec.value, Scalar) and isinstance(spec.value.value, str):
            code = self.code(spec.value, place)
        else:
            value = self.values.value(spec.value, place.names)
            if not _is_numeric(value):
                self.error("invalid-type", "a buffer's value is a number, a list of numbers, or code", spec.value.span, place)
                value = 0
        return BufferPlan(value, code, shape, dtype, persistent, spec.span)

    def code(self, node: Scalar, place: _Place) -> Code:
        if node.style == ">" or not (node.one_line or node.style == "|"):
            self.error("folded-code", "code on several lines needs a block", node.span, place, help="write it below `|`")
        return code_of(node, "value")

    def tie(self, spec: TieSpec, place: _Place) -> Tie | None:
        if not self.values.condition(spec.when, place.names):
            return None
        return Tie(self.values.text(spec.name, place.names), self.values.text(spec.to, place.names), spec.span, spec.to.span)

    # --- classes --------------------------------------------------------------------------------------------------

    def definition(self, spec: ModuleSpec, base: str, place: _Place) -> Definition:
        """The class of a composite or named subclass, made once."""
        key = (id(spec), base)
        if key in self.made:
            return self.made[key]
        body = spec.body or _NO_BODY
        inputs = self.inputs(body.inputs, place)
        methods: dict[str, Method] = {}
        if body.forward is not None:
            methods["forward"] = Method("forward", inputs, code_of(body.forward, "body"))
        methods.update(self.methods(body.methods, place))
        description = str(body.description.value) if isinstance(body.description, Scalar) else ""
        name = spec.label if is_layer_key(spec.label) else camel_case(spec.label)
        identity = f"{spec.span.file}:{spec.span.line}:{spec.span.column}:{base}"
        names = frozenset(place.names.table)
        members = frozenset({*methods, *_written_names(body)})
        made = self.made[key] = Definition(name, identity, base, methods, names, members, description, spec.span)
        return made

    def methods(self, specs: Iterable[MethodSpec], place: _Place) -> dict[str, Method]:
        """The methods by name; one that may not be called so is reported, and kept for the code that calls it."""
        found: dict[str, Method] = {}
        for spec in specs:
            name = spec.name.text
            if name == "forward":
                self.error(
                    "reserved-name", "`forward` is no further method", spec.span, place, help="write `forward:` beside `methods:`"
                )  # fmt: skip
                continue
            self.attribute(name, spec.span, place, "a method")
            found[name] = Method(name, self.inputs(spec.inputs, place), code_of(spec.forward, "body"))
        return found

    def inputs(self, specs: tuple[InputSpec, ...] | None, place: _Place) -> tuple[Input, ...]:
        if specs is None:
            return (Input("x", True),)
        return tuple(self.input(spec, place) for spec in specs)

    def input(self, spec: InputSpec, place: _Place) -> Input:
        default = None
        if spec.has_default and spec.default is not None:
            default = plain(spec.default)
            if _mentions_dollar(default):
                self.error("invalid-default", "the default of an input is the same for every instance", spec.default.span, place, help="write the value itself, or read the arg in the code")
        return Input(spec.name, not spec.has_default, default, spec, spec.span)

    def read_constants(self, spec: ModuleSpec, place: _Place) -> dict[str, object]:
        """The args and constants that the code of a body may read: every name in force that the code mentions."""
        body = spec.body or _NO_BODY
        texts = [str(body.forward.value)] if body.forward is not None else []
        texts += [str(method.forward.value) for method in body.methods]
        texts += [str(b.value.value) for b in body.buffers or () if isinstance(b, BufferSpec) and isinstance(b.value, Scalar)]
        inits = (p.init for p in body.parameters or () if isinstance(p, ParameterSpec))
        texts += [str(plain(init)) for init in inits if isinstance(init, Mapping)]
        hooks = (spec.modifiers.hooks if spec.modifiers is not None else None) or ()
        rules = (spec.modifiers.apply if spec.modifiers is not None else None) or ()
        texts += [str(hook.do.value) for hook in hooks if hook.do is not None]
        texts += [str(plain(rule.init)) for rule in rules if isinstance(rule.init, Mapping)]
        return mentioned(texts, place.names)

    def error(self, code: str, message: str, span: Span | None, place: _Place, *, help: str = "") -> None:
        self.values.error(code, message, span, place.names, help=help)


@dataclass(frozen=True, slots=True)
class _PlacedTools:
    """What the reading of rules needs of the resolver, at one place."""

    resolver: _Resolver
    place: _Place

    @property
    def found(self) -> Collector:
        return self.resolver.found

    @property
    def values(self) -> Values:
        return self.resolver.values

    def call_arguments(self, callee: Takes, given: Written) -> tuple[tuple[object, ...] | None, dict[str, object]]:
        return self.resolver.bound(callee, given, self.place)

    def init(self, node: Node) -> InitPlan | None:
        return self.resolver.init(node, None, self.place)

    def dtype(self, node: Scalar | None) -> str | None:
        return self.resolver.dtype(node, self.place)

    def methods(self, specs: Iterable[MethodSpec]) -> dict[str, Method]:
        return self.resolver.methods(specs, self.place)


_NO_BODY = BodySpec(span=Span("", 1, 1, 1, 1))


def _written_names(body: BodySpec) -> Iterable[str]:
    """The names of children, parameters and buffers that hold no `$`."""
    keys: list[Scalar | None] = [item.name for item in body.children or ()]
    keys += [item if isinstance(item, Scalar) else item.name for item in (*(body.parameters or ()), *(body.buffers or ()))]
    return [key.text for key in keys if key is not None and "$" not in key.text]


def _total(plans: Iterable[object]) -> int:
    return sum(plan.size for plan in plans if isinstance(plan, ModulePlan))


def _own_size(plan: ModulePlan) -> int:
    """How many modules a layer will hold: those among its arguments, times the count that it makes of them."""
    inside = _total([*plan.positional, *plan.keywords.values()])
    count = plan.keywords.get("num_layers")
    if count is None:
        known = lookup(plan.base)
        slots = [argument.name for argument in known.arguments] if known else []
        count = plan.positional[slots.index("num_layers")] if "num_layers" in slots[: len(plan.positional)] else 1
    return 1 + (inside or 1) * count if isinstance(count, int) and count > 1 else 1 + inside


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


def _is_numeric(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_numeric(item) for item in value)
    return value is UNKNOWN_VALUE or isinstance(value, bool | int | float)


def _mentions_dollar(value: object) -> bool:
    if isinstance(value, list):
        return any(_mentions_dollar(item) for item in value)
    if isinstance(value, dict):
        return any(_mentions_dollar(item) for item in value.values())
    return isinstance(value, str) and "$" in value.replace("$$", "")
