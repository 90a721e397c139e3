"""Checked code to ordinary Python functions."""

from __future__ import annotations

import builtins
import linecache
import math
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import FunctionType, ModuleType
from typing import Any

import torch
import torch.nn.functional as F
import torch.utils.checkpoint  # so that `torch.utils.checkpoint.checkpoint` is an attribute

from confnet.blueprint import Blueprint
from confnet.builder.guard import GUARD_NAMES, guarded
from confnet.catalog.registry import DEFAULT_REGISTRY
from confnet.language.code import Code
from confnet.language.compile import Names, compile_function
from confnet.language.forward import parse_code
from confnet.language.names import BUILTINS
from confnet.plan import Input

__all__ = ["function_of", "show_lines"]

# Everything that a body can name besides its own locals and `self`. One dictionary for all of them, as the functions
# of one Python module have; registered functions are added as they are needed. It is a module that can be imported:
# torch.compile looks up globals there, where the outermost frame is one of torch's own.
_MODELS = ModuleType("confnet.models", "The functions and classes of built models.")
_GLOBALS: dict[str, Any] = vars(_MODELS)
_GLOBALS.update(
    {
        # torch.compile looks for builtins of its own here; `compile_function` keeps code to those of the language.
        "__builtins__": builtins.__dict__,
        "torch": torch,
        "nn": torch.nn,
        "F": F,
        "math": math,
        **GUARD_NAMES,
    }
)
sys.modules[_MODELS.__name__] = _MODELS


def function_of(
    code: Code,
    name: str,
    owner: str,
    inputs: Sequence[Input],
    constants: Iterable[str],
    members: Iterable[str] = (),
    *,
    guard: bool = False,
) -> FunctionType:
    """The function `owner.name` of a piece of checked code, with `self` and the inputs as arguments.

    `constants` are the args and constants that it may read, `members` the names that its module writes. With
    `guard`, its loops and numbers are bounded (`confnet.builder.guard`): for code that runs before the model is used.
    """
    signature = tuple((item.name, item.required, _Default(item.default)) for item in inputs)
    return _compiled(code, name, owner, signature, frozenset(constants), frozenset(members), guard)


@dataclass(frozen=True, slots=True)
class _Members(Collection[str]):
    """Every name that means an attribute of the module: those the definition writes, and whatever means nothing else.

    Names of children may be computed (`layer$i`), so that a name may be a child of one instance only; the check has
    seen to it that each instance has what its code reads.
    """

    written: frozenset[str]
    others: frozenset[str]

    def __contains__(self, name: object) -> bool:
        return name in self.written or name not in self.others

    def __iter__(self) -> Iterator[str]:
        return iter(self.written)

    def __len__(self) -> int:
        return len(self.written)


class _Default:
    """A default, compared by its text so that it can be part of a cache's key."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Default) and repr(self.value) == repr(other.value)

    def __hash__(self) -> int:
        return hash(repr(self.value))


@lru_cache(maxsize=4096)
def _compiled(
    code: Code,
    name: str,
    owner: str,
    inputs: tuple[tuple[str, bool, _Default], ...],
    constants: frozenset[str],
    members: frozenset[str],
    guard: bool,
) -> FunctionType:
    registered = DEFAULT_REGISTRY.functions
    _GLOBALS.update({key: function.call for key, function in registered.items()})
    parsed = parse_code(code)
    assert parsed.ok, "code is checked before it is compiled"
    others = frozenset({*BUILTINS, *registered, *constants, "training"})
    made = compile_function(
        parsed,
        name,
        [(word, required, default.value) for word, required, default in inputs],
        Names(_Members(members, others), constants, frozenset({*registered, *(GUARD_NAMES if guard else ())})),
        class_name=owner,
        source_lines=linecache.getlines(code.file),
        transform=guarded if guard else None,
    )
    return made.bind(_GLOBALS)


def show_lines(blueprint: Blueprint) -> None:
    """Let tracebacks show the lines of the files as they were read, whatever happens to them on disk."""
    for file, text in blueprint.texts:
        name = blueprint.trace_name(file)
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
