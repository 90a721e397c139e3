"""EfficientNet against transformers: few stages with the other options, and all of them at a small width."""

from __future__ import annotations

from typing import Any

import torch
from transformers import EfficientNetConfig
from transformers.models.efficientnet import modeling_efficientnet as original

from tests.zoo.harness import Architecture, Config


def _config(variant: str, hidden_dim: int, hidden_act: str, **options: Any) -> Config:
    """`hidden_dim` is the width of the last convolution, which ours computes; `hidden_act` is our module."""
    return Config(
        args=options | {"hidden_act": hidden_act},
        reference=lambda: original.EfficientNetForImageClassification(
            EfficientNetConfig(**options, hidden_dim=hidden_dim, hidden_act=hidden_act.lower())
        ),
        inputs=lambda: {"pixel_values": torch.randn(2, 3, 48, 40)},
        variant=variant,
    )


ARCHITECTURE = Architecture(
    title="EfficientNet",
    file="efficientnet.yaml",
    reference="transformers EfficientNetForImageClassification",
    python=(
        original.round_filters,
        original.correct_pad,
        original.EfficientNetEmbeddings,
        original.EfficientNetDepthwiseConv2d,
        original.EfficientNetExpansionLayer,
        original.EfficientNetDepthwiseLayer,
        original.EfficientNetSqueezeExciteLayer,
        original.EfficientNetFinalBlockLayer,
        original.EfficientNetBlock,
        original.EfficientNetEncoder,
        original.EfficientNetPreTrainedModel,
        original.EfficientNetModel,
        original.EfficientNetForImageClassification,
    ),
    configs=(
        _config(
            "b0",
            hidden_dim=64,
            hidden_act="ReLU",
            width_coefficient=0.05,
            depth_coefficient=1.1,
            depth_divisor=2,
            in_channels=[32, 80],
            out_channels=[80, 112],
            kernel_sizes=[5, 3],
            strides=[2, 1],
            num_block_repeats=[1, 2],
            expand_ratios=[1, 3],
            squeeze_expansion_ratio=0.5,
            pooling_type="max",
            batch_norm_momentum=0.3,
            drop_connect_rate=0.4,
            dropout_rate=0.3,
            num_labels=3,
        ),
        _config(
            "b1",
            hidden_dim=128,
            hidden_act="SiLU",
            width_coefficient=0.1,
            depth_coefficient=0.4,
            depth_divisor=2,
            depthwise_padding=[1],
            dropout_rate=0.0,
            drop_connect_rate=0.0,
            num_labels=5,
        ),
    ),
    answer=lambda result: result.logits,
)
