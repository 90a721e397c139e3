"""The twin of `examples/lenet5.yaml`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["LeNet5"]


class LeNet5(nn.Module):
    """LeNet-5 with the names of PyTorch's tutorial; `features` is what the flattened maps hold."""

    def __init__(
        self, in_channels: int = 1, features: int = 400, padding: tuple[int, int] = (2, 0), num_classes: int = 10
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 6, 5, padding=padding[0])
        self.conv2 = nn.Conv2d(6, 16, 5, padding=padding[1])
        self.pool = nn.AvgPool2d(2)
        self.act = nn.Tanh()
        self.fc1 = nn.Linear(features, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.act(self.conv1(x)))
        x = self.pool(self.act(self.conv2(x)))
        x = torch.flatten(x, 1)
        x = self.act(self.fc1(x))
        x = self.act(self.fc2(x))
        out: Tensor = self.fc3(x)
        return out
