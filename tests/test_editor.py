"""A session in an editor: what yaml-language-server makes of the JSON Schema, as golden files in tests/editor/golden.

Each is what stands in the editor, with an `@` for the cursor, and below the line what the editor shows; its name says
which look it is. `CONFNET_UPDATE_CASES=1 pytest tests/test_editor.py` rewrites what is below the line; read the
difference before it is committed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.editor.client import Client, Place
from tests.editor.server import FOLDER, MODELINE, missing, session

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "it is installed")

GOLDEN = FOLDER / "golden"
FILE = FOLDER / "net.yaml"  # never written: an editor's buffer
CURSOR = "@"
LINE = "---\n"


@pytest.fixture(scope="module")
def editor() -> Iterator[Client]:
    with session() as client:
        yield client


# --- what an editor shows, as text ------------------------------------------------------------------------------------


def completed(editor: Client, text: str) -> str:
    text, place = placed(text)
    editor.open(FILE, text)
    return "".join(f"{item['label']}  {written(item)!r}\n" for item in editor.complete(FILE, place))


def written(item: dict[str, Any]) -> str:
    """What choosing an item writes; `$1` is where the cursor goes."""
    return str(item.get("textEdit", {}).get("newText", item.get("insertText", "")))


def hovered(editor: Client, text: str) -> str:
    text, place = placed(text)
    editor.open(FILE, text)
    return editor.hover(FILE, place)


def diagnosed(editor: Client, text: str) -> str:
    shown = text.splitlines()
    found = ""
    for diagnostic in sorted(editor.open(FILE, MODELINE + text), key=lambda d: (place(d), d["message"])):
        (line, start), end = place(diagnostic), diagnostic["range"]["end"]
        width = end["character"] - start if end["line"] == line else len(shown[line - 1]) - start
        found += f"{shown[line - 1]}\n{' ' * start}{'^' * width} {diagnostic['message']}\n"
    return found


def place(diagnostic: dict[str, Any]) -> Place:
    start = diagnostic["range"]["start"]
    return start["line"], start["character"]


def placed(text: str) -> tuple[str, Place]:
    """A text with the modeline and without its cursor, and where that was."""
    before, cursor, after = (MODELINE + text).partition(CURSOR)
    assert cursor, "the text shows no cursor"
    return before + after, (before.count("\n"), len(before) - before.rfind("\n") - 1)


# --- the session ------------------------------------------------------------------------------------------------------

LOOKS: dict[str, Callable[[Client, str], str]] = {"complete": completed, "hover": hovered, "diagnose": diagnosed}
SCENES = sorted(path.stem for path in GOLDEN.glob("*.txt"))


@pytest.mark.parametrize("name", SCENES)
def test_the_editor_shows(editor: Client, name: str) -> None:
    path = GOLDEN / f"{name}.txt"
    expected = path.read_text(encoding="utf-8")
    text = expected.partition(LINE)[0]
    found = f"{text}{LINE}{LOOKS[name.partition('-')[0]](editor, text)}".rstrip() + "\n"
    if os.environ.get("CONFNET_UPDATE_CASES"):
        path.write_text(found, encoding="utf-8", newline="\n")
    else:
        assert found == expected


def test_every_look_has_its_scenes() -> None:
    assert {name.partition("-")[0] for name in SCENES} == set(LOOKS)
    assert len(SCENES) >= 20


def test_an_example_is_clean_in_the_editor(editor: Client) -> None:
    path = FOLDER.parents[1] / "examples/resnet.yaml"
    assert editor.open(path, path.read_text(encoding="utf-8")) == []
    assert editor.open(path, path.read_text(encoding="utf-8").replace("kernel_size", "kernal_size")) != []
