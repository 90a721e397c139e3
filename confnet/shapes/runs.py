"""One forward of a built model on meta, at one size: what every module returned, or why it failed and where."""

from __future__ import annotations

import io
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from confnet.blueprint import Blueprint
from confnet.builder import Built
from confnet.builder.hooks import Hook
from confnet.diagnostics import ConfnetError
from confnet.plan import Contract, ModulePlan
from confnet.shapes.cases import Case
from confnet.shapes.forms import Point
from confnet.shapes.matching import ContractError, match_inputs, match_outputs
from confnet.shapes.operands import OperandError, dtype_name, tensors_in
from confnet.shapes.recorder import Memory, Recorder, description, fresh, is_new, key_of
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


@dataclass(frozen=True, slots=True)
class _Return:
    """What one call of a module returned."""

    name: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class _Remembered:
    """A whole forward: the description of its result, what its modules returned (names from its own on), its calls."""

    result: Any
    returned: tuple[_Return, ...]
    calls: int


class Runner:
    """Runs a model. One that changes by running (lazy layers) is made anew each time."""

    def __init__(self, make: Callable[[], Built], blueprint: Blueprint, memory: Memory) -> None:
        self.make, self.blueprint = make, blueprint
        self.memory = memory
        self.returned: list[_Return] = []
        self.bindings: dict[nn.Module, list[dict[str, int]]] = {}
        self.whole: dict[object, _Remembered] = {}
        self.recorder: Recorder | None = None
        self.adopt(make())
        self.lazy = any(is_lazy(tensor) for tensor in self.built.module.parameters())
        self.fresh = True

    def adopt(self, built: Built) -> None:
        """Take a model to run: its modules are watched from now on."""
        self.built = built
        self.places = Places(built, self.blueprint)
        self.signatures = {
            module: _signature(module, plan)
            for module, plan in built.places.items()
            if plan.definition is not None and not isinstance(module, nn.RNNBase)
        }
        for module in self.places.names:
            _quiet(module)
            self.watch(module)

    def run(self, case: Case, point: Point, *, training: bool = True, trace: bool = False) -> Outcome:
        """One forward at a point, in train or eval mode. Nothing escapes but what a person interrupts."""
        if self.lazy and not self.fresh:
            self.adopt(self.make())
        self.fresh = False
        self.returned, self.bindings = [], {}
        origins: dict[int, Step] = {}
        kept: list[Any] = []
        recorder = Recorder(self.memory, partial(self.trace, origins, kept) if trace else None)
        self.recorder = None if trace else recorder
        module = self.built.module.train(training)
        arguments: dict[str, Any] = {}
        try:
            with _undisturbed(), torch.device("meta"):
                arguments = case.arguments(point)
                for contract in case.tensors():
                    _bound(recorder, contract, arguments[contract.name])
                with recorder:
                    result = module(*arguments.values())
        except ConfnetError:  # the code was stopped: it takes too long, or makes something too large
            raise
        except Exception as error:
            steps = self.places.of_traceback(error.__traceback__)
            inputs = {id(value): name for name, value in arguments.items()}
            failure = Failure(error, _is_followed(error), steps, recorder.failed, origins, inputs)
            return Outcome(point, training, recorder.calls, self.values(), failure=failure)
        return Outcome(point, training, recorder.calls, self.values(), _values(result))

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
        if module is not self.built.module and module in self.signatures:
            module.__dict__["forward"] = partial(self.remembered, module, self.signatures[module], module.forward)
        if isinstance(module, nn.RNNBase):
            module.__dict__["forward"] = partial(_shortened, module, module.forward)
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
        if module is not self.built.module:
            self.returned.append(_Return(self.places.name(module), _values(output)))

    def values(self) -> tuple[Value, ...]:
        """What inner modules returned, under their names; the second call of a module is `name#2`."""
        counts: Counter[str] = Counter()
        found = []
        for returned in self.returned:
            counts[returned.name] += 1
            count = counts[returned.name]
            label = returned.name if count == 1 else f"{returned.name}#{count}"
            module = self.places.modules.get(returned.name)
            found += [replace(value, name=label + value.name, module=module) for value in returned.values]
        return tuple(found)

    def remembered(
        self, module: nn.Module, signature: object, forward: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """The forward of an instance of a definition; what was seen of an equal instance is not run again."""
        recorder = self.recorder
        key = self.key(module, signature, args, kwargs) if recorder is not None else None
        if recorder is None or key is None:
            return forward(*args, **kwargs)
        prefix = self.places.name(module)
        known = self.whole.get(key)
        if known is not None:
            recorder.calls += known.calls
            self.returned += [replace(item, name=prefix + item.name) for item in known.returned]
            return fresh(known.result)
        given = tensors_in((*args, *kwargs.values()))
        versions = [tensor._version for tensor in given]
        start, calls = len(self.returned), recorder.calls
        result = forward(*args, **kwargs)
        unchanged = versions == [tensor._version for tensor in given]
        if unchanged and is_new(result, [*given, *module.parameters(), *module.buffers()]):
            returned = [replace(item, name=item.name.removeprefix(prefix)) for item in self.returned[start:]]
            if all(item.name.startswith(".") for item in returned):  # a shared module has its name elsewhere
                self.whole[key] = _Remembered(description(result), tuple(returned), recorder.calls - calls)
        return result

    def key(self, module: nn.Module, signature: object, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> object:
        """What a forward depends on; None where it cannot be told."""
        assert self.recorder is not None
        given = (*args, *kwargs.values())
        if any(id(value) in self.recorder.ranges for value in tensors_in(given)):
            return None
        try:
            key = (signature, module.training, key_of(args), key_of(tuple(sorted(kwargs.items()))))
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


def _signature(module: nn.Module, plan: ModulePlan) -> object:
    """Equal for instances that behave alike: of one plan, and left alike by the rules and hooks of others."""
    state = [(name, tuple(t.shape), t.dtype) for name, t in module.state_dict(keep_vars=True).items() if not is_lazy(t)]
    hooks = [
        tuple(
            id(getattr(registered, "hook", registered))
            for table in (m._forward_hooks, m._forward_pre_hooks)
            for registered in table.values()
        )
        for m in module.modules()
    ]
    classes = [id(type(m)) for m in module.modules()]
    if any(is_lazy(tensor) for tensor in module.parameters()) or any(hooks):
        return id(module)
    return (id(plan), repr(module), tuple(state), tuple(classes))


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
    if isinstance(error, ConfnetError):  # a bound on code that is only tried
        return False
    if isinstance(error, NotImplementedError):
        return "forward" in str(error)  # a module that has none
    return not re.search(r"\bmeta\b", str(error))
