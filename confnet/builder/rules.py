"""Rules at work: `apply`, and what stands beside a layer, on the modules of a definition that has been constructed.

Visits children before parents, as `nn.Module.apply` does; the last rule that sets a parameter wins. What each rule
did is recorded, for `confnet.init_report` and to tell rules that do nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from confnet.builder.meta import on_cpu, only_on_meta
from confnet.builder.selection import named_postorder, selected
from confnet.catalog.arguments import value_problem
from confnet.catalog.registry import DEFAULT_REGISTRY, lookup
from confnet.diagnostics import ConfnetError, Diagnostic, Note, Span, closest
from confnet.plan import CallPlan, InitPlan, RulePlan

__all__ = ["InitOrigin", "RuleRunner", "Text", "arguments_of", "convert", "init_report", "initialise_tensor", "refused"]

ORIGINS = "_confnet_inits"
_NOTES = "_confnet_inits_so_far"

_Places = Mapping[nn.Module, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class InitOrigin:
    """What set a parameter: an initialiser or a registered function, as a place of the file says."""

    initializer: str
    file: str
    line: int


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
    unregistered: dict[str, Span] = field(default_factory=dict)
    registered: set[str] = field(default_factory=set)
    sets: bool = False


class RuleRunner:
    """Runs rules; `value` turns a value of the plan into one of torch, `code` computes the value of an initialiser."""

    def __init__(
        self,
        value: Callable[[object], Any],
        code: Callable[[nn.Module, InitPlan, torch.Tensor], object],
        extend: Callable[[nn.Module, RulePlan], None],
    ) -> None:
        self.value, self.code, self.extend = value, code, extend
        self.settings: dict[int, tuple[nn.Parameter, _Setting]] = {}
        self.seen: dict[Span, _Seen] = {}
        self.lasting: set[Span] = set()  # the rules that set a parameter last

    def run(self, holder: nn.Module, rules: Iterable[RulePlan]) -> None:
        """Run the rules of a module over itself and everything in it."""
        rules = tuple(rules)
        if not rules:
            return
        places = dict(named_postorder(holder))
        chosen = [(rule, [m for m, names in places.items() if selected(rule.where, m, names)]) for rule in rules]
        for rule, modules in chosen:
            seen = self.seen.setdefault(rule.span, _Seen(rule))
            seen.matched += len(modules)
            seen.classes |= {type(module).__name__ for module in places}
            for module in modules:
                if rule.methods:  # before a parametrization, which gives a module a class of its own
                    self.extend(module, rule)
                self.parametrize(module, rule)
        for rule, modules in chosen:
            excluded = _excluded(rule, places)
            for module in modules:
                if module not in excluded:
                    self.apply(holder, module, rule, excluded)
        for rule, modules in chosen:
            for module in modules:
                self.calls(module, rule)

    def apply(self, holder: nn.Module, module: nn.Module, rule: RulePlan, excluded: set[nn.Module]) -> None:
        for name, plan in rule.init.items():
            self.initialise(holder, module, name, plan, rule)
        if rule.requires_grad is not None:
            self.require_grad(module, rule, rule.requires_grad, excluded)
        if rule.dtype is not None:
            convert((inner for inner in module.modules() if inner not in excluded), getattr(torch, rule.dtype))
        if rule.extra_repr is not None:
            module.extra_repr = Text(rule.extra_repr)  # type: ignore[method-assign]
        for name, value in rule.settings.items():
            self.set(module, name, value, rule)

    # --- parameters -----------------------------------------------------------------------------------------------

    def initialise(self, holder: nn.Module, module: nn.Module, name: str, plan: InitPlan, rule: RulePlan) -> None:
        seen = self.seen[rule.span]
        if parametrize.is_parametrized(module, name):
            seen.registered.add(name)
            self.initialise_parametrized(holder, module, name, plan, rule)
        elif name in module._parameters:
            seen.registered.add(name)
            parameter = module._parameters[name]
            if parameter is not None:
                self.fill(holder, parameter, plan, rule)
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
                    tried.right_inverse(_some_values(tensor))
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

    def fill(self, holder: nn.Module, tensor: torch.Tensor, plan: InitPlan, rule: RulePlan) -> None:
        initialise_tensor(tensor, plan, rule.chain, self.value, lambda: self.code(holder, plan, tensor))

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
            try:
                self.parametrized(module, name, call)
            except Exception as error:
                raise refused(f"`{call.name}` cannot be used here", error, call.span, rule.chain) from error

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
            module._parameters[name] = nn.Parameter(_some_values(tensor), tensor.requires_grad)
            with on_cpu():
                make(module, name, *positional, **keywords)
            module.parametrizations[name].to("meta")  # type: ignore[index]
        if before is not None:
            inner: nn.Module = module.parametrizations[name]  # type: ignore[index,assignment]
            inner.__dict__[_NOTES] = dict.fromkeys(inner._parameters, before)

    def set(self, module: nn.Module, name: str, value: object, rule: RulePlan) -> None:
        span = rule.setting_spans[name]
        layer = next((known for base in type(module).__mro__ if (known := lookup(base.__name__)) is not None), None)
        argument = layer.argument(name) if layer is not None else None
        open_ones = [a.name for a in layer.arguments if a.settable] if layer is not None else []
        label = type(module).__name__
        if argument is None or not argument.settable:
            guess = closest(name, open_ones)
            help = (
                f"did you mean `{guess}`?"
                if guess
                else f"it opens {', '.join(f'`{o}`' for o in open_ones)}"
                if open_ones
                else ""
            )
            raise _error(
                "not-settable", f"`{name}` of `{label}` cannot be set after its construction", span, rule.chain, help
            )
        problem = value_problem(argument, value, label)
        if problem is not None:
            raise _error(problem.code, problem.message, span, rule.chain, problem.help)
        setattr(module, name, self.value(argument.parsed.coerce(value)))

    def calls(self, module: nn.Module, rule: RulePlan) -> None:
        for call in rule.calls:
            function = DEFAULT_REGISTRY.applies[call.name].call
            positional, keywords = arguments_of(call, self.value)
            before = {id(p): (p, p._version) for _, _, p in _parameters(module)}
            try:
                with torch.no_grad():
                    function(module, *positional, **keywords)
            except Exception as error:
                if only_on_meta(error):
                    continue
                raise refused(f"`{call.name}` cannot be used here", error, call.span, rule.chain) from error
            for inner, name, parameter in _parameters(module):
                old = before.get(id(parameter))
                if old is None or old[1] != parameter._version:
                    self.record(inner, name, InitOrigin(call.name, call.span.file, call.span.line), rule)

    # --- rules that do nothing ------------------------------------------------------------------------------------

    def finish(self, root: nn.Module) -> None:
        """Keep on the root what set each parameter, under its first name in `named_parameters`."""
        found: dict[str, InitOrigin] = {}
        names = {id(parameter): name for name, parameter in root.named_parameters()}
        for inner, name, parameter in _parameters(root):
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
        for span, seen in self.seen.items():
            rule = seen.rule
            if not seen.matched:
                guesses = [g for t in (rule.where.types or () if rule.where else ()) if (g := closest(t, seen.classes))]
                help = (
                    f"did you mean `{guesses[0]}`?"
                    if guesses
                    else "the modules here are " + ", ".join(f"`{c}`" for c in sorted(seen.classes)[:12])
                )
                yield Diagnostic("rule-matches-nothing", "the rule matches no module", span=span, help=help)
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


def initialise_tensor(
    tensor: torch.Tensor,
    plan: InitPlan,
    chain: tuple[Note, ...],
    value: Callable[[object], Any],
    compute: Callable[[], object],
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
            if registered is None or not only_on_meta(error):
                raise refused(f"`{plan.name}` cannot be used here", error, plan.span, chain) from error


def init_report(model: nn.Module) -> dict[str, InitOrigin | None]:
    """What set each parameter of a built model, by its first name in `named_parameters`; None is torch's default.

    Raises TypeError for a module that is not the root of a build.
    """
    if ORIGINS not in getattr(model, "__dict__", {}):
        raise TypeError(f"`{type(model).__name__}` is not the root of a model that confnet built")
    return {name: model.__dict__[ORIGINS].get(name) for name, _ in model.named_parameters()}


def arguments_of(call: CallPlan | InitPlan, value: Callable[[object], Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call of the file as torch takes them."""
    return [value(item) for item in call.positional], {key: value(item) for key, item in call.keywords.items()}


