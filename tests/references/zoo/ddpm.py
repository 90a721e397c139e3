"""The U-Net of DDPM as a person would write it, with the names of the DDIM repository."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["AttnBlock", "Downsample", "Level", "Middle", "ResnetBlock", "UNet", "Upsample", "time_embedding"]


def time_embedding(t: Tensor, channels: int) -> Tensor:
    half = channels // 2
    frequency = torch.exp(torch.arange(half, dtype=torch.float32) * (-math.log(10000) / (half - 1)))
    angle = t.float()[:, None] * frequency[None, :]
    return torch.cat([torch.sin(angle), torch.cos(angle)], dim=1)


def conv1x1(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=1)


def conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)


class ResnetBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, temb_channels: int, dropout: float, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels, eps=1e-6)
        self.conv1 = conv3x3(in_channels, out_channels)
        self.temb_proj = nn.Linear(temb_channels, out_channels)
        self.norm2 = nn.GroupNorm(groups, out_channels, eps=1e-6)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.nin_shortcut = conv1x1(in_channels, out_channels) if in_channels != out_channels else None

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.temb_proj(F.silu(temb))[:, :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        if self.nin_shortcut is not None:
            x = self.nin_shortcut(x)
        return cast(Tensor, x + h)


class AttnBlock(nn.Module):
    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.q = conv1x1(channels, channels)
        self.k = conv1x1(channels, channels)
        self.v = conv1x1(channels, channels)
        self.proj_out = conv1x1(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        batch, channels, height, width = x.shape
        q = self.q(h).reshape(batch, channels, height * width).permute(0, 2, 1)
        k = self.k(h).reshape(batch, channels, height * width)
        v = self.v(h).reshape(batch, channels, height * width)
        weights = torch.softmax(torch.bmm(q, k) * channels**-0.5, dim=2)
        h = torch.bmm(v, weights.permute(0, 2, 1)).reshape(batch, channels, height, width)
        return cast(Tensor, x + self.proj_out(h))


class Downsample(nn.Module):
    def __init__(self, channels: int, with_conv: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel_size=3, stride=2) if with_conv else None

    def forward(self, x: Tensor) -> Tensor:
        if self.conv is None:
            return F.avg_pool2d(x, kernel_size=2, stride=2)
        return cast(Tensor, self.conv(F.pad(x, (0, 1, 0, 1))))


class Upsample(nn.Module):
    def __init__(self, channels: int, with_conv: bool) -> None:
        super().__init__()
        self.conv = conv3x3(channels, channels) if with_conv else None

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return x if self.conv is None else cast(Tensor, self.conv(x))


class Level(nn.Module):
    """The blocks of one resolution on the way down or up; the model calls them one by one."""

    block: nn.ModuleList
    attn: nn.ModuleList
    downsample: Downsample | None
    upsample: Upsample | None


class Middle(nn.Module):
    def __init__(self, channels: int, temb_channels: int, dropout: float, groups: int) -> None:
        super().__init__()
        self.block_1 = ResnetBlock(channels, channels, temb_channels, dropout, groups)
        self.attn_1 = AttnBlock(channels, groups)
        self.block_2 = ResnetBlock(channels, channels, temb_channels, dropout, groups)

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        return cast(Tensor, self.block_2(self.attn_1(self.block_1(x, temb)), temb))


class UNet(nn.Module):
    def __init__(
        self,
        ch: int = 128,
        out_ch: int = 3,
        ch_mult: Sequence[int] = (1, 2, 2, 2),
        num_res_blocks: int = 2,
        attn_resolutions: Sequence[int] = (16,),
        dropout: float = 0.1,
        resamp_with_conv: bool = True,
        in_channels: int = 3,
        resolution: int = 32,
        num_groups: int = 32,
    ) -> None:
        super().__init__()
        self.ch, self.num_res_blocks = ch, num_res_blocks
        temb_ch = 4 * ch
        self.temb = nn.Module()
        self.temb.dense = nn.ModuleList([nn.Linear(ch, temb_ch), nn.Linear(temb_ch, temb_ch)])

        self.conv_in = conv3x3(in_channels, ch)
        current = resolution
        in_ch_mult = (1, *ch_mult)
        block_in = ch
        self.down = nn.ModuleList()
        for i, mult in enumerate(ch_mult):
            level = Level()
            level.block, level.attn = nn.ModuleList(), nn.ModuleList()
            block_in = ch * in_ch_mult[i]
            for _ in range(num_res_blocks):
                level.block.append(ResnetBlock(block_in, ch * mult, temb_ch, dropout, num_groups))
                block_in = ch * mult
                if current in attn_resolutions:
                    level.attn.append(AttnBlock(block_in, num_groups))
            last = i == len(ch_mult) - 1
            level.downsample = None if last else Downsample(block_in, resamp_with_conv)
            current = current if last else current // 2
            self.down.append(level)

        self.mid = Middle(block_in, temb_ch, dropout, num_groups)

        self.up = nn.ModuleList()
        for i, mult in reversed(list(enumerate(ch_mult))):
            level = Level()
            level.block, level.attn = nn.ModuleList(), nn.ModuleList()
            for j in range(num_res_blocks + 1):
                skip = ch * in_ch_mult[i] if j == num_res_blocks else ch * mult
                level.block.append(ResnetBlock(block_in + skip, ch * mult, temb_ch, dropout, num_groups))
                block_in = ch * mult
                if current in attn_resolutions:
                    level.attn.append(AttnBlock(block_in, num_groups))
            level.upsample = Upsample(block_in, resamp_with_conv) if i > 0 else None
            current *= 2
            self.up.insert(0, level)  # counted from the full resolution, like `down`

        self.norm_out = nn.GroupNorm(num_groups, block_in, eps=1e-6)
        self.conv_out = conv3x3(block_in, out_ch)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        dense = cast(nn.ModuleList, self.temb.dense)
        temb = dense[1](F.silu(dense[0](time_embedding(t, self.ch))))
        hs = [self.conv_in(x)]
        for level in cast("list[Level]", self.down):
            for j in range(self.num_res_blocks):
                h = level.block[j](hs[-1], temb)
                if len(level.attn) > 0:
                    h = level.attn[j](h)
                hs.append(h)
            if level.downsample is not None:
                hs.append(level.downsample(hs[-1]))
        h = self.mid(hs[-1], temb)
        for level in reversed(cast("list[Level]", self.up)):
            for j in range(self.num_res_blocks + 1):
                h = level.block[j](torch.cat([h, hs.pop()], dim=1), temb)
                if len(level.attn) > 0:
                    h = level.attn[j](h)
            if level.upsample is not None:
                h = level.upsample(h)
        return cast(Tensor, self.conv_out(F.silu(self.norm_out(h))))
