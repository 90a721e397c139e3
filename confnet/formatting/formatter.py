"""The formatter: a text's tokens are written anew, its values and comments as they are.

Line breaks are the author's, but for blank lines; what changes is the space between tokens and before lines.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from confnet.diagnostics import ConfnetError
from confnet.formatting.lines import Line, joined
from confnet.source import Mapping, Node, Scalar, Sequence, parse
from confnet.source.tokens import Token, tokens_of

__all__ = ["formatted"]

INDENT = 2
_BREAKS = re.compile("[\x85\u2028\u2029]")  # line breaks for YAML 1.1 alone


def formatted(text: str, name: str = "<text>") -> str:
    """The canonical form of a file's text. Raises ConfnetError for a text that is not well formed.

    Formatting twice is formatting once. The values of the text, their order and its comments are the same after it:
    a text for which that cannot be shown is given back as it is.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    before = parse(text, name).root
    if _BREAKS.search(text):
        return text
    writer = _Writer(text, tokens_of(text))
    new = joined(writer.run())
    try:
        after = parse(new, name).root
    except ConfnetError:
        return text
    again = _Writer(new, tokens_of(new))
    again.run()
    return new if _same(before, after) and again.remarks == writer.remarks else text


@dataclass(slots=True)
class _Frame:
    """A collection around a token: where it began, where it begins now, and the last key in it."""

    kind: str
    column: int
    indent: int
    key: str = ""


