"""The twin of `examples/zoo/yolov8.yaml`: ultralytics' YOLOv8 detector, written out."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

__all__ = ["DFL", "SPPF", "Bottleneck", "C2f", "Concat", "Conv", "Detect", "YOLOv8"]


class Conv(nn.Module):
    """Convolution, batch normalisation and SiLU."""

    def __init__(self, c1: int, c2: int, k: int = 1, s: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c1, c2, k, s, k // 2, bias=False)
        self.bn = nn.BatchNorm2d(c2, eps=1e-3, momentum=0.03)
        self.act = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.bn(self.conv(x)))
        return out


class Bottleneck(nn.Module):
    """Two convolutions and perhaps a shortcut."""

    def __init__(self, c: int, shortcut: bool) -> None:
        super().__init__()
        self.cv1 = Conv(c, c, 3)
        self.cv2 = Conv(c, c, 3)
        self.add = shortcut

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.cv2(self.cv1(x))
        return x + out if self.add else out


class C2f(nn.Module):
    """A chain of bottlenecks on half of the channels, every link of which is kept."""

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = False) -> None:
        super().__init__()
        self.c = c2 // 2
        self.cv1 = Conv(c1, 2 * self.c)
        self.cv2 = Conv((2 + n) * self.c, c2)
        self.m = nn.ModuleList(Bottleneck(self.c, shortcut) for _ in range(n))

    def forward(self, x: Tensor) -> Tensor:
        y = list(self.cv1(x).split((self.c, self.c), 1))
        for block in self.m:
            y.append(block(y[-1]))
        out: Tensor = self.cv2(torch.cat(y, 1))
        return out


class SPPF(nn.Module):
    """The input beside three poolings of it, each of the one before."""

    def __init__(self, c1: int, c2: int) -> None:
        super().__init__()
        self.cv1 = Conv(c1, c1 // 2)
        self.cv2 = Conv(c1 // 2 * 4, c2)
        self.m = nn.MaxPool2d(5, stride=1, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        y = [self.cv1(x)]
        for _ in range(3):
            y.append(self.m(y[-1]))
        out: Tensor = self.cv2(torch.cat(y, 1))
        return out


class Concat(nn.Module):
    """Joins maps by their channels."""

    def forward(self, x: list[Tensor]) -> Tensor:
        return torch.cat(x, 1)


class DFL(nn.Module):
    """The mean of a distribution over distances."""

    def __init__(self, c1: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c1, 1, 1, bias=False).requires_grad_(False)
        self.conv.weight.data[:] = torch.arange(c1, dtype=torch.float).view(1, c1, 1, 1)
        self.c1 = c1

    def forward(self, x: Tensor) -> Tensor:
        batch, _, anchors = x.shape
        out: Tensor = self.conv(x.view(batch, 4, self.c1, anchors).transpose(2, 1).softmax(1))
        return out.view(batch, 4, anchors)


def _branch(c1: int, hidden: int, c2: int, bias: float) -> nn.Sequential:
    last = nn.Conv2d(hidden, c2, 1)
    assert last.bias is not None
    nn.init.constant_(last.bias, bias)
    return nn.Sequential(Conv(c1, hidden, 3), Conv(hidden, hidden, 3), last)


class Detect(nn.Module):
    """Boxes and classes at three scales."""

    stride = (8, 16, 32)

    def __init__(self, nc: int, ch: list[int], reg_max: int) -> None:
        super().__init__()
        self.nc, self.reg_max = nc, reg_max
        c2, c3 = max(16, ch[0] // 4, reg_max * 4), max(ch[0], min(nc, 100))
        priors = [math.log(5 / nc / (640 / stride) ** 2) for stride in self.stride]
        self.cv2 = nn.ModuleList(_branch(x, c2, 4 * reg_max, 1.0) for x in ch)
        self.cv3 = nn.ModuleList(_branch(x, c3, nc, prior) for x, prior in zip(ch, priors, strict=True))
        self.dfl = DFL(reg_max)

    def forward(self, x: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        maps = [torch.cat((box(y), scores(y)), 1) for box, scores, y in zip(self.cv2, self.cv3, x, strict=True)]
        anchors, strides = self._make_anchors(maps)
        flat = torch.cat([y.view(y.shape[0], 4 * self.reg_max + self.nc, -1) for y in maps], 2)
        box, scores = flat[:, : 4 * self.reg_max], flat[:, 4 * self.reg_max :]
        lt, rb = self.dfl(box).chunk(2, 1)
        x1y1, x2y2 = anchors - lt, anchors + rb
        boxes = torch.cat(((x1y1 + x2y2) / 2, x2y2 - x1y1), 1) * strides
        return torch.cat((boxes, scores.sigmoid()), 1), maps

    def _make_anchors(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        points, strides = [], []
        for level, stride in zip(maps, self.stride, strict=True):
            h, w = level.shape[2:]
            sy, sx = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
            points.append(torch.stack((sx, sy), -1).view(-1, 2))
            strides.append(torch.full((h * w, 1), float(stride)))
        return torch.cat(points).t(), torch.cat(strides).t()


class YOLOv8(nn.Module):
    """Backbone, neck and head; a layer takes the outputs of those that `sources` names, or of the one before it."""

    sources: ClassVar[dict[int, tuple[int, ...]]] = {
        11: (10, 6),
        14: (13, 4),
        17: (16, 12),
        20: (19, 9),
        22: (15, 18, 21),
    }

    def __init__(self, nc: int, depth: float, width: float, max_channels: int = 1024, reg_max: int = 16) -> None:
        super().__init__()
        c = [math.ceil(min(x, max_channels) * width / 8) * 8 for x in (64, 128, 256, 512, 1024)]
        n3, n6 = max(round(3 * depth), 1), max(round(6 * depth), 1)
        self.model = nn.Sequential(
            Conv(3, c[0], 3, 2),
            Conv(c[0], c[1], 3, 2),
            C2f(c[1], c[1], n3, True),
            Conv(c[1], c[2], 3, 2),
            C2f(c[2], c[2], n6, True),
            Conv(c[2], c[3], 3, 2),
            C2f(c[3], c[3], n6, True),
            Conv(c[3], c[4], 3, 2),
            C2f(c[4], c[4], n3, True),
            SPPF(c[4], c[4]),
            nn.Upsample(scale_factor=2.0),
            Concat(),
            C2f(c[4] + c[3], c[3], n3),
            nn.Upsample(scale_factor=2.0),
            Concat(),
            C2f(c[3] + c[2], c[2], n3),
            Conv(c[2], c[2], 3, 2),
            Concat(),
            C2f(c[2] + c[3], c[3], n3),
            Conv(c[3], c[3], 3, 2),
            Concat(),
            C2f(c[3] + c[4], c[4], n3),
            Detect(nc, c[2:], reg_max),
        )

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        outputs: list[Any] = []
        x: Any = image
        for i, layer in enumerate(self.model):
            x = layer([outputs[j] for j in self.sources[i]] if i in self.sources else x)
            outputs.append(x)
        result: tuple[Tensor, list[Tensor]] = x
        return result
