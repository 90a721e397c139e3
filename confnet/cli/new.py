"""The command `confnet new`."""

from __future__ import annotations

import click

from confnet.cli.specs import check_output, give, output_options
from confnet.diagnostics import closest
from confnet.render import printable

__all__ = ["new"]


@click.command()
@click.argument("template", metavar="[TEMPLATE]", required=False)
@click.option("--name", metavar="NAME", help="Class name of the model.")
@output_options
def new(template: str | None, name: str | None, output: str | None, force: bool) -> None:
    """Start a file from a template; without TEMPLATE, list them.

    \b
    Examples:
      confnet new classifier -o net.yaml
      confnet new decoder --name Writer
    """
    from confnet.templates import summary, template_names, template_text

    if template is None:
        if name is not None or output is not None or force:
            raise click.UsageError("name a template; 'confnet new' lists them")
        width = max(map(len, template_names()))
        for each in template_names():
            click.echo(f"{each:<{width}}  {summary(each)}")
        return
    if template not in template_names():
        near = closest(template, template_names())
        remedy = f"did you mean {near!r}?" if near else "'confnet new' lists them"
        raise click.BadParameter(f"there is no template {printable(template)!r}; {remedy}", param_hint="TEMPLATE")
    check_output(output, force)
    try:
        text = template_text(template, name)
    except ValueError as error:
        raise click.BadParameter(printable(str(error)), param_hint="'--name'") from None
    give(text, output, force)
