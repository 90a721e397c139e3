"""Values in the place of the names that code reads."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterable, Mapping

from confnet.plan import DTypeName

__all__ = ["expression_text", "mentions", "reads_of_others", "with_values"]


def expression_text(value: object) -> str:
    """A value as an expression. Raises ValueError for one that no expression gives."""
    if isinstance(value, DTypeName):
        return f"torch.{value.name}"
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"no expression gives {value}")
    if isinstance(value, tuple):
        return f"({', '.join(map(expression_text, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(map(expression_text, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {expression_text(item)}" for key, item in value.items()) + "}"
    return repr(value)


def _in_code(value: object) -> str:
    """A value in the middle of other code."""
    if isinstance(value, float) and not math.isfinite(value):
        return "(-math.inf)" if value < 0 else "math.inf"
    text = expression_text(value)
    return f"({text})" if text.startswith("-") else text


def mentions(texts: Iterable[str]) -> set[str]:
    """The words of some code: whatever it reads is among them."""
    return {word for text in texts for word in re.findall(r"[^\W\d]\w*", text)}


def reads_of_others(texts: Iterable[str]) -> set[str]:
    """The attributes that some code reads of something else than its own module."""
    return {
        name
        for text in texts
        for owner, name in re.findall(r"(\w*|[\])])\s*\.\s*([^\W\d]\w*)", text)
        if owner not in ("self", "torch", "F", "math")
    }


def with_values(text: str, values: Mapping[str, object], renamed: Mapping[str, str] | None = None) -> str:
    """Code with values in the place of names that it only reads, and some other names `renamed`.

    A name that the code sets itself stays, as does everything else, comments and layout included.
    """
    words = mentions([text])
    values = {name: value for name, value in values.items() if name in words}
    renamed = {name: to for name, to in (renamed or {}).items() if name in words}
    if not values and not renamed:
        return text
    tree = ast.parse(text.strip() if "\n" not in text.strip() else text)
    text = text.strip() if "\n" not in text.strip() else text
    stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    lines = [line.encode() for line in text.split("\n")]
    places: list[tuple[int, int, int, str]] = []
    for node in ast.walk(tree):
        name = _name_of(node, stored)
        if name is None or not isinstance(node, ast.expr) or node.end_col_offset is None:
            continue
        if name in values:
            places.append((node.lineno - 1, node.col_offset, node.end_col_offset, _in_code(values[name])))
        elif name in renamed:
            places.append((node.lineno - 1, node.col_offset, node.end_col_offset, renamed[name]))
    for line, begin, end, new in sorted(places, reverse=True):
        lines[line] = lines[line][:begin] + new.encode() + lines[line][end:]
    return b"\n".join(lines).decode()


def _name_of(node: ast.AST, stored: set[str]) -> str | None:
    """The name that a node reads: bare and not set by the code, or of `self`."""
    if isinstance(node, ast.Name) and node.id not in stored:
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        return node.attr
    return None
