"""Rules at work: `apply`, and what stands beside a layer, on the modules of a definition that has been constructed.

Visits children before parents, as `nn.Module.apply` does; the last rule that sets a parameter wins. What each rule
did is recorded, for `confnet.init_report` and to tell rules that do nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from confnet.builder.filling import arguments_of, convert, error_at, initialise_tensor, is_taken, later, refused
from confnet.builder.meta import on_cpu, only_on_meta, read_parametrized, some_values
from confnet.builder.origins import ORIGINS, InitOrigin
from confnet.builder.pending import Pending
from confnet.builder.selection import all_selected, named_postorder, nothing_helps, parameters_of
from confnet.builder.settings import set_attribute
from confnet.catalog.registry import DEFAULT_REGISTRY
from confnet.diagnostics import Diagnostic, Note, Span
from confnet.plan import CallPlan, InitPlan, RulePlan

__all__ = ["RuleRunner", "Text"]

_NOTES = "_confnet_inits_so_far"

_Places = Mapping[nn.Module, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Setting:
    """One setting of a parameter; `rule` is the place of the rule that did it, if a rule did."""

    origin: InitOrigin
    rule: Span | None


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
    names: dict[str, None] = field(default_factory=dict)
    unregistered: dict[str, Span] = field(default_factory=dict)
    registered: set[str] = field(default_factory=set)
    sets: bool = False


class RuleRunner:
    """Runs rules; `value` turns a value of the plan into one of torch, `code` computes the value of an initialiser.

    With `pending`, what is on meta waits for its values there, and what is not is drawn from the streams of it.
    """

    def __init__(
        self,
        value: Callable[[object], Any],
        code: Callable[[nn.Module, InitPlan, torch.Tensor], object],
        extend: Callable[[nn.Module, RulePlan], None],
        pending: Pending | None = None,
    ) -> None:
        self.value, self.code, self.extend, self.pending = value, code, extend, pending
        if pending is not None:
            pending.replaced = self.replaced
        self.tried: set[tuple[int, torch.Size, torch.dtype]] = set()
        self.path, self.places = "", cast(_Places, {})
        self.settings: dict[int, tuple[nn.Parameter, _Setting]] = {}
        self.seen: dict[Span, _Seen] = {}
        self.parametrizations: dict[tuple[int, str], CallPlan] = {}  # the first of each module's tensor
        self.tied: dict[int, tuple[nn.Parameter, Span]] = {}
        self.untied: dict[Span, Diagnostic] = {}
        self.lasting: set[Span] = set()  # the rules that set a parameter last

    def run(self, holder: nn.Module, rules: Iterable[RulePlan], path: str = "") -> None:
        """Run the rules of a module over itself and everything in it; `path` is its name in the model."""
        rules = tuple(rules)
        if not rules:
            return
        places = dict(named_postorder(holder))
        self.path, self.places = path, places
        chosen = [(rule, all_selected(rule.where, places)) for rule in rules]
        for rule, modules in chosen:
            seen = self.seen.setdefault(rule.span, _Seen(rule))
            seen.matched += len(modules)
            seen.classes |= {type(module).__name__ for module in places}
            if not seen.matched:
                seen.names.update(dict.fromkeys(name for names in places.values() for name in names if name))
            for module in modules:
                if rule.methods:  # before a parametrization, which gives a module a class of its own
                    self.extend(module, rule)
                self.parametrize(holder, module, rule)
        for rule, modules in chosen:
            excluded = _excluded(rule, places)
            for module in modules:
                if module not in excluded:
                    self.apply(holder, module, rule, excluded)
        for rule, modules in chosen:
            for module in modules:
                self.calls(holder, module, rule)

    def apply(self, holder: nn.Module, module: nn.Module, rule: RulePlan, excluded: set[nn.Module]) -> None:
        for name, plan in rule.init.items():
            self.initialise(holder, module, name, plan, rule)
        if rule.requires_grad is not None:
            self.require_grad(module, rule, rule.requires_grad, excluded)
        if rule.dtype is not None:
            inside = [inner for inner in module.modules() if inner not in excluded]
            if self.pending is not None:
                self.pending.converting(inside)
            convert(inside, getattr(torch, rule.dtype))
        if rule.extra_repr is not None:
            module.extra_repr = Text(rule.extra_repr)  # type: ignore[method-assign]
        for name, value in rule.settings.items():
            set_attribute(module, name, value, rule, self.value)

    # --- parameters -----------------------------------------------------------------------------------------------

    def initialise(self, holder: nn.Module, module: nn.Module, name: str, plan: InitPlan, rule: RulePlan) -> None:
        seen = self.seen[rule.span]
        if parametrize.is_parametrized(module, name):
            seen.registered.add(name)
            with self.drawing(module, name):
                self.initialise_parametrized(holder, module, name, plan, rule)
        elif name in module._parameters:
            seen.registered.add(name)
            parameter = module._parameters[name]
            if parameter is not None:
                self.begin(holder, module, name, plan, rule)
                self.record(module, name, InitOrigin(plan.name or "value", plan.span.file, plan.span.line), rule)
        else:
            seen.unregistered.setdefault(name, plan.span)

    def initialise_parametrized(
        self, holder: nn.Module, module: nn.Module, name: str, plan: InitPlan, rule: RulePlan
    ) -> None:
        """Assign a parametrized tensor, so that it goes through `right_inverse`: nn.init on it does nothing."""
        inner: Any = module.parametrizations[name]  # type: ignore[index]
        mode = inner.training
        inner.eval()  # reading the tensor in training moves the power iteration of spectral_norm
        with torch.no_grad():
            tensor = getattr(module, name).detach().clone()
        inner.train(mode)
        self.fill(holder, tensor, plan, rule)
        try:
            if tensor.is_meta:  # some right inverses look at values: they are tried on the CPU
                tried = copy.deepcopy(inner).to_empty(device="cpu")
                with on_cpu():
                    tried.right_inverse(some_values(tensor))
            else:
                setattr(module, name, tensor)
        except Exception as error:
            raise refused(f"the parametrized `{name}` cannot be initialised", error, plan.span, rule.chain) from error
        for original in inner._parameters:
            self.record(inner, original, InitOrigin(plan.name or "value", plan.span.file, plan.span.line), rule)

    def record(self, module: nn.Module, name: str, origin: InitOrigin, rule: RulePlan | None) -> None:
        """Remember what set a parameter last: by the Parameter, which may have several names, and on its module,
        of which a layer may take copies."""
        parameter = module._parameters[name]
        assert parameter is not None
        setting = _Setting(origin, rule.span if rule is not None else None)
        self.settings[id(parameter)] = (parameter, setting)
        module.__dict__.setdefault(_NOTES, {})[name] = setting
        if rule is not None:
            self.seen[rule.span].sets = True

    def forget(self, module: nn.Module, name: str) -> None:
        """A parameter of a module is about to be replaced by another."""
        module.__dict__.get(_NOTES, {}).pop(name, None)
        if self.pending is not None:
            self.pending.dropped(module, name)

    def replaced(self, old: nn.Parameter, new: nn.Parameter) -> None:
        """A parameter got its values, in a tensor of another identity."""
        if id(old) in self.settings:
            self.settings[id(new)] = (new, self.settings[id(old)][1])
        if id(old) in self.tied:
            self.tied[id(new)] = (new, self.tied[id(old)][1])

    def begin(self, holder: nn.Module, module: nn.Module, name: str, plan: InitPlan, rule: RulePlan) -> None:
        """A parameter of a module gets its values from an initialiser, now or later."""
        parameter = module._parameters[name]
        assert parameter is not None
        if self.pending is None or not parameter.is_meta:
            with self.drawing(module, name):
                self.fill(holder, parameter, plan, rule)
            return
        self.wait(self.pending, module, name, plan, rule.chain, partial(self.code, holder, plan))

    def wait(
        self,
        pending: Pending,
        module: nn.Module,
        name: str,
        plan: InitPlan | None,
        chain: tuple[Note, ...],
        compute: Callable[[torch.Tensor], object],
    ) -> None:
        """A parameter waits for an initialiser (None: zeros), which torch is asked for now whether it is possible."""
        parameter = module._parameters[name]
        assert parameter is not None
        if plan is not None and plan.code is None and plan.name not in DEFAULT_REGISTRY.initializers:
            self.attempt(parameter, plan, chain, compute)
        pending.set(module, name, later(parameter.dtype, plan, chain, self.value, compute))

    def fill(self, holder: nn.Module, tensor: torch.Tensor, plan: InitPlan, rule: RulePlan) -> None:
        self.attempt(tensor, plan, rule.chain, partial(self.code, holder, plan))

    def attempt(
        self,
        tensor: torch.Tensor,
        plan: InitPlan,
        chain: tuple[Note, ...],
        compute: Callable[[torch.Tensor], object],
    ) -> None:
        """Fill a tensor; one on meta only to see what torch says, once for all of a shape."""
        kind = (id(plan), tensor.shape, tensor.dtype)
        if tensor.is_meta and kind in self.tried:
            return
        if not (tensor.is_meta and is_taken(tensor, plan, self.value)):
            initialise_tensor(tensor, plan, chain, self.value, lambda: compute(tensor))
        if tensor.is_meta:
            self.tried.add(kind)

    @contextmanager
    def drawing(self, module: nn.Module, name: str) -> Iterator[None]:
        """Within it something of a module is computed with real values, if there are any in this construction."""
        if self.pending is None:
            yield
            return
        path = ".".join(part for part in (self.path, self.places[module][0], name) if part)
        with torch.device(self.pending.drawn_on), self.pending.drawing(path):
            yield

    def settle(self, holder: nn.Module, modules: Iterable[nn.Module]) -> None:
        """Something is about to look at the values of some modules."""
        if self.pending is not None:
            self.pending.settle(holder, self.path, set(modules))

    def require_grad(self, module: nn.Module, rule: RulePlan, flag: bool, excluded: set[nn.Module]) -> None:
        """As `module.requires_grad_`, which reaches all that is inside, less what the rule excludes."""
        parameters = [p for inner in module.modules() if inner not in excluded for p in inner._parameters.values()]
        for parameter in parameters:
            try:
                if parameter is not None:
                    parameter.requires_grad_(flag)
            except RuntimeError as error:
                raise refused("`requires_grad` cannot be set here", error, rule.span, rule.chain) from error

    # --- the rest of a rule ---------------------------------------------------------------------------------------

    def parametrize(self, holder: nn.Module, module: nn.Module, rule: RulePlan) -> None:
        if rule.parametrize:
            self.settle(holder, [module])
        for name, call in rule.parametrize.items():
            seen = self.seen[rule.span]
            if not parametrize.is_parametrized(module, name) and module._parameters.get(name) is None:
                if name in module._parameters:
                    seen.registered.add(name)
                else:
                    seen.unregistered.setdefault(name, call.span)
                continue
            seen.registered.add(name)
            tensor = module._parameters.get(name)
            first = self.parametrizations.setdefault((id(module), name), call)
            try:
                with self.drawing(module, name):
                    self.parametrized(module, name, call)
                if first is not call:  # torch registers some of them over another and fails at the first forward
                    read_parametrized(module, name)
            except Exception as error:
                if first is call:
                    raise refused(f"`{call.name}` cannot be used here", error, call.span, rule.chain) from error
                text = f"`{call.name}` cannot be used over another parametrization"
                notes = (Note("the other", first.span), *rule.chain)
                raise error_at("refused-by-torch", text, call.span, notes) from error
            if id(tensor) in self.tied and tensor not in set(module.parametrizations[name].parameters()):  # type: ignore[index,union-attr]
                self.untied[call.span] = Diagnostic(
                    "tie-parametrized",
                    f"`{name}` is tied, and `{call.name}` puts other parameters in its place",
                    span=call.span,
                    notes=(Note("the tie", self.tied[id(tensor)][1]), *rule.chain),
                    help="use one module twice (`share`), or remove the tie",
                    severity="warning",
                )

    def parametrized(self, module: nn.Module, name: str, call: CallPlan) -> None:
        """Register a parametrization; one that looks at values is registered on the CPU where there are none."""
        before = module.__dict__.get(_NOTES, {}).pop(name, None)
        make = getattr(parametrizations, call.name)
        positional, keywords = arguments_of(call, self.value)
        try:
            make(module, name, *positional, **keywords)
        except Exception as error:
            tensor = module._parameters.get(name)
            if tensor is None or tensor.dim() < 2 or not only_on_meta(error):
                raise
            module._parameters[name] = nn.Parameter(some_values(tensor), tensor.requires_grad)
            with on_cpu():
                make(module, name, *positional, **keywords)
            module.parametrizations[name].to("meta")  # type: ignore[index]
        if before is not None:
            inner: nn.Module = module.parametrizations[name]  # type: ignore[index,assignment]
            inner.__dict__[_NOTES] = dict.fromkeys(inner._parameters, before)

    def calls(self, holder: nn.Module, module: nn.Module, rule: RulePlan) -> None:
        if rule.calls:
            self.settle(holder, module.modules())
        for call in rule.calls:
            function = DEFAULT_REGISTRY.applies[call.name].call
            positional, keywords = arguments_of(call, self.value)
            before = {id(p): (p, p._version) for _, _, p in parameters_of(module)}
            try:
                with torch.no_grad(), self.drawing(module, f"{call.name}()"):
                    function(module, *positional, **keywords)
            except Exception as error:
                if only_on_meta(error):
                    continue
                raise refused(f"`{call.name}` cannot be used here", error, call.span, rule.chain) from error
            for inner, name, parameter in parameters_of(module):
                old = before.get(id(parameter))
                if old is None or old[1] != parameter._version:
                    self.record(inner, name, InitOrigin(call.name, call.span.file, call.span.line), rule)

    # --- rules that do nothing ------------------------------------------------------------------------------------

    def finish(self, root: nn.Module) -> None:
        """Keep on the root what set each parameter, under its first name in `named_parameters`."""
        found: dict[str, InitOrigin] = {}
        names = {id(parameter): name for name, parameter in root.named_parameters()}
        for inner, name, parameter in parameters_of(root):
            setting = (
                self.settings[id(parameter)][1]
                if id(parameter) in self.settings
                else inner.__dict__.get(_NOTES, {}).get(name)
            )
            if setting is not None:
                found.setdefault(names[id(parameter)], setting.origin)
                self.lasting |= {setting.rule} if setting.rule is not None else set()
        for module in root.modules():
            module.__dict__.pop(_NOTES, None)
        root.__dict__[ORIGINS] = found

    def unused(self) -> Iterable[Diagnostic]:
        """Rules that matched nothing, set nothing that a matched module has, or are wholly overridden."""
        yield from self.untied.values()
        helps = nothing_helps((s.rule.where, s.classes, s.names) for s in self.seen.values() if not s.matched)
        for span, seen in self.seen.items():
            if not seen.matched:
                yield Diagnostic("rule-matches-nothing", "the rule matches no module", span=span, help=next(helps))
                continue
            for name, place in seen.unregistered.items():
                if name not in seen.registered:
                    yield Diagnostic(
                        "unknown-parameter", f"no module that the rule matches has a parameter `{name}`", span=place
                    )
            if seen.sets and span not in self.lasting:
                yield Diagnostic(
                    "rule-overridden",
                    "later rules set every parameter that this rule sets",
                    span=span,
                    severity="warning",
                    help="remove it, or put it after the more general rules",
                )


def _excluded(rule: RulePlan, places: _Places) -> set[nn.Module]:
    """The modules that a rule's `not` names, with their parametrizations, in which their parameters are."""
    exclude = rule.where.exclude if rule.where is not None else None
    found: set[nn.Module] = set()
    for module in all_selected(exclude, places) if exclude is not None else ():
        found.add(module)
        if parametrize.is_parametrized(module):
            found.update(cast(nn.Module, module.parametrizations).modules())
    return found
