"""DenseNet against torchvision's names: an odd growth rate, and two blocks only with dropout."""

from __future__ import annotations

from typing import Any

import torch

from tests.references.zoo.densenet import DenseNet, _DenseBlock, _DenseLayer, _Transition
from tests.zoo.harness import Architecture, Config


def _config(variant: str, **options: Any) -> Config:
    return Config(
        args=options,
        reference=lambda: DenseNet(**options),
        inputs=lambda: {"x": torch.randn(2, 3, 40, 48)},
        variant=variant,
    )


ARCHITECTURE = Architecture(
    title="DenseNet",
    file="densenet.yaml",
    reference="twin, names of torchvision",
    python=(_DenseLayer, _DenseBlock, _Transition, DenseNet),
    configs=(
        _config("densenet121", growth_rate=3, block_config=(2, 3, 1), num_init_features=5, bn_size=2, num_classes=5),
        _config("densenet161", growth_rate=4, block_config=(2, 2), num_init_features=6, num_classes=3, drop_rate=0.3),
    ),
)
