"""Initialisers as data: what fills a tensor, apart from the random stream that it draws from.

`torch.nn.init` computes bounds from a shape and draws from torch's global generator unless it is given another. Here
the bounds are computed first, so that the elements of a large tensor can be drawn piece by piece, each piece from a
stream of its own; and `sparse_`, whose permutations know no generator in torch, gets one.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, cast

import torch
from torch import nn

__all__ = [
    "BLOCK",
    "Call",
    "Constant",
    "FromGlobal",
    "Initializer",
    "Normal",
    "TruncNormal",
    "Uniform",
    "kaiming_uniform",
    "named",
    "xavier_normal",
    "xavier_uniform",
]

# torch compares and selects tensors below this size on the thread that asks, so no thread waits for a pool of others;
# and a block stays in a core's cache through the passes of a rejection.
BLOCK = 32_768


class Initializer(ABC):
    """Fills a tensor in place: `initializer(tensor, generator)`.

    The generator is on the tensor's device; None is torch's global one. Gradients are not recorded.
    """

    __slots__ = ()

    elementwise: ClassVar[bool] = False
    """Whether every element is drawn alone from one distribution, so that pieces may be filled one by one."""

    draws: ClassVar[bool] = True
    """Whether it draws at all."""

    def __call__(self, tensor: torch.Tensor, generator: torch.Generator | None = None) -> None:
        with torch.no_grad():
            self.fill(tensor, generator)
            self.finish(tensor)

    @abstractmethod
    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> None:
        """Draw the tensor, or one piece of it where `elementwise`."""

    def finish(self, tensor: torch.Tensor) -> None:
        """What is left to do on the whole tensor once all of its pieces are drawn."""
        return


@dataclass(frozen=True, slots=True)
class Constant(Initializer):
    """One value everywhere: `constant_`, `ones_`, `zeros_`."""

    value: float
    draws: ClassVar[bool] = False

    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> None:
        tensor.fill_(self.value)


@dataclass(frozen=True, slots=True)
class Uniform(Initializer):
    """U(low, high): `uniform_`, and what `xavier_uniform_` and `kaiming_uniform_` come to for one shape."""

    low: float
    high: float
    elementwise: ClassVar[bool] = True

    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> None:
        tensor.uniform_(self.low, self.high, generator=generator)


@dataclass(frozen=True, slots=True)
class Normal(Initializer):
    """N(mean, std^2); the row `zero_row` of the first dimension is zero, as an embedding's padding is."""

    mean: float = 0.0
    std: float = 1.0
    zero_row: int | None = None
    elementwise: ClassVar[bool] = True

    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> None:
        tensor.normal_(self.mean, self.std, generator=generator)

    def finish(self, tensor: torch.Tensor) -> None:
        if self.zero_row is not None:
            tensor[self.zero_row].fill_(0)


@dataclass(frozen=True, slots=True)
class TruncNormal(Initializer):
    """N(mean, std^2) within [a, b]: `trunc_normal_`, block by block, because it repeats passes over all it is given."""

    mean: float = 0.0
    std: float = 1.0
    a: float = -2.0
    b: float = 2.0
    elementwise: ClassVar[bool] = True

    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> None:
        blocks = tensor.view(-1).split(BLOCK) if tensor.is_contiguous() and not tensor.is_cuda else (tensor,)
        for block in blocks:
            nn.init.trunc_normal_(block, self.mean, self.std, self.a, self.b, generator=generator)


@dataclass(frozen=True, slots=True)
class Call(Initializer):
    """A function of `torch.nn.init` on the whole tensor, with torch's own errors."""

    name: str
    positional: Sequence[Any] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)

    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> None:
        if self.name == "sparse_" and generator is not None:
            _sparse(tensor, generator, *self.positional, **self.keywords)
            return
        seeded = {"generator": generator} if "generator" in _signature(self.name).parameters else {}
        getattr(nn.init, self.name)(tensor, *self.positional, **self.keywords, **seeded)


@dataclass(frozen=True, slots=True)
class FromGlobal(Initializer):
    """A function that draws from torch's global generator or from nothing: one that a caller registered.

    `run_all` gives the global generator the state of the stream while the function runs, on the calling thread alone.
    Called by itself it draws from the global generator, whatever generator it is given.
    """

    function: Callable[..., object]
    positional: Sequence[Any] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)

    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> None:
        self.function(tensor, *self.positional, **self.keywords)


