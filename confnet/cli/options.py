"""What is written after a command's name: its options, read and checked."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any, TypeVar

import click

from confnet.diagnostics import ConfnetError
from confnet.render import printable

__all__ = ["common_options", "format_option", "plugin_option", "read_settings"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def read_settings(context: click.Context, parameter: click.Parameter, items: tuple[str, ...]) -> dict[str, Any]:
    """The values of `--set name=value`, which are YAML."""
    settings: dict[str, Any] = {}
    for item in items:
        name, equals, text = item.partition("=")
        if not equals:
            raise click.BadParameter(f"{printable(item)!r} has no '='; write name=value")
        if not name.isidentifier():
            whole = name.partition(".")[0]
            remedy = f"; set the whole of {whole!r}" if whole.isidentifier() and whole != name else ""
            raise click.BadParameter(f"{printable(name)!r} is not a name{remedy}")
        if name in settings:
            raise click.BadParameter(f"{name!r} is set twice")
        settings[name] = _value(name, text)
    return settings


def _value(name: str, text: str) -> Any:
    from confnet.source import read_value

    try:
        return read_value(text)
    except ConfnetError as error:
        first = error.diagnostics[0]
        remedy = f" ({printable(first.help)})" if first.help else ""
        raise click.BadParameter(f"the value of {name!r} is not YAML: {printable(first.message)}{remedy}") from None


def _plugins(context: click.Context, parameter: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    """Import what `--plugin` names, so that files may use what it registers."""
    if names:
        from confnet.catalog.registry import load_plugin

        # As `python -m` does: a plugin may stand in the folder where the command runs.
        if os.getcwd() not in sys.path and "" not in sys.path:
            sys.path.append(os.getcwd())
        for name in names:
            try:
                with redirect_stdout(sys.stderr):  # what a plugin prints is no part of the answer
                    load_plugin(name)
            except (ValueError, ImportError) as error:
                raise click.BadParameter(f"{printable(name)!r} cannot be imported: {printable(str(error))}") from error
            except Exception as error:
                traceback.print_exc()  # the plugin's author needs it
                raise click.BadParameter(f"importing {name!r} raised {type(error).__name__}, see above") from error
    context.meta["confnet.plugins"] = names  # for a command that hands them on
    return names


# Eager: a plugin is there before anything else is looked at.
plugin_option = click.option(
    "--plugin",
    "plugins",
    metavar="MODULE",
    multiple=True,
    is_eager=True,
    expose_value=False,
    callback=_plugins,
    help="Import this Python module first, for the layers and functions it registers. Repeatable.",
)


def common_options(command: _Command) -> _Command:
    """The options that every command about a file takes."""
    for option in reversed(
        (
            click.option(
                "--set",
                "settings",
                metavar="NAME=VALUE",
                multiple=True,
                callback=read_settings,
                help="Set an arg of the document; VALUE is YAML: 10, [3, 4, 6, 3], SiLU, {LeakyReLU: 0.1}. Repeatable.",
            ),
            click.option("--variant", metavar="NAME", help="Start from this variant of the document."),
            click.option("--root", metavar="NAME", help="Take this definition of the document for the root."),
            plugin_option,
        )
    ):
        command = option(command)
    return command


def format_option(*forms: str) -> Callable[[_Command], _Command]:
    """The option `--format`, with the formats that a command knows."""
    return click.option(
        "--format", "form", type=click.Choice(forms), default="text", show_default=True, help="How to print the answer."
    )
