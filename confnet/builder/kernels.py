"""Torch's meta kernels without torch's compiler.

Many kernels of the meta device are Python functions that torch keeps its compiler away from, and for that it imports
all of the compiler at the first addition: longer than a whole check takes. Where nothing is compiled there is nothing
to keep away: such functions are called as they are, for as long as a check lasts.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from types import CodeType, FunctionType
from typing import Any

import torch._compile

__all__ = ["without_compiler"]

_MARK = "__dynamo_disable"
"""The attribute in which torch keeps what it calls in the place of such a function."""
_MODULES = ("torch._refs", "torch._decomp", "torch._prims", "torch._meta_registrations")
_LOCK = threading.Lock()
_USES = 0


@contextmanager
def without_compiler() -> Iterator[None]:
    """Within it, calls of meta kernels do not import torch's compiler; nothing is changed once it is there."""
    global _USES
    if "torch._dynamo" in sys.modules:
        yield
        return
    with _LOCK:
        _USES += 1
        for function in _kept_apart():
            function.__dict__.setdefault(_MARK, function)
    try:
        yield
    finally:
        with _LOCK:
            _USES -= 1
            for function in _kept_apart() if not _USES else ():
                if function.__dict__.get(_MARK) is function:
                    del function.__dict__[_MARK]


@cache
def _kept_apart() -> tuple[Callable[..., Any], ...]:
    """The functions behind `torch._disable_dynamo` that meta kernels are made of; none if torch does it another way."""
    parts = torch._compile._disable_dynamo.__code__.co_consts
    wrapper = next((part for part in parts if isinstance(part, CodeType) and part.co_name == "inner"), None)
    if wrapper is None or _MARK not in wrapper.co_consts:
        return ()
    found: dict[Callable[..., Any], None] = {}
    seen: set[int] = set()
    modules = [module for name, module in list(sys.modules.items()) if name.startswith(_MODULES)]
    waiting: list[object] = [value for module in modules for value in vars(module).values()]
    while waiting:
        function = waiting.pop()
        if not isinstance(function, FunctionType) or id(function) in seen:
            continue
        seen.add(id(function))
        inside: list[object] = []
        for cell in function.__closure__ or ():
            with suppress(ValueError):  # it is empty
                inside.append(cell.cell_contents)
        if function.__code__ is wrapper:
            found.update(dict.fromkeys(value for value in inside if isinstance(value, FunctionType)))
        waiting += [*inside, function.__dict__.get("__wrapped__")]
    return tuple(found)
