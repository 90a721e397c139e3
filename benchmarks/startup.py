"""How soon the command answers what needs no torch: the whole process against importing its libraries, and growth.

    python -m benchmarks.startup --repetitions 10

The first table has files of 150 layers: one that is right (`confnet validate --no-shapes`), one with a mistake in every
third layer, and one whose layers come from a definition with a `forward`. What is measured is the processor time of
the process (user and system), in turn with a process that only imports yaml and pydantic and makes one model. All of
them find their modules compiled, as an installed package has them.

The second table has the time per layer of files of 100 to 10,000 layers, start-up left out, and the most memory that
the process had.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.measuring import Row, Setting, Table, parser_of, ratio_row, show

__all__ = ["main", "tables"]

ROOT = Path(__file__).resolve().parent.parent
BASE = "import yaml, pydantic; one model"
LAYERS = 150
COUNTS = (100, 1_000, 10_000)
MEMORY = 200  # megabytes
FLAT = 1.3

_BASE = "import yaml, pydantic\nclass Model(pydantic.BaseModel):\n    number: int\n"
_GROWTH = """\
import re, resource, sys, time
from pathlib import Path
from confnet import api
path, times = sys.argv[1], int(sys.argv[2])
assert api.validate(sys.argv[3], shapes=False).ok
begin = time.process_time()
for _ in range(times):
    assert api.validate(path, shapes=False).ok
status = Path("/proc/self/status")  # `ru_maxrss` counts what the parent had before this process began
peak = re.search(r"VmHWM:\\s+(\\d+)", status.read_text()) if status.exists() else None
print((time.process_time() - begin) / times, peak[1] if peak else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
_CONV = "{in_channels: 8, out_channels: 8, kernel_size: 3, padding: 1, bias: false}"


def plain(layers: int, conv: str = _CONV) -> str:
    """A file of that many layers, one after the other."""
    lines = [f"- Conv2d: {conv}\n- BatchNorm2d: 8\n- ReLU: {{inplace: true}}\n" for _ in range(layers // 3)]
    rest = "- ReLU\n" * (layers % 3)
    return f"confnet: 1\nSequential:\n{''.join(lines)}{rest}"


def composed(layers: int) -> str:
    """A file that makes that many layers from a definition with a forward."""
    blocks = "      - Block: {channels: $width}\n" * ((layers - 2) // 4)
    return f"""\
confnet: 1
args: {{width: 8}}
modules:
  Block:
    args: {{channels: int}}
    children:
      conv1: {{Conv2d: {{in_channels: $channels, out_channels: $channels, kernel_size: 3, padding: 1}}}}
      norm1: {{BatchNorm2d: $channels}}
      conv2: {{Conv2d: {{in_channels: $channels, out_channels: $channels, kernel_size: 3, padding: 1}}}}
      norm2: {{BatchNorm2d: $channels}}
    forward: |
      y = F.relu(norm1(conv1(x)))
      return F.relu(norm2(conv2(y)) + x)
children:
  stem: {{Conv2d: [3, $width, 3]}}
  layers:
    Sequential:
{blocks}  head: {{Linear: [$width, 10]}}
forward: return head(layers(stem(x)).mean((2, 3)))
"""


def tables(setting: Setting) -> list[Table]:
    """Both tables."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        return [_starting(setting, Path(name)), _growing(setting, Path(name))]


def _starting(setting: Setting, folder: Path) -> Table:
    layers = 9 if setting.tiny else LAYERS
    files = {
        "right": plain(layers),
        "a definition and code": composed(layers),
        f"{layers // 3} mistakes": plain(layers, _CONV.replace("kernel_size", "kernal_size")),
    }
    commands = {BASE: [sys.executable, "-c", _BASE]}
    for title, text in files.items():
        path = folder / f"{len(commands)}.yaml"
        path.write_text(text, encoding="utf-8")
        commands[title] = [sys.executable, "-m", "confnet", "validate", "--no-shapes", str(path)]
    expected = {title: 1 if "mistakes" in title else 0 for title in commands}
    times: dict[str, list[float]] = {title: [] for title in commands}
    environment = _environment(folder)
    for title, command in commands.items():  # compiles what is imported
        _cost(command, environment, expected[title])
    order = setting.order()
    for _ in range(setting.repetitions):
        for title in order.sample(list(commands), len(commands)):
            times[title].append(_cost(commands[title], environment, expected[title]))
    rows = [
        ratio_row(f"{layers} layers" if title != BASE else "", title, values, times[BASE], setting.target(1.5))
        for title, values in times.items()
    ]
    header = ("file", "what", "processor time, ms [quartiles]", "ratio [quartiles]")
    return Table("Check without torch: the whole process", header, rows)


def _growing(setting: Setting, folder: Path) -> Table:
    counts = (10, 20) if setting.tiny else COUNTS
    environment = _environment(folder)
    warm = folder / "warm.yaml"
    warm.write_text(plain(30), encoding="utf-8")
    spent: dict[int, list[float]] = {count: [] for count in counts}
    memory: dict[int, int] = {}
    order = setting.order()
    for count in counts:
        (folder / f"n{count}.yaml").write_text(plain(count), encoding="utf-8")
    for _ in range(setting.repetitions):
        for count in order.sample(list(counts), len(counts)):
            times = max(1, (60 if setting.tiny else 3_000) // count)
            command = [sys.executable, "-c", _GROWTH, str(folder / f"n{count}.yaml"), str(times), str(warm)]
            run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            seconds, kilobytes = run.stdout.split()
            spent[count].append(float(seconds) / count)
            memory[count] = max(memory.get(count, 0), int(kilobytes) // (1024 if sys.platform == "darwin" else 1))
    base = spent[counts[0]]
    rows = []
    for count, values in spent.items():
        ratio = statistics.median(a / b for a, b in zip(values, base, strict=True))
        megabytes = memory[count] / 1024
        cells = (f"{count:,}", f"{1e6 * statistics.median(values):.0f}", f"{ratio:.2f}", f"{megabytes:.0f}")
        rows.append(Row(cells, ratio, setting.target(FLAT) if count != counts[0] else None))
    header = ("layers", "microseconds per layer", f"ratio to {counts[0]:,}", "memory, MB")
    over = [f"{count:,} layers take more than {MEMORY} MB" for count in counts if memory[count] > MEMORY * 1024]
    return Table("Check without torch: growth, start-up left out", header, rows, over)


def _environment(folder: Path) -> Mapping[str, str]:
    """Modules are compiled once, into a folder of this run's own, whatever is set for the benchmarks themselves."""
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**variables, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(folder / "compiled")}


def _cost(command: Sequence[str], environment: Mapping[str, str], expected: int) -> float:
    """The processor time of a process. Raises RuntimeError if it does not end with the code that it should."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=dict(environment))
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != expected:
        raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}")
    return usage.ru_utime + usage.ru_stime


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    show(tables, Setting.of(parser_of(__doc__, repetitions=10).parse_args(arguments)))


if __name__ == "__main__":
    main()
