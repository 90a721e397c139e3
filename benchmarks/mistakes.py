"""Twelve classic mistakes in a file, and what each tool says of them, and when.

    pip install -c constraints.txt torch -e '.[rivals]'
    python -m benchmarks.mistakes --markdown

Run from the repository's root. `benchmarks/mistakes` holds the same small network as a file for each tool, and the
mistakes as edits of those files. The right file must pass in each tool, or nothing is compared. Each case runs in a
process of its own, whose output is what a person would see.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import signal
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.rivals import TOOLS, Tool, example

FOLDER: Final = Path(__file__).with_name("mistakes")
STAGES: Final = ("check", "build", "forward")
SECONDS: Final = 60

WHEN: Final = {
    "check": "before the build",
    "build": "at the build",
    "forward": "at the first forward",
    None: "never",
}

_FRAME = re.compile(r'^\s*File "(?P<file>.+)", line (?P<line>\d+)(, in .+)?$')
_PLACE = re.compile(r":(\d+)(?::(\d+))?\b")
_WORDS = re.compile(r"\bline:? (\d+)(?:,? (?:column|col):? (\d+))?")


@dataclass(frozen=True)
class Mistake:
    """One mistake, as an edit of each tool's file."""

    name: str
    repair: re.Pattern[str] | None
    edits: Mapping[str, Sequence[Sequence[str]]]
    at: Mapping[str, Sequence[str]]

    def text(self, tool: Tool) -> str:
        """The file of `tool` with this mistake; ValueError if an edit does not fit exactly once."""
        text = right_text(tool)
        for old, new in self.edits[tool.name]:
            if text.count(old) != 1:
                raise ValueError(f"{self.name}: {old!r} stands {text.count(old)} times in {tool.file}")
            text = text.replace(old, new)
        return text

    def places(self, tool: Tool) -> dict[int, range]:
        """The lines where the mistake is, each with the columns a message may point at, both counted from 1."""
        text, found = self.text(tool), {}
        for spot in self.at[tool.name]:
            if text.count(spot) != 1:
                raise ValueError(f"{self.name}: {spot!r} stands {text.count(spot)} times in {tool.file}")
            start = text.index(spot)
            line = text.count("\n", 0, start) + 1
            column = start - (text.rfind("\n", 0, start) + 1) + 1
            found[line] = range(column, column + len(spot) + 1)
        return found


@dataclass(frozen=True)
class Outcome:
    """What became of one file in one tool."""

    stage: str | None
    """Where it was refused; None if the model was built and ran."""
    output: str
    file: bool = False
    line: bool = False
    column: bool = False
    repair: bool | None = None
    """Whether the message says how to mend it; None where there is nothing to say."""

    @property
    def lines(self) -> int:
        return len(self.output.strip().splitlines())


def right_text(tool: Tool) -> str:
    """The file of a tool, without a mistake."""
    return (FOLDER / tool.file).read_text(encoding="utf-8")


def mistakes() -> tuple[Mistake, ...]:
    """The twelve, as `mistakes.toml` has them."""
    data = tomllib.loads((FOLDER / "mistakes.toml").read_text(encoding="utf-8"))
    return tuple(_mistake(item) for item in data["mistake"])


def _mistake(item: Mapping[str, Any]) -> Mistake:
    cases = {name: case for name, case in item.items() if isinstance(case, dict)}
    return Mistake(
        item["name"],
        re.compile(item["repair"]) if "repair" in item else None,
        {name: case["edits"] for name, case in cases.items()},
        {name: case["at"] for name, case in cases.items()},
    )


# --- running one case ----------------------------------------------------------------------------------------------


