"""The Vision Transformer of examples/blocks_vit.yaml, written by hand without any of the shipped definitions."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ViT"]


def rotated(x: Tensor) -> Tensor:
    """Each half of the features of [B, heads, T, D] as the parts of complex numbers, turned by their positions."""
    half = x.shape[-1] // 2
    angles = torch.outer(torch.arange(x.shape[2]).float(), 10000.0 ** (-torch.arange(half).float() / half))
    turned = torch.complex(x[..., :half].contiguous(), x[..., half:].contiguous()) * torch.polar(
        torch.ones_like(angles), angles
    )
    return torch.cat((turned.real, turned.imag), dim=-1)


def dropped(x: Tensor, p: float, training: bool) -> Tensor:
    """Stochastic depth of whole samples."""
    if p == 0 or not training:
        return x
    keep = torch.empty(x.shape[0], *[1] * (x.ndim - 1)).bernoulli_(1 - p)
    return x * keep / (1 - p)


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)
        self.q_norm, self.k_norm = nn.RMSNorm(dim // heads), nn.RMSNorm(dim // heads)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (p(x).unflatten(2, (self.heads, -1)).movedim(2, 1) for p in self.projections())
        q, k = rotated(self.q_norm(q)), rotated(self.k_norm(k))
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)
        return cast(Tensor, self.out_proj((weights @ v).movedim(1, 2).flatten(2)))

    def projections(self) -> tuple[nn.Module, nn.Module, nn.Module]:
        return self.q_proj, self.k_proj, self.v_proj


class SwiGLU(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = 8 * dim // 3
        self.gate_proj, self.up_proj = nn.Linear(dim, hidden, bias=False), nn.Linear(dim, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x)))


class Normed(nn.Module):
    def __init__(self, dim: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm, self.fn = nn.RMSNorm(dim), fn


class Branch(nn.Module):
    def __init__(self, dim: int, fn: nn.Module, p: float) -> None:
        super().__init__()
        self.fn, self.p = nn.ModuleList([Normed(dim, fn)]), p

    def forward(self, x: Tensor) -> Tensor:
        inner = cast(Normed, self.fn[0])
        return x + dropped(inner.fn(inner.norm(x)), self.p, self.training)


class Layer(nn.Module):
    def __init__(self, dim: int, heads: int, p: float) -> None:
        super().__init__()
        self.attention = Branch(dim, Attention(dim, heads), p)
        self.feed_forward = Branch(dim, SwiGLU(dim), p)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.feed_forward(self.attention(x)))


class Patches(nn.Module):
    def __init__(self, dim: int, size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, size, size)

    def forward(self, image: Tensor) -> Tensor:
        return cast(Tensor, self.proj(image).flatten(2).mT)


class ViT(nn.Module):
    def __init__(
        self,
        image_size: int,
        patch_size: int,
        embed_dim: int,
        depth: int,
        num_heads: int,
        num_classes: int,
        drop_path: float,
    ) -> None:
        super().__init__()
        assert image_size % patch_size == 0
        rates = [drop_path * i / max(depth - 1, 1) for i in range(depth)]
        self.patches = Patches(embed_dim, patch_size)
        self.layers = nn.Sequential(*[Layer(embed_dim, num_heads, rate) for rate in rates])
        self.norm = nn.RMSNorm(embed_dim)
        self.head = nn.Linear(embed_dim, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.norm(self.layers(self.patches(image))).mean(dim=1)))
