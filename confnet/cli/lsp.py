"""The command `confnet lsp`."""

from __future__ import annotations

import click

from confnet.cli.options import plugin_option
from confnet.render import printable

__all__ = ["lsp"]


@click.command()
@click.option("--shapes/--no-shapes", default=True, show_default=True, help="Run files on the meta device as well.")
@click.option("--log", metavar="FILE", type=click.Path(dir_okay=False), help="Write what happens there.")
@plugin_option
@click.pass_context
def lsp(context: click.Context, shapes: bool, log: str | None) -> None:
    """Serve an editor: mistakes as you type, completion, hover, definitions, shapes.

    The editor starts this command and talks to it over standard input and output, by the Language Server Protocol.
    It needs the extra `lsp`: pip install 'torch-confnet[lsp]'.

    \b
    Example:
      confnet lsp --plugin my_layers
    """
    import logging

    try:
        from confnet.lsp.features import serve
    except ModuleNotFoundError as error:
        if error.name not in ("pygls", "lsprotocol"):
            raise
        raise click.ClickException("the language server needs pygls: pip install 'torch-confnet[lsp]'") from None
    try:
        handler = logging.FileHandler(log, encoding="utf-8") if log else logging.StreamHandler()
    except OSError as error:
        told = f"{printable(str(log))!r} cannot be written: {printable(str(error.strerror))}"
        raise click.BadParameter(told, param_hint="--log") from None
    logging.basicConfig(
        level=logging.INFO if log else logging.WARNING,
        handlers=[handler],
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("pygls").setLevel(logging.WARNING)
    serve(context.meta.get("confnet.plugins", ()), shapes)
