"""GoogLeNet against torchvision's names: with its further classifiers in training, and without, on shifted inputs."""

from __future__ import annotations

from typing import Any

import torch

from tests.references.zoo.googlenet import TABLE, BasicConv2d, GoogLeNet, Inception, InceptionAux
from tests.zoo.harness import Architecture, Config

SMALL: dict[str, Any] = {
    "num_classes": 5,
    "stem": [4, 4, 6],
    "aux_width": [3, 8],
    "table": [[max(1, width // 32) for width in row] for row in TABLE],
}


def _config(**options: Any) -> Config:
    return Config(
        args=SMALL | options,
        reference=lambda: GoogLeNet(**SMALL, **options),
        inputs=lambda: {"x": torch.randn(2, 3, 64, 48)},
    )


ARCHITECTURE = Architecture(
    title="GoogLeNet",
    file="googlenet.yaml",
    reference="twin, names of torchvision",
    python=(BasicConv2d, Inception, InceptionAux, GoogLeNet),
    configs=(
        _config(dropout=0.0, dropout_aux=0.0),
        _config(aux_logits=False, transform_input=True, dropout=0.5),
    ),
)
