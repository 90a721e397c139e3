"""What `confnet explain` prints: one page of Markdown for each code of a diagnostic, `CODE.md` beside this file.

The pages are the documentation too; docs/errors.md lists them. Their examples are tested. Standard library only.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Final

__all__ = ["codes", "page", "summary"]

_SUFFIX: Final = ".md"
_DIRECTIVE: Final = re.compile(r"^<!--.*-->\n", re.MULTILINE)  # what tests are told about the block below
_SENTENCE_END: Final = re.compile(r"(?<=[.?!])\s+(?=[A-Z`])")


@cache
def codes() -> tuple[str, ...]:
    """Every code that has a page, sorted."""
    names = (entry.name for entry in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)))


def page(code: str) -> str:
    """The page of a code, in Markdown. Raises KeyError if there is none."""
    if code not in codes():
        raise KeyError(code)
    return _DIRECTIVE.sub("", files(__name__).joinpath(f"{code}{_SUFFIX}").read_text(encoding="utf-8"))


def summary(code: str) -> str:
    """The first sentence of a code's page. Raises KeyError if there is no page."""
    _, paragraph, *_ = page(code).split("\n\n")
    return _SENTENCE_END.split(" ".join(paragraph.split()))[0]
