"""How long it takes to check a file of GPT-2 small before anything is built, each tool in a process of its own.

    python -m benchmarks.checking --repetitions 3

What is measured is the processor time of the process (user and system). `confnet validate` checks the wiring, builds on
meta and runs the forward there at several sizes; the other tools read their file as far as each can without making a
layer, with the layers' classes imported, and so torch. Ratios are taken to `import torch` alone. A last row is `confnet
validate` of all examples, under every variant.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import gpt2
from benchmarks import validate as validation
from benchmarks.gpt2_rivals import MAKERS, installed
from benchmarks.measuring import Setting, Table, parser_of, ratio_row, show

__all__ = ["main", "tables"]

ROOT = Path(__file__).resolve().parent.parent
IMPORT = "import torch"

_READ = """\
import sys
from pathlib import Path
from benchmarks.gpt2_rivals import MAKERS
{maker.name: maker for maker in MAKERS}[sys.argv[1]].read(Path(sys.argv[2]))
"""


def commands(folder: Path, setting: Setting) -> tuple[dict[str, list[str]], list[str]]:
    """The command of each contender, and a remark for each that is not installed."""
    size = gpt2.SIZES["tiny" if setting.tiny else "small"]
    python = [sys.executable, "-W", "ignore"]
    file = ROOT / "examples" / "gpt2.yaml"
    sets = [f"--set={name}={value}" for name, value in size.items()]
    files = [ROOT / "examples" / "mlp.yaml"] if setting.tiny else sorted((ROOT / "examples").glob("*.yaml"))
    found = {
        IMPORT: [*python, "-c", "import torch"],
        "confnet validate --variant gpt2": [
            *python,
            "-m",
            "confnet",
            "validate",
            str(file),
            "--variant",
            "gpt2",
            *sets,
        ],
    }
    makers, absent = installed(MAKERS)
    for maker in makers:
        path = folder / maker.file
        path.write_text(maker.text(size), encoding="utf-8")
        found[maker.title] = [*python, "-c", _READ, maker.name, str(path)]
    found[f"confnet validate, {len(files)} files"] = [*python, "-m", "confnet", "validate", *map(str, files)]
    return found, absent


def tables(setting: Setting) -> list[Table]:
    """The one table."""
    order = setting.order()
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        contenders, absent = commands(Path(name), setting)
        costs: dict[str, list[float]] = {title: [] for title in contenders}
        for _ in range(setting.repetitions):
            for title in order.sample(list(contenders), len(contenders)):
                costs[title].append(validation.cost_of(contenders[title])[0])
    rows = [
        ratio_row(setting.name("examples" if "files" in title else "GPT-2 small"), title, values, costs[IMPORT], None)
        for title, values in costs.items()
    ]
    header = ("what", "process", "processor time, ms [quartiles]", "ratio to import torch [quartiles]")
    return [Table("Check a file", header, rows, absent)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    show(tables, Setting.of(parser_of(__doc__, repetitions=3).parse_args(arguments)))


if __name__ == "__main__":
    main()
