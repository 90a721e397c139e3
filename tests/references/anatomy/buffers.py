"""The twins of `normalised_input`, `causal_mask`, `rotary`, `alibi` and `vq_ema`."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ALiBiAttention", "CausalSelfAttention", "NormalisedCNN", "Quantize", "RotaryAttention"]


class NormalisedCNN(nn.Module):
    """Normalises inside forward, where the example has a hook."""

    mean: Tensor
    std: Tensor

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, num_classes)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None], persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        x = functional.relu(self.conv((image - self.mean) / self.std))
        out: Tensor = self.fc(self.pool(x).flatten(1))
        return out


class CausalSelfAttention(nn.Module):
    """Self-attention by scores that are masked."""

    mask: Tensor

    def __init__(self, n_embd: int = 32, n_head: int = 4, block_size: int = 16) -> None:
        super().__init__()
        self.n_head = n_head
        self.c_attn = nn.Linear(n_embd, 3 * n_embd)
        self.c_proj = nn.Linear(n_embd, n_embd)
        self.register_buffer("mask", torch.tril(torch.ones(block_size, block_size)).bool(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        b, t, c = x.size()
        q, k, v = (
            part.view(b, t, self.n_head, c // self.n_head).transpose(1, 2) for part in self.c_attn(x).chunk(3, 2)
        )
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=self.mask[:t, :t])
        out: Tensor = self.c_proj(y.transpose(1, 2).contiguous().view(b, t, c))
        return out


class RotaryEmbedding(nn.Module):
    """Turns pairs of features as complex numbers, where the example multiplies by cosines and sines."""

    inv_freq: Tensor
    cos: Tensor
    sin: Tensor

    def __init__(self, dim: int, max_length: int, base: float) -> None:
        super().__init__()
        inv_freq = torch.tensor([base ** (-2 * i / dim) for i in range(dim // 2)])
        angles = torch.arange(max_length)[:, None] * inv_freq[None]
        self.register_buffer("inv_freq", inv_freq, persistent=False)
        self.register_buffer("cos", torch.cat([angles, angles], 1).cos(), persistent=False)
        self.register_buffer("sin", torch.cat([angles, angles], 1).sin(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        turn = torch.complex(self.cos[: x.shape[2], :half], self.sin[: x.shape[2], :half])
        turned = torch.complex(x[..., :half], x[..., half:]) * turn
        return torch.cat([turned.real, turned.imag], dim=-1)


class RotaryAttention(nn.Module):
    """Causal attention over turned queries and keys."""

    def __init__(self, dim: int = 32, heads: int = 4, max_length: int = 64, base: float = 10000.0) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(dim, dim, bias=False)
        self.k_proj = nn.Linear(dim, dim, bias=False)
        self.v_proj = nn.Linear(dim, dim, bias=False)
        self.o_proj = nn.Linear(dim, dim, bias=False)
        self.rotary_emb = RotaryEmbedding(dim // heads, max_length, base)

    def forward(self, x: Tensor) -> Tensor:
        b, t, c = x.shape
        q, k, v = (
            layer(x).view(b, t, self.heads, c // self.heads).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        y = functional.scaled_dot_product_attention(self.rotary_emb(q), self.rotary_emb(k), v, is_causal=True)
        out: Tensor = self.o_proj(y.transpose(1, 2).reshape(b, t, c))
        return out


class ALiBiAttention(nn.Module):
    """The table is filled entry by entry, as the paper's figure shows it."""

    alibi: Tensor

    def __init__(self, dim: int = 32, heads: int = 4, max_length: int = 64) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        table = torch.full((heads, max_length, max_length), float("-inf"))
        for head in range(heads):
            slope = 2 ** (-8 * (head + 1) / heads)
            for query in range(max_length):
                table[head, query, : query + 1] = -slope * torch.arange(query, -1, -1)
        self.register_buffer("alibi", table, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        b, t, c = x.shape
        q, k, v = (part.view(b, t, self.heads, c // self.heads).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        scores = q @ k.transpose(-2, -1) / math.sqrt(c // self.heads) + self.alibi[:, :t, :t]
        out: Tensor = self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, c))
        return out


class Quantize(nn.Module):
    """A codebook by moving averages, as the widely copied implementation computes it."""

    embed: Tensor
    cluster_size: Tensor
    embed_avg: Tensor

    def __init__(self, dim: int = 8, n_embed: int = 32, decay: float = 0.99, eps: float = 1e-5) -> None:
        super().__init__()
        self.dim, self.n_embed, self.decay, self.eps = dim, n_embed, decay, eps
        embed = torch.randn(n_embed, dim)
        self.register_buffer("embed", embed)
        self.register_buffer("cluster_size", torch.zeros(n_embed))
        self.register_buffer("embed_avg", embed.clone())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        flat = x.reshape(-1, self.dim)
        distance = flat.pow(2).sum(1, keepdim=True) - 2 * flat @ self.embed.t() + self.embed.pow(2).sum(1)
        codes = distance.argmin(1)
        quantized = functional.embedding(codes, self.embed.clone()).view_as(x)
        if self.training:
            for code in range(self.n_embed):
                mine = flat.detach()[codes == code]
                self.cluster_size[code] = self.decay * self.cluster_size[code] + (1 - self.decay) * len(mine)
                self.embed_avg[code] = self.decay * self.embed_avg[code] + (1 - self.decay) * mine.sum(0)
            n = self.cluster_size.sum()
            size = n * (self.cluster_size + self.eps) / (n + self.n_embed * self.eps)
            self.embed.copy_(self.embed_avg / size.unsqueeze(1))
        loss = (quantized.detach() - x).pow(2).mean()
        return x + (quantized - x).detach(), loss, codes.view(x.shape[:-1])
