"""GPT-2 with its language model head."""

from __future__ import annotations

from typing import Any

from transformers import GPT2Config, GPT2LMHeadModel
from transformers.models.gpt2 import modeling_gpt2 as gpt2
from transformers.pytorch_utils import Conv1D

from tests.zoo.harness import Architecture, Config, padded, tokens

_NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
_TIED = {"vocab_size": 30, "n_positions": 10, "n_embd": 12, "n_layer": 2, "n_head": 3}
_UNTIED = {
    **_TIED,
    "n_layer": 3,
    "n_inner": 20,
    "layer_norm_epsilon": 1e-3,
    "scale_attn_weights": False,
    "scale_attn_by_inverse_layer_idx": True,
    "tie_word_embeddings": False,
}


def _reference(**args: Any) -> GPT2LMHeadModel:
    config = GPT2Config(**args, **_NO_DROPOUT, bos_token_id=0, eos_token_id=0, attn_implementation="eager")
    config.use_cache = False
    return GPT2LMHeadModel(config)


ARCHITECTURE = Architecture(
    title="GPT-2",
    file="gpt2.yaml",
    reference="transformers GPT2LMHeadModel",
    python=(
        Conv1D,
        gpt2.eager_attention_forward,
        gpt2.GPT2Attention,
        gpt2.GPT2MLP,
        gpt2.GPT2Block,
        gpt2.GPT2PreTrainedModel,
        gpt2.GPT2Model,
        gpt2.GPT2LMHeadModel,
    ),
    configs=(
        Config(args={**_TIED, **_NO_DROPOUT}, reference=lambda: _reference(**_TIED), inputs=lambda: tokens(6)),
        Config(
            args={**_UNTIED, **_NO_DROPOUT, "activation_function": "ReLU"},
            reference=lambda: _reference(**_UNTIED, activation_function="relu"),
            inputs=lambda: padded(6, row=0),
        ),
    ),
    answer=lambda result: result.logits,
)
