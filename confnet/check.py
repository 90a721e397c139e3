"""Wiring: what the code of a plan calls, reads and changes, checked by kind before torch is imported.

Every module of the plan becomes a `ModuleKind`, the inner ones first, as a body is checked against the kinds of
its children. Shares and ties are looked up in the plan.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from confnet.catalog.hooks import HOOK_KINDS
from confnet.catalog.registry import DEFAULT_REGISTRY, layer_names, lookup
from confnet.diagnostics import Collector, Diagnostic, Note, Span, closest
from confnet.language.code import Code
from confnet.language.forward import check_code, parse_code
from confnet.language.kinds import (
    DICT,
    FLAG,
    NONE,
    NUMBER,
    TENSOR,
    TEXT,
    UNKNOWN,
    Kind,
    ListKind,
    ModuleKind,
    Parameter,
    Signature,
)
from confnet.language.names import MODULE_ATTRIBUTES, find_cycle
from confnet.language.scope import CheckResult, ParsedCode, Scope
from confnet.plan import BROKEN, CONTAINERS, DTypeName, HookPlan, Input, Method, ModulePlan, Plan, Selector, Share, Tie
from confnet.selection import matches

__all__ = ["check"]

_ANY_CALL = Signature((), variadic=True, keywords=True)
_BROKEN_KIND = ModuleKind("?", call=_ANY_CALL)


def check(plan: Plan, found: Collector) -> None:
    """Check the wiring of a plan; mistakes and warnings go to `found`."""
    checker = _Checker(found)
    for root in (plan.root, *plan.unused):
        checker.module(root)


class _Checker:
    def __init__(self, found: Collector) -> None:
        self.found = found
        self.kinds: dict[int, ModuleKind] = {}
        self.plans: list[ModulePlan] = []  # keeps what `kinds` is keyed by alive
        self.targets: dict[int, ModulePlan] = {}  # what each share means
        self.circles: set[str] = set()  # the paths of shares that are reported to go in a circle
        self.functions = {name: function.signature for name, function in DEFAULT_REGISTRY.functions.items()}

    def module(self, plan: ModulePlan) -> ModuleKind:
        """The kind of a module, whose body is checked on the way, once."""
        if plan is BROKEN:
            return _BROKEN_KIND
        if id(plan) not in self.kinds:
            self.plans.append(plan)
            self.kinds[id(plan)] = kind = self.made(plan)
            self.rules(plan, kind)
        return self.kinds[id(plan)]

    def made(self, plan: ModulePlan) -> ModuleKind:
        for value in _modules([*plan.positional, *plan.keywords.values()]):
            self.module(value)
        for child in plan.children.values():
            if isinstance(child, ModulePlan) and child.base:
                self.module(child)
        if plan.definition is None and plan.base not in CONTAINERS:
            return self.layer(plan)
        if plan.definition is not None:
            self.shares(plan)
        self.ties(plan)
        return self.composite(plan) if plan.base == "Module" else self.container_or_subclass(plan)

    # --- kinds ----------------------------------------------------------------------------------------------------

    def layer(self, plan: ModulePlan) -> ModuleKind:
        layer = lookup(plan.base)
        if layer is None:
            return _BROKEN_KIND
        members: dict[str, Kind] = {argument.name: UNKNOWN for argument in layer.arguments}
        members.update(dict.fromkeys((*layer.parameters, *layer.buffers), TENSOR))
        members.update({name: ModuleKind(cls) for name, cls in layer.children.items()})
        return ModuleKind(plan.base, call=layer.forward if layer.has_forward else None, members=members)

    def container_or_subclass(self, plan: ModulePlan) -> ModuleKind:
        base = self.container(plan) if plan.base in CONTAINERS else self.layer(plan)
        if plan.definition is None:
            return base
        base = replace(base, label=plan.definition.name)
        methods = self.methods(plan, base.members, base)
        return replace(base, methods=methods, members={**base.members, **_argument_kinds(plan)})

    def container(self, plan: ModulePlan) -> ModuleKind:
        items: dict[str, Kind] = {name: self.child(child, plan) for name, child in plan.children.items()}
        call = None
        if plan.base == "Sequential":
            call = Signature((Parameter("input"),), shares_state=any(_shares_state(kind) for kind in items.values()))
            self.sequence(plan, items)
        members = {name: kind for name, kind in items.items() if name.isidentifier()}
        return ModuleKind(
            plan.base, call=call, members=members, container="dict" if plan.base == "ModuleDict" else "list", items=items
        )

    def sequence(self, plan: ModulePlan, items: Mapping[str, Kind]) -> None:
        """A Sequential calls each item with one value."""
        for (name, kind), child in zip(items.items(), plan.children.values(), strict=True):
            if not isinstance(kind, ModuleKind) or kind is _BROKEN_KIND or child is None:
                continue
            span = plan.places.get(name, child.span)
            if kind.call is None:
                self.error("not-callable", f"`{kind.label}` has no forward, and the Sequential calls it", span, plan.chain)
                continue
            required = [p.name for p in kind.call.parameters if p.required]
            if len(required) > 1:
                names = ", ".join(f"`{name}`" for name in required)
                self.error(
                    "wrong-argument-count", f"`{kind.label}` takes {len(required)} inputs ({names}), and a Sequential gives one",
                    span, plan.chain, help="write a composite with a `forward`",
                )  # fmt: skip
            elif not kind.call.variadic and not any(p.positional for p in kind.call.parameters):
                self.error("wrong-argument-count", f"`{kind.label}` takes no input, and a Sequential gives one", span, plan.chain)

    def child(self, child: ModulePlan | Share | None, owner: ModulePlan) -> Kind:
        if child is None:
            return NONE
        if isinstance(child, Share):
            target = self.targets.get(id(child))
            return self.module(target) if target is not None else _BROKEN_KIND
        return self.module(child)

    def composite(self, plan: ModulePlan) -> ModuleKind:
        assert plan.definition is not None
        members: dict[str, Kind] = {name: self.child(child, plan) for name, child in plan.children.items()}
        state = {**plan.parameters, **plan.buffers}
        members.update({name: NONE if made is None else TENSOR for name, made in state.items()})
        methods = self.methods(plan, members, None)
        call = methods.pop("forward", None)
        return ModuleKind(
            plan.definition.name, call=call, methods=methods, members={**_argument_kinds(plan), **members}
        )

    # --- code -----------------------------------------------------------------------------------------------------

    def methods(self, plan: ModulePlan, members: Mapping[str, Kind], base: ModuleKind | None) -> dict[str, Signature]:
        """Check the bodies of a definition, callees first; returns how each method may be called."""
        assert plan.definition is not None
        before = self.errors()
        self.values(plan, members)
        parsed = {name: parse_code(method.code) for name, method in plan.definition.methods.items()}
        calls = {name: _mentioned(code, parsed.keys() - {"forward", name}, name) for name, code in parsed.items()}
        signatures: dict[str, Signature] = {}
        read: set[str] = set()
        for name in _callees_first(calls):
            method = plan.definition.methods[name]
            result = self.body(plan, method, parsed[name], members, signatures)
            read |= result.names_read
            calls[name] = set(result.methods_called)
            signatures[name] = _signature(method, result)
        cycle = find_cycle(calls)
        if cycle:
            span = plan.definition.methods[cycle[0]].code.span
            self.error("recursive-method", f"methods call each other in a circle: {_arrows(cycle)}", span, plan.chain)
        if "forward" in parsed and self.errors() == before:  # code with mistakes says little of what it uses
            self.unused(plan, read)
        return signatures

    def body(
        self, plan: ModulePlan, method: Method, parsed: ParsedCode, members: Mapping[str, Kind], signatures: Mapping[str, Signature]
    ) -> CheckResult:
        own = {name: signature for name, signature in signatures.items() if name != "forward"}
        for name, other in (plan.definition.methods if plan.definition else {}).items():
            if name not in own and name != "forward":  # not checked yet: it calls this one, which is reported as a circle
                own[name] = Signature(tuple(_parameter(item) for item in other.inputs))
        scope = Scope(
            inputs={item.name: _input_kind(item) for item in method.inputs},
            members=members,
            constants=plan.constants,
            functions=self.functions,
            methods=own,
            buffers=frozenset(name for name, buffer in plan.buffers.items() if buffer is not None),
            defaults={item.name: item.default for item in method.inputs if not item.required},
        )
        return self.checked(parsed, scope, plan)

    def values(self, plan: ModulePlan, members: Mapping[str, Kind]) -> None:
        """Check the code of buffers' values and of initialisers; a buffer may read what is registered before it."""
        visible = {name: kind for name, kind in members.items() if name in plan.parameters}
        for name, parameter in plan.parameters.items():
            if parameter is not None and parameter.init is not None and parameter.init.code is not None:
                self.value(parameter.init.code, {"shape": ListKind(NUMBER)}, {}, plan)
        for name, buffer in plan.buffers.items():
            if buffer is not None and buffer.code is not None:
                self.value(buffer.code, {}, visible, plan)
            visible[name] = members[name]

    def value(self, code: Code, inputs: Mapping[str, Kind], members: Mapping[str, Kind], plan: ModulePlan) -> None:
        scope = Scope(inputs=inputs, members=members, constants=plan.constants, functions=self.functions)
        self.checked(parse_code(code), scope, plan)

    def checked(self, parsed: ParsedCode, scope: Scope, plan: ModulePlan) -> CheckResult:
        if parsed.diagnostics:
            for diagnostic in parsed.diagnostics:
                self.report(diagnostic, plan.chain)
            return CheckResult((), UNKNOWN, frozenset(), frozenset(), frozenset(), frozenset())
        result = check_code(parsed, scope)
        # A module that is broken has been reported; what is wrong about its use would only repeat that.
        broken = {name for name, kind in scope.members.items() if kind is _BROKEN_KIND}
        lines = parsed.code.text.splitlines()
        for diagnostic in result.diagnostics:
            if not (broken and diagnostic.span and _mentions(lines, diagnostic.span.line - parsed.code.first_line, broken)):
                self.report(diagnostic, plan.chain)
        return result

    def unused(self, plan: ModulePlan, read: set[str]) -> None:
        """Warn of children that no method of their module uses."""
        assert plan.definition is not None
        used = read | {share.path.split(".")[0] for share in _shares(plan)}
        used |= {path.split(".")[0] for tie in plan.ties for path in (tie.name, tie.to)}
        for name, child in plan.children.items():
            if child is not None and name not in used and name not in MODULE_ATTRIBUTES:
                self.found.add(
                    "unused-child", f"the child `{name}` of `{plan.definition.name}` is never used in its code",
                    plan.places.get(name, child.span),
                    severity="warning", help="use it in `forward`, or remove it",
                )  # fmt: skip

    # --- rules and hooks ------------------------------------------------------------------------------------------

    def rules(self, plan: ModulePlan, kind: ModuleKind) -> None:
        """Check the code of rules and hooks: initialisers, methods and what hooks do."""
        if plan.definition is None:
            state: dict[str, Kind] = {}
        else:
            state = {name: kind.members[name] for name in (*plan.parameters, *plan.buffers) if name in kind.members}
        for rule in plan.rules:
            for init in rule.init.values():
                if init.code is not None:
                    scope = Scope({"shape": ListKind(NUMBER)}, state, init.constants, self.functions)
                    self.checked(parse_code(init.code), scope, plan)
            for method in rule.methods.values():
                inputs = {item.name: _input_kind(item) for item in method.inputs}
                for matched in self.matched(plan, rule.where):
                    self.checked(parse_code(method.code), Scope(inputs, matched.members, {}, self.functions), plan)
        for hook in plan.hooks:
            if hook.code is not None:
                self.hook(plan, kind, hook, hook.code)

    def hook(self, plan: ModulePlan, kind: ModuleKind, hook: HookPlan, code: Code) -> None:
        """Check what a hook does, for each kind of module that it may be on."""
        parsed = parse_code(code)
        names = HOOK_KINDS[hook.kind].names(hook.options.get("with_kwargs", False))
        inputs = {name: _HOOK_INPUTS.get(name, UNKNOWN) for name in names}
        own = (*plan.children, *plan.parameters, *plan.buffers) if hook.in_body else ()
        members = {name: kind.members[name] for name in own if name in kind.members}
        for matched in self.matched(plan, hook.where) if "module" in names else (_BROKEN_KIND,):
            if "module" in names:
                inputs["module"] = replace(matched, call=None, methods={}, label="module")
            buffers = frozenset(name for name in plan.buffers if name in members)
            scope = Scope(inputs, members, hook.constants, self.functions, buffers=buffers, must_return=False)
            result = self.checked(parsed, scope, plan)
            if HOOK_KINDS[hook.kind].returns_nothing and result.result != NONE and not (parsed.diagnostics or result.diagnostics):
                self.error(
                    "invalid-hook", f"torch lets a `{hook.kind}` hook return nothing", code.span, plan.chain,
                    help="change what it is given in place, or leave the `return` out",
                )  # fmt: skip

    def matched(self, plan: ModulePlan, where: Selector | None) -> Iterable[ModuleKind]:
        """The kinds of the modules that a selector means, each once; at least one, so that code is always checked.

        What layers make inside themselves is not in the plan: such modules are known by the types of the selector.
        """
        found: dict[object, ModuleKind] = {}
        for path, module in [("", plan), *_below(plan, "")]:
            target = self.targets.get(id(module)) if isinstance(module, Share) else module
            if target is None or target is BROKEN:
                continue
            layer = lookup(target.base)
            classes = [target.base, *(layer.bases if layer else ()), *([target.definition.name] if target.definition else ())]
            if matches(where, classes, (path,)):
                kind = self.kinds.get(id(target)) or self.module(target)
                found.setdefault(kind.label if target.definition is None and target.base not in CONTAINERS else id(kind), kind)
        if not found:
            return (self.inner(where),)
        return found.values()

    def inner(self, where: Selector | None) -> ModuleKind:
        """The kind of modules inside layers that a selector means: tensors called so in any layer may be read."""
        types = where.types if where is not None and where.types is not None else layer_names()
        layers = [layer for name in types if (layer := lookup(name)) is not None]
        names = {name for layer in layers for name in (*layer.parameters, *layer.buffers)}
        return ModuleKind("module", members=dict.fromkeys(names, UNKNOWN))

    # --- shares and ties ------------------------------------------------------------------------------------------

    def shares(self, plan: ModulePlan) -> None:
        """Find the module that each share below a definition means."""
        for place, share in _placed_shares(plan):
            target = self.share_target(plan, place, share, ())
            if target is not None:
                self.targets[id(share)] = target

    def share_target(self, plan: ModulePlan, place: str, share: Share, seen: tuple[str, ...]) -> ModulePlan | None:
        if share.path in seen:
            if not self.circles & {*seen}:  # once, for whichever of its shares is met first
                self.circles |= {*seen}
                self.error(
                    "recursive-share", f"shares go in a circle: {_arrows((*seen, share.path))}", share.span, plan.chain,
                    help="write one of the modules out",
                )  # fmt: skip
            return None
        if f"{place}.".startswith(f"{share.path}.") or not share.path:
            self.error(
                "recursive-share", f"the share of `{share.path}` stands inside the module that it shares", share.span, plan.chain
            )
            return None
        target = _at(plan, share.path)
        if isinstance(target, Share):
            return self.share_target(plan, share.path, target, (*seen, share.path))
        if target is None and share.path in _absent(plan, ""):
            self.error(
                "unknown-module", f"`{share.path}` is absent here: its `when` is false", share.span, plan.chain,
                help="give the share the same `when`",
            )  # fmt: skip
        elif target is None:
            known = [path for path, _ in _below(plan, "")]
            guess = closest(share.path, known)
            self.error(
                "unknown-module", f"there is no module `{share.path}` to share", share.span, plan.chain,
                help=f"did you mean `{guess}`?" if guess else "the path starts at the module that holds the share's definition",
            )  # fmt: skip
        return target

    def ties(self, plan: ModulePlan) -> None:
        for tie in plan.ties:
            self.tie_end(plan, tie.name, tie.span)
            self.tie_end(plan, tie.to, tie.to_span)
            if tie.name == tie.to:
                self.error("invalid-tie", f"`{tie.name}` is tied to itself", tie.span, plan.chain)

    def tie_end(self, plan: ModulePlan, path: str, span: Span) -> None:
        owner, _, name = path.rpartition(".")
        module = _at(plan, owner) if owner else plan
        if isinstance(module, Share):
            module = self.targets.get(id(module))
        if module is BROKEN:
            return
        if not isinstance(module, ModulePlan):
            guess = closest(owner, [p for p, _ in _below(plan, "")])
            self.error(
                "unknown-module", f"there is no module `{owner}` to tie `{path}` of", span, plan.chain,
                help=f"did you mean `{guess}`?" if guess else "",
            )  # fmt: skip
            return
        layer = lookup(module.base)
        known = [name for name, parameter in module.parameters.items() if parameter is not None]
        if name not in known and not (layer is not None and layer.registers(name)):
            known += layer.parameters if layer else ()
            guess = closest(name, known)
            label = module.definition.name if module.definition else module.base
            self.error(
                "unknown-parameter", f"`{label}` has no parameter `{name}`", span, plan.chain,
                help=f"did you mean `{guess}`?" if guess else "",
            )  # fmt: skip

    def errors(self) -> int:
        return sum(diagnostic.severity == "error" for diagnostic in self.found.found.values())

    def report(self, diagnostic: Diagnostic, chain: tuple[Note, ...]) -> None:
        self.found.report(replace(diagnostic, notes=(*diagnostic.notes, *chain)))

    def error(self, code: str, message: str, span: Span, chain: tuple[Note, ...], *, help: str = "") -> None:
        self.found.add(code, message, span, notes=chain, help=help)


