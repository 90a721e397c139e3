"""BERT with the masked language model head of transformers."""

from __future__ import annotations

from typing import Any

import torch
from transformers import BertConfig, BertForMaskedLM
from transformers.models.bert import modeling_bert as bert

from tests.zoo.harness import Architecture, Config, padded, tokens


def _config(args: dict[str, Any]) -> BertConfig:
    return BertConfig(**args, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, attn_implementation="eager")


def _padded_pairs() -> dict[str, Any]:
    return {**padded(7, row=1), "token_type_ids": torch.randint(0, 3, (2, 7))}


_SIZES = {"vocab_size": 30, "hidden_size": 16, "intermediate_size": 24, "max_position_embeddings": 12}
_TIED = {**_SIZES, "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_act": "gelu"}
_UNTIED = {
    **_SIZES,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "hidden_act": "relu",
    "type_vocab_size": 3,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 2,
    "tie_word_embeddings": False,
}
_NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}

ARCHITECTURE = Architecture(
    title="BERT",
    file="bert.yaml",
    reference="transformers BertForMaskedLM",
    python=(
        bert.BertEmbeddings,
        bert.eager_attention_forward,
        bert.BertSelfAttention,
        bert.BertSelfOutput,
        bert.BertAttention,
        bert.BertIntermediate,
        bert.BertOutput,
        bert.BertLayer,
        bert.BertEncoder,
        bert.BertPredictionHeadTransform,
        bert.BertLMPredictionHead,
        bert.BertOnlyMLMHead,
        bert.BertPreTrainedModel,
        bert.BertModel,
        bert.BertForMaskedLM,
    ),
    configs=(
        Config(
            args={**_TIED, **_NO_DROPOUT, "hidden_act": "GELU"},
            reference=lambda: BertForMaskedLM(_config(_TIED)),
            inputs=lambda: tokens(7),
        ),
        Config(
            args={**_UNTIED, **_NO_DROPOUT, "hidden_act": "ReLU"},
            reference=lambda: BertForMaskedLM(_config(_UNTIED)),
            inputs=_padded_pairs,
        ),
    ),
    answer=lambda result: result.logits,
)
