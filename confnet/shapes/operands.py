"""What torch refuses of operands only where there are values, so that the meta device lets it pass.

Each rule was measured: the kernels for the meta device know shapes, and often promote dtypes that no CPU kernel takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.nn.parameter import is_lazy

__all__ = ["OperandError", "check_operands", "dtype_name", "tensors_in"]


class OperandError(Exception):
    """Operands that the function will refuse once they have values."""


_ONE_DTYPE = frozenset(
    [
        "linear",
        "matmul",
        "__matmul__",
        "__rmatmul__",
        "mm",
        "bmm",
        "mv",
        "dot",
        "inner",
        "addmm",
        "addmv",
        "addbmm",
        "baddbmm",
        "einsum",
        "bilinear",
        "chain_matmul",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "prelu",
    ]
)
"""Functions whose tensors all have one dtype."""

_NOT_BOOL = frozenset(
    [
        "relu",
        "relu_",
        "threshold",
        "softsign",
        "tanhshrink",
        "abs",
        "floor",
        "round",
        "ceil",
        "argmax",
        "argmin",
        "topk",
        "median",
        "sub",
        "__sub__",
        "__rsub__",
        "sub_",
        "matmul",
        "__matmul__",
        "mm",
        "bmm",
        "mv",
        "dot",
        "addmm",
        "baddbmm",
        "einsum",
        "linear",
        "max_pool1d",
        "max_pool2d",
        "max_pool3d",
    ]
)
_FLOATING = frozenset(
    [
        "gelu",
        "celu",
        "elu",
        "selu",
        "glu",
        "hardshrink",
        "softshrink",
        "hardsigmoid",
        "hardswish",
        "softmax",
        "log_softmax",
        "softmin",
        "mish",
        "silu",
        "softplus",
        "leaky_relu",
        "logsigmoid",
        "rrelu",
        "std",
        "var",
        "adaptive_avg_pool1d",
        "adaptive_avg_pool2d",
        "adaptive_avg_pool3d",
        "adaptive_max_pool1d",
        "adaptive_max_pool2d",
        "adaptive_max_pool3d",
        "fractional_max_pool2d",
        "fractional_max_pool3d",
        "max_pool1d",
        "interpolate",
        "batch_norm",
        "layer_norm",
        "group_norm",
        "instance_norm",
        "rms_norm",
    ]
)
"""Functions of floating-point tensors only."""

_NORMS = frozenset({"batch_norm", "layer_norm", "group_norm"})
_CELLS = frozenset({"gru_cell", "lstm_cell", "rnn_tanh_cell", "rnn_relu_cell"})
_DOUBLE_AND_SINGLE = {torch.float64, torch.float32}


def tensors_in(values: Iterable[Any]) -> list[torch.Tensor]:
    """The tensors of arguments, those in lists and tuples included."""
    found: list[torch.Tensor] = []
    for value in values:
        if isinstance(value, torch.Tensor):
            if not is_lazy(value):  # the weight of a lazy layer
                found.append(value)
        elif isinstance(value, list | tuple):
            found += tensors_in(value)
    return found


def dtype_name(dtype: torch.dtype) -> str:
    """`float32`, as files write it."""
    return str(dtype).removeprefix("torch.")


def check_operands(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Raise OperandError where a kernel with values would refuse what the meta device takes."""
    check = _CHECKS.get(name)
    if check is not None:
        check(name, args, kwargs)


