"""Golden cases: files that are wrong, each beside the exact text that confnet says of it, and files that are right.

A case is `NAME.yaml` beside `NAME.txt`, or a folder `NAME` whose `main.yaml` includes its neighbours. A first line
`# validate: {variant: big, root: Block, args: {depth: 3}}` says how the case is validated. The texts are rewritten by
`CONFNET_UPDATE_CASES=1 pytest tests/test_cases.py`; read the difference before it is committed.
"""

from __future__ import annotations

import ast
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import confnet
from confnet.api import Report
from confnet.limits import Limits
from confnet.source import read_value

ROOT = Path(__file__).resolve().parent.parent
CASES = ROOT / "tests" / "cases"
HEADER = "# validate:"
CODE = re.compile(r"(?:error|warning|note)\[([a-z0-9-]+)\]")
PLACE = re.compile(r"^ *--> \S+:\d+:\d+$", re.MULTILINE)

OF_WEIGHTS = (
    "missing-weights", "unexpected-weights", "weight-shape", "tied-weights", "duplicate-weights",
    "unreadable-weights", "unsafe-weights", "unwritable-weights", "missing-package",
)  # fmt: skip
"""Codes of what a checkpoint holds, which no file of ours shows."""

NOT_IN_A_FILE = {
    "file-too-large": "needs a file of 10 MB: tests below, with a smaller limit",
    "too-many-nodes": "needs 100,000 values: tests below, with a smaller limit",
    "too-many-errors": "needs a thousand mistakes: tests/test_hostile.py",
    "too-many-parameters": "the caller gives the limit: tests/test_hostile.py",
    "too-many-variants": "needs a hundred variants: tests/test_hostile.py",
    "too-much-code": "needs very much code: tests/test_hostile.py",
    "too-many-files": "needs a hundred files: tests below, with a smaller limit",
    "include-without-folder": "a text has no folder: tests below",
    "no-root": "a file of definitions is right until it is built: tests below",
    "code-too-long": "needs 10,000 parts: tests below",
    "code-too-complex": "needs so much code that its check takes a second: tests below, with a smaller limit",
    **dict.fromkeys(OF_WEIGHTS, "of weights, not of a file: tests/test_weights.py"),
}  # fmt: skip
"""Codes that no case of this folder can show, and why."""


def cases(folder: str) -> list[str]:
    """The cases of a folder by name: files, and folders with a `main.yaml`."""
    base = CASES / folder
    found = [*base.glob("*.yaml"), *base.glob("*/main.yaml")]
    return sorted(str(path.relative_to(base).with_suffix("")) for path in found)


def report(folder: str, name: str, monkeypatch: pytest.MonkeyPatch) -> Report:
    """What confnet says of a case, from the case's own folder: so that the path shown is the same everywhere."""
    monkeypatch.chdir(CASES / folder)
    path = Path(f"{name}.yaml")
    first = path.read_bytes().split(b"\n", 1)[0].decode("utf-8", "replace")
    options: dict[str, Any] = read_value(first.removeprefix(HEADER)) if first.startswith(HEADER) else {}
    assert set(options) <= {"variant", "root", "args"}, f"{name}: unknown options {options}"
    return confnet.validate(str(path), **options)


@pytest.mark.parametrize("name", cases("invalid"))
def test_invalid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad file gives exactly its text."""
    found = report("invalid", name, monkeypatch)
    assert found.diagnostics, "confnet has nothing to say of this file"
    text = f"{found}\n"
    expected = CASES / "invalid" / f"{name}.txt"
    if os.environ.get("CONFNET_UPDATE_CASES"):
        expected.write_text(text, encoding="utf-8", newline="\n")
    assert expected.exists(), f"{expected} is missing: run with CONFNET_UPDATE_CASES=1, and read it"
    assert text == expected.read_text(encoding="utf-8")
    assert found.ok == ("error[" not in text)


@pytest.mark.parametrize("name", cases("valid"))
def test_valid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A right file gives no diagnostic at all."""
    assert str(report("valid", name, monkeypatch)) == "ok"


def test_folders_are_not_empty() -> None:
    assert len(cases("invalid")) >= 60
    assert len(cases("valid")) >= 10


def test_every_text_has_its_case() -> None:
    """A text whose file was renamed or removed is not left behind."""
    texts = {str(path.relative_to(CASES / "invalid").with_suffix("")) for path in (CASES / "invalid").rglob("*.txt")}
    assert texts == set(cases("invalid"))


# --- what every text must be like -----------------------------------------------------------------------------------


def expected_texts() -> Iterator[tuple[str, str]]:
    for name in cases("invalid"):
        yield name, (CASES / "invalid" / f"{name}.txt").read_text(encoding="utf-8")


