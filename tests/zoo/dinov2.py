"""DINOv2 against transformers: masked patches, interpolated positions, SwiGLU and stochastic depth."""

from __future__ import annotations

from typing import Any

import torch
from transformers import Dinov2Config, Dinov2ForImageClassification
from transformers.models.dinov2 import modeling_dinov2 as dinov2

from tests.zoo.harness import Architecture, Config

SMALL: dict[str, Any] = {
    "image_size": 12,
    "patch_size": 4,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "mlp_ratio": 2,
    "num_labels": 5,
}
SWIGLU: dict[str, Any] = SMALL | {
    "num_channels": 1,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "use_swiglu_ffn": True,
    "qkv_bias": False,
    "layerscale_value": 0.5,
    "drop_path_rate": 0.3,
    "num_labels": 0,
}


def _reference(options: dict[str, Any]) -> Dinov2ForImageClassification:
    return Dinov2ForImageClassification(Dinov2Config(**options, attn_implementation="eager"))


ARCHITECTURE = Architecture(
    title="DINOv2",
    file="dinov2.yaml",
    reference="transformers Dinov2ForImageClassification",
    python=(
        dinov2.Dinov2PatchEmbeddings,
        dinov2.Dinov2Embeddings,
        dinov2.eager_attention_forward,
        dinov2.Dinov2Attention,
        dinov2.Dinov2LayerScale,
        dinov2.Dinov2MLP,
        dinov2.Dinov2SwiGLUFFN,
        dinov2.Dinov2DropPath,
        dinov2.Dinov2Layer,
        dinov2.Dinov2PreTrainedModel,
        dinov2.Dinov2Encoder,
        dinov2.Dinov2Model,
        dinov2.Dinov2ForImageClassification,
    ),
    configs=(
        Config(
            SMALL,
            lambda: _reference(SMALL),
            lambda: {"pixel_values": torch.randn(2, 3, 12, 12), "bool_masked_pos": torch.rand(2, 9) < 0.4},
        ),
        Config(SWIGLU, lambda: _reference(SWIGLU), lambda: {"pixel_values": torch.randn(4, 1, 8, 20)}),
    ),
    answer=lambda result: result.logits,
)
