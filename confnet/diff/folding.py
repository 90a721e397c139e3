"""Many names that differ in numbers alone, as one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from math import prod

__all__ = ["below", "folded", "pattern"]

_NUMBER = re.compile(r"0|[1-9][0-9]*")


def pattern(name: str) -> str:
    """A dotted name with `*` for every number that is a whole part of it."""
    return ".".join("*" if _NUMBER.fullmatch(part) else part for part in name.split("."))


def folded(names: Sequence[str]) -> str:
    """Names of one pattern as one: `layers.{0-11}.fc1`, or with `*` where the numbers are not all there are."""
    columns = list(zip(*(name.split(".") for name in names), strict=True))
    values = [sorted(set(column), key=lambda part: (len(part), part)) for column in columns]
    whole = prod(len(each) for each in values) == len(set(names))
    return ".".join(each[0] if len(each) == 1 else f"{{{_ranges(each)}}}" if whole else "*" for each in values)


def _ranges(numbers: Iterable[str]) -> str:
    parts = []
    for _, group in groupby(enumerate(map(int, numbers)), lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        parts.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return ",".join(parts)


def below(keys: Iterable[str], modules: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Keys of a state dict, folded, each with how many they are: all below one of some `modules` are one, `path.*`."""
    roots = set(modules)
    grouped: dict[str, int] = {}
    for key in keys:
        parts = key.split(".")
        root = next((".".join(parts[:n]) for n in range(1, len(parts)) if ".".join(parts[:n]) in roots), None)
        name = key if root is None else f"{root}.*"
        grouped[name] = grouped.get(name, 0) + 1
    for _, names in _by_pattern(grouped):
        yield folded(names), sum(grouped[name] for name in names)


def _by_pattern(names: Iterable[str]) -> Iterable[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(re.sub(r"\*", "**", pattern(name)) if name.endswith(".*") else pattern(name), []).append(name)
    return found.items()
