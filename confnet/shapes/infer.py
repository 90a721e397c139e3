"""The numbers of `auto` arguments: the model is run on meta, and torch's lazy layers read them from what arrives.

The model that is run is bare (`confnet.auto`): built with some number for each `auto`. In the place of such a layer
stands a probe, which lets the lazy class of torch look at the input, and goes on with a layer of the number found.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import torch
from torch import nn

from confnet.auto import AutoLayer, settle
from confnet.blueprint import Blueprint, modules_of
from confnet.builder import Built, construct
from confnet.builder.guard import budget
from confnet.builder.instances import layer_class
from confnet.builder.kernels import without_compiler
from confnet.diagnostics import ConfnetError, Diagnostic, Note
from confnet.language.code import Code
from confnet.plan import Contract, ModulePlan, Plan
from confnet.shapes.cases import Case, Unchecked, cases_of
from confnet.shapes.diagnose import at_point, unfollowed
from confnet.shapes.forms import Point
from confnet.shapes.memory import Memory
from confnet.shapes.runs import Outcome, Runner
from confnet.shapes.stage import contract_of
from confnet.shapes.trial import Stop, Trial

__all__ = ["infer"]

STEPS = 300_000
SECONDS = 10
ROUNDS = 4
NEAR = (1, 2, 4, 8, 16, 32, 64, -1, -2)
"""What is added to a size, until the model runs with it."""
FAR = (16, 8, 4, 2)
"""What a size is multiplied with: the next size may give the same number, as in `H // 32`."""
EARLY = "the number of an `auto` argument is not known before its layer is called"
FIXED_HELP = "write a number for it in `inputs`, or take it out before the layer, as `AdaptiveAvgPool2d` does"


def infer(plan: Plan, blueprint: Blueprint) -> Plan:
    """The plan with a number for each `auto` argument.

    Raises ConfnetError where the file does not say what the model takes, where its forward fails or does not reach
    a layer, and where a number depends on a size that `inputs` leaves open. Draws no random numbers.
    """
    layers = settle(plan).layers
    if not layers:
        return replace(plan, has_auto=False)
    contract, reason = contract_of(plan)
    if contract is None:
        raise ConfnetError([_without_inputs(layers[0], reason)])
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), without_compiler(), budget(STEPS, SECONDS):
        warnings.simplefilter("ignore")  # the same model is built again
        return settle(plan, _numbers(plan, contract, replace(blueprint, guarded=True))).plan


def _numbers(plan: Plan, contract: Contract, blueprint: Blueprint) -> tuple[int | None, ...]:
    """The number of each layer. Where code may read it before the layer is called, a second round knows more."""
    reads = any(_READS.search(code.text) for module in modules_of(plan) for code in _codes(module))
    memory = Memory()
    known: tuple[int | None, ...] = ()
    for _ in range(ROUNDS):
        found = _Round(plan, blueprint, memory, known, show=not reads)
        found.run(contract)
        settled = found.numbers == known
        known = found.numbers
        if settled or not reads:
            break
    problems = {(problem.code, problem.span): problem for problem in reversed(found.problems)}
    if problems:
        raise ConfnetError(reversed(problems.values()))
    return known


_READS = re.compile(r"\.\s*(?:weight|bias|in_features|in_channels|num_features|running_mean|running_var)\b")
"""What tells the number of a layer, as code reads it."""


def _codes(plan: ModulePlan) -> Iterator[Code]:
    """All code that may run in a forward of a module."""
    tables = [plan.definition.methods] if plan.definition is not None else []
    for methods in (*tables, *(rule.methods for rule in plan.rules)):
        yield from (method.code for method in methods.values())
    yield from (hook.code for hook in plan.hooks if hook.code is not None)


class _Probe:
    """The forward of a layer whose number is sought; `number` is what the first call of the latest run found."""

    def __init__(self, layer: AutoLayer) -> None:
        self.layer = layer
        self.number: int | None = None
        self.made: dict[int, nn.Module] = {}

    def attach(self, module: nn.Module, positional: Sequence[Any], keywords: Mapping[str, Any]) -> None:
        """Take the place of a module's forward; the arguments are those of its class."""
        self.module, self.positional, self.keywords = module, list(positional), dict(keywords)
        self.made = {}
        module.__dict__["forward"] = self

    def __deepcopy__(self, memo: object) -> _Probe:
        return self  # a layer may be copied by the one that is given it: it has one number

    def __call__(self, input: torch.Tensor, *rest: Any, **named: Any) -> Any:
        with torch._C.DisableTorchFunction():  # what is made here is no step of the forward
            number = self.inferred(input)
            layer = self.made.get(number)
            if layer is None:
                layer = self.made[number] = self.layer_of(number)
        if self.number is None:
            self.number = number
            setattr(self.module, self.layer.argument, number)  # code may read it, and the forms of the weights
            self.module._parameters.update(layer._parameters)
            self.module._buffers.update(layer._buffers)
        return layer.train(self.module.training)(input, *rest, **named)

    def inferred(self, input: torch.Tensor) -> int:
        """What torch's lazy class makes of an input."""
        lazy = getattr(nn, f"Lazy{self.layer.plan.base}")
        if self.layer.argument == "num_features":
            made = lazy(affine=True, device="meta")  # one that learns nothing would not look at its input
            if isinstance(self.module, nn.modules.instancenorm._InstanceNorm):
                batched = int(self.layer.plan.base.removesuffix("d")[-1]) + 2
                input = input if input.dim() == batched else input[None]  # its lazy class knows batches only
        else:
            where = self.layer.where
            positional = [value for index, value in enumerate(self.positional) if index != where]
            keywords = {name: value for name, value in self.keywords.items() if name != where}
            made = lazy(*positional, **keywords, device="meta")
        made.initialize_parameters(input)
        number: int = getattr(made, self.layer.argument)
        return number

    def layer_of(self, number: int) -> nn.Module:
        """The layer with a number, in the dtype that rules gave it."""
        positional, keywords = list(self.positional), dict(self.keywords)
        if isinstance(self.layer.where, int):
            positional[self.layer.where] = number
        else:
            keywords[self.layer.where] = number
        made = layer_class(self.layer.plan.base)(*positional, **keywords, device="meta")
        weight = self.module._parameters.get("weight")
        return made if weight is None else made.to(weight.dtype)