def test_messages_keep_the_house_rules() -> None:
    """Lower case, one sentence without a final period, and a place for everything that is said."""
    faults = []
    for name, text in expected_texts():
        titles = [line for line in text.splitlines() if CODE.match(line)]
        for title in titles:
            message = title.split("]: ", 1)[1]
            if message.endswith(".") or message[0].isupper():
                faults.append(f"{name}: {message}")
        if len(PLACE.findall(text)) != len(titles):
            faults.append(f"{name}: a diagnostic without a place")
    assert not faults, "\n".join(faults)


# --- every code has a case ------------------------------------------------------------------------------------------

REPORTERS = {
    "add", "error", "report", "failure", "at", "Diagnostic", "LanguageError", "Problem", "ArgumentProblem",
    "_failure", "_error", "_error_at", "error_at", "_IncludeError",
}  # fmt: skip
WORD = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")


def codes_in_source() -> dict[str, str]:
    """Every text that confnet's source gives as a code to what reports diagnostics, with a place where it does."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "confnet").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            for code in codes_of(node):
                found.setdefault(code, f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}")
    return found


def codes_of(node: ast.AST) -> Iterator[str]:
    """The codes that a call reports, or that `code = ... if ... else ...` chooses from."""
    if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "code" for t in node.targets):
        yield from texts_of(node.value)
    if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and node.value.elts:
        yield from (text for text in texts_of(node.value.elts[0]) if text.startswith("yaml-"))
    if isinstance(node, ast.Call) and name_of(node.func) in REPORTERS:
        # The code is the first text among the first three arguments: a place may stand before it.
        for argument in node.args[:3]:
            texts = list(texts_of(argument))
            if texts:
                yield from texts
                return
    if isinstance(node, ast.Call) and name_of(node.func) == "unknown" and node.args:
        yield from texts_of(node.args[0])


def name_of(function: ast.expr) -> str:
    return str(getattr(function, "attr", None) or getattr(function, "id", ""))


def texts_of(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.IfExp):
        yield from texts_of(node.body)
        yield from texts_of(node.orelse)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and WORD.fullmatch(node.value):
        yield node.value


def test_every_code_has_a_case() -> None:
    shown = {code for _, text in expected_texts() for code in CODE.findall(text)}
    known = codes_in_source()
    assert len(known) > 60, "the search for codes finds too little"
    missing = {code: place for code, place in known.items() if code not in shown and code not in NOT_IN_A_FILE}
    assert not missing, f"no case shows {missing}"
    assert not shown - set(known), f"the search misses the codes {shown - set(known)}"
    assert not set(NOT_IN_A_FILE) & shown, "a code of NOT_IN_A_FILE has a case by now"
    assert set(NOT_IN_A_FILE) <= set(known), "a code of NOT_IN_A_FILE is gone"


# --- what no file of this folder can show ---------------------------------------------------------------------------


def only_code(found: Report) -> str:
    (diagnostic,) = found.diagnostics
    return diagnostic.code


SMALL = "confnet: 1\nSequential: [{Linear: [4, 4]}, ReLU]\n"


def test_limits_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(SMALL)
    assert confnet.validate(path).ok
    assert only_code(confnet.validate(path, limits=Limits(file_bytes=20))) == "file-too-large"
    assert only_code(confnet.validate(path, limits=Limits(nodes=5))) == "too-many-nodes"


def test_limit_of_included_files(tmp_path: Path) -> None:
    for number in range(4):
        include = f"include: [part{number + 1}.yaml]\n" if number < 3 else ""
        (tmp_path / f"part{number}.yaml").write_text(f"{SMALL}{include}modules: {{M{number}: {{Sequential: []}}}}\n")
    assert confnet.validate(tmp_path / "part0.yaml", limits=Limits(files=3)).ok
    assert only_code(confnet.validate(tmp_path / "part0.yaml", limits=Limits(files=2))) == "too-many-files"


def test_a_text_includes_nothing() -> None:
    with pytest.raises(confnet.ConfnetError) as caught:
        confnet.loads(f"include: [blocks.yaml]\n{SMALL}")
    assert [d.code for d in caught.value.diagnostics] == ["include-without-folder"]


def test_a_file_of_definitions_is_not_built(tmp_path: Path) -> None:
    path = tmp_path / "blocks.yaml"
    path.write_text("confnet: 1\nmodules: {Block: {Sequential: [ReLU]}}\n")
    with pytest.raises(confnet.ConfnetError) as caught:
        confnet.build(path)
    assert [d.code for d in caught.value.diagnostics] == ["no-root"]


def test_limits_of_code(monkeypatch: pytest.MonkeyPatch) -> None:
    long = f"confnet: 1\nforward: return [{'x, ' * 10_000}]\n"
    assert only_code(confnet.validate(io.StringIO(long))) == "code-too-long"
    loops = "confnet: 1\nforward: |\n  for a in x:\n      for b in a:\n          x = x + b\n  return x\n"
    assert confnet.validate(io.StringIO(loops)).ok
    monkeypatch.setattr("confnet.language.context.MAX_VISITS", 10)
    assert only_code(confnet.validate(io.StringIO(loops))) == "code-too-complex"
