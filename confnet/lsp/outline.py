"""A quick and tolerant reading of YAML: which keys stand where, also while a line is being typed and is no YAML yet.

The outline follows indentation line by line, and reads brackets only where somebody looks into them; a bracket or quote
that is not closed ends with its line. It tells an editor what a place is about. What a file means, and what is wrong
with it, `confnet.source` and the stages after it say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["Node", "Outline"]

_BLOCK = re.compile(r"[|>][-+0-9]*\s*(#.*)?$")
_PROPERTIES = re.compile(r"&\S+\s*")
_QUOTED_KEY = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')\s*:(?=\s|$)""")
_PLAIN_KEY = re.compile(r"""([^\s\[\]{}#,&*!|>%@`"'][^#]*?)\s*:(?=\s|$)""")
_COMMENT = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|(?<=\s)#.*$|.)""")
_QUOTED = re.compile(r""""(?:[^"\\\n]|\\.)*"?|'(?:[^'\n]|'')*'?""")


@dataclass(slots=True, eq=False)
class Node:
    """An entry: a key with its value, an item of a list, or a word that is no key yet (`is_word`).

    It begins at `line`, `column`; its key ends at `key_end`. `text` is what is written for the value on the lines that
    belong to it, at `text_line`, `text_column`; of a block (`|`) the content, whose lines are shifted by `text_column`.
    Lines and columns count from 0.
    """

    key: str
    line: int
    column: int
    indent: int
    parent: Node | None = field(repr=False)
    key_end: int = 0
    is_item: bool = False
    is_word: bool = False
    in_flow: bool = False
    text: str = ""
    text_line: int = 0
    text_column: int = 0
    block: str = ""
    is_open: bool = False
    has_colon: bool = False
    entries: list[Node] = field(default_factory=list, repr=False)
    is_read: bool = True

    @property
    def children(self) -> list[Node]:
        """The entries inside it."""
        if not self.is_read:
            self.is_read = True
            _Flow(self).read()
        return self.entries

    @property
    def scalar(self) -> str:
        """A single value without its quotes; empty where there is none."""
        return "" if self.block or self.is_flow else unquoted(self.text)

    @property
    def is_flow(self) -> bool:
        """Whether its value is written in brackets."""
        return not self.block and self.text[:1] in ("{", "[")

    @property
    def end_line(self) -> int:
        """The last line that belongs to it."""
        last, node = self.line, self
        while True:
            last = max(last, node.text_line + node.text.count("\n") if node.text else node.line)
            if not node.entries:
                return last
            node = node.entries[-1]

    def get(self, key: str) -> Node | None:
        """The entry of that key, or None."""
        return next((child for child in self.children if child.key == key and not child.is_item), None)

    def chain(self) -> list[Node]:
        """The nodes around it, the outermost first, itself last."""
        found: list[Node] = []
        node: Node | None = self
        while node is not None:
            found.append(node)
            node = node.parent
        return found[::-1]

    def walk(self) -> Iterator[Node]:
        """Itself, and everything inside it."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))


def unquoted(text: str) -> str:
    """A text without quotes around it."""
    text = text.strip()
    if text[:1] in ("'", '"'):
        text = text[1:-1] if len(text) > 1 and text[-1] == text[0] else text[1:]
    return text


class Outline:
    """The entries of a text, below `root`."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.root = Node("", 0, 0, -1, None)
        self.stack = [self.root]
        number = 0
        while number < len(lines):
            number = self._line(number)

    def _line(self, number: int) -> int:
        """Read a line and what belongs to it; the number of the next one."""
        line = self.lines[number]
        body = line.lstrip(" ")
        if not body or body[0] in "#%" or line.startswith(("---", "...")):
            return number + 1
        column = len(line) - len(body)
        while body.startswith("- ") or body == "-":
            self._close(column, is_item=True)
            node = self._add("", number, column, is_item=True)
            rest = body[1:].lstrip(" ")
            column += len(body) - len(rest)
            body = rest
            if not body or body[0] == "#":
                return number + 1
            node.text_line, node.text_column = number, column
        key = (_QUOTED_KEY if body[0] in "\"'" else _PLAIN_KEY).match(body)
        if key is None:
            return self._scalar(number, column, body)
        self._close(column)
        node = self._add(unquoted(key[1]), number, column)
        node.key_end, node.has_colon = column + len(key[1]), True
        rest = body[key.end() :].lstrip(" ")
        return self._value(node, number, len(line) - len(rest), rest)

    def _close(self, column: int, is_item: bool = False) -> None:
        """Leave what a line at this column does not belong to."""
        stack = self.stack
        while len(stack) > 1:
            top = stack[-1]
            # `key:` and the `-` of its items may stand in one column.
            inside = top.indent < column or (
                is_item and top.indent == column and not top.is_item and top.line != -1 and not top.text
            )
            if inside:
                return
            stack.pop()

    def _add(self, key: str, line: int, column: int, *, is_item: bool = False, is_word: bool = False) -> Node:
        parent = self.stack[-1]
        node = Node(key, line, column, column, parent, column, is_item, is_word)
        parent.entries.append(node)
        self.stack.append(node)
        return node

    def _scalar(self, number: int, column: int, body: str) -> int:
        """A line without a key: the value of an item, more of a value above, or a word that becomes a key."""
        top = self.stack[-1]
        if top.is_item and top.line == number:
            return self._value(top, number, column, body)
        self._close(column)
        parent = self.stack[-1]
        if parent.has_colon and not parent.text and not parent.entries and parent.line < number:
            flowing = body[0] in "{["
            if flowing or body[0] in "\"'":
                return self._value(parent, number, column, body)
        if parent.text and not parent.block and not parent.is_flow and parent is not self.root:
            return number + 1  # a text goes on
        node = self._add("", number, column, is_word=True)
        return self._value(node, number, column, body)

    def _value(self, node: Node, number: int, column: int, rest: str) -> int:
        properties = _PROPERTIES.match(rest)
        if properties:
            rest, column = rest[properties.end() :], column + properties.end()
        node.text_line, node.text_column = number, column
        if not rest or rest[0] == "#":
            return number + 1
        if _BLOCK.match(rest):
            return self._block(node, number, rest[0])
        if rest[0] in "{[":
            node.is_read = False
            node.text, end = self._flow(node, number, column)
            return end
        node.text = without_comment(rest).rstrip() if "#" in rest else rest.rstrip()
        return number + 1

    def _block(self, node: Node, number: int, style: str) -> int:
        end = number + 1
        indent = node.indent
        if node.is_item and node.parent is not None:
            indent = node.column
        while end < len(self.lines):
            line = self.lines[end]
            if line.strip(" ") and len(line) - len(line.lstrip(" ")) <= indent:
                break
            end += 1
        content = self.lines[number + 1 : end]
        shift = min((len(each) - len(each.lstrip(" ")) for each in content if each.strip(" ")), default=indent + 2)
        node.block, node.text_line, node.text_column = style, number + 1, shift
        node.text = "\n".join(each[shift:] for each in content)
        return end

    def _flow(self, node: Node, number: int, column: int) -> tuple[str, int]:
        """The text in brackets that begins here, and the line after it; one that is not closed ends with its line."""
        first = self.lines[number][column:]
        depth = _depth(first)
        if depth <= 0:
            return first, number + 1
        lines, end = [first], number + 1
        while depth > 0 and end < len(self.lines):
            line = self.lines[end]
            body = line.lstrip(" ")
            if body and len(line) - len(body) <= node.indent and body[0] not in "]}":
                break
            depth += _depth(line)
            lines.append(line)
            end += 1
        if depth > 0 and end < len(self.lines):  # never closed: what follows is read as if it were
            return first, number + 1
        return "\n".join(lines), end


