"""Which modules a selector means, told by the names of their classes and the names they stand under."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from confnet.plan import Selector

__all__ = ["matches"]


def matches(selector: Selector | None, classes: Iterable[str], names: Iterable[str]) -> bool:
    """Whether a selector means a module whose class derives from `classes` and that stands under `names`.

    None means every module. In a pattern, `*` is any text without a dot, `**` any number of segments, `?` one
    character.
    """
    if selector is None:
        return True
    if selector.types is not None and not any(_fits(p, name) for p in selector.types for name in classes):
        return False
    if selector.names is not None and not any(_fits(p, name) for p in selector.names for name in names):
        return False
    return selector.exclude is None or not matches(selector.exclude, classes, names)


def _fits(pattern: str, name: str) -> bool:
    """Whether a pattern means a name.

    Goes through the pattern once, with all places of the name that are reached so far: a regular expression would try
    every way to share a name among many `*`, and a file could keep it trying for years.
    """
    places = [0]
    for token in _tokens(pattern):
        step = _STEPS.get(token)
        if step is None:
            places = [place + len(token) for place in places if name.startswith(token, place)]
        else:
            places = step(name, places)
        if not places:
            return False
    return places[-1] == len(name)


@lru_cache(maxsize=1024)
def _tokens(pattern: str) -> tuple[str, ...]:
    return tuple(token for token in re.split(r"(\*\*\.|\.\*\*|\*\*|\*|\?)", pattern) if token)


def _no_dots(name: str, places: list[int]) -> list[int]:
    reached: list[int] = []
    for place in places:
        if reached and place <= reached[-1]:  # the segment is reached already, from here to its end
            continue
        end = name.find(".", place)
        reached += range(place, (len(name) if end < 0 else end) + 1)
    return reached


def _segments_before(name: str, places: list[int]) -> list[int]:
    """`**.`: any number of segments, each with its dot."""
    reached = set(places)
    for place in range(places[0], len(name)):
        if place in reached and name[place] != ".":
            end = name.find(".", place)
            if end >= 0:
                reached.add(end + 1)
    return sorted(reached)


def _segments_after(name: str, places: list[int]) -> list[int]:
    """`.**`: any number of segments, each behind its dot."""
    reached = set(places)
    for place in range(places[0], len(name) - 1):
        if place in reached and name[place] == "." and name[place + 1] != ".":
            reached |= {*_no_dots(name, [place + 2])}
    return sorted(reached)


# What each part of a pattern reaches from places of a name; places are in order, none twice.
_STEPS: dict[str, Callable[[str, list[int]], list[int]]] = {
    "*": _no_dots,
    "**": lambda name, places: list(range(places[0], len(name) + 1)),
    "**.": _segments_before,
    ".**": _segments_after,
    "?": lambda name, places: [place + 1 for place in places if name[place : place + 1] not in ("", ".")],
}
