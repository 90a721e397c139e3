"""`confnet fmt`: one layout, the same values and comments."""

from __future__ import annotations

import os
import random
import re
import stat
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from confnet.cli import commands
from confnet.diagnostics import ConfnetError
from confnet.formatting import formatted
from confnet.source import parse, plain
from tests.test_docs import PAGES, blocks

ROOT = Path(__file__).resolve().parents[1]
OURS = [*sorted((ROOT / "examples").rglob("*.yaml")), *sorted((ROOT / "confnet").rglob("*.yaml"))]


def remarks(text: str) -> list[str]:
    """The comments of a text, found as PyYAML's tokens leave them: what is between tokens and is no space."""
    found, at = [], 0
    for token in yaml.scan(text, Loader=getattr(yaml, "CLoader", yaml.Loader)):
        found += re.findall(r"#.*", text[at : token.start_mark.index]) if token.start_mark.index > at else []
        at = max(at, token.end_mark.index)
        if isinstance(token, yaml.ScalarToken) and token.style in ("|", ">"):
            head = text[token.start_mark.index :].split("\n", 1)[0]
            found += re.findall(r"#.*", head)
    return [remark.rstrip() for remark in found]


def assert_kept(before: str, after: str) -> None:
    """Equal values in an equal order, all comments in theirs, and nothing more to format."""
    assert str(plain(parse(before, "a").root)) == str(plain(parse(after, "a").root))
    assert remarks(before) == remarks(after)
    assert formatted(after) == after


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_our_own_files_are_formatted(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert formatted(text) == text


def test_cases_and_docs_keep_their_values() -> None:
    texts = [path.read_text("utf-8", "replace") for path in sorted((ROOT / "tests" / "cases").rglob("*.yaml"))]
    pages = [blocks(page.read_text(encoding="utf-8")) for page in PAGES]
    texts += [block.text for page in pages for block in page if block.language == "yaml"]
    count = 0
    for text in texts:
        try:
            new = formatted(text)
        except ConfnetError:
            continue
        if "\r" not in text:  # which the formatter makes `\n`
            assert_kept(text, new)
        count += 1
    assert count > 300


# --- layouts ----------------------------------------------------------------------------------------------------------

LAYOUTS = {
    "indentation and lists": (
        "confnet: 1\nchildren:\n    a:\n        Linear: [1,2]\n    b:\n        Sequential:\n"
        "        - ReLU\n        -   GELU\n",
        "confnet: 1\nchildren:\n  a:\n    Linear: [1, 2]\n  b:\n    Sequential:\n      - ReLU\n      - GELU\n",
    ),
    "flow": ("a: { b : [ 1 ,2, ] , c: }\n", "a: {b: [1, 2], c: }\n"),
    "flow over lines": (
        "a:\n    b: [1,\n         2,\n      3\n   ]\n    c: {x: {\n y: 1}}\n",
        "a:\n  b: [1,\n    2,\n    3\n  ]\n  c: {x: {\n    y: 1}}\n",
    ),
    "quotes": ("a: 'x'\nb: 'it''s'\nc: 'say \"x\"'\nd: 'a\\b'\n", 'a: "x"\nb: "it\'s"\nc: \'say "x"\'\nd: \'a\\b\'\n'),
    "blank lines": ("\n\na: 1\n\n\n\nb: 2\n\n", "a: 1\n\nb: 2\n"),
    "comments behind": (
        "a: 1# no comment\nlong:    2 #near\nb: 3         # far\n",
        "a: 1# no comment\nlong: 2    #near\nb: 3         # far\n",
    ),
    "comments between": (
        "# top\na:\n    # of b\n    b: 1\n    # below b\n# of c\nc:\n- 1\n# of 2\n- 2\n    # deep\n",
        "# top\na:\n  # of b\n  b: 1\n  # below b\n# of c\nc:\n  - 1\n  # of 2\n  - 2\n# deep\n",
    ),
    "code": (
        "forward: |   # why\n      x = a(x)   \n        \n      if x:\n          x = 1\n\n\n\n"
        "methods:\n  a: |-\n     return x  \n",
        "forward: |   # why\n  x = a(x)\n\n  if x:\n      x = 1\n\nmethods:\n  a: |-\n    return x\n",
    ),
    "texts": (
        "description: |\n    two spaces  \n     more\n\nb: >+\n   folded\n   text\n\n\nc: |2\n      in\n   out\n",
        "description: |\n  two spaces  \n   more\n\nb: >+\n  folded\n  text\n\n\nc: |2\n      in\n   out\n",
    ),
    "scalars over lines": (
        'a: one\n      two\n\n      three\nb: "x \\\n        y\\  \n        z"\nc:\n        far\n',
        'a: one\n  two\n\n  three\nb: "x \\\n  y\\ \n  z"\nc:\n  far\n',
    ),
    "anchors": ("a: &x   [1]\nb:   *x\nc: &y\n    d: 1\n", "a: &x [1]\nb: *x\nc: &y\n  d: 1\n"),
    "lists in lists": (
        "a:\n- - 1\n  -   2\n-\n    - b: 1\n      c: 2\n",
        "a:\n  - - 1\n    - 2\n  -\n    - b: 1\n      c: 2\n",
    ),
    "markers": ("%YAML 1.2\n---\na:   1\n...\n", "%YAML 1.2\n---\na: 1\n...\n"),
    "line ends": ("a: 1\r\nb: |\r\n  x\r\n\r\n\r\nc: 2", "a: 1\nb: |\n  x\n\nc: 2\n"),
    "no line break at the end": ("a:   1\nforward: |\n    x = 1", "a: 1\nforward: |\n  x = 1\n"),
    "no line break at the end of prose": ("description: |\n    text", "description: |-\n  text\n"),
    "escaped spaces": ('a: "x\\ \n     y\\\t\n     z"\n', 'a: "x\\ \n  y\\\t\n  z"\n'),
    "texts under names of code": (
        "let:\n    value: |\n        say  \n    do: >\n        say\n",
        "let:\n  value: |\n    say  \n  do: >\n    say\n",
    ),
    "blank texts": ("a:   |+\n        \nb: |\n    x\n       \nc: 1\n", "a: |+\n\nb: |\n  x\n     \nc: 1\n"),
    "keys by alias": ("a: &x   b\n*x :\n    c\n&y : 1\n", "a: &x b\n*x :\n  c\n&y : 1\n"),
    "no-break spaces": ("a: one\xa0\n    two # x\n", "a: one\xa0\n  two   # x\n"),
    "explicit keys": ("? a\n:   1\n?   b\n: - 1\n", "? a\n: 1\n? b\n: - 1\n"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name: str) -> None:
    before, after = LAYOUTS[name]
    assert formatted(before) == after
    assert formatted(after) == after


def _spread(text: str, choices: random.Random) -> str:
    """The same file in another layout, which the formatter is to undo; code and other texts are moved as they are."""
    factor = choices.choice([1, 2, 3])
    lines, block = [], None
    for line in text.split("\n"):
        depth = len(line) - len(line.lstrip())
        if block is not None and (not line.strip() or depth > block):
            lines.append(" " * ((factor - 1) * (block + 2)) + line if line.strip() else line)
            continue
        block = None
        moved = " " * (depth * (factor - 1)) + line
        if re.search(r"[|>][-+0-9]*(\s+#.*)?$", line) and not line.lstrip().startswith("#"):
            block = depth + (2 if line.lstrip().startswith("- ") else 0)
        elif line.strip() and not re.search(r"[\"'#]", line):
            if choices.random() < 0.5:
                moved = re.sub(r"(?<=[,:]) (?=[\w\[{])", lambda _: " " * choices.choice([1, 1, 3]), moved)
            if choices.random() < 0.5:
                moved = re.sub(r"(?<=[\[{])(?=\w)|(?<=\w)(?=[\]}])", " ", moved)
            moved += " " * choices.choice([0, 0, 2])
        if line.strip() and choices.random() < 0.1 and lines and not lines[-1].strip():
            lines.append("")
        lines.append(moved)
    return "\n".join(lines)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(OURS), st.integers(0, 2**32))
def test_another_layout_of_a_file_comes_back(path: Path, seed: int) -> None:
    text = path.read_text(encoding="utf-8")
    other = _spread(text, random.Random(seed))
    try:
        same = str(plain(parse(other, "a").root)) == str(plain(parse(text, "a").root))
    except ConfnetError:
        same = False
    if not same:  # a space fell into a value
        return
    new = formatted(other)
    assert_kept(other, new)
    gap = re.compile(r"(?<=\S) {2,}(?=#)")  # comments behind values keep their columns
    assert gap.sub("  ", new) == gap.sub("  ", text)


TEXT = st.text("ab1:#-'\"{}[], \n|>&*!%@`~$()\\\t.?", max_size=40)
KEY = TEXT.filter(lambda key: "\n" not in key)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXT.filter(lambda key: "\n" not in key), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcd"), VALUE, min_size=1), st.sampled_from([True, False, None]), st.integers(1, 6)
)
def test_any_values_stay(value: object, flow: bool, indent: int) -> None:
    text = yaml.safe_dump(value, default_flow_style=flow, indent=indent, width=30, sort_keys=False)
    try:
        parse(text, "a")
    except ConfnetError:
        return
    assert_kept(text, formatted(text))


