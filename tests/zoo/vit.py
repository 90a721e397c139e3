"""ViT against transformers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import ViTConfig, ViTForImageClassification
from transformers.models.vit import modeling_vit as vit

from tests.zoo.harness import Architecture, Config

SMALL: dict[str, Any] = {
    "image_size": 12,
    "patch_size": 4,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "num_labels": 5,
}
FEATURES: dict[str, Any] = SMALL | {
    "image_size": 8,
    "num_channels": 1,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "qkv_bias": False,
    "num_labels": 0,
    "layer_norm_eps": 1e-3,
}


def _reference(options: dict[str, Any], **own: Any) -> ViTForImageClassification:
    return ViTForImageClassification(ViTConfig(**options, **own, attn_implementation="eager"))


def _image(channels: int, size: int) -> dict[str, Tensor]:
    return {"pixel_values": torch.randn(2, channels, size, size)}


ARCHITECTURE = Architecture(
    title="ViT",
    file="vit.yaml",
    reference="transformers ViTForImageClassification",
    python=(
        vit.ViTPatchEmbeddings,
        vit.ViTEmbeddings,
        vit.eager_attention_forward,
        vit.ViTAttention,
        vit.ViTMLP,
        vit.ViTLayer,
        vit.ViTPreTrainedModel,
        vit.ViTModel,
        vit.ViTForImageClassification,
    ),
    configs=(
        Config(SMALL, lambda: _reference(SMALL), lambda: _image(3, 12)),
        Config(
            FEATURES | {"hidden_act": "ReLU"}, lambda: _reference(FEATURES, hidden_act="relu"), lambda: _image(1, 8)
        ),
    ),
    answer=lambda result: result.logits,
)
