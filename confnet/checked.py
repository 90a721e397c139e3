"""A spec under some args, checked: what a model is built from, again and again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from confnet.auto import settle
from confnet.blueprint import Blueprint, modules_of
from confnet.catalog.registry import DEFAULT_REGISTRY
from confnet.collector import uncollected
from confnet.diagnostics import ConfnetError, Diagnostic
from confnet.limits import Limits
from confnet.loading import Spec
from confnet.pipeline import make_plan
from confnet.plan import ModulePlan, Plan
from confnet.records import dataclass
from confnet.source import to_text

if TYPE_CHECKING:
    import torch

    from confnet.builder import Built, Streams, Weights
    from confnet.overview import Overview
    from confnet.shapes import Memory, ShapeReport
    from confnet.wiring import Trace, Untraced

__all__ = ["Checked", "Seeds", "choices"]

SEEDINGS = ("parameter", "cpu", "torch")


@dataclass(frozen=True, slots=True)
class Seeds:
    """Where random values are to come from. Raises ValueError or TypeError for what `build` does not take."""

    seed: int | None = None
    seeding: str = "parameter"

    def __post_init__(self) -> None:
        if self.seeding not in SEEDINGS:
            raise ValueError(f"`seeding` is one of {', '.join(map(repr, SEEDINGS))}, not {self.seeding!r}")
        if self.seed is None:
            return
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise TypeError(f"`seed` is an int, not {type(self.seed).__name__}")
        if not -(2**63) <= self.seed < 2**64:
            raise ValueError(f"`seed` has 64 bits: {self.seed} is out of range")
        if self.seeding == "torch":
            raise ValueError("`seeding='torch'` draws from torch's global generator: call `torch.manual_seed` instead")


TORCH = Seeds(seeding="torch")

_KNOWN: WeakKeyDictionary[Spec, dict[object, Checked]] = WeakKeyDictionary()
_KEPT = 8  # plans of one spec
_BUILT: WeakKeyDictionary[Blueprint, tuple[int, Plan]] = WeakKeyDictionary()
"""The settled plans of models on meta, for when they are to get their values, and how much was registered then."""


@dataclass(frozen=True)
class Checked:
    """A plan that passed every check, and how to come to it again."""

    plan: Plan
    warnings: tuple[Diagnostic, ...]
    blueprint: Blueprint
    limits: Limits

    @classmethod
    def make(
        cls, spec: Spec, args: Mapping[str, Any], variant: str | None, root: str | None, limits: Limits
    ) -> Checked:
        """Resolve and check a spec, once for the same choices. Raises ConfnetError, or TypeError."""
        for name, value in (("variant", variant), ("root", root)):
            if value is not None and not isinstance(value, str):
                raise TypeError(f"`{name}` is a text or None, not {type(value).__name__}")
        text = to_text({name: _plain_arg(value) for name, value in args.items()}) if args else ""
        known = _KNOWN.setdefault(spec, {})
        key = (text, variant, root, limits, DEFAULT_REGISTRY.size)
        if key not in known:
            with uncollected():
                plan, warnings = make_plan(spec, args=text, variant=variant, root=root, limits=limits)
            blueprint = Blueprint(tuple(spec.texts.items()), text, variant, root, _plugins(plan), limits=limits)
            while len(known) >= _KEPT:
                known.pop(next(iter(known)), None)
            known[key] = cls(plan, warnings, blueprint, limits)
        return known[key]

    @classmethod
    def again(cls, blueprint: Blueprint) -> Checked:
        """The plan that a model was built from, maybe in another process. Raises ConfnetError."""
        registered, known = _BUILT.get(blueprint, (0, None))
        if known is not None and registered == DEFAULT_REGISTRY.size:
            return cls(known, (), blueprint, blueprint.limits)
        plan, warnings = blueprint.plan()
        return cls(plan, warnings, blueprint, blueprint.limits)

    def is_like(self, other: Checked) -> bool:
        """Whether both are the same model: the same document under the same args."""
        root = self.blueprint.root is None and other.blueprint.root is None
        return root and _same(dict(self.plan.args), dict(other.plan.args))

    @cached_property
    def settled(self) -> Plan:
        """The plan with a number for each `auto` argument."""
        if not self.plan.has_auto:
            return self.plan
        from confnet.shapes import infer

        return infer(self.plan, self.blueprint)

    def on_meta(self, memory: list[Memory] | None, reports: list[ShapeReport]) -> tuple[Diagnostic, ...]:
        """What is wrong with the model as torch sees it: built on meta and, with a `memory`, run there."""
        trial = replace(self, blueprint=replace(self.blueprint, guarded=True))
        if memory is None and self.plan.has_auto:  # nothing is run, so that numbers stay open
            trial = replace(trial, plan=settle(self.plan, bare=True).plan)
        from confnet.builder import without_compiler
        from confnet.shapes import Memory, check_shapes

        shared = memory[0] if memory else Memory()
        with without_compiler():
            with shared.constructing():
                built = trial.construct("meta", None)
            if memory is None:
                return built.warnings
            memory[:] = [shared]
            waiting = [built]
            report, found = check_shapes(
                trial.settled,
                trial.blueprint,
                lambda: waiting.pop() if waiting else trial.construct("meta", None),
                shared,
            )
        reports.append(report)
        return (*built.warnings, *found)

    @cached_property
    def traced(self) -> Trace | Untraced:
        """The wiring of one forward, which is run on meta."""
        trial = replace(self, blueprint=replace(self.blueprint, guarded=True))
        from confnet.builder import without_compiler
        from confnet.shapes import Memory, trace

        memory = Memory()

        def make() -> Built:
            with memory.constructing():
                return trial.construct("meta", None)

        with without_compiler():
            return trace(trial.settled, trial.blueprint, make, memory)

    def overview(
        self, dtype: torch.dtype | str | None, sizes: Mapping[str, int], step: Callable[[str], None]
    ) -> Overview:
        """What the model consists of and costs."""
        trial = replace(self, blueprint=replace(self.blueprint, guarded=True))
        step("loading torch")
        from confnet.builder import without_compiler
        from confnet.shapes import Memory, overview

        memory = Memory()

        def make(dtype: torch.dtype | None) -> Built:
            with memory.constructing():
                return trial.construct("meta", dtype)

        with without_compiler():
            return overview(trial.settled, trial.blueprint, make, dtype=dtype, sizes=sizes, step=step)

    def construct(self, device: torch.device | str | None, dtype: torch.dtype | None, seeds: Seeds = TORCH) -> Built:
        """The model on a device."""
        from confnet.builder import streams_for

        return self.made(device, dtype, streams_for(seeds.seed, seeds.seeding, device))

    def load(
        self,
        weights: Weights,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
        seeds: Seeds,
    ) -> Built:
        """The model on a device, with weights."""
        from confnet.builder import build_with, streams_for

        def make(place: torch.device | str | None, loaded: frozenset[str]) -> Built:
            streams = streams_for(seeds.seed, seeds.seeding, place)
            return self.made(place, dtype, None if streams is None else replace(streams, skip=loaded))

        with self.telling():
            return build_with(weights, self.settled, make, device)

    def made(self, device: torch.device | str | None, dtype: torch.dtype | None, streams: Streams | None) -> Built:
        from confnet.builder import construct_within

        with self.telling(), uncollected():
            plan = self.settled
            if str(device) == "meta" and not self.blueprint.guarded:  # a trial may leave out half of a model
                _BUILT[self.blueprint] = DEFAULT_REGISTRY.size, plan
            return construct_within(
                self.limits.parameters, plan, self.blueprint, device=device, dtype=dtype, streams=streams
            )

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Errors within it carry the texts that they point into."""
        try:
            yield
        except ConfnetError as error:
            raise ConfnetError(error.diagnostics, {**self.plan.sources, **error.sources}) from error.__cause__


