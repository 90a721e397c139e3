"""The twin of `examples/zoo/mlp_mixer.yaml`: timm's MlpMixer with its blocks MixerBlock and ResBlock, written out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Affine", "MixerBlock", "Mlp", "MlpMixer", "PatchEmbed", "ResBlock"]


class Affine(nn.Module):
    """A scale and a shift of each channel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, 1, dim))
        self.beta = nn.Parameter(torch.zeros(1, 1, dim))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.beta, self.alpha, x)


class PatchEmbed(nn.Module):
    """An image as a sequence of embedded patches."""

    def __init__(self, patch: int, channels: int, dim: int, norm: nn.Module | None) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, patch, stride=patch)
        self.norm = norm if norm is not None else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.proj(x).flatten(2).transpose(1, 2))
        return out


class Mlp(nn.Module):
    """Two Linear layers with GELU between them."""

    def __init__(self, dim: int, hidden: int, drop: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.drop1 = nn.Dropout(drop)
        self.fc2 = nn.Linear(hidden, dim)
        self.drop2 = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.drop2(self.fc2(self.drop1(self.act(self.fc1(x)))))
        return out


class MixerBlock(nn.Module):
    """An MLP across tokens, then an MLP across channels."""

    def __init__(self, dim: int, seq_len: int, affine: bool, drop: float, init_values: float) -> None:
        super().__init__()
        self.norm1: nn.Module = Affine(dim) if affine else nn.LayerNorm(dim, eps=1e-6)
        self.mlp_tokens = Mlp(seq_len, dim // 2, drop)
        self.norm2: nn.Module = Affine(dim) if affine else nn.LayerNorm(dim, eps=1e-6)
        self.mlp_channels = Mlp(dim, 4 * dim, drop)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mlp_tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        out: Tensor = x + self.mlp_channels(self.norm2(x))
        return out


class ResBlock(nn.Module):
    """A Linear across tokens and an MLP across channels, each scaled."""

    def __init__(self, dim: int, seq_len: int, affine: bool, drop: float, init_values: float) -> None:
        super().__init__()
        self.norm1: nn.Module = Affine(dim) if affine else nn.LayerNorm(dim, eps=1e-6)
        self.linear_tokens = nn.Linear(seq_len, seq_len)
        self.norm2: nn.Module = Affine(dim) if affine else nn.LayerNorm(dim, eps=1e-6)
        self.mlp_channels = Mlp(dim, 4 * dim, drop)
        self.ls1 = nn.Parameter(init_values * torch.ones(dim))
        self.ls2 = nn.Parameter(init_values * torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1 * self.linear_tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        out: Tensor = x + self.ls2 * self.mlp_channels(self.norm2(x))
        return out


class MlpMixer(nn.Module):
    """Patches, blocks that mix tokens and channels in turn, and a classifier of their mean."""

    def __init__(
        self,
        num_classes: int = 1000,
        img_size: int = 224,
        in_chans: int = 3,
        patch_size: int = 16,
        num_blocks: int = 8,
        embed_dim: int = 512,
        block: type[MixerBlock] | type[ResBlock] = MixerBlock,
        affine: bool = False,
        stem_norm: bool = False,
        drop_rate: float = 0.0,
        init_values: float = 1e-4,
    ) -> None:
        super().__init__()
        tokens = (img_size // patch_size) ** 2

        def norm() -> nn.Module:
            return Affine(embed_dim) if affine else nn.LayerNorm(embed_dim, eps=1e-6)

        self.stem = PatchEmbed(patch_size, in_chans, embed_dim, norm() if stem_norm else None)
        self.blocks = nn.Sequential(
            *[block(embed_dim, tokens, affine, drop_rate, init_values) for _ in range(num_blocks)]
        )
        self.norm = norm()
        self.head = nn.Linear(embed_dim, num_classes) if num_classes > 0 else nn.Identity()
        self._init_weights()

    def _init_weights(self) -> None:
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if "mlp" in name:
                    nn.init.normal_(module.bias, std=1e-6)
                else:
                    nn.init.zeros_(module.bias)
        if isinstance(self.head, nn.Linear):
            nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.blocks(self.stem(x)))
        out: Tensor = self.head(x.mean(dim=1))
        return out
