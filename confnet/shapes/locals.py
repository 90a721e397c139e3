"""The shapes of the values that code gives a name: a model is run on meta, watched line by line.

For an editor, which shows them beside the name. The sizes are fitted as those of what modules return.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch import nn

from confnet.blueprint import Blueprint, modules_of
from confnet.builder import Built
from confnet.diagnostics import Diagnostic, Span
from confnet.language.code import Code
from confnet.language.names import target_names
from confnet.plan import Plan
from confnet.shapes.cases import Unchecked, cases_of
from confnet.shapes.domains import Domains
from confnet.shapes.forms import Forms
from confnet.shapes.memory import Memory
from confnet.shapes.operands import dtype_name
from confnet.shapes.report import ShapeReport
from confnet.shapes.runs import Outcome, Runner
from confnet.shapes.stage import contract_of
from confnet.shapes.trial import Trial

__all__ = ["LocalShape", "local_shapes"]

MAX_VALUES = 20_000
MAX_ITEMS = 8


@dataclass(frozen=True, slots=True)
class LocalShape:
    """The shape of a value that code names: in the module called `module`, from the place where it is assigned.

    `name` has `[0]` behind it for the first item of a tuple. An input stands at the beginning of its code.
    """

    name: str
    span: Span
    module: str
    sizes: tuple[int | str, ...]
    dtype: str

    @property
    def text(self) -> str:
        """The shape as it is written in a file."""
        return f"[{', '.join(map(str, self.sizes))}]"


_Key = tuple[str, Span, str]
_Form = tuple[tuple[int, ...], str]


def local_shapes(
    plan: Plan, blueprint: Blueprint, make: Callable[[], Built], memory: Memory | None = None
) -> tuple[LocalShape, ...]:
    """The shapes of named values in the forwards of a checked plan's model; none where its forward cannot be run.

    `make` gives the model, built on meta; it is called again where a model changes by running.
    """
    contract, _ = contract_of(plan)
    if contract is None:
        return ()
    shared = memory or Memory()
    runner = Runner(make, blueprint, shared)
    try:
        case = cases_of(contract.inputs or (), runner.built.module)[0]
    except (Unchecked, IndexError):
        return ()
    with shared.running(2 * len(runner.places.names)):
        trial = _Trial(runner, case, plan, first=True)
        trial.result()
        watches = []
        for outcome in trial.chosen:
            runner.memory = shared.afresh()  # a whole forward that is remembered has no lines to watch
            watch = _Watch(runner, _assignments(plan))
            with watch:
                seen = runner.run(case, outcome.point)
            if seen.ok:
                watches.append((outcome.point, watch.found))
    if not watches:
        return ()
    forms = Forms(case.symbols, [point for point, _ in watches])
    return tuple(_fitted(forms, [found for _, found in watches]))


class _Trial(Trial):
    """A trial that keeps the runs from which it tells the shapes."""

    chosen: Sequence[Outcome] = ()

    def report(
        self, domains: Domains, outcomes: Sequence[Outcome], in_eval: Sequence[Outcome]
    ) -> tuple[ShapeReport, tuple[Diagnostic, ...]]:
        self.chosen = outcomes
        return super().report(domains, outcomes, in_eval)


def _fitted(forms: Forms, tables: Sequence[Mapping[_Key, _Form]]) -> Iterator[LocalShape]:
    """The values that every run has, with sizes as expressions."""
    for key, (shape, dtype) in tables[0].items():
        shapes = [table[key][0] for table in tables if key in table]
        if len(shapes) < len(tables) or len({len(each) for each in shapes}) > 1:
            continue
        sizes: list[int | str] = []
        for index in range(len(shape)):
            form = forms.find([each[index] for each in shapes])
            sizes.append("?" if form is None else form.size)
        name, span, module = key
        yield LocalShape(name, span, module, tuple(sizes), dtype)


_Assignments = dict[str, dict[int, dict[str, Span]]]
"""The names that lines assign, with their places, by file and line."""


def _assignments(plan: Plan) -> _Assignments:
    """What the lines of all code assign, by file and line."""
    found: _Assignments = {}
    seen: set[Span] = set()
    for module in modules_of(plan):
        methods = module.definition.methods if module.definition is not None else {}
        for method in methods.values():
            if method.code.span not in seen:
                seen.add(method.code.span)
                _add(found.setdefault(method.code.file, {}), method.code)
    return found


def _add(lines: dict[int, dict[str, Span]], code: Code) -> None:
    try:
        tree = ast.parse(code.text)
    except (SyntaxError, RecursionError, MemoryError, ValueError):  # an expression over lines assigns nothing
        return
    for statement in ast.walk(tree):
        match statement:
            case ast.Assign(targets=targets):
                parts = targets
            case ast.AugAssign(target=target) | ast.For(target=target):
                parts = [target]
            case _:
                continue
        names = {name.id: _span(code, name) for part in parts for name in target_names(part)}
        last = statement.lineno if isinstance(statement, ast.For) else statement.end_lineno or statement.lineno
        for line in range(statement.lineno, last + 1):
            lines.setdefault(code.first_line + line - 1, {}).update(names)


def _span(code: Code, name: ast.Name) -> Span:
    line = code.text.split("\n")[name.lineno - 1]
    start = len(line.encode()[: name.col_offset].decode(errors="ignore"))
    return code.span_at(name.lineno, start, name.lineno, start + len(name.id))


@dataclass
class _Watch:
    """Looks at the locals of code of the file after every line that assigns some, in its own thread."""

    runner: Runner
    assignments: _Assignments
    found: dict[_Key, _Form] = field(default_factory=dict)

    def __enter__(self) -> None:
        self.before = sys.gettrace()
        sys.settrace(self.called)

    def __exit__(self, *error: object) -> None:
        sys.settrace(self.before)

    def called(self, frame: FrameType, event: str, arg: Any) -> Callable[..., Any] | None:
        """The beginning of any call."""
        file = self.runner.places.files.get(frame.f_code.co_filename)
        if file is None or len(self.found) > MAX_VALUES:
            return None
        owner = frame.f_locals.get("self")
        if not isinstance(owner, nn.Module):
            return None
        module = self.runner.places.name(owner)
        lines = self.assignments.get(file, {})
        code = frame.f_code
        start = Span(file, code.co_firstlineno, 1, code.co_firstlineno, 1)
        for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
            if name != "self":
                self.keep(name, start, module, frame.f_locals.get(name))
        last = 0

        def step(frame: FrameType, event: str, arg: Any) -> Callable[..., Any]:
            nonlocal last
            if event in ("line", "return"):
                done = lines.get(last)
                if done is not None:
                    values = frame.f_locals
                    for name, span in done.items():
                        self.keep(name, span, module, values.get(name))
                last = frame.f_lineno
            return step

        return step

    def keep(self, name: str, span: Span, module: str, value: Any) -> None:
        with torch._C.DisableTorchFunction():
            for each, tensor in _tensors(name, value):
                self.found[each, span, module] = tuple(tensor.shape), dtype_name(tensor.dtype)


def _tensors(name: str, value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of a value, by what picks them."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value[:MAX_ITEMS]):
            yield from _tensors(f"{name}[{index}]", item)
    elif isinstance(value, dict):
        for key, item in list(value.items())[:MAX_ITEMS]:
            yield from _tensors(f"{name}[{key!r}]", item)
