"""A built module beside hand-written PyTorch: the same state, results and gradients."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["assert_equal", "assert_same_state", "disturb", "leaves", "run"]


def leaves(value: Any) -> Iterator[Tensor]:
    """The tensors of a result, in order."""
    if isinstance(value, Tensor):
        yield value
    else:
        assert isinstance(value, tuple | list | dict), f"a result of type {type(value)}"
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)


@torch.no_grad()
def disturb(model: nn.Module) -> None:
    """Give every weight and statistic a value of its own, so that no wrong wire hides behind zeros and ones."""
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    for name, buffer in model.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
        elif name.endswith("running_mean"):
            buffer.normal_(0, 0.1)


def run(model: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, dict[str, Tensor | None]]:
    """The result, and the gradients of parameters and inputs for one fixed weighting of it."""
    values = tuple(v.detach().clone().requires_grad_(v.is_floating_point()) for v in inputs)
    result = model(*values)
    generator = torch.Generator().manual_seed(2)
    parts = [
        (leaf * torch.randn(leaf.shape, generator=generator)).sum() for leaf in leaves(result) if leaf.requires_grad
    ]
    assert parts
    model.zero_grad()
    sum(parts, torch.zeros(())).backward()  # type: ignore[no-untyped-call]
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return result, gradients | {f"input {k}": v.grad for k, v in enumerate(values) if v.requires_grad}


def assert_same_state(built: nn.Module, reference: nn.Module) -> None:
    """Equal state dicts and tensors outside of them, bit for bit and in order."""
    state, wanted = built.state_dict(), reference.state_dict()
    assert list(state) == list(wanted)
    for name, tensor in wanted.items():
        assert tensor.dtype == state[name].dtype, name
        assert torch.equal(state[name], tensor), name
    trained = [(name, parameter.requires_grad) for name, parameter in built.named_parameters()]
    assert trained == [(name, parameter.requires_grad) for name, parameter in reference.named_parameters()]
    assert [name for name, _ in built.named_buffers()] == [name for name, _ in reference.named_buffers()]


Ran = tuple[Any, dict[str, Tensor | None]]
"""A result, and gradients by name."""


def assert_same_run(ran: Ran, expected: Ran) -> None:
    """Equal results and gradients, of the same types and under the same names in the same order."""
    close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-5)
    (result, gradients), (wanted, wanted_gradients) = ran, expected
    assert type(result) is type(wanted)
    if isinstance(wanted, dict):
        assert list(result) == list(wanted)
    close(list(leaves(result)), list(leaves(wanted)))
    assert list(gradients) == list(wanted_gradients)
    for name, gradient in wanted_gradients.items():
        assert (gradient is None) == (gradients[name] is None), name
        if gradient is not None:
            close(gradients[name], gradient, msg=partial("gradient of {}: {}".format, name))


def assert_equal(built: nn.Module, reference: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Equal results, gradients, and buffers after the call."""
    assert_same_run(run(built, inputs), run(reference, inputs))
    torch.testing.assert_close(dict(built.named_buffers()), dict(reference.named_buffers()), rtol=1e-5, atol=1e-5)
