"""Every module of a plan as a kind, the inner ones first: a body is checked against the kinds of its children."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from confnet.check.code import CodeCheck
from confnet.check.kinds import BROKEN_KIND, argument_kinds, layer_kind, shares_state
from confnet.check.links import Links
from confnet.check.tree import modules_in
from confnet.diagnostics import Collector, Note, Span
from confnet.language.kinds import NONE, TENSOR, Kind, ModuleKind, Parameter, Signature
from confnet.limits import DEFAULT_LIMITS, Limits
from confnet.plan import BROKEN, CONTAINERS, ModulePlan, Plan, Share

__all__ = ["check"]


def check(plan: Plan, found: Collector, limits: Limits = DEFAULT_LIMITS) -> None:
    """Check the wiring of a plan; mistakes and warnings go to `found`. Raises ConfnetError when there are too many,
    or when there is too much code."""
    checker = _Checker(found, limits)
    for root in (plan.root, *plan.unused):
        checker.module(root)
    checker.code.report_unused()


class _Checker:
    """Makes the kind of each module, once."""

    def __init__(self, found: Collector, limits: Limits) -> None:
        self.found = found
        self.kinds: dict[int, ModuleKind] = {}
        self.plans: list[ModulePlan] = []  # keeps what `kinds` is keyed by alive
        self.links = Links(found)
        self.code = CodeCheck(found, self.module, self.links.targets, limits.code)

    def module(self, plan: ModulePlan) -> ModuleKind:
        """The kind of a module, whose body is checked on the way, once."""
        if plan is BROKEN:
            return BROKEN_KIND
        if id(plan) not in self.kinds:
            self.plans.append(plan)
            self.kinds[id(plan)] = kind = self.made(plan)
            self.code.rules(plan, kind)
        return self.kinds[id(plan)]

    def made(self, plan: ModulePlan) -> ModuleKind:
        for value in modules_in([*plan.positional, *plan.keywords.values()]):
            self.module(value)
        for child in plan.children.values():
            if isinstance(child, ModulePlan) and child.base:
                self.module(child)
        if plan.definition is None and plan.base not in CONTAINERS:
            return layer_kind(plan)
        if plan.definition is not None:
            self.links.shares(plan)
        self.links.ties(plan)
        return self.composite(plan) if plan.base == "Module" else self.container_or_subclass(plan)

    def container_or_subclass(self, plan: ModulePlan) -> ModuleKind:
        base = self.container(plan) if plan.base in CONTAINERS else layer_kind(plan)
        if plan.definition is None:
            return base
        base = replace(base, label=plan.definition.name)
        methods = self.code.methods(plan, base.members)
        return replace(base, methods=methods, members={**base.members, **argument_kinds(plan)})

    def container(self, plan: ModulePlan) -> ModuleKind:
        items: dict[str, Kind] = {name: self.child(child, plan) for name, child in plan.children.items()}
        call = None
        if plan.base == "Sequential":
            call = Signature((Parameter("input"),), shares_state=any(shares_state(kind) for kind in items.values()))
            self.sequence(plan, items)
        members = {name: kind for name, kind in items.items() if name.isidentifier()}
        return ModuleKind(
            plan.base,
            call=call,
            members=members,
            container="dict" if plan.base == "ModuleDict" else "list",
            items=items,
        )

    def sequence(self, plan: ModulePlan, items: Mapping[str, Kind]) -> None:
        """A Sequential calls each item with one value."""
        for (name, kind), child in zip(items.items(), plan.children.values(), strict=True):
            if not isinstance(kind, ModuleKind) or kind is BROKEN_KIND or child is None:
                continue
            span = plan.places.get(name, child.span)
            if kind.call is None:
                self.error(
                    "not-callable", f"`{kind.label}` has no forward, and the Sequential calls it", span, plan.chain
                )
                continue
            required = [p.name for p in kind.call.parameters if p.required]
            if len(required) > 1:
                names = ", ".join(f"`{name}`" for name in required)
                self.error(
                    "wrong-argument-count",
                    f"`{kind.label}` takes {len(required)} inputs ({names}), and a Sequential gives one",
                    span,
                    plan.chain,
                    help="write a composite with a `forward`",
                )
            elif not kind.call.variadic and not any(p.positional for p in kind.call.parameters):
                self.error(
                    "wrong-argument-count",
                    f"`{kind.label}` takes no input, and a Sequential gives one",
                    span,
                    plan.chain,
                )

    def child(self, child: ModulePlan | Share | None, owner: ModulePlan) -> Kind:
        if child is None:
            return NONE
        if isinstance(child, Share):
            target = self.links.targets.get(id(child))
            return self.module(target) if target is not None else BROKEN_KIND
        return self.module(child)

    def composite(self, plan: ModulePlan) -> ModuleKind:
        assert plan.definition is not None
        members: dict[str, Kind] = {name: self.child(child, plan) for name, child in plan.children.items()}
        state = {**plan.parameters, **plan.buffers}
        members.update({name: NONE if made is None else TENSOR for name, made in state.items()})
        methods = self.code.methods(plan, members)
        call = methods.pop("forward", None)
        return ModuleKind(plan.definition.name, call=call, methods=methods, members={**argument_kinds(plan), **members})

    def error(self, code: str, message: str, span: Span, chain: tuple[Note, ...], *, help: str = "") -> None:
        self.found.add(code, message, span, notes=chain, help=help)
