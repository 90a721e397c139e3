"""A module as torch prints it, line by line, beside the number of parameters that each line stands for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from torch import nn
from torch.nn.parameter import UninitializedParameter

__all__ = ["Line", "Totals", "outline", "parameter_totals"]


@dataclass(frozen=True, slots=True)
class Totals:
    """Elements of parameters, each Parameter counted once; `lazy` counts those that have no shape yet."""

    trainable: int = 0
    frozen: int = 0
    lazy: int = 0

    @property
    def parameters(self) -> int:
        """All elements, trainable and frozen."""
        return self.trainable + self.frozen


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a printed module: how deep it stands, and what it holds if it begins a module."""

    depth: int
    text: str
    totals: Totals | None = None


def parameter_totals(modules: Iterable[nn.Module]) -> Totals:
    """The totals of modules and everything in them."""
    parameters = {id(parameter): parameter for module in modules for parameter in module.parameters()}
    trainable = frozen = lazy = 0
    for parameter in parameters.values():
        if isinstance(parameter, UninitializedParameter):
            lazy += 1
        elif parameter.requires_grad:
            trainable += parameter.numel()
        else:
            frozen += parameter.numel()
    return Totals(trainable, frozen, lazy)


def outline(module: nn.Module) -> tuple[Line, ...]:
    """The lines of `str(module)`."""
    return tuple(_lines([module], "", 0))


def _lines(modules: list[nn.Module], label: str, depth: int) -> Iterator[Line]:
    """The lines of one module, or of several that print alike and share a line, as torch does in a ModuleList."""
    module, totals = modules[0], parameter_totals(modules)
    head = label if len(modules) == 1 else f"{label}{len(modules)} x "
    if type(module).__repr__ is nn.Module.__repr__:
        extra, groups = module.extra_repr(), _one_by_one(module)
    elif type(module).__repr__ is nn.ModuleList.__repr__:
        extra, groups = "", _runs(module)
    else:  # a layer that prints itself in its own way
        first, *more = str(module).split("\n")
        yield Line(depth, head + first, totals)
        yield from (Line(depth, text) for text in more)
        return
    name: str = module._get_name()
    extra_lines = extra.split("\n") if extra else []
    if not groups and len(extra_lines) <= 1:
        yield Line(depth, f"{head}{name}({extra})", totals)
        return
    yield Line(depth, f"{head}{name}(", totals)
    yield from (Line(depth + 1, text) for text in extra_lines)
    for key, group in groups:
        if group:
            yield from _lines(group, f"({key}): ", depth + 1)
        else:
            yield Line(depth + 1, f"({key}): None")
    yield Line(depth, ")")


_Groups = list[tuple[str, list[nn.Module]]]


def _one_by_one(module: nn.Module) -> _Groups:
    """Every child under its name; no module where the attribute is None."""
    return [(name, [] if child is None else [child]) for name, child in module._modules.items()]


def _runs(module: nn.Module) -> _Groups:
    """The children of a ModuleList, neighbours that print alike together."""
    groups: _Groups = []
    for _, run in groupby(enumerate(module._modules.values()), key=lambda item: repr(item[1])):
        numbered = list(run)
        first, last = numbered[0][0], numbered[-1][0]
        name = f"{first}" if first == last else f"{first}-{last}"
        groups.append((name, [child for _, child in numbered if child is not None]))
    return groups
