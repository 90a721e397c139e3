"""DETR against transformers: bottlenecks and sines, then basic blocks, learned positions and padded images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig
from transformers.models.detr import modeling_detr as detr
from transformers.models.resnet import modeling_resnet as resnet

from tests.zoo.harness import Architecture, Config

BACKBONE: dict[str, Any] = {"embedding_size": 4, "hidden_sizes": [8, 12], "depths": [2, 1]}
SMALL: dict[str, Any] = {
    "num_queries": 5,
    "d_model": 16,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 12,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 20,
    "dropout": 0.0,
    "num_labels": 3,
}
BASIC: dict[str, Any] = {"embedding_size": 4, "hidden_sizes": [4, 6], "depths": [2, 1], "num_channels": 1}
LEARNED: dict[str, Any] = SMALL | {
    "num_channels": 1,
    "d_model": 8,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "decoder_attention_heads": 8,
    "dropout": 0.1,
    "activation_dropout": 0.2,
}


def _reference(backbone: dict[str, Any], options: dict[str, Any], **own: Any) -> DetrForObjectDetection:
    resnet_config = ResNetConfig(**backbone, out_indices=[len(backbone["depths"])])
    return DetrForObjectDetection(
        DetrConfig(
            backbone_config=resnet_config, use_timm_backbone=False, **options, **own, attn_implementation="eager"
        )
    )


def _trained() -> DetrForObjectDetection:
    """transformers means to train the stages from the second on, but looks for names that its own ResNet lacks."""
    backbone = BASIC | {"layer_type": "basic"}
    model = _reference(backbone, LEARNED, position_embedding_type="learned", activation_function="gelu")
    for name, parameter in model.model.backbone.named_parameters():
        parameter.requires_grad_(".stages." in name and ".stages.0." not in name)
    return model


def _padded() -> dict[str, Tensor]:
    mask = torch.ones(3, 40, 32, dtype=torch.int64)
    mask[1, 24:] = 0
    mask[2, :, 10:] = 0
    return {"pixel_values": torch.randn(3, 1, 40, 32), "pixel_mask": mask}


ARCHITECTURE = Architecture(
    title="DETR",
    file="detr.yaml",
    reference="transformers DetrForObjectDetection",
    python=(
        resnet.ResNetConvLayer,
        resnet.ResNetEmbeddings,
        resnet.ResNetShortCut,
        resnet.ResNetBasicLayer,
        resnet.ResNetBottleNeckLayer,
        resnet.ResNetStage,
        resnet.ResNetEncoder,
        resnet.ResNetPreTrainedModel,
        resnet.ResNetBackbone,
        detr.DetrFrozenBatchNorm2d,
        detr.replace_batch_norm,
        detr.DetrConvEncoder,
        detr.DetrSinePositionEmbedding,
        detr.DetrLearnedPositionEmbedding,
        detr.eager_attention_forward,
        detr.DetrSelfAttention,
        detr.DetrCrossAttention,
        detr.DetrMLP,
        detr.DetrEncoderLayer,
        detr.DetrDecoderLayer,
        detr.DetrPreTrainedModel,
        detr.DetrEncoder,
        detr.DetrDecoder,
        detr.DetrModel,
        detr.DetrMLPPredictionHead,
        detr.DetrForObjectDetection,
    ),
    configs=(
        Config(
            BACKBONE | SMALL | {"train_backbone": False},
            lambda: _reference(BACKBONE, SMALL),
            lambda: {"pixel_values": torch.randn(2, 3, 48, 64)},
        ),
        Config(
            BASIC
            | LEARNED
            | {
                "layer_type": "BasicLayer",
                "position_embedding_type": "LearnedPositionEmbedding",
                "activation_function": "GELU",
            },
            _trained,
            _padded,
        ),
    ),
    answer=lambda result: [result.logits, result.pred_boxes],
)
