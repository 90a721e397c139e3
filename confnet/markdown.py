"""Texts of files as Markdown: nothing in them means anything to it, nor to HTML. Standard library only."""

from __future__ import annotations

import re

from confnet.render import printable

__all__ = ["as_code", "as_prose"]

_CODE = re.compile(r"((?<!`)`[^`]+`(?!`))")
_MEANS_SOMETHING = re.compile(r"[\\*]|<(?=[\w/!?])|(?<!\w)_|_(?!\w)")


def as_code(text: str) -> str:
    """A text as code, whatever it holds."""
    text = printable(text)
    runs = re.findall("`+", text)
    if not runs:
        return f"`{text}`"
    fence = "`" * (max(map(len, runs)) + 1)
    return f"{fence} {text} {fence}"


def as_prose(text: str) -> str:
    """A sentence; what stands between backticks in it is code."""
    parts = _CODE.split(printable(text))
    return "".join(part if _CODE.fullmatch(part) else _MEANS_SOMETHING.sub(r"\\\g<0>", part) for part in parts)
