"""Initialisers of a file on tensors, and what torch refuses as diagnostics."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from confnet.builder.initializers import Constant, FromGlobal, Initializer, Normal, Uniform, named
from confnet.builder.meta import only_on_meta
from confnet.builder.pending import Later
from confnet.catalog.registry import DEFAULT_REGISTRY
from confnet.diagnostics import ConfnetError, Diagnostic, Note, Span
from confnet.plan import CallPlan, InitPlan

__all__ = ["arguments_of", "convert", "error_at", "initialise_tensor", "is_taken", "later", "refused"]


def initialise_tensor(
    tensor: torch.Tensor,
    plan: InitPlan,
    chain: tuple[Note, ...],
    value: Callable[[object], Any],
    compute: Callable[[], object],
) -> None:
    """Fill a tensor as an initialiser of the file says. Raises ConfnetError where it cannot be filled so."""
    with torch.no_grad():
        if plan.code is not None:
            computed = compute()
            try:
                tensor.copy_(torch.as_tensor(computed).expand(tensor.shape))
            except (RuntimeError, TypeError, ValueError) as error:
                raise refused("the value does not fit the parameter", error, plan.span, chain) from error
            return
        registered = DEFAULT_REGISTRY.initializers.get(plan.name)
        function = registered.call if registered is not None else getattr(nn.init, plan.name)
        positional, keywords = arguments_of(plan, value)
        try:
            function(tensor, *positional, **keywords)
        except Exception as error:
            if registered is None or not only_on_meta(error):
                raise refused(f"`{plan.name}` cannot be used here", error, plan.span, chain) from error


def is_taken(tensor: torch.Tensor, plan: InitPlan, value: Callable[[object], Any]) -> bool:
    """Whether it is plain that torch fills a tensor so: with finite numbers in their order, of a usual dtype.

    On meta, torch goes through hundreds of Python calls to say the same. What is not plain, torch is to be asked.
    """
    if plan.code is not None or plan.name in DEFAULT_REGISTRY.initializers or tensor.dtype not in _USUAL:
        return False
    numbers: tuple[Any, ...]
    ordered: tuple[Any, ...]
    match named(plan.name, *arguments_of(plan, value), tensor.shape):
        case Constant(number):
            numbers = ordered = (number,)
        case Normal(mean, std):
            numbers, ordered = (mean, std), (0, std)
        case Uniform(low, high):
            numbers = ordered = (low, high)
        case _:
            return False
    most = torch.finfo(tensor.dtype).max
    if not all(type(number) in _NUMBERS and abs(number) <= most for number in numbers):
        return False
    return 0 <= ordered[-1] - ordered[0] <= most


_NUMBERS = (int, float)
_USUAL = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})


def later(
    dtype: torch.dtype,
    plan: InitPlan | None,
    chain: tuple[Note, ...],
    value: Callable[[object], Any],
    compute: Callable[[torch.Tensor], object],
) -> Later:
    """What an initialiser of the file (None: zeros) does once its tensor has memory."""
    if plan is None:
        return Later(lambda tensor: Constant(0.0), lambda error: error, dtype)

    def make(tensor: torch.Tensor) -> Initializer:
        if plan.code is not None:
            return FromGlobal(lambda drawn: initialise_tensor(drawn, plan, chain, value, lambda: compute(drawn)))
        positional, keywords = arguments_of(plan, value)
        registered = DEFAULT_REGISTRY.initializers.get(plan.name)
        if registered is not None:
            return FromGlobal(registered.call, positional, keywords)
        return named(plan.name, positional, keywords, tensor.shape)

    def failed(error: Exception) -> Exception:
        if isinstance(error, ConfnetError):
            return error
        return refused(f"`{plan.name}` cannot be used here", error, plan.span, chain)

    return Later(make, failed, dtype)


def arguments_of(call: CallPlan | InitPlan, value: Callable[[object], Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call of the file as torch takes them."""
    return [value(item) for item in call.positional], {key: value(item) for key, item in call.keywords.items()}


def refused(what: str, error: Exception, span: Span, chain: tuple[Note, ...]) -> ConfnetError:
    """A refusal by torch as a diagnostic at its place in the file."""
    text = " ".join(str(error).split()).rstrip(".")
    if len(text) > 300:
        text = text[:297] + "..."
    return error_at("refused-by-torch", f"{what}: {text}" if text else what, span, chain)


def error_at(code: str, message: str, span: Span, chain: tuple[Note, ...], help: str = "") -> ConfnetError:
    return ConfnetError([Diagnostic(code, message, span=span, notes=chain, help=help)])


def convert(modules: Iterable[nn.Module], dtype: torch.dtype) -> None:
    """Convert the floating-point parameters and buffers that modules hold themselves; to a complex dtype, complex
    ones too."""

    def converted(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() or (tensor.is_complex() and dtype.is_complex) else tensor

    for module in modules:
        module._apply(converted, recurse=False)
