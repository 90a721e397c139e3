"""The twins of `examples/zoo/dcgan.yaml`: the networks of pytorch/examples/dcgan, for any size of image."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as normalised

__all__ = ["DCGAN", "Discriminator", "Generator", "weights_init"]


def weights_init(module: nn.Module) -> None:
    """The initialisation of the paper."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


class Generator(nn.Module):
    """Noise to an image."""

    def __init__(self, nz: int, ngf: int, nc: int, image_size: int = 64) -> None:
        super().__init__()
        width = ngf * image_size // 8
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(nz, width, 4, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(True),
        ]
        while width > ngf:
            layers += [
                nn.ConvTranspose2d(width, width // 2, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width // 2),
                nn.ReLU(True),
            ]
            width //= 2
        layers += [nn.ConvTranspose2d(ngf, nc, 4, stride=2, padding=1, bias=False), nn.Tanh()]
        self.main = nn.Sequential(*layers)
        self.apply(weights_init)

    def forward(self, noise: Tensor) -> Tensor:
        image: Tensor = self.main(noise)
        return image


class Discriminator(nn.Module):
    """An image to the probability that it is real."""

    def __init__(self, nc: int, ndf: int, image_size: int = 64, spectral_norm: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(nc, ndf, 4, stride=2, padding=1, bias=False), nn.LeakyReLU(0.2, True)]
        width = ndf
        for _ in range(int(math.log2(image_size)) - 3):
            layers.append(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False))
            width *= 2
            if not spectral_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.LeakyReLU(0.2, True))
        layers += [nn.Conv2d(width, 1, 4, bias=False), nn.Sigmoid()]
        self.main = nn.Sequential(*layers)
        self.apply(weights_init)
        if spectral_norm:
            for layer in self.main:
                if isinstance(layer, nn.Conv2d):
                    normalised(layer)

    def forward(self, image: Tensor) -> Tensor:
        probability: Tensor = self.main(image)
        return probability.flatten()


class DCGAN(nn.Module):
    """Both networks, one after the other: the step that trains the generator."""

    def __init__(self, nz: int, ngf: int, ndf: int, nc: int, image_size: int, spectral_norm: bool = False) -> None:
        super().__init__()
        self.netG = Generator(nz, ngf, nc, image_size)
        self.netD = Discriminator(nc, ndf, image_size, spectral_norm)

    def forward(self, noise: Tensor) -> Tensor:
        probability: Tensor = self.netD(self.netG(noise))
        return probability
