"""The command `confnet build`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import click

import confnet
from confnet.cli.options import common_options
from confnet.diagnostics import ConfnetError
from confnet.render import printable, render_text

__all__ = ["build"]


def _renames(context: click.Context, parameter: click.Parameter, items: tuple[str, ...]) -> dict[str, str]:
    """The rules of `--rename PATTERN=TO`; a name never holds `=`, and a pattern may."""
    rules: dict[str, str] = {}
    for item in items:
        pattern, equals, to = item.rpartition("=")
        if not equals:
            raise click.BadParameter(f"{printable(item)!r} has no '='; write PATTERN=TO")
        if pattern in rules:
            raise click.BadParameter(f"{printable(pattern)!r} is renamed twice")
        rules[pattern] = to
    return rules


@click.command()
@click.argument("file", metavar="FILE")
@common_options
@click.option("--weights", metavar="PATH", help="Load weights: a safetensors file, an index of shards, or a folder.")
@click.option(
    "--rename",
    "renames",
    metavar="PATTERN=TO",
    multiple=True,
    callback=_renames,
    help="Rename keys of the weights by a regular expression, as re.sub does. Repeatable, in order.",
)
@click.option(
    "--drop",
    "drops",
    metavar="PATTERN",
    multiple=True,
    help="Leave out keys that match, before any --rename. Repeatable.",
)
@click.option(
    "--strict/--no-strict",
    default=True,
    show_default=True,
    help="Whether every name must have its partner; else what is missing is initialised, and told.",
)
@click.option(
    "--weights-format",
    type=click.Choice(("safetensors", "torch")),
    default="safetensors",
    show_default=True,
    help="torch: a file of torch.save, read without running any code.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**64 - 1),
    metavar="N",
    help="Draw the first values from this seed: the same on every machine.",
)
@click.option("-o", "--output", metavar="OUT", help="Save the state dict as a safetensors file.")
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
def build(
    file: str,
    settings: Mapping[str, Any],
    variant: str | None,
    root: str | None,
    weights: str | None,
    renames: Mapping[str, str],
    drops: tuple[str, ...],
    strict: bool,
    weights_format: str,
    seed: int | None,
    output: str | None,
    force: bool,
) -> None:
    """Build a file's model, with weights if they are given, and save its state dict.

    Every weight must have its partner in the model, of the same shape. Without --weights the model is initialised.

    \b
    Examples:
      confnet build examples/mlp.yaml --seed 0 -o mlp.safetensors
      confnet build examples/gpt2.yaml --weights gpt2/ -o gpt2.safetensors
      confnet build net.yaml --weights other.safetensors --rename '^model[.]='

    Exits with 1 if the file has errors, or the weights do not fit.
    """
    _check_usage(weights, output, force, bool(renames or drops or not strict or weights_format != "safetensors"))
    from confnet import api

    options: dict[str, Any] = {"variant": variant, "root": root, "args": settings, "seed": seed}
    if weights is not None:
        rename = {**dict.fromkeys(drops), **renames}
        options |= {"weights": weights, "rename": rename, "strict": strict, "weights_format": weights_format}
    try:
        model = api.build(file, **options)
        if output is not None:
            confnet.save_weights(model, output, overwrite=force)
    except ConfnetError as error:
        click.echo(render_text(error.diagnostics, error.sources))
        sys.exit(1)
    if weights is not None:
        click.echo(printable_lines(confnet.load_report(model)))
    count = sum(parameter.numel() for parameter in model.parameters())
    click.echo(f"{printable(type(model).__name__)} has {count:,} parameters")
    if output is not None:
        click.echo(f"saved to {printable(output)}")


def printable_lines(text: object) -> str:
    """A text of several lines, made printable line by line."""
    return "\n".join(printable(line) for line in str(text).splitlines())


def _check_usage(weights: str | None, output: str | None, force: bool, about_weights: bool) -> None:
    """What can be told before a model is built."""
    if weights is None and about_weights:
        raise click.UsageError("'--rename', '--drop', '--no-strict' and '--weights-format' need '--weights'")
    if output is None and force:
        raise click.UsageError("'--force' needs '--output'")
    if output is not None and not force and os.path.lexists(output):
        raise click.BadParameter(f"{printable(output)!r} exists; '--force' replaces it", param_hint="'--output'")
    if output is not None and not os.path.isdir(os.path.dirname(output) or "."):
        raise click.BadParameter(f"the folder of {printable(output)!r} does not exist", param_hint="'--output'")
