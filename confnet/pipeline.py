"""The stages between a spec and a checked plan, in order."""

from __future__ import annotations

from confnet.check import check
from confnet.diagnostics import Collector, ConfnetError, Diagnostic
from confnet.language.evaluator import budget
from confnet.limits import DEFAULT_LIMITS, Limits
from confnet.loading import Spec
from confnet.names import check_names
from confnet.plan import Plan
from confnet.resolve import resolve
from confnet.source import Mapping, parse

__all__ = ["ARGS_FILE", "check_library", "make_plan"]

ARGS_FILE = "<args>"
"""The name, in diagnostics, of the args that a caller sets."""


def make_plan(
    spec: Spec,
    *,
    args: str = "",
    variant: str | None = None,
    root: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    record: bool = False,
) -> tuple[Plan, tuple[Diagnostic, ...]]:
    """The checked plan of a spec under `args` (YAML text), and its warnings.

    Names, values and wiring are checked together, so that one run tells every mistake of a file; raises one
    ConfnetError with all of them. With `record` the plan tells where each argument comes from.
    """
    texts = spec.texts
    found = Collector()
    given: Mapping | None = None
    if args:
        root_node = parse(args, ARGS_FILE, limits).root
        assert isinstance(root_node, Mapping), "args are written by to_text"
        given = root_node
        texts = {**texts, ARGS_FILE: args}
    try:
        check_names(spec, found)
        with budget(limits.steps):
            plan = resolve(spec, found, args=given, variant=variant, root=root, limits=limits, record=record)
        check(plan, found, limits)
    except ConfnetError as error:
        raise ConfnetError(dict.fromkeys([*found.found.values(), *error.diagnostics]), texts) from None
    found.raise_errors(texts)
    return plan, found.sorted()


def check_library(spec: Spec) -> tuple[Diagnostic, ...]:
    """Check the names of a spec that only defines modules; raises ConfnetError with every mistake."""
    found = Collector()
    try:
        check_names(spec, found)
    except ConfnetError as error:  # there are too many
        raise ConfnetError(error.diagnostics, spec.texts) from None
    found.raise_errors(spec.texts)
    return found.sorted()
