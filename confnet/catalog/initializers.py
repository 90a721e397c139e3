"""The functions of torch.nn.init that a file may name, as data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field

from confnet.catalog.arguments import Argument, Rule
from confnet.catalog.constraints import rules_of
from confnet.catalog.layers import arguments_of, shipped
from confnet.records import dataclass

__all__ = ["Initializer", "initializer", "initializer_names"]


@dataclass(frozen=True, slots=True)
class Initializer:
    """A function of torch.nn.init: its arguments after the tensor, and how many dimensions the tensor must have."""

    name: str
    arguments: tuple[Argument, ...]
    min_dimensions: int = 0
    max_dimensions: int | None = None
    summary: str = ""
    variadic: bool = False
    keywords: bool = False
    rules: tuple[Rule, ...] = ()
    withheld: Mapping[str, str] = field(default_factory=dict)

    def takes_shape(self, shape: Iterable[int]) -> bool:
        """Whether torch fills a tensor of that shape, as far as its number of dimensions tells."""
        count = len(tuple(shape))
        return count >= self.min_dimensions and (self.max_dimensions is None or count <= self.max_dimensions)


_WITHHELD = {"generator": "the caller seeds torch before the build; remove it", "tensor": "it is the parameter itself"}


def initializer(name: str) -> Initializer | None:
    """The function of torch.nn.init called `name`, or None."""
    row = shipped()["initializers"].get(name)
    if row is None:
        return None
    low, high = row.get("dimensions", (0, None))
    return Initializer(
        name=name,
        arguments=arguments_of(name, row["arguments"]),
        min_dimensions=low,
        max_dimensions=high,
        summary=row["summary"],
        rules=rules_of(name),
        withheld=_WITHHELD,
    )


def initializer_names() -> tuple[str, ...]:
    """Every function of torch.nn.init that a file may name."""
    return tuple(shipped()["initializers"])