# --- small questions to a plan ------------------------------------------------------------------------------------


_HOOK_INPUTS: Mapping[str, Kind] = {
    "args": ListKind(UNKNOWN),
    "kwargs": DICT,
    "grad_input": ListKind(UNKNOWN),
    "grad_output": ListKind(UNKNOWN),
    "grad": TENSOR,
    "prefix": TEXT,
    "keep_vars": FLAG,
    "strict": FLAG,
    "missing_keys": ListKind(TEXT),
    "unexpected_keys": ListKind(TEXT),
    "error_msgs": ListKind(TEXT),
    "param": TENSOR,
    # A thing with two parts that may be read.
    "incompatible_keys": ModuleKind(
        "incompatible_keys", members={"missing_keys": ListKind(TEXT), "unexpected_keys": ListKind(TEXT)}
    ),
}


def _modules(values: Iterable[object]) -> Iterator[ModulePlan]:
    for value in values:
        if isinstance(value, ModulePlan):
            yield value
        elif isinstance(value, list | tuple):
            yield from _modules(value)


def _at(plan: ModulePlan, path: str) -> ModulePlan | Share | None:
    """The module at a dotted path, or None; BROKEN inside a layer, whose own modules are seen at the build."""
    found: ModulePlan | Share | None = plan
    for name in path.split("."):
        if not isinstance(found, ModulePlan):
            return None
        if found.definition is None and found.base not in CONTAINERS:
            return BROKEN
        found = found.children.get(name)
    return found


