"""RegNet against transformers: Y layers, and X layers with another activation."""

from __future__ import annotations

from typing import Any

import torch
from transformers import RegNetConfig
from transformers.models.regnet import modeling_regnet as original

from tests.zoo.harness import Architecture, Config


def _config(variant: str, hidden_act: str, **options: Any) -> Config:
    """`hidden_act` is our module; transformers has its name in lower case."""
    return Config(
        args=options | {"hidden_act": hidden_act},
        reference=lambda: original.RegNetForImageClassification(RegNetConfig(**options, hidden_act=hidden_act.lower())),
        inputs=lambda: {"pixel_values": torch.randn(2, 3, 32, 24)},
        variant=variant,
    )


ARCHITECTURE = Architecture(
    title="RegNet",
    file="regnet.yaml",
    reference="transformers RegNetForImageClassification",
    python=(
        original.RegNetConvLayer,
        original.RegNetEmbeddings,
        original.RegNetShortCut,
        original.RegNetSELayer,
        original.RegNetXLayer,
        original.RegNetYLayer,
        original.RegNetStage,
        original.RegNetEncoder,
        original.RegNetPreTrainedModel,
        original.RegNetModel,
        original.RegNetForImageClassification,
    ),
    configs=(
        _config(
            "regnet-y-040",
            "ReLU",
            embedding_size=4,
            hidden_sizes=[8, 12, 16],
            depths=[1, 2, 1],
            groups_width=4,
            num_labels=5,
        ),
        _config(
            "regnet-x-002",
            "GELU",
            embedding_size=6,
            hidden_sizes=[6, 9],
            depths=[2, 1],
            groups_width=3,
            num_labels=3,
            layer_type="x",
            downsample_in_first_stage=False,
        ),
    ),
    answer=lambda result: result.logits,
)
