"""Diagnostics that know their repair: applied to the file, each removes its diagnostic."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from confnet import api
from confnet.diagnostics import ConfnetError, Diagnostic, Fix
from confnet.loading import load_file

ROOT = Path(__file__).parent / "cases" / "invalid"
FILES = sorted(path for path in ROOT.rglob("*.yaml") if path.stat().st_size < 50_000)
# Suggestions that are no edit of the word: of two functions, of another namespace, of the words around a name.
NO_EDIT = ("`torch.sqrt` or `math.sqrt`", "`math.inf`")


def found(path: Path, text: str) -> tuple[Diagnostic, ...]:
    try:
        return api.validate(load_file(path, str(path), texts={path.resolve(): text}), shapes=False).diagnostics
    except ConfnetError as error:
        return error.diagnostics


def applied(text: str, fix: Fix) -> str:
    lines = text.splitlines(keepends=True)
    assert fix.span.line == fix.span.end_line
    line = lines[fix.span.line - 1]
    lines[fix.span.line - 1] = line[: fix.span.column - 1] + fix.text + line[fix.span.end_column - 1 :]
    return "".join(lines)


def same(one: Diagnostic, other: Diagnostic) -> bool:
    return (one.code, one.message, one.span) == (other.code, other.message, other.span)


def test_every_fix_mends_what_it_is_for() -> None:
    fixes = 0
    for path in FILES:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for diagnostic in found(path, text):
            fix = diagnostic.fix
            if fix is None:
                unsure = "did you mean" not in diagnostic.help or any(words in diagnostic.help for words in NO_EDIT)
                assert unsure, f"{path.name}: {diagnostic.help} has no fix"
            elif fix.span.file == str(path):
                fixes += 1
                after = found(path, applied(text, fix))
                assert not any(same(diagnostic, each) for each in after), f"{path.name}: {diagnostic} stays"
    assert fixes >= 70


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("Sequential: [{Linear: [4, width]}]\nargs: {width: 4}", "$width"),
        ("Sequential: [{Linear: {in_features: 1, out_features: 1, bias: no}}]", "false"),
        ("Sequential: [{Linear: {in_features: 1, out_features: 2.0}}]", "2"),
        ("args: {sizes: {type: 'list[it]', default: []}}\nSequential: [ReLU]", '"list[int]"'),
        ("forward: return x.shpae[0]", "shape"),
    ],
)
def test_the_edit_is_exact(body: str, wanted: str) -> None:
    (diagnostic,) = errors(body)
    assert diagnostic.fix is not None
    assert diagnostic.fix.text == wanted


def errors(body: str) -> tuple[Diagnostic, ...]:
    try:
        return api.validate(api.loads(f"confnet: 1\n{body}\n"), shapes=False).diagnostics
    except ConfnetError as error:
        return error.diagnostics


def test_what_is_not_certain_has_no_fix() -> None:
    given = "args: {w: {type: str, default: yes}}\n"  # the value stands elsewhere
    for body in ("Sequential: [{Linear: [4]}]", given + "Sequential: [{Linear: [1, 1, $w]}]"):
        assert [each.fix for each in errors(body)] == [None] * len(errors(body))
        assert errors(body)


def test_a_fix_is_no_part_of_what_makes_diagnostics_equal() -> None:
    (diagnostic,) = errors("Sequential: [Relu]")
    assert diagnostic.fix is not None
    assert replace(diagnostic, fix=None) == diagnostic