def _below(plan: ModulePlan, prefix: str) -> Iterator[tuple[str, ModulePlan | Share]]:
    """Everything below a module with its path, definitions looked into as well."""
    for name, child in plan.children.items():
        path = f"{prefix}.{name}" if prefix else name
        if child is not None:
            yield path, child
        if isinstance(child, ModulePlan):
            yield from _below(child, path)


def _absent(plan: ModulePlan, prefix: str) -> Iterator[str]:
    """The paths below a module where nothing stands, as a `when` is false there."""
    for name, child in plan.children.items():
        path = f"{prefix}.{name}" if prefix else name
        if child is None:
            yield path
        elif isinstance(child, ModulePlan):
            yield from _absent(child, path)


def _placed_shares(plan: ModulePlan, prefix: str = "") -> Iterator[tuple[str, Share]]:
    """The shares that belong to a definition: in its children and their containers, not inside other definitions."""
    for name, child in plan.children.items():
        path = f"{prefix}.{name}" if prefix else name
        if isinstance(child, Share):
            yield path, child
        elif isinstance(child, ModulePlan) and child.definition is None:
            yield from _placed_shares(child, path)


def _shares(plan: ModulePlan) -> Iterator[Share]:
    return (share for _, share in _placed_shares(plan))


def _argument_kinds(plan: ModulePlan) -> dict[str, Kind]:
    return {name: _value_kind(plan.constants[name]) for name in plan.own_args}


