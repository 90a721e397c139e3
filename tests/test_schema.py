"""The JSON Schema: it is fresh, and says of every file of the repository what confnet says of its form."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

import confnet
from confnet.catalog.layers import torch_layers
from confnet.catalog.registry import DEFAULT_REGISTRY
from confnet.cli import commands
from confnet.diagnostics import ConfnetError, Diagnostic
from confnet.loading import load_file
from confnet.pipeline import check_library
from confnet.schema import document_schema
from confnet.schema.calls import callee_definitions
from confnet.source import parse, plain
from tests.schema_limits import LIMITS, is_left_to_confnet
from tests.test_cases import CASES, cases
from tests.test_docs import PAGES, blocks, document

ROOT = Path(__file__).parents[1]
SCHEMA_FILE = ROOT / "schemas/confnet.schema.json"
SCHEMA: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)
EXAMPLES = sorted(
    path
    for path in (ROOT / "examples").rglob("*.yaml")
    if re.search(r"^confnet:", path.read_text("utf-8"), re.MULTILINE)
)
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
MODELINE = "# yaml-language-server: $schema="


def refusals(text: str) -> list[str]:
    """What the schema has against a text."""
    found = VALIDATOR.iter_errors(plain(parse(text, "<text>").root))
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in found]


# --- the file ---------------------------------------------------------------------------------------------------------


def test_the_schema_is_fresh_and_needs_no_torch() -> None:
    """In a process of its own: other tests register layers."""
    code = (
        "import sys; from confnet.schema import schema_text; print(schema_text(), end=''); "
        "assert 'torch' not in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=ENVIRONMENT)
    told = "run `confnet schema --force -o schemas/confnet.schema.json`"
    assert SCHEMA_FILE.read_bytes() == found.stdout, told


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def parts(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping inside a schema."""
    if isinstance(value, dict):
        yield value
        for child in value.values():
            yield from parts(child)
    elif isinstance(value, list):
        for child in value:
            yield from parts(child)


def test_it_keeps_the_rules_that_editors_need() -> None:
    """Every layer and argument is described, no argument has alternatives, and nothing has a default value."""
    schema = SCHEMA
    definitions = schema["$defs"]
    for name in torch_layers():
        assert definitions[name]["title"] == name
        assert definitions[name]["description"], name
        for argument, form in definitions[name].get("properties", {}).items():
            assert form["description"], f"{name}.{argument}"
            assert not any({"anyOf", "oneOf"} & part.keys() for part in parts(form)), f"{name}.{argument}"
    for part in parts(schema):
        assert not isinstance(part.get("default", {}), str | int | list | None), part
        assert "$ref" not in part or part["$ref"].startswith("#/$defs/"), part
    for reference in {part["$ref"] for part in parts(schema) if "$ref" in part}:
        at: Any = schema
        for step in reference.removeprefix("#/").split("/"):
            at = at[step]


@pytest.mark.parametrize(
    "key", ["document", "definition", "module", "repeat", "rule", "hook", "parameter", "buffer", "arg"]
)
def test_every_key_of_ours_is_described(key: str) -> None:
    properties = SCHEMA["$defs"][key]["properties"]
    own = {name: form for name, form in properties.items() if name not in torch_layers()}
    assert len(own) >= 4
    assert all(form["description"] for form in own.values())


# --- what is right ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_are_accepted_and_name_the_schema(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert refusals(text) == []
    first = text.partition("\n")[0]
    assert first == f"{MODELINE}{os.path.relpath(SCHEMA_FILE, path.parent)}", "the first line tells editors the schema"


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 60


@pytest.mark.parametrize("name", cases("valid"))
def test_right_cases_are_accepted(name: str) -> None:
    for path in [CASES / "valid" / f"{name}.yaml", *(CASES / "valid" / name).parent.glob("*.yaml")]:
        assert refusals(path.read_text(encoding="utf-8")) == [], path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_of_the_pages_are_accepted(page: Path) -> None:
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.language == "yaml" and not block.directives.get("invalid"):
            assert refusals(document(block)) == [], f"line {block.line}"


def test_the_blocks_that_come_with_confnet_are_accepted() -> None:
    paths = sorted((ROOT / "confnet/blocks").glob("*.yaml"))
    assert len(paths) >= 5
    for path in paths:
        assert refusals(path.read_text(encoding="utf-8")) == [], path


# --- what is wrong ----------------------------------------------------------------------------------------------------


def mistakes(name: str) -> list[Diagnostic]:
    """The mistakes of form of a case: those of the spec stage, and of names and literal arguments."""
    path = CASES / "invalid" / f"{name}.yaml"
    try:
        check_library(load_file(path, str(path)))
    except ConfnetError as error:
        return [diagnostic for diagnostic in error.diagnostics if diagnostic.severity == "error"]
    return []


@pytest.mark.parametrize("name", cases("invalid"))
def test_mistakes_of_form_are_refused(name: str) -> None:
    path = CASES / "invalid" / f"{name}.yaml"
    told = [diagnostic for diagnostic in mistakes(name) if not is_left_to_confnet(diagnostic)]
    in_file = [diagnostic for diagnostic in told if diagnostic.span and diagnostic.span.file == str(path)]
    try:
        found = refusals(path.read_text(encoding="utf-8"))
    except (ConfnetError, UnicodeDecodeError):
        return  # it is no YAML
    if found:
        assert confnet.validate(path, shapes=False).diagnostics, found
    assert bool(found) or not in_file, in_file