@settings(max_examples=100, deadline=None)
@given(st.text("ab:-# \n{}[],|>'\"&*?", max_size=60))
def test_any_text_keeps_what_it_says(text: str) -> None:
    try:
        parse(text, "a")
    except ConfnetError:
        with pytest.raises(ConfnetError):
            formatted(text)
        return
    assert_kept(text, formatted(text))


# --- the command ------------------------------------------------------------------------------------------------------

GOOD, POOR = "confnet: 1\nSequential: [ReLU]\n", "confnet:   1\nSequential: [ ReLU ]\n"


def run(*arguments: str, input: str | None = None) -> Result:
    return CliRunner().invoke(commands, ["fmt", *arguments], input=input)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "poor.yaml").write_text(POOR)
    (tmp_path / "wrong.yaml").write_text("confnet: 1\nconfnet: 2\n")
    return tmp_path


def test_formats_in_place(folder: Path) -> None:
    (folder / "poor.yaml").chmod(0o640)
    result = run("good.yaml", "poor.yaml")
    assert (result.exit_code, result.stdout) == (0, "poor.yaml: formatted\n")
    assert (folder / "poor.yaml").read_text() == GOOD
    assert stat.S_IMODE((folder / "poor.yaml").stat().st_mode) == 0o640
    assert run("good.yaml", "poor.yaml").stdout == "2 files formatted already\n"


