"""The command `confnet`. Thin, and the only place that prints.

Importing this module loads click alone: `--help` answers at once, and each command imports what it needs.
"""

from __future__ import annotations

import atexit
import errno
import gc
import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import click

import confnet
from confnet.cli.lazy import LazyGroup
from confnet.cli.options import common_options, format_option
from confnet.cli.specs import source_of
from confnet.cli.terminal import use_color
from confnet.diagnostics import Diagnostic
from confnet.files import STANDARD_INPUT, find_files
from confnet.render import printable, render_github, render_json, render_sarif, render_text, summary

if TYPE_CHECKING:
    from confnet.shapes import ShapeReport

__all__ = ["commands", "main"]

EXIT_DIAGNOSTICS: Final = 1
EXIT_USAGE: Final = 2  # click's too
EXIT_INTERNAL: Final = 3

_INDENT: Final = "  "  # as torch indents

_Command = TypeVar("_Command", bound=Callable[..., Any])


def main() -> NoReturn:
    """Run the command line and exit: 0 fine, 1 diagnostics, 2 usage, 3 a fault of confnet itself."""
    # A command makes much and keeps it. Looking for garbage in it, at the end above all, is a sixth of the time.
    gc.set_threshold(50_000, 20, 20)
    atexit.register(gc.freeze)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file may hold what the terminal's encoding does not: that is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    # torch works without numpy, which confnet does not need, and says so each time.
    warnings.filterwarnings("ignore", "Failed to initialize NumPy", UserWarning)
    try:
        commands(prog_name="confnet")
        sys.stdout.flush()
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left would be tried again at the end
            click.echo(f"confnet: the output cannot be written: {os.strerror(errno.ENOSPC).lower()}", err=True)
            sys.exit(EXIT_USAGE)
        # Everything a user can do wrong is a diagnostic or a usage error, so this is neither.
        import traceback

        traceback.print_exc()
        click.echo("\ninternal error in confnet: please report it with the text above", err=True)
        sys.exit(EXIT_INTERNAL)
    sys.exit(0)


# --- commands -------------------------------------------------------------------------------------------------------


# Each command of its own file, imported when it is called.
_LATER: Final = {
    "audit": "confnet.cli.audit:audit",
    "build": "confnet.cli.build:build",
    "diff": "confnet.cli.diff:diff",
    "explain": "confnet.cli.explain:explain",
    "fmt": "confnet.cli.fmt:fmt",
    "functions": "confnet.cli.catalog:functions",
    "graph": "confnet.cli.graph:graph",
    "hooks": "confnet.cli.catalog:hooks",
    "initializers": "confnet.cli.catalog:initializers",
    "layers": "confnet.cli.catalog:layers",
    "lsp": "confnet.cli.lsp:lsp",
    "new": "confnet.cli.new:new",
    "parametrizations": "confnet.cli.catalog:parametrizations",
    "resolve": "confnet.cli.resolve:resolve",
    "schema": "confnet.cli.schema:schema",
    "show": "confnet.cli.show:show",
}


@click.group(cls=LazyGroup, later=_LATER, context_settings={"help_option_names": ["-h", "--help"]})
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
@click.option(
    "--shapes/--no-shapes",
    default=None,
    help="Print the shape of every value; or check only what needs no torch, in a moment.",
)
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
    bare = shapes is False and max_parameters is None  # what torch alone can tell is left out, and the answer says so
    reports = {_shown(name): api.validate(source_of(name), **options) for name in names}
    # A file included by several is reported once.
    found = list(dict.fromkeys(d for report in reports.values() for d in report.diagnostics))
    ok = all(report.ok for report in reports.values())
    sources = {name: text for report in reports.values() for name, text in report.sources.items()}
    if form == "json" and shapes:
        said = {name: [_shape_data(shape) for shape in report.shapes] for name, report in reports.items()}
        click.echo(json.dumps({**json.loads(render_json(found, ok)), "shapes": said}))
    elif form == "json" and bare:
        click.echo(json.dumps({**json.loads(render_json(found, ok)), "torch": False}))
    elif form == "json":
        click.echo(render_json(found, ok))
    elif form == "sarif":
        click.echo(render_sarif(found, sources, _pages(found), confnet.__version__))
    else:
        fine = [name for name, report in reports.items() if report.ok and not quiet]
        _print_report(found, sources, form, fine, how=" (without torch)" if bare else "")
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


# --- files ----------------------------------------------------------------------------------------------------------


def _files(arguments: tuple[str, ...], quiet: bool) -> tuple[str, ...]:
    """The files that the arguments name; folders that name none are told on the side."""
    found = find_files(arguments)
    for folder in found.barren if not quiet or not found.files else ():
        others = f": {folder.others} other YAML files" if folder.others else ""
        click.echo(f"note: no file with the key `confnet` in {printable(folder.name)}{others}", err=True)
    return found.files


def _shown(name: str) -> str:
    return "<stdin>" if name == STANDARD_INPUT else name


# --- printing -------------------------------------------------------------------------------------------------------


def _print_report(
    diagnostics: Sequence[Diagnostic], sources: Mapping[str, str], form: str, fine: Sequence[str], how: str = ""
) -> None:
    """The diagnostics, then the files without errors and `how` they were checked."""
    if diagnostics and form == "github":
        click.echo(render_github(diagnostics))
    elif diagnostics:
        click.echo(render_text(diagnostics, sources, color=use_color()))
        click.echo()
    for name in fine:
        click.echo(f"{printable(name)}: ok{how}")


def _pages(diagnostics: Sequence[Diagnostic]) -> dict[str, str]:
    from confnet.explain import codes, page

    return {code: page(code) for code in {diagnostic.code for diagnostic in diagnostics} & set(codes())}
