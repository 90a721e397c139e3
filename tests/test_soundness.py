"""The promise: what `validate` accepts runs and gives the predicted shapes, and what it refuses really fails.

A few hundred random specs; `python -m tests.soundness` tries any number of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

import confnet
from confnet.api import Report
from confnet.diagnostics import Diagnostic
from tests.soundness import FEATURES, drawn, trial
from tests.soundness.__main__ import Run
from tests.soundness.truth import Violation, verdict

CHUNK = 45


@pytest.mark.parametrize("chunk", range(4))
def test_what_is_accepted_runs_and_what_is_refused_fails(chunk: int) -> None:
    """In chunks, for several processes; each must have its share of either kind."""
    counts = Counter(trial(seed).verdict.outcome for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK))
    assert counts["right"] > CHUNK // 3, counts
    assert counts["wrong"] > CHUNK // 5, counts
    assert counts["open"] < CHUNK // 8, counts


# The seeds at which promises were broken once, under the grammar of that day, are examples in tests/test_shapes.py.


def test_the_grammar_covers_the_language() -> None:
    """Every feature stands in many specs, and half of the specs have a fault."""
    specs = [drawn(seed) for seed in range(1500)]
    texts = [str(spec).replace("'", '"').replace("None", "null") for spec, *_ in specs]
    for name, piece in FEATURES.items():
        assert sum(piece in text for text in texts) > 10, name
    assert 600 < sum(bool(fault) for _, _, fault, _ in specs) < 900
    assert {fault for _, _, fault, _ in specs} > {"size", "code", "contract", "layer name", "argument name", "state"}


# --- the trial can fail -----------------------------------------------------------------------------------------------

RIGHT: Mapping[str, Any] = {
    "confnet": 1,
    "inputs": {"x": ["B", "T", 4]},
    "children": {"fc": {"Linear": [4, 6]}},
    "forward": "return fc(x[:, 1:])",
}
WRONG: Mapping[str, Any] = {**RIGHT, "children": {"fc": {"Linear": [5, 6]}}}


def judged(monkeypatch: pytest.MonkeyPatch, spec: Mapping[str, Any], report: Report) -> str:
    """What the trial says where `validate` gives a report."""
    monkeypatch.setattr(confnet, "validate", lambda spec: report)
    try:
        return verdict(spec, Random(1)).outcome
    except Violation as error:
        return error.kind


def test_true_reports_are_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged(monkeypatch, RIGHT, confnet.validate(RIGHT)) == "right"
    monkeypatch.undo()
    assert judged(monkeypatch, WRONG, confnet.validate(WRONG)) == "wrong"


def test_false_reports_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = confnet.validate(RIGHT)
    (shapes,) = right.shapes
    (output,), values = shapes.outputs, shapes.values
    other_size = replace(output, sizes=("B", "T", 6))
    other_dtype = replace(output, dtype="float64")
    lies = {
        "another shape": replace(shapes, outputs=(other_size,)),
        "another dtype": replace(shapes, outputs=(other_dtype,)),
        "another number of outputs": replace(shapes, outputs=(output, output)),
        "unchecked": replace(shapes, checked=False),
    }
    for kind, lie in lies.items():
        assert judged(monkeypatch, RIGHT, replace(right, shapes=(lie,))) == kind
    inner = replace(shapes, values=(replace(values[0], sizes=("B", "T", 6)),))
    assert judged(monkeypatch, RIGHT, replace(right, shapes=(inner,))) == "another shape"
    assert judged(monkeypatch, WRONG, right) == "accepted, fails"
    refused = replace(right, ok=False, diagnostics=(Diagnostic("shape-mismatch", "no"),))
    assert judged(monkeypatch, RIGHT, refused) == "refused, works"
    broken = {**RIGHT, "outputs": {"y": ["B", "T", 6]}}
    assert judged(monkeypatch, broken, right) == "accepted, breaks its contract"


def test_exceptions_of_validate_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(spec: object) -> Report:
        raise ValueError("no")

    monkeypatch.setattr(confnet, "validate", fails)
    with pytest.raises(Violation, match="raises"):
        verdict(RIGHT, Random(1))


def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for _ in range(3):
        run.step()
    run.save()
    again = Run(tmp_path)
    assert again.next == 3
    assert again.counts == run.counts
    assert again.counts["specs"] == 3


@pytest.mark.soak
def test_soak(tmp_path: Path) -> None:
    run = Run(tmp_path)
    while run.next < 10_000:
        run.step()
    assert not run.counts["violations"], list((tmp_path / "violations").iterdir())
    assert run.counts["open"] < 200
    assert run.counts["right at no drawn size"] < 50
