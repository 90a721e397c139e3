"""What it costs to check and to build on meta a file that describes a model of 70 and of 405 billion parameters.

    python -m benchmarks.large --repetitions 3

Each measurement is a process of its own: it imports torch, then takes the time of `validate` with shapes and of
`build(device="meta")` of `examples/zoo/llama.yaml`, by the clock; the peak of its memory is what the system tells of it
at its end. `import torch` alone is measured beside it. The number of parameters must be the published one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measuring import Row, Setting, Table, parser_of, quartiles, show

__all__ = ["CASES", "Cost", "cost_of", "main", "tables"]

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "examples" / "zoo" / "llama.yaml"
SECONDS, GIGABYTES = 10.0, 1.0


@dataclass(frozen=True)
class Case:
    """A size of Llama, with its published number of parameters."""

    name: str
    parameters: int
    args: Mapping[str, float]


def _llama(layers: int, hidden: int, inner: int, heads: int, groups: int, **more: float) -> dict[str, float]:
    return {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        **more,
    }


CASES = (
    Case("Llama 2 70B", 68_976_648_192, _llama(80, 8192, 28672, 64, 8)),
    Case(
        "Llama 3.1 405B",
        405_853_388_800,
        _llama(126, 16384, 53248, 128, 8, vocab_size=128256, rope_theta=500000.0, rope_factor=8.0),
    ),
)
TINY = (Case("Llama", 22_496, _llama(2, 32, 64, 4, 2, vocab_size=61)),)

_CHILD = """\
import json, resource, sys, time
from pathlib import Path
import torch

def peak():
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss of Linux begins with that of the process that started this one
        lines = status.read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

base = peak()
file, args, threads = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(threads)
import confnet
begin = time.perf_counter()
report = confnet.validate(file, args=args, variant=None)
checked = time.perf_counter()
model = confnet.build(file, args=args, device="meta")
built = time.perf_counter()
assert report.ok, str(report)
print(json.dumps({
    "parameters": sum(parameter.numel() for parameter in model.parameters()),
    "shapes": [shape.checked for shape in report.shapes],
    "validate": checked - begin,
    "build": built - checked,
    "base": base,
    "peak": peak(),
}))
"""


@dataclass(frozen=True)
class Cost:
    """Seconds of the two steps; gigabytes at the end, and after the import of torch alone."""

    validate: float
    build: float
    peak: float
    base: float


def cost_of(case: Case, setting: Setting) -> Cost:
    """Run a case once. Raises AssertionError if it fails, checks no shapes or has another number of parameters."""
    command = [sys.executable, "-W", "ignore", "-c", _CHILD, str(FILE), json.dumps(case.args), str(setting.threads)]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
    )
    assert result.returncode == 0, f"{case.name} fails:\n{result.stdout}{result.stderr}"
    return _cost(case, json.loads(result.stdout))


def _cost(case: Case, told: Mapping[str, Any]) -> Cost:
    assert told["parameters"] == case.parameters, f"{case.name} has {told['parameters']:,} parameters"
    assert told["shapes"], f"{case.name}: no shapes were checked"
    assert all(told["shapes"]), f"{case.name}: not all shapes were checked"
    unit = 1e9 if sys.platform == "darwin" else 1e6  # bytes or kilobytes
    return Cost(told["validate"], told["build"], told["peak"] / unit, told["base"] / unit)


def measure(cases: Sequence[Case], setting: Setting, order: random.Random) -> dict[str, list[Cost]]:
    """The costs of all: in each repetition each runs once, in an order drawn anew."""
    costs: dict[str, list[Cost]] = {case.name: [] for case in cases}
    for _ in range(setting.repetitions):
        for case in order.sample(list(cases), len(cases)):
            costs[case.name].append(cost_of(case, setting))
    return costs


def rows(case: Case, costs: Sequence[Cost], setting: Setting) -> list[Row]:
    """A row for the time and one for the memory."""
    name = f"{case.name}, {case.parameters / 1e9:.0f} billion" if case.parameters > 1e9 else setting.name(case.name)
    both = quartiles([cost.validate + cost.build for cost in costs])
    parts = [quartiles([getattr(cost, part) for cost in costs])[1] for part in ("validate", "build")]
    peak, base = (quartiles([getattr(cost, part) for cost in costs]) for part in ("peak", "base"))
    return [
        Row(
            (name, "validate with shapes, build on meta", _spread(both, "s"), f"{parts[0]:.2f} s, {parts[1]:.2f} s"),
            both[1],
            setting.target(SECONDS),
        ),
        Row(
            (name, "peak of memory", _spread(peak, "GB"), f"{base[1]:.2f} GB of it after `import torch`"),
            peak[1],
            setting.target(GIGABYTES),
        ),
    ]


def _spread(values: tuple[float, float, float], unit: str) -> str:
    low, middle, high = values
    return f"{middle:.2f} {unit} [{low:.2f}, {high:.2f}]"


def tables(setting: Setting) -> list[Table]:
    """The one table."""
    cases = TINY if setting.tiny else CASES
    costs = measure(cases, setting, setting.order())
    found = [row for case in cases for row in rows(case, costs[case.name], setting)]
    return [Table("Large models", ("model", "what", "[quartiles]", "of which"), found)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options: argparse.Namespace = parser_of(__doc__, repetitions=3).parse_args(arguments)
    show(tables, Setting.of(options))


if __name__ == "__main__":
    main()