class _Runner(Runner):
    """Notes what the probes find in each run."""

    def __init__(self, make: Callable[[], Built], blueprint: Blueprint, memory: Memory, probes: list[_Probe]) -> None:
        self.probes = probes
        self.found: dict[int, tuple[Outcome, tuple[int | None, ...]]] = {}
        self.latest: Outcome | None = None
        super().__init__(make, blueprint, memory)

    def run(self, case: Case, point: Point, *, training: bool = True, trace: bool = False) -> Outcome:
        """One forward; traced, as forwards are that may not be answered from memory: every probe is to be asked."""
        for probe in self.probes:
            probe.number = None
        outcome = super().run(case, point, training=training, trace=True)
        self.found[id(outcome)] = outcome, tuple(probe.number for probe in self.probes)
        self.latest = outcome
        return outcome

    def numbers(self, outcome: Outcome) -> tuple[int | None, ...]:
        """What the probes found in a run; None where it did not come to a layer."""
        return self.found[id(outcome)][1]


@dataclass(slots=True)
class _Dependence:
    """What the number of a layer depends on, symbols and other things, and what shows it."""

    symbols: dict[str, None] = field(default_factory=dict)
    others: dict[str, None] = field(default_factory=dict)
    shown: dict[str, None] = field(default_factory=dict)


