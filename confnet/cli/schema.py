"""The command `confnet schema`."""

from __future__ import annotations

import click

from confnet.cli.options import plugin_option
from confnet.cli.specs import give, output_options

__all__ = ["schema"]


@click.command()
@plugin_option
@output_options
def schema(output: str | None, force: bool) -> None:
    """Print the JSON Schema of confnet files, for editors.

    It has every layer of torch, and those that the plugins register: with it, an editor completes their names and
    arguments too.

    \b
    Examples:
      confnet schema -o confnet.schema.json
      confnet schema --plugin my_layers -o confnet.schema.json --force

    \b
    Then begin a file with this line:
      # yaml-language-server: $schema=confnet.schema.json
    """
    from confnet.schema import schema_text

    give(schema_text(), output, force)
