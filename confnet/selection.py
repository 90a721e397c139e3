"""Which modules a selector means, told by the names of their classes and the names they stand under."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from confnet.plan import Selector

__all__ = ["matches"]

_PARTS = {"**.": r"(?:[^.]+\.)*", ".**": r"(?:\.[^.]+)*", "**": ".*", "*": "[^.]*", "?": "[^.]"}


def matches(selector: Selector | None, classes: Iterable[str], names: Iterable[str]) -> bool:
    """Whether a selector means a module whose class derives from `classes` and that stands under `names`.

    None means every module. In a pattern, `*` is any text without a dot, `**` any number of segments, `?` one
    character.
    """
    if selector is None:
        return True
    if selector.types is not None and not any(_glob(p).fullmatch(name) for p in selector.types for name in classes):
        return False
    if selector.names is not None and not any(_glob(p).fullmatch(name) for p in selector.names for name in names):
        return False
    return selector.exclude is None or not matches(selector.exclude, classes, names)


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str]:
    tokens = re.split(r"(\*\*\.|\.\*\*|\*\*|\*|\?)", pattern)
    return re.compile("".join(_PARTS.get(token, re.escape(token)) for token in tokens))
