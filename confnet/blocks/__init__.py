"""The files of definitions that ship with the package, beside this one: what `include: [confnet:mlp.yaml]` names.

They are specs as any user's, not Python. docs/blocks.md tells what they define. Standard library only.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

__all__ = ["PREFIX", "block_names", "block_text"]

PREFIX: Final = "confnet:"
"""What an include of a shipped file begins with; no path does (`target` of confnet/loading.py sees to it)."""

_SUFFIX: Final = ".yaml"


@cache
def block_names() -> tuple[str, ...]:
    """The shipped files as an include names them, sorted: `confnet:attention.yaml`, ..."""
    found = (entry.name for entry in files(__name__).iterdir())
    return tuple(sorted(f"{PREFIX}{name}" for name in found if name.endswith(_SUFFIX)))


def block_text(name: str) -> str:
    """The text of a shipped file by the name that an include gives it. Raises KeyError for any other name."""
    if name not in block_names():  # compared as a whole: a name is never a path
        raise KeyError(name)
    return files(__name__).joinpath(name.removeprefix(PREFIX)).read_text(encoding="utf-8")
