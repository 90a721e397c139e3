"""All benchmarks in one run, as one report in Markdown.

    pip install -c constraints.txt torch -e '.[rivals,weights]'
    OMP_NUM_THREADS=2 python -m benchmarks --write docs/performance.md

Run from the repository's root. `--write` puts the report between the marks of a page. Progress goes to the standard
error. A failing comparison (models, outputs or graphs that are not equal) ends the run without a report.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import build, checking, compile, growth, large, startup
from benchmarks.measuring import Setting, Table, machine, missed, parser_of

__all__ = ["BENCHMARKS", "END", "START", "main", "report", "written"]

START = "<!-- table: written by python -m benchmarks -->"
END = "<!-- end of table -->"

BENCHMARKS: Mapping[str, tuple[Callable[[Setting], Sequence[Table]], int]] = {
    "build": (build.tables, 5),
    "growth": (growth.tables, 3),
    "large": (large.tables, 3),
    "checking": (checking.tables, 3),
    "startup": (startup.tables, 10),
    "forward": (compile.eager, 5),
    "compile": (compile.tables, 3),
}
"""The tables of each, and its repetitions: those that take long are repeated less."""


def report(names: Sequence[str], setting: Setting, repetitions: int | None) -> str:
    """Run benchmarks and return their report."""
    head = machine(setting)
    tables: list[Table] = []
    for name in names:
        make, own = BENCHMARKS[name]
        begin = time.monotonic()
        each = replace(setting, repetitions=own if repetitions is None else repetitions)
        found = make(each)
        print(f"{name}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
        tables += [replace(table, title=f"{table.title} ({each.repetitions} repetitions)") for table in found]
    short = missed(tables)
    verdict = (
        ["### Targets that are not met", "", *(f"- {line}" for line in short)] if short else ["All targets are met."]
    )
    date = time.strftime("%Y-%m-%d")
    return "\n\n".join([f"{date}. {head}.", *(table.text() for table in tables), "\n".join(verdict)])


def written(page: str, text: str) -> str:
    """A page with a report between its marks. Raises ValueError if it does not have each of them once."""
    if page.count(START) != 1 or page.count(END) != 1:
        raise ValueError(f"the page must have `{START}` and `{END}`, each once")
    before, rest = page.split(START)
    return f"{before}{START}\n{text}\n{END}{rest.split(END)[1]}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write if asked to."""
    parser: argparse.ArgumentParser = parser_of(__doc__, repetitions=0)
    parser.set_defaults(repetitions=None)
    parser.add_argument("--only", choices=list(BENCHMARKS), action="append", help="only this one (repeatable)")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the report between the marks of this page")
    options = parser.parse_args(arguments)
    page = options.write.read_text(encoding="utf-8") if options.write else None
    if page is not None:
        written(page, "")  # a page without marks is told before the run
    text = report(options.only or list(BENCHMARKS), Setting.of(options), options.repetitions)
    print(text)
    if page is not None:
        options.write.write_text(written(page, text), encoding="utf-8")


if __name__ == "__main__":
    main()
