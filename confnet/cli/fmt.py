"""The command `confnet fmt`."""

from __future__ import annotations

import difflib
import errno
import os
import stat
import sys
from collections.abc import Iterable

import click

from confnet.diagnostics import ConfnetError, Diagnostic
from confnet.files import STANDARD_INPUT, find_files
from confnet.limits import DEFAULT_LIMITS
from confnet.render import printable, render_text

__all__ = ["fmt"]


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--check", is_flag=True, help="Change nothing; name the files that are not formatted, and exit with 1.")
@click.option("--diff", "show", is_flag=True, help="Change nothing; print what would change.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but mistakes and, with --diff, the changes.")
def fmt(files: tuple[str, ...], check: bool, show: bool, quiet: bool) -> None:
    """Format files in place: indentation, spaces, quotes and blank lines.

    Values, their order and comments stay, and so do line breaks and the text of code. FILE is a file, a folder (its
    YAML files that have the key `confnet`, at any depth), a glob pattern, or - to format the standard input to the
    standard output.

    \b
    Examples:
      confnet fmt models
      confnet fmt --check --diff models

    Exits with 1 if a file is not well formed, which is left as it is, or with --check if one is not formatted; with 2
    if one cannot be written.
    """
    from confnet.formatting import formatted
    from confnet.source import decode

    changed: list[str] = []
    found: list[Diagnostic] = []
    sources: dict[str, str] = {}
    unwritten = 0
    names = find_files(files).files
    for name in names:
        shown = "<stdin>" if name == STANDARD_INPUT else name
        try:
            data = _read(name)
            new = formatted(decode(data, shown), shown)
        except ConfnetError as error:
            found += error.diagnostics
            sources.update(error.sources)
            continue
        is_new = new.encode() != data
        if show and is_new:
            click.echo("".join(_difference(data.decode("utf-8"), new, shown)), nl=False)
        if name == STANDARD_INPUT and not (check or show):
            click.echo(new, nl=False)
        elif is_new and not (check or show) and not _write(name, new):
            unwritten += 1
            continue
        changed += [shown] if is_new else []
    _report(found, sources)
    others = len(names) - len(changed) - unwritten
    if not quiet and not (STANDARD_INPUT in names and not (check or show)):
        wrong = bool(found or unwritten)
        _tell(changed, others, "would be formatted" if check or show else "formatted", wrong)
    if unwritten:
        sys.exit(2)
    if found or (check and changed):
        sys.exit(1)


def _read(name: str) -> bytes:
    """The bytes of a file, one more than may be at most. Raises ConfnetError."""
    most = DEFAULT_LIMITS.file_bytes + 1
    if name == STANDARD_INPUT:
        return sys.stdin.buffer.read(most)
    try:
        with open(name, "rb") as stream:
            return stream.read(most)
    except (OSError, ValueError) as error:
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else "the path is not usable"
        raise ConfnetError([Diagnostic("unreadable-file", f"`{name}` cannot be read: {reason}")]) from None


def _write(name: str, text: str) -> bool:
    """Replace what a file holds: the file that a link leads to, with the permissions that it has.

    False for one that cannot be written, or may not be, which is told.
    """
    from confnet.whole_files import write_whole

    path = os.path.realpath(name)
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        if not os.access(path, os.W_OK):  # which a new file in its place would not ask
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        write_whole(path, text, mode=stat.S_IMODE(mode))
    except OSError as error:
        click.echo(f"confnet: {printable(name)!r} cannot be written: {printable(str(error.strerror))}", err=True)
        return False
    return True


def _difference(old: str, new: str, name: str) -> Iterable[str]:
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), name, f"{name} formatted"
    )
    for line in lines:
        yield printable(line.rstrip("\r\n")) + "\n"


def _report(found: list[Diagnostic], sources: dict[str, str]) -> None:
    if found:
        click.echo(render_text(found, sources), err=True)


def _tell(changed: list[str], others: int, what: str, wrong: bool) -> None:
    for name in changed:
        click.echo(f"{printable(name)}: {what}")
    if not changed and not wrong:
        click.echo(f"{others} file{'s' if others != 1 else ''} formatted already")
