"""Swin against transformers: shifted windows, padding to whole windows, absolute positions and stochastic depth."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import SwinConfig, SwinForImageClassification
from transformers.models.swin import modeling_swin as swin

from tests.zoo.harness import Architecture, Config

SMALL: dict[str, Any] = {
    "image_size": 12,
    "patch_size": 2,
    "embed_dim": 4,
    "depths": [2, 2],
    "num_heads": [1, 2],
    "window_size": 3,
    "mlp_ratio": 2.0,
    "drop_path_rate": 0.0,
    "num_labels": 5,
}
PADDED: dict[str, Any] = SMALL | {
    "image_size": 16,
    "num_channels": 1,
    "depths": [1, 3],
    "num_heads": [2, 4],
    "window_size": 4,
    "mlp_ratio": 1.5,
    "qkv_bias": False,
    "drop_path_rate": 0.4,
    "use_absolute_embeddings": True,
    "num_labels": 0,
}


class Interpolating(SwinForImageClassification):  # type: ignore[misc]
    """Swin that always fits its absolute positions to the image, which transformers leaves to the caller."""

    def forward(self, pixel_values: Tensor) -> Any:
        return super().forward(pixel_values, interpolate_pos_encoding=True)


def _config(options: dict[str, Any]) -> SwinConfig:
    return SwinConfig(**options, attn_implementation="eager")


ARCHITECTURE = Architecture(
    title="Swin",
    file="swin.yaml",
    reference="transformers SwinForImageClassification",
    python=(
        swin.SwinDropPath,
        swin.SwinEmbeddings,
        swin.SwinPatchEmbeddings,
        swin.SwinPatchMerging,
        swin.SwinRelativePositionBias,
        swin.eager_attention_forward,
        swin.SwinAttention,
        swin.SwinMLP,
        swin.window_partition,
        swin.window_reverse,
        swin.SwinLayer,
        swin.SwinStage,
        swin.SwinPreTrainedModel,
        swin.SwinEncoder,
        swin.SwinModel,
        swin.SwinForImageClassification,
    ),
    configs=(
        Config(
            SMALL,
            lambda: SwinForImageClassification(_config(SMALL)),
            lambda: {"pixel_values": torch.randn(2, 3, 12, 12)},
        ),
        Config(PADDED, lambda: Interpolating(_config(PADDED)), lambda: {"pixel_values": torch.randn(4, 1, 22, 18)}),
    ),
    answer=lambda result: result.logits,
)
