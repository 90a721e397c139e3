"""SqueezeNet 1.0 and 1.1 against torchvision's names."""

from __future__ import annotations

import torch

from tests.references.zoo.squeezenet import Fire, SqueezeNet
from tests.zoo.harness import Architecture, Config


def _config(version: str, stem: int, dropout: float) -> Config:
    return Config(
        args={"base_e": 16, "incr_e": 16, "stem": stem, "num_classes": 5, "dropout": dropout},
        reference=lambda: SqueezeNet(version, num_classes=5, dropout=dropout, unit=1),
        inputs=lambda: {"x": torch.randn(2, 3, 64, 48)},
        variant=f"squeezenet{version}",
    )


ARCHITECTURE = Architecture(
    title="SqueezeNet",
    file="squeezenet.yaml",
    reference="twin, names of torchvision",
    python=(Fire, SqueezeNet),
    configs=(_config("1_0", stem=12, dropout=0.0), _config("1_1", stem=8, dropout=0.5)),
)
