"""Forty variants of one file, with nothing but Python: `python examples/sweeps/plain.py`."""

from __future__ import annotations

from itertools import product

from rich.console import Console
from trial import GRID, Result, run


def sweep() -> list[Result]:
    """Every combination of the grid, in order."""
    return [run(dict(zip(GRID, values, strict=True))) for values in product(*GRID.values())]


if __name__ == "__main__":
    console = Console()
    for result in sorted(sweep(), key=lambda result: result.loss):
        console.print(f"{result.loss:.4f}  {result.parameters:5,} parameters  {result.args}")
