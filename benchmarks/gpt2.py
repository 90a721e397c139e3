"""GPT-2 in plain PyTorch, with the modules and names of `examples/gpt2.yaml`.

`GPT2` is what one writes by hand. The classes that end in `Of` compute the same from parts that they are given: they
are what tools that build a tree of objects from a file are made for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["SIZES", "AttentionOf", "BlockOf", "Conv1D", "GPT2Of", "MLPOf", "TransformerOf", "gpt2", "initialise"]

SIZES: Final[Mapping[str, Mapping[str, int]]] = {
    "small": {"vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12},
    "tiny": {"vocab_size": 610, "n_positions": 16, "n_embd": 24, "n_layer": 2, "n_head": 3},
}
DROPOUT: Final = 0.1


class Conv1D(nn.Module):
    """A Linear whose weight is stored transposed."""

    def __init__(self, nf: int, nx: int, device: str | None = None) -> None:
        super().__init__()
        self.nf, self.nx = nf, nx
        self.weight = nn.Parameter(torch.empty(nx, nf, device=device))
        self.bias = nn.Parameter(torch.zeros(nf, device=device))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x.reshape(-1, self.nx), self.weight).view(*x.shape[:-1], self.nf)


class Attention(nn.Module):
    """Causal self-attention over several heads."""

    def __init__(self, width: int, heads: int, device: str | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.c_attn = Conv1D(3 * width, width, device)
        self.c_proj = Conv1D(width, width, device)
        self.attn_dropout = nn.Dropout(DROPOUT)
        self.resid_dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.c_attn(x).split(width, dim=2)
        q = q.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
        k = k.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
        v = v.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
        dropout = self.attn_dropout.p if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
        y = y.transpose(1, 2).reshape(batch, length, width)
        result: Tensor = self.resid_dropout(self.c_proj(y))
        return result


class MLP(nn.Module):
    """Two layers, the inner one four times as wide."""

    def __init__(self, width: int, device: str | None = None) -> None:
        super().__init__()
        self.c_fc = Conv1D(4 * width, width, device)
        self.c_proj = Conv1D(width, 4 * width, device)
        self.act = nn.GELU(approximate="tanh")
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.dropout(self.c_proj(self.act(self.c_fc(x))))
        return result


class Block(nn.Module):
    """A layer: attention and MLP, each after a norm and beside a shortcut."""

    def __init__(self, width: int, heads: int, device: str | None = None) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, device=device)
        self.attn = Attention(width, heads, device)
        self.ln_2 = nn.LayerNorm(width, device=device)
        self.mlp = MLP(width, device)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        result: Tensor = x + self.mlp(self.ln_2(x))
        return result


class Transformer(nn.Module):
    """Embeddings and layers."""

    position_ids: Tensor

    def __init__(
        self, vocab_size: int, n_positions: int, n_embd: int, n_layer: int, n_head: int, device: str | None = None
    ) -> None:
        super().__init__()
        self.wte = nn.Embedding(vocab_size, n_embd, device=device)
        self.wpe = nn.Embedding(n_positions, n_embd, device=device)
        self.drop = nn.Dropout(DROPOUT)
        self.h = nn.ModuleList(Block(n_embd, n_head, device) for _ in range(n_layer))
        self.ln_f = nn.LayerNorm(n_embd, device=device)
        self.register_buffer("position_ids", torch.arange(n_positions, device=device), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.drop(self.wte(tokens) + self.wpe(self.position_ids[: tokens.shape[1]]))
        for block in self.h:
            x = block(x)
        result: Tensor = self.ln_f(x)
        return result


class GPT2(nn.Module):
    """The model. The output projection is the token embedding; a `lean` one makes no matrix for it in vain."""

    def __init__(self, size: Mapping[str, int], device: str | None = None, lean: bool = False) -> None:
        super().__init__()
        self.transformer = Transformer(**size, device=device)
        place = "meta" if lean else device
        self.lm_head = nn.Linear(size["n_embd"], size["vocab_size"], bias=False, device=place)
        self.lm_head.weight = self.transformer.wte.weight

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.lm_head(self.transformer(tokens))
        return logits


def gpt2(size: Mapping[str, int], device: str | None = None, lean: bool = False) -> nn.Module:
    """GPT-2 by hand."""
    return GPT2(size, device, lean)


def initialise(module: nn.Module) -> None:
    """GPT-2's own initialisation, for `nn.Module.apply`."""
    if isinstance(module, nn.Linear | nn.Embedding | Conv1D):
        nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, Conv1D):
            nn.init.zeros_(module.bias)


INITIALISE: Final = """
apply:
  - {where: {type: [Linear, Embedding, Conv1D]}, init: {weight: {normal_: {std: 0.02}}}}
  - {where: {type: Conv1D}, init: {bias: zeros_}}
"""
"""The same as rules of a file."""


# --- the same from parts ---------------------------------------------------------------------------------------------


class AttentionOf(Attention):
    """Attention of given parts."""

    def __init__(
        self, heads: int, c_attn: nn.Module, c_proj: nn.Module, attn_dropout: nn.Module, resid_dropout: nn.Module
    ) -> None:
        nn.Module.__init__(self)
        self.heads = heads
        self.c_attn, self.c_proj = c_attn, c_proj  # type: ignore[assignment]
        self.attn_dropout, self.resid_dropout = attn_dropout, resid_dropout  # type: ignore[assignment]


class MLPOf(MLP):
    """An MLP of given parts."""

    def __init__(self, c_fc: nn.Module, c_proj: nn.Module, act: nn.Module, dropout: nn.Module) -> None:
        nn.Module.__init__(self)
        self.c_fc, self.c_proj, self.act, self.dropout = c_fc, c_proj, act, dropout  # type: ignore[assignment]


class BlockOf(Block):
    """A layer of given parts."""

    def __init__(self, ln_1: nn.Module, attn: nn.Module, ln_2: nn.Module, mlp: nn.Module) -> None:
        nn.Module.__init__(self)
        self.ln_1, self.attn, self.ln_2, self.mlp = ln_1, attn, ln_2, mlp  # type: ignore[assignment]


class TransformerOf(Transformer):
    """Embeddings and layers, given."""

    def __init__(
        self,
        n_positions: int,
        wte: nn.Module,
        wpe: nn.Module,
        drop: nn.Module,
        h: list[nn.Module],
        ln_f: nn.Module,
    ) -> None:
        nn.Module.__init__(self)
        self.wte, self.wpe, self.drop = wte, wpe, drop  # type: ignore[assignment]
        self.h, self.ln_f = nn.ModuleList(h), ln_f  # type: ignore[assignment]
        self.register_buffer("position_ids", torch.arange(n_positions), persistent=False)


class GPT2Of(GPT2):
    """The model of given parts, its output projection tied."""

    def __init__(self, transformer: nn.Module, lm_head: nn.Module) -> None:
        nn.Module.__init__(self)
        self.transformer, self.lm_head = transformer, lm_head  # type: ignore[assignment]
        self.lm_head.weight = self.transformer.wte.weight
