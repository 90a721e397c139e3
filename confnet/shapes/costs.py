"""What one forward costs: its FLOPs, counted by torch, and what it saves for the backward.

The model is run once at given sizes with tensors that claim to be on the CPU and have no values, so that torch takes
the kernels that it takes there. Instances of a definition that are alike are run once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from confnet.builder import Built
from confnet.builder.guard import budget
from confnet.shapes.cases import Case
from confnet.shapes.forms import Point
from confnet.shapes.likeness import Likeness
from confnet.shapes.operands import tensors_in
from confnet.shapes.recorder import key_of
from confnet.shapes.runs import quiet, undisturbed

__all__ = ["Costs", "measure"]

STEPS = 10_000_000
SECONDS = 60


@dataclass(frozen=True, slots=True)
class Costs:
    """FLOPs and calls of each module by its dotted name, and the bytes that are saved for the backward."""

    flops: Mapping[str, int]
    calls: Mapping[str, int]
    saved: int


def measure(built: Built, case: Case, point: Point, dtype: torch.dtype | None, *, thorough: bool) -> Costs:
    """The costs of one call in train mode. The model is built on meta, and of no use afterwards.

    Floating-point inputs are given in `dtype`. Unless `thorough`, the state of a definition's instance is made ready
    when it is run: code that reads it from outside fails. Raises whatever the forward raises.
    """
    likeness = Likeness().of({module: name for name, module in built.module.named_modules()}, built.places)
    with ExitStack() as stack:
        stack.enter_context(undisturbed())
        stack.enter_context(_plain_recurrence(built.module))
        stack.enter_context(budget(STEPS, SECONDS))
        meter = _Meter(built, likeness, thorough)
        arguments = meter.inputs(case.arguments(point), dtype)
        stack.enter_context(torch.autograd.graph.saved_tensors_hooks(meter.pack, lambda tensor: tensor))
        stack.enter_context(meter.mode)
        stack.enter_context(_Flops(meter.count))
        stack.enter_context(torch.enable_grad())
        built.module(*arguments.values())
    whole = meter.frames[0]
    return Costs({**whole.flops, "": whole.total}, whole.calls, sum(whole.saved.values()))


def _plain_recurrence(model: nn.Module) -> AbstractContextManager[Any]:
    """Without oneDNN's fused recurrent layers, which hide what they compute and save."""
    if any(isinstance(module, nn.RNNBase) for module in model.modules()):
        return torch.backends.mkldnn.flags(enabled=False)
    return nullcontext()


class _Flops(FlopCounterMode):
    """Torch's counter, which tells whoever knows the modules of each operation."""

    def __init__(self, count: Callable[[int], None]) -> None:
        super().__init__(display=False)
        self.mod_tracker: Any = _NoTracker()
        self.count = count

    def _count_flops(self, func_packet: Any, out: Any, args: Any, kwargs: Any) -> Any:
        formula = self.flop_registry.get(func_packet)
        if formula is not None:
            self.count(int(formula(*args, **kwargs, out_val=out)))
        return out


class _NoTracker:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


@dataclass(slots=True)
class _Frame:
    """What happened within one call of a module: FLOPs in all and by module, calls, storages that were saved."""

    total: int = 0
    flops: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    saved: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Seen:
    """The frame of a call with names from the module on, and its result. Of what was saved, `new` are the sizes of
    storages that the call made and `given` and `returned` the places of arguments and results."""

    total: int
    flops: Mapping[str, int]
    calls: Mapping[str, int]
    new: tuple[int, ...]
    given: tuple[int, ...]
    returned: tuple[int, ...]
    result: Any


