"""`confnet explain`: every code has a page, every page a code, and what the pages show is true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from confnet.cli import commands
from confnet.explain import codes, page, summary
from tests.test_cases import OF_WEIGHTS, codes_in_source
from tests.test_cli import on_a_terminal
from tests.test_docs import Block, blocks, broken_links, check_yaml

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "confnet/explain"
INDEX = ROOT / "docs/errors.md"

WITHOUT_EXAMPLE = {
    "code-too-complex": "needs so much code that its check takes a second",
    "code-too-long": "needs 10,000 parts",
    "file-too-large": "needs a file of 10 MB",
    "include-without-folder": "a text has no folder: Python only",
    "invalid-character": "the character cannot stand on a page",
    "no-root": "a file of definitions is right until it is built",
    "not-utf8": "a page is UTF-8",
    "too-many-errors": "needs a thousand mistakes",
    "too-many-files": "needs a hundred files",
    "too-many-nodes": "needs 100,000 values",
    "too-many-parameters": "the caller gives the limit",
    "too-many-variants": "needs very many variants",
    "too-much-code": "needs very much code",
    "unknown-root": "the caller names the root",
    "unknown-variant": "the caller names the variant",
    **dict.fromkeys(OF_WEIGHTS, "of weights, not of a file"),
}  # fmt: skip
"""Codes whose page has no example, and why."""


def text_of(code: str) -> str:
    return (FOLDER / f"{code}.md").read_text(encoding="utf-8")


def examples(code: str) -> list[Block]:
    return [block for block in blocks(text_of(code)) if block.language == "yaml"]


def explain(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["explain", *arguments], prog_name="confnet")


# --- the pages ------------------------------------------------------------------------------------------------------


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    assert len(codes()) > 100
    known = codes_in_source()
    missing = {code: place for code, place in known.items() if code not in codes()}
    assert not missing, f"no page in confnet/explain for {missing}"
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "confnet").rglob("*.py"))
    assert not [code for code in codes() if f'"{code}"' not in source], "pages of codes that nothing reports"


def test_what_the_pages_are_made_of() -> None:
    faults = []
    for code in codes():
        text = text_of(code)
        title, _, rest = text.partition("\n\n")
        prose = rest.split("\n\n")[0]
        if title != f"# {code}":
            faults.append(f"{code}: the title is {title}")
        if not re.match(r"[A-Z`].*\.$", " ".join(prose.split())):
            faults.append(f"{code}: begins with no sentences")
        if not 20 < len(summary(code)) <= 150:
            faults.append(f"{code}: the first sentence has {len(summary(code))} characters")
        faults += [f"{code}: line {n} is too long" for n, line in enumerate(text.splitlines(), 1) if len(line) > 250]
        faults += [f"{code}: {link} leads nowhere" for link in broken_links(FOLDER / f"{code}.md")]
    assert not faults, "\n".join(faults)


def test_every_page_shows_the_mistake_and_its_repair() -> None:
    faults = []
    for code in codes():
        invalid = [block.directives.get("invalid") for block in examples(code)]
        if code in WITHOUT_EXAMPLE:
            if invalid:
                faults.append(f"{code}: has an example by now")
        elif not invalid or invalid[-1] is not None or invalid.count(code) != 1:
            faults.append(f"{code}: needs a wrong example and then a right one")
    assert not faults, "\n".join(faults)
    assert set(WITHOUT_EXAMPLE) <= set(codes())


@pytest.mark.parametrize("code", [code for code in codes() if code not in WITHOUT_EXAMPLE])
def test_the_examples_do_what_the_page_says(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for block in examples(code):
        check_yaml(block, tmp_path)


def test_the_index_lists_every_page() -> None:
    lines = [line for line in INDEX.read_text(encoding="utf-8").splitlines() if line.startswith("- [")]
    expected = [f"- [`{code}`](../confnet/explain/{code}.md): {summary(code)}" for code in codes()]
    assert lines == expected, "\n".join(expected)


def test_the_pages_ship_with_the_package() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    assert build["wheel"] == {"packages": ["confnet"]}  # every file of it: nothing is left out
    assert "/confnet" in build["sdist"]["include"]


# --- the command ----------------------------------------------------------------------------------------------------


def test_a_page_is_printed_as_plain_text() -> None:
    result = explain("unknown-argument")
    assert result.exit_code == 0
    assert result.output == page("unknown-argument").strip() + "\n"
    assert result.output.startswith("# unknown-argument\n\n")
    assert "kernal_size: 5" in result.output
    assert "<!--" not in result.output


@pytest.mark.parametrize(
    "written", ["error[unknown-layer]", "error[unknown-layer]:", "[unknown-layer]", "Unknown-Layer"]
)
def test_a_code_may_be_pasted(written: str) -> None:
    assert explain(written).output == explain("unknown-layer").output != ""


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("unknown-layr", "there is no code 'unknown-layr'; did you mean 'unknown-layer'?"),
        ("frobnicate", "there is no code 'frobnicate'; 'confnet explain' lists the codes"),
        ("../cli/__init__", "there is no code '../cli/__init__'; 'confnet explain' lists the codes"),
        ("\x1b[2J", "there is no code"),
        ("missing.yaml", "there is no file 'missing.yaml'"),
    ],
)
def test_an_unknown_code(written: str, message: str) -> None:
    result = explain(written)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in " ".join(result.stderr.split())
    assert "\x1b" not in result.stderr


def test_without_a_code_all_are_listed() -> None:
    result = explain()
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert [line.split()[0] for line in lines] == list(codes())
    assert all(line.endswith(summary(code)) for line, code in zip(lines, codes(), strict=True))
    assert len({line.index(summary(code)) for line, code in zip(lines, codes(), strict=True)}) == 1  # one column


def test_on_a_terminal_the_page_is_set(tmp_path: Path) -> None:
    output = on_a_terminal("explain", "unknown-layer", cwd=tmp_path)
    assert "\x1b[" in output
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    assert "```" not in plain
    assert "- Linaer: [8, 10]" in plain


def test_an_unknown_page() -> None:
    with pytest.raises(KeyError):
        page("frobnicate")


def test_explain_imports_neither_torch_nor_yaml() -> None:
    script = (
        "import sys; from click.testing import CliRunner; from confnet.cli import commands\n"
        "assert CliRunner().invoke(commands, ['explain', 'unknown-layer']).exit_code == 0\n"
        "assert not {'torch', 'yaml', 'rich', 'pydantic'} & set(sys.modules), 'loads too much'\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
