"""DCGAN as a whole, and its discriminator alone with spectral normalisation."""

from __future__ import annotations

from typing import Any

import torch

from tests.references.zoo.dcgan import DCGAN, Discriminator, Generator, weights_init
from tests.zoo.harness import Architecture, Config

SMALL: dict[str, Any] = {"image_size": 32, "nz": 5, "ngf": 3, "ndf": 2, "nc": 1}
NORMALISED: dict[str, Any] = {"image_size": 16, "ndf": 4, "nc": 3, "spectral_norm": True}

ARCHITECTURE = Architecture(
    title="DCGAN, spectral norm",
    file="dcgan.yaml",
    reference="twin, after pytorch/examples",
    python=(weights_init, Generator, Discriminator, DCGAN),
    configs=(
        Config(SMALL, lambda: DCGAN(**SMALL), lambda: {"noise": torch.randn(3, 5, 1, 1)}),
        Config(
            NORMALISED,
            lambda: Discriminator(**NORMALISED),
            lambda: {"image": torch.randn(3, 3, 16, 16)},
            root="Discriminator",
        ),
    ),
)
