"""What cannot be done on the meta device, where tensors have no values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

__all__ = ["Recipes", "buffers_without_values", "compute_again", "on_cpu", "on_meta", "only_on_meta"]

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
    """How to compute the non-persistent buffers of a module that was built on meta: no checkpoint holds their values.

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
    """The names of the buffers that are on meta and can be computed elsewhere."""
    recipes = module.__dict__.get(_RECIPES)
    names = recipes.recipes if isinstance(recipes, Recipes) else ()
    return tuple(name for name in names if (buffer := module._buffers.get(name)) is not None and buffer.is_meta)


def compute_again(module: nn.Module, names: Iterable[str]) -> None:
    """Give buffers the values of the file, where they have left meta."""
    for name in names:
        buffer = module._buffers[name]
        if buffer is not None and not buffer.is_meta:
            with torch.device(buffer.device):
                module._buffers[name] = Recipes.of(module).recipes[name](module).to(buffer.device, buffer.dtype)