def refused(what: str, error: Exception, span: Span, chain: tuple[Note, ...]) -> ConfnetError:
    """A refusal by torch as a diagnostic at its place in the file."""
    text = " ".join(str(error).split()).rstrip(".")
    if len(text) > 300:
        text = text[:297] + "..."
    return _error("refused-by-torch", f"{what}: {text}" if text else what, span, chain)


def _error(code: str, message: str, span: Span, chain: tuple[Note, ...], help: str = "") -> ConfnetError:
    return ConfnetError([Diagnostic(code, message, span=span, notes=chain, help=help)])


def convert(modules: Iterable[nn.Module], dtype: torch.dtype) -> None:
    """Convert the floating-point parameters and buffers that modules hold themselves; to a complex dtype, complex
    ones too."""

    def converted(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() or (tensor.is_complex() and dtype.is_complex) else tensor

    for module in modules:
        module._apply(converted, recurse=False)


def _excluded(rule: RulePlan, places: _Places) -> set[nn.Module]:
    """The modules that a rule's `not` names, with their parametrizations, in which their parameters are."""
    exclude = rule.where.exclude if rule.where is not None else None
    found: set[nn.Module] = set()
    for module, names in places.items() if exclude is not None else ():
        if selected(exclude, module, names):
            found.add(module)
            if parametrize.is_parametrized(module):
                found.update(cast(nn.Module, module.parametrizations).modules())
    return found


def _parameters(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    """Each place of a parameter in a module: the module that holds it, and its name there."""
    for inner in module.modules():
        for name, parameter in inner._parameters.items():
            if parameter is not None:
                yield inner, name, parameter


def _some_values(tensor: torch.Tensor) -> torch.Tensor:
    """Values of the shape of a tensor without values; orthonormal, as a parametrization may ask for that."""
    if tensor.dim() < 2:
        return torch.ones(tensor.shape, dtype=tensor.dtype, device="cpu")
    return torch.eye(*tensor.shape[-2:], dtype=tensor.dtype, device="cpu").expand(tensor.shape).clone()
