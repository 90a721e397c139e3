"""The fuzzer without its guide: a few hundred inputs, and everything that it found before.

The long run, which atheris guides by coverage, is `python -m tests.fuzz`; a finding becomes a file of
`tests/fuzz/found`.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

import confnet
from tests.fuzz import trial as trials
from tests.fuzz.mutations import KINDS, Mutator, seeds, soup
from tests.fuzz.trial import SECONDS, Tally, stage_of, trial

FOUND = sorted((Path(__file__).parent / "fuzz" / "found").glob("*.yaml"))
SLACK = float(os.environ.get("CONFNET_TEST_SLACK", "2"))
"""How much slower than a quiet machine this one may be."""


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_what_was_found_before(path: Path) -> None:
    start = time.process_time()
    assert trial(path.read_bytes(), "plan") in ("ok", "refused")
    assert time.process_time() - start < SECONDS * SLACK


def test_everything_found_is_tried() -> None:
    assert len(FOUND) > 10


def test_mutations_end_in_a_diagnostic(tmp_path: Path) -> None:
    """Every kind of mutation, of the repository's own files."""
    texts = seeds(1_000)
    assert len(texts) > 150
    mutator, random, tally = Mutator(texts), Random(7), Tally.resumed(tmp_path)
    for index in range(400):
        kind = KINDS[index % len(KINDS)]
        data = mutator.mutate(random.choice(texts), random, kind, 1_500)
        if stage_of(data) != "torch":  # tests/test_shapes.py and others run torch enough
            tally.run(data, kind)
    assert tally.inputs > 350
    assert not tally.counts["raised"], [path.read_text() for path in (tmp_path / "found").glob("*.txt")]
    assert tally.counts["ok"] > 10
    assert tally.counts["refused"] > 100


def test_mutations_are_what_their_seed_says() -> None:
    """So that a finding is made again."""
    texts = seeds(500)
    made = [Mutator(texts).mutate(texts[5], Random(3), kind, 500) for kind in KINDS for _ in range(2)]
    assert made[::2] == made[1::2]
    assert len(set(made)) == len(KINDS)
    assert all(0 < len(data) <= 500 for data in made)
    assert len({soup(Random(seed), 30) for seed in range(20)}) == 20


def test_every_stage_takes_inputs() -> None:
    stages = Counter(stage_of(str(number).encode()) for number in range(2_000))
    assert stages["torch"] > 5
    assert stages["file"] > 30
    assert stages["plan"] > 1_500
    for stage in ("plan", "torch", "file"):
        assert trial(b"confnet: 1\nSequential: [ReLU]\n", stage) == "ok"
        assert trial(b"confnet: 1\nSequential: [ReLu]\n", stage) == "refused"
        assert trial(b"\xff\xfe\x00: \x81", stage) == "refused"


def test_findings_are_kept_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(text: str) -> confnet.Spec:
        raise KeyError(text)

    monkeypatch.setattr(trials, "stage_of", lambda data: "plan")
    monkeypatch.setattr(confnet, "loads", load)
    tally = Tally.resumed(tmp_path)
    for data in (b"a", b"b"):
        tally.run(data, "bytes")
    (kept,) = (tmp_path / "found").glob("*.yaml")
    assert kept.read_bytes() == b"a"
    assert "KeyError" in kept.with_suffix(".txt").read_text(encoding="utf-8")
    tally.save()
    again = Tally.resumed(tmp_path)
    assert (again.inputs, again.counts["raised"]) == (2, 2)


def test_slow_inputs_are_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "SECONDS", -1.0)
    tally = Tally.resumed(tmp_path)
    tally.run(b"confnet: 1\n", "bytes")
    assert tally.counts["slow"] == 1
