"""How long `confnet validate` takes on many files, against the import of torch that it cannot do without.

    python -m benchmarks.validate --repetitions 5

Run from the repository's root. Each measurement is a process of its own, and both contenders run in each repetition,
in an order drawn anew; what is measured is the processor time of the process (user and system), which other processes
disturb less than the clock. The ratio is taken within a repetition.
"""

from __future__ import annotations

import argparse
import platform
import random
import resource
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["IMPORT", "VALIDATE", "cost_of", "main", "measure"]

IMPORT, VALIDATE = "import torch", "confnet validate"

_EACH = """\
import sys, time
import torch
import confnet
for name in sys.argv[1:]:
    begin = time.process_time()
    report = confnet.validate(name)
    assert report.ok, f"{name} is not right: {report}"
    print(time.process_time() - begin, len(report.shapes), name)
"""


def commands(files: Sequence[str]) -> dict[str, list[str]]:
    """The command of each contender."""
    return {
        IMPORT: [sys.executable, "-W", "ignore", "-c", "import torch"],
        VALIDATE: [sys.executable, "-W", "ignore", "-m", "confnet", "validate", *files],
    }


def cost_of(command: Sequence[str]) -> tuple[float, str]:
    """The processor time of a command in seconds, and what it printed. Raises AssertionError if it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 0, f"{' '.join(command)} fails:\n{result.stdout}{result.stderr}"
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, result.stdout


def measure(files: Sequence[str], repetitions: int, order: random.Random) -> dict[str, list[float]]:
    """The costs of both contenders: in each repetition each runs once, in an order drawn anew."""
    contenders = commands(files)
    costs: dict[str, list[float]] = {name: [] for name in contenders}
    for command in contenders.values():  # files are read from the disk once
        cost_of(command)
    for _ in range(repetitions):
        for name in order.sample(list(contenders), len(contenders)):
            costs[name].append(cost_of(contenders[name])[0])
    return costs


def report(costs: Mapping[str, Sequence[float]]) -> None:
    """Print a row for each contender, and the ratio of the second to the first."""
    for name, values in costs.items():
        print(f"{name:<18} {statistics.median(values):7.2f} s  [{min(values):.2f}, {max(values):.2f}]")
    ratios = [a / b for a, b in zip(costs[VALIDATE], costs[IMPORT], strict=True)]
    print(f"{'ratio':<18} {statistics.median(ratios):7.2f}    [{min(ratios):.2f}, {max(ratios):.2f}]")


def report_files(files: Sequence[str]) -> None:
    """Print what each file costs in one process, beside the imports of torch and confnet; the first pays for what
    torch imports late."""
    print(f"\n{'file':<40} models     cost")
    for line in cost_of([sys.executable, "-W", "ignore", "-c", _EACH, *files])[1].splitlines():
        seconds, models, name = line.split(maxsplit=2)
        print(f"{name:<40} {models:>6} {float(seconds):6.2f} s")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("files", nargs="*", help="default: examples/*.yaml")
    parser.add_argument("--repetitions", type=int, default=5, help="measurements of each contender (default 5)")
    parser.add_argument("--seed", type=int, default=0, help="of the order (default 0)")
    options = parser.parse_args(arguments)
    if options.repetitions < 1:
        parser.error("there is nothing to tell without a repetition")
    files = options.files or sorted(map(str, Path("examples").glob("*.yaml")))
    print(f"Python {platform.python_version()}, {platform.machine()}, {len(files)} files, one process each time")
    report(measure(files, options.repetitions, random.Random(options.seed)))
    report_files(files)


if __name__ == "__main__":
    main()
