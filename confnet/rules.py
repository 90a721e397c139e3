"""What a file says about modules after they exist: `apply` rules, what stands beside one module, and hooks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count
from typing import Protocol

from confnet.calls import Written
from confnet.catalog.arguments import Takes
from confnet.catalog.hooks import BUILTIN_HOOKS, HOOK_KINDS, HookKind
from confnet.catalog.parametrizations import parametrization, parametrization_names
from confnet.catalog.registry import DEFAULT_REGISTRY
from confnet.diagnostics import Collector, Span, closest
from confnet.plan import CallPlan, HookPlan, InitPlan, Method, RulePlan, Selector
from confnet.source import Mapping as MappingNode
from confnet.source import Node, Scalar, Sequence
from confnet.spec.models import HookSpec, MethodSpec, ModifiersSpec, ParametrizeSpec, RuleSpec, SelectorSpec
from confnet.values import Names, Values, code_of, mentioned

__all__ = ["RuleReader", "Tools"]

THIS_MODULE = Selector(names=("",))


class Tools(Protocol):
    """What the reading of rules needs of the resolver."""

    @property
    def found(self) -> Collector: ...
    @property
    def values(self) -> Values: ...
    def call_arguments(self, callee: Takes, given: Written) -> tuple[tuple[object, ...] | None, dict[str, object]]: ...
    def init(self, node: Node) -> InitPlan | None: ...
    def dtype(self, node: Scalar | None) -> str | None: ...
    def methods(self, specs: Iterable[MethodSpec]) -> dict[str, Method]: ...


class RuleReader:
    """Reads rules and hooks at a place whose `$` names are known."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self.values = tools.values

    # --- rules ----------------------------------------------------------------------------------------------------

    def rules(self, specs: Iterable[RuleSpec], names: Names) -> tuple[RulePlan, ...]:
        """The rules of an `apply`, without those whose `when` is false."""
        return tuple(self.rule(spec, names) for spec in specs if self.values.condition(spec.when, names))

    def rule(self, spec: RuleSpec, names: Names) -> RulePlan:
        settings = spec.set.entries if spec.set is not None else ()
        return RulePlan(
            where=self.selector(spec.where, names) if spec.where is not None else None,
            span=spec.span,
            init=self.inits(spec.init, names),
            parametrize=self.parametrizations(spec.parametrize or (), names),
            requires_grad=self.values.flag(spec.requires_grad, names, True) if spec.requires_grad is not None else None,
            extra_repr=self.values.text(spec.extra_repr, names) if spec.extra_repr is not None else None,
            settings={key.text: self.values.value(node, names) for key, node in settings},
            setting_spans={key.text: key.span for key, _ in settings},
            methods=self.tools.methods(spec.methods or ()),
            dtype=self.dtype(spec.dtype, names),
            calls=self.calls(spec.call, names),
            chain=names.chain,
        )

    def dtype(self, node: Scalar | None, names: Names) -> str | None:
        """What `nn.Module.to` takes: a dtype that parameters can have."""
        dtype = self.tools.dtype(node)
        if node is None or dtype is None or dtype.startswith(("float", "bfloat", "complex")):
            return dtype
        self.error(
            "invalid-type",
            f"a module cannot be converted to `{dtype}`",
            node.span,
            names,
            help="write a floating-point or complex dtype",
        )
        return None

    def own_rule(self, spec: ModifiersSpec, span: Span, names: Names) -> RulePlan | None:
        """What stands beside a layer key or in a body: a rule about that module alone."""
        if spec.init is None and spec.parametrize is None and spec.requires_grad is None and spec.extra_repr is None:
            return None
        return RulePlan(
            where=THIS_MODULE,
            span=span,
            init=self.inits(spec.init, names),
            parametrize=self.parametrizations(spec.parametrize or (), names),
            requires_grad=self.values.flag(spec.requires_grad, names, True) if spec.requires_grad is not None else None,
            extra_repr=self.values.text(spec.extra_repr, names) if spec.extra_repr is not None else None,
            chain=names.chain,
        )

    def selector(self, spec: SelectorSpec, names: Names) -> Selector:
        exclude = self.selector(spec.exclude, names) if spec.exclude is not None else None
        return Selector(self.patterns(spec.type, names), self.patterns(spec.name, names), exclude)

    def patterns(self, node: Node | None, names: Names) -> tuple[str, ...] | None:
        """The globs of a selector: a text or a list of texts."""
        if node is None:
            return None
        nodes = node.items if isinstance(node, Sequence) else (node,)
        found = []
        for item in nodes:
            if isinstance(item, Scalar) and isinstance(item.value, str):
                found.append(self.values.text(item, names))
            else:
                self.error("invalid-type", "a selector takes a text or a list of texts", item.span, names)
        return tuple(found)

    def inits(self, node: Node | None, names: Names) -> dict[str, InitPlan]:
        if node is None:
            return {}
        if not isinstance(node, MappingNode):
            self.error(
                "invalid-init",
                "`init` names parameters and their initialisers",
                node.span,
                names,
                help="write `init: {weight: ..., bias: zeros_}`",
            )
            return {}
        plans = {self.values.text(key, names): self.tools.init(child) for key, child in node}
        return {name: plan for name, plan in plans.items() if plan is not None}

    def parametrizations(self, specs: Iterable[ParametrizeSpec], names: Names) -> dict[str, CallPlan]:
        found = {}
        for spec in specs:
            call = self.named_call(spec.call, names)
            if call is None:
                continue
            key, arguments = call
            callee = parametrization(key.text)
            if callee is None:
                self.unknown("unknown-parametrization", "parametrization", key, parametrization_names(), names)
                continue
            plan = self.bound(callee, key, arguments, names)
            if plan is not None:
                found[self.values.text(spec.parameter, names)] = plan
        return found

    def calls(self, node: Node | None, names: Names) -> tuple[CallPlan, ...]:
        """The registered functions that a rule calls on each module: one, or a mapping of several."""
        if node is None:
            return ()
        pairs: list[tuple[Scalar, Node | None]] = []
        if isinstance(node, MappingNode):
            pairs = list(node.entries)
        else:
            call = self.named_call(node, names)
            pairs = [call] if call is not None else []
        found = []
        for key, arguments in pairs:
            function = DEFAULT_REGISTRY.applies.get(key.text)
            if function is None:
                self.unknown(
                    "unknown-function",
                    "registered function",
                    key,
                    DEFAULT_REGISTRY.applies,
                    names,
                    "register it with `confnet.applies`",
                )
                continue
            plan = self.bound(function.after(1), key, arguments, names)
            if plan is not None:
                found.append(plan)
        return tuple(found)

    # --- hooks ----------------------------------------------------------------------------------------------------

    def hooks(
        self, specs: Iterable[HookSpec], names: Names, *, in_body: bool, taken: Iterable[str] = ()
    ) -> tuple[HookPlan, ...]:
        """The hooks of a module, without those whose `when` is false; each has a name of its own, none of `taken`."""
        taken = set(taken)
        plans: list[HookPlan] = []
        named = [(spec, self.hook_name(spec, names, taken)) for spec in specs]
        for spec, name in named:
            if name is None:  # numbered among all, so that a `when` does not rename the others
                kind = self.values.text(spec.kind, names)
                name = next(n for n in (f"{kind}{i or ''}" for i in count()) if n not in taken)
                taken.add(name)
            if self.values.condition(spec.when, names):
                plan = self.hook(spec, name, names, in_body)
                plans += [plan] if plan is not None else []
        return tuple(plans)

    def hook_name(self, spec: HookSpec, names: Names, taken: set[str]) -> str | None:
        """The name that a hook is given, or None."""
        if spec.name is None or not self.values.condition(spec.when, names):
            return None if spec.name is None else ""
        name = self.values.text(spec.name, names)
        if name in taken:
            self.error("duplicate-name", f"the hook `{name}` stands twice", spec.name.span, names)
        taken.add(name)
        return name or None

    def hook(self, spec: HookSpec, name: str, names: Names, in_body: bool) -> HookPlan | None:
        kind = self.kind(spec, names)
        if kind is None:
            return None
        options = self.options(spec, kind, names)
        tensor = self.tensor(spec, kind, names)
        call = (
            self.hook_call(spec.call, kind, options.get("with_kwargs", False), names) if spec.call is not None else None
        )
        if spec.call is not None and call is None:
            return None
        code = code_of(spec.do, "body") if spec.do is not None else None
        where = self.selector(spec.where, names) if spec.where is not None else THIS_MODULE
        constants = mentioned([code.text] if code else [], names)
        return HookPlan(kind.name, where, name, call, code, tensor, options, constants, in_body, spec.span, names.chain)

    def kind(self, spec: HookSpec, names: Names) -> HookKind | None:
        text = self.values.text(spec.kind, names)
        if text in HOOK_KINDS:
            return HOOK_KINDS[text]
        if text == "backward":
            self.error(
                "deprecated-hook",
                "torch's `backward` hook gives wrong gradients for modules with several operations",
                spec.kind.span,
                names,
                help="write `full_backward`",
            )
        else:
            self.unknown("unknown-hook-kind", "kind of hook", spec.kind, HOOK_KINDS, names)
        return None

    def options(self, spec: HookSpec, kind: HookKind, names: Names) -> dict[str, bool]:
        given = {key: getattr(spec, key) for key in ("prepend", "with_kwargs", "always_call")}
        for key, node in given.items():
            if node is not None and key not in kind.options:
                allowed = ", ".join(f"`{option}`" for option in kind.options)
                self.error(
                    "invalid-hook",
                    f"a `{kind.name}` hook has no option `{key}`",
                    node.span,
                    names,
                    help=f"its options are {allowed}" if allowed else "it has no options",
                )
        return {
            key: self.values.flag(node, names, False)
            for key, node in given.items()
            if node is not None and key in kind.options
        }

    def tensor(self, spec: HookSpec, kind: HookKind, names: Names) -> str | None:
        if kind.on_tensor and spec.tensor is None:
            self.error(
                "invalid-hook",
                f"a `{kind.name}` hook does not say which tensor it is for",
                spec.span,
                names,
                help="write `tensor: weight`"
                + (", `tensor: output` or `tensor: input`" if kind.name == "tensor" else ""),
            )
        if not kind.on_tensor and spec.tensor is not None:
            self.error(
                "invalid-hook", f"a `{kind.name}` hook belongs to a module, not to a tensor", spec.tensor.span, names
            )
        name = self.values.text(spec.tensor, names) if spec.tensor is not None else None
        if kind.name == "post_accumulate_grad" and name in ("output", "input"):
            self.error(
                "invalid-hook",
                f"`{name}` accumulates no gradient",
                spec.tensor.span,
                names,
                help="name a parameter, or write `kind: tensor`",
            )
        return name

    def hook_call(self, node: Node, kind: HookKind, with_kwargs: bool, names: Names) -> CallPlan | None:
        call = self.named_call(node, names)
        if call is None:
            return None
        key, arguments = call
        builtin = BUILTIN_HOOKS.get(key.text)
        if builtin is not None and kind.name not in builtin.kinds:
            self.error(
                "invalid-hook",
                f"`{key.text}` is no hook of kind `{kind.name}`",
                key.span,
                names,
                help="it serves " + ", ".join(f"`{name}`" for name in builtin.kinds),
            )
            return None
        registered = DEFAULT_REGISTRY.hooks.get(key.text)
        callee: Takes | None = builtin
        if callee is None and registered is not None:
            callee = registered.after(len(kind.names(with_kwargs)))
        if callee is None:
            known = [*BUILTIN_HOOKS, *DEFAULT_REGISTRY.hooks]
            self.unknown("unknown-hook", "hook", key, known, names, "register it with `confnet.hook`")
            return None
        return self.bound(callee, key, arguments, names)

    # --- common ---------------------------------------------------------------------------------------------------

    def named_call(self, node: Node, names: Names) -> tuple[Scalar, Node | None] | None:
        """A name, or a mapping of one name to its arguments."""
        if isinstance(node, Scalar) and isinstance(node.value, str):
            return node, None
        if isinstance(node, MappingNode) and len(node.entries) == 1:
            return node.entries[0]
        self.error("invalid-call", "a call is a name, or a mapping of one name to its arguments", node.span, names)
        return None

    def bound(self, callee: Takes, key: Scalar, arguments: Node | None, names: Names) -> CallPlan | None:
        positional, keywords = self.tools.call_arguments(callee, Written.read(arguments, key.span))
        return None if positional is None else CallPlan(key.text, positional, keywords, key.span)

    def unknown(
        self,
        code: str,
        what: str,
        key: Scalar,
        known: Iterable[str] | Mapping[str, object],
        names: Names,
        otherwise: str = "",
    ) -> None:
        guess = closest(key.text, known)
        listed = ", ".join(f"`{name}`" for name in known)
        help = f"did you mean `{guess}`?" if guess else otherwise or f"they are {listed}"
        self.error(code, f"there is no {what} `{key.text}`", key.span, names, help=help, fix=guess)

    def error(
        self, code: str, message: str, span: Span, names: Names, *, help: str = "", fix: str | None = None
    ) -> None:
        self.values.error(code, message, span, names, help=help, fix=fix)
