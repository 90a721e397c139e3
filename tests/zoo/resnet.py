"""ResNet against transformers: bottlenecks, and basic layers with another activation."""

from __future__ import annotations

from typing import Any

import torch
from transformers import ResNetConfig
from transformers.models.resnet import modeling_resnet as original

from tests.zoo.harness import Architecture, Config


def _config(variant: str, hidden_act: str, **options: Any) -> Config:
    """`hidden_act` is our module; transformers has its name in lower case."""
    return Config(
        args=options | {"hidden_act": hidden_act},
        reference=lambda: original.ResNetForImageClassification(ResNetConfig(**options, hidden_act=hidden_act.lower())),
        inputs=lambda: {"pixel_values": torch.randn(2, 3, 32, 24)},
        variant=variant,
    )


ARCHITECTURE = Architecture(
    title="ResNet",
    file="resnet.yaml",
    reference="transformers ResNetForImageClassification",
    python=(
        original.ResNetConvLayer,
        original.ResNetEmbeddings,
        original.ResNetShortCut,
        original.ResNetBasicLayer,
        original.ResNetBottleNeckLayer,
        original.ResNetStage,
        original.ResNetEncoder,
        original.ResNetPreTrainedModel,
        original.ResNetModel,
        original.ResNetForImageClassification,
    ),
    configs=(
        _config("resnet-50", "ReLU", embedding_size=4, hidden_sizes=[8, 12, 16], depths=[1, 2, 1], num_labels=5),
        _config(
            "resnet-18",
            "GELU",
            embedding_size=4,
            hidden_sizes=[4, 6],
            depths=[2, 1],
            num_labels=3,
            layer_type="basic",
            downsample_in_first_stage=True,
        ),
    ),
    answer=lambda result: result.logits,
)
