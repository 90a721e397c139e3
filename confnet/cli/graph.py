"""The command `confnet graph`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

import click

from confnet.cli.options import common_options
from confnet.cli.specs import check_output, failing, give, read_spec
from confnet.cli.terminal import Progress
from confnet.diagnostics import ConfnetError
from confnet.render import printable

__all__ = ["graph"]

_FORMS: Final = ("svg", "png", "html", "mmd", "dot")
_TEXTS: Final = ("html", "mmd", "dot", "svg")


@click.command()
@click.argument("file", metavar="FILE")
@common_options
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    required=True,
    help="A file that ends in .svg, .png, .html, .mmd or .dot; - prints.",
)
@click.option("--format", "form", type=click.Choice(_TEXTS), help="What to print with -o -; else OUT's ending says it.")
@click.option("--depth", type=click.IntRange(min=0), metavar="N", help="Open modules N levels deep.")
@click.option("--open", "names", metavar="NAME", multiple=True, help="Open this module as well. Repeatable.")
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
def graph(
    file: str,
    settings: Mapping[str, Any],
    variant: str | None,
    root: str | None,
    output: str,
    form: str | None,
    depth: int | None,
    names: tuple[str, ...],
    force: bool,
) -> None:
    """Draw a file's module: boxes inside boxes, and the values between them with their shapes.

    The module is built and run on the meta device: nothing is allocated. Blocks that repeat are drawn once, with their
    number. Boxes are open as far as is taken in at a glance, unless --depth says how deep. A page (.html) needs nothing
    else: it opens, folds and searches in any browser. Pictures (.svg, .png) are drawn by Graphviz, where it is
    installed. FILE may be - for the standard input.

    \b
    Examples:
      confnet graph examples/unet.yaml -o unet.html
      confnet graph examples/gpt2.yaml --depth 1 -o gpt2.svg
      confnet graph examples/resnet.yaml --variant resnet18 -o - --format dot
    """
    wanted = _form(output, form)
    if output != "-":
        check_output(output, force)
    with Progress() as progress:
        try:
            spec = read_spec(file)
            progress.step("loading torch")
            from confnet.graph import GraphvizError, picture

            drawn = picture(spec, variant=variant, root=root, args=settings, step=progress.step)
        except ConfnetError as error:
            progress.stop()
            failing(error)
        _check_names(names, {name for box in drawn.graph.boxes() if box.kind == "module" for name in box.fqns})
        try:
            content = drawn.written(wanted, depth=depth, names=names)
        except GraphvizError as error:
            progress.stop()
            click.echo(f"confnet: {printable(str(error))}", err=True)
            sys.exit(1)
    if output == "-":
        give(content, None, force=False)
    else:
        give(content, output, force)  # which looks again: drawing takes a while


def _form(output: str, form: str | None) -> str:
    """The form to write. Raises UsageError where neither the ending nor the option tells one."""
    if output == "-":
        if form is None:
            raise click.UsageError(f"'-o -' needs '--format', one of {', '.join(_TEXTS)}")
        return form
    ending = output.rpartition(".")[2].lower() if "." in output else ""
    if ending not in _FORMS:
        endings = ", ".join(f".{each}" for each in _FORMS)
        raise click.BadParameter(f"{printable(output)!r} ends in none of {endings}", param_hint="'--output'")
    if form is not None and form != ending:
        raise click.UsageError(f"'--format {form}' contradicts the ending of {printable(output)!r}")
    return ending


def _check_names(names: tuple[str, ...], known: set[str]) -> None:
    from confnet.diagnostics import closest

    for name in names:
        if name not in known:
            near = closest(name, sorted(known))
            remedy = f"; did you mean {near!r}?" if near else ""
            raise click.BadParameter(
                f"no module of the picture is called {printable(name)!r}{remedy}", param_hint="'--open'"
            )
