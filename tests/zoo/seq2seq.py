"""Translation with LSTMs and attention."""

from __future__ import annotations

from typing import Any

import torch

from tests.references.zoo import seq2seq
from tests.zoo.harness import Architecture, Config

_SIZES: dict[str, Any] = {
    "src_vocab_size": 20,
    "tgt_vocab_size": 15,
    "embedding_dim": 6,
    "hidden_size": 8,
    "dropout": 0.0,
}
_FEEDING: dict[str, Any] = {**_SIZES, "num_layers": 2}
_CONCAT: dict[str, Any] = {**_SIZES, "num_layers": 1, "score": "concat", "input_feeding": False, "padding_idx": 3}


def _texts(padding: int) -> dict[str, Any]:
    src = torch.randint(4, 20, (2, 6))
    src[1, 4:] = padding
    return {"src": src, "tgt": torch.randint(0, 15, (2, 5))}


ARCHITECTURE = Architecture(
    title="LSTM sequence-to-sequence with attention",
    file="seq2seq.yaml",
    reference="twin, after Luong et al. (2015)",
    python=(seq2seq.Encoder, seq2seq.Attention, seq2seq.Decoder, seq2seq.Seq2Seq),
    configs=(
        Config(args=_FEEDING, reference=lambda: seq2seq.Seq2Seq(**_FEEDING), inputs=lambda: _texts(0)),
        Config(args=_CONCAT, reference=lambda: seq2seq.Seq2Seq(**_CONCAT), inputs=lambda: _texts(3)),
    ),
    not_compiled="torch.compile leaves nn.LSTM to eager mode unless torch._dynamo.config.allow_rnn is set",
)
