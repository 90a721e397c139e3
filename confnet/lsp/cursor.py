"""Where the cursor is: what is being written there, in a file that need not be well-formed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from confnet.lsp.grammar import Place, place_of
from confnet.lsp.outline import Node, Outline
from confnet.lsp.positions import Text

__all__ = ["Cursor", "Target", "cursor_at", "target_at"]

# Tried at the beginning of a word only: elsewhere, a long line would take forever.
_WORD = re.compile(r"(?<![\w$.:/+-])[\w$.:/+-]*$")
_NAME = re.compile(r"(?<!\w)\w*$")


@dataclass(frozen=True, slots=True)
class Cursor:
    """What is being written: a key of `node`, its value, code, or an expression of `$`.

    `word` is the part that is there already, from `column` on; `before` the text of code or expression up to the
    cursor. `taken` are the keys that stand beside it.
    """

    slot: Literal["key", "value", "code", "expression", "text"]
    node: Node
    place: Place
    word: str
    line: int
    column: int
    before: str = ""
    taken: frozenset[str] = frozenset()
    has_colon: bool = False
    in_flow: bool = False


def cursor_at(text: Text, line: int, column: int, whole: Outline) -> Cursor:
    """What is written at a place of a text. `whole` is the outline of all of it."""
    before = [*text.lines[:line], text.line(line)[:column]]
    outline = Outline(before)
    prefix = before[-1]
    rest = text.line(line)[column:]
    node, slot = _open(outline, prefix, line)
    if node.block and slot == "value":
        return _code(node, line, prefix, before)
    place = place_of(node)
    if slot == "value" and place.kind in ("code", "method") and not node.is_flow and not node.children:
        start = node.text_column if node.text_line == line and node.text else len(prefix)
        if prefix[start : start + 1] in ("'", '"'):
            start += 1
        return _in_code(node, line, prefix, prefix[start:])
    dollar = _expression(prefix)
    if dollar is not None and place.kind not in ("text",):
        word = _NAME.search(prefix)
        assert word is not None
        return Cursor("expression", node, place, word[0], line, word.start(), dollar)
    word = _WORD.search(prefix)
    assert word is not None
    typed = word[0]
    start = word.start()
    if slot == "key" and place.kind != "document" and typed.startswith("-"):
        typed, start = typed.lstrip("-"), word.end() - len(typed.lstrip("-"))
    return Cursor(
        slot if place.kind != "text" or slot == "key" else "text",
        node, place, typed, line, start,
        taken=_taken(node, whole, line, column, slot),
        has_colon=bool(re.match(r"[\w$.]*\s*:(\s|$)", rest)),
        in_flow=node.in_flow or node.is_flow,
    )  # fmt: skip


def _open(outline: Outline, prefix: str, line: int) -> tuple[Node, Literal["key", "value"]]:
    """The node that the end of a text belongs to, and whether a key of it or its value is written there."""
    body = prefix.lstrip(" ")
    column = len(prefix) - len(body)
    node = outline.root
    while node.children:
        node = node.children[-1]
        if node.block:
            inside = line >= node.text_line and (
                column > _own_indent(node) or (not body and len(prefix) > _own_indent(node))
            )
            if inside:
                return node, "value"
    flow = _open_flow(outline.root)
    if flow is not None:
        return flow
    if not body or body.startswith("#"):  # a new line: the column says what it belongs to
        node = outline.root
        while node.children and node.children[-1].indent < len(prefix):
            node = node.children[-1]
            if node.is_flow:
                break
        if node.is_word and node.parent is not None:
            node = node.parent
        return node, "key"
    if node.is_word and node.parent is not None:
        return node.parent, "key"
    return node, "value"


def _own_indent(node: Node) -> int:
    return node.column if node.is_item else node.indent


def _open_flow(root: Node) -> tuple[Node, Literal["key", "value"]] | None:
    """The innermost brackets that are open at the end of the text."""
    node, found = root, None
    while True:
        if node.is_open:
            found = node
        if not node.children:
            break
        node = node.children[-1]
    if found is None:
        return None
    text = found.text.rstrip()
    last = found.children[-1] if found.children else None
    finished = last is None or text.endswith(("{", "[", ",")) or (last.is_flow and not last.is_open)
    if finished and text[0] == "[":  # an item that has no letter yet
        item = Node("", found.line, found.column, found.column, found, is_item=True, in_flow=True)
        found.entries.append(item)
        return item, "value"
    if finished or last is None or not (last.is_item or last.has_colon):
        return found, "key"
    return last, "value"


def _taken(node: Node, whole: Outline, line: int, column: int, slot: str) -> frozenset[str]:
    """The keys that stand beside the one that is written, also behind the cursor."""
    if slot != "key":
        return frozenset()
    same = node_like(whole, node)
    others = [*node.children, *(same.children if same is not None else ())]
    return frozenset(
        child.key
        for child in others
        if child.key and not (child.line == line and child.column <= column <= child.key_end)
    )


def node_like(whole: Outline, node: Node) -> Node | None:
    """The node of an outline that begins where another's does."""
    found = whole.root
    for step in node.chain()[1:]:
        match = next(
            (c for c in found.children if (c.line, c.column, c.is_item) == (step.line, step.column, step.is_item)), None
        )
        if match is None:
            return None
        found = match
    return found


