"""Plain values to YAML text as a person would lay it out: short collections in one line, code in blocks."""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from confnet.source.core import IntegerTooLarge, core_value

__all__ = ["INDENT", "Code", "Prose", "flow_text", "lay_out", "scalar_text"]

INDENT: Final = 2
WIDTH: Final = 110
"""Collections that fit into this many columns stand in one line."""


@dataclass(frozen=True, slots=True)
class Code:
    """Code: one line as it is, several below `|`."""

    text: str


@dataclass(frozen=True, slots=True)
class Prose:
    """Text for readers: folded below `>` where it is too long for a line."""

    text: str


# What readers of YAML 1.1 take for something else than a text, beside the words and numbers of 1.2.
_OTHER_IN_1_1: Final = re.compile(
    r"(?i:yes|no|on|off|=|<<|[-+]?0b[01_]+|[-+]?0x[0-9a-f_]+|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"
    r"|[-+]?[0-9][0-9_]*(\.[0-9_]*)?(e[-+]?[0-9]+)?|[-+]?\.[0-9_]+(e[-+][0-9]+)?|\d{4}-\d\d?-\d\d?([Tt\s].*)?)"
)
_FIRST: Final = re.compile(r"[^\s\-?:,\[\]{}#&*!|>'\"%@`]")
_UNPRINTABLE: Final = re.compile("[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_SPLITS: Final = re.compile(r": | #|:$|\s$")
_SPLITS_FLOW: Final = re.compile(r"[,\[\]{}:?]")


def lay_out(value: Mapping[str, object], *, blocks: frozenset[str] = frozenset(), apart: str = "") -> str:
    """The YAML text of a mapping. What stands under one of the keys `blocks` has a line for each of its entries; blank
    lines stand around the key `apart`, and between its entries.

    Readers of YAML 1.1 and of 1.2 take the same values back.
    """
    parts = [(list(_mapping({key: item}, 0, blocks)), key == apart) for key, item in value.items()]
    lines: list[str] = []
    for index, (part, spaced) in enumerate(parts):
        lines += [""] if index and (spaced or parts[index - 1][1]) else []
        own = re.compile(rf" {{{INDENT}}}\S")
        for number, line in enumerate(part):
            lines += [""] if spaced and number > 1 and own.match(line) else []
            lines.append(line)
    return "".join(f"{line}\n" for line in lines)


def scalar_text(value: object, *, flow: bool = False) -> str:
    """One value in one line: without quotes where nobody could take it for something else."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _number(value)
    assert isinstance(value, str), f"a value of type {type(value).__name__} has no text"
    return value if _is_plain(value, flow) else _quoted(value)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    text = repr(value)
    return text.replace("e", ".0e") if "e" in text and "." not in text else text  # for 1.1 `1e-05` is a text


def _quoted(text: str) -> str:
    if _UNPRINTABLE.search(text):
        return _UNPRINTABLE.sub(lambda each: f"\\u{ord(each[0]):04x}", json.dumps(text, ensure_ascii=False))
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' if "'" in text or '"' not in text else f"'{text}'"


def _is_plain(text: str, flow: bool) -> bool:
    try:
        if not isinstance(core_value(text), str) or _OTHER_IN_1_1.fullmatch(text):
            return False
    except IntegerTooLarge:
        return False
    if not _FIRST.match(text) or text.startswith("...") or _UNPRINTABLE.search(text) or _SPLITS.search(text):
        return False
    if text.count("(") != text.count(")"):  # confnet takes it for an expression that YAML has split
        return False
    return not (flow and _SPLITS_FLOW.search(text))


# --- one line ---------------------------------------------------------------------------------------------------------


def flow_text(value: object) -> str | None:
    """A value in one line, or None where it needs several."""
    if isinstance(value, Code | Prose):
        return _one_line(value, flow=True)
    if isinstance(value, Mapping):
        entries = [(scalar_text(key, flow=True), flow_text(item)) for key, item in value.items()]
        if any(item is None for _, item in entries):
            return None
        return "{" + ", ".join(f"{key}: {item}" for key, item in entries) + "}"
    if isinstance(value, list | tuple):
        items = [flow_text(item) for item in value]
        return None if any(item is None for item in items) else "[" + ", ".join(filter(None, items)) + "]"
    return scalar_text(value, flow=True)


def _one_line(value: Code | Prose, *, flow: bool) -> str | None:
    text = value.text.rstrip("\n") if isinstance(value, Code) else value.text
    return None if "\n" in text else scalar_text(text, flow=flow)


def _holds_block(value: object, blocks: frozenset[str]) -> bool:
    """Whether something inside wants lines of its own."""
    if isinstance(value, Mapping):
        return any(
            (item and key in blocks and not _is_small(item)) or _holds_block(item, blocks)
            for key, item in value.items()
        )
    return isinstance(value, list | tuple) and any(_holds_block(item, blocks) for item in value)


def _is_small(value: object) -> bool:
    """Whether a collection is one entry, which needs no line for itself."""
    return isinstance(value, Mapping | list) and len(value) < 2


# --- several lines ----------------------------------------------------------------------------------------------------


def _mapping(value: Mapping[str, object], indent: int, blocks: frozenset[str]) -> Iterator[str]:
    pad = " " * indent
    for key, item in value.items():
        head = f"{pad}{scalar_text(key)}:"
        rest = list(_value(item, head, indent, blocks, apart=key in blocks))
        yield rest[0]
        yield from rest[1:]


def _value(value: object, head: str, indent: int, blocks: frozenset[str], *, apart: bool) -> Iterator[str]:
    """The lines of a value behind `head`; a collection that stands `apart` has a line for each entry."""
    if isinstance(value, Code | Prose):
        yield from _text(value, head, indent)
        return
    if not isinstance(value, Mapping | list | tuple):
        yield f"{head} {scalar_text(value)}"
        return
    line = None if (apart and value) or _holds_block(value, blocks) else flow_text(value)
    if line is not None and (len(head) + 1 + len(line) <= WIDTH or not value):
        yield f"{head} {line}"
        return
    yield head
    if isinstance(value, Mapping):
        yield from _mapping(value, indent + INDENT, blocks)
    else:
        yield from _sequence(value, indent + INDENT, blocks)


def _sequence(value: Sequence[object], indent: int, blocks: frozenset[str]) -> Iterator[str]:
    pad = " " * indent
    for item in value:
        if isinstance(item, Mapping) and item:
            line = None if _holds_block(item, blocks) else flow_text(item)
            if len(item) == 1 or line is None or indent + 2 + len(line) > WIDTH:
                lines = list(_mapping(item, indent + INDENT, blocks))
                yield f"{pad}- {lines[0].lstrip()}"
                yield from lines[1:]
            else:
                yield f"{pad}- {line}"
        else:
            yield from _value(item, f"{pad}-", indent, blocks, apart=False)


def _text(value: Code | Prose, head: str, indent: int) -> Iterator[str]:
    line = _one_line(value, flow=False)
    if isinstance(value, Prose) and (line is None or len(head) + 1 + len(line) > WIDTH):
        yield from _folded(value.text, head, indent)
        return
    if line is not None:
        yield f"{head} {line}"
        return
    text = value.text.rstrip("\n")
    if any(_UNPRINTABLE.search(part) for part in text.split("\n")):
        yield f"{head} {_quoted(text)}"
        return
    indicator = str(INDENT) if text.lstrip("\n").startswith(" ") or text.startswith("\n") else ""
    yield f"{head} |{indicator}"
    yield from _indented(text.split("\n"), indent + INDENT)


def _folded(text: str, head: str, indent: int) -> Iterator[str]:
    """Prose over several lines; where folding would change it, quoted in one."""
    body, chomp = text.removesuffix("\n"), "" if text.endswith("\n") else "-"
    words = body.split(" ")
    if all(words) and not _UNPRINTABLE.search(body):
        yield f"{head} >{chomp}"
        width = max(40, WIDTH - indent)
        yield from _indented(
            textwrap.wrap(body, width, break_long_words=False, break_on_hyphens=False), indent + INDENT
        )
        return
    lines = body.split("\n")
    fits = all(lines) and not any(_UNPRINTABLE.search(line) for line in lines) and not lines[0].startswith(" ")
    if fits:
        yield f"{head} |{chomp}"
        yield from _indented(lines, indent + INDENT)
    else:
        yield f"{head} {_quoted(text)}"


def _indented(lines: Iterable[str], indent: int) -> Iterator[str]:
    return (" " * indent + line if line else "" for line in lines)
