"""The command `confnet explain`: of a diagnostic's code, and of a name in a model."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from confnet.cli.options import common_options, format_option
from confnet.cli.specs import read_spec
from confnet.cli.terminal import Progress, use_color
from confnet.diagnostics import ConfnetError, closest
from confnet.files import STANDARD_INPUT
from confnet.render import printable, render_json, render_text, summary

if TYPE_CHECKING:
    from confnet.provenance import Explanation, Fact

__all__ = ["explain"]

_SPECS: Final = (".yaml", ".yml")


@click.command()
@click.argument("subject", metavar="[CODE | FILE]", required=False)
@click.argument("name", metavar="[NAME]", required=False)
@common_options
@format_option("text", "json")
def explain(
    subject: str | None,
    name: str | None,
    settings: Mapping[str, Any],
    variant: str | None,
    root: str | None,
    form: str,
) -> None:
    """Print the page about a diagnostic's CODE, or tell where a NAME in a FILE's model comes from.

    NAME is the dotted name of a module, parameter or buffer, or the name of an input or output: where it is written,
    through which definitions and repeats, who decided each argument, its shape, initialiser, hooks, and which line
    calls it. Without NAME the model itself; without CODE a list of all codes.

    \b
    Examples:
      confnet explain unknown-argument
      confnet explain examples/gpt2.yaml transformer.h.3.attn.c_attn
      confnet explain examples/resnet.yaml layer2.0.conv1.weight --variant resnet50
    """
    if subject is None:
        _print_codes()
    elif name is not None or subject == STANDARD_INPUT or os.path.isfile(subject):
        _print_name(subject, name or "", {"variant": variant, "root": root, "args": settings}, form)
    else:
        _print_page(subject)


# --- names ----------------------------------------------------------------------------------------------------------


def _print_name(file: str, name: str, chosen: Mapping[str, Any], form: str) -> None:
    from confnet import api
    from confnet.provenance import Unknown

    with Progress() as progress:
        try:
            progress.step("loading torch")
            found = api.explain(read_spec(file), name, **chosen, step=progress.step)
        except ConfnetError as error:
            progress.stop()
            if form == "json":
                click.echo(render_json(error.diagnostics, ok=False))
            else:
                click.echo(render_text(error.diagnostics, error.sources, color=use_color()))
                click.echo(f"\n{summary(error.diagnostics, 1)}")
            sys.exit(1)
        except Unknown as error:
            raise click.BadParameter(printable(str(error.args[0])), param_hint="NAME") from error
    if form == "json":
        click.echo(json.dumps(found.as_data()))
    else:
        click.echo("\n".join(printable(line) for line in _lines(found)))


def _lines(found: Explanation) -> Iterator[str]:
    yield f"{found.kind} {found.name or 'the model'}: {found.what}"
    yield from _section("written", found.path)
    for name, facts in found.sections.items():
        yield from _section(name, facts)


def _section(name: str, facts: Iterable[Fact]) -> Iterator[str]:
    shown = list(_facts(facts, 1))
    if shown:
        yield ""
        yield name
        first = min(max(len(text) for text, _ in shown), 72)
        yield from (f"{text:<{first}}  {place}".rstrip() for text, place in shown)


def _facts(facts: Iterable[Fact], depth: int) -> Iterator[tuple[str, str]]:
    """The lines of facts, each with its place; what a fact rests on stands below it."""
    for fact in facts:
        parts = [fact.name or ("" if depth > 1 else "the model"), fact.text]
        by = f" ({fact.by})" if fact.by and fact.by != "the file" else ""
        yield "  " * depth + (" = " if fact.by else "  ").join(filter(None, parts)) + by, fact.place
        yield from _facts(fact.reasons, depth + 1)


# --- codes ----------------------------------------------------------------------------------------------------------


def _print_page(code: str) -> None:
    from confnet.explain import codes, page

    pasted = re.fullmatch(r"\w*\[(.*?)\]:?", code.strip())  # `error[unknown-layer]`, as a report shows it
    wanted = (pasted[1] if pasted else code.strip()).lower()
    if wanted not in codes():
        if os.path.splitext(code)[1] in _SPECS:
            raise click.BadParameter(f"there is no file {printable(code)!r}", param_hint="FILE")
        near = closest(wanted, codes())
        remedy = f"did you mean '{near}'?" if near else "'confnet explain' lists the codes"
        raise click.BadParameter(f"there is no code '{printable(code)}'; {remedy}", param_hint="CODE")
    text = page(wanted).strip()
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        Console(no_color=not use_color()).print(Markdown(text))
    else:
        click.echo(text)


def _print_codes() -> None:
    from confnet.explain import codes, summary

    width = max(map(len, codes()))
    for code in codes():
        click.echo(f"{code:<{width}}  {summary(code)}")
