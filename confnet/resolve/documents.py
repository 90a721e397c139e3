"""Documents: what their args are, what their files see, and which module is the root."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from confnet.calls import Written
from confnet.diagnostics import Collector, Note, closest
from confnet.limits import DEFAULT_LIMITS, Limits
from confnet.loading import Spec, Unit
from confnet.plan import BROKEN, ModulePlan, Plan
from confnet.resolve.modules import Modules
from confnet.resolve.places import NO_BODY, Place, Scope, TooLarge
from confnet.source import Mapping, Node, Scalar
from confnet.values import Names

__all__ = ["resolve"]


def resolve(
    spec: Spec,
    found: Collector,
    *,
    args: Mapping | None = None,
    variant: str | None = None,
    root: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    record: bool = False,
) -> Plan:
    """The plan of a spec under `args` (a mapping node), a variant and a root. Mistakes go to `found`.

    With `record` it tells of each argument where it comes from, and each module has a plan of its own.
    """
    return _Documents(spec, found, limits, record).plan(args, variant, root)


class _Documents:
    """Resolves the root of a spec; `scopes` holds what each file sees, made once."""

    def __init__(self, spec: Spec, found: Collector, limits: Limits, record: bool) -> None:
        self.spec, self.found = spec, found
        documents = [unit.document for unit in spec.units()]
        own_scope = {id(d.root) for d in documents} | {id(m.module) for d in documents for m in d.modules}
        self.modules = Modules(own_scope, found, limits, record)
        self.scopes: dict[int, Scope] = {}

    def plan(self, args: Mapping | None, variant: str | None, root: str | None) -> Plan:
        scope = self.scope(self.spec.root)
        values: dict[str, object] = {}
        try:
            if root is None:
                module, values = self.document(scope, self.document_args(args, variant))
            else:
                module, values = self.named_root(scope, root, args, variant)
            unused = tuple(self.unused(scope))
        except TooLarge:
            module, unused = BROKEN, ()
        return Plan(module, values, self.spec.texts, unused, self.modules.has_auto)

    def unused(self, scope: Scope) -> Iterable[ModulePlan]:
        """Instances of the file's own definitions that nothing instantiates, where no argument is required."""
        used = {key[0] for key in self.modules.resolved}
        place = Place(scope, scope.names)
        for definition in scope.unit.document.modules:
            body = definition.module.body or NO_BODY
            if id(definition) not in used and all(arg.has_default for arg in body.args):
                before = len(self.found.found)
                plan = self.modules.instantiate(definition, scope, Written((), {}, definition.span), place, None)
                if any(code == "requirement" for code, _, _ in list(self.found.found)[before:]):
                    self.found.forget_after(before)  # it is meant to be used with other values than its defaults
                else:
                    yield plan

    def document_args(self, args: Mapping | None, variant: str | None) -> Written:
        document = self.spec.document
        given: dict[str, tuple[Scalar, Node]] = {}
        if variant is not None:
            chosen = next((v for v in document.variants if v.name == variant), None)
            if chosen is None:
                names = [v.name for v in document.variants]
                guess = closest(variant, names)
                help = (
                    f"did you mean `{guess}`?"
                    if guess
                    else f"the variants are {', '.join(names)}"
                    if names
                    else "the file has none"
                )
                span = next((v.span for v in document.variants if guess in (None, v.name)), None)
                self.found.add("unknown-variant", f"there is no variant `{variant}`", span, help=help)
            else:
                given.update({key.text: (key, value) for key, value in chosen.args})
        if args is not None:
            given.update({key.text: (key, value) for key, value in args})
        missing = [arg for arg in document.args if not arg.has_default and arg.name not in given]
        span = missing[0].span if missing else document.span
        help = "give it to `build`, on the command line (`--set name=value`) or in a variant; or declare a default"
        return Written((), given, span, literal=True, help=help)

    def scope(self, unit: Unit) -> Scope:
        """The scope of a file, made once; its args have their defaults until the document itself is resolved."""
        if id(unit) in self.scopes:
            return self.scopes[id(unit)]
        scope = self.scopes[id(unit)] = Scope(unit)
        for definition in unit.document.modules:
            scope.definitions[definition.name] = (definition, scope)
        origins = {d.name: d.span for d in unit.document.modules}
        for included in unit.includes:
            inner = self.scope(included)
            for definition in included.document.modules:
                if definition.name in unit.replaced:
                    continue
                if definition.name in scope.definitions:
                    self.found.add(
                        "duplicate-definition",
                        f"`{definition.name}` is defined twice",
                        definition.span,
                        notes=[Note("also defined", origins[definition.name])],
                        help="rename one of the two",
                    )
                    continue
                origins[definition.name] = definition.span
                scope.definitions[definition.name] = (definition, inner)
        if unit is not self.spec.root:
            required = next((arg for arg in unit.document.args if not arg.has_default), None)
            place = required.span if required else unit.document.span
            self.file_names(
                scope, Written((), {}, place, help="declare a default: nobody gives args to an included file")
            )
        return scope

    def file_names(self, scope: Scope, given: Written) -> dict[str, object]:
        """Give a file's scope the values of its args and constants; returns those of the args."""
        document = scope.unit.document
        place = Place(scope, Names())
        names, args = self.modules.arguments.arguments(document.name, document.args, given, place, place)
        names = self.modules.arguments.constants(document.let, names)
        scope.names = names
        scope.usable = self.modules.arguments.requirements(document.require, names)
        return args

    def document(self, scope: Scope, given: Written) -> tuple[ModulePlan, dict[str, object]]:
        document = scope.unit.document
        values = self.file_names(scope, given)
        if document.root is None:
            help = (
                f"choose one with `root`: {', '.join(f'`{d.name}`' for d in document.modules)}"
                if document.modules
                else ""
            )
            self.found.add("no-root", "the document has no root module", document.span, help=help)
            return BROKEN, values
        if not scope.usable:
            return BROKEN, values
        module = self.modules.module(document.root, Place(scope, scope.names))
        if self.modules.classes.made.get((id(document.root), module.base)) is module.definition:
            module = self.modules.owned(module, [arg.name for arg in document.args], values, given)
            if self.modules.record and module is not BROKEN:
                origins = {arg.name: scope.names.origins.get(arg.name) for arg in document.args}
                module = replace(module, origins={name: origin for name, origin in origins.items() if origin})
        return module, values

    def named_root(
        self, scope: Scope, root: str, args: Mapping | None, variant: str | None
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
        own = {arg.name for arg in (definition.module.body or NO_BODY).args}
        mine = {name: pair for name, pair in given.keywords.items() if name in own}
        rest = {name: pair for name, pair in given.keywords.items() if name not in own}
        outer = self.file_names(scope, replace(given, keywords=rest))
        plan = self.modules.instantiate(
            definition, inner, Written((), mine, definition.span, literal=True), Place(scope, scope.names), None
        )
        return plan, {**outer, **{k: v for k, v in plan.constants.items() if k in own}}
