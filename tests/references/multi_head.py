"""The twin of `examples/multi_head.yaml`."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

__all__ = ["MultiHead"]


class MultiHead(nn.Module):
    """A trunk and one Linear head per task, chosen by name at each call."""

    def __init__(self, in_features: int, hidden: int, tasks: Mapping[str, int], dropout: float = 0.1) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(in_features, hidden), nn.ReLU(), nn.Dropout(dropout), nn.LayerNorm(hidden))
        self.heads = nn.ModuleDict({name: nn.Linear(hidden, outputs) for name, outputs in tasks.items()})

    def forward(self, x: Tensor, task: str) -> dict[str, Tensor]:
        features = self.trunk(x)
        return {"features": features, "logits": self.heads[task](features)}
