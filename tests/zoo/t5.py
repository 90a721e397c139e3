"""T5 and T5 1.1."""

from __future__ import annotations

from typing import Any

import torch
from transformers import T5Config, T5ForConditionalGeneration
from transformers.models.t5 import modeling_t5 as t5

from tests.zoo.harness import Architecture, Config

_SIZES = {"vocab_size": 30, "d_model": 12, "d_kv": 5, "d_ff": 20, "num_heads": 3, "dropout_rate": 0.0}
_T5 = {**_SIZES, "num_layers": 2, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 6}
_T5_11 = {**_SIZES, "num_layers": 1, "num_decoder_layers": 2, "layer_norm_epsilon": 1e-3}


def _reference(**args: Any) -> T5ForConditionalGeneration:
    return T5ForConditionalGeneration(T5Config(**args, use_cache=False, attn_implementation="eager"))


def _texts() -> dict[str, Any]:
    # Longer than the buckets of single distances, so that those of several are reached.
    return {"input_ids": torch.randint(0, 30, (2, 9)), "decoder_input_ids": torch.randint(0, 30, (2, 11))}


def _padded() -> dict[str, Any]:
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[0, 5:] = False
    return {**_texts(), "attention_mask": mask}


ARCHITECTURE = Architecture(
    title="T5",
    file="t5.yaml",
    reference="transformers T5ForConditionalGeneration",
    python=(
        t5.T5LayerNorm,
        t5.T5DenseActDense,
        t5.T5DenseGatedActDense,
        t5.T5LayerFF,
        t5.eager_attention_forward,
        t5.T5Attention,
        t5.T5LayerSelfAttention,
        t5.T5LayerCrossAttention,
        t5.T5Block,
        t5.T5PreTrainedModel,
        t5.T5Stack,
        t5.T5ForConditionalGeneration,
    ),
    configs=(
        Config(args=_T5, reference=lambda: _reference(**_T5), inputs=_texts),
        Config(
            args={
                **_T5_11,
                "dense_act": {"GELU": {"approximate": "tanh"}},
                "is_gated_act": True,
                "scale_decoder_outputs": False,
            },
            # transformers ties the scores all the same, and takes this option to mean that they are not scaled
            reference=lambda: _reference(**_T5_11, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
            inputs=_padded,
        ),
    ),
    answer=lambda result: result.logits,
)
