"""Llama 2 and 3."""

from __future__ import annotations

from typing import Any

from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama import modeling_llama as llama

from tests.zoo.harness import Architecture, Config, padded, tokens

_SIZES = {"vocab_size": 30, "hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 4}
_GROUPED = {**_SIZES, "num_hidden_layers": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-5}
_TIED = {
    **_SIZES,
    "num_hidden_layers": 1,
    "num_key_value_heads": 1,
    "head_dim": 6,
    "rms_norm_eps": 1e-3,
    "attention_bias": True,
    "mlp_bias": True,
    "tie_word_embeddings": True,
}
_ROPE = {"rope_theta": 100.0}
# Short enough for the three frequencies to lie in all three regimes: kept, slowed down, between.
_LLAMA3 = {
    **_ROPE,
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 40,
}


def _reference(args: dict[str, Any], rope: dict[str, Any]) -> LlamaForCausalLM:
    config = LlamaConfig(
        **args, rope_parameters=rope, use_cache=False, attn_implementation="eager", max_position_embeddings=80
    )
    return LlamaForCausalLM(config)


ARCHITECTURE = Architecture(
    title="Llama",
    file="llama.yaml",
    reference="transformers LlamaForCausalLM",
    python=(
        llama.LlamaRMSNorm,
        llama.LlamaRotaryEmbedding,
        llama.rotate_half,
        llama.apply_rotary_pos_emb,
        llama.LlamaMLP,
        llama.repeat_kv,
        llama.eager_attention_forward,
        llama.LlamaAttention,
        llama.LlamaDecoderLayer,
        llama.LlamaPreTrainedModel,
        llama.LlamaModel,
        llama.LlamaForCausalLM,
    ),
    configs=(
        Config(
            args={**_GROUPED, **_ROPE},
            reference=lambda: _reference(_GROUPED, {**_ROPE, "rope_type": "default"}),
            inputs=lambda: tokens(6),
        ),
        Config(
            args={**_TIED, **_ROPE, "rope_factor": 8.0, "original_max_position_embeddings": 40},
            reference=lambda: _reference(_TIED, _LLAMA3),
            inputs=lambda: padded(6, row=0),
        ),
    ),
    answer=lambda result: result.logits,
)
