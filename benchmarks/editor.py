"""How long yaml-language-server takes over the JSON Schema: `python -m benchmarks.editor [--write docs/editor.md]`.

A file of so many layers is opened as an editor does, and each request is timed several times: diagnostics after a
change, completion of a layer's name in the middle of the file, and hover there. The server is that of tests/editor.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from tests.editor.client import Client
from tests.editor.server import FOLDER, MODELINE, missing, session

SIZES = (64, 1024, 5000)
REPETITIONS = 7
BEGIN, END = "<!-- figures of benchmarks/editor.py -->\n", "<!-- end of figures -->\n"
LAYER = "  - Conv2d: {in_channels: 3, out_channels: 8, kernel_size: 3, padding: same}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", metavar="PAGE", type=Path, help="put the table into this page, between its marks")
    page: Path | None = parser.parse_args().write
    if missing():
        raise SystemExit(missing())
    with session() as editor:
        measure(editor, 8)  # it reads the schema
        rows = [measure(editor, size) for size in SIZES]
    table = "| layers | diagnostics | completion | hover |\n|---|---|---|---|\n" + "".join(f"{row}\n" for row in rows)
    print(table, end="")
    if page is not None:
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        page.write_text(f"{before}{BEGIN}{table}{END}{rest.partition(END)[2]}", encoding="utf-8")


def measure(editor: Client, size: int) -> str:
    """A row of the table, for a file of so many layers."""
    path = FOLDER / f"layers{size}.yaml"
    half = LAYER * (size // 2)
    text = f"{MODELINE}confnet: 1\nSequential:\n{half}  - \n{half}"
    line = 3 + size // 2
    editor.open(path, text)
    changes = iter(f"{text}# {number}\n" for number in range(REPETITIONS))
    times = (
        median(lambda: editor.open(path, next(changes))),
        median(lambda: editor.complete(path, (line, 4))),
        median(lambda: editor.hover(path, (line - 1, 6))),
    )
    assert editor.complete(path, (line, 4)), "nothing is offered"
    assert "2D convolution" in editor.hover(path, (line - 1, 6))
    return f"| {size:,} | {' | '.join(f'{seconds:.2f} s' for seconds in times)} |"


def median(request: Callable[[], object]) -> float:
    taken = []
    for _ in range(REPETITIONS):
        begin = time.perf_counter()
        request()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
