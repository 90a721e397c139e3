"""The benchmarks still run, and compare what they say they compare."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmarks import forward
from confnet.api import build
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
