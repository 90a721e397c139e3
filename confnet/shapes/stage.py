"""The stage: a plan's model is run in every way that its contract allows, and what came of it is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from confnet.blueprint import Blueprint
from confnet.builder import Built
from confnet.diagnostics import Collector, Diagnostic
from confnet.plan import Contract, Plan
from confnet.shapes.assumed import blamed
from confnet.shapes.cases import Unchecked, cases_of
from confnet.shapes.memory import Memory
from confnet.shapes.report import Condition, ShapeReport
from confnet.shapes.runs import Runner
from confnet.shapes.trial import Trial

__all__ = ["check_shapes", "contract_of"]

MAX_ASSUMED = 8
"""So many definitions that fail are told of at once."""


def check_shapes(
    plan: Plan, blueprint: Blueprint, make: Callable[[], Built], memory: Memory | None = None
) -> tuple[ShapeReport, tuple[Diagnostic, ...]]:
    """Run the model of a checked plan on meta, and report its shapes and what is wrong with them.

    `make` gives the model, built on meta; it is called again where a model changes by running. The report is
    unchecked, with the reason, where the file does not say what the model takes or torch cannot follow a step.
    `memory` may be shared between the checks of like models.
    """
    contract, reason = contract_of(plan)
    if contract is None:
        return _as_chosen(ShapeReport(False, reason), blueprint), ()
    shared = memory or Memory()
    runner = Runner(make, blueprint, shared)
    try:
        cases = cases_of(contract.inputs or (), runner.built.module)
    except Unchecked as error:
        return _as_chosen(ShapeReport(False, str(error)), blueprint), ()
    found = Collector()
    reports: list[ShapeReport] = []
    with shared.running(len(runner.places.names)):
        for case in cases:
            trial = Trial(runner, case, plan, first=not reports)
            report, diagnostics = trial.result()
            for diagnostic in diagnostics:
                found.report(diagnostic)
            if report is not None:
                reports.append(report)
            if found.has_errors:
                _go_on(trial, runner, found)
                break
    if not reports:
        reports = [ShapeReport(False, "no way to call it could be found")]
    return _as_chosen(_joined(reports), blueprint), found.sorted()


def _go_on(trial: Trial, runner: Runner, found: Collector) -> None:
    """Look for more mistakes behind the first: a definition that fails is taken to keep its contract."""
    memory, runner.memory = runner.memory, runner.memory.afresh()  # what comes of an assumption is not remembered
    while len(runner.assumed) < MAX_ASSUMED and trial.failed is not None and trial.failed.failure is not None:
        failure = trial.failed.failure
        identity = blamed(failure.error, failure.steps, runner.built.places, runner.built.module)
        if identity is None or identity in runner.assumed:
            break
        runner.assumed.add(identity)
        trial = Trial(runner, trial.case, trial.plan, first=not trial.label)
        _, diagnostics = trial.result()
        for diagnostic in diagnostics:
            # Of dtypes a contract may say nothing, and warnings are about sizes that nobody knows now.
            if diagnostic.severity == "error" and diagnostic.code != "dtype-mismatch":
                found.report(diagnostic)
    runner.memory = memory


def contract_of(plan: Plan) -> tuple[Contract | None, str]:
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
