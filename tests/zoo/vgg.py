"""VGG against torchvision's names: VGG-11 with batch norm, and the depths of VGG-13 without."""

from __future__ import annotations

from typing import Any

import torch

from tests.references.zoo.vgg import VGG
from tests.zoo.harness import Architecture, Config

SMALL: dict[str, Any] = {"widths": [2, 3, 4, 5, 6], "hidden": 8, "num_classes": 5}


def _config(variant: str, depths: tuple[int, ...], batch_norm: bool, dropout: float) -> Config:
    return Config(
        args=SMALL | {"dropout": dropout},
        reference=lambda: VGG(depths, batch_norm=batch_norm, dropout=dropout, **SMALL),
        inputs=lambda: {"x": torch.randn(2, 3, 64, 48)},
        variant=variant,
    )


ARCHITECTURE = Architecture(
    title="VGG",
    file="vgg.yaml",
    reference="twin, names of torchvision",
    python=(VGG,),
    configs=(
        _config("vgg11_bn", (1, 1, 2, 2, 2), batch_norm=True, dropout=0.0),
        _config("vgg13", (2, 2, 2, 2, 2), batch_norm=False, dropout=0.5),
    ),
)
