"""A tree-walking evaluator for `$` expressions, with a budget of steps."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from confnet.diagnostics import closest
from confnet.language.arithmetic import (
    FUNCTIONS,
    KEYWORDS,
    MAX_ITEMS,
    binary,
    bounded,
    compare,
    integer,
    items_of,
    measure,
    number,
    truth,
    word,
)
from confnet.language.grammar import LanguageError

__all__ = ["Evaluator", "budget"]

MAX_STEPS = 1_000_000
BASE_STEPS = 8
"""What an expression costs before its first step."""


_LEFT: ContextVar[list[int] | None] = ContextVar("confnet_expression_steps", default=None)


@contextmanager
def budget(steps: int) -> Iterator[None]:
    """Within it, all expressions together may take that many steps; an outer budget goes on inside."""
    if _LEFT.get() is not None:
        yield
        return
    token = _LEFT.set([steps])
    try:
        yield
    finally:
        _LEFT.reset(token)


class Evaluator:
    """One evaluation of one expression over `names`, within one budget of steps."""

    def __init__(self, names: Mapping[str, object]) -> None:
        self.names = names
        self.bound: dict[str, object] = {}
        self.steps = 0

    def result(self, node: ast.expr) -> object:
        """The value of the whole expression; raises LanguageError."""
        self._spend(node, BASE_STEPS)
        value = self.value(node)
        self._guard(node, lambda: self._spend(node, measure(value)))
        return value

    def value(self, node: ast.expr) -> object:
        """The value of a part; raises LanguageError."""
        self._spend(node, 1)
        made = self._guard(node, lambda: bounded(self._evaluate(node)))
        if isinstance(made, list | tuple | dict | str) and not isinstance(node, ast.Name | ast.Constant):
            self._spend(node, len(made))
        return made

    def _spend(self, node: ast.expr, steps: int) -> None:
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise LanguageError.at(node, "expression-error", "the expression takes too many steps")
        left = _LEFT.get()
        if left is not None:
            left[0] -= steps
            if left[0] < 0:
                message = "the expressions of the file take too many steps together"
                raise LanguageError.at(node, "too-much-work", message)

    def _guard(self, node: ast.expr, compute: Callable[[], object]) -> object:
        try:
            return compute()
        except ZeroDivisionError:
            raise LanguageError.at(node, "expression-error", "division by zero") from None
        except OverflowError:
            raise LanguageError.at(node, "expression-error", "the result is too large for a number") from None
        except (TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise LanguageError.at(node, "expression-error", _message(error)) from None
        except (RecursionError, MemoryError):
            raise LanguageError.at(node, "expression-error", "the value is too large") from None

    def _evaluate(self, node: ast.expr) -> object:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return self._name(node, name)
            case ast.BinOp(left=left, op=op, right=right):
                return binary(op, self.value(left), self.value(right))
            case ast.UnaryOp(op=op, operand=operand):
                return self._unary(op, self.value(operand))
            case ast.BoolOp():
                return self._either(node)
            case ast.Compare():
                return self._compare(node)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self.value(body if truth(self.value(test)) else orelse)
            case ast.Call():
                return self._call(node)
            case ast.Subscript():
                return self._subscript(node)
            case ast.List(elts=items):
                return self._display(items)
            case ast.Tuple(elts=items):
                return tuple(self._display(items))
            case ast.Dict(keys=keys, values=values):
                return {self.value(key): self.value(v) for key, v in zip(keys, values, strict=True) if key is not None}
            case ast.ListComp(elt=element) | ast.GeneratorExp(elt=element):
                return [made for (made,) in self._collect(node.generators, [element])]
            case ast.DictComp(key=key, value=value):
                return self._mapping(self._collect(node.generators, [key, value]))
        raise TypeError(f"`{type(node).__name__}` has no meaning in an expression")

    def _name(self, node: ast.expr, name: str) -> object:
        if name in self.bound:
            return self.bound[name]
        if name in self.names:
            return self.names[name]
        if name in FUNCTIONS:
            raise LanguageError.at(node, "expression-error", f"the function `{name}` must be called")
        near = closest(name, [*self.bound, *self.names])
        help = f"did you mean `{near}`?" if near else ""
        if not near and self.names:
            help = "known here: " + ", ".join(f"`{known}`" for known in list(self.names)[:12])
        raise LanguageError.at(node, "undefined-name", f"`{name}` is not defined", help, near)

    def _unary(self, op: ast.unaryop, value: object) -> object:
        if isinstance(op, ast.Not):
            return not truth(value)
        if isinstance(op, ast.Invert):
            return ~integer(value, "~")
        operand = number(value, "-" if isinstance(op, ast.USub) else "+")
        return bounded(-operand if isinstance(op, ast.USub) else +operand)

    def _either(self, node: ast.BoolOp) -> object:
        value: object = None
        for operand in node.values:
            value = self.value(operand)
            if operand is not node.values[-1] and truth(value) == isinstance(node.op, ast.Or):
                return value
        return value

    def _compare(self, node: ast.Compare) -> object:
        left = self.value(node.left)
        for op, operand in zip(node.ops, node.comparators, strict=True):
            right = self.value(operand)
            self._spend(node, measure(left) + measure(right))
            if not compare(op, left, right):
                return False
            left = right
        return True

    def _display(self, nodes: Sequence[ast.expr]) -> list[object]:
        items: list[object] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                items.extend(items_of(self.value(node.value)))
            else:
                items.append(self.value(node))
            bounded(items)
        return items

    def _call(self, node: ast.Call) -> object:
        assert isinstance(node.func, ast.Name)
        name = node.func.id
        function, fewest, most = FUNCTIONS[name]
        values = self._display(node.args)
        keywords: dict[str, object] = {}
        for keyword in node.keywords:
            if (name, keyword.arg) not in KEYWORDS or keyword.arg in keywords:
                raise TypeError(f"`{name}` has no argument `{keyword.arg}`")
            keywords[str(keyword.arg)] = self.value(keyword.value)
        if not fewest <= len(values) <= most:
            count = (
                str(fewest) if fewest == most else f"{fewest} to {most}" if most < MAX_ITEMS else f"at least {fewest}"
            )
            raise TypeError(f"`{name}` takes {count} arguments, not {len(values)}")
        self._spend(node, sum(map(measure, values)))
        return function(*values, **keywords)

    def _subscript(self, node: ast.Subscript) -> object:
        value = self.value(node.value)
        if not isinstance(value, list | tuple | range | str | dict):
            raise TypeError(f"{word(value)} cannot be indexed")
        if isinstance(node.slice, ast.Slice):
            if isinstance(value, dict):
                raise TypeError("a dict cannot be sliced")
            bounds = [None if part is None else self.value(part) for part in _bounds(node.slice)]
            return value[slice(*[None if b is None else integer(b, "[:]") for b in bounds])]
        index = self.value(node.slice)
        if isinstance(value, dict):
            if not isinstance(index, str) or index not in value:
                raise LookupError(f"there is no key {index!r}" if isinstance(index, str) else "keys are text")
            return value[index]
        place = integer(index, "[]")
        if not -len(value) <= place < len(value):
            raise LookupError(f"index {place} of {word(value)} with {len(value)} items")
        return value[place]

    def _collect(self, generators: Sequence[ast.comprehension], parts: list[ast.expr]) -> list[tuple[object, ...]]:
        outer = dict(self.bound)
        made: list[tuple[object, ...]] = []
        for _ in self._rounds(generators):
            made.append(tuple(self.value(part) for part in parts))
            bounded(made)
        self.bound = outer
        return made

    def _rounds(self, generators: Sequence[ast.comprehension]) -> Iterator[None]:
        if not generators:
            yield
            return
        first, *rest = generators
        for item in items_of(self.value(first.iter)):
            self._spend(first.target, 1)
            self._bind(first.target, item)
            if all(truth(self.value(condition)) for condition in first.ifs):
                yield from self._rounds(rest)

    def _bind(self, target: ast.expr, item: object) -> None:
        if isinstance(target, ast.Name):
            self.bound[target.id] = item
        elif isinstance(target, ast.Tuple | ast.List):
            parts = items_of(item)
            if len(parts) != len(target.elts):
                raise ValueError(f"{len(parts)} values for {len(target.elts)} names")
            for part, value in zip(target.elts, parts, strict=True):
                self._bind(part, value)
        else:
            raise TypeError("a comprehension binds names only")

    def _mapping(self, pairs: list[tuple[object, ...]]) -> object:
        if not all(isinstance(key, str) for key, _ in pairs):
            raise TypeError("the keys of a dict are text")
        return {str(key): value for key, value in pairs}


def _bounds(node: ast.Slice) -> tuple[ast.expr | None, ast.expr | None, ast.expr | None]:
    return node.lower, node.upper, node.step


def _message(error: BaseException) -> str:
    text = str(error.args[0]) if error.args else type(error).__name__
    return (text[:1].lower() + text[1:]).rstrip(".").replace("'", "`")
