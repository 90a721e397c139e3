"""The functions of torch.nn.utils.parametrizations that a file may name, as data."""

from __future__ import annotations

from confnet.catalog.arguments import Callee
from confnet.catalog.constraints import rules_of
from confnet.catalog.layers import arguments_of, shipped

__all__ = ["parametrization", "parametrization_names"]

_WITHHELD = {
    "module": "it is the layer that `parametrize` stands beside",
    "name": "it is the key under `parametrize`",
}


def parametrization(name: str) -> Callee | None:
    """The parametrization called `name`, or None; positions count from the argument after `module` and `name`."""
    row = shipped()["parametrizations"].get(name)
    if row is None:
        return None
    return Callee(name, arguments_of(name, row["arguments"]), rules=rules_of(name), withheld=_WITHHELD)


def parametrization_names() -> tuple[str, ...]:
    """Every parametrization that a file may name."""
    return tuple(shipped()["parametrizations"])
