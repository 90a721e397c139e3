"""U-Net: padded, with interpolation and odd sizes, and the paper's, whose skips are cropped."""

from __future__ import annotations

from typing import Any

import torch

from tests.references.zoo.unet import DoubleConv, Down, OutConv, UNet, Up
from tests.zoo.harness import Architecture, Config


def _config(variant: str, channels: int, size: tuple[int, int], **options: Any) -> Config:
    """`options` are what the variant says already."""
    return Config(
        args={"width": 2},
        reference=lambda: UNet(n_channels=channels, width=2, **options),
        inputs=lambda: {"x": torch.randn(2, channels, *size)},
        variant=variant,
    )


ARCHITECTURE = Architecture(
    title="U-Net",
    file="unet.yaml",
    reference="twin, names of milesial/Pytorch-UNet",
    python=(DoubleConv, Down, Up, OutConv, UNet),
    configs=(
        _config("carvana_bilinear", 3, (37, 48), bilinear=True),
        _config("ronneberger", 1, (204, 188), padding=False, batch_norm=False),
    ),
)
