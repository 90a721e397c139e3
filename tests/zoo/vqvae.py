"""VQ-VAE: vectors that learn by the loss, and vectors that are moving averages (buffers that training changes)."""

from __future__ import annotations

from typing import Any

import torch

from tests.references.zoo.vqvae import VQVAE, Decoder, EMAVectorQuantizer, Encoder, Residual, VectorQuantizer
from tests.zoo.harness import Architecture, Config

SMALL: dict[str, Any] = {
    "hidden_channels": 8,
    "residual_channels": 3,
    "num_embeddings": 7,
    "embedding_dim": 4,
}
MOVING: dict[str, Any] = SMALL | {
    "in_channels": 1,
    "num_residual_layers": 1,
    "commitment_cost": 0.5,
    "decay": 0.7,
}

ARCHITECTURE = Architecture(
    title="VQ-VAE",
    file="vqvae.yaml",
    reference="twin",
    python=(Residual, Encoder, Decoder, VectorQuantizer, EMAVectorQuantizer, VQVAE),
    configs=(
        Config(SMALL, lambda: VQVAE(**SMALL), lambda: {"x": torch.randn(2, 3, 16, 12)}, variant="vqvae"),
        Config(MOVING, lambda: VQVAE(ema=True, **MOVING), lambda: {"x": torch.randn(2, 1, 8, 12)}, variant="vqvae_ema"),
    ),
)
