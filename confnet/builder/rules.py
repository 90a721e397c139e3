"""Rules at work: `apply`, and what stands beside a layer, on the modules of a definition that has been constructed.

Visits children before parents, as `nn.Module.apply` does; the last rule that sets a parameter wins. What each rule
did is recorded, for `confnet.init_report` and to tell rules that do nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from confnet.builder.selection import named_postorder, selected
from confnet.catalog.arguments import value_problem
from confnet.catalog.registry import DEFAULT_REGISTRY, lookup
from confnet.diagnostics import ConfnetError, Diagnostic, Note, Span, closest
from confnet.plan import CallPlan, InitPlan, RulePlan

__all__ = ["InitOrigin", "RuleRunner", "Text", "arguments_of", "init_report", "initialise_tensor", "record_origins", "refused"]


@dataclass(frozen=True, slots=True)
class InitOrigin:
    """What set a parameter: an initialiser, by the rule at a place of the file."""

    initializer: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Text:
    """An `extra_repr` that is a text."""

    text: str

    def __call__(self) -> str:
        return self.text


@dataclass(slots=True)
class _Seen:
    """What became of one rule over all instances of its definition."""

    rule: RulePlan
    matched: int = 0
    classes: set[str] = field(default_factory=set)
    unregistered: dict[str, Span] = field(default_factory=dict)
    registered: set[str] = field(default_factory=set)
    parameters: set[int] = field(default_factory=set)


class RuleRunner:
    """Runs rules; `value` turns a value of the plan into one of torch, `code` computes the value of an initialiser."""

    def __init__(
        self, value: Callable[[object], Any], code: Callable[[nn.Module, InitPlan, torch.Tensor], object], extend: Callable[[nn.Module, RulePlan], None]
    ) -> None:
        self.value, self.code, self.extend = value, code, extend
        self.origins: dict[int, tuple[nn.Parameter, InitOrigin]] = {}
        self.seen: dict[Span, _Seen] = {}
        self.setters: dict[int, Span] = {}  # the rule that set a parameter last

    def run(self, holder: nn.Module, rules: Iterable[RulePlan]) -> None:
        """Run the rules of a module over itself and everything in it."""
        rules = tuple(rules)
        if not rules:
            return
        places = list(named_postorder(holder))
        chosen = [(rule, [m for m, names in places if selected(rule.where, m, names)]) for rule in rules]
        for rule, modules in chosen:
            seen = self.seen.setdefault(rule.span, _Seen(rule))
            seen.matched += len(modules)
            seen.classes |= {type(module).__name__ for module, _ in places}
            for module in modules:
                self.parametrize(module, rule)
        for rule, modules in chosen:
            for module in modules:
                self.apply(holder, module, rule)
        for rule, modules in chosen:
            for module in modules:
                self.calls(module, rule)

    def apply(self, holder: nn.Module, module: nn.Module, rule: RulePlan) -> None:
        if rule.methods:
            self.extend(module, rule)
        for name, plan in rule.init.items():
            self.initialise(holder, module, name, plan, rule)
        if rule.requires_grad is not None:
            module.requires_grad_(rule.requires_grad)
        if rule.dtype is not None:
            module.to(getattr(torch, rule.dtype))
        if rule.extra_repr is not None:
            module.extra_repr = Text(rule.extra_repr)  # type: ignore[method-assign]
        for name, value in rule.settings.items():
            self.set(module, name, value, rule)

    # --- parameters -----------------------------------------------------------------------------------------------

    def initialise(self, holder: nn.Module, module: nn.Module, name: str, plan: InitPlan, rule: RulePlan) -> None:
        seen = self.seen[rule.span]
        if parametrize.is_parametrized(module, name):
            seen.registered.add(name)
            with torch.no_grad():
                tensor = getattr(module, name).detach().clone()
                self.fill(holder, tensor, plan, rule)
                setattr(module, name, tensor)  # through right_inverse: nn.init on a parametrized weight does nothing
            parameters = list(module.parametrizations[name].parameters())  # type: ignore[index,operator,union-attr]
        elif name in module._parameters:
            seen.registered.add(name)
            parameter = module._parameters[name]
            if parameter is None:
                return
            self.fill(holder, parameter, plan, rule)
            parameters = [parameter]
        else:
            seen.unregistered.setdefault(name, plan.span)
            return
        for parameter in parameters:
            self.record(parameter, plan, rule)

    def record(self, parameter: nn.Parameter, plan: InitPlan, rule: RulePlan | None) -> None:
        """Remember what set a parameter last."""
        origin = InitOrigin(plan.name or "value", plan.span.file, plan.span.line)
        self.origins[id(parameter)] = (parameter, origin)
        if rule is not None:
            self.seen[rule.span].parameters.add(id(parameter))
            self.setters[id(parameter)] = rule.span

    def fill(self, holder: nn.Module, tensor: torch.Tensor, plan: InitPlan, rule: RulePlan) -> None:
        initialise_tensor(tensor, plan, rule.chain, self.value, lambda: self.code(holder, plan, tensor))

    # --- the rest of a rule ---------------------------------------------------------------------------------------

    def parametrize(self, module: nn.Module, rule: RulePlan) -> None:
        for name, call in rule.parametrize.items():
            seen = self.seen[rule.span]
            if not parametrize.is_parametrized(module, name) and module._parameters.get(name) is None:
                if name in module._parameters:
                    seen.registered.add(name)
                else:
                    seen.unregistered.setdefault(name, call.span)
                continue
            seen.registered.add(name)
            make = getattr(parametrizations, call.name)
            positional, keywords = arguments_of(call, self.value)
            try:
                make(module, name, *positional, **keywords)
            except Exception as error:
                raise refused(f"`{call.name}` cannot be used here", error, call.span, rule.chain) from error

    def set(self, module: nn.Module, name: str, value: object, rule: RulePlan) -> None:
        span = rule.setting_spans[name]
        layer = next((known for base in type(module).__mro__ if (known := lookup(base.__name__)) is not None), None)
        argument = layer.argument(name) if layer is not None else None
        open_ones = [a.name for a in layer.arguments if a.settable] if layer is not None else []
        label = type(module).__name__
        if argument is None or not argument.settable:
            guess = closest(name, open_ones)
            help = f"did you mean `{guess}`?" if guess else f"it opens {', '.join(f'`{o}`' for o in open_ones)}" if open_ones else ""
            raise _error("not-settable", f"`{name}` of `{label}` cannot be set after its construction", span, rule.chain, help)
        problem = value_problem(argument, value, label)
        if problem is not None:
            raise _error(problem.code, problem.message, span, rule.chain, problem.help)
        setattr(module, name, self.value(argument.parsed.coerce(value)))

    def calls(self, module: nn.Module, rule: RulePlan) -> None:
        for call in rule.calls:
            function = DEFAULT_REGISTRY.applies[call.name].call
            positional, keywords = arguments_of(call, self.value)
            with torch.no_grad():
                function(module, *positional, **keywords)

    # --- rules that do nothing ------------------------------------------------------------------------------------

    def unused(self) -> Iterable[Diagnostic]:
        """Rules that matched nothing, set nothing that a matched module has, or are wholly overridden."""
        for span, seen in self.seen.items():
            rule = seen.rule
            if not seen.matched:
                guesses = [g for t in (rule.where.types or () if rule.where else ()) if (g := closest(t, seen.classes))]
                help = f"did you mean `{guesses[0]}`?" if guesses else "the modules here are " + ", ".join(f"`{c}`" for c in sorted(seen.classes)[:12])
                yield Diagnostic("rule-matches-nothing", "the rule matches no module", span=span, help=help)
                continue
            for name, place in seen.unregistered.items():
                if name not in seen.registered:
                    yield Diagnostic("unknown-parameter", f"no module that the rule matches has a parameter `{name}`", span=place)
            if seen.parameters and all(self.setters[parameter] != span for parameter in seen.parameters):
                yield Diagnostic(
                    "rule-overridden", "later rules set every parameter that this rule sets", span=span, severity="warning",
                    help="remove it, or put it after the more general rules",
                )  # fmt: skip


def initialise_tensor(
    tensor: torch.Tensor, plan: InitPlan, chain: tuple[Note, ...], value: Callable[[object], Any], compute: Callable[[], object]
) -> None:
    """Fill a tensor as an initialiser of the file says. Raises ConfnetError where it cannot be filled so."""
    with torch.no_grad():
        if plan.code is not None:
            computed = compute()
            try:
                tensor.copy_(torch.as_tensor(computed).expand(tensor.shape))
            except (RuntimeError, TypeError, ValueError) as error:
                raise refused("the value does not fit the parameter", error, plan.span, chain) from error
            return
        registered = DEFAULT_REGISTRY.initializers.get(plan.name)
        function = registered.call if registered is not None else getattr(nn.init, plan.name)
        positional, keywords = arguments_of(plan, value)
        try:
            function(tensor, *positional, **keywords)
        except Exception as error:
            raise refused(f"`{plan.name}` cannot be used here", error, plan.span, chain) from error


ORIGINS = "_confnet_inits"


def record_origins(root: nn.Module, origins: dict[int, tuple[nn.Parameter, InitOrigin]]) -> None:
    """Keep on the root which initialiser set each parameter, under its first name in `named_parameters`."""
    found = {name: origins[id(p)][1] for name, p in root.named_parameters() if id(p) in origins}
    root.__dict__[ORIGINS] = found


def init_report(model: nn.Module) -> dict[str, InitOrigin | None]:
    """What set each parameter of a built model, by its first name in `named_parameters`; None is torch's default.

    Raises TypeError for a module that is not the root of a build.
    """
    if ORIGINS not in model.__dict__:
        raise TypeError(f"`{type(model).__name__}` is not the root of a model that confnet built")
    return {name: model.__dict__[ORIGINS].get(name) for name, _ in model.named_parameters()}


def arguments_of(call: CallPlan | InitPlan, value: Callable[[object], Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call of the file as torch takes them."""
    return [value(item) for item in call.positional], {key: value(item) for key, item in call.keywords.items()}


def refused(what: str, error: Exception, span: Span, chain: tuple[Note, ...]) -> ConfnetError:
    """A refusal by torch as a diagnostic at its place in the file."""
    text = " ".join(str(error).split())
    if len(text) > 300:
        text = text[:297] + "..."
    return _error("refused-by-torch", f"{what}: {text}" if text else what, span, chain)


def _error(code: str, message: str, span: Span, chain: tuple[Note, ...], help: str = "") -> ConfnetError:
    return ConfnetError([Diagnostic(code, message, span=span, notes=chain, help=help)])
