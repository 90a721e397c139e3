"""The twin of `examples/autoencoder.yaml`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Autoencoder"]


def _stack(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for index in range(len(widths) - 1):
        layers.append(nn.Linear(widths[index], widths[index + 1]))
        if index < len(widths) - 2:
            layers.append(nn.GELU())
    return nn.Sequential(*layers)


class Autoencoder(nn.Module):
    """Mirrored encoder and decoder over normalised data."""

    data_mean: Tensor
    data_std: Tensor

    def __init__(self, in_features: int, hidden: Sequence[int], latent: int, mean: float, std: float) -> None:
        super().__init__()
        widths = [in_features, *hidden, latent]
        self.register_buffer("data_mean", torch.tensor(mean))
        self.register_buffer("data_std", torch.tensor(std))
        self.encoder = _stack(widths)
        self.decoder = _stack(widths[::-1])

    def encode(self, x: Tensor) -> Tensor:
        """The code of normalised data."""
        code: Tensor = self.encoder((x - self.data_mean) / self.data_std)
        return code

    def decode(self, z: Tensor) -> Tensor:
        """The data of a code, at its own scale."""
        data: Tensor = self.decoder(z)
        return data * self.data_std + self.data_mean

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))
