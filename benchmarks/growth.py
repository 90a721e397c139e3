"""How the time of a build grows with the number of modules, from 100 to 100,000.

    python -m benchmarks.growth --repetitions 3

Two shapes: `row`, layers in a row by one `repeat`; `blocks`, a definition of ten modules again and again. Each is built
on meta, read from its text each time, and up to 10,000 by hand beside it. A figure is the time per module; the ratio is
that of the largest model to the smallest within a repetition, in which all run in an order drawn anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.measuring import (
    BASE,
    Row,
    Setting,
    Table,
    Way,
    assert_equal,
    parser_of,
    quartiles,
    show,
    shuffled,
)
from confnet.api import build, loads
from confnet.limits import Limits

__all__ = ["main", "tables"]

BUILT = "confnet"
SIZES = (100, 1_000, 10_000, 100_000)
TINY = (20, 40)
BY_HAND = 10_000
"""By hand no larger: torch's initialisers take long even on meta, and it is confnet's growth that is asked for."""
LIMITS = Limits(modules=200_000)
"""The root and the lists count too, so that 100,000 modules are a few more than the default allows."""

PER_BLOCK = 10


class Block(nn.Module):
    """Ten modules: itself, a list, four layers with their activations."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(width, width) if i % 2 == 0 else nn.ReLU() for i in range(8)))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.layers(x)
        return result


@dataclass(frozen=True)
class Shape:
    """A family of models: the text of one with a number of modules, and the same by hand."""

    name: str
    text: Callable[[int], str]
    hand: Callable[[int], nn.Module]


def row_text(modules: int) -> str:
    return f"confnet: 1\nSequential: [{{repeat: {modules}, module: {{Linear: [8, 8]}}}}]\n"


def blocks_text(modules: int) -> str:
    return f"""\
confnet: 1
modules:
  Block:
    inputs: [x]
    children:
      layers:
        Sequential: [{", ".join(["{Linear: [8, 8]}, ReLU"] * 4)}]
    forward: return x + layers(x)
Sequential: [{{repeat: {modules // PER_BLOCK}, module: Block}}]
"""


SHAPES = (
    Shape("row", row_text, lambda modules: nn.Sequential(*(nn.Linear(8, 8) for _ in range(modules)))),
    Shape("blocks", blocks_text, lambda modules: nn.Sequential(*(Block(8) for _ in range(modules // PER_BLOCK)))),
)


def ways(shape: Shape, sizes: Sequence[int]) -> dict[tuple[str, int], Way]:
    """Every size in both ways. Raises AssertionError where the models of the smallest size differ."""

    def built(text: str) -> Way:
        return lambda: build(loads(text, limits=LIMITS), device="meta", limits=LIMITS)

    def by_hand(modules: int) -> Way:
        def way() -> nn.Module:
            with torch.device("meta"):
                return shape.hand(modules)

        return way

    found: dict[tuple[str, int], Way] = {}
    for size in sizes:
        found[BUILT, size] = built(shape.text(size))
        if size <= BY_HAND:
            found[BASE, size] = by_hand(size)
    model, reference = found[BUILT, sizes[0]](), found[BASE, sizes[0]]()
    assert isinstance(model, nn.Module)
    assert isinstance(reference, nn.Module)
    assert_equal(shape.name, model, reference)
    return found


def measure(shape: Shape, sizes: Sequence[int], setting: Setting) -> dict[tuple[str, int], list[float]]:
    """The times per module."""
    named = {f"{name} {size}": way for (name, size), way in ways(shape, sizes).items()}
    times = shuffled(named, setting, warm_up=False)  # the smallest models were made above
    return {
        (name, size): [value / size for value in times[f"{name} {size}"]]
        for name in (BUILT, BASE)
        for size in sizes
        if f"{name} {size}" in times
    }


def rows(shape: Shape, times: Mapping[tuple[str, int], Sequence[float]], setting: Setting) -> list[Row]:
    """A row for each contender."""
    sizes = list(dict.fromkeys(size for _, size in times))
    found = []
    for name in (BUILT, BASE):
        own = [size for size in sizes if (name, size) in times]
        cells = [f"{1e6 * quartiles(times[name, size])[1]:.1f}" if size in own else "" for size in sizes]
        growth = [b / a for a, b in zip(times[name, own[0]], times[name, own[-1]], strict=True)]
        low, middle, high = quartiles(growth)
        target = setting.target(1.3) if name == BUILT else None
        found.append(Row((shape.name, name, *cells, f"{middle:.3f} [{low:.3f}, {high:.3f}]"), middle, target))
    return found


def tables(setting: Setting) -> list[Table]:
    """The one table."""
    sizes = TINY if setting.tiny else SIZES
    header = ("shape", "way", *(f"{size:,}" for size in sizes), "largest to smallest [quartiles]")
    found = [row for shape in SHAPES for row in rows(shape, measure(shape, sizes, setting), setting)]
    title = "Growth: microseconds per module, built on meta from the file, by the number of modules"
    return [Table(title, header, found)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    show(tables, Setting.of(parser_of(__doc__, repetitions=3).parse_args(arguments)))


if __name__ == "__main__":
    main()
