"""The command `confnet audit`."""

from __future__ import annotations

import json
import sys

import click

from confnet.cli.options import format_option, plugin_option
from confnet.diagnostics import ConfnetError
from confnet.render import printable, render_json, render_text

__all__ = ["audit"]


@click.command()
@click.argument("file", metavar="FILE")
@plugin_option
@format_option("text", "json")
def audit(file: str, form: str) -> None:
    """List everything that a file would use, without building it.

    Layers, functions, tensor methods, initialisers, parametrizations, hooks and includes, each with its first place:
    all that the file and its includes name, in any variant and any branch.

    \b
    Examples:
      confnet audit examples/resnet.yaml
      confnet audit examples/resnet.yaml --format json

    Exits with 1 if the file is not well formed.
    """
    from confnet.auditing import audit as audited

    try:
        found = audited(file)
    except ConfnetError as error:
        if form == "json":
            click.echo(render_json(error.diagnostics, ok=False))
        else:
            click.echo(render_text(error.diagnostics, error.sources))
        sys.exit(1)
    if form == "json":
        click.echo(json.dumps({"uses": found.as_data()}, indent=2))
    else:
        click.echo("\n".join(printable(line) for line in str(found).splitlines()))
