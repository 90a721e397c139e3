"""The twin of `examples/zoo/squeezenet.yaml`: torchvision's SqueezeNet 1.0 and 1.1, written out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Fire", "SqueezeNet"]


class Fire(nn.Module):
    """A squeeze convolution, and two expand convolutions side by side."""

    def __init__(self, inplanes: int, squeeze_planes: int, expand1x1_planes: int, expand3x3_planes: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inplanes, squeeze_planes, kernel_size=1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeeze_planes, expand1x1_planes, kernel_size=1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeeze_planes, expand3x3_planes, kernel_size=3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze_activation(self.squeeze(x))
        left = self.expand1x1_activation(self.expand1x1(x))
        right = self.expand3x3_activation(self.expand3x3(x))
        return torch.cat([left, right], 1)


class SqueezeNet(nn.Module):
    """A stem, eight fire modules with poolings between them, and a convolution as classifier.

    `unit` is a sixteenth of the expand filters of the first fire modules (8 in the paper, where all is a multiple).
    """

    def __init__(self, version: str = "1_0", num_classes: int = 1000, dropout: float = 0.5, unit: int = 8) -> None:
        super().__init__()

        def fire(inplanes: int, squeeze: int) -> Fire:
            return Fire(unit * inplanes, unit * squeeze, unit * 4 * squeeze, unit * 4 * squeeze)

        def pool() -> nn.Module:
            return nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)

        if version == "1_0":
            self.features = nn.Sequential(
                nn.Conv2d(3, 12 * unit, kernel_size=7, stride=2),
                nn.ReLU(inplace=True),
                pool(),
                fire(12, 2),
                fire(16, 2),
                fire(16, 4),
                pool(),
                fire(32, 4),
                fire(32, 6),
                fire(48, 6),
                fire(48, 8),
                pool(),
                fire(64, 8),
            )
        else:
            self.features = nn.Sequential(
                nn.Conv2d(3, 8 * unit, kernel_size=3, stride=2),
                nn.ReLU(inplace=True),
                pool(),
                fire(8, 2),
                fire(16, 2),
                pool(),
                fire(16, 4),
                fire(32, 4),
                pool(),
                fire(32, 6),
                fire(48, 6),
                fire(48, 8),
                fire(64, 8),
            )
        final_conv = nn.Conv2d(64 * unit, num_classes, kernel_size=1)
        self.classifier = nn.Sequential(
            nn.Dropout(p=dropout), final_conv, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1))
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                if module is final_conv:
                    nn.init.normal_(module.weight, mean=0.0, std=0.01)
                else:
                    nn.init.kaiming_uniform_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(self.classifier(self.features(x)), 1)
