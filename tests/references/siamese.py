"""The twin of `examples/siamese.yaml`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Siamese"]


class Siamese(nn.Module):
    """One encoder over both images, and a score of the distance of their codes."""

    def __init__(self, in_channels: int, channels: Sequence[int], embed_dim: int, squared: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in channels:
            layers += [nn.Conv2d(in_channels, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
            in_channels = width
        self.encoder = nn.Sequential(
            OrderedDict(
                features=nn.Sequential(*layers),
                pool=nn.AdaptiveAvgPool2d(1),
                flatten=nn.Flatten(),
                project=nn.Linear(in_channels, embed_dim),
            )
        )
        self.score = nn.Linear(embed_dim, 1)
        self.squared = squared

    def embed(self, image: Tensor) -> Tensor:
        """The code of one image."""
        return torch.sigmoid(self.encoder(image))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        difference = self.embed(a) - self.embed(b)
        difference = difference**2 if self.squared else difference.abs()
        return torch.sigmoid(self.score(difference)).squeeze(-1)
