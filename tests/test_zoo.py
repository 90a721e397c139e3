"""Every architecture of examples/zoo against its reference: the same keys, outputs and gradients, for two configs."""

from __future__ import annotations

import importlib
import os
import pkgutil

import pytest

import confnet
import tests.zoo
from tests.zoo.harness import ZOO, Architecture, compare, compiles, exports
from tests.zoo.page import PAGE, facts, measure, read_facts, write_table

ARCHITECTURES: list[Architecture] = [
    importlib.import_module(f"tests.zoo.{found.name}").ARCHITECTURE
    for found in pkgutil.iter_modules(tests.zoo.__path__)
    if found.name not in ("harness", "page")
]
SLOW = frozenset({"ddpm", "googlenet", "mobilenet_v2", "regnet"})
"""Slow to compile and export, of parts that others of the zoo have as well: for `pytest -m soak`, and for the page."""
each = pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda found: found.file.removesuffix(".yaml"))
each_quick = pytest.mark.parametrize(
    "architecture",
    [
        pytest.param(found, marks=[pytest.mark.soak] if found.file.removesuffix(".yaml") in SLOW else [])
        for found in ARCHITECTURES
    ],
    ids=lambda found: found.file.removesuffix(".yaml"),
)


def test_every_file_has_a_reference() -> None:
    assert ARCHITECTURES
    assert sorted(found.path for found in ARCHITECTURES) == sorted(ZOO.glob("*.yaml"))


@pytest.mark.parametrize("config", [0, 1])
@each
def test_equal_to_the_reference(architecture: Architecture, config: int) -> None:
    compare(architecture, architecture.configs[config])


@each_quick
def test_compiles_to_one_graph(architecture: Architecture) -> None:
    if architecture.not_compiled:
        pytest.skip(architecture.not_compiled)
    compiles(architecture)


@pytest.mark.filterwarnings("ignore:The tensor attributes self.*_flat_weights")  # torch's own, about any LSTM
@each_quick
def test_exports(architecture: Architecture) -> None:
    if architecture.not_exported:
        pytest.skip(architecture.not_exported)
    exports(architecture)


@each
def test_valid_with_shapes(architecture: Architecture) -> None:
    config = architecture.configs[0]
    report = confnet.validate(architecture.path, variant=config.variant, root=config.root, args=config.args)
    assert report.ok, str(report)
    assert not report.diagnostics, str(report)
    assert all(shapes.checked for shapes in report.shapes), str(report.shapes)


@pytest.mark.filterwarnings("ignore:The tensor attributes self.*_flat_weights")
def test_the_page_tells_the_facts() -> None:
    """`CONFNET_UPDATE_ZOO=1 pytest -n 0 tests/test_zoo.py -k page` measures the table of docs/zoo.md anew."""
    if os.environ.get("CONFNET_UPDATE_ZOO"):
        write_table([measure(architecture) for architecture in ARCHITECTURES])
    told = read_facts(PAGE.read_text())
    assert sorted(told) == sorted(architecture.title for architecture in ARCHITECTURES)
    for architecture in ARCHITECTURES:
        assert told[architecture.title] == facts(architecture)