def test_both_kinds_of_cases_are_there() -> None:
    """So many that the schema refuses, and for every limit a case that shows it."""
    refused = 0
    shown: set[str] = set()
    for name in cases("invalid"):
        with contextlib.suppress(ConfnetError, UnicodeDecodeError):
            refused += bool(refusals((CASES / "invalid" / f"{name}.yaml").read_text(encoding="utf-8")))
        text = (CASES / "invalid" / f"{name}.txt").read_text(encoding="utf-8")
        for code, message in re.findall(r"^error\[([a-z0-9-]+)\]: (.*)$", text, re.MULTILINE):
            shown |= {
                limit.why for limit in LIMITS if re.fullmatch(limit.code, code) and re.search(limit.message, message)
            }
    ragged = "confnet: 1\nSequential: [{BCELoss: {weight: [[1, 2], [3]]}}]\n"
    assert refusals(ragged) == []
    (diagnostic,) = confnet.validate(io.StringIO(ragged), shapes=False).diagnostics
    assert is_left_to_confnet(diagnostic)
    shown.add("the lists in a list of numbers are of one length")
    assert refused >= 75
    assert {limit.why for limit in LIMITS} - shown == set()


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_prints_it() -> None:
    result = CliRunner().invoke(commands, ["schema"])
    assert result.exit_code == 0
    assert json.loads(result.output) == document_schema()


def test_the_command_writes_it_with_the_layers_of_a_plugin(tmp_path: Path) -> None:
    """In a process of its own, as what is registered stays so."""
    (tmp_path / "my_layers.py").write_text(
        "import torch\nimport confnet\n\n\n@confnet.register\nclass Scale(torch.nn.Module):\n"
        '    """Multiplies by a number.\n\n    Args:\n        factor: what to multiply by\n    """\n\n'
        "    def __init__(self, factor: float, inner: torch.nn.Module | None = None) -> None:\n"
        "        super().__init__()\n\n    def forward(self, x):\n        return x\n"
    )
    command = [sys.executable, "-m", "confnet", "schema", "--plugin", "my_layers", "-o", "own.json"]
    subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, check=True, capture_output=True)
    schema = json.loads((tmp_path / "own.json").read_text(encoding="utf-8"))
    validator = Draft202012Validator(schema)
    scale = schema["$defs"]["Scale"]
    assert scale["description"].startswith("Multiplies by a number")
    assert scale["properties"]["factor"]["description"] == "a number (required). what to multiply by"
    right: list[Any] = [{"Scale": 2}, {"Scale": [2.5, None]}, {"Scale": {"factor": 1, "inner": {"Dropout": 0.5}}}]
    assert validator.is_valid({"confnet": 1, "Sequential": right})
    wrong: list[Any] = ["Scale", {"Scale": "x"}, {"Scale": {"factr": 1}}, {"Scale": {"factor": 1, "inner": "Linear"}}]
    for module in wrong:
        assert not validator.is_valid({"confnet": 1, "Sequential": [module]}), module
    assert "Scale" not in DEFAULT_REGISTRY.layers


@pytest.mark.parametrize("name", ["at", "callees", "document", "more"])
def test_a_hook_may_have_any_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(DEFAULT_REGISTRY, "hooks", {})
    confnet.hook(lambda module, args, output: None, name=name)
    assert name in callee_definitions()["hook_call"]["properties"]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    result = CliRunner().invoke(commands, ["schema", "-o", str(tmp_path / "none" / "own.json")])
    assert result.exit_code == 2
    assert "does not exist" in result.output


def test_no_other_file_is_replaced_unasked(tmp_path: Path) -> None:
    model = tmp_path / "model.yaml"
    model.write_text("confnet: 1\nSequential: [ReLU]\n")
    result = CliRunner().invoke(commands, ["schema", "-o", str(model)])
    assert result.exit_code == 2
    assert "'--force' replaces it" in result.output
    assert model.read_text() == "confnet: 1\nSequential: [ReLU]\n"
    assert CliRunner().invoke(commands, ["schema", "-o", str(model), "--force"]).exit_code == 0
    assert '"$schema"' in model.read_text()


# --- check-jsonschema -------------------------------------------------------------------------------------------------


def test_check_jsonschema_tells_what_is_wrong_and_nothing_else(tmp_path: Path) -> None:
    """What its users run, by hand or in pre-commit."""
    place = Path(sysconfig.get_path("scripts")) / "check-jsonschema"
    program = str(place) if place.exists() else shutil.which("check-jsonschema")
    if program is None:
        pytest.skip("check-jsonschema is not installed")
    wrong = tmp_path / "net.yaml"
    wrong.write_text("confnet: 1\nSequential: [{Linear: {in_features: 3, out_features: 8, bais: true}}]\n")
    right = EXAMPLES[::12]
    command = [program, "--schemafile", str(SCHEMA_FILE), *map(str, right), str(wrong)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert "$.Sequential[0].Linear: Additional properties are not allowed ('bais' was unexpected)" in found.stdout
    assert not any(str(path) in found.stdout for path in right), found.stdout
