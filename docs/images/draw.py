"""Draw what commands print in a terminal: error.svg of `confnet validate error.yaml`, show.svg of `confnet show`.

Run `python docs/images/draw.py` after a change of what is printed; tests compare the pictures with it.
"""

from __future__ import annotations

import io
import os
import re
import textwrap
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

import confnet
import confnet.api
from confnet.cli.overview import table
from confnet.figures import footer
from confnet.render import render_text, summary

HERE = Path(__file__).parent
CELL = 12.2  # the width of one character in what rich draws


def draw(target: Path) -> None:
    """Write the picture."""
    os.chdir(HERE)
    report = confnet.validate("error.yaml")
    shown = render_text(report.diagnostics, report.sources, color=True)
    console = Console(record=True, width=88, file=io.StringIO(), force_terminal=True, highlight=False)
    console.print("[bold green]$[/] confnet validate error.yaml")
    console.print(Text.from_ansi(shown))
    console.print(f"\n{summary(report.diagnostics, 1)}")
    _save(console, "error", target)


def draw_show(target: Path) -> None:
    """Write the picture of `confnet show`."""
    overview = confnet.api.overview(HERE.parents[1] / "examples/gpt2.yaml")
    console = Console(record=True, width=116, file=io.StringIO(), force_terminal=True, highlight=False)
    console.print("[bold green]$[/] confnet show examples/gpt2.yaml")
    for line in table(overview, None, 116, lines=True):
        console.print(line)
    console.print()
    for text in footer(overview):
        console.print(Text(textwrap.fill(text, 116, subsequent_indent="  ")))
    _save(console, "show", target)


def _save(console: Console, name: str, target: Path) -> None:
    # A font that is there, not one to fetch: pages show pictures without what they link to.
    svg = console.export_svg(title="confnet", theme=MONOKAI, unique_id=name)
    start, end = svg.index("@font-face"), svg.rindex("@font-face")
    end = svg.index("}", end) + 1
    svg = svg[:start] + svg[end:].lstrip()
    svg = re.sub(r'x="([\d.]+)"([^>]*?)textLength="([\d.]+)"([^>]*)>((?:&#160;)+)', _shifted, svg)
    svg = svg.replace("Fira Code, monospace", "ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace")
    target.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n", encoding="utf-8")


def _shifted(text: re.Match[str]) -> str:
    """Begin a text at its first character: some viewers drop the spaces in front, and stretch what is left."""
    shift = text[5].count("&#160;") * CELL
    return f'x="{float(text[1]) + shift:g}"{text[2]}textLength="{float(text[3]) - shift:g}"{text[4]}>'


if __name__ == "__main__":
    draw(HERE / "error.svg")
    draw_show(HERE / "show.svg")
