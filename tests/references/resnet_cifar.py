"""The twin of `examples/resnet_cifar.yaml`: what its edits make of torchvision's ResNet, written out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["CifarResNet"]


class GroupNorm4(nn.GroupNorm):
    """Four groups."""

    def __init__(self, channels: int) -> None:
        super().__init__(4, channels)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, inplanes: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = GroupNorm4(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = GroupNorm4(planes)
        self.downsample = None
        if stride != 1 or inplanes != planes:
            self.downsample = nn.Sequential(
                nn.Conv2d(inplanes, planes, 1, stride=stride, bias=False), GroupNorm4(planes)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        result: Tensor = self.relu(out + (x if self.downsample is None else self.downsample(x)))
        return result


class CifarResNet(nn.Module):
    """A stem that keeps the size, four stages of blocks, and a head with dropout."""

    def __init__(self, layers: tuple[int, ...], num_classes: int, width: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = GroupNorm4(width)
        self.relu = nn.SiLU()
        inplanes = width
        for stage, blocks in enumerate(layers):
            planes = width * 2**stage
            stack: list[nn.Module] = []
            for index in range(blocks):
                stack.append(BasicBlock(inplanes, planes, 2 if stage > 0 and index == 0 else 1))
                inplanes = planes
            self.add_module(f"layer{stage + 1}", nn.Sequential(*stack))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(dropout)
        self.fc = nn.Sequential()
        self.fc.add_module("hidden", nn.Linear(inplanes, width))
        self.fc.add_module("act", nn.SiLU())
        self.fc.add_module("out", nn.Linear(width, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        for stage in range(4):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        out: Tensor = self.fc(self.drop(torch.flatten(self.avgpool(x), 1)))
        return out