def run(tool: Tool, text: str) -> Outcome:
    """Use a tool on a text, in a forked process with a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="mistakes-") as name:
        folder = Path(name)
        path = folder / tool.file
        path.write_text(text, encoding="utf-8")
        out, stages = folder / "output", folder / "stages"
        stages.touch()
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child == 0:
            _child(tool, path, out, stages)
        os.waitpid(child, 0)
        reached = ["check", *stages.read_text(encoding="utf-8").split()][-1]
        output = out.read_text(encoding="utf-8", errors="replace")
    return Outcome(None if reached == "done" else reached, output)


def _child(tool: Tool, path: Path, out: Path, stages: Path) -> None:
    """In the child: everything that is printed goes to `out`, every stage that is reached to `stages`."""
    signal.alarm(SECONDS)
    descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.chdir(path.parent)

    def stage(name: str) -> None:
        with stages.open("a", encoding="utf-8") as file:
            file.write(f"{name}\n")

    try:
        model = tool.use(path, stage)
        stage("forward")
        with torch.no_grad():
            assert model(example()).shape == (2, 10)
        stage("done")
    except SystemExit:
        pass
    except BaseException as error:
        frame = error.__traceback__
        assert frame is not None
        error.__traceback__ = frame.tb_next  # this function is no part of what a person would see
        traceback.print_exception(error)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


# --- what a message tells -------------------------------------------------------------------------------------------


def judge(outcome: Outcome, tool: Tool, mistake: Mistake) -> Outcome:
    """The outcome, with what its output tells of the place and the repair.

    A line or column counts only if it is the right one. It counts in any form: `:9:34`, `line 9, column 34`, a frame
    of a traceback whose file is the one that was read, with the caret below as the column.
    """
    if outcome.stage is None:
        return outcome
    places, text = mistake.places(tool), mistake.text(tool).splitlines()
    named = [(line, column) for line, column in _named_places(outcome.output, tool.file, text) if line in places]
    message = _message(outcome.output)
    return Outcome(
        outcome.stage,
        outcome.output,
        file=tool.file in outcome.output,
        line=bool(named),
        column=any(column in places[line] for line, column in named if column is not None),
        repair=None if mistake.repair is None else mistake.repair.search(message) is not None,
    )


def _named_places(output: str, file: str, source: Sequence[str]) -> Iterator[tuple[int, int | None]]:
    """Every line, with its column if there is one, that an output names, but for frames of other files than `file`."""
    lines = output.splitlines()
    for index, text in enumerate(lines):
        frame = _FRAME.match(text)
        if frame is None:
            for match in (*_PLACE.finditer(text), *_WORDS.finditer(text)):
                yield int(match[1]), int(match[2]) if match[2] else None
        elif Path(frame["file"]).name == file or frame["file"].startswith("<"):  # `<unknown>`: a text without a file
            number = int(frame["line"])
            yield number, _caret(lines[index + 1 : index + 3], source[number - 1 : number])


def _caret(below: Sequence[str], source: Sequence[str]) -> int | None:
    """The column of the first caret under a line that a traceback shows with an indentation of its own."""
    if len(below) < 2 or "^" not in below[1] or not source:
        return None
    return below[1].index("^") - _indentation(below[0]) + _indentation(source[0]) + 1


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


def _message(output: str) -> str:
    """An output without quoted source: frames of a traceback, and the lines of an excerpt."""
    kept: list[str] = []
    in_traceback = False
    for line in output.splitlines():
        if line.startswith("Traceback (most recent call last)"):
            in_traceback = True
        elif in_traceback and not line.startswith(" "):
            in_traceback = False
        if not in_traceback and not re.match(r"\s*(\d+ )?\s*\|", line) and not _FRAME.match(line):
            kept.append(line)
    return "\n".join(kept)


# --- the table ------------------------------------------------------------------------------------------------------


def compare(tools: Sequence[Tool]) -> dict[str, dict[str, Outcome]]:
    """Every mistake in every tool; SystemExit if the right file does not pass in one of them."""
    for tool in tools:
        outcome = run(tool, right_text(tool))
        if outcome.stage is not None:
            sys.exit(f"the right file does not pass in {tool.name} ({outcome.stage}):\n{outcome.output}")
    return {
        mistake.name: {tool.name: judge(run(tool, mistake.text(tool)), tool, mistake) for tool in tools}
        for mistake in mistakes()
    }


def cell(outcome: Outcome) -> str:
    """One outcome in a few words."""
    if outcome.stage is None:
        return "never"
    told = [name for name in ("file", "line", "column") if getattr(outcome, name)]
    if outcome.repair:
        told.append("repair")
    count = f"{outcome.lines} line{'s' if outcome.lines != 1 else ''}"
    return f"{WHEN[outcome.stage]}; {', '.join(told) or 'no place'}; {count}"


def summary(outcomes: Sequence[Outcome]) -> str:
    """What one tool found, in all."""
    before = [outcome for outcome in outcomes if outcome.stage == "check"]
    full = [outcome for outcome in before if outcome.line and outcome.column]
    repairs = [outcome for outcome in outcomes if outcome.repair and outcome.stage == "check"]
    possible = sum(1 for mistake in mistakes() if mistake.repair is not None)
    return f"{len(before)} of {len(outcomes)}; {len(full)} with line and column; repair in {len(repairs)} of {possible}"


def rows(results: Mapping[str, Mapping[str, Outcome]], tools: Sequence[Tool]) -> list[list[str]]:
    """The table: a row for each mistake, and one with the sums."""
    table = [[name, *(cell(found[tool.name]) for tool in tools)] for name, found in results.items()]
    sums = [summary([found[tool.name] for found in results.values()]) for tool in tools]
    return [*table, ["**before the build**", *sums]]


def markdown(header: Sequence[str], table: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *table]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def version(tool: Tool) -> str:
    try:
        return metadata.version(tool.distribution)
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        import confnet

        return confnet.__version__


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", action="store_true", help="print Markdown instead of a table for a terminal")
    parser.add_argument("--tool", action="append", choices=[tool.name for tool in TOOLS], help="only this (repeatable)")
    parser.add_argument("--show", metavar="MISTAKE", help="print what each tool says of one mistake, in full")
    options = parser.parse_args(arguments)
    tools = [tool for tool in TOOLS if not options.tool or tool.name in options.tool]
    if options.show is not None:
        chosen = {mistake.name: mistake for mistake in mistakes()}.get(options.show)
        if chosen is None:
            parser.error(f"no mistake {options.show!r}: {', '.join(mistake.name for mistake in mistakes())}")
        for tool in tools:
            outcome = judge(run(tool, chosen.text(tool)), tool, chosen)
            print(f"=== {tool.name}: {cell(outcome)}\n{outcome.output}")
        return
    results = compare(tools)
    header = ["mistake", *(f"{tool.name} {version(tool)}" for tool in tools)]
    table = rows(results, tools)
    if options.markdown:
        print(f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, torch {torch.__version__}.\n")
        print(markdown(header, table))
        return
    from rich.console import Console
    from rich.table import Table

    shown = Table(*header, show_lines=True)
    for row in table:
        shown.add_row(*(text.replace("**", "") for text in row))
    Console().print(shown)


if __name__ == "__main__":
    main()
