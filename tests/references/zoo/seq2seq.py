"""Luong's translation model as a person would write it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Attention", "Decoder", "Encoder", "Seq2Seq"]

State = tuple[Tensor, Tensor]


class Encoder(nn.Module):
    def __init__(
        self, vocab_size: int, embedding_dim: int, hidden_size: int, num_layers: int, dropout: float, padding_idx: int
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_dim, padding_idx=padding_idx)
        self.lstm = nn.LSTM(embedding_dim, hidden_size, num_layers, batch_first=True, dropout=dropout)

    def forward(self, src: Tensor) -> tuple[Tensor, State]:
        memory, state = self.lstm(self.embedding(src))
        return memory, state


class Attention(nn.Module):
    def __init__(self, hidden_size: int, score: str) -> None:
        super().__init__()
        self.score = score
        if score == "concat":
            self.v_a = nn.Parameter(torch.rand(hidden_size))
            self.W_a = nn.Linear(2 * hidden_size, hidden_size, bias=False)
        elif score == "general":
            self.W_a = nn.Linear(hidden_size, hidden_size, bias=False)
        self.W_c = nn.Linear(2 * hidden_size, hidden_size, bias=False)

    def scores(self, h: Tensor, memory: Tensor) -> Tensor:
        """Of one state of the decoder [B, H] with all of the encoder [B, S, H]."""
        if self.score == "dot":
            return torch.einsum("bh,bsh->bs", h, memory)
        if self.score == "general":
            return torch.einsum("bh,bsh->bs", h, self.W_a(memory))
        repeated = h.unsqueeze(1).repeat(1, memory.shape[1], 1)
        return torch.einsum("bsh,h->bs", torch.tanh(self.W_a(torch.cat([repeated, memory], dim=2))), self.v_a)

    def forward(self, h: Tensor, memory: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        align = torch.softmax(self.scores(h, memory).masked_fill(~mask, float("-inf")), dim=1)
        context = torch.einsum("bs,bsh->bh", align, memory)
        return torch.tanh(self.W_c(torch.cat([context, h], dim=1))), align


class Decoder(nn.Module):
    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int,
        hidden_size: int,
        num_layers: int,
        dropout: float,
        padding_idx: int,
        score: str,
        input_feeding: bool,
    ) -> None:
        super().__init__()
        self.input_feeding = input_feeding
        self.embedding = nn.Embedding(vocab_size, embedding_dim, padding_idx=padding_idx)
        features = embedding_dim + hidden_size if input_feeding else embedding_dim
        self.lstm = nn.LSTM(features, hidden_size, num_layers, batch_first=True, dropout=dropout)
        self.attention = Attention(hidden_size, score)
        self.W_s = nn.Linear(hidden_size, vocab_size, bias=False)

    def forward(self, tgt: Tensor, memory: Tensor, state: State, mask: Tensor) -> tuple[Tensor, Tensor]:
        words = self.embedding(tgt)
        feed = torch.zeros_like(memory[:, 0])
        logits, aligns = [], []
        for t in range(tgt.shape[1]):
            x = torch.cat([words[:, t], feed], dim=1) if self.input_feeding else words[:, t]
            h, state = self.lstm(x.unsqueeze(1), state)
            feed, align = self.attention(h.squeeze(1), memory, mask)
            logits.append(self.W_s(feed))
            aligns.append(align)
        return torch.stack(logits, dim=1), torch.stack(aligns, dim=1)


class Seq2Seq(nn.Module):
    def __init__(
        self,
        src_vocab_size: int = 50000,
        tgt_vocab_size: int = 50000,
        embedding_dim: int = 1000,
        hidden_size: int = 1000,
        num_layers: int = 4,
        dropout: float = 0.2,
        score: str = "general",
        input_feeding: bool = True,
        padding_idx: int = 0,
    ) -> None:
        super().__init__()
        self.padding_idx = padding_idx
        self.encoder = Encoder(src_vocab_size, embedding_dim, hidden_size, num_layers, dropout, padding_idx)
        self.decoder = Decoder(
            tgt_vocab_size, embedding_dim, hidden_size, num_layers, dropout, padding_idx, score, input_feeding
        )

    def forward(self, src: Tensor, tgt: Tensor) -> tuple[Tensor, Tensor]:
        memory, state = self.encoder(src)
        logits, align = self.decoder(tgt, memory, state, src != self.padding_idx)
        return logits, align
