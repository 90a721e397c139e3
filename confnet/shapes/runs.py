"""One forward of a built model on meta, at one size: what every module returned, or why it failed and where."""

from __future__ import annotations

import io
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from confnet.blueprint import Blueprint
from confnet.builder import Built
from confnet.builder.guard import TooLong
from confnet.builder.hooks import Hook
from confnet.diagnostics import ConfnetError
from confnet.plan import Contract
from confnet.shapes.assumed import promised
from confnet.shapes.cases import Case
from confnet.shapes.forms import Point
from confnet.shapes.matching import ContractError, match_inputs, match_outputs
from confnet.shapes.memory import Memory, Remembered, Return, Value
from confnet.shapes.operands import OperandError, dtype_name, tensors_in
from confnet.shapes.recorder import Recorder, description, fresh, is_new, key_of, storages_of
from confnet.shapes.steps import Places, Step, culprit

__all__ = ["Failure", "Outcome", "Runner", "Value", "quiet", "undisturbed"]

# These hooks only look: without values there is nothing to see, and what they keep or print would be an effect.
_LOOKING = frozenset({"capture", "check_finite", "log_stats", "print_shape", "time"})


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


@dataclass(frozen=True)
class Outcome:
    """What came of one run: `values` of inner modules, `outputs` of the model, or a failure."""

    point: Point
    training: bool
    calls: int
    returned: tuple[Return, ...] = ()
    modules: Mapping[str, nn.Module] = field(default_factory=dict, repr=False)
    outputs: tuple[Value, ...] = ()
    failure: Failure | None = None

    @property
    def ok(self) -> bool:
        return self.failure is None

    @cached_property
    def values(self) -> tuple[Value, ...]:
        """What inner modules returned, under their names; the second call of a module is `name#2`."""
        counts: Counter[str] = Counter()
        found = []
        for name, values in _named(self.returned):
            counts[name] += 1
            label = name if counts[name] == 1 else f"{name}#{counts[name]}"
            module = self.modules.get(name)
            found += [Value(label + value.name, value.shape, value.dtype, module) for value in values]
        return tuple(found)

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of all values and outputs."""
        return tuple(value.shape for value in (*self.values, *self.outputs))

    @cached_property
    def layout(self) -> tuple[tuple[str, int], ...]:
        """Their names, and how many dimensions each has."""
        inner = tuple((value.name, len(value.shape)) for value in self.values)
        return (*inner, *((f"return{value.name}", len(value.shape)) for value in self.outputs))

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Every size of every shape."""
        return tuple(size for shape in self.shapes for size in shape)


