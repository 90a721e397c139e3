"""wav2vec 2.0: the base model with its CTC head, and the encoder of the large one with masks."""

from __future__ import annotations

from typing import Any

import torch
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC, Wav2Vec2Model
from transformers.models.wav2vec2 import modeling_wav2vec2 as wav2vec2

from tests.zoo.harness import Architecture, Config

_NO_DROPOUT = {
    "hidden_dropout": 0.0,
    "activation_dropout": 0.0,
    "attention_dropout": 0.0,
    "feat_proj_dropout": 0.0,
    "final_dropout": 0.0,
}
_BASE = {
    **_NO_DROPOUT,
    "vocab_size": 11,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 18,
    "conv_dim": [6, 4, 5],
    "conv_stride": [3, 2, 2],
    "conv_kernel": [4, 3, 2],
    "num_conv_pos_embeddings": 6,
    "num_conv_pos_embedding_groups": 2,
}
_LARGE = {
    **_BASE,
    "num_hidden_layers": 1,
    "layer_norm_eps": 1e-3,
    "feat_extract_norm": "layer",
    "conv_bias": True,
    "num_conv_pos_embeddings": 5,
    "num_conv_pos_embedding_groups": 3,
    "do_stable_layer_norm": True,
}


def _config(args: dict[str, Any], **more: Any) -> Wav2Vec2Config:
    return Wav2Vec2Config(**args, **more, layerdrop=0.0, attn_implementation="eager")


def _differentiable(model: Wav2Vec2ForCTC | Wav2Vec2Model) -> Wav2Vec2ForCTC | Wav2Vec2Model:
    """In training the feature extractor asks for gradients of its input, which torch refuses where there are some."""
    for module in model.modules():
        if isinstance(module, wav2vec2.Wav2Vec2FeatureEncoder):
            module._requires_grad = False  # of the input; the weights stay trainable
    return model


def _speech() -> dict[str, Any]:
    return {"input_values": torch.randn(2, 90)}


def _masked_speech() -> dict[str, Any]:
    mask = torch.ones(2, 90, dtype=torch.bool)
    mask[1, 60:] = False
    frames = torch.zeros(2, 7, dtype=torch.bool)
    frames[0, 2:4] = True
    return {**_speech(), "attention_mask": mask, "mask_time_indices": frames}


ARCHITECTURE = Architecture(
    title="Wav2Vec2",
    file="wav2vec2.yaml",
    reference="transformers Wav2Vec2ForCTC",
    python=(
        wav2vec2.Wav2Vec2NoLayerNormConvLayer,
        wav2vec2.Wav2Vec2LayerNormConvLayer,
        wav2vec2.Wav2Vec2GroupNormConvLayer,
        wav2vec2.Wav2Vec2PositionalConvEmbedding,
        wav2vec2.Wav2Vec2SamePadLayer,
        wav2vec2.Wav2Vec2FeatureEncoder,
        wav2vec2.Wav2Vec2FeatureProjection,
        wav2vec2.eager_attention_forward,
        wav2vec2.Wav2Vec2Attention,
        wav2vec2.Wav2Vec2FeedForward,
        wav2vec2.Wav2Vec2EncoderLayer,
        wav2vec2.Wav2Vec2EncoderLayerStableLayerNorm,
        wav2vec2.Wav2Vec2Encoder,
        wav2vec2.Wav2Vec2EncoderStableLayerNorm,
        wav2vec2.Wav2Vec2Model,
        wav2vec2.Wav2Vec2ForCTC,
    ),
    configs=(
        Config(
            args=_BASE,
            reference=lambda: _differentiable(Wav2Vec2ForCTC(_config(_BASE, apply_spec_augment=False))),
            inputs=_speech,
        ),
        Config(
            root="Wav2Vec2Model",
            args=_LARGE,
            reference=lambda: _differentiable(Wav2Vec2Model(_config(_LARGE))),
            inputs=_masked_speech,
        ),
    ),
    answer=lambda result: result.logits if "logits" in result else result.last_hidden_state,
)
