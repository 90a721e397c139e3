"""What the pages say is true: every block of README.md and docs/ is validated, run or compared.

A block is a fence (```) with a language. An HTML comment on the line above it may hold directives, separated by `;`:

    yaml      a document (it has the key `confnet`) must validate without any diagnostic
              `invalid: CODE, CODE`  gives exactly these codes, once each or more often
              `fragment: KIND`       is a piece of a document and is wrapped first: `body` (or nothing) for keys of a
                                     document, `module` for one module, `modules` for a list of them
    python    is executed; the blocks of one page share their names, as if they were typed one after the other
    pycon     is run by doctest, in the same names, its output compared
    console   `$ command` lines are run, `confnet` only, and `echo $?` for the exit status of the last; what follows
              a command must be its output, where a line `...` stands for any number of lines; `exit: N` above
              the block is the status expected of its commands, 0 otherwise
    sh        commands of the set-up, which `.ci/run` runs
    text      anything that is only to be read; `json`, `toml`, `lua` and `js` (settings of editors) as well

`file: NAME` above any block saves it under that name first. All blocks of a page run in one folder, which holds a copy
of `examples/`, so that a block may use what an earlier one saved.

A table under `<!-- refused: NAME -->` has code in its first column and a diagnostic code in its second: each row must
be refused so, in place of the line `pass` in the block saved as NAME.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shlex
import shutil
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import confnet
from confnet.catalog.hooks import BUILTIN_HOOKS, HOOK_KINDS
from confnet.catalog.initializers import initializer_names
from confnet.catalog.parametrizations import parametrization_names
from confnet.catalog.registry import DEFAULT_REGISTRY
from confnet.cli import commands
from confnet.language.expressions import FUNCTIONS
from confnet.language.names import BUILTINS
from confnet.spec.words import ARG_TYPES

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LANGUAGES = ("yaml", "python", "pycon", "console", "sh", "text", "json", "toml", "lua", "js")
DIRECTIVES = ("invalid", "fragment", "file", "exit", "refused")
SETUP = ("pip install ", "git clone ", "cd ", "python examples/train_digits.py", "#")

_FENCE = re.compile(r"^```(.*)$")
_COMMENT = re.compile(r"^<!--\s*(.*?)\s*-->$")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the page's line of its first line, and its directives."""

    language: str
    text: str
    line: int
    directives: dict[str, str] = field(default_factory=dict)


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page. Raises ValueError for one that could be overlooked."""
    found: list[Block] = []
    lines = text.splitlines()
    start: int | None = None
    for number, line in enumerate(lines):
        if start is None and re.match(r"^\s+```|^~~~", line):
            raise ValueError(f"line {number + 1}: a fence begins at the margin, with ```")
        if not _FENCE.match(line):
            continue
        if start is None:
            start = number
            continue
        language = lines[start][3:].strip()
        if language not in LANGUAGES:
            raise ValueError(f"line {start + 1}: {language!r} is no language of a block")
        directives = _directives(lines[start - 1], start) if start else {}
        found.append(Block(language, "".join(f"{each}\n" for each in lines[start + 1 : number]), start + 2, directives))
        start = None
    if start is not None:
        raise ValueError(f"line {start + 1}: the block is not closed")
    return found


def _directives(line: str, number: int) -> dict[str, str]:
    comment = _COMMENT.match(line)
    if comment is None:
        return {}
    found = {}
    for part in comment[1].split(";"):
        name, _, value = part.partition(":")
        if name.strip() not in DIRECTIVES:
            raise ValueError(f"line {number}: {name.strip()!r} is no directive")
        found[name.strip()] = value.strip()
    return found


# --- YAML -----------------------------------------------------------------------------------------------------------


def document(block: Block) -> str:
    """The document that a block is, or that its fragment stands in."""
    if "fragment" not in block.directives:
        if re.search(r"^confnet:", block.text, re.MULTILINE) is None and "invalid" not in block.directives:
            raise ValueError(f"line {block.line}: a document begins with `confnet: 1`; or mark a fragment")
        return block.text
    indented = "".join(f"    {line}".rstrip() + "\n" for line in block.text.splitlines())
    match block.directives["fragment"]:
        case "" | "body":
            rooted = re.search(r"^(forward|children|parameters|_*[A-Z]\w*):", block.text, re.MULTILINE)
            return f"confnet: 1\n{block.text}" + ("" if rooted else "Sequential: [ReLU]\n")
        case "module":
            return f"confnet: 1\nSequential:\n  the_module:\n{indented}"
        case "modules":
            return f"confnet: 1\nSequential:\n{indented}"
    raise ValueError(f"line {block.line}: {block.directives['fragment']!r} is no kind of fragment")


def check_yaml(block: Block, folder: Path) -> None:
    """Validate a block as its directives say."""
    path = folder / block.directives.get("file", "model.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document(block), encoding="utf-8")
    report = confnet.validate(path)
    expected = sorted(code.strip() for code in block.directives.get("invalid", "").split(",") if code.strip())
    assert sorted({diagnostic.code for diagnostic in report.diagnostics}) == expected, f"line {block.line}:\n{report}"


def check_refusals(text: str, folder: Path) -> int:
    """Check each row of the tables of refused code; how many there were."""
    count = 0
    lines = text.splitlines()
    for number, line in enumerate(lines):
        comment = _COMMENT.match(line)
        if comment is None or not comment[1].startswith("refused:"):
            continue
        frame = (folder / _directives(line, number + 1)["refused"]).read_text(encoding="utf-8")
        assert frame.count("  pass\n") == 1
        for row in lines[number + 3 :]:
            if not row.startswith("|"):
                break
            cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
            code, expected = (re.fullmatch(r"`+ ?(.*?) ?`+", cell) for cell in cells[:2])
            assert code is not None, row
            assert expected is not None, row
            path = folder / "refused.yaml"
            path.write_text(frame.replace("  pass\n", f"  {code[1]}\n"), encoding="utf-8")
            report = confnet.validate(path)
            # A value that is refused is not used either, and what a row leaves out is not its point.
            codes = {d.code for d in report.diagnostics}
            assert expected[1] in codes, f"{row}\n{report}"
            assert codes <= {expected[1], "unused-expression"}, f"{row}\n{report}"
            count += 1
    return count


# --- Python and the command line --------------------------------------------------------------------------------------


def check_python(block: Block, page: Path, names: dict[str, Any]) -> None:
    """Execute a block; a traceback shows the page's line."""
    code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
    exec(code, names)