class _Round:
    """Runs the model with the numbers known so far; with `show`, a layer shows itself with `auto` until it is called.

    `numbers` are those found, `problems` what was in the way.
    """

    def __init__(
        self, plan: Plan, blueprint: Blueprint, memory: Memory, known: Sequence[int | None], *, show: bool
    ) -> None:
        bare = settle(plan, known, bare=True)
        self.plan, self.layers, self.show = bare.plan, bare.layers, show
        probes = [_Probe(layer) for layer in self.layers]
        of_plan = {id(probe.layer.plan): probe for probe in probes}

        def attach(module: nn.Module, plan: Any, positional: list[Any], keywords: dict[str, Any]) -> None:
            if id(plan) in of_plan:
                of_plan[id(plan)].attach(module, positional, keywords)

        def make() -> Built:
            built = construct(self.plan, blueprint, device="meta", made=attach)
            for probe in probes if show else ():
                setattr(probe.module, probe.layer.argument, "auto")
            return built

        self.runner = _Runner(make, blueprint, memory, probes)
        self.numbers: tuple[int | None, ...] = (None,) * len(self.layers)
        self.problems: list[Diagnostic] = []
        self.stopped: Diagnostic | None = None
        self.depends: dict[int, _Dependence] = {}

    def run(self, contract: Contract) -> None:
        """Call the model in every way, until each number is known."""
        try:
            cases = cases_of(contract.inputs or (), self.runner.built.module)
        except Unchecked as error:
            self.problems.append(_without_inputs(self.layers[0], str(error)))
            return
        for case in cases:
            self.case(case, first=case is cases[0])
            if self.problems or None not in self.numbers:
                break
        self.problems += [self.dependent(self.layers[index], found) for index, found in self.depends.items()]
        if not self.problems:
            self.problems += [self.unknown(self.layers[i]) for i, number in enumerate(self.numbers) if number is None]

    def case(self, case: Case, *, first: bool) -> None:
        """Take the numbers from a run that works, and see that they are the same at other sizes."""
        base = self.base(case, first=first)
        if base is None:
            return
        for training in (True, False):
            if None not in self.numbers:
                return
            run = base if base.training is training else self.runner.run(case, base.point, training=training)
            self.numbers = tuple(
                new if old is None else old for old, new in zip(self.numbers, self.runner.numbers(run), strict=True)
            )
            for symbols, other in self.others(case, run):
                for found, numbers in self.differing(run, other):
                    if not found.symbols.keys() >= set(symbols):  # one proof is enough for each
                        found.symbols.update(dict.fromkeys(symbols))
                        for number, outcome in zip(numbers, (run, other), strict=True):
                            found.shown[f"it is {number} {at_point(outcome.point)}"] = None
            for what, otherwise in case.otherwise():
                other = self.runner.run(otherwise, run.point, training=training)
                for found, (first_number, second) in self.differing(run, other):
                    found.others[what] = None
                    found.shown[f"it is {first_number}, and {second} where {what} is another"] = None

    def base(self, case: Case, *, first: bool) -> Outcome | None:
        """A run that works, or that only the lack of values stops; None where there is none, which is noted."""
        trial = Trial(self.runner, case, self.plan, first=first)
        try:
            return trial.base()
        except Stop as stop:
            last = self.runner.latest
            if last is not None and last.failure is not None and not last.failure.followed:
                self.stopped = unfollowed(last, trial.place)
                return last
            early = [] if self.show or None not in self.numbers else [Note(EARLY)]
            self.problems += [replace(problem, notes=(*problem.notes, *early)) for problem in stop.diagnostics]
            return None

    def others(self, case: Case, base: Outcome) -> Iterator[tuple[Sequence[str], Outcome]]:
        """Runs in which one size is another; those that cannot be so alone are together."""
        together: list[str] = []
        for symbol in case.symbols:
            good = self.moved(case, base, [symbol])
            together += [] if good else [symbol]
            yield from (([symbol], other) for other in good)
        if len(together) > 1:
            yield from ((together, other) for other in self.moved(case, base, together))

    def moved(self, case: Case, base: Outcome, symbols: Sequence[str]) -> list[Outcome]:
        """A run with sizes nearby and one with sizes far away, where such runs come to their end."""
        found = []
        for points in (_near(base.point, symbols), _far(base.point, symbols)):
            outcomes = (self.runner.run(case, point, training=base.training) for point in points)
            found += list(islice((o for o in outcomes if o.failure is None or not o.failure.followed), 1))
        return found

    def differing(self, base: Outcome, other: Outcome) -> Iterator[tuple[_Dependence, tuple[int, int]]]:
        """The layers whose numbers differ between two runs, with both."""
        numbers = zip(self.runner.numbers(base), self.runner.numbers(other), strict=True)
        for index, (first, second) in enumerate(numbers):
            if first is not None and second is not None and first != second:
                yield self.depends.setdefault(index, _Dependence()), (first, second)

    # --- what is told ---------------------------------------------------------------------------------------------

    def dependent(self, layer: AutoLayer, found: _Dependence) -> Diagnostic:
        sizes = ", ".join(f"`{symbol}`" for symbol in found.symbols)
        words = [f"the symbolic size{'s' if len(found.symbols) > 1 else ''} {sizes}"] if sizes else []
        what = " and ".join([*words, *found.others])
        return _failure("auto-depends-on-size", layer, f"depends on {what}", FIXED_HELP, list(map(Note, found.shown)))

    def unknown(self, layer: AutoLayer) -> Diagnostic:
        if self.stopped is not None:
            reason = "cannot be inferred: a step before it depends on the values of tensors"
            return _failure(
                "auto-unknown", layer, reason, "write the number", [Note("it is this step", self.stopped.span)]
            )
        reason = "cannot be inferred: the forward never comes to this layer"
        return _failure("auto-unknown", layer, reason, "call the layer in the forward, or write the number")


def _near(base: Point, symbols: Sequence[str]) -> Iterator[Point]:
    for by in NEAR:
        if all(base[symbol] + by >= 2 for symbol in symbols):
            yield {**base, **{symbol: base[symbol] + by for symbol in symbols}}


def _far(base: Point, symbols: Sequence[str]) -> Iterator[Point]:
    for factor in FAR:
        yield {**base, **{symbol: base[symbol] * factor for symbol in symbols}}


def _without_inputs(layer: AutoLayer, reason: str) -> Diagnostic:
    help = "declare what the model takes, as `inputs: {x: [B, 3, 32, 32]}`, or write the number"
    return _failure("auto-without-inputs", layer, f"cannot be inferred: {reason}", help)


def _failure(code: str, layer: AutoLayer, message: str, help: str, notes: Sequence[Note] = ()) -> Diagnostic:
    plan = layer.plan
    what = f"`{layer.argument}` of `{plan.base}` {message}"
    return Diagnostic(code, what, span=plan.span, help=help, notes=(*notes, *plan.chain))
