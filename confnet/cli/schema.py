"""The command `confnet schema`."""

from __future__ import annotations

import sys

import click

from confnet.cli.options import plugin_option
from confnet.render import printable

__all__ = ["schema"]


@click.command()
@plugin_option
@click.option("-o", "--output", metavar="OUT", help="Write to this file instead, which is replaced as a whole.")
def schema(output: str | None) -> None:
    """Print the JSON Schema of confnet files, for editors.

    It has every layer of torch, and those that the plugins register: with it, an editor completes their names and
    arguments too.

    \b
    Examples:
      confnet schema -o confnet.schema.json
      confnet schema --plugin my_layers -o confnet.schema.json

    \b
    Then begin a file with this line:
      # yaml-language-server: $schema=confnet.schema.json
    """
    from confnet.schema import schema_text
    from confnet.whole_files import write_whole

    text = schema_text()
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        write_whole(output, text)
    except OSError as error:
        click.echo(f"confnet: {printable(output)!r} cannot be written: {printable(str(error.strerror))}", err=True)
        sys.exit(2)
