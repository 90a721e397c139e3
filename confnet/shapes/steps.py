"""From frames of a running forward to places in the file: which line of code, and which module, was at work."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import CodeType, FrameType, TracebackType
from typing import Any

from torch import nn

from confnet.blueprint import Blueprint
from confnet.builder import Built
from confnet.diagnostics import Note, Span
from confnet.plan import ModulePlan

__all__ = ["Places", "Step", "chain", "culprit"]

_CALL: CodeType = nn.Module._call_impl.__code__
MAX_NOTES = 6


@dataclass(frozen=True, slots=True)
class Step:
    """A line of code in the file (`module` None), or the call of a module that has a place in the file."""

    span: Span
    module: nn.Module | None = None
    args: tuple[Any, ...] = ()
    code: str = ""
    name: str = ""

    @property
    def what(self) -> str:
        """The module in words: `fc1` (`Linear(in_features=4, out_features=3, bias=True)`)."""
        own = type(self.module).__name__
        if self.module is not None and not list(self.module.children()):
            own = f"{own}({self.module.extra_repr()})"
        return f"`{self.name}` (`{own}`)" if self.name else f"the model (`{own}`)"


class Places:
    """Where the modules of a built model stand in the files, and which file a line of code belongs to."""

    def __init__(self, built: Built, blueprint: Blueprint) -> None:
        self.built = built
        self.files = {blueprint.trace_name(file): file for file, _ in blueprint.texts}
        self.lines = {file: text.splitlines() for file, text in blueprint.texts}
        self.names: dict[nn.Module, str] = {}
        self.modules: dict[str, nn.Module] = {}
        self.spans: dict[nn.Module, Span] = {}
        for name, module in built.module.named_modules():
            self.names[module] = name
            self.modules[name] = module
        for module, plan in built.places.items():
            self.spans.setdefault(module, plan.span)
        for module, plan in built.places.items():
            for name, child in module.named_children():
                place = plan.places.get(name)
                if place is not None and child in built.places:
                    self.spans[child] = place

    def plan(self, module: nn.Module) -> ModulePlan | None:
        """The plan of a module; None for one that a layer made inside itself."""
        return self.built.places.get(module)

    def definition(self, module: nn.Module) -> str | None:
        """The identity of the definition that a module is an instance of."""
        plan = self.built.places.get(module)
        return plan.definition.identity if plan is not None and plan.definition is not None else None

    def name(self, module: nn.Module) -> str:
        """The dotted name of a module in the model, empty for the model itself."""
        return self.names.get(module, "")

    def of_traceback(self, traceback: TracebackType | None) -> list[Step]:
        """The steps that led to an error, the outermost first."""
        frames = []
        while traceback is not None:
            frames.append((traceback.tb_frame, traceback.tb_lasti, traceback.tb_lineno))
            traceback = traceback.tb_next
        return self._steps(frames)

    def of_stack(self) -> list[Step]:
        """The steps that led here, the outermost first."""
        frames = []
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            frames.append((frame, frame.f_lasti, frame.f_lineno))
            frame = frame.f_back
        return self._steps(reversed(frames))

    def _steps(self, frames: Iterable[tuple[FrameType, int, int]]) -> list[Step]:
        return list(self._each(frames))

    def _each(self, frames: Iterable[tuple[FrameType, int, int]]) -> Iterator[Step]:
        for frame, instruction, line in frames:
            code = frame.f_code
            if code is _CALL:
                module = frame.f_locals.get("self")
                if isinstance(module, nn.Module) and module in self.spans:
                    args = (*frame.f_locals.get("args", ()), *frame.f_locals.get("kwargs", {}).values())
                    yield Step(self.spans[module], module, args, name=self.name(module))
            elif code.co_filename in self.files:
                yield Step(self._span(code, instruction, line), code=code.co_qualname)

    def _span(self, code: CodeType, instruction: int, line: int) -> Span:
        """The part of a line that was at work: Python knows columns, in bytes."""
        file = self.files[code.co_filename]
        position = next((p for i, p in enumerate(code.co_positions()) if i == instruction // 2), None)
        lines = self.lines[file]
        if position is None or None in position[:4] or not 0 < line <= len(lines):
            return Span(file, line, 1, line, 2)
        first, last, start, end = position
        assert first is not None
        assert last is not None
        assert start is not None
        assert end is not None
        if not 0 < first <= last <= len(lines):
            return Span(file, line, 1, line, 2)
        return Span(file, first, _column(lines[first - 1], start), last, _column(lines[last - 1], end))


def _column(line: str, offset: int) -> int:
    return len(line.encode()[:offset].decode(errors="ignore")) + 1


def culprit(steps: list[Step]) -> tuple[Step | None, list[Step]]:
    """The step to show, and the steps around it from the inside out.

    A module that a line of code calls is shown at that line, one that a container calls at its own place.
    """
    if not steps:
        return None, []
    last = steps[-1]
    if last.module is not None and len(steps) > 1 and steps[-2].module is None:
        return steps[-2], steps[:-2][::-1]
    return last, steps[:-1][::-1]


def chain(around: Iterable[Step]) -> list[Note]:
    """Notes that tell from which lines of code a step was reached, from the inside out."""
    notes = [Note(f"called by `{step.code}`", step.span) for step in around if step.module is None]
    return list(dict.fromkeys(notes))[:MAX_NOTES]