def _value_kind(value: object) -> Kind:
    if value is None:
        return NONE
    if isinstance(value, bool):
        return FLAG
    if isinstance(value, int | float):
        return NUMBER
    if isinstance(value, str):
        return TEXT
    if isinstance(value, dict):
        return DICT
    return UNKNOWN if isinstance(value, DTypeName) else ListKind(UNKNOWN)


def _input_kind(item: Input) -> Kind:
    """What an input is as far as its contract says; a default of None leaves it open."""
    kinds: dict[str, Kind] = {"tensor": TENSOR, "int": NUMBER, "float": NUMBER, "bool": FLAG, "str": TEXT, "dict": DICT}
    declared = getattr(item.contract, "type", None)
    if declared in kinds and not (not item.required and item.default is None):
        return kinds[declared]
    return UNKNOWN


def _parameter(item: Input) -> Parameter:
    return Parameter(item.name, required=item.required)


def _signature(method: Method, result: CheckResult) -> Signature:
    return Signature(
        tuple(_parameter(item) for item in method.inputs),
        result=UNKNOWN if isinstance(result.result, ModuleKind) else result.result,
        changes=result.changes,
        shares_state=bool(result.shares),
    )


def _arrows(names: Iterable[str]) -> str:
    return " -> ".join(f"`{name}`" for name in names)


def _shares_state(kind: Kind) -> bool:
    return isinstance(kind, ModuleKind) and kind.call is not None and kind.call.shares_state


def _mentions(lines: list[str], number: int, names: set[str]) -> bool:
    """Whether a line of code has one of the names; a line that is not there is taken to."""
    if not 0 <= number < len(lines):
        return True
    return not names.isdisjoint(re.findall(r"[^\W\d]\w*", lines[number]))


def _mentioned(parsed: ParsedCode, names: Iterable[str], own: str) -> set[str]:
    """The methods that a body names, as `encode` or `self.encode`."""
    words = set()
    for statement in parsed.body:
        for node in ast.walk(statement):
            words.add(getattr(node, "id", None) or getattr(node, "attr", None))
    return {name for name in (*names, own) if name in words and name != "forward"}


def _callees_first(calls: Mapping[str, Iterable[str]]) -> list[str]:
    """Methods in an order in which each comes after those it calls, as far as there is no circle."""
    order: list[str] = []
    visiting: set[str] = set()

    def visit(name: str) -> None:
        if name in visiting or name in order:
            return
        visiting.add(name)
        for callee in calls[name]:
            visit(callee)
        order.append(name)

    for name in calls:
        visit(name)
    return order
