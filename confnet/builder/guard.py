"""Bounds on code that runs while a file is checked or built.

The code of a forward may run as long as its author likes once the model is in use. What runs before that, the values
of buffers and initialisers and the trial of a forward, must end soon and stay small on any file. Such code is
compiled a second time with its loops counted and its arithmetic on numbers and lists bounded.
"""

from __future__ import annotations

import ast
import linecache
import operator
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any, TypeVar

import torch

from confnet.diagnostics import ConfnetError, Diagnostic, Span

__all__ = ["GUARD_NAMES", "Budget", "TooLong", "budget", "budget_in_force", "guarded", "within"]

_Node = TypeVar("_Node", bound=ast.AST)

MAX_BITS = 4_096
MAX_ITEMS = 1_000_000


class TooLong(ConfnetError):
    """Code took too many steps, or too long: nothing is known of it but that."""


class Budget:
    """What code that is only tried may take: so many steps, and so many seconds of this thread beside the first `free`
    steps, which no machine is too slow for.

    It may be used several times: what was taken stays taken.
    """

    def __init__(self, steps: int, seconds: float, free: int = 0) -> None:
        self.steps, self.seconds, self.free = steps, seconds, free
        self.taken, self.looked = 0, 0
        self.begin = 0.0

    def spend(self, steps: int, message: str = "the loops of this code take too many steps") -> None:
        """Take steps. Raises TooLong where there are none left."""
        self.taken += steps
        if self.taken > self.steps:
            raise TooLong(_too_much(message).diagnostics)
        if self.taken - self.looked >= _LOOK:
            self.looked = self.taken
            if self.taken > self.free and time.thread_time() - self.begin > self.seconds:
                raise TooLong(_too_much("this code takes too long").diagnostics)


_LOOK = 64
_BUDGET: ContextVar[Budget | None] = ContextVar("confnet_budget", default=None)


@contextmanager
def within(allowed: Budget) -> Iterator[Budget]:
    """Guarded code takes from a budget; an outer one goes on inside."""
    outer = _BUDGET.get()
    if outer is not None:
        yield outer
        return
    token = _BUDGET.set(allowed)
    allowed.begin = time.thread_time()
    try:
        yield allowed
    finally:
        allowed.seconds -= time.thread_time() - allowed.begin
        _BUDGET.reset(token)


@contextmanager
def budget(steps: int, seconds: float) -> Iterator[None]:
    """Within it, guarded code may take that many steps of loops and that long; an outer budget goes on inside."""
    with within(Budget(steps, seconds)):
        yield


def budget_in_force() -> Budget | None:
    """What code takes from here."""
    return _BUDGET.get()


def guarded(function: ast.FunctionDef) -> ast.FunctionDef:
    """The same function with loops counted and arithmetic bounded."""
    made = _Guard().visit(function)
    assert isinstance(made, ast.FunctionDef)
    return ast.fix_missing_locations(made)


class _Guard(ast.NodeTransformer):
    def visit_For(self, node: ast.For) -> ast.For:
        self.generic_visit(node)
        node.iter = _call("_confnet_iterate", node.iter, [node.iter])
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.comprehension:
        self.generic_visit(node)
        node.iter = _call("_confnet_iterate", node.iter, [node.iter])
        return node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "range":
            node.func = ast.copy_location(ast.Name("_confnet_range", ast.Load()), node.func)
        elif isinstance(node.func, ast.Attribute) and node.func.attr == "extend":
            node.args = [_call("_confnet_counted", argument, [argument]) for argument in node.args]
        elif ast.unparse(node.func) in _GOES_THROUGH:
            node.args = [_measured(argument) for argument in node.args]
        return node

    def visit_List(self, node: ast.List) -> ast.expr:
        return self.spread(node)

    def visit_Tuple(self, node: ast.Tuple) -> ast.expr:
        return self.spread(node)

    def spread(self, node: ast.List | ast.Tuple) -> ast.expr:
        self.generic_visit(node)
        for item in node.elts if isinstance(node.ctx, ast.Load) else ():
            if isinstance(item, ast.Starred):
                item.value = _call("_confnet_counted", item.value, [item.value])
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.Assign:
        self.generic_visit(node)
        if any(isinstance(target, ast.Subscript) for target in node.targets):
            node.value = _call("_confnet_counted", node.value, [node.value])
        return node

    def visit_Return(self, node: ast.Return) -> ast.Return:
        self.generic_visit(node)
        if node.value is not None:
            node.value = _measured(node.value)  # what a buffer's value becomes a tensor of
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.Compare:
        self.generic_visit(node)
        node.left = _measured(node.left)
        node.comparators = [_measured(operand) for operand in node.comparators]
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        name = type(node.op).__name__
        if name not in _OPERATIONS:
            return node
        return _call("_confnet_operate", node, [ast.Constant(name), node.left, node.right])

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        self.generic_visit(node)
        name = f"I{type(node.op).__name__}"
        if name not in _OPERATIONS or not isinstance(node.target, ast.Name):
            return node
        read = ast.copy_location(ast.Name(node.target.id, ast.Load()), node.target)
        value = _call("_confnet_operate", node, [ast.Constant(name), read, node.value])
        return ast.copy_location(ast.Assign([node.target], value), node)