class _Meter:
    """Watches the modules of a model. `frames` are those of the calls that are under way; the first is all of it."""

    def __init__(self, built: Built, alike: Mapping[nn.Module, int], thorough: bool) -> None:
        self.mode = FakeTensorMode(allow_non_fake_inputs=True)
        self.alike = alike
        self.names = {module: name for name, module in built.module.named_modules()}
        self.frames = [_Frame()]
        self.unseen = 0
        self.kept: list[torch.Tensor] = []  # so that no storage has the identity of an earlier one
        self.known: dict[object, _Seen] = {}
        self.made: dict[int, torch.Tensor] = {}
        self.ours: set[int] = set()
        self.state: set[int] = set()
        instances = {module for module, plan in built.places.items() if plan.definition is not None}
        self.instances = instances - {built.module}
        for module in self.names:
            quiet(module)
            again = module in self.instances
            module.__dict__["forward"] = partial(self.repeated if again else self.called, module, module.forward)
        for module in self.names if thorough else ():
            self.fake_state(module)
        self.ready(built.module)

    # --- tensors --------------------------------------------------------------------------------------------------

    def fake(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor, as if it was on the CPU; the same for the same tensor."""
        if id(tensor) not in self.made:
            made: torch.Tensor = FakeTensor(self.mode, tensor.detach(), torch.device("cpu"))
            if isinstance(tensor, nn.Parameter):
                made = nn.Parameter(made, tensor.requires_grad)
            self.made[id(tensor)] = made
            self.ours.add(id(made))
            self.state.add(_storage(made))
            self.kept.append(tensor)
        return self.made[id(tensor)]

    def ready(self, module: nn.Module) -> None:
        """Make the state of a module and of what is in it ready, but for instances of definitions."""
        self.fake_state(module)
        for child in module._modules.values():
            if child is not None and child not in self.instances:
                self.ready(child)

    def fake_state(self, module: nn.Module) -> None:
        for table in (module._parameters, module._buffers):
            for name, tensor in table.items():
                if tensor is not None and id(tensor) not in self.ours:
                    table[name] = self.fake(tensor)  # type: ignore[assignment]
        if isinstance(module, nn.RNNBase):
            module._flat_weights = [getattr(module, name, None) for name in module._flat_weights_names]

    def inputs(self, arguments: Mapping[str, Any], dtype: torch.dtype | None) -> dict[str, Any]:
        def convert(tensor: torch.Tensor) -> torch.Tensor:
            wanted = tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor
            return FakeTensor(self.mode, wanted, torch.device("cpu"))

        return {name: tree_map_only(torch.Tensor, convert, value) for name, value in arguments.items()}

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor is saved for the backward."""
        number = _storage(tensor)
        if number not in self.state:
            self.kept.append(tensor)
            self.frames[-1].saved[number] = tensor.untyped_storage().nbytes()
        return tensor

    def count(self, flops: int) -> None:
        """An operation has that many."""
        self.frames[-1].total += flops

    # --- calls ----------------------------------------------------------------------------------------------------

    def called(self, module: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """A call of a module."""
        self.frames.append(_Frame())
        result = forward(*args, **kwargs)
        self.close(module, self.frames.pop())
        return result

    def close(self, module: nn.Module, frame: _Frame) -> None:
        """Tell the call around of one that has come to its end."""
        name, around = self.names[module], self.frames[-1]
        frame.flops[name] += frame.total
        frame.calls[name] += 1
        around.total += frame.total
        around.flops.update(frame.flops)
        around.calls.update(frame.calls)
        around.saved.update(frame.saved)

    def repeated(self, module: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """A call of an instance of a definition; of one that is alike it is known what happens."""
        given = tensors_in((*args, *kwargs.values()))
        key = self.key(module, args, kwargs, given)
        known = self.known.get(key)
        if known is not None:
            return self.again(module, known, given)
        self.ready(module)
        versions = [tensor._version for tensor in given]
        self.frames.append(_Frame())
        result = forward(*args, **kwargs)
        frame = self.frames.pop()
        if key is not None and versions == [tensor._version for tensor in given]:
            seen = self.seen(module, frame, given, result)
            if seen is not None:
                self.known[key] = seen
        self.close(module, frame)
        return result

    def key(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], given: Sequence[torch.Tensor]
    ) -> object:
        """What the costs of a call depend on; None where it cannot be told."""
        first = {_storage(tensor): place for place, tensor in reversed(list(enumerate(given)))}
        same = tuple((first[_storage(tensor)], tensor.requires_grad) for tensor in given)
        try:
            key = (self.alike[module], module.training, key_of(args), key_of(tuple(sorted(kwargs.items()))), same)
            hash(key)
        except TypeError:
            return None
        return key, torch.is_grad_enabled()

    def seen(self, module: nn.Module, frame: _Frame, given: Sequence[torch.Tensor], result: Any) -> _Seen | None:
        """What is to be known of a call; None where its result is no new tensor or others had a part in it."""
        name = self.names[module]
        items = result if isinstance(result, list | tuple) else [result]
        if type(result) not in (FakeTensor, tuple, list) or not all(type(item) is FakeTensor for item in items):
            return None
        if any(not inner.startswith(f"{name}.") for inner in frame.calls):
            return None
        taken = [_storage(tensor) for tensor in given]
        made = [_storage(item) for item in items]
        if len(set(made)) < len(made) or not self.state.isdisjoint(made) or {*taken} & {*made}:
            return None
        if any(item.untyped_storage().nbytes() != item.numel() * item.element_size() for item in items):
            return None  # a part of something larger, all of which is saved with it: `_fresh` makes the part alone
        rest = [size for number, size in frame.saved.items() if number not in taken and number not in made]
        return _Seen(
            frame.total,
            {inner[len(name) :]: flops for inner, flops in frame.flops.items()},
            {inner[len(name) :]: calls for inner, calls in frame.calls.items()},
            tuple(rest),
            tuple(place for place, number in enumerate(taken) if number in frame.saved),
            tuple(place for place, number in enumerate(made) if number in frame.saved),
            (type(result), [_description(item) for item in items]) if result is not items[0] else _description(result),
        )

    def again(self, module: nn.Module, known: _Seen, given: Sequence[torch.Tensor]) -> Any:
        """The result of a call that is known; what it costs is counted."""
        name = self.names[module]
        if isinstance(known.result[0], type):
            items = [_fresh(item) for item in known.result[1]]
            result: Any = known.result[0](items)
        else:
            result = _fresh(known.result)
            items = [result]
        frame = _Frame(known.total)
        frame.flops.update({name + inner: flops for inner, flops in known.flops.items()})
        frame.calls.update({name + inner: calls for inner, calls in known.calls.items()})
        for size in known.new:
            self.unseen -= 1  # the number of a storage that is not made
            frame.saved[self.unseen] = size
        for tensor in [given[place] for place in known.given] + [items[place] for place in known.returned]:
            frame.saved[_storage(tensor)] = tensor.untyped_storage().nbytes()
            self.kept.append(tensor)
        self.close(module, frame)
        return result


def _storage(tensor: torch.Tensor) -> int:
    number: int = tensor.untyped_storage()._cdata
    return number


def _description(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.requires_grad


def _fresh(description: tuple[Any, ...]) -> torch.Tensor:
    shape, stride, dtype, requires_grad = description
    made = torch.empty_strided(shape, stride, dtype=dtype, device="cpu")
    return made.requires_grad_().clone() if requires_grad else made
