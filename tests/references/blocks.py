"""The definitions that ship with confnet, written by hand from their papers, each another way than its spec says it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

__all__ = [
    "MLP",
    "Alibi",
    "Attention",
    "ConvNormAct",
    "DropPath",
    "FeaturePyramid",
    "LayerNorm2d",
    "LayerScale",
    "LearnedPositions",
    "PatchEmbed",
    "PreNorm",
    "Residual",
    "Rotary",
    "ScaledDotProduct",
    "SinusoidalPositions",
    "SqueezeExcite",
    "SwiGLU",
    "TimeEmbedding",
    "published_slopes",
]

Call = Callable[..., Tensor]


class Residual(nn.Module):
    def __init__(self, fn: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.fn, self.shortcut = fn, shortcut or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.fn(x) + self.shortcut(x))


class PreNorm(nn.Module):
    def __init__(self, norm: nn.Module, fn: nn.Module) -> None:
        super().__init__()
        self.norm, self.fn = norm, fn

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.fn(self.norm(x)))


class DropPath(nn.Module):
    """As timm and torchvision do it."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if self.p == 0.0 or not self.training:
            return x
        noise = torch.empty([x.shape[0]] + [1] * (x.ndim - 1), dtype=x.dtype, device=x.device)
        return x * noise.bernoulli_(1.0 - self.p).div_(1.0 - self.p)


class LayerScale(nn.Module):
    def __init__(self, dim: int, init_value: float = 1e-5, channels_first: bool = False) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim, 1, 1) if channels_first else (dim,), init_value))

    def forward(self, x: Tensor) -> Tensor:
        return self.gamma * x


class LayerNorm2d(nn.Module):
    """As ConvNeXt's authors wrote it."""

    def __init__(self, num_channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(variance + self.eps)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class ConvNormAct(nn.Module):
    def __init__(self, conv: nn.Conv2d, norm: nn.Module | None, act: nn.Module | None) -> None:
        super().__init__()
        self.conv, self.norm, self.act = conv, norm, act

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.conv, self.norm, self.act):
            x = x if layer is None else layer(x)
        return x


class SqueezeExcite(nn.Module):
    """As torchvision's `SqueezeExcitation`."""

    def __init__(self, channels: int, squeeze: int, act: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeeze, 1)
        self.act = act
        self.fc2 = nn.Conv2d(squeeze, channels, 1)
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        scale = nn.functional.adaptive_avg_pool2d(x, 1)
        return cast(Tensor, self.gate(self.fc2(self.act(self.fc1(scale)))) * x)


class PatchEmbed(nn.Module):
    """A loop over the patches, each flattened and multiplied."""

    def __init__(self, embed_dim: int, patch_size: int, in_channels: int, norm: nn.Module | None, bias: bool) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, embed_dim, patch_size, patch_size, bias=bias)
        self.norm, self.size = norm, patch_size

    def forward(self, x: Tensor) -> Tensor:
        size, weight = self.size, self.proj.weight.flatten(1)
        tokens = [
            nn.functional.linear(x[:, :, i : i + size, j : j + size].flatten(1), weight, self.proj.bias)
            for i in range(0, x.shape[2], size)
            for j in range(0, x.shape[3], size)
        ]
        y = torch.stack(tokens, dim=1)
        return y if self.norm is None else cast(Tensor, self.norm(y))


class FeaturePyramid(nn.Module):
    """As torchvision's `FeaturePyramidNetwork`, with `LastLevelMaxPool` where there is an extra level."""

    def __init__(self, in_channels: list[int], out_channels: int, extra_level: bool = False) -> None:
        super().__init__()
        self.inner_blocks = nn.ModuleList([nn.Conv2d(channels, out_channels, 1) for channels in in_channels])
        self.layer_blocks = nn.ModuleList([nn.Conv2d(out_channels, out_channels, 3, padding=1) for _ in in_channels])
        self.extra_level = extra_level
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        last_inner = self.inner_blocks[-1](x[-1])
        results = [self.layer_blocks[-1](last_inner)]
        for idx in range(len(x) - 2, -1, -1):
            lateral = self.inner_blocks[idx](x[idx])
            last_inner = lateral + nn.functional.interpolate(last_inner, size=lateral.shape[-2:], mode="nearest")
            results.insert(0, self.layer_blocks[idx](last_inner))
        if self.extra_level:
            results.append(nn.functional.max_pool2d(results[-1], 1, 2, 0))
        return results


class MLP(nn.Module):
    def __init__(self, sizes: tuple[int, int, int], act: nn.Module, bias: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(sizes[0], sizes[1], bias=bias)
        self.act = act
        self.fc2 = nn.Linear(sizes[1], sizes[2], bias=bias)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.act(self.fc1(x)))
        return cast(Tensor, self.drop(self.fc2(x)))


class SwiGLU(nn.Module):
    """Equation 6 of the paper, with the gate as a function."""

    def __init__(self, sizes: tuple[int, int, int], gate: Call, bias: bool = False) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(sizes[0], sizes[1], bias=bias)
        self.up_proj = nn.Linear(sizes[0], sizes[1], bias=bias)
        self.down_proj = nn.Linear(sizes[1], sizes[2], bias=bias)
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.down_proj(self.gate(self.gate_proj(x)) * self.up_proj(x)))


