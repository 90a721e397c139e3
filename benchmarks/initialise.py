"""How long it takes to give GPT-2 small its first values, each parameter once, against doing so by hand.

    python -m benchmarks.initialise --repetitions 7

By hand: construct nn.Linear and nn.Embedding layers, which initialise themselves, then draw the same matrices anew with
N(0, 0.02^2), as GPT-2 does; `by hand` makes the output projection before it is tied, as is usual, `by hand, lean` does
not make it. `once`: allocate the same parameters and run for each only what finally counts, on one or several threads.
The module that `once` fills is on meta beforehand: that time is the builder's, not counted here.
"""

from __future__ import annotations

import argparse
import gc
import platform
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from benchmarks.measuring import quartiles
from confnet.builder.defaults import defaults_of
from confnet.builder.initializers import Constant, Initializer, Normal
from confnet.builder.streams import Job, run_all

HAND, LEAN = "by hand", "by hand, lean"
SIZES = {
    "gpt2": {"vocabulary": 50257, "positions": 1024, "width": 768, "layers": 12},
    "tiny": {"vocabulary": 610, "positions": 16, "width": 24, "layers": 2},
}


def gpt2(vocabulary: int, positions: int, width: int, layers: int, project: bool = False) -> nn.Module:
    """The layers of GPT-2 as torch makes them; `project` makes the output projection too, and ties it."""
    model = nn.ModuleDict({"wte": nn.Embedding(vocabulary, width), "wpe": nn.Embedding(positions, width)})
    for index in range(layers):
        model[f"h{index}"] = nn.ModuleList(
            [
                nn.LayerNorm(width),
                nn.Linear(width, 3 * width),
                nn.Linear(width, width),
                nn.LayerNorm(width),
                nn.Linear(width, 4 * width),
                nn.Linear(4 * width, width),
            ]
        )
    model["ln_f"] = nn.LayerNorm(width)
    if project:
        head = nn.Linear(width, vocabulary, bias=False)
        head.weight = model["wte"].weight  # type: ignore[assignment]
    return model


def drawn_anew(module: nn.Module) -> None:
    """GPT-2's own initialisation, for `nn.Module.apply`."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)


def once(skeleton: nn.Module, seed: int, threads: int) -> Mapping[str, torch.Tensor]:
    """The parameters of a module that is on meta, allocated and initialised once each."""
    defaults = defaults_of(skeleton)
    jobs: list[Job] = []
    for prefix, module in skeleton.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            initializer: Initializer = defaults[module, name]
            if isinstance(module, nn.Linear | nn.Embedding):
                initializer = Normal(0.0, 0.02) if name == "weight" else Constant(0.0)
            jobs.append(Job(torch.empty(parameter.shape, dtype=parameter.dtype), initializer, seed, f"{prefix}.{name}"))
    run_all(jobs, threads)
    return {job.fqn: job.tensor for job in jobs}


def contenders(size: Mapping[str, Any], threads: int) -> dict[str, Callable[[], object]]:
    """All ways to the same parameters. Raises AssertionError if their names or spreads differ."""

    def by_hand() -> nn.Module:
        return gpt2(**size, project=True).apply(drawn_anew)

    def lean() -> nn.Module:
        return gpt2(**size).apply(drawn_anew)

    skeleton = gpt2(**size).to("meta")
    counts = sorted({1, threads})
    ways: dict[str, Callable[[], object]] = {HAND: by_hand, LEAN: lean}
    for count in counts:
        ways[f"once, {count} thread{'s'[: count - 1]}"] = lambda count=count: once(skeleton, 0, count)  # type: ignore[misc]
    ours, theirs = once(skeleton, 0, counts[-1]), dict(lean().named_parameters())
    assert list(ours) == list(theirs), "the contenders have other parameters"
    for name, tensor in ours.items():
        spread = 6 * max(theirs[name].std().item(), 1e-12) / tensor.numel() ** 0.5
        torch.testing.assert_close(tensor.std(), theirs[name].detach().std(), rtol=0, atol=spread)
        torch.testing.assert_close(tensor.mean(), theirs[name].detach().mean(), rtol=0, atol=2 * spread)
    return ways


def seconds(make: Callable[[], object]) -> float:
    """The time of one way; what it made is thrown away outside of it."""
    gc.collect()
    begin = time.perf_counter()
    made = make()
    taken = time.perf_counter() - begin
    del made
    return taken


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--repetitions", type=int, default=7, help="measurements of each contender (default 7)")
    parser.add_argument("--threads", type=int, default=2, help="torch.set_num_threads (default 2)")
    parser.add_argument("--seed", type=int, default=0, help="of the order (default 0)")
    parser.add_argument("--size", choices=sorted(SIZES), default="gpt2", help="of the model (default gpt2)")
    options = parser.parse_args(arguments)
    if options.repetitions < 2:
        parser.error("a spread takes at least 2 repetitions")
    torch.set_num_threads(options.threads)
    print(
        f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}, "
        f"{options.threads} thread(s), {options.repetitions} repetitions"
    )
    print(f"{'way':<16} {'time':>9}   to {HAND:<22} to {LEAN}")
    order = random.Random(options.seed)
    ways = contenders(SIZES[options.size], options.threads)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.repetitions):
        for name in order.sample(list(ways), len(ways)):
            times[name].append(seconds(ways[name]))
    for name, values in times.items():
        ratios = [quartiles([a / b for a, b in zip(values, times[base], strict=True)]) for base in (HAND, LEAN)]
        cells = [f"{middle:.3f} [{low:.3f}, {high:.3f}]" for low, middle, high in ratios]
        print(f"{name:<16} {quartiles(values)[1]:7.3f} s   {cells[0]:<25} {cells[1]}")


if __name__ == "__main__":
    main()