def _operands(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    # A condition is the only operand that may be of another kind, and none of these takes one.
    tensors = tensors_in((*args, *kwargs.values()))
    if not tensors:
        return
    dtypes = list(dict.fromkeys(tensor.dtype for tensor in tensors))
    if name in _ONE_DTYPE and len(dtypes) > 1:
        raise OperandError(
            f"operands of one dtype are needed, not {' and '.join(f'`{dtype_name(d)}`' for d in dtypes)}"
        )
    if name in _NORMS and set(dtypes) >= _DOUBLE_AND_SINGLE:
        raise OperandError("operands of one dtype are needed, not `float64` and `float32`")
    if name in _NOT_BOOL and torch.bool in dtypes:
        raise OperandError("it takes no `bool` tensor")
    first = tensors[0].dtype
    if name in _FLOATING and not (first.is_floating_point or first.is_complex):
        raise OperandError(f"it takes floating-point tensors, not `{dtype_name(first)}`")


def _cell(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    dtypes = list(dict.fromkeys(tensor.dtype for tensor in tensors_in(args)))
    if len(dtypes) > 1:
        raise OperandError(
            f"operands of one dtype are needed, not {' and '.join(f'`{dtype_name(d)}`' for d in dtypes)}"
        )


def _attention(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    if len(args) > 11 and isinstance(args[0], torch.Tensor) and isinstance(args[11], torch.Tensor):
        query, weight = args[0], args[11]
        if query.dtype != weight.dtype:
            raise OperandError(
                f"operands of one dtype are needed, not `{dtype_name(query.dtype)}` and `{dtype_name(weight.dtype)}`"
            )


def _adaptive(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """An adaptive pooling over nothing; on meta it passes."""
    _operands(name, args, kwargs)
    image = next(iter(tensors_in(args[:1])), None)
    if image is not None and 0 in image.shape[1:]:
        raise OperandError("no size but the batch may be 0")


def _spatial(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """A convolution over nothing; on meta it passes where padding is wide enough."""
    _operands(name, args, kwargs)
    image = next(iter(tensors_in(args[:1])), None)
    if image is not None and 0 in image.shape[-int(name[-2]) :]:
        raise OperandError("no size of the space may be 0")


def _unshuffled(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """An image that cannot be divided; on meta an empty one passes."""
    image = next(iter(tensors_in(args[:1])), None)
    factor = args[1] if len(args) > 1 else kwargs.get("downscale_factor")
    if image is not None and type(factor) is int and factor > 0 and any(size % factor for size in image.shape[-2:]):
        raise OperandError(f"height and width are no multiples of {factor}")


def _extremes(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """The largest of nothing; on meta it passes."""
    _operands(name, args, kwargs)
    first = next(iter(tensors_in(args[:1])), None)
    if first is None or len(tensors_in(args)) > 1:
        return
    dim = args[1] if len(args) > 1 else kwargs.get("dim")
    if dim is None and not first.numel():
        raise OperandError("it needs at least one element")
    if type(dim) is int and -first.dim() <= dim < first.dim() and not first.shape[dim]:
        raise OperandError(f"it needs at least one element in dimension {dim}")


def _transposed(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """A transposed convolution of other channels than its weight has; on meta they pass."""
    _spatial(name, args, kwargs)
    tensors = tensors_in(args[:2])
    if len(tensors) < 2:
        return
    image, weight = tensors
    spatial = int(name[-2])
    if image.dim() in (spatial + 1, spatial + 2) and image.shape[-spatial - 1] != weight.shape[0]:
        raise OperandError(f"{weight.shape[0]} channels are needed, not {image.shape[-spatial - 1]}")


_CHECKS: dict[str, Callable[[str, tuple[Any, ...], Mapping[str, Any]], None]] = {
    **dict.fromkeys(_ONE_DTYPE | _NOT_BOOL | _FLOATING, _operands),
    **dict.fromkeys(_CELLS, _cell),
    **{f"conv{n}d": _spatial for n in (1, 2, 3)},
    **dict.fromkeys(("max", "min", "median"), _extremes),
    "interpolate": _adaptive,
    "pixel_unshuffle": _unshuffled,
    **{f"adaptive_{kind}_pool{n}d": _adaptive for kind in ("avg", "max") for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": _transposed for n in (1, 2, 3)},
    "multi_head_attention_forward": _attention,
}
