"""The twin of `examples/zoo/unet.yaml`: U-Net with the names of milesial's Pytorch-UNet, and the paper's own form."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["DoubleConv", "Down", "OutConv", "UNet", "Up"]


class DoubleConv(nn.Module):
    """(convolution, batch norm, ReLU) twice."""

    def __init__(
        self, in_channels: int, out_channels: int, mid_channels: int, padding: bool = True, batch_norm: bool = True
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((in_channels, mid_channels), (mid_channels, out_channels)):
            layers.append(nn.Conv2d(before, after, kernel_size=3, padding=int(padding), bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm2d(after))
            layers.append(nn.ReLU(inplace=True))
        self.double_conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.double_conv(x)
        return result


class Down(nn.Module):
    """Half the size, then a double convolution."""

    def __init__(self, in_channels: int, out_channels: int, padding: bool, batch_norm: bool) -> None:
        super().__init__()
        self.maxpool_conv = nn.Sequential(
            nn.MaxPool2d(2), DoubleConv(in_channels, out_channels, out_channels, padding, batch_norm)
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.maxpool_conv(x)
        return result


class Up(nn.Module):
    """Twice the size, the skip beside it, then a double convolution."""

    def __init__(self, in_channels: int, out_channels: int, bilinear: bool, padding: bool, batch_norm: bool) -> None:
        super().__init__()
        self.padding = padding
        self.up: nn.Module
        if bilinear:
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.conv = DoubleConv(in_channels, out_channels, in_channels // 2, padding, batch_norm)
        else:
            self.up = nn.ConvTranspose2d(in_channels, in_channels // 2, kernel_size=2, stride=2)
            self.conv = DoubleConv(in_channels, out_channels, out_channels, padding, batch_norm)

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        x1 = self.up(x1)
        if self.padding:
            diff_y = x2.size(2) - x1.size(2)
            diff_x = x2.size(3) - x1.size(3)
            x1 = F.pad(x1, [diff_x // 2, diff_x - diff_x // 2, diff_y // 2, diff_y - diff_y // 2])
        else:
            top = (x2.size(2) - x1.size(2)) // 2
            left = (x2.size(3) - x1.size(3)) // 2
            x2 = x2[:, :, top : top + x1.size(2), left : left + x1.size(3)]
        result: Tensor = self.conv(torch.cat([x2, x1], dim=1))
        return result


class OutConv(nn.Module):
    """A 1x1 convolution to the classes."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(x)
        return result


class UNet(nn.Module):
    """Four levels down, four up, and skips between them."""

    def __init__(
        self,
        n_channels: int = 3,
        n_classes: int = 2,
        width: int = 64,
        bilinear: bool = False,
        padding: bool = True,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        factor = 2 if bilinear else 1
        self.inc = DoubleConv(n_channels, width, width, padding, batch_norm)
        self.down1 = Down(width, 2 * width, padding, batch_norm)
        self.down2 = Down(2 * width, 4 * width, padding, batch_norm)
        self.down3 = Down(4 * width, 8 * width, padding, batch_norm)
        self.down4 = Down(8 * width, 16 * width // factor, padding, batch_norm)
        self.up1 = Up(16 * width, 8 * width // factor, bilinear, padding, batch_norm)
        self.up2 = Up(8 * width, 4 * width // factor, bilinear, padding, batch_norm)
        self.up3 = Up(4 * width, 2 * width // factor, bilinear, padding, batch_norm)
        self.up4 = Up(2 * width, width, bilinear, padding, batch_norm)
        self.outc = OutConv(width, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.inc(x)
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        x4 = self.down3(x3)
        x5 = self.down4(x4)
        x = self.up1(x5, x4)
        x = self.up2(x, x3)
        x = self.up3(x, x2)
        x = self.up4(x, x1)
        logits: Tensor = self.outc(x)
        return logits
