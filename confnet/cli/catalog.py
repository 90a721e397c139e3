"""The commands `confnet layers`, `functions`, `initializers`, `parametrizations` and `hooks`."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

import click

from confnet.cli.options import plugin_option
from confnet.render import printable

if TYPE_CHECKING:
    from confnet.catalog.pages import Entry, Page, PageArgument

__all__ = ["functions", "hooks", "initializers", "layers", "parametrizations"]

_TEXTS: Final = {
    "layers": (
        "List the layers that a file may name, or tell everything about one.",
        ("confnet layers", "confnet layers '*norm*'", "confnet layers Conv2d"),
    ),
    "functions": (
        "List the functions and tensor methods that code may call, or tell everything about one.",
        ("confnet functions softmax", "confnet functions 'torch.linalg.*'", "confnet functions Tensor.view"),
    ),
    "initializers": (
        "List the initialisers that a file may name, or tell everything about one.",
        ("confnet initializers", "confnet initializers kaiming_normal_"),
    ),
    "parametrizations": (
        "List the parametrizations that a file may name, or tell everything about one.",
        ("confnet parametrizations", "confnet parametrizations weight_norm"),
    ),
    "hooks": (
        "List the kinds of hooks and the hooks that a file may call, or tell everything about one.",
        ("confnet hooks", "confnet hooks forward_pre", "confnet hooks capture"),
    ),
}


def _command(name: str) -> click.Command:
    first, examples = _TEXTS[name]
    shown = "\n".join(f"  {line}" for line in examples)

    @click.command(
        name,
        help=f"{first}\n\nPATTERN is a name, a part of one, or a glob, in capital or small letters. What plugins "
        f"register is in it too.\n\n\b\nExamples:\n{shown}",
        short_help=first,
    )
    @click.argument("pattern", required=False)
    @plugin_option
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    def command(pattern: str | None, as_json: bool) -> None:
        _run(name, pattern, as_json)

    return command


def _run(name: str, pattern: str | None, as_json: bool) -> None:
    from confnet.catalog.pages import TABLES

    table = TABLES[name]
    entries = table.entries() if pattern is None else table.found(pattern)
    if not entries and pattern is not None:
        raise click.BadParameter(_nothing(name, pattern), param_hint="PATTERN")
    page = table.page(entries[0].name) if pattern is not None and len(entries) == 1 else None
    if as_json:
        data = page.as_data() if page is not None else {name: [entry.as_data() for entry in entries]}
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
    elif page is not None:
        _print_page(page)
    else:
        _print_list(entries)


def _nothing(name: str, pattern: str) -> str:
    """Why a pattern finds nothing, and what to do."""
    from confnet.catalog.pages import TABLES

    table, shown = TABLES[name], printable(pattern)
    refusal = table.refusal(pattern)
    if refusal:
        return f"{shown!r} is no {table.what} of a file; {refusal}"
    near = table.near(pattern)
    remedy = f"did you mean {near!r}?" if near else f"'confnet {name}' lists all of them"
    return f"no {table.what} is called {shown!r}; {remedy}"


# --- printing -----------------------------------------------------------------------------------------------------


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _style(text: str, **style: bool) -> str:
    plain = not _is_terminal() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain else click.style(text, **style)


def _print_list(entries: tuple[Entry, ...]) -> None:
    """One line for each; on a terminal no longer than it is wide."""
    columns = shutil.get_terminal_size().columns if _is_terminal() else None
    widest = max(len(entry.name) for entry in entries)
    width = widest if columns is None else min(widest, max(20, columns // 2))
    group = ""
    for entry in entries:
        if entry.group != group:
            group = entry.group
            click.echo(_style(f"{_HEADINGS[group]}:", dim=True))
        summary = printable(entry.summary)
        if columns is not None:
            left = columns - max(width, len(entry.name)) - 3
            summary = summary if len(summary) <= left else summary[: max(0, left - 3)].rstrip() + "..."
        click.echo(f"{_style(f'{printable(entry.name):<{width}}', bold=True)}  {summary}".rstrip())


_HEADINGS: Final = {"": "torch", "kind": "kinds", "built-in": "built-in hooks", "registered": "registered"}


def _print_page(page: Page) -> None:
    for line in _page_lines(page):
        click.echo(line)


def _page_lines(page: Page) -> Iterator[str]:
    yield _style(printable(page.name), bold=True)
    yield from _wrapped(page.summary, "  ")
    if page.calls:
        yield ""
        for call in page.calls:
            yield from _wrapped(call, "  ", "      ")
    if page.arguments:
        yield ""
        yield _style("Arguments", bold=True)
        for argument in page.arguments:
            yield from _argument_lines(argument, typed=not page.calls)
    if page.facts:
        yield ""
        width = max(map(len, page.facts))
        for heading, lines in page.facts.items():
            yield from _wrapped(f"{heading:<{width}}  {', '.join(lines)}", "", " " * (width + 2))
    if page.withheld:
        yield ""
        yield _style("Not in a file", bold=True)
        for name, reason in page.withheld.items():
            yield from _wrapped(f"{name}: {reason}", "  ", "      ")
    if page.example:
        yield ""
        yield _style("Example", bold=True)
        yield f"  {page.example}"  # never wrapped: it is there to be copied
    if page.url:
        yield ""
        yield page.url


def _argument_lines(argument: PageArgument, *, typed: bool) -> Iterator[str]:
    """The name and what it takes on one line, the description below."""
    if typed:
        said = f"{argument.type} = {argument.default}" if argument.default is not None else argument.type
        required = ["required"] if argument.default is None else []
        words = [said, *filter(None, [argument.bounds]), *required, *(["by name only"] if argument.by_name else [])]
        head = f"{_style(argument.name, bold=True)}: {', '.join(words)}"
        if _is_terminal() and len(click.unstyle(head)) > _columns() - 2:
            yield from _wrapped(click.unstyle(head), "  ", "      ")
        else:
            yield f"  {head}"
        yield from _wrapped(argument.description, "      ")
    else:
        yield from _wrapped(f"{argument.name}: {argument.description}", "  ", "      ")


def _columns() -> int:
    return max(40, min(shutil.get_terminal_size().columns, 100))


def _wrapped(text: str, first: str, rest: str | None = None) -> Iterable[str]:
    """A text indented: folded to the terminal, on one line when piped."""
    text = printable(text)
    if not text:
        return []
    if not _is_terminal():
        return [first + text]
    return textwrap.wrap(
        text,
        _columns(),
        initial_indent=first,
        subsequent_indent=first if rest is None else rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


layers = _command("layers")
functions = _command("functions")
initializers = _command("initializers")
parametrizations = _command("parametrizations")
hooks = _command("hooks")