class SinusoidalPositions(nn.Module):
    """Section 3.5 of the paper, number by number."""

    def __init__(self, embed_dim: int, base: float = 10000.0) -> None:
        super().__init__()
        self.embed_dim, self.base = embed_dim, base

    def forward(self, x: Tensor) -> Tensor:
        table = torch.zeros(x.shape[1], self.embed_dim)
        for position in range(x.shape[1]):
            for i in range(self.embed_dim // 2):
                angle = position / self.base ** (2 * i / self.embed_dim)
                table[position, 2 * i] = math.sin(angle)
                table[position, 2 * i + 1] = math.cos(angle)
        return x + table


class LearnedPositions(nn.Module):
    def __init__(self, embed_dim: int, max_len: int, std: float = 0.02) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(max_len, embed_dim))
        nn.init.trunc_normal_(self.weight, std=std)

    def forward(self, x: Tensor) -> Tensor:
        return x + nn.functional.embedding(torch.arange(x.shape[1]), self.weight)


class Rotary(nn.Module):
    """Pairs as complex numbers, turned by multiplication."""

    def __init__(self, head_dim: int, base: float = 10000.0, interleaved: bool = False) -> None:
        super().__init__()
        self.head_dim, self.base, self.interleaved = head_dim, base, interleaved

    def forward(self, x: Tensor) -> Tensor:
        half = self.head_dim // 2
        frequencies = torch.tensor([self.base ** (-2 * i / self.head_dim) for i in range(half)])
        angles = torch.outer(torch.arange(x.shape[-2]).float(), frequencies)
        turn = torch.polar(torch.ones_like(angles), angles)
        if self.interleaved:
            pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], half, 2))
            return torch.view_as_real(pairs * turn).flatten(-2)
        turned = torch.complex(x[..., :half].contiguous(), x[..., half:].contiguous()) * turn
        return torch.cat((turned.real, turned.imag), dim=-1)


def published_slopes(n: int) -> list[float]:
    """The slopes of ALiBi, copied from the code that its authors published."""

    def get_slopes_power_of_2(n: int) -> list[float]:
        start = 2 ** (-(2 ** -(math.log2(n) - 3)))
        return [start * start**i for i in range(n)]

    if math.log2(n).is_integer():
        return get_slopes_power_of_2(n)
    closest = 2 ** math.floor(math.log2(n))
    return get_slopes_power_of_2(closest) + published_slopes(2 * closest)[0::2][: n - closest]


class Alibi(nn.Module):
    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        rows = [[-abs(i - j) for j in range(k.shape[2])] for i in range(q.shape[2])]
        return torch.stack([slope * torch.tensor(rows) for slope in published_slopes(self.num_heads)])


class ScaledDotProduct(nn.Module):
    """Softmax and sums written out; shared keys and values are copied for each query head."""

    def __init__(self, causal: bool = False, score_bias: nn.Module | None = None) -> None:
        super().__init__()
        self.causal, self.score_bias = causal, score_bias

    def forward(self, q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        group = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        scores = torch.einsum("bhtd,bhsd->bhts", q, k) / math.sqrt(q.shape[-1])
        if self.score_bias is not None:
            scores = scores + self.score_bias(q, k)
        if self.causal:
            later = [[j > i for j in range(k.shape[2])] for i in range(q.shape[2])]
            scores = scores.masked_fill(torch.tensor(later), -torch.inf)
        if attn_mask is not None:
            scores = scores.masked_fill(~attn_mask, -torch.inf)
        return torch.einsum("bhts,bhsd->bhtd", scores.softmax(-1), v)


class Attention(nn.Module):
    """Self-attention, cross-attention where there is a `kdim`, and grouped queries where heads of keys are fewer."""

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        num_kv_heads: int | None = None,
        head_dim: int | None = None,
        kdim: int | None = None,
        bias: bool = True,
        positions: nn.Module | None = None,
        norm: Callable[[int], nn.Module] | None = None,
        **attend: Any,
    ) -> None:
        super().__init__()
        size, shared, taken = head_dim or embed_dim // num_heads, num_kv_heads or num_heads, kdim or embed_dim
        self.size, self.crossed = size, kdim is not None
        self.q_proj = nn.Linear(embed_dim, num_heads * size, bias=bias)
        self.k_proj = nn.Linear(taken, shared * size, bias=bias)
        self.v_proj = nn.Linear(taken, shared * size, bias=bias)
        self.out_proj = nn.Linear(num_heads * size, embed_dim, bias=bias)
        self.q_norm = norm(size) if norm else None
        self.k_norm = norm(size) if norm else None
        self.positions = positions
        self.attend = ScaledDotProduct(**attend)

    def heads(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], x.shape[1], -1, self.size).permute(0, 2, 1, 3)

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        context, *mask = others if self.crossed else (x, *others)
        q, k, v = self.heads(self.q_proj(x)), self.heads(self.k_proj(context)), self.heads(self.v_proj(context))
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if self.positions is not None:
            q, k = self.positions(q), self.positions(k)
        y = self.attend(q, k, v, *mask)
        return cast(Tensor, self.out_proj(y.permute(0, 2, 1, 3).reshape(x.shape[0], x.shape[1], -1)))


class TimeEmbedding(nn.Module):
    """As `timestep_embedding` of "Diffusion Models Beat GANs on Image Synthesis" is published."""

    def __init__(self, dim: int, embed_dim: int, act: nn.Module, max_period: float = 10000.0) -> None:
        super().__init__()
        self.pairs, self.max_period = dim // 2, max_period
        self.mlp = nn.Sequential(nn.Linear(dim, embed_dim), act, nn.Linear(embed_dim, embed_dim))

    def forward(self, t: Tensor) -> Tensor:
        freqs = torch.exp(-math.log(self.max_period) * torch.arange(0, self.pairs, dtype=torch.float32) / self.pairs)
        args = t[:, None].float() * freqs[None]
        return cast(Tensor, self.mlp(torch.cat([torch.cos(args), torch.sin(args)], dim=-1)))
