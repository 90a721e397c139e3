"""The scripts of `examples/sweeps`: each really drives forty variants of one file."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SWEEPS = ROOT / "examples/sweeps"


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a script as it imports its neighbours."""
    monkeypatch.syspath_prepend(str(SWEEPS))
    yield importlib.import_module
    for name in ("trial", "plain", "optuna_study"):
        sys.modules.pop(name, None)


def parameters(depth: int, width: int, activation: str) -> int:
    """Counted by hand: the first layer, the others, the head, and one slope for each PReLU."""
    layers = 16 * width + width + (depth - 1) * (width * width + width) + width * 4 + 4
    return layers + (depth if activation == "PReLU" else 0)


EXPECTED = {
    (depth, width, activation): parameters(depth, width, activation)
    for depth, width, activation in itertools.product((1, 2, 3, 4, 5), (8, 10, 12, 16), ("ReLU", "PReLU"))
}


def check(found: list[tuple[dict[str, Any], int, float]]) -> None:
    """Forty variants, of the sizes that they should have, and no two of one size; all learn something."""
    assert len(found) == len(EXPECTED) == len(set(EXPECTED.values())) == 40
    assert {(a["depth"], a["width"], a["activation"]): count for a, count, _ in found} == EXPECTED
    losses = {loss for _, _, loss in found}
    assert len(losses) == 40
    assert min(losses) < 1.0 < max(losses) < 1.6


def test_plain_python(scripts: Any) -> None:
    check([(result.args, result.parameters, result.loss) for result in scripts("plain").sweep()])


def test_a_variant_that_the_file_does_not_allow(scripts: Any) -> None:
    from confnet import ConfnetError

    with pytest.raises(ConfnetError) as caught:
        scripts("trial").run({"depth": 0})
    assert [d.code for d in caught.value.diagnostics] == ["invalid-value"]


def test_optuna(scripts: Any) -> None:
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = scripts("optuna_study").study()
    assert {trial.state for trial in study.trials} == {optuna.trial.TrialState.COMPLETE}
    check([(trial.params, trial.user_attrs["parameters"], trial.value) for trial in study.trials])
    module = scripts("optuna_study")
    module.GRID["depth"] = [0]
    refused = optuna.create_study()
    refused.optimize(module.objective, n_trials=1)
    assert [trial.state for trial in refused.trials] == [optuna.trial.TrialState.PRUNED]


def hydra(*words: str) -> None:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, str(SWEEPS / "hydra_app.py"), *words]
    subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})


def results(folder: Path) -> list[tuple[dict[str, Any], int, float]]:
    texts = [path.read_text(encoding="utf-8") for path in folder.glob("**/result.json")]
    return [(found["args"], found["parameters"], found["loss"]) for found in map(json.loads, texts)]


def test_hydra_multirun(tmp_path: Path) -> None:
    pytest.importorskip("hydra")
    hydra("--multirun", f"hydra.sweep.dir={tmp_path}")
    check(results(tmp_path))


def test_hydra_sets_a_module_with_arguments(tmp_path: Path) -> None:
    pytest.importorskip("hydra")
    hydra("args.activation={LeakyReLU: 0.1}", "args.depth=3", f"hydra.run.dir={tmp_path}")
    ((args, count, _),) = results(tmp_path)
    assert args == {"depth": 3, "width": 8, "activation": {"LeakyReLU": 0.1}}
    assert count == parameters(3, 8, "ReLU")
