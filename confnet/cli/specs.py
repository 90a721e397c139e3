"""What commands that write texts have in common: reading a spec, telling mistakes, writing a file."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from confnet.diagnostics import ConfnetError
from confnet.files import STANDARD_INPUT
from confnet.limits import DEFAULT_LIMITS
from confnet.render import printable, render_json, render_text, summary

if TYPE_CHECKING:
    from confnet.loading import Spec

__all__ = ["check_output", "failing", "give", "output_options", "read_spec", "source_of"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def output_options(command: _Command) -> _Command:
    """The options of a command that writes a text, to the standard output if nothing else is said."""
    for option in (
        click.option("--force", is_flag=True, help="Replace OUT if it exists."),
        click.option("-o", "--output", metavar="OUT", help="Write to this file instead."),
    ):
        command = option(command)
    return command


def read_spec(name: str) -> Spec:
    """The spec of a file, or of the standard input. Raises ConfnetError."""
    from confnet import api

    source = source_of(name)
    return api.load(source) if isinstance(source, str) else api.loads(source.read(), name=source.name)


def source_of(name: str) -> str | _StandardInput:
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


def failing(error: ConfnetError, form: str = "text") -> NoReturn:
    """Print the diagnostics of an error, and exit with 1."""
    if form == "json":
        click.echo(render_json(error.diagnostics, ok=False))
    else:
        click.echo(render_text(error.diagnostics, error.sources), err=True)
        click.echo(f"\n{summary(error.diagnostics, 1)}", err=True)
    sys.exit(1)


def check_output(output: str | None, force: bool) -> None:
    """Raise the usage error of an output that cannot be written."""
    if output is None:
        if force:
            raise click.UsageError("'--force' needs '--output'")
        return
    if not force and os.path.lexists(output):
        raise click.BadParameter(f"{printable(output)!r} exists; '--force' replaces it", param_hint="'--output'")
    if not os.path.isdir(os.path.dirname(output) or "."):
        raise click.BadParameter(f"the folder of {printable(output)!r} does not exist", param_hint="'--output'")


def give(content: str | bytes, output: str | None, force: bool) -> None:
    """Print a text, or write it (or an image) to a file. Raises UsageError for a file that may not be written."""
    check_output(output, force)
    if output is None:
        click.echo(content if isinstance(content, str) else content.decode("utf-8"), nl=False)
        return
    from confnet.whole_files import write_whole

    try:
        write_whole(output, content)
    except OSError as error:
        click.echo(f"confnet: {printable(output)!r} cannot be written: {printable(str(error.strerror))}", err=True)
        sys.exit(2)
    click.echo(f"saved to {printable(output)}")
