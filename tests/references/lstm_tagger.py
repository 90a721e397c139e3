"""The twin of `examples/lstm_tagger.yaml`."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

__all__ = ["LSTMTagger"]


class LSTMTagger(nn.Module):
    """Embedding, LSTM and a head that scores tags; `mlp` is the width of the head's hidden layer, if it has one."""

    def __init__(
        self,
        vocab: int,
        tags: int,
        embed: int,
        hidden: int,
        layers: int = 1,
        bidirectional: bool = True,
        mlp: int | None = None,
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab, embed, padding_idx=0)
        self.lstm = nn.LSTM(embed, hidden, num_layers=layers, batch_first=True, bidirectional=bidirectional)
        features = hidden * (2 if bidirectional else 1)
        self.head: nn.Module
        if mlp is None:
            self.head = nn.Linear(features, tags)
        else:
            parts = OrderedDict(hidden=nn.Linear(features, mlp), act=nn.ReLU(), scores=nn.Linear(mlp, tags))
            self.head = nn.Sequential(parts)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        states, _ = self.lstm(self.embed(tokens))
        scores: Tensor = self.head(states)
        if mask is not None:
            scores = scores.masked_fill(~mask.unsqueeze(-1), 0.0)
        return scores
