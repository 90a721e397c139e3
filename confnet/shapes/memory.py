"""What is remembered of runs, so that nothing is run twice, and what running may take."""

from __future__ import annotations

import gc
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from confnet.builder.guard import Budget, within
from confnet.shapes.likeness import Likeness
from confnet.shapes.recorder import CallMemory, Construction

__all__ = ["Memory", "Remembered", "Return", "Value"]

MOST_UNCOLLECTED = 20_000
STEPS = 1_000_000
SECONDS = 2.0
FREE_STEPS = 50_000
"""What running models may take, of the loops of their code and of the calls of torch functions in them."""
SECONDS_OF_A_MODULE = 0.004
STEPS_OF_A_MODULE = 200
"""What each module of them adds to that."""


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor that a module returned: the module's name (and which call and item), its shape and dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    module: nn.Module | None = None


@dataclass(frozen=True, slots=True)
class Return:
    """What one call of a module returned; `inner` are returns inside of it that were seen of another one like it, and
    `outer` is the name of that one."""

    name: str
    values: tuple[Value, ...]
    inner: tuple[Return, ...] = ()
    outer: str = ""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A whole forward: the description of its result, what its modules returned, the name it had, its calls."""

    result: Any
    values: tuple[Value, ...]
    returned: tuple[Return, ...]
    name: str
    calls: int


@dataclass(slots=True)
class Memory:
    """What models of one file have in common: what was seen of single calls and of whole forwards, and their budget."""

    calls: CallMemory = field(default_factory=CallMemory)
    whole: dict[object, Remembered] = field(default_factory=dict)
    likeness: Likeness = field(default_factory=Likeness)
    initialised: set[object] = field(default_factory=set)
    uncollected: int = 0
    budget: Budget = field(default_factory=lambda: Budget(STEPS, SECONDS, FREE_STEPS))

    def made(self, modules: int) -> None:
        """Count modules. Those of a model refer to each other, so that from time to time garbage must be looked for."""
        self.uncollected += modules
        if self.uncollected > MOST_UNCOLLECTED:
            gc.collect()
            self.uncollected = 0

    def constructing(self) -> Construction:
        """A context to make models in, on meta."""
        return Construction(self.initialised)

    def running(self, modules: int) -> AbstractContextManager[Budget]:
        """A context to run a model of so many modules in."""
        self.budget.steps += STEPS_OF_A_MODULE * modules
        self.budget.free += STEPS_OF_A_MODULE * modules
        self.budget.seconds += SECONDS_OF_A_MODULE * modules
        return within(self.budget)

    def afresh(self) -> Memory:
        """The same without whole forwards."""
        return Memory(self.calls, likeness=self.likeness, initialised=self.initialised, budget=self.budget)