def check_pycon(block: Block, page: Path, names: dict[str, Any]) -> None:
    """Run a session by doctest."""
    test = doctest.DocTestParser().get_doctest(block.text, names, page.name, str(page), block.line - 1)
    assert test.examples, f"line {block.line}: the block has no `>>>`"
    output = io.StringIO()
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    result = doctest.DocTestRunner(optionflags=flags, verbose=False).run(test, out=output.write, clear_globs=False)
    assert result.failed == 0, output.getvalue()
    names.update(test.globs)


def check_console(block: Block) -> None:
    """Run the commands of a block and compare what they print."""
    status = 0
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        words = shlex.split(command)
        if words == ["echo", "$?"]:
            output = f"{status}\n"
        else:
            assert words[0] == "confnet", f"line {block.line}: only `confnet` is run here, not `{words[0]}`"
            result = CliRunner().invoke(commands, words[1:], prog_name="confnet")
            output, status = result.output, result.exit_code
            assert status == int(block.directives.get("exit", 0)), f"line {block.line}: status {status}\n{output}"
        assert matches(expected, output), f"line {block.line}: `{command}` prints\n{output}"


def matches(expected: str, output: str) -> bool:
    """Whether an output is what a page shows, where a line `...` stands for any lines."""
    pattern = "".join(r"(?:.*\n)*?" if line == "..." else f"{re.escape(line)}\n" for line in expected.splitlines())
    tidy = "".join(f"{line.rstrip()}\n" for line in output.splitlines())
    return re.fullmatch(pattern, tidy.lstrip("\n") if not expected.startswith("\n") else tidy) is not None


@contextlib.contextmanager
def page_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A folder with the examples, as the place where a page's blocks run; what they register is forgotten."""
    shutil.copytree(ROOT / "examples", folder / "examples")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    modules = set(sys.modules)
    for table in fields(DEFAULT_REGISTRY):
        monkeypatch.setattr(DEFAULT_REGISTRY, table.name, dict(getattr(DEFAULT_REGISTRY, table.name)))
    try:
        yield {"__name__": "__main__"}
    finally:
        for name in set(sys.modules) - modules:
            if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_does_what_the_page_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page.read_text(encoding="utf-8")
    with page_folder(tmp_path, monkeypatch) as names, warnings.catch_warnings():
        for block in blocks(text):
            if "file" in block.directives and block.language != "yaml":
                (tmp_path / block.directives["file"]).write_text(block.text, encoding="utf-8")
            match block.language:
                case "yaml":
                    check_yaml(block, tmp_path)
                case "python" if "file" not in block.directives:
                    check_python(block, page, names)
                case "pycon":
                    check_pycon(block, page, names)
                case "console":
                    check_console(block)
                case "sh":
                    stray = [line for line in block.text.splitlines() if not line.startswith(SETUP)]
                    assert not stray, f"line {block.line}: {stray} is no command of the set-up"
        tables = text.count("\n<!-- refused:")
        assert (check_refusals(text, tmp_path) > 0) == (tables > 0)


def test_the_pages_are_there() -> None:
    assert {"README.md", "language.md", "python.md"} <= {page.name for page in PAGES}
    language = (ROOT / "docs/language.md").read_text(encoding="utf-8")
    assert sum(block.language == "yaml" for block in blocks(language)) >= 30


