"""What all benchmarks share: times of contenders side by side, their ratios with a spread, and tables of them.

In each repetition every contender runs once, in an order drawn anew; a ratio is taken within a repetition, so that a
machine that slows down for a while slows both. Garbage is collected before each time is taken, so that nobody pays for
another's; during it the collector runs as Python sets it, but does not look at what was there before all of them (the
modules of torch, say), a quarter of a second that would fall on one or the other by chance.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

__all__ = [
    "BASE",
    "TIMES",
    "Row",
    "Setting",
    "Table",
    "Way",
    "assert_equal",
    "machine",
    "missed",
    "parser_of",
    "quartiles",
    "ratio_row",
    "rows_of",
    "seconds",
    "show",
    "shuffled",
]

Way = Callable[[], object]
"""One way to the same result; what it returns is thrown away outside of the time that is taken."""

BASE = "by hand"
"""The contender that ratios are taken to."""


@dataclass(frozen=True)
class Setting:
    """How much is measured. `tiny` makes every model small: for tests of the benchmarks themselves."""

    repetitions: int = 7
    threads: int = 2
    seed: int = 0
    tiny: bool = False

    @classmethod
    def of(cls, options: argparse.Namespace) -> Setting:
        """The setting of a command line, which holds for this process from now on."""
        torch.set_num_threads(options.threads)
        return cls(options.repetitions, options.threads, options.seed, options.tiny)

    def name(self, model: str) -> str:
        """What tables call a model: a tiny one stands for nothing."""
        return f"{model} (tiny)" if self.tiny else model

    def target(self, ratio: float) -> float | None:
        """A target, which is one for models of full size only."""
        return None if self.tiny else ratio

    def order(self) -> random.Random:
        return random.Random(self.seed)


@dataclass(frozen=True)
class Row:
    """A line of a table. `ratio` is the median that `target` bounds; None if there is nothing to bound."""

    cells: tuple[str, ...]
    ratio: float | None = None
    target: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        return None if self.target is None or self.ratio is None else self.ratio <= self.target

    def text(self) -> str:
        verdict = {None: "", True: "met", False: "**not met**"}[self.met]
        bound = f"{self.target:g}" if self.target is not None else ""
        return f"| {' | '.join([*self.cells, bound, verdict])} |"


@dataclass(frozen=True)
class Table:
    """A table, what it is about, and remarks (of what was left out, say)."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[Row]
    remarks: Sequence[str] = field(default_factory=tuple)

    def text(self) -> str:
        """The table as Markdown."""
        header = (*self.header, "target", "")
        lines = [f"### {self.title}", "", f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
        lines += [row.text() for row in self.rows]
        if self.remarks:
            lines += ["", *(f"- {remark}" for remark in self.remarks)]
        return "\n".join(lines)


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """First quartile, median, third quartile; a single value is all three."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    first, middle, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, middle, third


def seconds(way: Way) -> float:
    """The time of one way by the clock; what it made is thrown away afterwards."""
    gc.collect()
    begin = time.perf_counter()
    made = way()
    taken = time.perf_counter() - begin
    del made
    return taken


def shuffled(ways: Mapping[str, Way], setting: Setting, warm_up: bool = True) -> dict[str, list[float]]:
    """The times of all ways: in each repetition each runs once, in an order drawn anew, after one run not counted."""
    order = setting.order()
    times: dict[str, list[float]] = {name: [] for name in ways}
    if warm_up:
        for way in ways.values():
            way()
    gc.collect()
    gc.freeze()
    try:
        for _ in range(setting.repetitions):
            for name in order.sample(list(ways), len(ways)):
                times[name].append(seconds(ways[name]))
    finally:
        gc.unfreeze()
    return times


def rows_of(
    case: str, times: Mapping[str, Sequence[float]], targets: Mapping[str, float | None], base: str = BASE
) -> list[Row]:
    """A row for each contender: its time, and its ratio to `base` within the same repetition."""
    return [ratio_row(case, name, values, times[base], targets.get(name)) for name, values in times.items()]


def ratio_row(case: str, name: str, values: Sequence[float], base: Sequence[float], target: float | None) -> Row:
    low, middle, high = (1e3 * value for value in quartiles(values))
    digits = 0 if middle >= 1000 else 1 if middle >= 10 else 3
    spread = f"{middle:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
    if values is base:
        return Row((case, name, spread, "1"))
    first, ratio, third = quartiles([a / b for a, b in zip(values, base, strict=True)])
    return Row((case, name, spread, f"{ratio:.3f} [{first:.3f}, {third:.3f}]"), ratio, target)


TIMES = ("model", "way", "ms [quartiles]", "ratio to by hand [quartiles]")
"""The header of tables of `rows_of`."""


def machine(setting: Setting) -> str:
    """The machine, in one line: what it is, not which one."""
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return (
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, "
        f"torch {torch.__version__}; OMP_NUM_THREADS {threads}, torch threads {setting.threads}, "
        f"{setting.repetitions} repetitions; load average at the start {load}"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def parser_of(doc: str | None, repetitions: int) -> argparse.ArgumentParser:
    """The options that all benchmarks of tables have."""
    parser = argparse.ArgumentParser(description=(doc or "").split("\n\n")[0])
    times = f"measurements of each contender (default {repetitions})"
    parser.add_argument("--repetitions", type=int, default=repetitions, help=times)
    parser.add_argument("--threads", type=int, default=2, help="torch.set_num_threads (default 2)")
    parser.add_argument("--seed", type=int, default=0, help="of the order (default 0)")
    parser.add_argument("--tiny", action="store_true", help="small models: only whether it runs")
    return parser


def show(make: Callable[[Setting], Sequence[Table]], setting: Setting) -> None:
    """Print the machine, the tables of a benchmark, and the targets that are not met."""
    print(f"{machine(setting)}\n", flush=True)
    tables = make(setting)
    print("\n\n".join(table.text() for table in tables))
    print("\n".join(["", *missed(tables)]))


def missed(tables: Sequence[Table]) -> list[str]:
    """The targets that are not met, each in a line."""
    return [
        f"{table.title}: {', '.join(row.cells[:2])}: {row.ratio:.3g} instead of {row.target:g}"
        for table in tables
        for row in table.rows
        if row.met is False
    ]


# --- whether the contenders make the same model ----------------------------------------------------------------------


def assert_equal(name: str, model: nn.Module, reference: nn.Module) -> None:
    """Raise AssertionError if two models differ in modules, keys, shapes, dtypes, buffers or ties."""
    for what, ours, theirs in zip(_ASPECTS, _aspects(model), _aspects(reference), strict=True):
        assert ours == theirs, f"`{name}` has other {what}: {_difference(ours, theirs)}"


_ASPECTS = ("modules", "keys and shapes", "buffers", "ties", "devices")


def _aspects(model: nn.Module) -> tuple[list[str], ...]:
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    names: dict[int, list[str]] = {}
    for name, tensor in tensors:
        names.setdefault(id(tensor), []).append(name)
    return (
        [name for name, _ in model.named_modules()],
        [f"{name} {tuple(value.shape)} {value.dtype}" for name, value in model.state_dict().items()],
        [f"{name} {tuple(value.shape)} {value.dtype}" for name, value in model.named_buffers()],
        sorted(" = ".join(sorted(tied)) for tied in names.values() if len(tied) > 1),
        sorted({tensor.device.type for _, tensor in tensors}),
    )


def _difference(ours: Sequence[str], theirs: Sequence[str]) -> str:
    more, less = [x for x in ours if x not in theirs], [x for x in theirs if x not in ours]
    return f"{more[:3]} instead of {less[:3]}" if more or less else "another order"
