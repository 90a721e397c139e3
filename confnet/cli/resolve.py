"""The command `confnet resolve`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from confnet.cli.options import common_options
from confnet.cli.specs import check_output, failing, give, output_options, read_spec
from confnet.diagnostics import ConfnetError

__all__ = ["resolve"]


@click.command()
@click.argument("file", metavar="FILE")
@common_options
@output_options
def resolve(
    file: str,
    settings: Mapping[str, Any],
    variant: str | None,
    root: str | None,
    output: str | None,
    force: bool,
) -> None:
    """Write out what a file means: a file again, with nothing left to settle.

    Args, constants, includes, variants, `repeat`, `when` and `auto` are replaced by what they come to. The outcome
    builds the same model: equal classes, names, code and hooks, and equal values under one seed. FILE may be - for
    the standard input.

    \b
    Examples:
      confnet resolve examples/resnet.yaml --variant resnet18
      confnet resolve examples/gpt2.yaml --set n_layer=2 -o small.yaml

    Exits with 1 if the file has errors.
    """
    check_output(output, force)
    from confnet.resolved import resolved

    try:
        text = resolved(read_spec(file), args=settings, variant=variant, root=root)
    except ConfnetError as error:
        failing(error)
    give(text, output, force)