def test_the_tables_of_the_language_are_complete() -> None:
    language = (ROOT / "docs/language.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w\[\]]+)`", language))
    assert named >= {
        *ARG_TYPES,
        *FUNCTIONS,
        *HOOK_KINDS,
        *BUILTIN_HOOKS,
        *initializer_names(),
        *parametrization_names(),
    }
    words = {word for span in re.findall(r"`([^`\n]+)`", language) for word in span.split()}
    assert words >= {*BUILTINS, *(f"math.{name}" for name in ("sqrt", "log", "exp", "pi", "inf"))}
    for name, hook in BUILTIN_HOOKS.items():
        row = next(line for line in language.splitlines() if line.startswith(f"| `{name}`"))
        assert set(re.findall(r"`(\w+)`", row.split("|")[2])) == set(hook.kinds), row
    for kind in HOOK_KINDS.values():
        assert f"| `{kind.name}` | `{' '.join(kind.arguments)}`" in language


# --- links ------------------------------------------------------------------------------------------------------------


def prose(text: str) -> str:
    """A page without its blocks and code spans."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    found: set[str] = set()
    without_blocks = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#+ (.*)$", without_blocks, re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        found.add(next(s for s in (slug, *(f"{slug}-{i}" for i in range(1, 99))) if s not in found))
    return found


def broken_links(page: Path) -> list[str]:
    """The links of a page, other than those to the web, that lead nowhere."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text(encoding="utf-8"))):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        if not there.exists() or (anchor and anchor not in anchors(there.read_text(encoding="utf-8"))):
            broken.append(target)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


# --- the picture of an error ------------------------------------------------------------------------------------------


def test_the_picture_shows_what_the_command_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "docs/images")
    picture = Path("error.svg").read_text(encoding="utf-8")
    shown = [unescape(text).replace("\xa0", " ") for text in re.findall(r"<text[^>]*>([^<]*)</text>", picture)]
    result = CliRunner().invoke(commands, ["validate", "error.yaml"])
    assert result.exit_code == 1
    drawn = "".join("".join(shown).split())
    for line in result.output.splitlines():
        assert "".join(line.split()) in drawn, f"the picture lacks {line!r}: run python docs/images/draw.py"


# --- the checks bite --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```\nx\n```\n", "is no language"),
        ("```yml\nx\n```\n", "is no language"),
        ("  ```yaml\n  x\n  ```\n", "at the margin"),
        ("~~~yaml\nx\n~~~\n", "at the margin"),
        ("```yaml\nx\n", "not closed"),
        ("<!-- skip -->\n```yaml\nx\n```\n", "no directive"),
    ],
)
def test_a_block_cannot_be_overlooked(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        blocks(text)


@pytest.mark.parametrize(
    ("text", "directives"),
    [
        ("confnet: 1\nSequential: [Relu]\n", {}),
        ("confnet: 1\nSequential: [ReLU]\n", {"invalid": "unknown-layer"}),
        ("confnet: 1\nSequential: [Relu, {Linear: 3}]\n", {"invalid": "unknown-layer"}),
        ("- Relu\n", {"fragment": "modules"}),
        ("Linear: [4, 4, 4, 4, 4, 4]\n", {"fragment": "module"}),
        ("args: {a: integer}\n", {"fragment": "body"}),
    ],
)
def test_a_wrong_block_is_found(text: str, directives: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        check_yaml(Block("yaml", text, 1, directives), tmp_path)


def test_a_piece_must_be_marked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="or mark a fragment"):
        check_yaml(Block("yaml", "Sequential: [ReLU]\n", 1), tmp_path)


@pytest.mark.parametrize(
    ("expected", "output", "same"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\n...\nc\n", "a\nb\nb\nc\n", True),
        ("a\n...\n", "a\n", True),
        ("a\n", "a\nb\n", False),
        ("", "a\n", False),
        ("a.c\n", "abc\n", False),
        ("...\nc\n", "a\nb\n", False),
    ],
)
def test_outputs_are_compared(expected: str, output: str, same: bool) -> None:
    assert matches(expected, output) is same


def test_a_wrong_row_is_found(tmp_path: Path) -> None:
    (tmp_path / "frame.yaml").write_text("confnet: 1\nforward: |\n  pass\n  return x\n")
    head = "<!-- refused: frame.yaml -->\n| code | diagnostic |\n|---|---|\n"
    assert check_refusals(f"{head}| `return eval(x)` | `undefined-name` |\n", tmp_path) == 1
    with pytest.raises(AssertionError):
        check_refusals(f"{head}| `return eval(x)` | `unknown-layer` |\n", tmp_path)
    with pytest.raises(AssertionError):
        check_refusals(f"{head}| `return x` | `undefined-name` |\n", tmp_path)


def test_a_wrong_command_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.yaml").write_text("confnet: 1\nSequential: [ReLU]\n")
    check_console(Block("console", "$ confnet validate m.yaml\nm.yaml: ok\n$ echo $?\n0\n", 1))
    for wrong in ("$ confnet validate m.yaml\nok\n", "$ confnet validate n.yaml\n...\n", "$ ls\n...\n"):
        with pytest.raises(AssertionError):
            check_console(Block("console", wrong, 1))


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One two\n\n[a](#one-two) [b](#three) [c](gone.md) [d](page.md#one-two) `[e](gone.md)`\n")
    assert broken_links(page) == ["#three", "gone.md"]
