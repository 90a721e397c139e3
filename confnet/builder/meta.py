"""What cannot be done on the meta device, where tensors have no values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

__all__ = ["Recipes", "buffers_without_values", "compute_again", "on_cpu", "on_meta", "only_on_meta"]

_RECIPES = "_confnet_recipes"


def on_meta() -> bool:
    """Whether new tensors have no values here."""
    return torch.get_default_device().type == "meta"


def only_on_meta(error: BaseException) -> bool:
    """Whether an error says no more than that values are needed where there are none."""
    return on_meta() and (isinstance(error, NotImplementedError) or "meta" in str(error).lower())


@contextmanager
def on_cpu() -> Iterator[None]:
    """Compute real values for a while, with random numbers that nobody misses afterwards."""
    with torch.device("cpu"), torch.random.fork_rng(devices=[]):
        yield


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
