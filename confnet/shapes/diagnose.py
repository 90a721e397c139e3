"""Failures of a forward as diagnostics: the line, the shapes that met there, and where each came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from confnet.builder.guard import TooLong
from confnet.diagnostics import Diagnostic, Note, Span
from confnet.shapes.forms import Forms
from confnet.shapes.matching import ContractError
from confnet.shapes.operands import OperandError, tensors_in
from confnet.shapes.recorder import IndexRangeError
from confnet.shapes.runs import Failure, Outcome, Runner
from confnet.shapes.steps import Step, chain, culprit

__all__ = ["Texts", "at_point", "diagnose", "summary_of", "unfollowed"]

_OPERATORS = {
    "add": "+",
    "__add__": "+",
    "__radd__": "+",
    "__iadd__": "+=",
    "add_": "+=",
    "sub": "-",
    "__sub__": "-",
    "__rsub__": "-",
    "__isub__": "-=",
    "mul": "*",
    "__mul__": "*",
    "__rmul__": "*",
    "__imul__": "*=",
    "div": "/",
    "__truediv__": "/",
    "__rtruediv__": "/",
    "__matmul__": "@",
    "__rmatmul__": "@",
    "__getitem__": "[]",
    "__setitem__": "[]",
    "pow": "**",
    "__pow__": "**",
    "__and__": "&",
    "__or__": "|",
}
_LONGEST_MESSAGE = 160


class Texts:
    """Shapes as text: in symbolic sizes where one expression fits the shapes of all given runs."""

    def __init__(self, symbols: Iterable[str], outcomes: Sequence[Outcome]) -> None:
        self.outcomes = list(outcomes)
        self.forms = Forms(symbols, [outcome.point for outcome in outcomes])
        self.enough = len({tuple(outcome.point.items()) for outcome in outcomes}) > 2

    def shape(self, shapes: Sequence[tuple[int, ...]]) -> str:
        """The text of a shape that one value had in each of the runs."""
        first = shapes[0]
        if not self.enough or len(shapes) != len(self.outcomes) or len({len(shape) for shape in shapes}) > 1:
            return _listed(first)
        sizes = []
        for index, size in enumerate(first):
            form = self.forms.find([shape[index] for shape in shapes])
            sizes.append(form.text if form is not None else str(size))
        return _listed(sizes)


def _listed(sizes: Iterable[object]) -> str:
    return f"[{', '.join(map(str, sizes))}]"


def at_point(point: Mapping[str, int]) -> str:
    """`at B = 3, H = 5`; nothing where no size is open."""
    return "at " + ", ".join(f"{symbol} = {value}" for symbol, value in point.items()) if point else ""


def diagnose(
    runner: Runner, outcomes: Sequence[Outcome], symbols: Sequence[str], fallback: Span, label: str
) -> Diagnostic:
    """The diagnostic of runs that fail alike. They are traced runs; the first is shown where numbers are needed."""
    failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
    first, point = failures[0], outcomes[0].point
    texts = Texts(symbols, outcomes)
    if isinstance(first.error, ContractError):
        made = _contract(runner, failures, outcomes, texts, first.error, fallback)
    else:
        made = _refusal(runner, failures, texts, fallback, point)
    notes = list(made.notes)
    if label:
        notes.append(Note(f"this is with {label}"))
    if not outcomes[0].training:
        notes.append(Note("this is in eval mode"))
    return replace(made, notes=tuple(notes))


def unfollowed(outcome: Outcome, fallback: Span) -> Diagnostic:
    """The warning of a step that depends on values, which tensors without data do not have."""
    assert outcome.failure is not None
    shown, around = culprit(outcome.failure.steps)
    call = outcome.failure.call
    if isinstance(outcome.failure.error, TooLong):  # only because it is tried
        bound = outcome.failure.error.diagnostics[0]
        return Diagnostic(
            "shapes-unchecked",
            f"shapes are unchecked: {bound.message}",
            span=bound.span or fallback,
            notes=bound.notes,
            severity="warning",
            help="see that it fits by a test of your own",
        )
    what = (
        f"`{_function(call[0])}` depends on the values of tensors"
        if call is not None
        else "this step depends on the values of tensors"
    )
    return Diagnostic(
        "shapes-unchecked",
        f"{what}, so that shapes are unchecked from here on",
        span=shown.span if shown else fallback,
        notes=tuple(chain(around)),
        severity="warning",
        help="see that it fits by a test of your own",
    )


def summary_of(failure: Failure) -> str:
    """A failure in a few words."""
    if isinstance(failure.error, ContractError):
        return _contract_message(failure.error)
    return _message(failure, [_listed(tensor.shape) for tensor in _operands(failure)], _words(failure))


# --- what torch refuses ---------------------------------------------------------------------------------------------


def _refusal(
    runner: Runner, failures: Sequence[Failure], texts: Texts, fallback: Span, point: Mapping[str, int]
) -> Diagnostic:
    first = failures[0]
    shown, around = culprit(first.steps)
    subject = _subject(first)
    operands = _operands(first)
    met = [[tuple(t.shape) for t in _operands(failure)] for failure in failures]
    written = [
        texts.shape([shapes[index] for shapes in met if len(shapes) == len(operands)]) for index in range(len(operands))
    ]
    notes = _sources(runner, first, operands, written)
    if subject is not None and shown is not None and subject.span != shown.span:
        notes.append(Note(f"`{subject.name}` is made", subject.span))
    words = _words(first)
    if not isinstance(first.error, OperandError):
        where = f" {at_point(point)}" if point else ""
        notes.append(
            Note(f"torch says{where}: {words}" if operands else f"raised{where}: {type(first.error).__name__}")
        )
    notes += chain(around)
    code = "shape-mismatch"
    if isinstance(first.error, IndexRangeError):
        code = "index-out-of-range"
    elif (isinstance(first.error, OperandError) and "dtype" in words) or "floating-point" in words:
        code = "dtype-mismatch"
    elif not operands:
        code = "forward-fails"
    message = _message(first, written, words)
    return Diagnostic(code, message, span=shown.span if shown else fallback, notes=tuple(notes))


def _message(failure: Failure, written: Sequence[str], words: str) -> str:
    met = " and ".join(f"`{text}`" for text in dict.fromkeys(written))
    subject = _subject(failure)
    if subject is not None:
        who = subject.what
    elif failure.call is not None:
        who = f"`{_function(failure.call[0])}`"
    else:
        return f"this step fails: {words}"
    if isinstance(failure.error, OperandError):
        return f"{who} cannot take {met}: {words}" if met else f"{who} fails: {words}"
    return f"{who} cannot take {met}" if met else f"{who} fails: {words}"


def _subject(failure: Failure) -> Step | None:
    """The call of the module that refused, None where the code itself did."""
    last = failure.steps[-1] if failure.steps else None
    return last if last is not None and last.module is not None else None


def _operands(failure: Failure) -> list[torch.Tensor]:
    last = failure.steps[-1] if failure.steps else None
    if last is not None and last.module is not None:
        return tensors_in(last.args)
    if failure.call is None:
        return []
    return tensors_in((*failure.call[1], *failure.call[2].values()))


def _sources(runner: Runner, failure: Failure, operands: Sequence[torch.Tensor], written: Sequence[str]) -> list[Note]:
    """Where the operands came from."""
    notes: dict[Note, None] = {}
    for tensor, text in zip(operands, written, strict=True):
        note = _source(runner, failure, tensor, text)
        if note is not None:
            notes[note] = None
    return list(notes)


def _source(runner: Runner, failure: Failure, tensor: torch.Tensor, text: str) -> Note | None:
    name = failure.inputs.get(id(tensor))
    if name is not None:
        plan = runner.places.plan(runner.built.module)
        contract = plan.contracts.get("forward") if plan is not None else None
        span = next((item.span for item in (contract.inputs if contract else None) or () if item.name == name), None)
        return Note(f"`{text}` is the input `{name}`", span)
    origin = failure.origins.get(id(tensor))
    if origin is not None:
        return Note(f"`{text}` comes from here", origin.span)
    for module, plan in runner.built.places.items():
        for kind, table, plans in (
            ("parameter", module._parameters, plan.parameters),
            ("buffer", module._buffers, plan.buffers),
        ):
            for key, value in table.items():
                if value is tensor:
                    made: Any = plans.get(key)
                    return Note(f"`{text}` is the {kind} `{key}`", made.span if made is not None else plan.span)
    return None


def _function(name: str) -> str:
    return _OPERATORS.get(name, name.strip("_"))


def _words(failure: Failure) -> str:
    """The text of an error on one line."""
    error = failure.error
    if isinstance(error, AssertionError) and failure.call is None and _subject(failure) is None:
        return f"the assertion does not hold: {error}" if str(error) else "the assertion does not hold"
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 3] + "..."


# --- contracts ------------------------------------------------------------------------------------------------------


def _contract(
    runner: Runner,
    failures: Sequence[Failure],
    outcomes: Sequence[Outcome],
    texts: Texts,
    first: ContractError,
    fallback: Span,
) -> Diagnostic:
    errors = [failure.error for failure in failures if isinstance(failure.error, ContractError)]
    owner = first.owner
    label = type(owner).__name__
    shown, around = (
        _caller(failures[0].steps, owner, method=first.method)
        if not first.output or owner is not runner.built.module
        else (None, [])
    )
    message, place = _contract_message(first), first.contract.span
    fixed = False
    notes: list[Note] = []
    if first.shape is not None:
        shapes = [error.shape for error in errors if error.shape is not None]
        text = texts.shape(shapes)
        side = "returned" if first.output else "given"
        if first.size is not None and first.expected is not None:
            size = (first.contract.shape or first.contract.item or ())[first.size]
            known = (
                f"`{size.text}`"
                if size.symbols or size.text == str(first.expected)
                else f"`{size.text}` ({first.expected})"
            )
            what = "output" if first.output else "input"
            promise = f"its contract says {known} for dimension {first.size}"
            message = f"the {what} `{first.contract.name}` of `{label}` is `{text}`, and {promise}"
            place = size.span
            fixed = _is_fixed(errors, first, size.symbols)
            if size.symbols:
                notes.append(_proof(errors, outcomes, first.size))
        else:
            message = f"{message} (`{text}` is {side})"
    code = "fixed-size" if fixed else "contract-mismatch"
    if shown is not None:
        notes.insert(0, Note(f"the contract of `{label}`", place))
        return Diagnostic(code, message, span=shown.span, notes=(*notes, *chain(around)))
    return Diagnostic(code, message, span=place, notes=tuple(notes))


def _contract_message(error: ContractError) -> str:
    text = str(error)
    if error.size is not None and error.shape is not None:
        size = (error.contract.shape or error.contract.item or ())[error.size]
        return f"{text} has {error.shape[error.size]} where its contract says `{size.text}`"
    return text


def _is_fixed(errors: Sequence[ContractError], first: ContractError, symbols: tuple[str, ...]) -> bool:
    """Whether a size stays the same while the contract makes it move."""
    assert first.size is not None
    actual = {error.shape[first.size] for error in errors if error.shape is not None and error.size == first.size}
    wanted = {error.expected for error in errors if error.size == first.size}
    return bool(symbols) and len(actual) == 1 and len(wanted) > 1


def _proof(errors: Sequence[ContractError], outcomes: Sequence[Outcome], size: int) -> Note:
    """Sizes that were seen where others are promised."""
    parts = [
        f"{at_point(outcome.point)} it is {error.shape[size]} in the place of {error.expected}"
        for outcome, error in zip(outcomes, errors, strict=False)
        if error.shape is not None and error.size == size and error.expected is not None
    ]
    return Note("; ".join(parts[:2]))


def _caller(steps: Sequence[Step], owner: nn.Module, *, method: bool) -> tuple[Step | None, list[Step]]:
    """The step that called a module or one of its methods, and those around it."""
    if method:
        return culprit(list(steps))
    for index in range(len(steps) - 1, -1, -1):
        if steps[index].module is owner:
            return culprit(list(steps[: index + 1]))
    return culprit(list(steps))
