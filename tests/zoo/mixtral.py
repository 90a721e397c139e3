"""Mixtral, with its experts all computed and with only those computed that a token chose."""

from __future__ import annotations

from typing import Any

import torch
from transformers import MixtralConfig, MixtralForCausalLM
from transformers.models.mixtral import modeling_mixtral as mixtral

from tests.zoo.harness import Architecture, Config

_SIZES = {"vocab_size": 30, "hidden_size": 16, "num_attention_heads": 4, "intermediate_size": 12}
_DENSE = {**_SIZES, "num_hidden_layers": 2, "num_key_value_heads": 2, "num_local_experts": 4}
_GROUPED = {
    **_SIZES,
    "num_hidden_layers": 1,
    "num_key_value_heads": 1,
    "head_dim": 6,
    "num_local_experts": 9,  # some of which no token chooses
    "num_experts_per_tok": 3,
    "rms_norm_eps": 1e-3,
    "sliding_window": 3,
    "tie_word_embeddings": True,
}


def _reference(theta: float, **args: Any) -> MixtralForCausalLM:
    rope = {"rope_theta": theta, "rope_type": "default"}
    config = MixtralConfig(**args, rope_parameters=rope, use_cache=False, attn_implementation="eager")
    config._experts_implementation = "eager"
    return MixtralForCausalLM(config)


ARCHITECTURE = Architecture(
    title="Mixtral",
    file="mixtral.yaml",
    reference="transformers MixtralForCausalLM",
    python=(
        mixtral.MixtralExperts,
        mixtral.MixtralTopKRouter,
        mixtral.MixtralSparseMoeBlock,
        mixtral.MixtralRMSNorm,
        mixtral.MixtralRotaryEmbedding,
        mixtral.rotate_half,
        mixtral.apply_rotary_pos_emb,
        mixtral.repeat_kv,
        mixtral.eager_attention_forward,
        mixtral.MixtralAttention,
        mixtral.MixtralDecoderLayer,
        mixtral.MixtralPreTrainedModel,
        mixtral.MixtralModel,
        mixtral.MixtralForCausalLM,
    ),
    configs=(
        Config(
            args=_DENSE,
            reference=lambda: _reference(1e6, **_DENSE),
            inputs=lambda: {"input_ids": torch.randint(0, 30, (2, 6))},
        ),
        Config(
            args={**_GROUPED, "rope_theta": 100.0, "grouped": True},
            reference=lambda: _reference(100.0, **_GROUPED),
            inputs=lambda: {"input_ids": torch.randint(0, 30, (1, 5))},
        ),
    ),
    answer=lambda result: result.logits,
)
