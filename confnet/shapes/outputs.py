"""Warnings about what is returned: it varies with sizes or with the mode, or has lost its batch."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from confnet.blueprint import modules_of
from confnet.diagnostics import Diagnostic, Note, Span
from confnet.language.code import Code
from confnet.language.forward import parse_code
from confnet.plan import Plan
from confnet.shapes.cases import Case
from confnet.shapes.diagnose import at_point
from confnet.shapes.report import ValueShape
from confnet.shapes.runs import Outcome, Value

__all__ = ["batch_apart", "differing", "reads_mode", "varying"]

SAME_FORM = frozenset(
    {
        "alpha_dropout", "batch_norm", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout",
        "scaled_dot_product_attention",
    }
)  # fmt: skip
"""Functions of torch whose result has one form, whatever mode or probability they are given."""


def reads_mode(plan: Plan) -> bool:
    """Whether any code of a plan may return something else in eval mode.

    Layers need not be asked: they never need more there. Neither does code that only hands the mode, or a number
    chosen by it, to a function whose result has the same form whatever it is.
    """
    definitions = [module.definition for module in modules_of(plan) if module.definition is not None]
    code = {method.code for definition in definitions for method in definition.methods.values()}
    code |= {hook.code for module in modules_of(plan) for hook in module.hooks if hook.code is not None}
    return any(_asks_for_the_mode(piece) for piece in code)


@lru_cache(maxsize=1024)
def _asks_for_the_mode(code: Code) -> bool:
    if "training" not in code.text:
        return False
    body = ast.Module(list(parse_code(code).body), [])
    harmless = {
        id(node)
        for call in ast.walk(body)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in SAME_FORM
        for argument in (*call.args, *call.keywords)
        for node in ast.walk(argument)
    }
    # `p = rate if training else 0.0`, where `p` goes nowhere else.
    for step in ast.walk(body):
        if isinstance(step, ast.Assign) and isinstance(step.value, ast.IfExp) and isinstance(step.targets[0], ast.Name):
            reads = [node for node in _names(body, step.targets[0].id) if isinstance(node.ctx, ast.Load)]
            if len(step.targets) == 1 and all(id(node) in harmless for node in reads):
                harmless |= {id(node) for node in ast.walk(step.value.test)}
    asked = [
        *_names(body, "training"),
        *(n for n in ast.walk(body) if isinstance(n, ast.Attribute) and n.attr == "training"),
    ]
    return any(id(node) not in harmless for node in asked)


def _names(body: ast.AST, name: str) -> Iterator[ast.Name]:
    return (node for node in ast.walk(body) if isinstance(node, ast.Name) and node.id == name)


def differing(trained: Sequence[Outcome], in_eval: Sequence[Outcome], place: Span) -> Iterator[Diagnostic]:
    """A warning where what is returned in eval mode has another shape or dtype than in train mode.

    Another number of items is meant: a model that returns more while it is trained says so in its code.
    """
    for one, other in zip(trained, in_eval, strict=False):
        same_form = [value.name for value in one.outputs] == [value.name for value in other.outputs]
        if same_form and one.outputs != other.outputs:
            message = "what is returned in eval mode is not what is returned in train mode"
            in_train = f"in train mode: {_with_dtypes(one.outputs)}; this is what the report tells"
            yield _varies(message, place, in_train, f"in eval mode: {_with_dtypes(other.outputs)}")
            return


def varying(outcomes: Sequence[Outcome], place: Span) -> Iterator[Diagnostic]:
    """A warning where the number of dimensions of an output, or its items, depend on sizes."""
    first = outcomes[0]
    for other in outcomes[1:]:
        forms = [[(value.name, len(value.shape)) for value in outcome.outputs] for outcome in (first, other)]
        if forms[0] != forms[1]:
            shown = [f"{at_point(outcome.point)}: {_listed(outcome.outputs)}" for outcome in (first, other)]
            yield _varies("the form of what is returned depends on sizes", place, *shown)
            return


def _varies(message: str, place: Span, *proof: str) -> Diagnostic:
    return Diagnostic("shape-varies", message, span=place, severity="warning", notes=tuple(map(Note, proof)))


def batch_apart(
    case: Case, outcomes: Sequence[Outcome], outputs: Sequence[ValueShape], place: Span
) -> Iterator[Diagnostic]:
    """An output that has another first size than the inputs have, and their batch inside another size."""
    firsts = {contract.shape[0].text if contract.shape else "" for contract in case.tensors()}
    batch = next(iter(firsts)) if len(firsts) == 1 else ""
    if batch not in case.symbols:
        return
    word = re.compile(rf"\b{re.escape(batch)}\b")
    for shape in outputs:
        first, *others = shape.sizes or ("",)
        if not isinstance(first, int) or batch in others or not any(word.search(str(size)) for size in others):
            continue
        proof = [f"{at_point(outcome.point)} it is {_listed(outcome.outputs)}" for outcome in outcomes[:2]]
        named = "the output" if shape.name == "output" else f"the output `{shape.name}`"
        yield Diagnostic(
            "fixed-size",
            f"{named} is `{shape.text}`: its first size is {first} whatever `{batch}` is",
            span=place,
            severity="warning",
            notes=tuple(map(Note, proof)),
            help=f"write `{batch}`'s own value, such as `x.shape[0]`, in the place of {first}",
        )


def _listed(values: Iterable[Value]) -> str:
    return ", ".join(f"`{list(value.shape)}`" for value in values) or "no tensor"


def _with_dtypes(values: Iterable[Value]) -> str:
    return ", ".join(f"`{value.dtype}` of `{list(value.shape)}`" for value in values) or "no tensor"
