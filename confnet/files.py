"""Which files a command line means: files, folders and glob patterns. Standard library only."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from typing import Final

from confnet.records import dataclass

__all__ = ["STANDARD_INPUT", "BarrenFolder", "FoundFiles", "find_files"]

STANDARD_INPUT: Final = "-"

_ENDINGS: Final = (".yaml", ".yml")
_KEY: Final = re.compile(rb"""^(?:\{\s*)?(?:confnet|"confnet"|'confnet')\s*:(?:\s|$)""", re.MULTILINE)
_LOOK_AT: Final = 10_000_000  # bytes: the file that is larger is refused anyway
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class BarrenFolder:
    """A folder without confnet files, and how many YAML files of others it has."""

    name: str
    others: int


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """The files to read, each once, by the names that diagnostics give them; and the folders that added none."""

    files: tuple[str, ...]
    barren: tuple[BarrenFolder, ...]


def find_files(arguments: Iterable[str]) -> FoundFiles:
    """The files that a caller's arguments name, in their order.

    A folder means its YAML files, at any depth and sorted, that have the key `confnet` at the margin; hidden folders
    are not looked into. A pattern (`*`, `?`, `[a-z]`, `**` for folders at any depth) means what it matches, sorted.
    `-` is the standard input. A name or pattern that finds nothing stays as it is, for whoever reads it to report.
    """
    files: dict[str, str] = {}
    barren = []
    for name in _expanded(arguments):
        if not os.path.isdir(name):
            files.setdefault(name if name == STANDARD_INPUT else os.path.realpath(name), name)
            continue
        candidates = list(_yaml_files(name))
        found = [file for file in candidates if _is_confnet(file)]
        if not found:
            barren.append(BarrenFolder(name, len(candidates)))
        for file in found:
            files.setdefault(os.path.realpath(file), file)
    return FoundFiles(tuple(files.values()), tuple(barren))


def _expanded(arguments: Iterable[str]) -> Iterator[str]:
    for argument in arguments:
        # A file whose own name has brackets is no pattern.
        is_pattern = glob.has_magic(argument) and not os.path.lexists(argument)
        matches = sorted(glob.glob(argument, recursive=True)) if is_pattern else []
        yield from matches or [argument]


def _yaml_files(folder: str) -> Iterator[str]:
    """The YAML files of a folder and below, sorted by their path as text."""
    for path, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(path, name) for name in sorted(names) if name.lower().endswith(_ENDINGS))


def _is_confnet(file: str) -> bool:
    """Whether a file says that it is confnet's; one that cannot be read is kept, to be reported."""
    try:
        with open(file, "rb") as stream:
            text = stream.read(_LOOK_AT)
    except OSError:
        return True
    return _KEY.search(text.removeprefix(_BOM)) is not None
