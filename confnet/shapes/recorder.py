"""Watches the calls of torch functions during a forward on meta: what they refuse, and the range of indices.

Calls that were seen before, with operands of the same shapes, are answered from memory: the layers of a deep model
are alike, and a model is run at many sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode
from torch.utils._device import DeviceContext, _device_constructors

from confnet.builder.guard import TooLong, budget_in_force
from confnet.shapes.operands import OperandError, check_operands, tensors_in
from confnet.shapes.reductions import reduced

__all__ = [
    "CallMemory",
    "Construction",
    "IndexRangeError",
    "Recorder",
    "description",
    "fresh",
    "is_new",
    "key_of",
    "storages_of",
]

Function = Callable[..., Any]


class IndexRangeError(OperandError):
    """Indices that reach an embedding, and may be outside of it."""


# Each is as quick as a look into the memory, and gives a part of what it is given.
_VIEWS = frozenset(
    getattr(torch.Tensor, name)
    for name in ("view", "transpose", "permute", "unsqueeze", "squeeze", "expand", "select", "narrow", "size", "dim")
)


@dataclass(slots=True)
class CallMemory:
    """Results of calls by their arguments, and the functions whose results are of no use as memory."""

    results: dict[Any, Any] = field(default_factory=dict)
    unsuited: set[Any] = field(default_factory=lambda: set(_VIEWS))


# The values of the result are those of the first argument.
_SAME_VALUES = frozenset(
    [
        "view",
        "reshape",
        "flatten",
        "unflatten",
        "transpose",
        "permute",
        "unsqueeze",
        "squeeze",
        "contiguous",
        "expand",
        "expand_as",
        "clone",
        "to",
        "long",
        "int",
        "__getitem__",
        "t",
        "mT",
        "swapaxes",
        "movedim",
        "repeat",
        "detach",
        "narrow",
        "select",
        "index_select",
        "unbind",
        "chunk",
        "split",
        "flip",
        "roll",
        "tile",
        "ravel",
        "view_as",
        "reshape_as",
        "squeeze_",
        "unsqueeze_",
    ]
)
_COMPILED = (BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType)
_OF_A_CALL = 9
"""How many steps a call counts that is not answered from memory."""
_CHANGED = object()
"""Stands for the result of a call that gives back its first argument, changed in place."""
_UPDATE_STATISTICS = frozenset({"batch_norm", "instance_norm"})


class Recorder(DeviceContext):
    """One run, in which new tensors are on meta.

    `failed` is the innermost call that failed, `calls` how many came to an end.
    `made` is called with what each call returned, to learn where tensors come from.
    """

    def __init__(self, memory: CallMemory, made: Callable[[Any], None] | None = None) -> None:
        super().__init__("meta")
        self.memory, self.made = memory, made
        self.calls = 0
        self.budget = budget_in_force()
        self.failed: tuple[str, tuple[Any, ...], Mapping[str, Any]] | None = None
        self.ranges: dict[int, tuple[torch.Tensor, float, float]] = {}

    def bound(self, tensor: torch.Tensor, low: float, high: float) -> None:
        """Know that the values of a tensor lie in [low, high)."""
        self.ranges[id(tensor)] = (tensor, low, high)

    def knows(self, value: Any) -> bool:
        """Whether something is known of the values of a tensor, or of any inside a tuple or list."""
        return bool(self.ranges) and any(id(tensor) in self.ranges for tensor in tensors_in([value]))

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        keywords = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in ("__get__", "__set__"):
            return func(*args, **keywords)
        if self.budget is not None:
            self.budget.spend(1)
        try:
            check_operands(name, args, keywords)
            self.check_range(func, args, keywords)
            result = self.run(func, name, args, keywords)
        except Exception:
            self.failed = self.failed or (name, args, keywords)
            raise
        self.calls += 1
        self.follow_range(name, args, result)
        if self.made is not None:
            self.made(result)
        return result

    # --- memory ---------------------------------------------------------------------------------------------------

    def run(self, func: Function, name: str, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
        reduction = reduced(name, args, keywords)
        if reduction is not None:
            smaller, whole = reduction
            try:
                result = whole(self.run_whole(func, name, smaller, keywords))
            except TooLong:
                raise
            except Exception:
                result = None  # the call itself says better what is wrong
            if result is not None:
                return result
        return self.run_whole(func, name, args, keywords)

    def run_whole(self, func: Function, name: str, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
        if func in self.memory.unsuited or not (args or keywords):
            return _called(func, args, keywords)
        try:
            key = (func, key_of(args), key_of(tuple(sorted(keywords.items()))) if keywords else None)
            known = self.memory.results.get(key)
        except TypeError:  # it has no hash
            return _called(func, args, keywords)
        if known is _CHANGED and not args[0].requires_grad:
            torch.autograd.graph.increment_version(args[0])
            return args[0]
        if known is not None and known is not _CHANGED:
            return fresh(known)
        given = tensors_in((*args, *keywords.values()))
        versions = [tensor._version for tensor in given]
        if self.budget is not None:
            self.budget.spend(_OF_A_CALL)
        result = _called(func, args, keywords)
        changed = [tensor for tensor, version in zip(given, versions, strict=True) if tensor._version != version]
        if not is_new(result, given):
            if not isinstance(result, torch.Tensor | tuple | list):
                self.memory.unsuited.add(func)
            elif (
                args and changed and all(item is args[0] is result for item in changed) and key_of(result) == key[1][1]
            ):
                self.memory.results[key] = _CHANGED
        elif name in _UPDATE_STATISTICS or not changed:
            self.memory.results[key] = description(result)
        return result

    # --- ranges of indices ----------------------------------------------------------------------------------------

    def check_range(self, func: Function, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> None:
        if func is not F.embedding:
            return
        indices = args[0] if args else keywords.get("input")
        weight = args[1] if len(args) > 1 else keywords.get("weight")
        known = self.ranges.get(id(indices))
        if known is None or not isinstance(weight, torch.Tensor):
            return
        _, low, high = known
        if low < 0 or high > weight.shape[0]:
            raise IndexRangeError(
                f"the indices go from {low:g} to {high - 1:g}, and the embedding has {weight.shape[0]} rows"
            )

    def follow_range(self, name: str, args: tuple[Any, ...], result: Any) -> None:
        if name == "arange":
            self.arange(args, result)
        elif args and name in _SAME_VALUES and self.ranges:
            known = self.ranges.get(id(args[0]))
            if known is not None:
                for tensor in tensors_in([result]):
                    if not tensor.is_floating_point() and tensor.dtype != torch.bool:
                        self.bound(tensor, *known[1:])

    def arange(self, args: tuple[Any, ...], result: Any) -> None:
        numbers = [value for value in args if isinstance(value, int)]
        if numbers and len(numbers) == len(args) and isinstance(result, torch.Tensor) and result.numel():
            values = range(*numbers)
            self.bound(result, min(values[0], values[-1]), max(values[0], values[-1]) + 1)


class Construction(TorchFunctionMode):
    """The making of a model on meta: what changes a tensor in place was seen once to be in order, and does nothing.

    There are no values to change; initialisers of a layer are called as often as there are layers like it.
    """

    def __init__(self, seen: set[object]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        keywords = kwargs or {}
        name = getattr(func, "__name__", "")
        if not name.endswith("_") or name.startswith("__"):
            return func(*args, **keywords)
        first = args[0] if args else keywords.get("tensor")
        with torch._C.DisableTorchFunction():
            key = self.key(func, first, args, keywords)
            if key in self.seen:
                return first
        result = func(*args, **keywords)
        if key is not None and result is first:
            self.seen.add(key)
        return result

    def key(self, func: Function, first: Any, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> object:
        """What the call depends on; None where it may do more than change values on meta."""
        if not isinstance(first, torch.Tensor) or not first.is_meta or first.layout != torch.strided:
            return None
        try:
            form = (func, key_of(args), key_of(tuple(sorted(keywords.items()))))
            hash(form)
        except TypeError:
            return None
        return form, torch.is_grad_enabled(), first.requires_grad, first.is_leaf


def _called(func: Function, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
    """The call itself. Torch's compiled functions make no tensors but those that they return."""
    if getattr(func, "__name__", "") == "_grouped_mm" and (args[0].ndim, args[1].ndim) == (2, 3):
        return _grouped_mm(*args[:2])
    if func in _device_constructors():
        return func(*args, **(keywords if keywords.get("device") is not None else {**keywords, "device": "meta"}))
    if isinstance(func, _COMPILED):
        return func(*args, **keywords)
    with torch.device("meta"):
        return func(*args, **keywords)


