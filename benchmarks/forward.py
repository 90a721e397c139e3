"""How long the forward of a built module takes, against the same module written by hand.

    python -m benchmarks.forward --repetitions 30

Run from the repository's root. A second copy of the hand-written module runs beside the first: how far those two
differ is how far this machine can tell anything apart.
"""

from __future__ import annotations

import argparse
import platform
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.measuring import BASE, quartiles
from confnet.api import build, loads
from tests.references.resnet import resnet

BUILT, TWIN, CONTROL = "confnet", BASE, "by hand again"

MLP = """\
confnet: 1
name: DeepMLP
args: {depth: 100, width: 16}
inputs: [x]
children:
  layers:
    ModuleList:
      - repeat: $depth
        module: {Linear: [$width, $width]}
forward: |
  for layer in layers:
      x = torch.relu(layer(x))
  return x
"""


class DeepMLP(nn.Module):
    """The module of `MLP`, written by hand."""

    def __init__(self, depth: int = 100, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x


@dataclass(frozen=True)
class Case:
    """A module from a file, its twin, an input, and how many forwards make one measurement."""

    name: str
    built: Callable[[], nn.Module]
    twin: Callable[[], nn.Module]
    input: Callable[[], Tensor]
    forwards: int


CASES = {
    case.name: case
    for case in (
        Case(
            "resnet50",
            lambda: build("examples/resnet.yaml", variant="resnet50"),
            lambda: resnet("resnet50"),
            lambda: torch.randn(1, 3, 224, 224),
            forwards=1,
        ),
        Case(
            "mlp",  # so little arithmetic in each of 100 layers that any overhead of the forward would show
            lambda: build(loads(MLP)),
            DeepMLP,
            lambda: torch.randn(1, 16),
            forwards=50,
        ),
    )
}


def contenders(case: Case) -> dict[str, nn.Module]:
    """The modules of a case, with the same weights. Raises AssertionError if their outputs differ in any bit."""
    modules = {BUILT: case.built(), TWIN: case.twin(), CONTROL: case.twin()}
    x = case.input()
    for name, module in modules.items():
        module.load_state_dict(modules[BUILT].state_dict(), strict=True)
        module.eval()
        assert torch.equal(module(x), modules[BUILT](x)), f"{case.name}: `{name}` computes something else"
    return modules


def seconds(module: nn.Module, x: Tensor, forwards: int) -> float:
    """The mean time of a forward."""
    begin = time.perf_counter()
    for _ in range(forwards):
        module(x)
    return (time.perf_counter() - begin) / forwards


def measure(case: Case, repetitions: int, order: random.Random) -> dict[str, list[float]]:
    """The times of every contender: in each repetition each runs once, in an order drawn anew."""
    modules, x = contenders(case), case.input()
    times: dict[str, list[float]] = {name: [] for name in modules}
    for module in modules.values():  # warm up
        seconds(module, x, case.forwards)
    for _ in range(repetitions):
        for name in order.sample(list(modules), len(modules)):
            times[name].append(seconds(modules[name], x, case.forwards))
    return times


def report(case: Case, times: dict[str, list[float]]) -> None:
    """Print a row for each contender: its time, and its ratio to the twin within the same repetition."""
    for name, values in times.items():
        low, middle, high = (1e3 * value for value in quartiles(values))
        row = f"{case.name:<10} {name:<14} {middle:9.3f} ms  [{low:.3f}, {high:.3f}]"
        if name != TWIN:
            low, middle, high = quartiles([a / b for a, b in zip(values, times[TWIN], strict=True)])
            row = f"{row:<58} {middle:.3f}  [{low:.3f}, {high:.3f}]"
        print(row)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--repetitions", type=int, default=30, help="measurements of each contender (default 30)")
    parser.add_argument("--threads", type=int, default=1, help="torch.set_num_threads (default 1: least noise)")
    parser.add_argument("--seed", type=int, default=0, help="of the order and of the weights (default 0)")
    parser.add_argument("--case", choices=sorted(CASES), action="append", help="only this one (default: all)")
    options = parser.parse_args(arguments)
    if options.repetitions < 2:
        parser.error("a spread takes at least 2 repetitions")
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    order = random.Random(options.seed)
    print(
        f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}, "
        f"{options.threads} thread(s), {options.repetitions} repetitions, eval mode, inference_mode"
    )
    print(f"{'case':<10} {'module':<14} {'forward':>12}  {'[quartiles]':<18} ratio  [quartiles]")
    with torch.inference_mode():
        for name in options.case or CASES:
            report(CASES[name], measure(CASES[name], options.repetitions, order))


if __name__ == "__main__":
    main()
