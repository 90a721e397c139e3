"""Every architecture of examples/zoo against its reference: the same keys, outputs and gradients, for two configs."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import pytest
import torch

import confnet
import tests.zoo
from tests.zoo.harness import ZOO, Architecture, compare, twins

ARCHITECTURES: list[Architecture] = [
    importlib.import_module(f"tests.zoo.{found.name}").ARCHITECTURE
    for found in pkgutil.iter_modules(tests.zoo.__path__)
    if found.name != "harness"
]
each = pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda found: found.file.removesuffix(".yaml"))


def test_every_file_has_a_reference() -> None:
    assert ARCHITECTURES
    assert sorted(found.path for found in ARCHITECTURES) == sorted(ZOO.glob("*.yaml"))


@pytest.mark.parametrize("config", [0, 1])
@each
def test_equal_to_the_reference(architecture: Architecture, config: int) -> None:
    compare(architecture, architecture.configs[config])


@each
def test_compiles_to_one_graph(architecture: Architecture) -> None:
    if architecture.not_compiled:
        pytest.skip(architecture.not_compiled)
    torch._dynamo.reset()
    config = architecture.configs[0]
    model, _ = twins(architecture, config)
    torch.manual_seed(1)
    inputs = config.inputs()
    compiled: Any = torch.compile(model.eval(), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(**inputs), model(**inputs))


@pytest.mark.filterwarnings("ignore:The tensor attributes self.*_flat_weights")  # torch's own, about any LSTM
@each
def test_exports(architecture: Architecture) -> None:
    if architecture.not_exported:
        pytest.skip(architecture.not_exported)
    config = architecture.configs[0]
    model, _ = twins(architecture, config)
    torch.manual_seed(1)
    inputs = config.inputs()
    exported = torch.export.export(model.eval(), (), kwargs=inputs)
    torch.testing.assert_close(exported.module()(**inputs), model(**inputs))


@each
def test_valid_with_shapes(architecture: Architecture) -> None:
    config = architecture.configs[0]
    report = confnet.validate(architecture.path, variant=config.variant, root=config.root, args=config.args)
    assert report.ok, str(report)
    assert not report.diagnostics, str(report)
    assert all(shapes.checked for shapes in report.shapes), str(report.shapes)