def _grouped_mm(rows: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """`F.grouped_mm` of rows with the matrix of their group: on meta torch takes bfloat16 only, elsewhere any."""
    for operand in (rows, matrices):
        if any(step != 1 and step * operand.element_size() % 16 for step in operand.stride()):
            raise RuntimeError("strides should be multiple of 16 bytes")
    return torch.mm(rows, matrices[0])


def key_of(value: Any) -> Any:
    """What a result depends on: of a tensor its form, of anything else its type and value."""
    kind = type(value)
    if kind is torch.Tensor or kind is nn.Parameter:
        return (value.shape, value.stride(), value.dtype, value.device)
    if kind is int:
        return value  # a number of another type stands beside its type
    if kind is tuple or kind is list:
        return (kind, *[item if type(item) is int else key_of(item) for item in value])
    if isinstance(value, torch.Tensor):
        if is_lazy(value):
            raise TypeError("it has no shape yet")
        return (kind, value.shape, value.stride(), value.dtype, value.device)
    return (kind, value)


def storages_of(tensors: Iterable[torch.Tensor]) -> frozenset[int]:
    """The memory of tensors, as numbers that tell it apart while they live."""
    return frozenset(tensor.untyped_storage()._cdata for tensor in tensors if tensor.layout == torch.strided)


def is_new(result: Any, given: list[torch.Tensor], held: frozenset[int] = frozenset()) -> bool:
    """Whether a result is tensors (or None) that share no memory with what was given, or with the storages `held`."""
    items = result if type(result) in (tuple, list) else [result]
    if not items or not all(item is None or type(item) is torch.Tensor for item in items):
        return False
    made = [item for item in items if item is not None]
    if not made:  # a call for its effect, such as the switch of the grad mode
        return False
    if not all(item.is_meta and item.layout == torch.strided for item in made):
        return False
    made_in = storages_of(made)
    return made_in.isdisjoint(held) and made_in.isdisjoint(storages_of(given))


def description(result: Any) -> Any:
    """A result without its tensors, from which `fresh` makes an equal one."""
    if type(result) in (tuple, list):
        return type(result), [description(item) for item in result]
    return None if result is None else (tuple(result.shape), result.stride(), result.dtype)


def fresh(description: Any) -> Any:
    """A new result of a description."""
    if description is None:
        return None
    if isinstance(description[0], type):
        return description[0](fresh(item) for item in description[1])
    shape, stride, dtype = description
    return torch.empty_strided(shape, stride, dtype=dtype, device="meta")