def _same(one: Any, other: Any) -> bool:
    """Whether two values of args are equal and of one type, all through; a module also stands at the same place."""
    if type(one) is not type(other):
        return False
    if isinstance(one, ModulePlan):
        parts = ("base", "span", "positional", "keywords", "constants", "children")
        return all(_same(getattr(one, part), getattr(other, part)) for part in parts)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(_same, one.values(), other.values()))
    return bool(one == other)


def choices(
    spec: Spec, variant: str | None, root: str | None, args: Mapping[str, Any]
) -> list[tuple[str | None, str | None]]:
    """The variants and roots to check a spec under: those that are named, or all that can stand by themselves."""
    document = spec.document
    if variant is not None or root is not None:
        return [(variant, root)]
    if document.root is None:
        definitions = [
            d for d in document.modules if all(a.has_default for a in (d.module.body.args if d.module.body else ()))
        ]
        return [(None, definition.name) for definition in definitions]
    required = [arg.name for arg in document.args if not arg.has_default and arg.name not in args]
    bare: list[tuple[str | None, str | None]] = [] if required and document.variants else [(None, None)]
    return [*bare, *((item.name, None) for item in document.variants)]


def _plain_arg(value: Any) -> Any:
    """A caller's argument as a value of a file: dtypes by their names."""
    if re.fullmatch(r"torch\.[a-z]\w*", repr(value)) and type(value).__name__ == "dtype":
        return repr(value)
    return value


def _plugins(plan: Plan) -> tuple[str, ...]:
    """The Python modules that registered what a plan uses."""
    registry = DEFAULT_REGISTRY
    used: dict[str, None] = {}
    for module in modules_of(plan):
        layer = registry.layers.get(module.base)
        if layer is not None and layer.cls is not None:
            used[layer.cls.__module__] = None
        inits = [parameter.init for parameter in module.parameters.values() if parameter is not None and parameter.init]
        inits += [init for rule in module.rules for init in rule.init.values()]
        functions = [registry.initializers.get(init.name) for init in inits]
        functions += [registry.applies.get(call.name) for rule in module.rules for call in rule.calls]
        functions += [registry.hooks.get(hook.call.name) for hook in module.hooks if hook.call is not None]
        used.update({function.call.__module__: None for function in functions if function is not None})
    used.update({function.call.__module__: None for function in registry.functions.values()})  # code may call any
    used.pop("__main__", None)
    return tuple(used)
