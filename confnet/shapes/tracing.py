"""The wiring of a model: its forward is run on meta, and every step is told with the symbolic sizes of its values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from confnet.blueprint import Blueprint
from confnet.builder import Built
from confnet.builder.guard import TooLong
from confnet.diagnostics import ConfnetError
from confnet.plan import Contract, Plan
from confnet.shapes.cases import Case, Unchecked, cases_of
from confnet.shapes.forms import Forms, Point
from confnet.shapes.memory import Memory
from confnet.shapes.operands import tensors_in
from confnet.shapes.recorder import key_of
from confnet.shapes.report import output_name
from confnet.shapes.runs import Outcome, Runner
from confnet.shapes.stage import contract_of
from confnet.shapes.trial import Stop, Trial
from confnet.shapes.wire_memory import Seen, again, seen
from confnet.shapes.wires import Row, TooManySteps, Wires, named_tensors, state_of
from confnet.wiring import Call, Trace, Untraced, Value

__all__ = ["Call", "Trace", "Untraced", "Value", "trace"]

_Key = tuple[str, str, str, int]

ENOUGH = 5
"""So many runs tell the sizes of a value that others do not have: of a later step of a loop."""


def trace(
    plan: Plan, blueprint: Blueprint, make: Callable[[], Built], memory: Memory | None = None
) -> Trace | Untraced:
    """The wiring of the plainest call of a checked plan's model, in train mode; or why it is not known.

    The arguments are those of `check_shapes`.
    """
    contract, reason = contract_of(plan)
    if contract is None:
        return Untraced(reason)
    shared = memory or Memory()
    tracer = _Tracer(make, blueprint, shared)
    try:
        case = cases_of(contract.inputs or (), tracer.built.module)[0]
    except Unchecked as error:
        return Untraced(str(error))
    size = len(tracer.places.names)
    try:
        with shared.running(size):
            outcomes = _samples(Trial(tracer, case, plan, first=True))
        with shared.running(4 * size):
            runs = tracer.all_wires(case, outcomes, contract)
    except Stop as stop:
        return Untraced(stop.diagnostics[0].message if stop.diagnostics else "no way to call it could be found")
    except TooManySteps:
        return Untraced("its forward has too many steps")
    except ConfnetError as error:
        return Untraced(error.diagnostics[0].message)
    return _told(runs, case.symbols, [outcome.point for outcome in outcomes])


def _samples(trial: Trial) -> list[Outcome]:
    """Runs at enough sizes to tell the symbolic ones. Raises Stop where the model does not run."""
    base = trial.base()
    _, outcomes = trial.sampled(base, trial.beyond(base))
    return outcomes


class _Tracer(Runner):
    """A runner that can watch a run for its wiring."""

    def __init__(self, make: Callable[[], Built], blueprint: Blueprint, memory: Memory) -> None:
        self.watching: Wires | None = None
        self.contract: Contract | None = None
        self.seen: dict[object, Seen] = {}
        super().__init__(make, blueprint, memory)

    def adopt(self, built: Built) -> None:
        super().adopt(built)
        self.state = dict(state_of(built.module))

    def all_wires(self, case: Case, outcomes: Sequence[Outcome], contract: Contract) -> list[Wires]:
        """The wiring of runs, as far as the time lasts, and of the first at least."""
        found: list[Wires] = []
        for outcome in outcomes:
            try:
                found.append(self.wires(case, outcome, contract))
            except TooLong:
                if not found:
                    raise
                break
        return found

    def wires(self, case: Case, outcome: Outcome, contract: Contract) -> Wires:
        """The wiring of a run that is known to work."""
        self.contract = contract
        again = self.run(case, outcome.point, training=outcome.training, trace=True)
        found, self.watching, self.contract = self.watching, None, None
        if again.failure is not None:
            raise again.failure.error
        assert found is not None
        return found

    def call(self, arguments: Mapping[str, Any]) -> Any:
        if self.contract is None:
            return super().call(arguments)
        wires = self.watching = Wires(self.places, self.state, self.lazy)
        inputs = {item.name: item for item in self.contract.inputs or ()}
        for name, value in arguments.items():
            wires.input(name, value, inputs[name].span if name in inputs else None)
        with wires:
            result = super().call(arguments)
        spans = {item.name: item.span for item in self.contract.outputs or ()}
        for picked, tensor in named_tensors(result):
            name = output_name(picked, self.contract)
            wires.output(name, tensor, spans.get(name))
        return result

    def trace(self, origins: Any, kept: list[Any], result: Any) -> None:
        if self.watching is None:
            super().trace(origins, kept, result)

    def watched(
        self, module: nn.Module, forward: Callable[..., Any], contract: Contract | None, *args: Any, **kwargs: Any
    ) -> Any:
        wires = self.watching
        if wires is None:
            return super().watched(module, forward, contract, *args, **kwargs)
        wires.enter(module, args, kwargs)
        result = super().watched(module, forward, contract, *args, **kwargs)
        wires.leave(module, result)
        return result

    def remembered(
        self, module: nn.Module, forward: Callable[..., Any], contract: Contract | None, *args: Any, **kwargs: Any
    ) -> Any:
        wires = self.watching
        if wires is None:
            return super().remembered(module, forward, contract, *args, **kwargs)
        if wires.in_leaf:
            return forward(*args, **kwargs)
        with torch._C.DisableTorchFunction():
            given = tensors_in((*args, *kwargs.values()))
            key = self.form(module, args, kwargs, given)
            known = self.seen.get(key)
            wires.enter(module, args, kwargs)
            if known is not None:
                told, result = again(wires, module, known)
                if told:
                    return result
            first_row, first_value = len(wires.rows) - 1, len(wires.values)
            versions = [tensor._version for tensor in given]
        result = super().watched(module, forward, contract, *args, **kwargs)
        wires.leave(module, result)
        with torch._C.DisableTorchFunction():
            if key is not None and versions == [tensor._version for tensor in given]:
                found = seen(wires, module, first_row, first_value, given, result)
                if found is not None:
                    self.seen[key] = found
        return result

    def form(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], given: Sequence[torch.Tensor]
    ) -> object:
        """What the steps of a call depend on; None where it cannot be told."""
        first = {id(tensor): place for place, tensor in reversed(list(enumerate(given)))}
        try:
            named = key_of(tuple(sorted(kwargs.items()))) if kwargs else None
            same = tuple(first[id(tensor)] for tensor in given)
            key = (self.alike[module], module.training, key_of(args), named, same)
            hash(key)
        except TypeError:
            return None
        return key


# --- from runs to one trace -----------------------------------------------------------------------------------------


def _told(runs: Sequence[Wires], symbols: Sequence[str], points: Sequence[Point]) -> Trace:
    """The wiring of the first run, with sizes as expressions that agree with all of them."""
    first, *others = runs
    indexed = [_by_key(run.rows) for run in others]
    fitted = _Fitted(symbols, points[: len(runs)], len(points))
    sizes: dict[int, tuple[int | str, ...]] = {}
    for key, row in _by_key(first.rows).items():
        same = [table.get(key) for table in indexed]
        for place, number in enumerate(row.outputs):
            shapes: list[tuple[int, ...] | None] = [first.values[number].shape]
            for run, other in zip(others, same, strict=True):
                there = other is not None and place < len(other.outputs)
                shapes.append(run.values[other.outputs[place]].shape if other is not None and there else None)
            sizes[number] = fitted.sizes(shapes)
    values = tuple(
        Value(number, sizes.get(number, tensor.shape), tensor.dtype, tensor.name)
        for number, tensor in enumerate(first.values)
    )
    calls = tuple(_call(number, row) for number, row in enumerate(first.rows))
    inputs = tuple(number for row in first.rows if row.kind == "input" for number in row.outputs)
    outputs = tuple(number for row in first.rows if row.kind == "output" for number in row.inputs)
    return Trace(calls, values, inputs, outputs)


class _Fitted:
    """Shapes of one value in several runs as one shape. A run that has no such value (None) says nothing of it."""

    def __init__(self, symbols: Sequence[str], points: Sequence[Point], wanted: int) -> None:
        self.symbols, self.points, self.wanted = symbols, points, wanted
        self.forms: dict[tuple[int, ...], Forms] = {}
        self.known: dict[tuple[tuple[int, ...] | None, ...], tuple[int | str, ...]] = {}

    def sizes(self, shapes: Sequence[tuple[int, ...] | None]) -> tuple[int | str, ...]:
        key = tuple(shapes)
        if key not in self.known:
            self.known[key] = self.found(shapes)
        return self.known[key]

    def found(self, shapes: Sequence[tuple[int, ...] | None]) -> tuple[int | str, ...]:
        first = shapes[0] or ()
        there = tuple(i for i, shape in enumerate(shapes) if shape is not None and len(shape) == len(first))
        if there not in self.forms:
            self.forms[there] = Forms(self.symbols, [self.points[i] for i in there])
        enough = len(there) >= min(self.wanted, ENOUGH)
        vectors = [[(shapes[i] or ())[index] for i in there] for index in range(len(first))]
        fitting = [self.forms[there].find(vector) if enough else None for vector in vectors]
        return tuple("?" if form is None else form.size for form in fitting)


def _by_key(rows: Sequence[Row]) -> dict[_Key, Row]:
    """Rows by what they are and which of their like: a run at another size may go round a loop more often."""
    counts: Counter[tuple[str, str, str]] = Counter()
    found: dict[_Key, Row] = {}
    for row in rows:
        what = (row.kind, row.fqn, row.label)
        counts[what] += 1
        found[(*what, counts[what])] = row
    return found


def _call(number: int, row: Row) -> Call:
    inputs, outputs = tuple(dict.fromkeys(row.inputs)), tuple(dict.fromkeys(row.outputs))
    return Call(number, row.fqn, row.kind, row.label, row.parent, inputs, outputs, row.file, row.line, row.times)
