"""The command `confnet show`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from confnet.cli.options import common_options, format_option
from confnet.cli.specs import read_spec
from confnet.cli.terminal import Progress, draws_lines, use_color, width
from confnet.diagnostics import ConfnetError
from confnet.render import printable, render_json, render_text, summary

if TYPE_CHECKING:
    from confnet.builder import Inspection
    from confnet.builder.outline import Line, Totals
    from confnet.overview import Overview

__all__ = ["show"]

_INDENT: Final = "  "  # as torch indents
_DTYPES: Final = ("float32", "float64", "float16", "bfloat16")

_Command = TypeVar("_Command", bound=Callable[..., Any])

_PARTS: Final = {
    "modules": "Every module, as named_modules() gives them.",
    "children": "The root's own children, as named_children() gives them.",
    "parameters": "Every parameter: shape, dtype, count, whether it is trained.",
    "buffers": "Every buffer: shape, dtype, count, whether it is persistent.",
    "hooks": "Every hook that is registered.",
    "init": "What initialises each parameter, and the line that says so.",
    "repr": "The module as torch prints it, beside its parameter counts.",
}


def _part_options(command: _Command) -> _Command:
    """The options that choose a table instead of the overview."""
    for name, text in reversed(_PARTS.items()):
        command = click.option(f"--{name}", "parts", flag_value=name, multiple=True, help=text)(command)
    return command


def _sizes(context: click.Context, parameter: click.Parameter, items: tuple[str, ...]) -> dict[str, int]:
    """The values of `--size NAME=N`."""
    found: dict[str, int] = {}
    for item in items:
        name, _, number = item.partition("=")
        if not name.isidentifier() or not re.fullmatch(r"0*[1-9]\d{0,8}", number):
            raise click.BadParameter(f"{printable(item)!r} is no size; write NAME=N, N from 1 to 999999999")
        if name in found:
            raise click.BadParameter(f"{name!r} is given twice")
        found[name] = int(number)
    return found


@click.command()
@click.argument("file", metavar="FILE")
@common_options
@click.option(
    "--size",
    "sizes",
    metavar="NAME=N",
    multiple=True,
    callback=_sizes,
    help="Count FLOPs and activations with this size of the inputs, such as B=8. Repeatable.",
)
@click.option("--dtype", type=click.Choice(_DTYPES), help="Tell memory for this dtype, not the one of the file.")
@click.option("--depth", type=click.IntRange(min=0), metavar="N", help="Show so many levels below the root.")
@format_option("text", "json", "markdown")
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@click.option("--markdown", "form", flag_value="markdown", help="The same as --format markdown.")
@_part_options
def show(
    file: str,
    settings: Mapping[str, Any],
    variant: str | None,
    root: str | None,
    sizes: Mapping[str, int],
    dtype: str | None,
    depth: int | None,
    form: str,
    parts: tuple[str, ...],
) -> None:
    """Print what a file's module consists of and costs, or tables of what it holds.

    The tree has for each module its class, the arguments that differ from the default, the shape of its output,
    parameters, FLOPs and memory. Neighbours that are equal share a row. The model is built and run on the meta
    device: nothing is allocated. Each row of a table ends with the place in the file that it came from. FILE may be -
    for the standard input.

    \b
    Examples:
      confnet show examples/resnet.yaml --variant resnet50 --depth 2
      confnet show examples/gpt2.yaml --size B=8 --size T=1024 --dtype bfloat16
      confnet show examples/gpt2.yaml --parameters --buffers
    """
    from confnet import api

    if parts and form == "markdown":
        raise click.UsageError("tables are printed as text or as JSON, not as Markdown")
    if parts and (sizes or dtype is not None or depth is not None):
        raise click.UsageError("'--size', '--dtype' and '--depth' are for the overview: tables tell what the file says")
    chosen: dict[str, Any] = {"variant": variant, "root": root, "args": settings}
    found = overview = None
    with Progress() as progress:
        try:
            spec = read_spec(file)
            progress.step("loading torch")
            if parts or form == "json":
                found = api.inspect(spec, **chosen)
            if not parts:
                overview = api.overview(spec, **chosen, sizes=sizes, dtype=dtype, step=progress.step)
        except ConfnetError as error:
            progress.stop()
            _print_mistakes(error, form)
            sys.exit(1)
        except ValueError as error:
            if type(error).__name__ != "SizeError":
                raise
            raise click.BadParameter(printable(str(error)), param_hint="'--size'") from error
    if form == "json":
        assert found is not None
        click.echo(json.dumps(_data(found, overview, parts)))
    elif overview is not None:
        _print_overview(overview, form, depth)
    elif found is not None:
        _print_tables(found, parts)


def _print_mistakes(error: ConfnetError, form: str) -> None:
    if form == "json":
        click.echo(render_json(error.diagnostics, ok=False))
        return
    click.echo(render_text(error.diagnostics, error.sources, color=use_color()))
    click.echo(f"\n{summary(error.diagnostics, 1)}")


def _data(found: Inspection, overview: Overview | None, parts: tuple[str, ...]) -> dict[str, Any]:
    tables = {name: rows for name, rows in found.tables().items() if not parts or name in parts}
    whole = overview.as_data() if overview is not None else {}
    return {"ok": True, "diagnostics": [], "totals": _totals_data(found.totals), **tables, **whole}


def _totals_data(totals: Totals) -> dict[str, int]:
    return {"total": totals.parameters, "trainable": totals.trainable, "frozen": totals.frozen, "lazy": totals.lazy}


# --- the overview ---------------------------------------------------------------------------------------------------


def _print_overview(overview: Overview, form: str, depth: int | None) -> None:
    from confnet.cli.overview import markdown, table
    from confnet.figures import footer

    if form == "markdown":
        click.echo(markdown(overview, depth))
        return
    lines = table(overview, depth, width(), draws_lines())
    if use_color():
        from rich.console import Console

        console = Console(highlight=False, markup=False, soft_wrap=True)
        for line in lines:
            console.print(line)
    else:
        click.echo("\n".join(line.plain for line in lines))
    click.echo()
    for text in footer(overview):
        click.echo(_filled(text))


def _filled(text: str) -> str:
    """A line of the footer, on a terminal broken between words."""
    import textwrap

    columns = width()
    if columns is None:
        return text
    return textwrap.fill(text, max(columns, 20), subsequent_indent=_INDENT, break_long_words=False)


# --- tables ---------------------------------------------------------------------------------------------------------


def _print_tables(found: Inspection, parts: tuple[str, ...]) -> None:
    tables = {name: rows for name, rows in found.tables().items() if name in parts}
    for number, (name, rows) in enumerate(tables.items()):
        click.echo(("\n" if number else "") + f"{name}: {len(rows)}")
        _print_rows(rows)
    if "repr" in parts:
        if tables:
            click.echo()
        _print_outline(found.outline, found.totals)


def _print_rows(rows: tuple[Mapping[str, Any], ...]) -> None:
    """Rows of a table in columns; on a terminal with a header, piped as plain lines."""
    if not rows:
        return
    names = list(rows[0])
    cells = [[_cell(row[name]) for name in names] for row in rows]
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in names:
            table.add_column(
                name,
                justify="right" if name == "count" else "left",
                overflow="fold",
                style="dim" if name == "place" else "",
            )
        for row in cells:
            table.add_row(*row)
        Console(highlight=False, markup=False).print(table)
        return
    widths = [max(len(row[i]) for row in [names, *cells]) for i in range(len(names))]
    for row in [names, *cells]:
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return "?" if value is None else printable(str(value))


# --- as torch prints it ---------------------------------------------------------------------------------------------


def _print_outline(lines: tuple[Line, ...], totals: Totals) -> None:
    """A column of counts, then the tree: the counts stay in sight however narrow the terminal is."""
    counts = [_count(line.totals) for line in lines]
    if sys.stdout.isatty():
        _print_outline_table(lines, counts)
    else:  # one line for each line, however long, for `grep` and `diff`
        width = max(map(len, counts))
        text = "\n".join(
            f"{count:>{width}}  {_INDENT * line.depth}{printable(line.text)}"
            for line, count in zip(lines, counts, strict=True)
        )
        click.echo(text)
    click.echo(f"\n{_totals_text(totals)}")


def _print_outline_table(lines: tuple[Line, ...], counts: list[str]) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("module", overflow="fold")
    for line, count in zip(lines, counts, strict=True):
        # Padding, not spaces: a line that is too long goes on below its own beginning.
        text = Text(printable(line.text), style="" if line.totals else "dim")
        table.add_row(Text(count, style="cyan"), Padding(text, (0, 0, 0, len(_INDENT) * line.depth)))
    Console(highlight=False).print(table)


def _count(totals: Totals | None) -> str:
    if totals is None or not (totals.parameters or totals.lazy):
        return ""
    return f"{totals.parameters:,}" + (" + lazy" if totals.lazy else "")


def _totals_text(totals: Totals) -> str:
    text = f"{totals.parameters:,} parameters: {totals.trainable:,} trainable, {totals.frozen:,} frozen"
    return f"{text}; {totals.lazy} not sized before the first forward" if totals.lazy else text
