"""MLP-Mixer and ResMLP against timm's names."""

from __future__ import annotations

from typing import Any

import torch

from tests.references.zoo.mlp_mixer import Affine, MixerBlock, Mlp, MlpMixer, PatchEmbed, ResBlock
from tests.zoo.harness import Architecture, Config

SMALL: dict[str, Any] = {"num_classes": 5, "img_size": 12, "patch_size": 4, "num_blocks": 2, "embed_dim": 8}
AFFINE: dict[str, Any] = SMALL | {"in_chans": 1, "num_blocks": 3, "num_classes": 0, "init_values": 0.5}

ARCHITECTURE = Architecture(
    title="MLP-Mixer",
    file="mlp_mixer.yaml",
    reference="twin, names of timm",
    python=(Affine, PatchEmbed, Mlp, MixerBlock, ResBlock, MlpMixer),
    configs=(
        Config(SMALL, lambda: MlpMixer(**SMALL), lambda: {"x": torch.randn(2, 3, 12, 12)}, variant="mixer_s16_224"),
        Config(
            AFFINE | {"stem_norm": True, "drop_rate": 0.2},
            lambda: MlpMixer(**AFFINE, block=ResBlock, affine=True, stem_norm=True, drop_rate=0.2),
            lambda: {"x": torch.randn(2, 1, 12, 12)},
            variant="resmlp_12_224",
        ),
    ),
)