def named(name: str, positional: Sequence[Any], keywords: Mapping[str, Any], shape: Sequence[int]) -> Initializer:
    """The function `name` of `torch.nn.init` for a tensor of a shape, its arguments those after the tensor.

    What torch refuses (a shape of one dimension for `kaiming_normal_`, an unknown argument, ...) raises torch's error
    when the initialiser is called.
    """
    made = _RESOLVED.get(name)
    if made is not None:
        try:
            arguments = _signature(name).bind(None, *positional, **keywords)
            arguments.apply_defaults()
            given = dict(list(arguments.arguments.items())[1:])
            given.pop("generator", None)
            return made(shape, **given)
        except (ArithmeticError, AttributeError, TypeError, ValueError):
            pass  # torch's function says what is wrong
    return Call(name, tuple(positional), dict(keywords))


def xavier_uniform(shape: Sequence[int], gain: float = 1.0) -> Uniform:
    """U(-a, a), a = gain * sqrt(6 / (fan_in + fan_out)), in torch's order of operations.

    https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.xavier_uniform_
    """
    bound = math.sqrt(3.0) * _xavier_std(shape, gain)
    return Uniform(-bound, bound)


def xavier_normal(shape: Sequence[int], gain: float = 1.0) -> Normal:
    """N(0, std^2), std = gain * sqrt(2 / (fan_in + fan_out)).

    https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.xavier_normal_
    """
    return Normal(0.0, _xavier_std(shape, gain))


def kaiming_uniform(fan: int, a: float = 0.0, nonlinearity: str = "leaky_relu") -> Uniform:
    """U(-bound, bound), bound = gain * sqrt(3 / fan), in torch's order of operations, so that no bit differs.

    https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.kaiming_uniform_
    """
    bound = math.sqrt(3.0) * _kaiming_std(fan, a, nonlinearity)
    return Uniform(-bound, bound)


def _fans(shape: Sequence[int]) -> tuple[int, int]:
    if len(shape) < 2:
        raise ValueError("no fans in fewer than 2 dimensions")
    field_size = math.prod(shape[2:])
    return shape[1] * field_size, shape[0] * field_size


def _xavier_std(shape: Sequence[int], gain: float) -> float:
    return gain * math.sqrt(2.0 / float(sum(_fans(shape))))


def _kaiming_std(fan: int, a: float, nonlinearity: str) -> float:
    return nn.init.calculate_gain(cast(Any, nonlinearity), a) / math.sqrt(fan)


def _fan(shape: Sequence[int], mode: str) -> int:
    if 0 in shape:
        raise ValueError("torch warns of an empty tensor")
    return _fans(shape)[("fan_in", "fan_out").index(mode.lower())]


def _kaiming_uniform(shape: Sequence[int], a: float, mode: str, nonlinearity: str) -> Uniform:
    return kaiming_uniform(_fan(shape, mode), a, nonlinearity)


def _kaiming_normal(shape: Sequence[int], a: float, mode: str, nonlinearity: str) -> Normal:
    return Normal(0.0, _kaiming_std(_fan(shape, mode), a, nonlinearity))


# By function: the initialiser of a shape and of all arguments, defaults included.
_RESOLVED: Mapping[str, Callable[..., Initializer]] = {
    "constant_": lambda shape, val: Constant(val),
    "kaiming_normal_": _kaiming_normal,
    "kaiming_uniform_": _kaiming_uniform,
    "normal_": lambda shape, mean, std: Normal(mean, std),
    "ones_": lambda shape: Constant(1.0),
    "trunc_normal_": lambda shape, mean, std, a, b: TruncNormal(mean, std, a, b),
    "uniform_": lambda shape, a, b: Uniform(a, b),
    "xavier_normal_": xavier_normal,
    "xavier_uniform_": xavier_uniform,
    "zeros_": lambda shape: Constant(0.0),
}


@cache
def _signature(name: str) -> inspect.Signature:
    return inspect.signature(getattr(nn.init, name))


def _sparse(tensor: torch.Tensor, generator: torch.Generator, sparsity: float, std: float = 0.01) -> None:
    """As `nn.init.sparse_`, whose `randperm` takes no generator."""
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    tensor.normal_(0, std, generator=generator)
    for column in range(columns):
        chosen = torch.randperm(rows, generator=generator, device=tensor.device)[:zeros]
        tensor[chosen, column] = 0
