"""The twin of `examples/zoo/vqvae.yaml`: VQ-VAE with both ways of learning its vectors, written out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["VQVAE", "Decoder", "EMAVectorQuantizer", "Encoder", "Residual", "VectorQuantizer"]

Quantized = tuple[Tensor, Tensor, Tensor]
"""The chosen vectors, the loss, and their numbers."""


class Residual(nn.Module):
    """ReLU, 3x3 convolution, ReLU, 1x1 convolution, and the input again."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, inner, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(inner, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv2(functional.relu(self.conv1(functional.relu(x))))
        return out


class Encoder(nn.Module):
    """An image to a grid of vectors, a quarter of its size."""

    def __init__(self, channels: int, hidden: int, inner: int, layers: int, dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, hidden // 2, 4, stride=2, padding=1)
        self.conv2 = nn.Conv2d(hidden // 2, hidden, 4, stride=2, padding=1)
        self.conv3 = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.residuals = nn.Sequential(*[Residual(hidden, inner) for _ in range(layers)])
        self.proj = nn.Conv2d(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.conv1(x))
        x = functional.relu(self.conv2(x))
        x = self.residuals(self.conv3(x))
        out: Tensor = self.proj(functional.relu(x))
        return out


class Decoder(nn.Module):
    """A grid of vectors to an image."""

    def __init__(self, channels: int, hidden: int, inner: int, layers: int, dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim, hidden, 3, padding=1)
        self.residuals = nn.Sequential(*[Residual(hidden, inner) for _ in range(layers)])
        self.up1 = nn.ConvTranspose2d(hidden, hidden // 2, 4, stride=2, padding=1)
        self.up2 = nn.ConvTranspose2d(hidden // 2, channels, 4, stride=2, padding=1)

    def forward(self, z_q: Tensor) -> Tensor:
        x = functional.relu(self.residuals(self.conv1(z_q)))
        out: Tensor = self.up2(functional.relu(self.up1(x)))
        return out


class VectorQuantizer(nn.Module):
    """The nearest vectors, which learn by a loss of their own."""

    def __init__(self, count: int, dim: int, commitment_cost: float, decay: float) -> None:
        super().__init__()
        self.commitment_cost = commitment_cost
        self.embedding = nn.Embedding(count, dim)
        nn.init.uniform_(self.embedding.weight, -1 / count, 1 / count)

    def forward(self, z_e: Tensor) -> Quantized:
        flat = z_e.permute(0, 2, 3, 1)
        weight = self.embedding.weight
        distances = flat.pow(2).sum(-1, keepdim=True) - 2 * flat @ weight.t() + weight.pow(2).sum(1)
        indices = distances.argmin(-1)
        chosen = self.embedding(indices).permute(0, 3, 1, 2)
        loss = functional.mse_loss(chosen, z_e.detach())
        loss = loss + self.commitment_cost * functional.mse_loss(z_e, chosen.detach())
        return z_e + (chosen - z_e).detach(), loss, indices


class EMAVectorQuantizer(nn.Module):
    """The nearest vectors, which are moving averages of what chose them."""

    embedding: Tensor
    cluster_size: Tensor
    embedding_sum: Tensor

    def __init__(self, count: int, dim: int, commitment_cost: float, decay: float, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.commitment_cost, self.decay, self.epsilon = commitment_cost, decay, epsilon
        self.register_buffer("embedding", torch.randn(count, dim))
        self.register_buffer("cluster_size", torch.zeros(count))
        self.register_buffer("embedding_sum", torch.zeros(count, dim))

    def forward(self, z_e: Tensor) -> Quantized:
        flat = z_e.permute(0, 2, 3, 1)
        squares = self.embedding.pow(2).sum(1)
        indices = (flat.pow(2).sum(-1, keepdim=True) - 2 * flat @ self.embedding.t() + squares).argmin(-1)
        chosen = self.embedding[indices].permute(0, 3, 1, 2)
        if self.training:
            self._learn(flat.detach().flatten(0, 2), indices.flatten())
        loss = self.commitment_cost * functional.mse_loss(z_e, chosen)
        return z_e + (chosen - z_e).detach(), loss, indices

    @torch.no_grad()
    def _learn(self, vectors: Tensor, indices: Tensor) -> None:
        counts = torch.zeros_like(self.cluster_size).index_add_(0, indices, torch.ones_like(vectors[:, 0]))
        sums = torch.zeros_like(self.embedding_sum).index_add_(0, indices, vectors)
        self.cluster_size.mul_(self.decay).add_(counts, alpha=1 - self.decay)
        self.embedding_sum.mul_(self.decay).add_(sums, alpha=1 - self.decay)
        used = self.cluster_size > self.epsilon
        self.embedding[used] = self.embedding_sum[used] / self.cluster_size[used].unsqueeze(1)


class VQVAE(nn.Module):
    """An autoencoder with a discrete code."""

    def __init__(
        self,
        in_channels: int = 3,
        hidden_channels: int = 256,
        residual_channels: int = 256,
        num_residual_layers: int = 2,
        num_embeddings: int = 512,
        embedding_dim: int = 64,
        commitment_cost: float = 0.25,
        ema: bool = False,
        decay: float = 0.99,
    ) -> None:
        super().__init__()
        sizes = in_channels, hidden_channels, residual_channels, num_residual_layers, embedding_dim
        self.encoder = Encoder(*sizes)
        quantizer = EMAVectorQuantizer if ema else VectorQuantizer
        self.quantizer = quantizer(num_embeddings, embedding_dim, commitment_cost, decay)
        self.decoder = Decoder(*sizes)

    def forward(self, x: Tensor) -> Quantized:
        z_q, loss, indices = self.quantizer(self.encoder(x))
        return self.decoder(z_q), loss, indices
