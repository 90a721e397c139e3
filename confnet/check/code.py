"""The code of a plan: bodies, values, rules and hooks, each checked against the kinds of what it may read."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from confnet.catalog.functions import tensor_method
from confnet.catalog.hooks import HOOK_KINDS
from confnet.catalog.registry import DEFAULT_REGISTRY, layer_names, lookup
from confnet.check.kinds import BROKEN_KIND, HOOK_INPUTS, input_kind, parameter_of, signature_of
from confnet.check.tree import arrows, below, placed_shares
from confnet.diagnostics import Collector, ConfnetError, Diagnostic, Note, Span
from confnet.language.code import Code
from confnet.language.forward import check_code, parse_code
from confnet.language.grammar import MAX_TEXT
from confnet.language.kinds import NONE, NUMBER, UNKNOWN, Kind, ListKind, ModuleKind, Signature
from confnet.language.names import MODULE_ATTRIBUTES, find_cycle
from confnet.language.scope import CheckResult, ParsedCode, Scope
from confnet.plan import BROKEN, CONTAINERS, HookPlan, Method, ModulePlan, Selector, Share
from confnet.selection import matches

__all__ = ["CodeCheck"]


class CodeCheck:
    """Checks code. `kind` tells the kind of a module of the plan, `targets` what a share means."""

    def __init__(
        self,
        found: Collector,
        kind: Callable[[ModulePlan], ModuleKind],
        targets: Mapping[int, ModulePlan],
        limit: int,
    ) -> None:
        self.found, self.kind, self.targets = found, kind, targets
        self.limit = self.left = limit  # in characters
        self.read: dict[Code, ParsedCode] = {}
        self.reached: set[str] = set()  # what any code reads of another module, such as `layers[0].attn.bias`
        self.idle: list[tuple[str, Diagnostic]] = []  # children that the code of their own module leaves alone
        self.functions = {name: function.signature for name, function in DEFAULT_REGISTRY.functions.items()}

    def methods(self, plan: ModulePlan, members: Mapping[str, Kind]) -> dict[str, Signature]:
        """Check the bodies of a definition, callees first; returns how each method may be called."""
        assert plan.definition is not None
        before = self.errors()
        self.values(plan, members)
        parsed = {name: self.parsed(method.code) for name, method in plan.definition.methods.items()}
        calls = {name: _mentioned(code, parsed.keys() - {"forward", name}, name) for name, code in parsed.items()}
        signatures: dict[str, Signature] = {}
        read: set[str] = set()
        for name in _callees_first(calls):
            method = plan.definition.methods[name]
            result = self.body(plan, method, parsed[name], members, signatures)
            read |= result.names_read
            calls[name] = set(result.methods_called)
            signatures[name] = signature_of(method, result)
        cycle = find_cycle(calls)
        if cycle:
            span = plan.definition.methods[cycle[0]].code.span
            self.error("recursive-method", f"methods call each other in a circle: {arrows(cycle)}", span, plan.chain)
        if "forward" in parsed and self.errors() == before:  # code with mistakes says little of what it uses
            self.unused(plan, read)
        return signatures

    def body(
        self,
        plan: ModulePlan,
        method: Method,
        parsed: ParsedCode,
        members: Mapping[str, Kind],
        signatures: Mapping[str, Signature],
    ) -> CheckResult:
        own = {name: signature for name, signature in signatures.items() if name != "forward"}
        for name, other in (plan.definition.methods if plan.definition else {}).items():
            if (
                name not in own and name != "forward"
            ):  # not checked yet: it calls this one, which is reported as a circle
                own[name] = Signature(tuple(parameter_of(item) for item in other.inputs))
        scope = Scope(
            inputs={item.name: input_kind(item) for item in method.inputs},
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
        for parameter in plan.parameters.values():
            if parameter is not None and parameter.init is not None and parameter.init.code is not None:
                self.value(parameter.init.code, {"shape": ListKind(NUMBER)}, {}, plan)
        for name, buffer in plan.buffers.items():
            if buffer is not None and buffer.code is not None:
                self.value(buffer.code, {}, visible, plan)
            visible[name] = members[name]

    def value(self, code: Code, inputs: Mapping[str, Kind], members: Mapping[str, Kind], plan: ModulePlan) -> None:
        scope = Scope(inputs=inputs, members=members, constants=plan.constants, functions=self.functions)
        self.checked(self.parsed(code), scope, plan)

    def parsed(self, code: Code) -> ParsedCode:
        """Code as statements, read once and checked once for each instance that differs."""
        self.left -= len(code.text) if len(code.text) <= MAX_TEXT else 0  # a longer text is refused unread
        if self.left < 0:
            help = "let the instances of a definition have the same args, or move code that they share into one child"
            message = f"instances of definitions need more than {self.limit:,} characters of code to be checked"
            self.found.add("too-much-code", message, code.span, help=help)
            raise ConfnetError(self.found.found.values())
        if code not in self.read:
            self.read[code] = parsed = parse_code(code)
            self.reached |= {name for name in _attributes(parsed) if tensor_method(name) is None}
        return self.read[code]

    def checked(self, parsed: ParsedCode, scope: Scope, plan: ModulePlan) -> CheckResult:
        if parsed.diagnostics:
            for diagnostic in parsed.diagnostics:
                self.report(diagnostic, plan.chain)
            return CheckResult((), UNKNOWN, frozenset(), frozenset(), frozenset(), frozenset())
        result = check_code(parsed, scope)
        # A module that is broken has been reported; what is wrong about its use would only repeat that.
        broken = {name for name, kind in scope.members.items() if kind is BROKEN_KIND}
        lines = parsed.code.text.splitlines()
        for diagnostic in result.diagnostics:
            if not (
                broken and diagnostic.span and _mentions(lines, diagnostic.span.line - parsed.code.first_line, broken)
            ):
                self.report(diagnostic, plan.chain)
        return result

    def unused(self, plan: ModulePlan, read: set[str]) -> None:
        """Note children that no method of their module uses; `report_unused` warns of them."""
        assert plan.definition is not None
        used = read | {share.path.split(".")[0] for _, share in placed_shares(plan)}
        used |= {path.split(".")[0] for tie in plan.ties for path in (tie.name, tie.to)}
        for name, child in plan.children.items():
            if child is not None and name not in used and name not in MODULE_ATTRIBUTES:
                warning = Diagnostic(
                    "unused-child",
                    f"the child `{name}` of `{plan.definition.name}` is never used in its code",
                    span=plan.places.get(name, child.span),
                    severity="warning",
                    help="use it in `forward`, or remove it",
                )
                self.idle.append((name, warning))

    def report_unused(self) -> None:
        """Warn of children that no code uses, once all code is read: a module further out may use them by path."""
        for name, warning in self.idle:
            if name not in self.reached:
                self.found.report(warning)

    # --- rules and hooks --------------------------------------------------------------------------------------------

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
                    self.checked(self.parsed(init.code), scope, plan)
            for name, method in rule.methods.items():
                inputs = {item.name: input_kind(item) for item in method.inputs}
                for matched in self.matched(plan, rule.where):
                    if name in matched.members:
                        message = f"`{name}` is a method here, and `{matched.label}` has it as something else"
                        help = "rename one of the two"
                        self.error("duplicate-name", message, method.code.span, plan.chain, help=help)
                    scope = Scope(inputs, matched.members, {}, self.functions)
                    self.checked(self.parsed(method.code), scope, plan)
        for hook in plan.hooks:
            if hook.code is not None:
                self.hook(plan, kind, hook, hook.code)

    def hook(self, plan: ModulePlan, kind: ModuleKind, hook: HookPlan, code: Code) -> None:
        """Check what a hook does, for each kind of module that it may be on."""
        parsed = self.parsed(code)
        names = HOOK_KINDS[hook.kind].names(hook.options.get("with_kwargs", False))
        inputs = {name: HOOK_INPUTS.get(name, UNKNOWN) for name in names}
        own = (*plan.children, *plan.parameters, *plan.buffers) if hook.in_body else ()
        members = {name: kind.members[name] for name in own if name in kind.members}
        for matched in self.matched(plan, hook.where) if "module" in names else (BROKEN_KIND,):
            if "module" in names:
                inputs["module"] = replace(matched, call=None, methods={}, label="module")
            buffers = frozenset(name for name in plan.buffers if name in members)
            scope = Scope(inputs, members, hook.constants, self.functions, buffers=buffers, must_return=False)
            result = self.checked(parsed, scope, plan)
            if "kwargs" in names and hook.kind == "forward_pre" and isinstance(result.result, ListKind):
                self.error(
                    "invalid-hook",
                    "a `forward_pre` hook with `with_kwargs` returns `(args, kwargs)`, or nothing",
                    code.span,
                    plan.chain,
                    help="write `return args, kwargs`",
                )
            if (
                HOOK_KINDS[hook.kind].returns_nothing
                and result.result != NONE
                and not (parsed.diagnostics or result.diagnostics)
            ):
                self.error(
                    "invalid-hook",
                    f"torch lets a `{hook.kind}` hook return nothing",
                    code.span,
                    plan.chain,
                    help="change what it is given in place, or leave the `return` out",
                )

    def matched(self, plan: ModulePlan, where: Selector | None) -> Iterable[ModuleKind]:
        """The kinds of the modules that a selector means, each once; at least one, so that code is always checked.

        What layers make inside themselves is not in the plan: such modules are known by the types of the selector.
        """
        found: dict[object, ModuleKind] = {}
        for path, module in [("", plan), *below(plan, "")]:
            target = self.targets.get(id(module)) if isinstance(module, Share) else module
            if target is None or target is BROKEN:
                continue
            layer = lookup(target.base)
            classes = [
                target.base,
                *(layer.bases if layer else ()),
                *([target.definition.name] if target.definition else ()),
            ]
            if matches(where, classes, (path,)):
                kind = self.kind(target)
                found.setdefault(
                    kind.label if target.definition is None and target.base not in CONTAINERS else id(kind), kind
                )
        if not found:
            return (self.inner(where),)
        return found.values()

    def inner(self, where: Selector | None) -> ModuleKind:
        """The kind of modules inside layers that a selector means: tensors called so in any layer may be read."""
        types = where.types if where is not None and where.types is not None else layer_names()
        layers = [layer for name in types if (layer := lookup(name)) is not None]
        names = {name for layer in layers for name in (*layer.parameters, *layer.buffers)}
        return ModuleKind("module", members=dict.fromkeys(names, UNKNOWN))

    def errors(self) -> int:
        return sum(diagnostic.severity == "error" for diagnostic in self.found.found.values())

    def report(self, diagnostic: Diagnostic, chain: tuple[Note, ...]) -> None:
        self.found.report(replace(diagnostic, notes=(*diagnostic.notes, *chain)))

    def error(self, code: str, message: str, span: Span, chain: tuple[Note, ...], *, help: str = "") -> None:
        self.found.add(code, message, span, notes=chain, help=help)


def _mentions(lines: list[str], number: int, names: set[str]) -> bool:
    """Whether a line of code has one of the names; a line that is not there is taken to."""
    if not 0 <= number < len(lines):
        return True
    return not names.isdisjoint(re.findall(r"[^\W\d]\w*", lines[number]))


def _attributes(parsed: ParsedCode) -> Iterable[str]:
    """The names that a body reads of anything but its own module."""
    if "." not in parsed.code.text:
        return ()
    nodes = (node for node in parsed.nodes if isinstance(node, ast.Attribute))
    return (node.attr for node in nodes if not (isinstance(node.value, ast.Name) and node.value.id == "self"))


def _mentioned(parsed: ParsedCode, names: Iterable[str], own: str) -> set[str]:
    """The methods that a body names, as `encode` or `self.encode`."""
    words = {getattr(node, "id", None) or getattr(node, "attr", None) for node in parsed.nodes}
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
