"""The table of docs/zoo.md: every cell of it is measured here."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import confnet
from tests.zoo.harness import Architecture, compare, compiles, exports, lines_of_python, lines_of_yaml

__all__ = ["PAGE", "Facts", "Row", "facts", "measure", "read_facts", "write_table"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "zoo.md"

_BEGIN, _END = "<!-- table: written by tests/test_zoo.py -->", "<!-- end of table -->"
_HEAD = (
    "| architecture | reference | variants | parameters | lines: YAML / Python | keys | outputs | gradients "
    "| compile | export | validate, s |"
)


@dataclass(frozen=True, eq=False)
class Facts:
    """What is the same on every machine: the file, its variants, parameters (as the file is), and lines of both.

    The lines of `transformers` change with its versions: they are told, not compared.
    """

    file: str
    reference: str
    variants: int
    parameters: str
    yaml: int
    python: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Facts) and self._fixed() == other._fixed()

    def __hash__(self) -> int:
        return hash(self._fixed())

    def _fixed(self) -> tuple[object, ...]:
        python = None if self.reference.startswith("transformers") else self.python
        return self.file, self.reference, self.variants, self.parameters, self.yaml, python


@dataclass(frozen=True)
class Row:
    """One architecture, measured."""

    title: str
    facts: Facts
    outputs: float
    gradients: float
    compiled: str
    exported: str
    seconds: float

    def __str__(self) -> str:
        f = self.facts
        cells = [
            f"[{self.title}](../examples/zoo/{f.file})",
            f.reference,
            str(f.variants),
            f.parameters,
            f"{f.yaml} / {f.python}",
        ]
        measured = [f"{self.outputs:.0e}", f"{self.gradients:.0e}", self.compiled, self.exported, f"{self.seconds:.1f}"]
        return "| " + " | ".join([*cells, "equal", *measured]) + " |"


def facts(architecture: Architecture) -> Facts:
    """What the page tells of an architecture that is the same on every machine."""
    spec = confnet.load(architecture.path)
    variants = [variant.name for variant in spec.document.variants]
    required = any(not arg.has_default for arg in spec.document.args)
    root = None if spec.document.root is not None else architecture.configs[0].root
    model = confnet.build(spec, variant=variants[0] if required and variants else None, root=root, device="meta")
    parameters = f"{sum(parameter.numel() for parameter in model.parameters()):,}"
    yaml, python = lines_of_yaml(architecture.path), lines_of_python(architecture.python)
    return Facts(architecture.file, architecture.reference, len(variants), parameters, yaml, python)


def measure(architecture: Architecture) -> Row:
    """Compare both configs, compile, export and validate (all variants at full size; processor seconds)."""
    compared = [compare(architecture, config) for config in architecture.configs]
    if not architecture.not_compiled:
        compiles(architecture)
    if not architecture.not_exported:
        exports(architecture)
    start = time.process_time()
    report = confnet.validate(architecture.path)
    seconds = time.process_time() - start
    assert report.ok, str(report)
    return Row(
        architecture.title,
        facts(architecture),
        max(item.outputs for item in compared),
        max(item.gradients for item in compared),
        "no" if architecture.not_compiled else "yes",
        "no" if architecture.not_exported else "yes",
        seconds,
    )


def write_table(rows: list[Row]) -> None:
    """Put the measured rows into the page."""
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    rule = "|" + "---|" * (_HEAD.count("|") - 1)
    table = "\n".join([_HEAD, rule, *(str(row) for row in sorted(rows, key=lambda row: row.title.lower()))])
    PAGE.write_text(f"{before}{_BEGIN}\n{table}\n{_END}{after}")


def read_facts(page: str) -> dict[str, Facts]:
    """The facts of the page by architecture."""
    table = page.partition(_BEGIN)[2].partition(_END)[0].strip().splitlines()[2:]
    found: dict[str, Facts] = {}
    for line in table:
        name, reference, variants, parameters, lines, *_ = (cell.strip() for cell in line.strip("|").split("|"))
        title, _, file = name.lstrip("[").removesuffix(")").partition("](../examples/zoo/")
        yaml, python = map(int, lines.split(" / "))
        found[title] = Facts(file, reference, int(variants), parameters, yaml, python)
    return found