class _Writer:
    """Writes the tokens of one text."""

    def __init__(self, text: str, tokens: list[Token]) -> None:
        self.source = text.split("\n")
        self.tokens = tokens
        self.frames: list[_Frame] = []
        self.closed: list[_Frame] = []  # since the last token
        self.lines: list[Line] = []
        self.remarks: list[str] = []
        self.previous: Token | None = None
        self.place = (0, 0)  # where the last token ended
        self.is_key = False

    def run(self) -> list[Line]:
        for index, token in enumerate(self.tokens):
            if not token.is_wide:
                self.structure(token)
                continue
            if token.kind == "entry" and self.frames and self.frames[-1].kind == "mapping":
                self.frames.append(_Frame("indentless", token.column, self.frames[-1].indent + INDENT))
            if token.kind == "comma" and self.is_trailing(index):
                self.place = (token.end_line, token.end_column)
                continue
            self.write(token)
        self.end()
        return self.lines

    def is_trailing(self, index: int) -> bool:
        """Whether a comma stands before the closing bracket, in its line."""
        rest = self.tokens[index + 1] if index + 1 < len(self.tokens) else None
        return rest is not None and rest.kind == "close" and rest.line == self.tokens[index].line

    # --- collections --------------------------------------------------------------------------------------------------

    def structure(self, token: Token) -> None:
        """A token that is not written: a collection begins or ends, or a key follows."""
        if token.kind == "end":
            self.leave_indentless()
            self.closed.append(self.frames.pop())
        elif token.kind == "key":
            self.leave_indentless()
            self.is_key = True
        else:
            self.frames.append(_Frame(token.kind, token.column, self.collection_indent(token)))

    def leave_indentless(self) -> None:
        if self.frames and self.frames[-1].kind == "indentless":
            self.closed.append(self.frames.pop())

    def collection_indent(self, token: Token) -> int:
        if self.previous is not None and self.previous.end_line == token.line and self.lines:
            line = self.lines[-1]
            if self.previous.kind != "marker":
                return len(line.body) + (1 if line.body else 0)
        return self.block_indent() + INDENT if self.frames else 0

    def block_indent(self) -> int:
        """Where the innermost block collection begins."""
        return next((frame.indent for frame in reversed(self.frames) if frame.kind != "flow"), 0)

    # --- tokens -------------------------------------------------------------------------------------------------------

    def write(self, token: Token) -> None:
        waiting = self.gap(token.line)
        if self.previous is None or token.line > self.place[0]:
            indent = self.line_indent(token)
            self.comments(waiting, token.column, indent)
            self.lines.append(Line(indent, ""))
        self.closed.clear()
        if token.kind == "close":
            self.frames.pop()
        line = self.lines[-1]
        line.text += self.space(token, line.text)
        if token.kind == "scalar":
            self.scalar(token)
        else:
            line.text += self.source[token.line][token.column : token.end_column]
            self.place = (token.end_line, token.end_column)
        if token.kind == "open":
            self.frames.append(_Frame("flow", token.column, self.block_indent()))
        if token.kind == "key":
            self.leave_indentless()
        if token.kind == "alias":
            self.is_key = False
        self.previous = token

    def line_indent(self, token: Token) -> int:
        """Where the line of its first token begins."""
        if token.kind == "marker" or not self.frames:
            return 0
        top = self.frames[-1]
        if top.kind == "flow":
            return top.indent + (0 if token.kind == "close" else INDENT)
        begins = token.kind in ("entry", "key") or (token.kind == "value") or self.is_key
        return top.indent + (0 if begins else INDENT)

    def space(self, token: Token, before: str) -> str:
        """What stands between a token and the one before it in its line."""
        if not before or self.previous is None:
            return ""
        kind = self.previous.kind
        if token.kind in ("comma", "close"):
            return " " if kind == "value" else ""
        if token.kind == "value":
            return " " if kind in ("alias", "anchor") else ""
        return "" if kind == "open" else " "

    def scalar(self, token: Token) -> None:
        if self.frames and self.is_key:
            self.frames[-1].key = token.value
        self.is_key = False
        if token.style in ("|", ">"):
            self.block(token)
            return
        first, *rest = self.pieces(token)
        self.lines[-1].text += _without_folded(first, token) if rest else _double_quoted(first, token)
        indent = (self.frames[-1].indent if self.frames else 0) + INDENT
        for number, piece in enumerate(rest):
            text = (piece if number == len(rest) - 1 else _without_folded(piece, token)).lstrip(" \t")
            self.lines.append(Line(indent if text else 0, text, fixed=True))
        self.place = (token.end_line, token.end_column)

    def pieces(self, token: Token) -> list[str]:
        """The parts of a scalar in each of its lines."""
        if token.line == token.end_line:
            return [self.source[token.line][token.column : token.end_column]]
        inner = self.source[token.line + 1 : token.end_line]
        return [self.source[token.line][token.column :], *inner, self.source[token.end_line][: token.end_column]]

    def block(self, token: Token) -> None:
        """A text below `|` or `>`: its lines as they are, moved."""
        head = re.match(r"([|>])([-+0-9]*)", self.source[token.line][token.column :])
        assert head is not None
        is_code = _is_code([frame.key for frame in self.frames])
        is_open = token.end_column > 0  # the file ends here, without a line break
        chomp = re.sub(r"[0-9]", "", head[2])
        if is_open and not is_code and not token.value.endswith("\n"):
            chomp = "-"
        digit = str(INDENT) if re.search(r"[0-9]", head[2]) else ""
        self.lines[-1].text += head[1] + digit + chomp
        self.trailing(token.line, token.column + len(head[0]))
        content = self.source[token.line + 1 : token.end_line + is_open]
        shift = _shift(content, token.value)
        lines = [raw[shift:] for raw in content]
        if token.style == "|" and is_code:
            lines = _without_trailing(lines)
        while lines and not lines[-1] and chomp != "+":
            lines.pop()
        indent = (self.frames[-1].indent if self.frames else 0) + INDENT
        self.lines += [Line(indent if line else 0, line, fixed=True) for line in lines]
        last = token.line + len(lines)
        self.place = (last, len(self.source[last]))

    # --- comments -----------------------------------------------------------------------------------------------------

    def gap(self, line: int) -> list[tuple[int, str]]:
        """The comments between the last token and a line, with their columns; blank lines are empty ones.

        A comment behind the last token goes to its line.
        """
        if self.place[0] == line:
            return []
        begin = self.place[0]
        if self.previous is not None:
            self.trailing(*self.place)
            begin += 1
        return [_own_line(text) for text in self.source[begin:line]]

    def trailing(self, line: int, column: int) -> None:
        rest = self.source[line][column:]
        comment = rest.strip()
        if comment.startswith("#") and self.lines:
            self.remarks.append(comment)
            self.lines[-1].comment = comment
            self.lines[-1].column = column + len(rest) - len(rest.lstrip())

    def comments(self, waiting: list[tuple[int, str]], column: int, indent: int) -> None:
        """Write comments that stand before a line: as far in as it, or as what they stood below."""
        known = {frame.column: frame.indent for frame in self.open_before()} | {column: indent}
        self.remarks += [comment for _, comment in waiting if comment]
        for at, comment in waiting:
            self.lines.append(Line(known.get(at, indent) if comment else 0, comment))

    def open_before(self) -> list[_Frame]:
        return [frame for frame in (*self.closed, *self.frames) if frame.kind != "flow"]

    def end(self) -> None:
        self.comments(self.gap(len(self.source)), 0, 0)


