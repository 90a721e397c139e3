"""Train `lenet5.yaml` on the 8x8 digits that scikit-learn ships, fitted to them by arguments alone.

Run `python examples/train_digits.py`; it needs the packages scikit-learn and rich.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import confnet

MODEL = Path(__file__).with_name("lenet5.yaml")

# Small images want small kernels; what the original did with tanh and averages, ReLU and maxima do better.
ARGS: dict[str, Any] = {
    "image_size": 8,
    "kernel_size": 3,
    "padding": [1, 1],
    "channels": [32, 64],
    "activation": "ReLU",
    "pool": {"MaxPool2d": 2},
}


def digits(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images, test images, training labels, test labels: a quarter of each class is for the test."""
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    y = torch.tensor(labels, dtype=torch.int64)
    train, test = train_test_split(range(len(y)), test_size=0.25, stratify=labels, random_state=seed)
    return x[train], x[test], y[train], y[test]


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """The share of images whose digit the model tells."""
    model.eval()
    with torch.no_grad():
        return float((model(x).argmax(dim=1) == y).float().mean())


def train(epochs: int = 20, seed: int = 0, console: Console | None = None) -> float:
    """Train a LeNet-5 and give its accuracy on the test images."""
    torch.manual_seed(seed)
    x_train, x_test, y_train, y_test = digits(seed)
    model = confnet.build(MODEL, **ARGS)
    batches = DataLoader(TensorDataset(x_train, y_train), batch_size=64, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=8e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=8e-3, total_steps=epochs * len(batches))
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("training", total=epochs * len(batches), loss=float("nan"))
        for epoch in range(epochs):
            model.train()
            for x, y in batches:
                loss = nn.functional.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                progress.update(task, advance=1, loss=loss.item(), description=f"epoch {epoch + 1}/{epochs}")
    return accuracy(model, x_test, y_test)


if __name__ == "__main__":
    console = Console()
    result = train(console=console)
    console.print(f"test accuracy {result:.2%}")
