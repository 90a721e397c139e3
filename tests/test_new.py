"""`confnet new`: every template is valid, formatted, builds, runs and trains."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor, nn

import confnet
from confnet.cli import commands
from confnet.formatting import formatted
from confnet.templates import summary, template_names, template_text
from tests.oracle import leaves

NAMES = ("classifier", "encoder", "decoder", "unet", "gan")
INPUTS: dict[str, dict[str, Any]] = {
    "classifier": {"image": torch.randn(2, 3, 16, 16)},
    "encoder": {
        "tokens": torch.randint(0, 1000, (2, 7)),
        "padding": torch.tensor([[False] * 7, [False] * 4 + [True] * 3]),
    },
    "decoder": {"tokens": torch.randint(0, 1000, (2, 7))},
    "unet": {"image": torch.randn(2, 3, 16, 24)},
    "gan": {"z": torch.randn(2, 64)},
}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["new", *arguments])


def test_the_templates() -> None:
    assert template_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_valid_with_shapes_and_formatted(name: str) -> None:
    text = template_text(name)
    report = confnet.validate(confnet.loads(text))
    assert report.ok, str(report)
    assert not report.diagnostics, str(report)
    assert all(shapes.checked for shapes in report.shapes)
    assert formatted(text) == text
    assert text.startswith("# yaml-language-server: $schema=")
    assert max(map(len, text.splitlines())) <= 120
    assert text.count("#") > 5, "a template teaches"


@pytest.mark.parametrize("name", NAMES)
def test_trains_a_step(name: str) -> None:
    torch.manual_seed(0)
    model = confnet.build(confnet.loads(template_text(name)), seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def loss() -> Tensor:
        (result,) = leaves(model(**INPUTS[name]))
        assert result.isfinite().all()
        return loss_of(name, result)

    first = loss()
    first.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    for _ in range(5):
        optimizer.step()
        optimizer.zero_grad()
        last = loss()
        last.backward()  # type: ignore[no-untyped-call]
    assert last < first


def loss_of(name: str, result: Tensor) -> Tensor:
    if name == "gan":
        return nn.functional.binary_cross_entropy_with_logits(result, torch.ones_like(result))
    axis = -1 if name in ("classifier", "encoder", "decoder") else 1
    scores = result.movedim(axis, -1).flatten(0, -2)
    return nn.functional.cross_entropy(scores, torch.arange(len(scores)) % 2)


def test_what_the_templates_say_holds() -> None:
    decoder = confnet.build(confnet.loads(template_text("decoder")), seed=0).eval()
    tokens = torch.randint(0, 1000, (1, 6))
    changed = tokens.clone()
    changed[0, -1] += 1
    with torch.no_grad():
        assert torch.allclose(decoder(tokens)[:, :-1], decoder(changed % 1000)[:, :-1], atol=1e-6), "it looks back only"
    encoder = confnet.build(confnet.loads(template_text("encoder")), seed=0).eval()
    padding = torch.tensor([[False] * 4 + [True] * 2])
    with torch.no_grad():
        assert torch.allclose(encoder(tokens, padding), encoder(changed % 1000, padding), atol=1e-6), (
            "padding is nothing"
        )
    assert not confnet.validate(confnet.loads(template_text("decoder")), dim=30).ok
    assert confnet.build(confnet.loads(template_text("gan")), root="Generator")(torch.randn(1, 64)).shape[-1] == 32


def test_lists_what_there_is() -> None:
    result = run()
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == list(NAMES)
    assert all(summary(name) in result.stdout for name in NAMES)
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_writes_a_file_and_never_over_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("classifier", "-o", "net.yaml", "--name", "Digits").exit_code == 0
    assert re.search(r"^name: Digits$", Path("net.yaml").read_text(), re.MULTILINE)
    assert type(confnet.build("net.yaml")).__name__ == "Digits"
    refused = run("gan", "-o", "net.yaml")
    assert refused.exit_code == 2
    assert "'--force' replaces it" in refused.stderr
    assert "Digits" in Path("net.yaml").read_text()
    assert run("gan", "-o", "net.yaml", "--force").exit_code == 0
    assert "name: GAN" in Path("net.yaml").read_text()
    assert run("gan", "-o", "no/net.yaml").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["clasifier"], "did you mean 'classifier'?"),
        (["../secret"], "there is no template"),
        (["unet", "--name", "my-net"], "such as 'MyNet'"),
        (["unet", "--name", "True"], "'True' means something else"),
        (["unet", "--name", "NULL"], "'NULL' means something else"),
        (["unet", "--force"], "'--force' needs '--output'"),
        (["--name", "X"], "name a template"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
