"""ALBERT with its masked language model head."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AlbertConfig, AlbertForMaskedLM
from transformers.models.albert import modeling_albert as albert

from tests.zoo.harness import Architecture, Config, padded, tokens

_SIZES = {
    "vocab_size": 30,
    "embedding_size": 6,
    "hidden_size": 16,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
    "num_attention_heads": 4,
}
_ONE_LAYER = {**_SIZES, "num_hidden_layers": 3}
_GROUPS = {
    **_SIZES,
    "num_hidden_layers": 5,
    "num_hidden_groups": 2,
    "inner_group_num": 2,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
    "tie_word_embeddings": False,
}


def _reference(**args: Any) -> AlbertForMaskedLM:
    return AlbertForMaskedLM(AlbertConfig(**args, attn_implementation="eager"))


def _padded_pairs() -> dict[str, Any]:
    return {**padded(7, row=1), "token_type_ids": torch.randint(0, 2, (2, 7))}


ARCHITECTURE = Architecture(
    title="ALBERT",
    file="albert.yaml",
    reference="transformers AlbertForMaskedLM",
    python=(
        albert.AlbertEmbeddings,
        albert.eager_attention_forward,
        albert.AlbertAttention,
        albert.AlbertLayer,
        albert.AlbertLayerGroup,
        albert.AlbertTransformer,
        albert.AlbertPreTrainedModel,
        albert.AlbertModel,
        albert.AlbertMLMHead,
        albert.AlbertForMaskedLM,
    ),
    configs=(
        Config(args=_ONE_LAYER, reference=lambda: _reference(**_ONE_LAYER), inputs=lambda: tokens(7)),
        Config(
            args={**_GROUPS, "hidden_act": "ReLU"},
            reference=lambda: _reference(**_GROUPS, hidden_act="relu"),
            inputs=_padded_pairs,
        ),
    ),
    answer=lambda result: result.logits,
)
