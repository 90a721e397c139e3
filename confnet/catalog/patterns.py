"""Regular expressions that a file may give: valid ones, which no key can make slow.

Python's `re` backtracks: `(a+)+b` takes time exponential in the length of a text, `.*.*.*.*b` its fourth power.
"""

from __future__ import annotations

import importlib
import math
import re
import warnings
from collections.abc import Iterable
from typing import Any, Final

from confnet.catalog.arguments import Fault, Rule

__all__ = ["PATTERN", "REPLACEMENT"]

# How `re` itself reads a pattern: the standard library tells it nowhere else.
sre_parser: Final[Any] = importlib.import_module("re._parser")
sre: Final[Any] = importlib.import_module("re._constants")

_MAX_LENGTH: Final = 500
_MAX_CHAIN: Final = 3
_MAX_WAYS: Final = 10_000
_MANY: Final = 16
"""From how many repetitions on a bounded repeat counts as an unbounded one."""
_REPEATS: Final = (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT)
_SAMPLE: Final = [chr(code) for code in range(1, 384)]


def _pattern_fault(pattern: object) -> Fault | None:
    if not isinstance(pattern, str):
        return None
    if len(pattern) > _MAX_LENGTH:
        return Fault(f"has {len(pattern)} characters, and {_MAX_LENGTH} are allowed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            items = sre_parser.parse(pattern)
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return Fault(f"is no regular expression: {str(error)[:1].lower()}{str(error)[1:]}")
    if _nested(items, False):
        return Fault(
            "repeats what already varies, which may take exponential time",
            "write one quantifier, such as `a+` for `(a+)+`",
        )
    if _ways(items) > _MAX_WAYS:
        return Fault(
            f"can match in more than {_MAX_WAYS:,} ways, which may take very long",
            "write several hooks with simpler patterns",
        )
    if _longest_chain(items) > _MAX_CHAIN:
        return Fault(
            f"has more than {_MAX_CHAIN} quantifiers in a row that match the same characters, which may take very long",
            r"separate them by what they do not match, as in `[^.]+\.[^.]+`",
        )
    return None


def _replacement_fault(pattern: object, to: object) -> Fault | None:
    if not isinstance(pattern, str) or not isinstance(to, str) or _pattern_fault(pattern):
        return None
    try:
        re.compile(pattern).sub(to, "")
    except (re.error, IndexError) as error:
        return Fault(f"is no replacement for `{pattern}`: {error}", r"write groups as `\1` or `\g<name>`")
    return None


PATTERN: Final = Rule(("pattern",), _pattern_fault, "https://docs.python.org/3/library/re.html")
REPLACEMENT: Final = Rule(
    ("to", "pattern"),
    lambda to, pattern: _replacement_fault(pattern, to),
    "https://docs.python.org/3/library/re.html#re.sub",
)


def _parts(argument: Any) -> Iterable[Any]:
    """The sequences inside the argument of one operation."""
    if isinstance(argument, sre_parser.SubPattern):
        yield argument
    elif isinstance(argument, list | tuple):
        for item in argument:
            yield from _parts(item)


def _is_many(operation: Any, argument: Any) -> bool:
    return operation in _REPEATS and argument[1] >= _MANY and argument[0] != argument[1]


def _nested(items: Any, repeated: bool) -> bool:
    """Whether something that may match in several ways stands under a quantifier."""
    for operation, argument in items:
        varies = (
            operation is sre.BRANCH
            or operation is sre.GROUPREF
            or (operation in _REPEATS and argument[0] != argument[1])
        )
        if repeated and varies:
            return True
        inside = repeated or (
            operation in _REPEATS and argument[1] > 1 and (argument[0] != argument[1] or argument[1] >= _MANY)
        )
        if any(_nested(part, inside) for part in _parts(argument)):
            return True
    return False


def _longest_chain(items: Any) -> int:
    """The most quantifiers that may share out one run of the same character."""
    longest, counts = 0, dict.fromkeys(_SAMPLE, 0)
    for many, required, characters in _flat(items):
        for character in _SAMPLE:
            if character in characters:
                counts[character] += many
            elif required:
                counts[character] = 0
        longest = max(longest, *counts.values())
    return longest


def _flat(items: Any, required: bool = True) -> Iterable[tuple[bool, bool, frozenset[str]]]:
    """The operations of a pattern one after the other: whether each may match many times, whether it must match,
    and what.

    The arms of a branch follow each other, which only makes chains longer.
    """
    for operation, argument in items:
        if operation is sre.GROUPREF:
            yield True, False, frozenset(_SAMPLE)
        elif _is_many(operation, argument):
            yield True, required and argument[0] > 0, _characters(argument[2])
        elif operation in (sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN):
            yield False, required, _characters([(operation, argument)])
        else:
            may_miss = operation is sre.BRANCH or (operation in _REPEATS and argument[0] == 0)
            for part in _parts(argument):
                yield from _flat(part, required and not may_miss)


def _ways(items: Any) -> int:
    """In how many ways the small choices of a pattern can be made: branches, and repeats with a low bound."""
    ways = 1
    for operation, argument in items:
        if operation is sre.BRANCH:
            ways *= len(argument[1])
        inside = math.prod(_ways(part) for part in _parts(argument))
        if operation in _REPEATS and not _is_many(operation, argument):
            ways *= argument[1] - argument[0] + 1
            if inside > 1:  # each repetition is matched in a way of its own
                inside **= min(argument[1], _MANY)
        ways *= inside
    return ways


def _characters(items: Any) -> frozenset[str]:
    """The characters, of a sample, that can stand in what operations match."""
    found: set[str] = set()
    for operation, argument in items:
        if operation is sre.LITERAL:
            found |= {chr(argument), chr(argument).lower(), chr(argument).upper()}
        elif operation is sre.NOT_LITERAL:
            found |= {c for c in _SAMPLE if ord(c) != argument}
        elif operation is sre.IN:
            found |= _class(argument)
        elif operation is sre.ANY:
            found |= set(_SAMPLE)
        else:
            for part in _parts(argument):
                found |= _characters(part)
    return frozenset(found)


def _class(items: Any) -> set[str]:
    found: set[str] = set()
    negated = False
    for operation, argument in items:
        if operation is sre.NEGATE:
            negated = True
        elif operation is sre.LITERAL:
            found.add(chr(argument))
        elif operation is sre.RANGE:
            found |= {c for c in _SAMPLE if argument[0] <= ord(c) <= argument[1]}
        elif operation is sre.CATEGORY:
            found |= {c for c in _SAMPLE if _in_category(argument, c)}
    return set(_SAMPLE) - found if negated else found


def _in_category(category: Any, character: str) -> bool:
    letter = str(category).rsplit("_", 1)[-1][0].lower()  # CATEGORY_DIGIT, CATEGORY_NOT_WORD, ...
    shorthand = f"\\{letter.upper() if '_NOT_' in str(category) else letter}"
    return re.fullmatch(shorthand, character) is not None
