"""The documentation as a site: its hooks, and that nothing public is left out. `.ci/run` builds it, links checked."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

import confnet
from docs.images import zoo_pictures as zoo

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs/site/hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_api_page_has_every_public_name() -> None:
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    told = {line.rpartition(".")[2] for line in re.findall(r"^::: (\S+)$", page, re.MULTILINE)}
    assert told == set(confnet.__all__) - {"__version__"}


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert pages - set(re.findall(r"[\w/-]+\.md", navigation)) == set()


@pytest.mark.parametrize(
    ("page", "written", "on_the_site"),
    [
        ("index.md", "[a](docs/language.md#-values)", "[a](language.md#values)"),
        ("index.md", "![a](docs/images/error.svg)", "![a](images/error.svg)"),
        ("index.md", "[a](CHANGELOG.md)", "[a](changelog.md)"),
        ("errors.md", "[`a`](../confnet/explain/unknown-layer.md)", "[`a`](errors/unknown-layer.md)"),
        ("zoo.md", "[a](../examples/zoo/t5.yaml)", "[a](examples/zoo/t5.md)"),
        ("anatomy.md", "[`examples`](../examples/anatomy)", "`examples`"),
        ("language.md", "[a](https://pytorch.org) [b](#hooks)", "[a](https://pytorch.org) [b](#hooks)"),
        ("language.md", "```yaml\n[a](../CHANGELOG.md)\n```\n", "```yaml\n[a](../CHANGELOG.md)\n```\n"),
        ("language.md", "[a](nothing.md)", "[a](nothing.md)"),
    ],
)
def test_links_lead_to_the_pages_of_the_site(hooks: ModuleType, page: str, written: str, on_the_site: str) -> None:
    assert hooks.rewritten(written, page) == on_the_site


def test_examples_are_pages(hooks: ModuleType) -> None:
    text = hooks.content("examples/mlp.yaml")
    assert text.startswith("# mlp.yaml\n")
    assert (ROOT / "examples/mlp.yaml").read_text(encoding="utf-8").rstrip() in text


@pytest.mark.parametrize("path", zoo.files(), ids=lambda path: path.stem)
def test_pictures_of_the_zoo_are_fresh(path: Path) -> None:
    text = (zoo.PICTURES / f"{path.stem}.svg").read_text(encoding="utf-8")
    assert zoo.mark(path) in text, "run python -m docs.images.zoo_pictures"
    ElementTree.fromstring(text)
