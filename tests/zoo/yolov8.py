"""A YOLO detector against ultralytics' names: two depths, two widths; decoded boxes and raw maps."""

from __future__ import annotations

from typing import Any

import torch

from tests.references.zoo.yolov8 import DFL, SPPF, Bottleneck, C2f, Concat, Conv, Detect, YOLOv8
from tests.zoo.harness import Architecture, Config

SMALL: dict[str, Any] = {"nc": 3, "depth": 0.33, "width": 0.125}
DEEP: dict[str, Any] = {"nc": 5, "depth": 0.67, "width": 0.1, "max_channels": 512, "reg_max": 6}

ARCHITECTURE = Architecture(
    title="YOLOv8",
    file="yolov8.yaml",
    reference="twin, names of ultralytics",
    python=(Conv, Bottleneck, C2f, SPPF, Concat, DFL, Detect, YOLOv8),
    configs=(
        Config(SMALL, lambda: YOLOv8(**SMALL), lambda: {"image": torch.rand(2, 3, 64, 96)}),
        Config(DEEP, lambda: YOLOv8(**DEEP), lambda: {"image": torch.rand(3, 3, 64, 64)}),
    ),
)
