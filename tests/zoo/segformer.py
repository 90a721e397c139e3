"""SegFormer against transformers: three stages with stochastic depth and odd sizes, and four."""

from __future__ import annotations

from typing import Any

import torch
from transformers import SegformerConfig, SegformerForSemanticSegmentation
from transformers.models.segformer import modeling_segformer as segformer

from tests.zoo.harness import Architecture, Config

SMALL: dict[str, Any] = {
    "depths": [1, 1, 1, 1],
    "hidden_sizes": [4, 8, 12, 16],
    "num_attention_heads": [1, 2, 3, 4],
    "sr_ratios": [4, 2, 2, 1],
    "mlp_ratios": [2, 2, 1, 3],
    "classifier_dropout_prob": 0.0,
    "drop_path_rate": 0.0,
    "decoder_hidden_size": 6,
    "num_labels": 5,
}
THREE: dict[str, Any] = {
    "num_channels": 1,
    "depths": [2, 1, 2],
    "hidden_sizes": [6, 8, 8],
    "num_attention_heads": [2, 4, 1],
    "sr_ratios": [2, 1, 1],
    "patch_sizes": [5, 3, 3],
    "strides": [2, 2, 1],
    "mlp_ratios": [2, 2, 2],
    "classifier_dropout_prob": 0.0,
    "drop_path_rate": 0.4,
    "decoder_hidden_size": 4,
    "num_labels": 3,
}


def _reference(options: dict[str, Any], **own: Any) -> SegformerForSemanticSegmentation:
    return SegformerForSemanticSegmentation(SegformerConfig(**options, **own, attn_implementation="eager"))


ARCHITECTURE = Architecture(
    title="SegFormer",
    file="segformer.yaml",
    reference="transformers SegformerForSemanticSegmentation",
    python=(
        segformer.SegformerOverlapPatchEmbeddings,
        segformer.SegformerSequenceReduction,
        segformer.eager_attention_forward,
        segformer.SegformerAttention,
        segformer.SegformerDepthWiseConv,
        segformer.SegformerMixMLP,
        segformer.SegformerDropPath,
        segformer.SegformerLayer,
        segformer.SegformerStage,
        segformer.SegformerPreTrainedModel,
        segformer.SegformerModel,
        segformer.SegformerMLP,
        segformer.SegformerDecodeHead,
        segformer.SegformerForSemanticSegmentation,
    ),
    configs=(
        Config(
            THREE | {"hidden_act": "SiLU"},
            lambda: _reference(THREE, num_encoder_blocks=3, hidden_act="silu"),
            lambda: {"pixel_values": torch.randn(4, 1, 21, 18)},
        ),
        Config(SMALL, lambda: _reference(SMALL), lambda: {"pixel_values": torch.randn(2, 3, 32, 48)}),
    ),
    answer=lambda result: result.logits,
)
