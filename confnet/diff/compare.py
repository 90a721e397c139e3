"""Two checked specs, compared as plans, as modules and as state dicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from confnet.checked import Checked
from confnet.diagnostics import ConfnetError
from confnet.diff.facts import Facts
from confnet.diff.records import Change, CodeChange, Detail, Difference, KeyChanges, Model, ShapeChange
from confnet.diff.trees import Pairing, pair_up

if TYPE_CHECKING:
    from torch import nn

    from confnet.shapes import ShapeReport, ValueShape

__all__ = ["difference"]


def difference(a: Checked, b: Checked, *, labels: tuple[str, str] = ("A", "B"), shapes: bool = True) -> Difference:
    """What differs between two models, and what a checkpoint of A means for B.

    Both are built on meta: nothing is allocated. With `shapes`, the forward of each is run there too, where its
    inputs are declared. Raises ConfnetError for a model that is wrong.
    """
    pairing = pair_up(a.settled, b.settled)
    one, other = a.construct("meta", None).module, b.construct("meta", None).module
    shape_changes, unchecked = _shape_changes(a, b, pairing) if shapes else ((), "not asked for")
    return Difference(
        _model(one, labels[0]),
        _model(other, labels[1]),
        tuple(_changes(pairing, one, other)),
        tuple(_code_changes(pairing)),
        shape_changes,
        _key_changes(one, other) if pairing.same or pairing.moved else KeyChanges(),
        unchecked,
    )


def _model(module: nn.Module, label: str) -> Model:
    parameters = list(module.parameters())
    return Model(
        label,
        type(module).__name__,
        sum(1 for _ in module.modules()),
        sum(each.numel() for each in parameters),
        sum(each.numel() for each in parameters if each.requires_grad),
        sum(each.numel() for each in module.buffers()),
    )


# --- modules ----------------------------------------------------------------------------------------------------------


def _changes(pairing: Pairing, one: nn.Module, other: nn.Module) -> Iterator[Change]:
    for path, facts in pairing.removed:
        yield Change(
            "removed", path, facts.cls, parameters=_count(one, path), details=tuple(_own_arguments(facts, True))
        )
    for path, facts in pairing.added:
        yield Change(
            "added", path, facts.cls, parameters=_count(other, path), details=tuple(_own_arguments(facts, False))
        )
    for path, to, facts in pairing.moved:
        yield Change("renamed", path, facts.cls, to)
    for path, to, before, after in pairing.same:
        details = tuple(_details(before, after))
        more = _count(other, to) - _count(one, path)
        if details or path != to:
            yield Change("changed", path, after.cls, to if path != to else "", more, details)


def _count(model: nn.Module, path: str) -> int:
    """The parameters of a module; one among the arguments of a layer has no name of its own."""
    if "(" in path:
        return 0
    return sum(parameter.numel() for parameter in model.get_submodule(path).parameters())


def _own_arguments(facts: Facts, before: bool) -> Iterator[Detail]:
    for name, text in facts.arguments.items():
        yield Detail("argument", name, text if before else None, None if before else text)


def _details(before: Facts, after: Facts) -> Iterator[Detail]:
    if before.cls != after.cls:
        yield Detail("class", "", before.cls, after.cls)
    if before.base != after.base and (before.cls == after.cls or "Module" in (before.base, after.base)):
        yield Detail("base", "", before.base, after.base)
    ours, theirs = before.arguments, after.arguments
    for name in dict.fromkeys((*ours, *theirs)):
        left, right = (f.arguments.get(name, f.defaults.get(name)) for f in (before, after))
        if left != right:
            yield Detail("argument", name, left, right)
    for key in dict.fromkeys((*before.said, *after.said)):
        left, right = before.said.get(key), after.said.get(key)
        if left != right:
            yield Detail(key[0], key[1], left, right)
    if list(before.children) != list(after.children) and set(before.children) == set(after.children):
        yield Detail("order", "", ", ".join(before.children), ", ".join(after.children))


def _code_changes(pairing: Pairing) -> Iterator[CodeChange]:
    """Code that differs, told once for all modules whose code it is."""
    found: dict[tuple[str, str, str | None, str | None], list[str]] = {}
    for _, path, before, after in pairing.same:
        for name in dict.fromkeys((*before.code, *after.code)):
            left, right = before.code.get(name), after.code.get(name)
            if left != right:
                found.setdefault((after.cls, name, left, right), []).append(path)
    for (cls, name, left, right), places in found.items():
        yield CodeChange(cls, name, left, right, tuple(places))


# --- shapes -----------------------------------------------------------------------------------------------------------


def _shape_changes(a: Checked, b: Checked, pairing: Pairing) -> tuple[tuple[ShapeChange, ...], str]:
    """The shapes that differ, or why they are not compared."""
    before, after = _shapes_of(a), _shapes_of(b)
    reasons = [report.reason for report in (before, after) if not report.checked]
    if reasons:
        return (), reasons[0]
    names = {path: to for path, to, _ in pairing.moved} | {path: to for path, to, _, _ in pairing.same}
    tables = (("input", "inputs"), ("output", "outputs"), ("value", "values"))
    return tuple(c for kind, of in tables for c in _table(kind, getattr(before, of), getattr(after, of), names)), ""


def _table(
    kind: str, before: Iterable[ValueShape], after: Iterable[ValueShape], names: dict[str, str]
) -> Iterator[ShapeChange]:
    theirs = {value.name: f"{value.text} {value.dtype}" for value in after}
    ours = {_renamed(value.name, names): f"{value.text} {value.dtype}" for value in before}
    for name in ours if kind == "value" else dict.fromkeys((*ours, *theirs)):
        left, right = ours.get(name), theirs.get(name)
        if left != right and (kind != "value" or right is not None):
            texts = _without_common_dtype(left, right)
            yield ShapeChange(kind, name, *texts)  # type: ignore[arg-type]


def _without_common_dtype(left: str | None, right: str | None) -> tuple[str | None, str | None]:
    """Two shapes with their dtypes, which are left out where they are the same."""
    if left is not None and right is not None and left.rpartition(" ")[2] == right.rpartition(" ")[2]:
        return left.rpartition(" ")[0], right.rpartition(" ")[0]
    return left, right


def _renamed(name: str, names: dict[str, str]) -> str:
    """The name that a value of A has in B: that of its module, or of a module around it."""
    module, mark, rest = name.partition("#")
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        to = names.get(".".join(parts[:length]))
        if to is not None:
            return ".".join([to, *parts[length:]]) + mark + rest
    return name


def _shapes_of(checked: Checked) -> ShapeReport:
    reports: list[ShapeReport] = []
    found = checked.on_meta([], reports)
    errors = [diagnostic for diagnostic in found if diagnostic.severity == "error"]
    if errors:
        raise ConfnetError(errors, checked.plan.sources)
    return reports[0]


# --- keys -------------------------------------------------------------------------------------------------------------


def _key_changes(one: nn.Module, other: nn.Module) -> KeyChanges:
    from confnet.builder.compatibility import load_outcome

    try:
        state = one.state_dict()
    except Exception as error:  # of a hook on it
        return KeyChanges(errors=(f"a checkpoint of A cannot be made: {error}",))
    outcome = load_outcome(state, other)
    lost = {*outcome.unexpected, *(key for key, _, _ in outcome.mismatched)}
    return KeyChanges(
        tuple(outcome.missing),
        tuple(outcome.unexpected),
        tuple(outcome.mismatched),
        tuple(outcome.errors),
        sum(key not in lost for key in state),
    )
