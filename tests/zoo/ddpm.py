"""The U-Net of denoising diffusion."""

from __future__ import annotations

from typing import Any

import torch

from tests.references.zoo import ddpm
from tests.zoo.harness import Architecture, Config

_PAPER: dict[str, Any] = {
    "ch": 4,
    "ch_mult": [1, 2],
    "num_res_blocks": 1,
    "attn_resolutions": [4],
    "dropout": 0.0,
    "resolution": 8,
    "num_groups": 2,
}
_POOLED: dict[str, Any] = {
    "ch": 6,
    "ch_mult": [1, 1, 2],
    "num_res_blocks": 2,
    "attn_resolutions": [8, 2],
    "dropout": 0.0,
    "resamp_with_conv": False,
    "resolution": 8,
    "num_groups": 3,
    "in_channels": 2,
    "out_ch": 4,
}


def _noisy(channels: int) -> dict[str, Any]:
    return {"x": torch.randn(2, channels, 8, 8), "t": torch.tensor([3, 700])}


ARCHITECTURE = Architecture(
    title="Diffusion U-Net (DDPM)",
    file="ddpm.yaml",
    reference="twin, names of the DDIM repository",
    python=(
        ddpm.time_embedding,
        ddpm.conv1x1,
        ddpm.conv3x3,
        ddpm.ResnetBlock,
        ddpm.AttnBlock,
        ddpm.Downsample,
        ddpm.Upsample,
        ddpm.Level,
        ddpm.Middle,
        ddpm.UNet,
    ),
    configs=(
        Config(args=_PAPER, reference=lambda: ddpm.UNet(**_PAPER), inputs=lambda: _noisy(3)),
        Config(args=_POOLED, reference=lambda: ddpm.UNet(**_POOLED), inputs=lambda: _noisy(2)),
    ),
)
