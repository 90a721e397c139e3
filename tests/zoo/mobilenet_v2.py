"""MobileNetV2 against transformers: TensorFlow's padding on odd sizes, and dilation with torch's padding."""

from __future__ import annotations

from typing import Any

import torch
from transformers import MobileNetV2Config
from transformers.models.mobilenet_v2 import modeling_mobilenet_v2 as original

from tests.zoo.harness import Architecture, Config


def _config(variant: str, hidden_act: str, size: tuple[int, int], **options: Any) -> Config:
    """`hidden_act` is our module; transformers has its name in lower case."""
    return Config(
        args=options | {"hidden_act": hidden_act},
        reference=lambda: original.MobileNetV2ForImageClassification(
            MobileNetV2Config(**options, hidden_act=hidden_act.lower())
        ),
        inputs=lambda: {"pixel_values": torch.randn(3, 3, *size)},
        variant=variant,
    )


ARCHITECTURE = Architecture(
    title="MobileNetV2",
    file="mobilenet_v2.yaml",
    reference="transformers MobileNetV2ForImageClassification",
    python=(
        original.make_divisible,
        original.apply_depth_multiplier,
        original.apply_tf_padding,
        original.MobileNetV2ConvLayer,
        original.MobileNetV2InvertedResidual,
        original.MobileNetV2Stem,
        original.MobileNetV2PreTrainedModel,
        original.MobileNetV2Model,
        original.MobileNetV2ForImageClassification,
    ),
    configs=(
        _config(
            "mobilenet_v2_0.35",
            "ReLU6",
            (45, 38),
            depth_multiplier=0.05,
            depth_divisible_by=2,
            min_depth=2,
            expand_ratio=2.4,
            classifier_dropout_prob=0.0,
            num_labels=5,
        ),
        _config(
            "mobilenet_v2_1.0",
            "SiLU",
            (32, 40),
            depth_multiplier=0.1,
            depth_divisible_by=3,
            min_depth=4,
            output_stride=8,
            first_layer_is_expansion=False,
            finegrained_output=False,
            tf_padding=False,
            num_labels=3,
        ),
    ),
    answer=lambda result: result.logits,
)
