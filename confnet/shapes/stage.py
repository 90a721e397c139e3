"""The stage: a plan's model is run in every way that its contract allows, and what came of it is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from confnet.blueprint import Blueprint
from confnet.builder import Built
from confnet.diagnostics import Collector, Diagnostic
from confnet.plan import Contract, Plan
from confnet.shapes.cases import Unchecked, cases_of
from confnet.shapes.recorder import Memory
from confnet.shapes.report import Condition, ShapeReport
from confnet.shapes.runs import Runner
from confnet.shapes.trial import Trial

__all__ = ["check_shapes"]


def check_shapes(
    plan: Plan, blueprint: Blueprint, make: Callable[[], Built], memory: Memory | None = None
) -> tuple[ShapeReport, tuple[Diagnostic, ...]]:
    """Run the model of a checked plan on meta, and report its shapes and what is wrong with them.

    `make` gives the model, built on meta; it is called again where a model changes by running. The report is
    unchecked, with the reason, where the file does not say what the model takes or torch cannot follow a step.
    `memory` may be shared between the checks of like models.
    """
    contract, reason = _contract(plan)
    if contract is None:
        return _as_chosen(ShapeReport(False, reason), blueprint), ()
    runner = Runner(make, blueprint, memory or Memory())
    try:
        cases = cases_of(contract.inputs or (), runner.built.module)
    except Unchecked as error:
        return _as_chosen(ShapeReport(False, str(error)), blueprint), ()
    found = Collector()
    reports: list[ShapeReport] = []
    for case in cases:
        report, diagnostics = Trial(runner, case, plan, first=not reports).result()
        for diagnostic in diagnostics:
            found.report(diagnostic)
        if report is not None:
            reports.append(report)
        if found.has_errors:
            break
    if not reports:
        reports = [ShapeReport(False, "no way to call it could be found")]
    return _as_chosen(_joined(reports), blueprint), found.sorted()


def _contract(plan: Plan) -> tuple[Contract | None, str]:
    """The contract of the model's forward; None and the reason where it cannot be run."""
    root = plan.root
    contract = root.contracts.get("forward")
    if root.definition is None:
        return None, "the model has no inputs of its own"
    if "forward" not in root.definition.methods and root.base in ("Module", "ModuleList", "ModuleDict"):
        return None, "it has no forward"
    if contract is None or contract.inputs is None:
        return None, "no `inputs` are declared"
    return contract, ""


def _joined(reports: list[ShapeReport]) -> ShapeReport:
    """The first report, with the conditions of all; unchecked if any is."""
    unchecked = next((report for report in reports if not report.checked), None)
    if unchecked is not None:
        return unchecked
    conditions: dict[str, Condition] = {}
    for report in reports:
        for condition in report.conditions:
            conditions.setdefault(condition.text, condition)
    return replace(reports[0], conditions=tuple(conditions.values()))


def _as_chosen(report: ShapeReport, blueprint: Blueprint) -> ShapeReport:
    return replace(report, variant=blueprint.variant, root=blueprint.root)
