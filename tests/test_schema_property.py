"""The JSON Schema says what the spec stage and the check of arguments say: on generated documents, both ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from jsonschema import Draft202012Validator

from confnet.diagnostics import ConfnetError, Diagnostic
from confnet.loading import load_text
from confnet.pipeline import check_library, make_plan
from confnet.source import parse, plain, to_text
from tests.schema_documents import Plain, documents, spoilt
from tests.schema_limits import is_left_to_confnet

SCHEMA: dict[str, Any] = json.loads((Path(__file__).parents[1] / "schemas/confnet.schema.json").read_text("utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)

OF_FORM = (
    "invalid-", "not-", "unknown-parametrization", "unknown-hook-kind", "unknown-initializer", "unknown-argument",
    "missing-argument", "too-many-arguments", "duplicate-argument",
)  # fmt: skip
"""Codes of what only the plan finds, and is a matter of form all the same: the schema may refuse it."""


def of_the_form(text: str) -> list[Diagnostic]:
    """What the spec stage, or the check of names and literal arguments, finds wrong."""
    try:
        spec = load_text(text, "<text>")
        check_library(spec)
    except ConfnetError as error:
        return [diagnostic for diagnostic in error.diagnostics if diagnostic.severity == "error"]
    return []


def of_the_plan(document: dict[str, Plain]) -> list[Diagnostic]:
    """What is found where the values of `$` are known, whichever way conditions turn out."""
    found: list[Diagnostic] = []
    for reached in (document, _reached(document, True), _reached(document, False)):
        try:
            make_plan(load_text(to_text(reached), "<text>"))
        except ConfnetError as error:
            found += [diagnostic for diagnostic in error.diagnostics if diagnostic.code.startswith(OF_FORM)]
    return found


def _reached(value: Plain, condition: bool) -> Plain:
    """The same with every condition so, and with one step of every repeat: what is not reached is not planned."""
    if isinstance(value, list):
        return [_reached(item, condition) for item in value]
    if not isinstance(value, dict):
        return value
    fixed = {"when": condition, "repeat": 1}
    return {key: fixed[key] if key in fixed else _reached(child, condition) for key, child in value.items()}


def agree(document: dict[str, Plain], validator: Draft202012Validator) -> bool:
    """Hold both against each other; whether the schema accepts. Raises AssertionError where they differ."""
    text = to_text(document)
    refusals = [error.message for error in validator.iter_errors(plain(parse(text, "<text>").root))]
    found = of_the_form(text)
    told = [diagnostic for diagnostic in found if not is_left_to_confnet(diagnostic)]
    if refusals:
        assert found or of_the_plan(document), f"the schema refuses what is right: {refusals}\n{text}"
    else:
        assert not told, f"the schema accepts what is wrong: {told}\n{text}"
    return not refusals


COMMON = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@COMMON
@given(documents())
def test_right_documents_are_accepted(document: dict[str, Plain]) -> None:
    text = to_text(document)
    assert [d for d in of_the_form(text) if not is_left_to_confnet(d)] == [], f"the generator is wrong\n{text}"
    assert agree(document, VALIDATOR)


@settings(COMMON, max_examples=120)
@given(spoilt())
def test_spoilt_documents_are_told_apart(document: dict[str, Plain]) -> None:
    event("accepted" if agree(document, VALIDATOR) else "refused")


@pytest.mark.soak
@settings(COMMON, max_examples=20_000, derandomize=False)
@given(spoilt())
def test_many_spoilt_documents_are_told_apart(document: dict[str, Plain]) -> None:
    agree(document, VALIDATOR)


# --- the check bites --------------------------------------------------------------------------------------------------


def test_a_schema_that_refuses_too_much_is_found() -> None:
    strict = {**SCHEMA, "$defs": {**SCHEMA["$defs"], "Dropout": {"type": "object"}}}
    with pytest.raises(AssertionError, match="refuses what is right"):
        agree({"confnet": 1, "Sequential": [{"Dropout": 0.5}]}, Draft202012Validator(strict))


@pytest.mark.parametrize("module", [{"Dropout": 2}, {"Dropout": {"q": 1}}, {"Dropout": "half"}])
def test_a_schema_that_accepts_too_much_is_found(module: Plain) -> None:
    lax = {**SCHEMA, "$defs": {**SCHEMA["$defs"], "Dropout": {}}}
    document = {"confnet": 1, "Sequential": [module]}
    assert not agree(document, VALIDATOR)
    with pytest.raises(AssertionError, match="accepts what is wrong"):
        agree(document, Draft202012Validator(lax))
