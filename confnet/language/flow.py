"""Environments where paths part and meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, replace

from confnet.language.context import STEP_OF_COPIES, Environment
from confnet.language.values import join
from confnet.records import dataclass

__all__ = ["Loop", "merge"]


@dataclass(slots=True)
class Loop:
    """The environments in which a loop is left or begun again."""

    breaks: list[Environment] = field(default_factory=list)
    continues: list[Environment] = field(default_factory=list)


def merge(environments: Sequence[Environment], spend: Callable[[int], None]) -> Environment:
    """What is known where several paths meet: a name that one of them lacks may be unassigned.

    `spend` is told how many steps it takes.
    """
    spend(1 + sum(map(len, environments)) // STEP_OF_COPIES)
    names = dict.fromkeys(name for environment in environments for name in environment)
    merged: Environment = {}
    for name in names:
        values = [environment[name] for environment in environments if name in environment]
        value = values[0]
        if any(other is not value and other != value for other in values):
            spend(1)
            value = join(values)
        merged[name] = replace(value, maybe=True) if len(values) < len(environments) else value
    return merged
