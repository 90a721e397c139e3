"""ConvNeXt against transformers: with layer scale, and with stochastic depth instead."""

from __future__ import annotations

from typing import Any

import torch
from transformers import ConvNextConfig
from transformers.models.convnext import modeling_convnext as original

from tests.zoo.harness import Architecture, Config


def _config(variant: str, hidden_act: str, **options: Any) -> Config:
    """`hidden_act` is our module; transformers has its name in lower case."""
    return Config(
        args=options | {"hidden_act": hidden_act},
        reference=lambda: original.ConvNextForImageClassification(
            ConvNextConfig(**options, num_stages=len(options["depths"]), hidden_act=hidden_act.lower())
        ),
        inputs=lambda: {"pixel_values": torch.randn(4, 3, 32, 24)},
        variant=variant,
    )


ARCHITECTURE = Architecture(
    title="ConvNeXt",
    file="convnext.yaml",
    reference="transformers ConvNextForImageClassification",
    python=(
        original.ConvNextLayerNorm,
        original.ConvNextEmbeddings,
        original.ConvNextDropPath,
        original.ConvNextLayer,
        original.ConvNextStage,
        original.ConvNextPreTrainedModel,
        original.ConvNextEncoder,
        original.ConvNextModel,
        original.ConvNextForImageClassification,
    ),
    configs=(
        _config("convnext-tiny", "GELU", hidden_sizes=[4, 6, 8], depths=[1, 2, 1], num_labels=5),
        _config(
            "convnext-base",
            "ReLU",
            hidden_sizes=[4, 8],
            depths=[2, 2],
            num_labels=3,
            patch_size=2,
            layer_norm_eps=1e-5,
            layer_scale_init_value=0.0,
            drop_path_rate=0.6,
        ),
    ),
    answer=lambda result: result.logits,
)
