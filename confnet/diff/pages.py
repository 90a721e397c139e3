"""A difference as text for a terminal, and as Markdown for a review."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from confnet.diff.folding import below, folded, pattern
from confnet.diff.records import Change, CodeChange, Detail, Difference, ShapeChange
from confnet.markdown import as_code

__all__ = ["Styled", "markdown", "text_lines"]

Styled = tuple[str, str]
"""A line and what it is: `head`, `added`, `removed`, `changed`, `renamed` or nothing in particular."""

_SIGNS = {"added": "+", "removed": "-", "changed": "~", "renamed": ">"}
_WIDTH = 80
_LISTED = 40  # what a text lists of one sort; JSON has all
_LONGEST = 200  # columns of one value


# --- common -----------------------------------------------------------------------------------------------------------


def _grouped(changes: Sequence[Change]) -> Iterator[tuple[Change, list[Change]]]:
    """Changes that say the same of modules whose names differ in numbers alone."""
    groups: dict[object, list[Change]] = {}
    for change in changes:
        key = (change.kind, pattern(change.path), pattern(change.to), change.cls, change.details, change.parameters)
        groups.setdefault(key, []).append(change)
    for group in groups.values():
        yield replace(group[0], details=tuple(map(_cut_values, group[0].details))), group


def _cut_values(detail: Detail) -> Detail:
    """A detail whose values are short enough to read; JSON has all of them."""
    if detail.what not in ("argument", "constant"):
        return detail
    before, after = (
        text if text is None or len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
        for text in (detail.before, detail.after)
    )
    return replace(detail, before=before, after=after)


def _name(group: list[Change]) -> str:
    name = folded([change.path for change in group]) or "(the model)"
    to = folded([change.to for change in group])
    return f"{name} -> {to}" if to else name


def _times(group: Sequence[object]) -> str:
    return f" ({len(group)} of them)" if len(group) > 1 else ""


def _count(number: int, what: str = "parameter") -> str:
    return f"{number:,} {what}{'' if abs(number) == 1 else 's'}"


def _more(number: int) -> str:
    return f"{number:+,}" if number else "+0"


def _detail_name(detail: Detail) -> str:
    if detail.what in ("argument", "constant"):
        return detail.name
    if detail.what == "apply":
        return f"rule {int(detail.name) + 1}"
    return f"{detail.what}.{detail.name}" if detail.name else detail.what


def _detail(detail: Detail) -> str:
    name = _detail_name(detail)
    if detail.before is not None and detail.after is not None:
        return f"{name}: {detail.before} -> {detail.after}"
    if detail.what == "argument":
        return f"{name}: {detail.after or detail.before}"
    return f"{name}: removed {detail.before}" if detail.after is None else f"{name}: added {detail.after}"


def _call(change: Change) -> str:
    """The class of a module, with its arguments for one that came or went."""
    if change.kind not in ("added", "removed") or not change.details:
        return change.cls
    return f"{change.cls}({', '.join(f'{d.name}={d.after or d.before}' for d in change.details)})"


def _code_lines(change: CodeChange) -> list[str]:
    before, after = ((text or "").splitlines() for text in (change.before, change.after))
    return list(difflib.unified_diff(before, after, lineterm="", n=2))[2:]


def _code_name(change: CodeChange) -> str:
    name = f"{change.owner}.{change.name}"
    what = "" if change.before is not None and change.after is not None else " (new)" if change.after else " (gone)"
    return f"{name}{what}"


def _shapes(changes: Sequence[ShapeChange]) -> list[tuple[str, str, str]]:
    """Shapes that differ, with names that differ in numbers alone as one."""
    groups: dict[object, list[ShapeChange]] = {}
    for change in changes:
        key = (change.kind, pattern(change.name), change.before, change.after)
        groups.setdefault(key, []).append(change)
    return [
        (folded([each.name for each in group]), group[0].before or "none", group[0].after or "none")
        for group in groups.values()
    ]


def _keys(difference: Difference) -> Iterator[tuple[str, list[str], int]]:
    """What loading reports: a word, lines, and how many keys they are."""
    keys = difference.keys
    added = [change.path for change in difference.changes if change.kind == "added"]
    removed = [change.path for change in difference.changes if change.kind == "removed"]
    for word, names, roots in (("missing", keys.missing, added), ("unexpected", keys.unexpected, removed)):
        lines = [name + (f" ({count})" if count > 1 else "") for name, count in below(names, roots)]
        yield word, lines, len(names)
    shaped: dict[tuple[str, object, object], list[str]] = {}
    for key, before, after in keys.mismatched:
        shaped.setdefault((pattern(key), before, after), []).append(key)
    lines = [f"{folded(n)}: {list(b)} -> {list(a)}" for (_, b, a), n in shaped.items()]  # type: ignore[call-overload]
    yield "other shape", lines, len(keys.mismatched)
    yield "error", list(keys.errors), len(keys.errors)


def _verdict(difference: Difference) -> str:
    keys = difference.keys
    total = keys.kept + len(keys.unexpected) + len(keys.mismatched)
    if not keys:
        return "a checkpoint of A loads into B with strict=True"
    strict = "" if keys.mismatched or keys.errors else "; strict=False loads them"
    return f"{keys.kept:,} of {_count(total, 'key')} of A fit into B{strict}"


def _cut(lines: Sequence[str]) -> Iterator[str]:
    yield from lines[:_LISTED]
    if len(lines) > _LISTED:
        pad = " " * (len(lines[0]) - len(lines[0].lstrip()))
        yield f"{pad}... and {len(lines) - _LISTED:,} more"


# --- text -------------------------------------------------------------------------------------------------------------


def text_lines(difference: Difference) -> Iterator[Styled]:
    """The lines for a terminal."""
    for side, model in (("A", difference.a), ("B", difference.b)):
        more = difference.b.parameters - difference.a.parameters if side == "B" else 0
        yield f"{side}  {model.label}", "head"
        yield f"   {model.cls}, {_count(model.parameters)}{f' ({_more(more)})' if more else ''}", ""
    if not difference:
        yield "", ""
        yield "no difference", ""
        return
    yield from _section("modules", _module_lines(difference))
    yield from _section("code", _code_section(difference))
    shapes = [f"  {name}: {before} -> {after}" for name, before, after in _shapes(difference.shapes)]
    yield from _section("shapes", ((line, "") for line in _cut(shapes)))
    yield from _section("keys", _key_lines(difference))


def _section(title: str, lines: Iterator[Styled]) -> Iterator[Styled]:
    kept = list(lines)
    if kept:
        yield "", ""
        yield title, "head"
        yield from kept


def _module_lines(difference: Difference) -> Iterator[Styled]:
    groups = list(_grouped(difference.changes))
    for change, group in groups[:_LISTED]:
        size = ""
        if change.parameters:
            number = change.parameters
            size = f", {_count(number) if change.kind != 'changed' else _more(number) + ' parameters'}"
        each = " each" if size and len(group) > 1 else ""
        yield f"  {_SIGNS[change.kind]} {_name(group)}  {_call(change)}{size}{each}{_times(group)}", change.kind
        if change.kind == "changed":
            yield from (line for detail in change.details for line in _detail_lines(detail))
    if len(groups) > _LISTED:
        yield f"  ... and {len(groups) - _LISTED:,} more", ""


def _detail_lines(detail: Detail) -> Iterator[Styled]:
    """A detail in one line, or what was and what is below each other."""
    line = f"      {_detail(detail)}"
    if len(line) <= _WIDTH or detail.before is None or detail.after is None:
        yield line, ""
        return
    yield f"      {_detail_name(detail)}:", ""
    yield f"        - {detail.before}", "removed"
    yield f"        + {detail.after}", "added"


def _code_section(difference: Difference) -> Iterator[Styled]:
    for change in difference.code:
        yield f"  {_code_name(change)}{_times(change.places)}", "changed"
        for line in _code_lines(change):
            kind = {"+": "added", "-": "removed"}.get(line[:1], "")
            yield f"    {line}", kind


def _key_lines(difference: Difference) -> Iterator[Styled]:
    for word, lines, count in _keys(difference):
        if count:
            yield f"  {word}: {count:,}", {"missing": "added", "unexpected": "removed"}.get(word, "changed")
            yield from ((f"    {line}", "") for line in _cut(lines))
    yield f"  {_verdict(difference)}", ""


# --- Markdown ---------------------------------------------------------------------------------------------------------


def markdown(difference: Difference) -> str:
    """The same for a comment of a review."""
    return "\n".join(_markdown(difference)) + "\n"


def _markdown(difference: Difference) -> Iterator[str]:
    a, b = difference.a, difference.b
    yield f"### {_code(a.label)} → {_code(b.label)}"
    yield ""
    if not difference:
        yield "No difference."
        return
    yield "| | before | after | |"
    yield "|---|---:|---:|---:|"
    yield f"| class | {_code(a.cls)} | {_code(b.cls)} | |"
    for what in ("modules", "parameters", "trainable", "buffers"):
        left, right = getattr(a, what), getattr(b, what)
        yield f"| {what} | {left:,} | {right:,} | {_more(right - left) if left != right else ''} |"
    if difference.changes:
        yield from ("", "| | module | class | what | parameters |", "|---|---|---|---|---:|")
        groups = list(_grouped(difference.changes))
        for change, group in groups[:_LISTED]:
            details = change.details if change.kind == "changed" else ()
            what = "<br>".join(_code(_detail(detail)) for detail in details)
            size = _more(-change.parameters if change.kind == "removed" else change.parameters)
            size = f"{size}{f' each, {len(group)} of them' if len(group) > 1 else ''}" if change.parameters else ""
            yield f"| {change.kind} | {_code(_name(group))} | {_code(_call(change))} | {what} | {size} |"
        if len(groups) > _LISTED:
            yield f"| | and {len(groups) - _LISTED:,} more | | | |"
    for code in difference.code:
        lines = _code_lines(code)
        fence = "`" * max(3, 1 + max(map(_backticks, lines), default=0))
        yield from ("", f"{_code(_code_name(code))}{_times(code.places)}:", "", f"{fence}diff", *lines, fence)
    if difference.shapes:
        yield from ("", "| value | before | after |", "|---|---|---|")
        shapes = _shapes(difference.shapes)
        yield from (f"| {_code(name)} | {_code(left)} | {_code(right)} |" for name, left, right in shapes[:_LISTED])
        if len(shapes) > _LISTED:
            yield f"| and {len(shapes) - _LISTED:,} more | | |"
    yield from ("", f"**Checkpoints:** {_verdict(difference)}.")
    for word, lines, count in _keys(difference):
        if count:
            yield from ("", f"<details><summary>{word}: {count:,}</summary>", "")
            yield from (f"- {_code(line)}" for line in _cut(lines))
            yield from ("", "</details>")


def _backticks(text: str) -> int:
    """The most backticks that stand together in a text."""
    return max(map(len, re.findall("`+", text)), default=0)


def _code(text: str) -> str:
    """A text as code inside a table."""
    return as_code(text.replace("\n", " ")).replace("|", "\\|")
