"""The command `confnet`. Thin, and the only place that prints.

Importing this module loads click alone: `--help` answers at once, and each command imports what it needs.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import click

import confnet
from confnet.cli.audit import audit
from confnet.cli.build import build
from confnet.cli.options import common_options, format_option
from confnet.diagnostics import ConfnetError, Diagnostic, closest
from confnet.files import STANDARD_INPUT, find_files
from confnet.limits import DEFAULT_LIMITS
from confnet.render import printable, render_github, render_json, render_sarif, render_text, summary

if TYPE_CHECKING:
    from confnet.builder.outline import Line, Totals
    from confnet.shapes import ShapeReport

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


# --- commands -------------------------------------------------------------------------------------------------------


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(confnet.__version__, prog_name="confnet")
def commands() -> None:
    """YAML files in, real torch.nn.Modules out.

    \b
    Examples:
      confnet validate examples/resnet.yaml --variant resnet18
      confnet show examples/resnet.yaml --set "layers=[3, 4, 6, 3]"
      confnet explain unknown-argument
    """


@commands.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@common_options
@format_option("text", "json", "sarif", "github")
@click.option(
    "--max-parameters", type=click.IntRange(min=0), metavar="N", help="Refuse a model with more than N parameters."
)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing for a file without diagnostics.")
@click.option("--shapes/--no-shapes", default=None, help="Print the shape of every value; or do not check shapes.")
def validate(
    files: tuple[str, ...],
    settings: Mapping[str, Any],
    variant: str | None,
    root: str | None,
    form: str,
    max_parameters: int | None,
    quiet: bool,
    shapes: bool | None,
) -> None:
    """Tell every mistake of files at its line and column.

    FILE is a file, a folder (its YAML files that have the key `confnet`, at any depth), a glob pattern, or - for the
    standard input.

    \b
    Examples:
      confnet validate examples/resnet.yaml --variant resnet50 --set num_classes=10
      confnet validate models --format github

    Exits with 0 if all files are fine, with 1 if any has an error.
    """
    from confnet import api
    from confnet.limits import Limits

    names = _files(files, quiet)
    options: dict[str, Any] = {"variant": variant, "root": root, "args": settings, "shapes": shapes is not False}
    options["limits"] = Limits(parameters=max_parameters)
    reports = {_shown(name): api.validate(_source(name), **options) for name in names}
    # A file included by several is reported once.
    found = list(dict.fromkeys(d for report in reports.values() for d in report.diagnostics))
    ok = all(report.ok for report in reports.values())
    sources = {name: text for report in reports.values() for name, text in report.sources.items()}
    if form == "json" and shapes:
        said = {name: [_shape_data(shape) for shape in report.shapes] for name, report in reports.items()}
        click.echo(json.dumps({**json.loads(render_json(found, ok)), "shapes": said}))
    elif form == "json":
        click.echo(render_json(found, ok))
    elif form == "sarif":
        click.echo(render_sarif(found, sources, _pages(found), confnet.__version__))
    else:
        _print_report(found, sources, form, [name for name, report in reports.items() if report.ok and not quiet])
        if form == "text" and not quiet:
            for name, report in reports.items():
                _print_shapes(name, report.shapes, whole=bool(shapes))
        if found or (len(reports) > 1 and not quiet):
            click.echo(summary(found, len(reports)))
    if not ok:
        sys.exit(EXIT_DIAGNOSTICS)


def _shape_data(report: ShapeReport) -> dict[str, Any]:
    """A report of shapes as plain data."""
    tables = {"inputs": report.inputs, "values": report.values, "outputs": report.outputs, "in_eval": report.in_eval}
    return {
        "variant": report.variant,
        "root": report.root,
        "checked": report.checked,
        "reason": report.reason,
        **{key: [{"name": v.name, "shape": v.sizes, "dtype": v.dtype} for v in table] for key, table in tables.items()},
        "conditions": [{"condition": c.text, "reason": c.reason} for c in report.conditions],
    }


def _print_shapes(name: str, reports: tuple[ShapeReport, ...], *, whole: bool) -> None:
    """The conditions on sizes that a file does not say itself; with `whole` the shape of every value."""
    for report in reports:
        if not whole and not report.conditions:
            continue
        chosen = " ".join(filter(None, [report.variant, report.root]))
        click.echo(f"{printable(name)}{f' ({printable(chosen)})' if chosen else ''}: {printable(str(report))}")
        for value in report.values if whole else ():
            click.echo(f"{_INDENT}{printable(str(value))}")
        for condition in report.conditions:
            click.echo(f"{_INDENT}needs {printable(str(condition))}")


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
@common_options
@format_option("text", "json")
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@_part_options
def show(
    file: str, settings: Mapping[str, Any], variant: str | None, root: str | None, form: str, parts: tuple[str, ...]
) -> None:
    """Print a file's module beside its parameter counts, or tables of what it holds.

    The module is printed as torch prints it. It is built on the meta device: nothing is allocated. Each row of a
    table ends with the place in the file that it came from. FILE may be - for the standard input.

    \b
    Examples:
      confnet show examples/resnet.yaml --variant resnet50
      confnet show examples/gpt2.yaml --parameters --buffers
    """
    from confnet import api

    try:
        found = api.inspect(_source(file), variant=variant, root=root, args=settings)
    except ConfnetError as error:
        if form == "json":
            click.echo(render_json(error.diagnostics, ok=False))
        else:
            _print_report(error.diagnostics, error.sources, form, [])
            click.echo(summary(error.diagnostics, 1))
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


@commands.command()
@click.argument("code", required=False)
def explain(code: str | None) -> None:
    """Print the page about a diagnostic's CODE, with an example and its repair; without CODE, list all of them.

    \b
    Example:
      confnet explain unknown-argument
    """
    from confnet.explain import codes, page

    if code is None:
        _print_codes()
        return
    pasted = re.fullmatch(r"\w*\[(.*?)\]:?", code.strip())  # `error[unknown-layer]`, as a report shows it
    wanted = (pasted[1] if pasted else code.strip()).lower()
    if wanted not in codes():
        near = closest(wanted, codes())
        remedy = f"did you mean '{near}'?" if near else "'confnet explain' lists the codes"
        raise click.BadParameter(f"there is no code '{printable(code)}'; {remedy}", param_hint="CODE")
    text = page(wanted).strip()
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        Console(no_color=not _use_color()).print(Markdown(text))
    else:
        click.echo(text)


def _print_codes() -> None:
    from confnet.explain import codes, summary

    width = max(map(len, codes()))
    for code in codes():
        click.echo(f"{code:<{width}}  {summary(code)}")


# --- files ----------------------------------------------------------------------------------------------------------


commands.add_command(audit)
commands.add_command(build)


def _files(arguments: tuple[str, ...], quiet: bool) -> tuple[str, ...]:
    """The files that the arguments name; folders that name none are told on the side."""
    found = find_files(arguments)
    for folder in found.barren if not quiet or not found.files else ():
        others = f": {folder.others} other YAML files" if folder.others else ""
        click.echo(f"note: no file with the key `confnet` in {printable(folder.name)}{others}", err=True)
    return found.files


def _shown(name: str) -> str:
    return "<stdin>" if name == STANDARD_INPUT else name


def _source(name: str) -> str | io.StringIO:
    """What the pipeline reads for an argument: a path, or all of the standard input."""
    if name != STANDARD_INPUT:
        return name
    # No character takes more than four bytes: enough to see that a text is too long, and no more.
    return _StandardInput(sys.stdin.buffer.read(4 * DEFAULT_LIMITS.file_bytes + 1))


class _StandardInput(io.StringIO):
    """The standard input as a text: UTF-8 whatever the terminal's encoding; what is not, is a character to report."""

    name = "<stdin>"

    def __init__(self, data: bytes) -> None:
        super().__init__(data.decode("utf-8", "surrogateescape"))


# --- printing -------------------------------------------------------------------------------------------------------


def _use_color() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _print_report(
    diagnostics: Sequence[Diagnostic], sources: Mapping[str, str], form: str, fine: Sequence[str]
) -> None:
    """The diagnostics, then the files without errors."""
    if diagnostics and form == "github":
        click.echo(render_github(diagnostics))
    elif diagnostics:
        click.echo(render_text(diagnostics, sources, color=_use_color()))
        click.echo()
    for name in fine:
        click.echo(f"{printable(name)}: ok")


def _pages(diagnostics: Sequence[Diagnostic]) -> dict[str, str]:
    from confnet.explain import codes, page

    return {code: page(code) for code in {diagnostic.code for diagnostic in diagnostics} & set(codes())}


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