def _expression(prefix: str) -> str | None:
    """The expression of `$` that is open at the end of a line, with its bracket if it has one."""
    name = re.search(r"(?<!\$)\$(\w*)$", prefix)
    if name is not None:
        return name[1]
    start = prefix.rfind("$(")
    if start < 0:
        return None
    inside = prefix[start + 2 :]
    depth = 1
    for letter in inside:
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return None
    return f"({inside}"


def _code(node: Node, line: int, prefix: str, before: list[str]) -> Cursor:
    place = place_of(node)
    if place.kind not in ("code", "method"):
        return Cursor("text", node, place, "", line, len(prefix))
    shift = min(node.text_column, len(prefix) - len(prefix.lstrip(" ")) or len(prefix))
    lines = [each[shift:] for each in before[node.text_line : line]] + [prefix[shift:]]
    return _in_code(node, line, prefix, "\n".join(lines))


def _in_code(node: Node, line: int, prefix: str, code: str) -> Cursor:
    word = _NAME.search(prefix)
    assert word is not None
    return Cursor("code", node, place_of(node), word[0], line, word.start(), code)


# --- what is under the cursor ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """The word under the cursor: a key, a value, a name in code or in `$`. `dotted` is the chain of names up to it."""

    slot: Literal["key", "value", "code", "expression"]
    node: Node
    place: Place
    word: str
    line: int
    column: int
    end: int
    dotted: str = ""


def target_at(text: Text, line: int, column: int, outline: Outline) -> Target | None:
    """The word at a place of a text, or None where there is nothing to say something of."""
    node = _node_at(outline.root, line, column)
    if node is None:
        return None
    place = place_of(node)
    full = text.line(line)
    if not node.is_item and node.key and node.line == line and node.column <= column <= node.key_end:
        return Target("key", node, place, node.key, line, node.column, node.key_end)
    if not node.text or (node.is_flow and node.children):
        return None
    in_code = place.kind == "code" or (place.kind == "method" and not node.children)
    word = next((m for m in re.finditer(r"\w+", full) if m.start() <= column <= m.end()), None)
    if in_code and word is not None:
        dotted = re.search(r"(?<!\w)(?:[^\W\d]\w*(?:\[\w+\])?\s*\.\s*)*$", full[: word.start()])
        chain = (dotted[0] if dotted else "").replace(" ", "") + word[0]
        return Target("code", node, place, word[0], line, word.start(), word.end(), chain)
    if word is not None and _expression(full[: word.end()]) is not None:
        return Target("expression", node, place, word[0], line, word.start(), word.end(), word[0])
    start = node.text_column
    if node.block or node.text_line != line or not start <= column <= start + len(node.text):
        return None
    return Target("value", node, place, node.scalar, line, start, start + len(node.text))


def _node_at(root: Node, line: int, column: int) -> Node | None:
    """The innermost node around a place."""
    node = root
    while True:
        inside = None
        for child in node.children:
            if (child.line, child.column) > (line, column):
                break
            inside = child
        if inside is None:
            break
        node = inside
    while node is not root and not _covers(node, line):
        assert node.parent is not None
        node = node.parent
    return node if node is not root else None


def _covers(node: Node, line: int) -> bool:
    return node.line <= line <= max(node.end_line, node.line)
