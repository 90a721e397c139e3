"""The command `confnet diff`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from confnet.cli.options import common_options, format_option, read_settings
from confnet.cli.specs import failing, read_spec
from confnet.cli.terminal import use_color
from confnet.diagnostics import ConfnetError
from confnet.render import printable

if TYPE_CHECKING:
    from confnet.checked import Checked

__all__ = ["diff"]

_Command = TypeVar("_Command", bound=Callable[..., Any])
_COLORS = {"added": "green", "removed": "red", "changed": "yellow", "renamed": "cyan"}


def _side_options(command: _Command) -> _Command:
    """The options of one side, which go on top of those of both."""
    for side in ("b", "a"):
        for option in (
            click.option(f"--root-{side}", metavar="NAME", help=f"The definition that is the root of {side.upper()}."),
            click.option(f"--variant-{side}", metavar="NAME", help=f"The variant of {side.upper()}."),
            click.option(
                f"--set-{side}",
                f"settings_{side}",
                metavar="NAME=VALUE",
                multiple=True,
                callback=read_settings,
                help=f"Set an arg of {side.upper()}. Repeatable.",
            ),
        ):
            command = option(command)
    return command


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="[B]", required=False)
@common_options
@_side_options
@format_option("text", "json", "markdown")
@click.option("--shapes/--no-shapes", default=True, show_default=True, help="Compare the shapes of values.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if there is a difference.")
def diff(
    a: str,
    b: str | None,
    settings: Mapping[str, Any],
    variant: str | None,
    root: str | None,
    settings_a: Mapping[str, Any],
    settings_b: Mapping[str, Any],
    variant_a: str | None,
    variant_b: str | None,
    root_a: str | None,
    root_b: str | None,
    form: str,
    shapes: bool,
    exit_code: bool,
) -> None:
    """Compare the models of two files, and tell what happens to a checkpoint of A in B.

    A and B are files, or REVISION:PATH for a file as it was in a git revision, with what it included then. Without B,
    both sides are A: then --variant-a and --variant-b (or --set-a, --set-b) tell them apart. --variant, --set and
    --root mean both sides.

    \b
    Examples:
      confnet diff HEAD~1:models/net.yaml models/net.yaml
      confnet diff examples/resnet.yaml --variant-a resnet18 --variant-b resnet34
      confnet diff old.yaml new.yaml --format markdown

    Exits with 0, also for models that differ, unless --exit-code is given; with 1 if a file has errors.
    """
    ours = (a, {**settings, **settings_a}, variant_a or variant, root_a or root)
    theirs = (b if b is not None else a, {**settings, **settings_b}, variant_b or variant, root_b or root)
    if b is None and ours == theirs:
        raise click.UsageError("both sides are the same; give B, or '--variant-a' and '--variant-b', or '--set-b'")
    if ours[0] == theirs[0] == "-":
        raise click.UsageError("the standard input can be one side only")
    from confnet.diff import difference

    labels = _labels(ours, theirs)
    try:
        found = difference(_checked(*ours), _checked(*theirs), labels=labels, shapes=shapes)
    except ConfnetError as error:
        failing(error, form)
    if form == "json":
        click.echo(json.dumps({"ok": True, "diagnostics": [], **found.as_data()}))
    elif form == "markdown":
        from confnet.diff.pages import markdown

        click.echo("\n".join(printable(line) for line in markdown(found).splitlines()))
    else:
        from confnet.diff.pages import text_lines

        color = use_color()
        for line, kind in text_lines(found):
            click.echo(_painted(printable(line), kind) if color else printable(line))
    if exit_code and found:
        sys.exit(1)


def _painted(line: str, kind: str) -> str:
    return click.style(line, bold=True) if kind == "head" else click.style(line, fg=_COLORS.get(kind))


_Side = tuple[str, dict[str, Any], "str | None", "str | None"]


def _labels(a: _Side, b: _Side) -> tuple[str, str]:
    """What tells each side: its file, and what was chosen for it alone."""
    return _label(a, b), _label(b, a)


def _label(side: _Side, other: _Side) -> str:
    name, settings, variant, root = side
    own = [f"{key}={value}" for key, value in settings.items() if key not in other[1] or other[1][key] != value]
    chosen = [*([variant] if variant else []), *([root] if root else []), *own]
    return f"{'<stdin>' if name == '-' else name}" + (f" ({', '.join(chosen)})" if chosen else "")


def _checked(name: str, settings: Mapping[str, Any], variant: str | None, root: str | None) -> Checked:
    """One side, checked. Raises ConfnetError."""
    from confnet.checked import Checked
    from confnet.diff import load_revision, revision_of
    from confnet.limits import DEFAULT_LIMITS

    revision = revision_of(name)
    spec = load_revision(*revision) if revision is not None else read_spec(name)
    return Checked.make(spec, settings, variant, root, DEFAULT_LIMITS)
