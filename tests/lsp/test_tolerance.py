"""The outline, the cursor and every answer stand any text: files cut off, lines left out, brackets torn."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

pytest.importorskip("pygls", reason="the extra `lsp` is not installed")

from confnet.lsp.code_completion import code_items
from confnet.lsp.completion import Completer, Item
from confnet.lsp.cursor import cursor_at, target_at
from confnet.lsp.documents import Content, Files, Shift
from confnet.lsp.hover import Hoverer
from confnet.lsp.names import Names
from confnet.lsp.navigation import definition_of, symbols
from confnet.lsp.outline import Outline
from confnet.lsp.positions import Text
from confnet.source import Mapping, Node, Scalar, Sequence, parse

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
FILES = Files(lambda path: None)


def answers(content: Content, line: int, column: int) -> list[Item]:
    """Every answer at a place; what is completed there."""
    text, names = content.text, Names(content.file, FILES.read)
    cursor = cursor_at(text, line, column, content.outline)
    code = cursor.slot == "code"
    items = code_items(cursor, names) if code else Completer(names, None, True).items(cursor)
    for item in items[:50]:
        assert item.label
        assert item.about is None or isinstance(item.about(), str)
    target = target_at(text, line, column, content.outline)
    if target is not None:
        assert text.line(target.line)[target.column : target.end].strip()
        Hoverer(names, (), (), ()).text(target)
        definition_of(target, names)
    symbols(names)
    return items


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_answers_stand_any_text(path: Path) -> None:
    drawn = random.Random(path.stem)
    whole = path.read_text(encoding="utf-8")
    completed = 0
    for _ in range(25):
        text = whole
        for _ in range(drawn.randrange(3)):
            start = drawn.randrange(len(text))
            kind = drawn.randrange(3)
            if kind == 0:  # a piece is missing
                text = text[:start] + text[start + drawn.randrange(1, 60) :]
            elif kind == 1:  # something is being typed
                text = (
                    text[:start]
                    + drawn.choice(["{", "[", "$(", '"', "'", ": ", "\n", "- ", "é\u2028", "|"])
                    + text[start:]
                )
            else:
                text = text[: start + 1]
        content = Content(str(path), text)
        offset = drawn.randrange(len(text) + 1)
        completed += bool(answers(content, *content.text.place(offset)))
    assert completed >= 5


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_outline_has_every_key_where_yaml_has_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    expected = sorted(keys(parse(text, "x.yaml").root))
    outline = Outline(Text(text).lines)
    found = sorted((node.line, node.column, node.key) for node in outline.root.walk() if node.has_colon)
    assert found == expected
    assert len(expected) > 5


def keys(node: Node) -> list[tuple[int, int, str]]:
    if isinstance(node, Scalar):
        return []
    if isinstance(node, Sequence):
        return [key for item in node.items for key in keys(item)]
    assert isinstance(node, Mapping)
    own = [(key.span.line - 1, key.span.column - 1, key.text) for key, _ in node]
    return own + [key for _, child in node for key in keys(child)]


@pytest.mark.parametrize(("encoding", "expected"), [("utf-8", 11), ("utf-16", 8), ("utf-32", 7)])
def test_columns_of_each_encoding(encoding: str, expected: int) -> None:
    text = Text("a: 1\n'é😀x': b\r\nc: d", encoding)
    column = text.line(1).index("b")
    assert text.to_editor(1, column) == (1, expected)
    assert text.from_editor(1, expected) == (1, column)
    assert text.from_editor(1, 999) == (1, len(text.line(1)))
    assert text.from_editor(99, 0) == (2, 4)
    assert text.to_editor(2, 3) == (2, 3)


def test_a_line_of_yaml_may_be_part_of_a_line_of_the_editor() -> None:
    text = Text("a: 'x\u2028y'\nb: 1")
    assert text.lines == ["a: 'x", "y'", "b: 1"]
    assert text.to_editor(1, 1) == (0, 7)
    assert text.to_editor(2, 0) == (1, 0)
    assert text.from_editor(0, 7) == (1, 1)


def test_lines_move_with_an_edit() -> None:
    shift = Shift(["a", "b", "c", "d"], ["a", "x", "y", "c", "d"])
    assert [shift.line(line) for line in range(4)] == [0, None, 3, 4]
    same = Shift(["a", "b"], ["a", "b"])
    assert [same.line(0), same.line(1)] == [0, 1]
    shorter = Shift(["a", "a", "a"], ["a", "a"])
    assert [shorter.line(line) for line in range(3)] == [0, 1, None]


def test_a_long_word_takes_no_long_time() -> None:
    begin = time.perf_counter()
    for line in ("description: " + "x" * 200_000 + " b", "forward: " + "x" * 200_000 + " b", "Linear: {²: 1}"):
        content = Content("<text>", f"confnet: 1\n{line}\n")
        answers(content, 1, len(line))
        answers(content, 1, 9)
    assert time.perf_counter() - begin < 20
