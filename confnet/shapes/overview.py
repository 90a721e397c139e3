"""The overview of a model: its tree with shapes and costs, found on meta without any values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.nn.utils import parametrize

from confnet.blueprint import Blueprint
from confnet.builder import Built
from confnet.builder.guard import TooLong
from confnet.builder.inspection import Places, hook_rows
from confnet.catalog.registry import lookup
from confnet.diagnostics import ConfnetError
from confnet.language.expressions import Expression
from confnet.language.grammar import LanguageError
from confnet.overview import Counts, Memory, Node, Overview
from confnet.plan import AUTO, DTypeName, LayerName, ModulePlan, Plan
from confnet.shapes.cases import Case, Unchecked, cases_of
from confnet.shapes.costs import Costs, measure
from confnet.shapes.matching import evaluated
from confnet.shapes.memory import Memory as RunMemory
from confnet.shapes.operands import dtype_name
from confnet.shapes.report import ShapeReport
from confnet.shapes.stage import check_shapes, contract_of

__all__ = ["SizeError", "overview"]

BATCH, IMAGE, LENGTH = 1, 224, 128
"""The sizes that are taken where none are given: of the batch, of images, of anything else."""
LARGEST = 20_000


class SizeError(ValueError):
    """Sizes that the model does not have, or does not take."""


def overview(
    plan: Plan,
    blueprint: Blueprint,
    make: Callable[[torch.dtype | None], Built],
    *,
    dtype: torch.dtype | str | None,
    sizes: Mapping[str, int],
    step: Callable[[str], None],
) -> Overview:
    """The overview of a checked plan's model. What is wrong with its shapes is a reason to leave them out.

    `make` gives the model, built on meta and in a dtype; `step` is told what is done next. Raises SizeError for
    `sizes` that are not those of its inputs, or that it does not take.
    """
    step("building on meta")
    wanted = _dtype(dtype)
    built = make(wanted)
    step("finding shapes")
    waiting = [make(None)]
    report, problems = check_shapes(plan, blueprint, lambda: waiting.pop() if waiting else make(None), RunMemory())
    step("counting FLOPs")
    wrong = [problem.message for problem in problems if problem.severity == "error"]
    costs, point, reasons = _costs(plan, make, report, wanted, sizes, (wrong or [report.reason])[0])
    tree = _Tree(built, report, costs)
    model = built.module
    floating = next((p.dtype for p in model.parameters() if p.is_floating_point()), wanted or torch.get_default_dtype())
    return Overview(
        tree.node(model, "", ""),
        dtype_name(floating),
        point,
        _memory(model, costs),
        tuple(map(str, report.inputs)),
        tuple(map(str, report.outputs)),
        tuple(condition.text for condition in report.conditions),
        tuple(reasons),
    )


def _dtype(given: torch.dtype | str | None) -> torch.dtype | None:
    found = getattr(torch, given, None) if isinstance(given, str) else given
    if found is not None and not isinstance(found, torch.dtype):
        raise TypeError(f"`dtype` is a torch.dtype or the name of one, not {given!r}")
    if isinstance(given, str) and found is None:
        raise TypeError(f"there is no dtype {given!r}")
    return found


# --- costs ----------------------------------------------------------------------------------------------------------


def _costs(
    plan: Plan,
    make: Callable[[torch.dtype | None], Built],
    report: ShapeReport,
    dtype: torch.dtype | None,
    given: Mapping[str, int],
    why: str,
) -> tuple[Costs | None, dict[str, int], list[str]]:
    """What one forward costs, at which sizes, and why that is not known; `why` the shapes are unchecked."""
    contract, reason = contract_of(plan)
    if contract is None or not report.checked:
        if given:
            raise SizeError(f"the model is not run, and has no sizes: {reason or why}")
        return None, {}, [f"output shapes, FLOPs and activations are unknown: {reason or why}"]
    built = make(dtype)
    try:
        case = cases_of(contract.inputs or (), built.module)[0]
    except Unchecked as error:  # the report would say so
        return None, {}, [f"FLOPs and activations are unknown: {error}"]
    unknown = [name for name in given if name not in case.symbols]
    if unknown:
        known = f"the sizes are {', '.join(case.symbols)}" if case.symbols else "no size of its inputs is open"
        raise SizeError(f"there is no size `{unknown[0]}`; {known}")
    if any(_is_lazy(parameter) for parameter in built.module.parameters()):
        return None, {}, ["FLOPs and activations are unknown: layers are not sized before the first forward"]
    point = chosen_sizes(case, report, given)
    larger = {**point, **{name: 2 for name, size in point.items() if size == 1 and name not in given}}
    tried = point
    for tried, thorough in ((point, False), (point, True), (larger, True)):  # BatchNorm wants more than one value
        try:
            return measure(built, case, tried, dtype, thorough=thorough), tried, []
        except ConfnetError as error:
            reason = error.diagnostics[0].message
            if isinstance(error, TooLong):
                break  # and would again
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
        built = make(dtype)
    shown = ", ".join(f"{name}={size}" for name, size in tried.items())
    if given:
        raise SizeError(f"the model cannot be run at {shown}: {reason}")
    return None, {}, [f"FLOPs and activations are unknown: the run at {shown} failed: {reason}"]


def chosen_sizes(case: Case, report: ShapeReport, given: Mapping[str, int]) -> dict[str, int]:
    """A value for each symbol: the one that is given, or a common one that meets the conditions.

    Raises SizeError for a given one that does not.
    """
    conditions = list(_conditions(report))
    point = dict(given)
    for symbol in case.symbols:
        _check(conditions, point)
        if symbol in point:
            continue
        wanted = _wanted(case, symbol)
        about = [item for item in conditions if symbol in item.names and item.names <= {*point, symbol}]
        tried = chain(range(wanted, 0, -1), range(wanted + 1, LARGEST))
        fits = (value for value in tried if all(item.evaluate({**point, symbol: value}) for item in about))
        point[symbol] = next(fits, wanted)
    _check(conditions, point)
    return {symbol: point[symbol] for symbol in case.symbols}


def _wanted(case: Case, symbol: str) -> int:
    """The size that one would take for a symbol, by where it stands in the first input that has it."""
    for contract in case.tensors():
        sizes = contract.shape if contract.shape is not None else contract.item or ()
        for place, size in enumerate(sizes):
            if symbol not in size.symbols:
                continue
            aim = BATCH if place == 0 and len(sizes) > 1 else IMAGE if len(sizes) >= 4 and place > 1 else LENGTH
            if size.text == symbol:
                return aim
            # Such as `32 * H`: the expression is to have the size.
            whole = dict.fromkeys(case.symbols, 1)
            with suppress(LanguageError, ValueError):
                return max(
                    v for v in range(1, aim + 1) if (evaluated(size, {**whole, symbol: v}) or 0) <= aim or v == 1
                )
    return LENGTH


def _conditions(report: ShapeReport) -> Iterator[Expression]:
    """The conditions on sizes, but for those that are said in words."""
    for condition in report.conditions:
        with suppress(LanguageError):
            yield Expression.parse(condition.text)


def _check(conditions: Sequence[Expression], point: Mapping[str, int]) -> None:
    """Raise SizeError where sizes break a condition that is about no others."""
    for condition in conditions:
        if condition.names <= point.keys() and not condition.evaluate(dict(point)):
            raise SizeError(f"the model needs `{condition.text}`")


def _memory(model: nn.Module, costs: Costs | None) -> Memory:
    parameters = [p for p in model.parameters() if not _is_lazy(p)]
    trained = sum(_bytes(p) for p in parameters if p.requires_grad)
    return Memory(
        weights=sum(map(_bytes, parameters)),
        buffers=sum(_bytes(buffer) for buffer in model.buffers() if not _is_lazy(buffer)),
        gradients=trained,
        optimizer=2 * trained,
        activations=costs.saved if costs is not None else None,
    )


def _is_lazy(tensor: torch.Tensor) -> bool:
    """Whether a tensor has no shape before the first forward."""
    return isinstance(tensor, UninitializedParameter | UninitializedBuffer)


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


# --- the tree -------------------------------------------------------------------------------------------------------


class _Tree:
    """Makes the nodes of a model."""

    def __init__(self, built: Built, report: ShapeReport, costs: Costs | None) -> None:
        self.built, self.costs = built, costs
        self.names = {module: name for name, module in built.module.named_modules()}
        self.first = {id(p): name for name, p in built.module.named_parameters()}
        self.places = Places(built)
        self.hooks: dict[str, list[str]] = {}
        for row in hook_rows(built.module):
            what = f"{row['tensor']} " if row["tensor"] else ""
            named = f" {row['name']}" if row["name"] else ""
            self.hooks.setdefault(row["module"], []).append(f"hook: {what}{row['kind']}{named}")
        self.outputs: dict[str, list[str]] = {}
        for value in report.values:
            name, _, _ = value.name.partition("[")
            if "#" not in name:
                self.outputs.setdefault(name, []).append(value.text)
        if report.checked:
            self.outputs[""] = [value.text for value in report.outputs]

    def node(self, module: nn.Module, name: str, fqn: str) -> Node:
        """The node of a module and everything in it."""
        plan = self.built.places.get(module)
        layer = lookup(plan.base) if plan is not None else None
        kind = type(module).__name__
        if parametrize.is_parametrized(module):
            kind = kind.removeprefix("Parametrized")
        children = tuple(
            self.node(child, key, f"{fqn}.{key}" if fqn else key)
            if self.names[child] == (f"{fqn}.{key}" if fqn else key)
            else self.shared(child, key, f"{fqn}.{key}" if fqn else key)
            for key, child in module._modules.items()
            if child is not None and not (key == "parametrizations" and parametrize.is_parametrized(module))
        )
        return Node(
            name,
            fqn,
            kind,
            tuple(_arguments(module, plan)),
            tuple(self.outputs.get(fqn, ())),
            self.counts(module, fqn),
            self.flops(fqn, children),
            self.costs.calls.get(fqn, 0) if self.costs is not None else None,
            tuple(self.marks(module, plan, fqn, children)),
            self.places.module(fqn),
            children,
            tuple(a.name for a in layer.arguments if a.required) if layer is not None else (),
        )

    def shared(self, module: nn.Module, name: str, fqn: str) -> Node:
        """A second name of a module: what it holds and costs is told at the first."""
        first = self.names[module]
        return Node(name, fqn, type(module).__name__, marks=(f"shared: {first or 'the model'}",))

    def flops(self, fqn: str, children: Sequence[Node]) -> int | None:
        """The FLOPs of a module; of a container that only holds what others call, those of what it holds."""
        if self.costs is None:
            return None
        return self.costs.flops.get(fqn) if fqn in self.costs.flops else sum(child.flops or 0 for child in children)

    def counts(self, module: nn.Module, fqn: str) -> Counts:
        trainable = frozen = tied = lazy = size = 0
        for parameter in module.parameters():
            if _is_lazy(parameter):
                lazy += 1
                continue
            number = parameter.numel()
            size += number * parameter.element_size()
            trainable += number if parameter.requires_grad else 0
            frozen += 0 if parameter.requires_grad else number
            if not _inside(self.first[id(parameter)], fqn):
                tied += number
        buffers = [buffer for buffer in module.buffers() if not _is_lazy(buffer)]
        size += sum(map(_bytes, buffers))
        return Counts(trainable, frozen, tied, sum(buffer.numel() for buffer in buffers), lazy, size)

    def marks(self, module: nn.Module, plan: ModulePlan | None, fqn: str, children: Sequence[Node]) -> Iterator[str]:
        """What is special about a module."""
        own = {name: p for name, p in module._parameters.items() if p is not None}
        for name, parameter in own.items():
            first = self.first[id(parameter)]
            if first != (f"{fqn}.{name}" if fqn else name):
                yield f"tied: {name} = {first}"
        if parametrize.is_parametrized(module):
            tables: Any = module.parametrizations
            for name, steps in tables.items():
                yield f"parametrized: {name} ({', '.join(type(s).__name__.lstrip('_') for s in steps)})"
        if (everything := list(module.parameters())) and not any(p.requires_grad for p in everything):
            yield "frozen"
        elif any(not p.requires_grad for p in own.values()):
            yield f"frozen: {', '.join(name for name, p in own.items() if not p.requires_grad)}"
        if any(_is_lazy(parameter) for parameter in own.values()):
            yield "lazy"
        yield from self.hooks.get(fqn, ())
        calls = self.costs.calls.get(fqn, 0) if self.costs is not None else 1
        if calls > 1:
            yield f"called {calls} times"
        container = isinstance(module, nn.ModuleList | nn.ModuleDict)
        if calls == 0 and plan is not None and not container and not any(child.calls for child in children):
            yield "not called"


def _inside(name: str, fqn: str) -> bool:
    return not fqn or name.startswith(f"{fqn}.")


def _arguments(module: nn.Module, plan: ModulePlan | None) -> Iterator[tuple[str, str]]:
    """The arguments of a module that differ from the default; the name is empty for what is not named."""
    if plan is None:
        if not module._modules and not parametrize.is_parametrized(module):
            yield from (("", part) for part in [module.extra_repr()] if part)
        return
    layer = lookup(plan.base)
    known = {argument.name: argument for argument in layer.arguments} if layer is not None else {}
    given = {**dict(zip(known, plan.positional, strict=False)), **plan.keywords}
    extra = plan.positional[len(known) :]
    for name, value in given.items():
        argument = known.get(name)
        required = argument is None or argument.required
        if _is_shown(value) and (argument is None or required or not _same(value, argument.default)):
            yield name, _text(value)
    rest = [_text(value) for value in extra if _is_shown(value)]
    if rest:
        yield "", ", ".join(rest)
    for name in plan.given:
        if name in plan.constants and plan.definition is not None:
            yield name, _text(plan.constants[name])


def _same(value: object, default: object) -> bool:
    return type(value) is type(default) and value == default


def _is_shown(value: object) -> bool:
    """Whether a value is not a module, which stands in the tree."""
    if isinstance(value, list | tuple):
        return all(map(_is_shown, value))
    return not isinstance(value, ModulePlan)


def _text(value: object) -> str:
    if isinstance(value, DTypeName | LayerName):
        return value.name
    if value is AUTO:
        return "auto"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, float):
        return f"{value:g}"
    return repr(value) if isinstance(value, str) else str(value)
