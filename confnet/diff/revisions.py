"""Specs as they were in a git revision, with the files that they included then."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from confnet.blocks import PREFIX, block_text
from confnet.diagnostics import ConfnetError, Diagnostic
from confnet.limits import DEFAULT_LIMITS, Limits
from confnet.loading import Spec, load_texts
from confnet.source import decode

__all__ = ["load_revision", "revision_of"]

_SAFE = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}


def revision_of(name: str) -> tuple[str, str] | None:
    """The revision and the path of `REVISION:PATH`, as git writes a file of a revision; None for the name of a file."""
    revision, colon, path = name.partition(":")
    if not colon or not revision or not path or os.path.lexists(name):
        return None
    return revision, path


def load_revision(revision: str, path: str, limits: Limits = DEFAULT_LIMITS) -> Spec:
    """The spec of a file in a revision of the git repository of the working folder. Raises ConfnetError.

    The path starts from the top of the repository, or with `./` from the working folder, as git reads it. What the file
    includes is read from the same revision.
    """
    if revision.startswith("-"):
        raise _error(f"{revision}:{path}", "the name of a revision does not begin with `-`")
    place = path if "/" in path else f"./{path}"  # a class is called after the file, not after the revision
    texts = _Texts(f"{revision}:{place}", revision, path, limits)
    return load_texts(texts, limits)


@dataclass
class _Texts(Mapping[str, str]):
    """The files of a revision by the names that they have in diagnostics, each read when it is asked for."""

    root: str
    revision: str
    path: str
    limits: Limits
    read: dict[str, str | None] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        text = self.text(name)
        if text is None:
            raise KeyError(name)
        return text

    def __iter__(self) -> Iterator[str]:
        return iter([self.root])

    def __len__(self) -> int:
        return 1

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.text(name) is not None

    def text(self, name: str) -> str | None:
        """The text of a file; None for one that is included and not there. Raises ConfnetError for the root."""
        if name.startswith(PREFIX):
            return _shipped(name)
        if name not in self.read:
            try:
                self.read[name] = decode(self.data(name), name, self.limits)
            except _NoFileError as error:
                if name == self.root:
                    raise _error(f"{self.revision}:{self.path}", str(error)) from None
                self.read[name] = None
        return self.read[name]

    def data(self, name: str) -> bytes:
        """The bytes of a file as git keeps them: no filter of the repository's configuration is run."""
        path = self.path if name == self.root else os.path.normpath(name.removeprefix(f"{self.revision}:"))
        if name != self.root and self.path.startswith(("./", "../")):
            path = f"./{path}"
        return _git("cat-file", "blob", f"{self.revision}:{path}", limit=self.limits.file_bytes + 1)


class _NoFileError(Exception):
    """Git has no such file; its reason."""


def _shipped(name: str) -> str | None:
    try:
        return block_text(name)
    except KeyError:
        return None


def _git(*arguments: str, limit: int) -> bytes:
    """What git prints, `limit` bytes of it at most. Raises _NoFileError with what git says."""
    program = shutil.which("git")
    if program is None:
        raise _NoFileError("`git` is not installed")
    environment = {**os.environ, **_SAFE}
    with subprocess.Popen(
        [program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        data = process.stdout.read(limit)
        if len(data) == limit:  # too large, which the caller sees
            process.kill()
            return data
        reason = process.stderr.read(10_000).decode("utf-8", "replace")
    if process.returncode:
        raise _NoFileError(_told(reason))
    return data


def _told(reason: str) -> str:
    """The first line of what git says, in the form of our messages."""
    line = next(iter(reason.strip().splitlines()), "git failed without a reason")
    line = re.sub(r"^(fatal|error): ", "", line).rstrip(".")
    return re.sub(r"'([^']*)'", r"`\1`", line)


def _error(name: str, reason: str) -> ConfnetError:
    return ConfnetError([Diagnostic("unreadable-file", f"`{name}` cannot be read: {reason}")])
