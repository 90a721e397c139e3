"""Watches the calls of torch functions during a forward on meta: what they refuse, and the range of indices.

Calls that were seen before, with operands of the same shapes, are answered from memory: the layers of a deep model
are alike, and a model is run at many sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType
from typing import Any

import torch
import torch.nn.functional as F
import torch.utils._device
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from confnet.shapes.operands import OperandError, check_operands, tensors_in

__all__ = ["IndexRangeError", "Memory", "Recorder", "description", "fresh", "is_new", "key_of"]

Function = Callable[..., Any]


class IndexRangeError(OperandError):
    """Indices that reach an embedding, and may be outside of it."""


@dataclass(slots=True)
class Memory:
    """Results of calls by their arguments, and the functions whose results are of no use as memory."""

    results: dict[Any, Any] = field(default_factory=dict)
    unsuited: set[Any] = field(default_factory=set)


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
_constructors = torch.utils._device._device_constructors
_UPDATE_STATISTICS = frozenset({"batch_norm", "instance_norm"})


class Recorder(TorchFunctionMode):
    """One run. `failed` is the innermost call that failed, `calls` how many came to an end.

    `made` is called with what each call returned, to learn where tensors come from.
    """

    def __init__(self, memory: Memory, made: Callable[[Any], None] | None = None) -> None:
        super().__init__()
        self.memory, self.made = memory, made
        self.calls = 0
        self.failed: tuple[str, tuple[Any, ...], Mapping[str, Any]] | None = None
        self.ranges: dict[int, tuple[torch.Tensor, float, float]] = {}

    def bound(self, tensor: torch.Tensor, low: float, high: float) -> None:
        """Know that the values of a tensor lie in [low, high)."""
        self.ranges[id(tensor)] = (tensor, low, high)

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        keywords = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in ("__get__", "__set__"):
            return func(*args, **keywords)
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
        smaller = _smaller(name, args)
        if smaller is not None:  # the sizes that are left out neither fail nor show in the result
            self.run_whole(func, name, (smaller, *args[1:]), keywords)
            return torch.empty_like(args[0])
        return self.run_whole(func, name, args, keywords)

    def run_whole(self, func: Function, name: str, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
        if func in self.memory.unsuited or not (args or keywords):
            return _called(func, args, keywords)
        try:
            key = (func, key_of(args), key_of(tuple(sorted(keywords.items()))))
            hash(key)
        except TypeError:
            return _called(func, args, keywords)
        if key in self.memory.results:
            return fresh(self.memory.results[key])
        given = tensors_in((*args, *keywords.values()))
        versions = [tensor._version for tensor in given]
        result = _called(func, args, keywords)
        if not is_new(result, given):
            if not isinstance(result, torch.Tensor | tuple | list):
                self.memory.unsuited.add(func)
        elif name in _UPDATE_STATISTICS or versions == [tensor._version for tensor in given]:
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


def _called(func: Function, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
    """The call itself. Torch's compiled functions need no further looks at what they are given."""
    if not isinstance(func, _COMPILED) or func in _constructors():
        return func(*args, **keywords)
    with torch._C.DisableTorchFunction():
        return func(*args, **keywords)


def _smaller(name: str, args: tuple[Any, ...]) -> torch.Tensor | None:
    """The operand of a normalisation with the sizes left out that it does not care about; None for other calls."""
    if name not in ("batch_norm", "layer_norm") or not args or not isinstance(args[0], torch.Tensor):
        return None
    operand, shape = args[0], args[0].shape
    if name == "batch_norm" and len(shape) >= 2 and operand.numel() >= 2 * shape[1] > 0:
        return operand.new_empty((2, shape[1], *([1] * (len(shape) - 2))))
    if name == "layer_norm" and len(args) > 1 and isinstance(args[1], list | tuple) and operand.numel():
        kept = len(args[1])
        if 0 < kept <= len(shape):
            return operand.new_empty((*([1] * (len(shape) - kept)), *shape[len(shape) - kept :]))
    return None


def key_of(value: Any) -> Any:
    """What a result depends on: of a tensor its form, of anything else its type and value."""
    if isinstance(value, torch.Tensor):
        if is_lazy(value):
            raise TypeError("it has no shape yet")
        return (value.shape, value.stride(), value.dtype, value.device)
    if isinstance(value, list | tuple):
        return (type(value), *map(key_of, value))
    return (type(value), value)


def is_new(result: Any, given: list[torch.Tensor]) -> bool:
    """Whether a result is tensors (or None) that share no memory with what was given."""
    items = result if type(result) in (tuple, list) else [result]
    if not items or not all(item is None or type(item) is torch.Tensor for item in items):
        return False
    made = [item for item in items if item is not None]
    if not made:  # a call for its effect, such as the switch of the grad mode
        return False
    if not all(item.is_meta and item.layout == torch.strided for item in made):
        return False
    storages = {tensor.untyped_storage()._cdata for tensor in given if tensor.layout == torch.strided}
    return not any(item.untyped_storage()._cdata in storages for item in made)


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
