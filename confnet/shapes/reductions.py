"""Calls whose result follows from the same call with smaller sizes.

An addition does not care how long its operands are, nor a linear layer how many rows it is given: torch is asked about
the sizes that matter, and the others are put back into its answer. So one call serves all sizes of a model, and all of
its variants of one width. A call that is refused, or whose answer is not as foreseen, is made as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

__all__ = ["Reduction", "reduced"]

Reduction = tuple[tuple[Any, ...], Callable[[Any], Any]]
"""Smaller arguments, and what makes the result of the call from the result with those; None where it cannot."""

_POINTWISE = frozenset(
    f"{name}{end}"
    for name in (
        *("relu", "gelu", "silu", "sigmoid", "tanh", "exp", "log", "sqrt", "rsqrt", "abs", "neg", "square", "dropout"),
        *("leaky_relu", "elu", "selu", "celu", "softplus", "softsign", "mish", "hardswish", "hardsigmoid", "hardtanh"),
        *("relu6", "tanhshrink", "softshrink", "hardshrink", "erf", "sin", "cos", "pow", "clamp", "reciprocal"),
        *("softmax", "log_softmax", "add", "sub", "mul", "div", "maximum", "minimum", "eq", "ne", "lt", "le", "gt"),
        *("ge", "masked_fill"),
    )
    for end in ("", "_")
) | {
    *("__add__", "__radd__", "__iadd__", "__sub__", "__rsub__", "__isub__", "__mul__", "__rmul__", "__imul__"),
    *("__truediv__", "__rtruediv__", "__itruediv__", "__rdiv__", "__idiv__", "__pow__", "__ipow__", "__neg__"),
    *("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"),
}
"""Functions of one element of each operand at a time, and softmax, whose sizes matter as little."""


def reduced(name: str, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Reduction | None:
    """The smaller call that answers for a call; None where only the call itself can."""
    rule = _RULES.get(name)
    return rule(args, keywords) if rule is not None else None


def _pointwise(args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Reduction | None:
    operands = [value for value in args if isinstance(value, torch.Tensor)]
    others = [value for value in args if not isinstance(value, torch.Tensor)]
    if not operands or not all(map(_regular, operands)) or not all(map(_plain, (*others, *keywords.values()))):
        return None
    shape = _broadcast([operand.shape for operand in operands])
    # Operands that only together make the shape may give it other strides.
    if shape is None or 0 in shape or all(operand.shape != shape for operand in operands):
        return None
    smaller = tuple(
        _small(value, [min(size, 2) for size in value.shape]) if isinstance(value, torch.Tensor) else value
        for value in args
    )
    small = [min(size, 2) for size in shape]

    def whole(result: Any) -> Any:
        if result is smaller[0]:  # changed in place
            if args[0].requires_grad or args[0].shape != shape:
                return None
            torch.autograd.graph.increment_version(args[0])
            return args[0]
        return _enlarged(result, small, shape)

    return smaller, whole


def _linear(args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Reduction | None:
    """The number of rows does not matter."""
    if len(args) < 2 or keywords or not all(isinstance(value, torch.Tensor) for value in args[:2]):
        return None
    rows, weight = args[0], args[1]
    # Two dimensions may be in any order.
    if not (_regular(rows) or rows.dim() == 2) or rows.dim() < 2 or weight.dim() != 2 or 0 in rows.shape:
        return None
    *lead, _ = rows.shape
    small = [min(size, 2) for size in lead]
    last = weight.shape[0]
    smaller = _small(rows, [*small, rows.shape[-1]])
    return (smaller, *args[1:]), lambda result: _enlarged(result, [*small, last], [*lead, last])


def _addmm(args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Reduction | None:
    """The number of rows does not matter where what is added is one row."""
    if len(args) != 3 or keywords or not all(isinstance(value, torch.Tensor) for value in args):
        return None
    added, rows, weight = args
    if not _regular(rows) or rows.dim() != 2 or weight.dim() != 2 or added.dim() != 1 or 0 in rows.shape:
        return None
    count, last = rows.shape[0], weight.shape[1]
    smaller = _small(rows, [min(count, 2), rows.shape[1]])
    return (added, smaller, weight), lambda result: _enlarged(result, [min(count, 2), last], [count, last])


def _embedding(args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Reduction | None:
    """The number of indices does not matter."""
    if len(args) < 2 or not all(isinstance(value, torch.Tensor) for value in args[:2]):
        return None
    if not all(map(_plain, (*args[2:], *keywords.values()))):
        return None
    indices, weight = args[0], args[1]
    if not _regular(indices) or weight.dim() != 2 or 0 in indices.shape:
        return None
    small = [min(size, 2) for size in indices.shape]
    last = weight.shape[1]
    smaller = _small(indices, small)
    return (smaller, *args[1:]), lambda result: _enlarged(result, [*small, last], [*indices.shape, last])


def _batch_norm(args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Reduction | None:
    """The number of values of a channel does not matter where there are two."""
    if not args or not _regular(args[0]) or args[0].dim() < 2 or args[0].numel() < 2 * args[0].shape[1]:
        return None
    shape = args[0].shape
    if not args[0].numel():
        return None
    small = [2, shape[1], *([1] * (len(shape) - 2))]
    return (_small(args[0], small), *args[1:]), lambda result: _enlarged(result, small, shape)


def _layer_norm(args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Reduction | None:
    """The number of rows does not matter."""
    if len(args) < 2 or not _regular(args[0]) or not isinstance(args[1], list | tuple) or not args[0].numel():
        return None
    shape, kept = args[0].shape, len(args[1])
    if not 0 < kept <= len(shape):
        return None
    small = [*([1] * (len(shape) - kept)), *shape[len(shape) - kept :]]
    return (_small(args[0], small), *args[1:]), lambda result: _enlarged(result, small, shape)


def _attention(args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Reduction | None:
    """Neither batch and heads matter, nor how long the sequences are: only which of them are equally long."""
    if len(args) != 3 or not all(isinstance(value, torch.Tensor) and value.dim() == 4 for value in args):
        return None
    if not all(map(_plain, keywords.values())) or any(value.layout != torch.strided for value in args):
        return None
    query, key, value = args
    batch, heads, length, _ = query.shape
    source = key.shape[2]
    if any(other.shape[:2] != (batch, heads) for other in (key, value)) or value.shape[2] != source:
        return None
    if any(0 in other.shape for other in args):
        return None
    lead, lengths = [min(batch, 2), min(heads, 3)], [4, 4 if source == length else 5]
    places = zip(args, (lengths[0], lengths[1], lengths[1]), strict=True)
    smaller = tuple(_ordered(other, [*lead, size, other.shape[3]]) for other, size in places)
    last = value.shape[3]
    return smaller, lambda result: _enlarged(result, [*lead, lengths[0], last], [batch, heads, length, last])


def _joined(args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Reduction | None:
    """Of tensors that are joined, the sizes that all of them have do not matter."""
    dim = args[1] if len(args) == 2 else keywords.get("dim", 0)
    if not args or not isinstance(args[0], list | tuple) or not args[0] or type(dim) is not int or len(keywords) > 1:
        return None
    parts = args[0]
    if not all(map(_regular, parts)) or len({part.dim() for part in parts}) > 1:
        return None
    dims = parts[0].dim()
    place = dim + dims if dim < 0 else dim
    if not 0 <= place < dims or any(0 in part.shape for part in parts):
        return None
    if len({(*part.shape[:place], *part.shape[place + 1 :]) for part in parts}) > 1:
        return None
    total = sum(part.shape[place] for part in parts)

    def sizes(shape: Sequence[int], at: int, most: int) -> list[int]:
        return [at if index == place else min(size, most) for index, size in enumerate(shape)]

    smaller = type(parts)(_small(part, sizes(part.shape, part.shape[place], 2)) for part in parts)
    small, shape = sizes(parts[0].shape, total, 2), list(parts[0].shape)
    shape[place] = total
    return (smaller, *args[1:]), lambda result: _enlarged(result, small, shape)


_RULES: dict[str, Callable[[tuple[Any, ...], Mapping[str, Any]], Reduction | None]] = {
    **dict.fromkeys(_POINTWISE, _pointwise),
    "linear": _linear,
    "addmm": _addmm,
    "embedding": _embedding,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "scaled_dot_product_attention": _attention,
    "cat": _joined,
}


# --- tensors --------------------------------------------------------------------------------------------------------


def _regular(value: object) -> bool:
    """Whether a value is an ordinary tensor in the usual order of memory."""
    kind = type(value)
    if kind is not torch.Tensor and kind is not nn.Parameter:
        return False
    assert isinstance(value, torch.Tensor)
    return value.is_meta and value.layout == torch.strided and value.is_contiguous()


def _plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str | torch.dtype)


def _broadcast(shapes: Sequence[torch.Size]) -> torch.Size | None:
    """The shape that shapes have together, None where they have none."""
    longest = max(map(len, shapes))
    found = [1] * longest
    for shape in shapes:
        for index, size in enumerate(shape, longest - len(shape)):
            if size != 1 and found[index] not in (1, size):
                return None
            found[index] = size if size != 1 else found[index]
    return torch.Size(found)


def _small(tensor: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    return torch.empty(shape, dtype=tensor.dtype, device="meta")


def _ordered(tensor: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """A tensor of another shape whose dimensions are in the same order in memory."""
    strides = tensor.stride()
    order = sorted(range(len(shape)), key=lambda index: (-strides[index], index))
    made = torch.empty([shape[index] for index in order], dtype=tensor.dtype, device="meta")
    return made.permute([order.index(index) for index in range(len(shape))])


def _enlarged(result: Any, small: Sequence[int], shape: Sequence[int]) -> Any:
    """A tensor of a shape in the place of a small one, which must be what was foreseen."""
    if type(result) is not torch.Tensor or list(result.shape) != list(small) or not _regular(result):
        return None
    return torch.empty(shape, dtype=result.dtype, device="meta")
