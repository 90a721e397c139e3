"""One trial of a sweep: build a variant of `net.yaml`, train it for a moment, and say how large and how good it is.

The scripts beside this one drive the same forty trials: `plain.py`, `hydra_app.py` and `optuna_study.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import confnet

FILE = Path(__file__).with_name("net.yaml")

GRID: dict[str, list[Any]] = {"depth": [1, 2, 3, 4, 5], "width": [8, 10, 12, 16], "activation": ["ReLU", "PReLU"]}
"""What is tried of each arg: forty variants, of forty different sizes."""


@dataclass(frozen=True)
class Result:
    """A variant by its args, how many parameters it has, and its loss after training."""

    args: dict[str, Any]
    parameters: int
    loss: float


def data(features: int = 16, classes: int = 4, count: int = 256) -> tuple[Tensor, Tensor]:
    """Points, and which of some fixed directions each leans to most: the same in every trial."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, features, generator=generator)
    return x, (x @ torch.randn(features, classes, generator=generator)).argmax(dim=1)


def run(args: Mapping[str, Any], *, seed: int = 0, steps: int = 20, file: Path = FILE) -> Result:
    """Train the variant of `file` that `args` choose. Raises ConfnetError where the file does not allow them."""
    model = confnet.build(file, args=args, seed=seed)
    x, y = data()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        loss = float(F.cross_entropy(model(x), y))
    return Result(dict(args), sum(parameter.numel() for parameter in model.parameters()), loss)
