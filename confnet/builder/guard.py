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
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from confnet.diagnostics import ConfnetError, Diagnostic, Span

__all__ = ["GUARD_NAMES", "budget", "guarded"]

_Node = TypeVar("_Node", bound=ast.AST)

MAX_BITS = 4_096
MAX_ITEMS = 1_000_000


@dataclass(slots=True)
class _Budget:
    steps: int
    deadline: float


_BUDGET: ContextVar[_Budget | None] = ContextVar("confnet_budget", default=None)


@contextmanager
def budget(steps: int, seconds: float) -> Iterator[None]:
    """Within it, guarded code may take that many steps of loops and that long; an outer budget goes on inside."""
    if _BUDGET.get() is not None:
        yield
        return
    token = _BUDGET.set(_Budget(steps, time.monotonic() + seconds))
    try:
        yield
    finally:
        _BUDGET.reset(token)


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
            allowed.steps -= 1
            if allowed.steps < 0:
                raise _too_much("the loops of this code take too many steps")
            if allowed.steps % 64 == 0 and time.monotonic() > allowed.deadline:
                raise _too_much("this code takes too long")
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
        allowed.steps -= steps
        if allowed.steps < 0:
            raise _too_much("the lists of this code take too many steps")


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
    """The diagnostic for the line of the file that is running."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename == __file__ and frame.f_back is not None:
        frame = frame.f_back
    file = re.sub(r"^(<.*) [0-9a-f]{8}>$", r"\1>", frame.f_code.co_filename)
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).rstrip()
    span = Span(file, frame.f_lineno, len(line) - len(line.lstrip()) + 1, frame.f_lineno, len(line) + 1)
    help = "compute it with tensors, or register a function"
    return ConfnetError([Diagnostic("too-much-work", message, span=span, help=help)])


GUARD_NAMES: dict[str, Callable[..., Any]] = {
    "_confnet_iterate": _iterate,
    "_confnet_range": _range,
    "_confnet_operate": _operate,
    "_confnet_counted": _counted,
    "_confnet_measured": _measured_value,
}
