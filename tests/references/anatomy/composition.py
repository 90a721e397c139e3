"""The twins of `module`, `containers`, `cls_token`, `masked_conv` and `auto_sizes`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["VGG", "MaskedConv2d", "MixtureOfExperts", "PixelCNN", "ResidualMLP", "SequenceClassifier"]


class ResidualBlock(nn.Module):
    """Two Linear layers whose scaled output is added to their input."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(features, features)
        self.act = nn.ReLU()
        self.fc2 = nn.Linear(features, features)
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.gain * self.fc2(self.act(self.fc1(x)))
        return out


class ResidualMLP(nn.Module):
    """A stem, two residual blocks and a head."""

    def __init__(self, in_features: int = 8, width: int = 16, out_features: int = 3) -> None:
        super().__init__()
        self.stem = nn.Linear(in_features, width)
        self.block1 = ResidualBlock(width)
        self.block2 = ResidualBlock(width)
        self.head = nn.Linear(width, out_features)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.block2(self.block1(self.stem(x))))
        return out


class MixtureOfExperts(nn.Module):
    """Experts weighted by a gate, and two heads."""

    def __init__(self, in_features: int = 8, hidden: int = 16, experts: int = 3) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(in_features, experts), nn.Softmax(dim=-1))
        self.experts = nn.ModuleList(
            nn.Sequential(OrderedDict(fc=nn.Linear(in_features, hidden), act=nn.Tanh())) for _ in range(experts)
        )
        self.heads = nn.ModuleDict({"price": nn.Linear(hidden, 1), "kind": nn.Linear(hidden, 4)})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        weights = self.gate(x)
        mixed: Tensor = torch.zeros(())
        for index, expert in enumerate(self.experts):
            mixed = mixed + weights[:, index, None] * expert(x)
        return {"price": self.heads["price"](mixed), "kind": self.heads["kind"](mixed)}


class SequenceClassifier(nn.Module):
    """A transformer encoder that classifies by its class token."""

    def __init__(self, dim: int = 32, heads: int = 4, layers: int = 2, num_classes: int = 5) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(dim, heads, 4 * dim, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers)
        self.head = nn.Linear(dim, num_classes)
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        nn.init.trunc_normal_(self.cls_token, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.cat([self.cls_token.repeat(len(x), 1, 1), x], dim=1)
        out: Tensor = self.head(self.encoder(tokens)[:, 0])
        return out


class MaskedConv2d(nn.Conv2d):
    """The usual masked convolution: a Conv2d with a mask as a buffer."""

    mask: Tensor

    def __init__(self, mask_type: str, in_channels: int, out_channels: int, kernel_size: int, padding: int = 0) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=padding)
        self.register_buffer("mask", torch.ones_like(self.weight))
        _, _, height, width = self.weight.shape
        self.mask[:, :, height // 2, width // 2 + (mask_type == "B") :] = 0
        self.mask[:, :, height // 2 + 1 :] = 0

    def forward(self, input: Tensor) -> Tensor:
        return functional.conv2d(input, self.weight * self.mask, self.bias, self.stride, self.padding)


class PixelCNN(nn.Sequential):
    """A mask A, then masks B with ReLU between them."""

    def __init__(self, channels: int = 1, hidden: int = 16, layers: int = 3, levels: int = 4) -> None:
        modules: list[nn.Module] = [MaskedConv2d("A", channels, hidden, 7, 3)]
        for _ in range(layers):
            modules += [nn.ReLU(), MaskedConv2d("B", hidden, hidden, 3, 1)]
        super().__init__(*modules, nn.ReLU(), MaskedConv2d("B", hidden, levels * channels, 1))


class Stage(nn.Sequential):
    """A convolution with its normalisation, at half the size."""

    def __init__(self, channels: int, width: int) -> None:
        conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        super().__init__(OrderedDict(conv=conv, norm=nn.BatchNorm2d(width), act=nn.ReLU(), pool=nn.MaxPool2d(2)))


class VGG(nn.Module):
    """Stages, and a classifier of all that they leave, with every number computed by hand."""

    def __init__(
        self, channels: int = 1, image_size: int = 16, widths: Sequence[int] = (8, 16), num_classes: int = 10
    ) -> None:
        super().__init__()
        self.features = nn.Sequential(*map(Stage, [channels, *widths], widths))
        left = image_size // 2 ** len(widths)
        self.classifier = nn.Sequential(nn.Linear(widths[-1] * left**2, 32), nn.ReLU(), nn.Linear(32, num_classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.classifier(self.features(image).flatten(1))
        return out