# What goes through all that lists in lists hold, which may share so much of each other that there is no end to it.
_GOES_THROUGH = frozenset({"torch.tensor", "torch.as_tensor", "min", "max"})


def _measured(node: ast.expr) -> ast.expr:
    if isinstance(node, ast.Constant):
        return node
    if isinstance(node, ast.Starred):
        node.value = _measured(node.value)
        return node
    return _call("_confnet_measured", node, [node])


def _call(name: str, place: ast.AST, arguments: list[ast.expr]) -> ast.Call:
    function = ast.copy_location(ast.Name(name, ast.Load()), place)
    return ast.copy_location(ast.Call(function, arguments, []), place)


# --- what guarded code calls ----------------------------------------------------------------------------------------


def _iterate(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        allowed = _BUDGET.get()
        if allowed is not None:
            allowed.spend(1)
        yield value


def _counted(values: Any) -> Any:
    """Values that are about to be copied into a list: each is a step."""
    if _is_sequence(values):
        _spend(len(values))
    return values


def _measured_value(value: Any) -> Any:
    """A value that is about to be gone through, however deep: what lists in lists hold is bounded, shared ones counted
    each time."""
    waiting, count = [value], 0
    while waiting:
        item = waiting.pop()
        if isinstance(item, list | tuple):
            count += len(item)
            if count > MAX_ITEMS:
                raise _too_much(f"a list holds more than {MAX_ITEMS:,} items, those of its items included")
            waiting += [part for part in item if isinstance(part, list | tuple)]
    return value


def _spend(steps: int) -> None:
    allowed = _BUDGET.get()
    if allowed is not None:
        allowed.spend(steps, "the lists of this code take too many steps")


def _range(*arguments: Any) -> range:
    made = range(*arguments)
    if made and abs(made[-1] - made[0]) // abs(made.step) >= MAX_ITEMS:
        raise _too_much(f"a range has more than {MAX_ITEMS:,} items")
    return made


_OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Mult": operator.mul,
    "Pow": operator.pow,
    "LShift": operator.lshift,
    "IAdd": operator.iadd,
    "IMult": operator.imul,
    "IPow": operator.ipow,
    "ILShift": operator.ilshift,
}


def _operate(name: str, left: Any, right: Any) -> Any:
    if not isinstance(left, torch.Tensor) and not isinstance(right, torch.Tensor):
        _bound(name.removeprefix("I"), left, right)
    return _OPERATIONS[name](left, right)


def _bound(name: str, left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        bits = {
            "Mult": left.bit_length() + right.bit_length(),
            "Pow": left.bit_length() * max(right, 0) if abs(left) > 1 else 0,
            "LShift": left.bit_length() + max(right, 0),
        }
        if bits.get(name, 0) > MAX_BITS:
            raise _too_much(f"a number has more than {MAX_BITS:,} bits")
        return
    items = 0
    if name == "Add" and _is_sequence(left) and _is_sequence(right):
        items = len(left) + len(right)
    elif name == "Mult" and (_is_sequence(left) or _is_sequence(right)):
        sequence, count = (left, right) if _is_sequence(left) else (right, left)
        items = len(sequence) * count if isinstance(count, int) else 0
    if items > MAX_ITEMS:
        raise _too_much(f"a text or list has more than {MAX_ITEMS:,} items")


def _is_sequence(value: Any) -> bool:
    return isinstance(value, list | tuple | str)


def _too_much(message: str) -> ConfnetError:
    """The diagnostic for the line of the file that is running, if any is."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and "_confnet_iterate" not in frame.f_globals:
        frame = frame.f_back
    help = "compute it with tensors, or register a function"
    if frame is None:
        return ConfnetError([Diagnostic("too-much-work", message, help=help)])
    file = re.sub(r"^(<.*) [0-9a-f]{8}>$", r"\1>", frame.f_code.co_filename)
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).rstrip()
    span = Span(file, frame.f_lineno, len(line) - len(line.lstrip()) + 1, frame.f_lineno, len(line) + 1)
    return ConfnetError([Diagnostic("too-much-work", message, span=span, help=help)])


GUARD_NAMES: dict[str, Callable[..., Any]] = {
    "_confnet_iterate": _iterate,
    "_confnet_range": _range,
    "_confnet_operate": _operate,
    "_confnet_counted": _counted,
    "_confnet_measured": _measured_value,
}