def test_permissions_are_never_wider(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "poor.yaml").chmod(0o600)
    replace, modes = os.replace, []

    def seen(source: Path, target: str) -> None:
        modes.append(stat.S_IMODE(os.stat(source).st_mode))
        replace(source, target)

    monkeypatch.setattr(os, "replace", seen)
    assert run("poor.yaml").exit_code == 0
    assert modes == [0o600]


def test_what_cannot_be_written_is_told_and_the_others_are_formatted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "locked.yaml").write_text(POOR)
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("locked.yaml"))
    result = run("locked.yaml", "wrong.yaml", "poor.yaml")
    assert (result.exit_code, result.stdout) == (2, "poor.yaml: formatted\n")
    assert "confnet: 'locked.yaml' cannot be written: Permission denied" in result.stderr
    assert "error[duplicate-key]" in result.stderr
    assert (folder / "locked.yaml").read_text() == POOR
    assert sorted(path.name for path in folder.iterdir()) == ["good.yaml", "locked.yaml", "poor.yaml", "wrong.yaml"]


def test_a_link_stays_one(folder: Path) -> None:
    (folder / "link.yaml").symlink_to("poor.yaml")
    assert run("--quiet", "link.yaml").output == ""
    assert (folder / "link.yaml").is_symlink()
    assert (folder / "poor.yaml").read_text() == GOOD


def test_check_changes_nothing_and_names_files(folder: Path) -> None:
    result = run("--check", "good.yaml", "poor.yaml")
    assert (result.exit_code, result.stdout) == (1, "poor.yaml: would be formatted\n")
    assert (folder / "poor.yaml").read_text() == POOR
    assert run("--check", "good.yaml").exit_code == 0


def test_diff_prints_what_would_change(folder: Path) -> None:
    result = run("--diff", "poor.yaml")
    assert result.exit_code == 0
    changes = "-confnet:   1\n-Sequential: [ ReLU ]\n+confnet: 1\n+Sequential: [ReLU]\n"
    assert changes in result.stdout
    assert (folder / "poor.yaml").read_text() == POOR
    assert run("--check", "--diff", "--quiet", "poor.yaml").exit_code == 1


def test_a_wrong_file_is_told_and_left(folder: Path) -> None:
    result = run(".")
    assert result.exit_code == 1
    assert "error[duplicate-key]" in result.stderr
    assert (folder / "poor.yaml").read_text() == GOOD, "the others are formatted all the same"
    assert run("no.yaml").exit_code == 1
    assert run().exit_code == 2


def test_the_standard_input(folder: Path) -> None:
    assert run("-", input=POOR).stdout == GOOD
    assert run("--check", "-", input=POOR).exit_code == 1
    assert run("-", input="a: [").exit_code == 1


def test_the_hook_runs_a_command_that_takes_files(folder: Path) -> None:
    _, hook = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["id"] == "confnet-fmt"
    program, command, *options = hook["entry"].split()
    assert (program, command) == ("confnet", "fmt")
    assert run(*options, "poor.yaml").exit_code == 0
    assert (folder / "poor.yaml").read_text() == GOOD
