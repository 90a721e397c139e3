"""What cannot be done on the meta device, where tensors have no values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

__all__ = [
    "Recipes",
    "buffers_without_values",
    "compute_again",
    "on_cpu",
    "on_meta",
    "only_on_meta",
    "read_parametrized",
    "some_values",
]

_RECIPES = "_confnet_recipes"
MAX_COMPUTED = 10_000_000


def on_meta() -> bool:
    """Whether new tensors have no values here."""
    return torch.get_default_device().type == "meta"


def only_on_meta(error: BaseException) -> bool:
    """Whether an error says no more than that values are needed where there are none."""
    return on_meta() and (isinstance(error, NotImplementedError) or "meta" in str(error).lower())


@contextmanager
def on_cpu() -> Iterator[None]:
    """Compute real values for a while, with random numbers that nobody misses afterwards; RuntimeError where they are
    too large for that."""
    with torch.device("cpu"), torch.random.fork_rng(devices=[]), _Small():
        yield


class _Small(TorchDispatchMode):
    """Asks of every operation how large its result is, before it is computed."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        twins, named_twins = tree_map_only(torch.Tensor, lambda tensor: tensor.to("meta"), (args, named))
        if "device" in named_twins:
            named_twins["device"] = torch.device("meta")
        made: list[Any] = []
        with suppress(Exception):  # what cannot be asked is no larger than what is there already
            made = tree_leaves(func(*twins, **named_twins))
        size = sum(tensor.numel() for tensor in made if isinstance(tensor, torch.Tensor))
        if size > MAX_COMPUTED:
            raise RuntimeError(f"{size:,} elements are too many to be computed while a file is checked")
        return func(*args, **named)


class Recipes:
    """How to compute the buffers of a module that was built on meta, in the order of the file.

    No checkpoint holds the values of the non-persistent ones, which may be computed from those before them.

    A copy has the same recipes; a pickle is without them, as it holds data only.
    """

    def __init__(self) -> None:
        self.recipes: dict[str, Callable[[nn.Module], torch.Tensor]] = {}

    @classmethod
    def of(cls, module: nn.Module) -> Recipes:
        """The recipes of a module, none at first."""
        found: Recipes = module.__dict__.setdefault(_RECIPES, cls())
        return found

    def __deepcopy__(self, memo: dict[int, Any]) -> Recipes:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Recipes, ()


def buffers_without_values(module: nn.Module) -> tuple[str, ...]:
    """The names of the non-persistent buffers that are on meta and can be computed elsewhere."""
    recipes = module.__dict__.get(_RECIPES)
    made = recipes.recipes if isinstance(recipes, Recipes) else ()
    names = [name for name in made if name in module._non_persistent_buffers_set]
    return tuple(name for name in names if (buffer := module._buffers.get(name)) is not None and buffer.is_meta)


def compute_again(module: nn.Module, names: Iterable[str]) -> None:
    """Give buffers the values of the file, where they have left meta.

    Meanwhile the others have their values of the file too, as when the module was built: what `to_empty` left in them,
    or a checkpoint put there, is no part of what is computed.
    """
    wanted, kept = set(names), dict(module._buffers)
    if not wanted:
        return
    for name, recipe in Recipes.of(module).recipes.items():
        buffer = module._buffers.get(name)
        if buffer is not None and not buffer.is_meta:
            with torch.device(buffer.device):
                module._buffers[name] = recipe(module).to(buffer.device, buffer.dtype)
    module._buffers.update({name: buffer for name, buffer in kept.items() if name not in wanted})


def read_parametrized(module: nn.Module, name: str) -> None:
    """Compute a parametrized tensor once, without moving what its parametrizations keep."""
    inner: Any = module.parametrizations[name]  # type: ignore[index]
    mode = inner.training
    try:
        inner.eval()
        with torch.no_grad():
            getattr(module, name)
    finally:
        inner.train(mode)


def some_values(tensor: torch.Tensor) -> torch.Tensor:
    """Values of the shape of a tensor without values; orthonormal, as a parametrization may ask for that."""
    if tensor.dim() < 2:
        return torch.ones(tensor.shape, dtype=tensor.dtype, device="cpu")
    return torch.eye(*tensor.shape[-2:], dtype=tensor.dtype, device="cpu").expand(tensor.shape).clone()