class Runner:
    """Runs a model. One that changes by running (lazy layers) is made anew each time."""

    def __init__(self, make: Callable[[], Built], blueprint: Blueprint, memory: Memory) -> None:
        self.make, self.blueprint = make, blueprint
        self.memory = memory
        self.returned: list[Return] = []
        self.bindings: dict[nn.Module, list[dict[str, int]]] = {}
        self.recorder: Recorder | None = None
        self.assumed: set[str] = set()  # the definitions whose contract stands for their forward
        self.adopt(make())
        self.lazy = any(is_lazy(tensor) for tensor in self.built.module.parameters())
        self.fresh = True

    def adopt(self, built: Built) -> None:
        """Take a model to run: its modules are watched from now on."""
        self.built = built
        self.places = Places(built, self.blueprint)
        self.training: bool | None = None
        self.held: dict[nn.Module, frozenset[int]] = {}
        self.memory.made(len(self.places.names))
        self.alike = self.memory.likeness.of(self.places.names, built.places)
        for module in self.places.names:
            quiet(module)
            self.watch(module)

    def run(self, case: Case, point: Point, *, training: bool = True, trace: bool = False) -> Outcome:
        """One forward at a point, in train or eval mode. Nothing escapes but what a person interrupts."""
        if self.lazy and not self.fresh:
            self.adopt(self.make())
        self.fresh = False
        self.returned, self.bindings = [], {}
        origins: dict[int, Step] = {}
        kept: list[Any] = []
        recorder = Recorder(self.memory.calls, partial(self.trace, origins, kept) if trace else None)
        self.recorder = None if trace else recorder
        if training is not self.training:
            self.training = training
            self.switch(training)
        arguments: dict[str, Any] = {}
        try:
            with undisturbed():
                arguments = case.arguments(point)
                for contract in case.tensors():
                    _bound(recorder, contract, arguments[contract.name])
                with recorder:
                    result = self.call(arguments)
        except Exception as error:
            if isinstance(error, ConfnetError) and not isinstance(error, TooLong):
                raise  # the code would make something too large
            steps = self.places.of_traceback(error.__traceback__)
            inputs = {id(value): name for name, value in arguments.items()}
            failure = Failure(error, _is_followed(error), steps, recorder.failed, origins, inputs)
            return Outcome(point, training, recorder.calls, tuple(self.returned), self.places.modules, failure=failure)
        return Outcome(point, training, recorder.calls, tuple(self.returned), self.places.modules, _values(result))

    def call(self, arguments: Mapping[str, Any]) -> Any:
        """The model's own call."""
        return self.built.module(*arguments.values())

    def switch(self, training: bool) -> None:
        """What `train` does, which takes as long as a run of what is remembered."""
        if any(type(module).train is not nn.Module.train for module in self.places.names):
            self.built.module.train(training)
            return
        for module in self.places.names:
            module.__dict__["training"] = training

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
        """Check the contracts of a module at each call, and note what it returns.

        Its forward is wrapped: hooks of the file run before and after, as they would without.
        """
        plan = self.places.plan(module)
        contracts = plan.contracts if plan is not None else {}
        forward, watched = module.forward, self.watched
        if isinstance(module, nn.RNNBase):
            forward = partial(_shortened, module, forward)
        elif plan is not None and plan.definition is not None and module is not self.built.module:
            watched = self.remembered
        module.__dict__["forward"] = partial(watched, module, forward, contracts.get("forward"))
        for name, contract in contracts.items():
            if name != "forward" and callable(getattr(type(module), name, None)):
                module.__dict__[name] = partial(self.method, module, getattr(module, name), contract)

    def watched(
        self, module: nn.Module, forward: Callable[..., Any], contract: Contract | None, *args: Any, **kwargs: Any
    ) -> Any:
        """The forward of a module."""
        if contract is not None:
            self.enter(module, contract, args, kwargs)
        kept = contract is not None and self.places.definition(module) in self.assumed
        if kept and contract is not None:
            result = promised(contract, self.bindings[module][-1], (*args, *kwargs.values()))
        else:
            result = forward(*args, **kwargs)
        if contract is not None:
            self.leave(module, contract, result)
        if module is not self.built.module:
            with torch._C.DisableTorchFunction():  # what is asked here is no step of the model
                self.returned.append(Return(self.places.name(module), _values(result)))
        return result

    def remembered(
        self, module: nn.Module, forward: Callable[..., Any], contract: Contract | None, *args: Any, **kwargs: Any
    ) -> Any:
        """The forward of an instance of a definition; what was seen of one like it is not run again."""
        recorder, name = self.recorder, self.places.name(module)
        with torch._C.DisableTorchFunction():
            key = self.key(module, args, kwargs) if recorder is not None else None
            known = self.memory.whole.get(key)
            if known is not None and recorder is not None:
                recorder.calls += known.calls
                self.returned.append(Return(name, known.values, known.returned, known.name))
                return fresh(known.result)
            given = tensors_in((*args, *kwargs.values()))
            versions = [tensor._version for tensor in given]
        start, calls = len(self.returned), recorder.calls if recorder is not None else 0
        result = self.watched(module, forward, contract, *args, **kwargs)
        if recorder is None or key is None:
            return result
        with torch._C.DisableTorchFunction():
            if versions != [tensor._version for tensor in given] or recorder.knows(result):
                return result
            if is_new(result, given, self.storages(module)):
                *inner, own = self.returned[start:]
                if all(item.name.startswith(f"{name}.") for item in inner):  # a shared module has its name elsewhere
                    self.memory.whole[key] = Remembered(
                        description(result), own.values, tuple(inner), name, recorder.calls - calls
                    )
        return result

    def storages(self, module: nn.Module) -> frozenset[int]:
        """The memory of all that a module holds."""
        found = self.held.get(module)
        if found is None:
            found = self.held[module] = storages_of([*module.parameters(), *module.buffers()])
        return found

    def key(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> object:
        """What a forward depends on; None where it cannot be told."""
        assert self.recorder is not None
        if self.recorder.ranges and self.recorder.knows((*args, *kwargs.values())):
            return None
        try:
            named = key_of(tuple(sorted(kwargs.items()))) if kwargs else None
            key = (self.alike[module], module.training, key_of(args), named)
            hash(key)
        except TypeError:
            return None
        return key

    def method(self, module: nn.Module, call: Callable[..., Any], contract: Contract, *args: Any, **kwargs: Any) -> Any:
        """A method of a definition, called with its contract checked."""
        try:
            self.enter(module, contract, args, kwargs)
        except ContractError as error:
            error.method = True
            raise
        result = call(*args, **kwargs)
        self.leave(module, contract, result)
        return result

    def enter(self, module: nn.Module, contract: Contract, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        binding: dict[str, int] = {}
        self.bindings.setdefault(module, []).append(binding)
        names = [item.name for item in contract.inputs or ()]
        try:
            with torch._C.DisableTorchFunction():
                match_inputs(contract.inputs or (), {**dict(zip(names, args, strict=False)), **kwargs}, binding)
        except ContractError as error:
            error.owner = module
            raise

    def leave(self, module: nn.Module, contract: Contract, result: Any) -> None:
        binding = self.bindings[module].pop()
        if contract.outputs is None:
            return
        try:
            with torch._C.DisableTorchFunction():
                match_outputs(contract.outputs, result, binding)
        except ContractError as error:
            error.owner = module
            raise


def _shortened(module: nn.RNNBase, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A recurrent layer over two steps, its output as long as the input: it takes one step after another on meta."""
    sequence = args[0] if args else kwargs.get("input")
    if not isinstance(sequence, torch.Tensor) or sequence.dim() not in (2, 3):
        return forward(*args, **kwargs)
    time = 1 if module.batch_first and sequence.dim() == 3 else 0
    steps = sequence.shape[time]
    if steps <= 2:
        return forward(*args, **kwargs)
    short = sequence.narrow(time, 0, 2)
    output, state = forward(short, *args[1:], **kwargs) if args else forward(**{**kwargs, "input": short})
    shape = list(output.shape)
    shape[time] = steps
    return output.new_empty(shape), state


@contextmanager
def undisturbed() -> Iterator[None]:
    """Run what belongs to others without a trace: no output, no warnings, no random numbers drawn."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        yield


def quiet(module: nn.Module) -> None:
    """Switch off the hooks of a module that only look at values."""
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


def _named(returned: Iterable[Return]) -> Iterator[tuple[str, tuple[Value, ...]]]:
    """Every return in order, with the name of its module."""
    for item in returned:
        for name, values in _named(item.inner):
            yield item.name + name.removeprefix(item.outer), values
        yield item.name, item.values


def _values(value: Any, name: str = "") -> tuple[Value, ...]:
    """The tensors of a result, named by what picks each of them."""
    if isinstance(value, torch.Tensor):
        return (Value(name, tuple(value.shape), dtype_name(value.dtype)),)
    if isinstance(value, Mapping):
        return tuple(found for key, item in value.items() for found in _values(item, f"{name}[{key!r}]"))
    if isinstance(value, list | tuple):
        return tuple(found for index, item in enumerate(value) for found in _values(item, f"{name}[{index}]"))
    return ()


def _is_followed(error: Exception) -> bool:
    """Whether an error would also come up where tensors have values."""
    if isinstance(error, OperandError | ContractError):
        return True
    if isinstance(error, TooLong):
        return False
    return not re.search(r"\bmeta\b|register_meta", str(error), re.IGNORECASE)
