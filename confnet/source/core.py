"""The values of plain scalars in YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema)."""

from __future__ import annotations

import math
import re

from confnet.source.nodes import Plain

__all__ = ["IntegerTooLarge", "core_value"]

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: dict[str, Plain] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_INT64 = 2**63


class IntegerTooLarge(ValueError):
    """An integer beyond 64 bits."""


def core_value(text: str) -> Plain:
    """The value that the YAML 1.2 core schema gives a plain scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        if len(text) > 24:
            raise IntegerTooLarge(text)
        value = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        if not -_INT64 <= value < _INT64:
            raise IntegerTooLarge(text)
        return value
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
