"""One forward of a built model on meta, at one size: what every module returned, or why it failed and where."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedTensorMixin

from confnet.blueprint import Blueprint
from confnet.builder import Built
from confnet.builder.hooks import Hook
from confnet.plan import Contract
from confnet.shapes.cases import Case
from confnet.shapes.forms import Point
from confnet.shapes.matching import ContractError, match_inputs, match_outputs
from confnet.shapes.operands import OperandError, dtype_name
from confnet.shapes.recorder import Memory, Recorder
from confnet.shapes.steps import Places, Step, culprit

__all__ = ["Failure", "Outcome", "Runner", "Value"]

# These hooks only look: without values there is nothing to see, and what they keep or print would be an effect.
_LOOKING = frozenset({"capture", "check_finite", "log_stats", "print_shape", "time"})


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor that a module returned: the module's name (and which call and item), its shape and dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    module: nn.Module | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a forward failed. `followed` is False where only the lack of values stopped it.

    `call` is the torch function that failed with its arguments, `origins` where tensors came from.
    """

    error: Exception
    followed: bool
    steps: list[Step]
    call: tuple[str, tuple[Any, ...], Mapping[str, Any]] | None
    origins: Mapping[int, Step] = field(default_factory=dict)
    inputs: Mapping[int, str] = field(default_factory=dict)

    @property
    def key(self) -> object:
        """Failures with equal keys are the same mistake."""
        shown, _ = culprit(self.steps)
        return (shown.span if shown else None, type(self.error).__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one run: `values` of inner modules, `outputs` of the model, or a failure."""

    point: Point
    training: bool
    calls: int
    values: tuple[Value, ...] = ()
    outputs: tuple[Value, ...] = ()
    failure: Failure | None = None

    @property
    def ok(self) -> bool:
        return self.failure is None


class Runner:
    """Runs a model. One that changes by running (lazy layers) is made anew each time."""

    def __init__(self, make: Callable[[], Built], blueprint: Blueprint) -> None:
        self.make, self.blueprint = make, blueprint
        self.memory = Memory()
        self.found: list[Value] = []
        self.bindings: dict[nn.Module, list[dict[str, int]]] = {}
        self.counts: dict[str, int] = {}
        self.adopt(make())
        self.lazy = any(isinstance(tensor, UninitializedTensorMixin) for tensor in self.built.module.parameters())
        self.fresh = True

    def adopt(self, built: Built) -> None:
        """Take a model to run: its modules are watched from now on."""
        self.built = built
        self.places = Places(built, self.blueprint)
        for module in self.places.names:
            _quiet(module)
            self.watch(module)

    def run(self, case: Case, point: Point, *, training: bool = True, trace: bool = False) -> Outcome:
        """One forward at a point, in train or eval mode. Nothing escapes but what a person interrupts."""
        if self.lazy and not self.fresh:
            self.adopt(self.make())
        self.fresh = False
        self.found, self.counts, self.bindings = [], {}, {}
        origins: dict[int, Step] = {}
        kept: list[Any] = []
        recorder = Recorder(self.memory, partial(self.trace, origins, kept) if trace else None)
        module = self.built.module.train(training)
        arguments: dict[str, Any] = {}
        try:
            with _undisturbed(), torch.device("meta"):
                arguments = case.arguments(point)
                for contract in case.tensors():
                    _bound(recorder, contract, arguments[contract.name])
                with recorder:
                    result = module(*arguments.values())
        except Exception as error:
            steps = self.places.of_traceback(error.__traceback__)
            inputs = {id(value): name for name, value in arguments.items()}
            failure = Failure(error, _is_followed(error), steps, recorder.failed, origins, inputs)
            return Outcome(point, training, recorder.calls, tuple(self.found), failure=failure)
        return Outcome(point, training, recorder.calls, tuple(self.found), tuple(_values(result, "", None)))

    def trace(self, origins: dict[int, Step], kept: list[Any], result: Any) -> None:
        """Remember where a tensor was made."""
        shown, _ = culprit(self.places.of_stack())
        if shown is None:
            return
        for item in result if isinstance(result, list | tuple) else [result]:
            if isinstance(item, torch.Tensor):
                kept.append(item)
                origins[id(item)] = shown

    # --- what modules take and return -----------------------------------------------------------------------------

    def watch(self, module: nn.Module) -> None:
        """Check the contracts of a module at each call, and note what it returns."""
        plan = self.places.plan(module)
        contracts = plan.contracts if plan is not None else {}
        forward = contracts.get("forward")
        if forward is not None:
            module.register_forward_pre_hook(partial(self.before, forward), with_kwargs=True)
        module.register_forward_hook(partial(self.after, forward), prepend=True)
        for name, contract in contracts.items():
            if name != "forward" and callable(getattr(type(module), name, None)):
                module.__dict__[name] = partial(self.method, module, getattr(module, name), contract)

    def before(self, contract: Contract, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.enter(module, contract, args, kwargs)

    def after(self, contract: Contract | None, module: nn.Module, args: Any, output: Any) -> None:
        if contract is not None:
            self.leave(module, contract, output)
        name = self.places.name(module)
        if name:
            count = self.counts[name] = self.counts.get(name, 0) + 1
            label = name if count == 1 else f"{name}#{count}"
            self.found += _values(output, label, module)

    def method(self, module: nn.Module, call: Callable[..., Any], contract: Contract, *args: Any, **kwargs: Any) -> Any:
        """A method of a definition, called with its contract checked."""
        self.enter(module, contract, args, kwargs)
        result = call(*args, **kwargs)
        self.leave(module, contract, result)
        return result

    def enter(self, module: nn.Module, contract: Contract, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        binding: dict[str, int] = {}
        self.bindings.setdefault(module, []).append(binding)
        names = [item.name for item in contract.inputs or ()]
        try:
            match_inputs(contract.inputs or (), {**dict(zip(names, args, strict=False)), **kwargs}, binding)
        except ContractError as error:
            error.owner = module
            raise

    def leave(self, module: nn.Module, contract: Contract, result: Any) -> None:
        binding = self.bindings[module].pop()
        if contract.outputs is None:
            return
        try:
            match_outputs(contract.outputs, result, binding)
        except ContractError as error:
            error.owner = module
            raise


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Run what belongs to others without a trace: no output, no warnings, no random numbers drawn."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        yield


def _quiet(module: nn.Module) -> None:
    for table in (module._forward_hooks, module._forward_pre_hooks):
        for registered in table.values():
            hook = getattr(registered, "hook", registered)
            if isinstance(hook, Hook) and hook.plan.call is not None and hook.plan.call.name in _LOOKING:
                hook.enabled = False


def _bound(recorder: Recorder, contract: Any, value: Any) -> None:
    """Tell the recorder the range that a contract states."""
    if contract.high is None:
        return
    for tensor in value if isinstance(value, list) else [value]:
        recorder.bound(tensor, contract.low if contract.low is not None else 0, contract.high)


def _values(value: Any, name: str, module: nn.Module | None) -> Iterator[Value]:
    """The tensors of a result, with what picks each of them behind the name."""
    if isinstance(value, torch.Tensor):
        yield Value(name, tuple(value.shape), dtype_name(value.dtype), module)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _values(item, f"{name}[{key!r}]", module)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _values(item, f"{name}[{index}]", module)


def _is_followed(error: Exception) -> bool:
    """Whether an error would also come up where tensors have values."""
    if isinstance(error, OperandError | ContractError):
        return True
    if isinstance(error, NotImplementedError):
        return "forward" in str(error)  # a module that has none
    return not re.search(r"\bmeta\b", str(error))