def _own_line(text: str) -> tuple[int, str]:
    return len(text) - len(text.lstrip()), text.strip()


def _without_folded(piece: str, token: Token) -> str:
    """A line of a scalar over several without the spaces that YAML drops at its end: all but one that is escaped."""
    text = piece.rstrip(" \t")
    is_escaped = token.style == '"' and re.search(r"(?<!\\)(\\\\)*\\$", text)
    return text + piece[len(text) :][:1] if is_escaped else text


def _shift(content: list[str], value: str) -> int:
    """How far the lines of a block are indented beyond what they hold."""
    raw = next((line for line in content if line.strip(" ")), None)
    if raw is None:
        return max(map(len, content), default=0)
    held = next((line for line in value.split("\n") if line.strip(" ")), "")
    return (len(raw) - len(raw.lstrip(" "))) - (len(held) - len(held.lstrip(" ")))


def _is_code(keys: list[str]) -> bool:
    """Whether a text is code, as far as the keys that lead to it tell."""
    *outer, last = keys or [""]
    if last == "value":
        return bool({"buffers", "init"} & {*outer[-2:]})
    return last in ("forward", "do") or outer[-1:] == ["methods"]


def _without_trailing(lines: list[str]) -> list[str]:
    """Lines of code without spaces at their ends, unless these are part of a text in it."""
    stripped = [line.rstrip() for line in lines]
    tree = _tree("\n".join(lines))
    return stripped if tree is not None and tree == _tree("\n".join(stripped)) else lines


def _tree(code: str) -> str | None:
    try:
        return ast.dump(ast.parse(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _double_quoted(text: str, token: Token) -> str:
    """A scalar on one line; one in single quotes that could as well stand in double ones does."""
    if token.style != "'" or re.search(r'["\\]', text):
        return text
    return '"' + text[1:-1].replace("''", "'") + '"'


def _same(one: Node, other: Node, keys: tuple[str, ...] = ()) -> bool:
    """Whether two values of files are the same all through; code may have lost spaces at the ends of its lines.

    `keys` lead to them.
    """
    if isinstance(one, Scalar) and isinstance(other, Scalar):
        if (one.style in ("", "|", ">") or other.style in ("", "|", ">")) and one.style != other.style:
            return False
        if one.style == "|" and one.text != other.text and _is_code([*keys]):
            before, after = (_without_trailing(each.text.rstrip().split("\n")) for each in (one, other))
            return before == after
        return one.text == other.text and type(one.value) is type(other.value)
    if isinstance(one, Sequence) and isinstance(other, Sequence):
        return len(one.items) == len(other.items) and all(
            _same(a, b, (*keys, "")) for a, b in zip(one.items, other.items, strict=True)
        )
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return len(one.entries) == len(other.entries) and all(
            _same(key, its_key) and _same(value, its_value, (*keys, key.text))
            for (key, value), (its_key, its_value) in zip(one.entries, other.entries, strict=True)
        )
    return False
