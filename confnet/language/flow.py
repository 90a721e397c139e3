"""Environments where paths part and meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from confnet.language.context import Environment
from confnet.language.values import join

__all__ = ["Loop", "merge"]


@dataclass(slots=True)
class Loop:
    """The environments in which a loop is left or begun again."""

    breaks: list[Environment] = field(default_factory=list)
    continues: list[Environment] = field(default_factory=list)


def merge(environments: Sequence[Environment]) -> Environment:
    """What is known where several paths meet: a name that one of them lacks may be unassigned."""
    names = dict.fromkeys(name for environment in environments for name in environment)
    merged: Environment = {}
    for name in names:
        values = [environment[name] for environment in environments if name in environment]
        value = join(values)
        merged[name] = replace(value, maybe=True) if len(values) < len(environments) else value
    return merged