def _depth(line: str) -> int:
    """How many brackets a line leaves open."""
    if "'" in line or '"' in line or "#" in line:
        line = "".join(part for part in _COMMENT.findall(line) if part[0] not in "\"'#")
    return line.count("{") + line.count("[") - line.count("}") - line.count("]")


def without_comment(text: str) -> str:
    """A value without the comment behind it."""
    kept = []
    for match in _COMMENT.finditer(text):
        if match[0][0] == "#" and match.start() and text[match.start() - 1].isspace():
            break
        kept.append(match[0])
    return "".join(kept)


class _Flow:
    """Reads what stands in brackets, as far as it goes."""

    def __init__(self, node: Node) -> None:
        self.node, self.text = node, node.text
        self.starts = [0]
        while (found := self.text.find("\n", self.starts[-1])) >= 0:
            self.starts.append(found + 1)
        self.row = 0

    def read(self) -> None:
        self._collection(self.node, 0)

    def _place(self, index: int) -> tuple[int, int]:
        while self.row + 1 < len(self.starts) and self.starts[self.row + 1] <= index:
            self.row += 1
        while self.starts[self.row] > index:
            self.row -= 1
        shift = self.node.text_column if self.row == 0 else 0
        return self.node.text_line + self.row, index - self.starts[self.row] + shift

    def _skip(self, index: int) -> int:
        while index < len(self.text) and (self.text[index].isspace() or self.text[index] == "#"):
            if self.text[index] == "#":
                end = self.text.find("\n", index)
                index = len(self.text) if end < 0 else end
            else:
                index += 1
        return index

    def _collection(self, owner: Node, index: int) -> int:
        """Read from an opening bracket to behind its end."""
        is_list = self.text[index] == "["
        index += 1
        while True:
            index = self._skip(index)
            if index >= len(self.text):
                owner.is_open = True
                return index
            letter = self.text[index]
            if letter in "]}":
                return index + 1
            if letter == ",":
                index += 1
                continue
            index = self._item(owner, index) if is_list else self._entry(owner, index)

    def _child(self, owner: Node, index: int, *, is_item: bool = False) -> Node:
        line, column = self._place(index)
        child = Node("", line, column, column, owner, column, is_item, in_flow=True)
        owner.entries.append(child)
        return child

    def _item(self, owner: Node, index: int) -> int:
        child = self._child(owner, index, is_item=True)
        start, index = index, self._value(child, index)
        after = self._skip(index)
        if self.text[after : after + 1] == ":" and not child.is_flow:  # `[a: b]` is a mapping inside a list
            child.text = ""
            pair = self._child(child, start)
            index = self._pair(pair, start, index)
        return index

    def _entry(self, owner: Node, index: int) -> int:
        child = self._child(owner, index)
        if self.text[index] in "{[":
            return self._value(child, index)
        return self._pair(child, index, self._token(index))

    def _pair(self, child: Node, start: int, end: int) -> int:
        """The key that stands from `start` to `end`, and its value."""
        child.key = unquoted(self.text[start:end])
        child.key_end = child.column + len(self.text[start:end].rstrip())
        index = self._skip(end)
        if self.text[index : index + 1] != ":":
            return max(index, start + 1)
        child.has_colon = True
        return self._value(child, self._skip(index + 1))

    def _value(self, child: Node, index: int) -> int:
        child.text_line, child.text_column = self._place(min(index, max(len(self.text) - 1, 0)))
        if index >= len(self.text):
            child.text_line, child.text_column = self._place(len(self.text))
            return index
        if self.text[index] in "{[":
            end = self._collection(child, index)
            child.text = self.text[index:end]
            return end
        end = self._token(index)
        child.text = self.text[index:end].rstrip()
        return end if end > index or self.text[index] in ",]}" else index + 1

    def _token(self, index: int) -> int:
        """Where the quoted or plain text that begins here ends. `$(max(a, b))` is one text, as it is meant."""
        quoted = _QUOTED.match(self.text, index)
        if quoted:
            return quoted.end()
        depth = 0
        while index < len(self.text):
            letter = self.text[index]
            if letter == "\n" or (depth == 0 and letter in ",]}{["):
                return index
            if letter == ":" and depth == 0 and (self.text[index + 1 : index + 2] or " ") in " \n,]}[{":
                return index
            if letter == "#" and self.text[index - 1].isspace():
                return index
            if letter == "(" and (depth or self.text[index - 1] == "$"):
                depth += 1
            elif letter == ")" and depth:
                depth -= 1
            index += 1
        return index
