"""The command `confnet`. Thin, and the only place that prints.

Importing this module loads click alone: `--help` answers at once, and each command imports what it needs.
"""

from __future__ import annotations

import io
import json
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import click

import confnet
from confnet.diagnostics import ConfnetError, Diagnostic
from confnet.render import printable, render_json, render_text, summary

if TYPE_CHECKING:
    from confnet.builder.outline import Line, Totals

__all__ = ["commands", "main"]

EXIT_DIAGNOSTICS: Final = 1
EXIT_INTERNAL: Final = 3  # click exits with 2 for wrong usage

_INDENT: Final = "  "  # as torch indents

_Command = TypeVar("_Command", bound=Callable[..., Any])


def main() -> NoReturn:
    """Run the command line and exit: 0 fine, 1 diagnostics, 2 usage, 3 a fault of confnet itself."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file may hold what the terminal's encoding does not: that is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    # torch works without numpy, which confnet does not need, and says so each time.
    warnings.filterwarnings("ignore", "Failed to initialize NumPy", UserWarning)
    try:
        commands(prog_name="confnet")
    except Exception:
        # Everything a user can do wrong is a diagnostic or a usage error, so this is neither.
        traceback.print_exc()
        click.echo("\ninternal error in confnet: please report it with the text above", err=True)
        sys.exit(EXIT_INTERNAL)
    sys.exit(0)


# --- options --------------------------------------------------------------------------------------------------------


def _settings(context: click.Context, parameter: click.Parameter, items: tuple[str, ...]) -> dict[str, Any]:
    """The values of `--set name=value`, which are YAML."""
    settings: dict[str, Any] = {}
    for item in items:
        name, equals, text = item.partition("=")
        if not equals:
            raise click.BadParameter(f"{printable(item)!r} has no '='; write name=value")
        if not name.isidentifier():
            raise click.BadParameter(f"{printable(name)!r} is not a name")
        if name in settings:
            raise click.BadParameter(f"{name!r} is set twice")
        settings[name] = _value(name, text)
    return settings


def _value(name: str, text: str) -> Any:
    from confnet.source import read_value

    try:
        return read_value(text)
    except ConfnetError as error:
        first = error.diagnostics[0]
        remedy = f" ({printable(first.help)})" if first.help else ""
        raise click.BadParameter(f"the value of {name!r} is not YAML: {printable(first.message)}{remedy}") from None


def _plugins(context: click.Context, parameter: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    """Import what `--plugin` names, so that files may use what it registers."""
    if names:
        from confnet.catalog.registry import load_plugin

        # As `python -m` does: a plugin may stand in the folder where the command runs.
        if os.getcwd() not in sys.path and "" not in sys.path:
            sys.path.append(os.getcwd())
        for name in names:
            try:
                load_plugin(name)
            except (ValueError, ImportError) as error:
                raise click.BadParameter(f"{printable(name)!r} cannot be imported: {printable(str(error))}") from error
            except Exception as error:
                traceback.print_exc()  # the plugin's author needs it
                raise click.BadParameter(f"importing {name!r} raised {type(error).__name__}, see above") from error
    return names


def _common_options(command: _Command) -> _Command:
    """The options that every command about a file takes."""
    for option in reversed(
        (
            click.option(
                "--set",
                "settings",
                metavar="NAME=VALUE",
                multiple=True,
                callback=_settings,
                help="Set an arg of the document; VALUE is YAML: 10, true, [3, 4, 6, 3]. Repeatable.",
            ),
            click.option("--variant", metavar="NAME", help="Start from this variant of the document."),
            click.option("--root", metavar="NAME", help="Take this definition of the document for the root."),
            # Eager: a plugin is there before anything else is looked at.
            click.option(
                "--plugin",
                "plugins",
                metavar="MODULE",
                multiple=True,
                is_eager=True,
                expose_value=False,
                callback=_plugins,
                help="Import this Python module first, for the layers and functions it registers. Repeatable.",
            ),
            click.option(
                "--format",
                "form",
                type=click.Choice(["text", "json"]),
                default="text",
                show_default=True,
                help="How to print the answer.",
            ),
        )
    ):
        command = option(command)
    return command


# --- commands -------------------------------------------------------------------------------------------------------


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(confnet.__version__, prog_name="confnet")
def commands() -> None:
    """YAML files in, real torch.nn.Modules out.

    \b
    Examples:
      confnet validate examples/resnet.yaml --variant resnet18
      confnet show examples/resnet.yaml --set "layers=[3, 4, 6, 3]"
    """


@commands.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@_common_options
@click.option("-q", "--quiet", is_flag=True, help="Print nothing for a file without diagnostics.")
def validate(
    files: tuple[str, ...], settings: Mapping[str, Any], variant: str | None, root: str | None, form: str, quiet: bool
) -> None:
    """Tell every mistake of files at its line and column.

    \b
    Example:
      confnet validate examples/resnet.yaml --variant resnet50 --set num_classes=10

    Exits with 0 if all files are fine, with 1 if any has an error.
    """
    from confnet import api

    reports = {file: api.validate(file, variant=variant, root=root, args=settings) for file in dict.fromkeys(files)}
    # A file included by several is reported once.
    found = list(dict.fromkeys(d for report in reports.values() for d in report.diagnostics))
    ok = all(report.ok for report in reports.values())
    if form == "json":
        click.echo(render_json(found, ok))
    else:
        sources = {name: text for report in reports.values() for name, text in report.sources.items()}
        _print_diagnostics(found, sources, len(reports))
        if not quiet:
            for file, report in reports.items():
                if report.ok:
                    click.echo(f"{printable(file)}: ok")
    if not ok:
        sys.exit(EXIT_DIAGNOSTICS)


def _part_options(command: _Command) -> _Command:
    """The options of `show` that choose a table instead of the tree."""
    for name, text in reversed(_PARTS.items()):
        command = click.option(f"--{name}", "parts", flag_value=name, multiple=True, help=text)(command)
    return command


_PARTS: Final = {
    "modules": "Every module, as named_modules() gives them.",
    "children": "The root's own children, as named_children() gives them.",
    "parameters": "Every parameter: shape, dtype, count, whether it is trained.",
    "buffers": "Every buffer: shape, dtype, count, whether it is persistent.",
    "hooks": "Every hook that is registered.",
    "init": "What initialises each parameter, and the line that says so.",
}


@commands.command()
@click.argument("file", metavar="FILE")
@_common_options
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@_part_options
def show(
    file: str, settings: Mapping[str, Any], variant: str | None, root: str | None, form: str, parts: tuple[str, ...]
) -> None:
    """Print a file's module beside its parameter counts, or tables of what it holds.

    The module is printed as torch prints it. It is built on the meta device: nothing is allocated. Each row of a
    table ends with the place in the file that it came from.

    \b
    Examples:
      confnet show examples/resnet.yaml --variant resnet50
      confnet show examples/gpt2.yaml --parameters --buffers
    """
    from confnet import api

    try:
        found = api.inspect(file, variant=variant, root=root, args=settings)
    except ConfnetError as error:
        if form == "json":
            click.echo(render_json(error.diagnostics, ok=False))
        else:
            _print_diagnostics(error.diagnostics, error.sources, 1)
        sys.exit(EXIT_DIAGNOSTICS)
    tables = {name: rows for name, rows in found.tables().items() if not parts or name in parts}
    if form == "json":
        click.echo(json.dumps({"ok": True, "diagnostics": [], "totals": _totals_data(found.totals), **tables}))
    elif parts:
        for number, (name, rows) in enumerate(tables.items()):
            click.echo(("\n" if number else "") + f"{name}: {len(rows)}")
            _print_rows(rows)
    else:
        _print_outline(found.outline, found.totals)


# --- printing -------------------------------------------------------------------------------------------------------


def _use_color() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _print_diagnostics(
    diagnostics: list[Diagnostic] | tuple[Diagnostic, ...], sources: Mapping[str, str], files: int
) -> None:
    if diagnostics:
        click.echo(render_text(diagnostics, sources, color=_use_color()))
        click.echo(f"\n{summary(diagnostics, files)}")


def _totals_data(totals: Totals) -> dict[str, int]:
    return {"total": totals.parameters, "trainable": totals.trainable, "frozen": totals.frozen, "lazy": totals.lazy}


def _print_outline(lines: tuple[Line, ...], totals: Totals) -> None:
    """A column of counts, then the tree: the counts stay in sight however narrow the terminal is."""
    counts = [_count(line.totals) for line in lines]
    if sys.stdout.isatty():
        _print_table(lines, counts)
    else:  # one line for each line, however long, for `grep` and `diff`
        width = max(map(len, counts))
        text = "\n".join(
            f"{count:>{width}}  {_INDENT * line.depth}{printable(line.text)}"
            for line, count in zip(lines, counts, strict=True)
        )
        click.echo(text)
    click.echo(f"\n{_totals_text(totals)}")


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


def _print_table(lines: tuple[Line, ...], counts: list[str]) -> None:
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
