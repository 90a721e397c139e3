"""The twins of `gradient_scaling`, `dann`, `feature_extraction`, `nan_guard`, `renamed_checkpoint`: without hooks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["DANN", "DenseBlock", "DiscriminativeMLP", "GuardedMLP", "PerceptualFeatures"]


class ScaleGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a factor; -1 reverses it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.factor, None


class DiscriminativeMLP(nn.Sequential):
    """Linear layers with ReLU between them; the gradients of lower layers are scaled down."""

    def __init__(self, widths: Sequence[int] = (8, 16, 16, 4), decay: float = 0.385) -> None:
        self.decay, self.depth = decay, len(widths) - 1
        layers: list[nn.Module] = []
        for index, (a, b) in enumerate(pairwise(widths)):
            layers += [nn.Linear(a, b), nn.ReLU()] if index < self.depth - 1 else [nn.Linear(a, b)]
        super().__init__(*layers)

    def forward(self, input: Tensor) -> Tensor:
        linears = [module for module in self if isinstance(module, nn.Linear)]
        for index, linear in enumerate(linears):
            factor = self.decay ** (self.depth - 1 - index)
            weight: Tensor = ScaleGradient.apply(linear.weight, factor)  # type: ignore[no-untyped-call]
            bias: Tensor = ScaleGradient.apply(linear.bias, factor)  # type: ignore[no-untyped-call]
            input = functional.linear(input, weight, bias)
            input = functional.relu(input) if index < self.depth - 1 else input
        return input


class DANN(nn.Module):
    """The gradient reversal layer as an autograd function."""

    alpha: Tensor

    def __init__(self, in_features: int = 784, hidden: int = 100, num_classes: int = 10) -> None:
        super().__init__()
        self.feature_extractor = nn.Sequential(nn.Linear(in_features, hidden), nn.ReLU())
        self.label_predictor = nn.Linear(hidden, num_classes)
        self.reverse = nn.Identity()
        self.domain_classifier = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 2))
        self.register_buffer("alpha", torch.tensor(1.0), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.feature_extractor(x)
        reversed_: Tensor = ScaleGradient.apply(features, -float(self.alpha))  # type: ignore[no-untyped-call]
        return self.label_predictor(features), self.domain_classifier(reversed_)


class PerceptualFeatures(nn.Sequential):
    """Keeps what each ReLU returns while it runs its layers one by one."""

    def __init__(self, channels: Sequence[int] = (8, 16, 32)) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for number, (a, b) in enumerate(zip([3, *channels], channels, strict=False), 1):
            layers[f"conv{number}"] = nn.Conv2d(a, b, 3, padding=1)
            layers[f"relu{number}"] = nn.ReLU()
            layers[f"pool{number}"] = nn.MaxPool2d(2)
        super().__init__(layers)
        self.features: dict[str, Tensor] = {}

    def forward(self, input: Tensor) -> Tensor:
        for name, module in self.named_children():
            input = module(input)
            if name.startswith("relu"):
                self.features[name] = input
        return input


class GuardedMLP(nn.Module):
    """The network alone."""

    def __init__(self, widths: Sequence[int] = (4, 8, 8, 2)) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Sequential(OrderedDict(fc=nn.Linear(a, b), act=nn.Softplus())) for a, b in pairwise(widths))
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class DenseLayer(nn.Module):
    """torchvision's dense layer, with the concatenation inside."""

    def __init__(self, features: int, growth_rate: int, bn_size: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(features)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(features, bn_size * growth_rate, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(bn_size * growth_rate)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(bn_size * growth_rate, growth_rate, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.relu2(self.norm2(self.conv1(self.relu1(self.norm1(x))))))
        return torch.cat([x, out], 1)


class DenseBlock(nn.Sequential):
    """Dense layers, each of which adds `growth_rate` channels."""

    def __init__(self, layers: int = 3, features: int = 8, bn_size: int = 4, growth_rate: int = 4) -> None:
        super().__init__(
            OrderedDict(
                (f"denselayer{i + 1}", DenseLayer(features + i * growth_rate, growth_rate, bn_size))
                for i in range(layers)
            )
        )
