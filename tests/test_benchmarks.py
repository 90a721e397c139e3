"""The benchmarks still run, and compare what they say they compare."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import forward, mistakes
from benchmarks import validate as validation
from benchmarks import weights as loading
from benchmarks.rivals import TOOLS, Tool
from confnet.api import build, loads, validate
from tests.references.resnet import resnet


@pytest.fixture(autouse=True)
def _keep_threads() -> object:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    yield
    torch.set_num_threads(threads)
    torch.set_rng_state(state)


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    forward.main(["--case", "mlp", "--repetitions", "2"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("mlp ")]
    assert [row[11:25].strip() for row in rows] == [forward.BUILT, forward.TWIN, forward.CONTROL]
    assert [len(re.findall(r"\[[\d.]+, [\d.]+\]", row)) for row in rows] == [2, 1, 2]


def test_contenders_that_differ_are_refused() -> None:
    class Other(forward.DeepMLP):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) + 1

    case = replace(forward.CASES["mlp"], twin=Other)
    with pytest.raises(AssertionError, match="computes something else"), torch.inference_mode():
        forward.contenders(case)


def test_resnet50_is_compared_with_a_twin_of_the_same_keys() -> None:
    with torch.device("meta"):
        twin: nn.Module = resnet("resnet50")
    built = build("examples/resnet.yaml", variant="resnet50", device="meta")
    assert list(built.state_dict()) == list(twin.state_dict())


OURS = TOOLS[0]
TWELVE = {
    "layer typo": (15, 11, True),
    "argument typo": (12, 25, True),
    "missing argument": (17, 11, True),
    "wrong type": (11, 33, True),
    "string for int": (14, 36, True),
    "negative channels": (15, 50, True),
    "channel mismatch": (15, 3, True),
    "unknown top key": (2, 1, True),
    "syntax": (15, 3, True),
    "duplicate key": (14, 39, None),
    "undefined variable": (19, 49, True),
    "cyclic reference": (5, 14, None),
}
"""Where confnet finds each, and whether it says how to mend it (None: only the author can know)."""


def test_the_right_file_passes() -> None:
    report = validate(loads(mistakes.right_text(OURS), name=OURS.file))
    assert report.ok, report
    assert not report.diagnostics
    assert [shapes.checked for shapes in report.shapes] == [True]
    build(loads(mistakes.right_text(OURS)))(torch.zeros(2, 3, 32, 32))


def test_the_twelve_are_all_there() -> None:
    assert [mistake.name for mistake in mistakes.mistakes()] == list(TWELVE)


@pytest.mark.parametrize("mistake", mistakes.mistakes(), ids=lambda mistake: mistake.name)
def test_each_mistake_is_one_error_at_its_place(mistake: mistakes.Mistake, tmp_path: Path) -> None:
    path = tmp_path / OURS.file
    path.write_text(mistake.text(OURS), encoding="utf-8")
    report = validate(path)
    line, column, repair = TWELVE[mistake.name]
    assert [(d.span.line, d.span.column) if d.span else None for d in report.diagnostics] == [(line, column)]
    assert not report.ok
    outcome = mistakes.judge(mistakes.Outcome("check", str(report)), OURS, mistake)
    assert (outcome.file, outcome.line, outcome.column, outcome.repair) == (True, True, True, repair)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_every_mistake_is_an_edit_of_every_file(tool: Tool) -> None:
    texts = [mistake.text(tool) for mistake in mistakes.mistakes()]
    assert len({*texts, mistakes.right_text(tool)}) == 13
    assert all(mistake.places(tool) for mistake in mistakes.mistakes())


def test_only_the_right_place_counts() -> None:
    typo = mistakes.mistakes()[0]
    told = {
        "confnet.yaml:15:11: no `Conv2d`": (True, True, True),
        'in "<file>", line 15, column 11': (False, True, True),
        "confnet.yaml:14:11": (True, False, False),
        "confnet.yaml:15:3": (True, True, False),
        '  File "elsewhere.py", line 15\n    x\n    ^': (False, False, False),
        '  File "/x/confnet.yaml", line 15\n    conv2: {Conv2dd:\n            ^': (True, True, True),
    }
    for output, expected in told.items():
        outcome = mistakes.judge(mistakes.Outcome("check", output), OURS, typo)
        assert (outcome.file, outcome.line, outcome.column) == expected, output


def test_a_repair_in_quoted_source_does_not_count() -> None:
    typo = mistakes.mistakes()[0]
    traceback = 'Traceback (most recent call last):\n  File "x.py", line 1, in f\n    Conv2d()\nKeyError: 0'
    for output in (traceback, "15 | conv1: {Conv2d: 3}"):
        assert mistakes.judge(mistakes.Outcome("build", output), OURS, typo).repair is False
    assert mistakes.judge(mistakes.Outcome("build", f"{traceback}: not `Conv2d`"), OURS, typo).repair is True


def test_the_table_of_mistakes() -> None:
    results = {
        mistake.name: {OURS.name: mistakes.Outcome("check", "one\ntwo", True, True, True, bool(mistake.repair))}
        for mistake in mistakes.mistakes()
    }
    results["syntax"] = {OURS.name: mistakes.Outcome(None, "")}
    table = mistakes.rows(results, [OURS])
    assert table[0] == ["layer typo", "before the build; file, line, column, repair; 2 lines"]
    assert table[8] == ["syntax", "never"]
    assert table[-1][1] == "11 of 12; 11 with line and column; repair in 9 of 10"
    assert mistakes.markdown(["a", "b"], [["c", "d"]]) == "| a | b |\n| --- | --- |\n| c | d |"


def test_the_ways_to_a_model_with_weights(capsys: pytest.CaptureFixture[str]) -> None:
    loading.main(["--size", "tiny", "--repetitions", "2", "--threads", "1"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("tiny ")]
    assert [row[7:21].strip() for row in rows] == [loading.BUILT, loading.HAND, loading.LEAN]
    assert [len(re.findall(r"\[[\d.]+, [\d.]+\]", row)) for row in rows] == [1, 2, 2]


def test_validate_is_measured_against_the_import(capsys: pytest.CaptureFixture[str]) -> None:
    validation.main(["--repetitions", "1", "examples/mlp.yaml"])
    out = capsys.readouterr().out
    costs = {name: float(re.findall(rf"^{name} +([\d.]+)", out, re.M)[0]) for name in ("import torch", "ratio")}
    assert costs["import torch"] > 0.1
    assert costs["ratio"] > 1
    assert re.search(r"^examples/mlp\.yaml +1 +[\d.]+ s$", out, re.M)


def test_validate_of_a_wrong_file_is_no_measurement(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("confnet: 1\nSequential: [Relu]\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="unknown-layer"):
        validation.cost_of(validation.commands([str(wrong)])[validation.VALIDATE])
