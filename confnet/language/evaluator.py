"""A tree-walking evaluator for `$` expressions, bounded in everything: steps, sizes, digits.

It never calls a method of a value, so that opaque values (modules) pass through it untouched.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence

from confnet.diagnostics import closest
from confnet.language.grammar import LanguageError
from confnet.plan import DTypeName, LayerName

__all__ = ["FUNCTIONS", "MAX_TEXT", "Evaluator", "as_text", "binary", "compare"]

MAX_ITEMS = 100_000
MAX_TEXT = 10_000
MAX_STEPS = 1_000_000
MAX_NESTING = 100
MAX_DIGITS = 100
MAX_INTEGER = 2**63

Number = int | float


def word(value: object) -> str:
    """What a value is, in a word for messages."""
    match value:
        case None:
            return "null"
        case bool() | int() | float() | list() | tuple() | dict() | range():
            return type(value).__name__
        case str():
            return "text"
        case DTypeName():
            return "a dtype"
        case LayerName():
            return "a layer"
    return "a module"


# --- bounds ---------------------------------------------------------------------------------------------------------


def bounded(value: object) -> object:
    """`value` if it is small enough; raises ValueError for integers of more than 64 bits and long sequences."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and not -MAX_INTEGER <= value < MAX_INTEGER:
        raise ValueError("the result is an integer of more than 64 bits")
    if isinstance(value, complex):
        raise ValueError("the result is not a real number")
    if isinstance(value, list | tuple | dict | range) and len(value) > MAX_ITEMS:
        raise ValueError(f"the result has more than {MAX_ITEMS:,} items")
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise ValueError(f"the text is longer than {MAX_TEXT:,} characters")
    return value


def measure(value: object) -> int:
    """How many values `value` holds, shared ones counted each time; raises ValueError beyond the bounds.

    A few nested displays can share their items so often that comparing them would take for ever.
    """
    count = 0
    stack: list[tuple[object, int]] = [(value, 0)]
    while stack:
        item, depth = stack.pop()
        count += 1
        if count > MAX_ITEMS or depth > MAX_NESTING:
            raise ValueError(f"the value has more than {MAX_ITEMS:,} items or {MAX_NESTING} levels")
        if isinstance(item, list | tuple):
            stack.extend((part, depth + 1) for part in item)
        elif isinstance(item, dict):
            stack.extend((part, depth + 1) for part in item.values())
        elif isinstance(item, range):
            count += len(item)
    return count


def comparable(value: object) -> object:
    """`value` with dtypes and layers as their names; raises TypeError where it holds a module."""
    match value:
        case None | bool() | int() | float() | str() | range():
            return value
        case DTypeName(name=name) | LayerName(name=name):
            return name
        case list():
            return [comparable(item) for item in value]
        case tuple():
            return tuple(comparable(item) for item in value)
        case dict():
            return {key: comparable(item) for key, item in value.items()}
    raise TypeError("a module can only be compared with null")


def as_text(value: object) -> str:
    """A value as it stands inside a longer text; raises TypeError for modules, ValueError beyond the bounds."""
    measure(value)
    return str(bounded(str(comparable(value))))


def truth(value: object) -> bool:
    """Whether a value counts as true; raises TypeError for modules."""
    if isinstance(value, None | bool | int | float | str | list | tuple | dict | range):
        return bool(value)
    raise TypeError(f"{word(value)} is neither true nor false; compare it with null")


# --- operators ------------------------------------------------------------------------------------------------------


def _number(value: object, symbol: str) -> Number:
    if isinstance(value, int | float):
        return value
    raise TypeError(f"`{symbol}` does not take {word(value)}")


def _integer(value: object, symbol: str) -> int:
    if isinstance(value, int):
        return value
    raise TypeError(f"`{symbol}` takes whole numbers, not {word(value)}")


def _real(value: object, *operands: Number) -> object:
    """A result of arithmetic; raises ValueError where finite numbers gave something that is not a finite real."""
    if isinstance(value, float) and not math.isfinite(value) and all(math.isfinite(o) for o in operands):
        raise ValueError("the result is not a finite number")
    return bounded(value)


def _add(left: object, right: object) -> object:
    match left, right:
        case (str(), str()) | (list(), list()) | (tuple(), tuple()):
            if len(left) + len(right) > MAX_ITEMS:
                raise ValueError(f"the result has more than {MAX_ITEMS:,} items")
            return bounded(left + right)  # type: ignore[operator]
    a, b = _number(left, "+"), _number(right, "+")
    return _real(a + b, a, b)


def _multiply(left: object, right: object) -> object:
    if isinstance(right, str | list | tuple):
        left, right = right, left
    if isinstance(left, str | list | tuple):
        times = _integer(right, "*")
        if len(left) * times > (MAX_TEXT if isinstance(left, str) else MAX_ITEMS):
            raise ValueError("the result is too long")
        return left * times
    a, b = _number(left, "*"), _number(right, "*")
    return _real(a * b, a, b)


def _power(left: object, right: object) -> object:
    base, exponent = _number(left, "**"), _number(right, "**")
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * max(exponent, 0) > 128:
        if abs(base) > 1:
            raise ValueError("the result is an integer of more than 64 bits")
        exponent = exponent % 2 + 2  # powers of -1, 0 and 1 know only odd and even
    return _real(base**exponent, base, exponent)


def _shift_left(left: object, right: object) -> object:
    value, places = _integer(left, "<<"), _integer(right, "<<")
    if places > 64:
        raise ValueError("the result is an integer of more than 64 bits")
    return bounded(value << places)


def _arithmetic(symbol: str, function: Callable[[Number, Number], object]) -> Callable[[object, object], object]:
    def apply(left: object, right: object) -> object:
        a, b = _number(left, symbol), _number(right, symbol)
        return _real(function(a, b), a, b)

    return apply


def _bitwise(symbol: str, function: Callable[[int, int], object]) -> Callable[[object, object], object]:
    def apply(left: object, right: object) -> object:
        return bounded(function(_integer(left, symbol), _integer(right, symbol)))

    return apply


BINARY: dict[type[ast.operator], Callable[[object, object], object]] = {
    ast.Add: _add,
    ast.Sub: _arithmetic("-", operator.sub),
    ast.Mult: _multiply,
    ast.Div: _arithmetic("/", operator.truediv),
    ast.FloorDiv: _arithmetic("//", operator.floordiv),
    ast.Mod: _arithmetic("%", operator.mod),
    ast.Pow: _power,
    ast.LShift: _shift_left,
    ast.RShift: _bitwise(">>", operator.rshift),
    ast.BitAnd: _bitwise("&", operator.and_),
    ast.BitOr: _bitwise("|", operator.or_),
    ast.BitXor: _bitwise("^", operator.xor),
}

COMPARE: dict[type[ast.cmpop], Callable[[object, object], object]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def binary(op: ast.operator, left: object, right: object) -> object:
    """`left op right`; raises TypeError, ValueError or ArithmeticError where there is no such bounded value."""
    if type(op) not in BINARY:
        raise TypeError("this operator has no meaning between numbers")
    return BINARY[type(op)](left, right)


def compare(op: ast.cmpop, left: object, right: object) -> bool:
    """`left op right`, with dtypes and layers equal to their names; raises TypeError or ValueError."""
    if isinstance(op, ast.Is | ast.IsNot):
        if left is not None and right is not None and not (isinstance(left, bool) or isinstance(right, bool)):
            raise TypeError("`is` compares with null, true or false; compare values with `==`")
        return (left is right) == isinstance(op, ast.Is)
    if isinstance(op, ast.Eq | ast.NotEq) and (left is None or right is None):
        return (left is right) == isinstance(op, ast.Eq)
    measure(left)
    measure(right)
    a, b = comparable(left), comparable(right)
    if isinstance(op, ast.In | ast.NotIn):
        if isinstance(b, str) and not isinstance(a, str):
            raise TypeError(f"`in` a text takes text, not {word(left)}")
        if not isinstance(b, str | list | tuple | dict | range):
            raise TypeError(f"`in` does not take {word(right)}")
        if isinstance(b, dict) and not isinstance(a, None | bool | int | float | str):
            raise TypeError(f"{word(left)} is never a key")
        return (a in b) == isinstance(op, ast.In)
    return bool(COMPARE[type(op)](a, b))


# --- functions ------------------------------------------------------------------------------------------------------


def _items(value: object) -> list[object]:
    if isinstance(value, list | tuple | dict | range | str):
        bounded(value)
        return list(value)
    raise TypeError(f"{word(value)} has no items to go through")


def _range(*bounds: object) -> object:
    made = range(*[_integer(bound, "range") for bound in bounds])
    try:
        length = len(made)
    except OverflowError:
        length = MAX_ITEMS + 1
    if length > MAX_ITEMS:
        raise ValueError(f"the range has more than {MAX_ITEMS:,} items")
    return made


def _length(value: object) -> object:
    return len(_items(value))


def _extreme(function: Callable[..., object]) -> Callable[..., object]:
    def apply(*values: object) -> object:
        items = _items(values[0]) if len(values) == 1 else list(values)
        measure(items)
        keys = [comparable(item) for item in items]
        chosen = function(range(len(items)), key=keys.__getitem__)
        assert isinstance(chosen, int)
        return items[chosen]

    return apply


def _sorted(value: object, *, reverse: object = False) -> object:
    items = _items(value)
    measure(items)
    keys = [comparable(item) for item in items]
    order = sorted(range(len(items)), key=keys.__getitem__, reverse=truth(reverse))  # type: ignore[arg-type]
    return [items[index] for index in order]


def _sum(value: object, start: object = 0) -> object:
    if isinstance(start, str):
        raise TypeError("`sum` does not take text")
    items = _items(value)
    if isinstance(start, list | tuple) and len(items) > 1_000:
        raise ValueError("`sum` joins at most 1,000 lists")
    total = start
    for item in items:
        total = _add(total, item)
    return total


def _round(value: object, digits: object = None) -> object:
    number = _number(value, "round")
    if digits is None:
        return bounded(round(number))
    places = _integer(digits, "round")
    if abs(places) > MAX_DIGITS:
        raise ValueError(f"`round` takes at most {MAX_DIGITS} digits")
    return bounded(round(number, places))


def _int(value: object = 0) -> object:
    if isinstance(value, int | float | str):
        return bounded(int(value))
    raise TypeError(f"`int` does not take {word(value)}")


def _float(value: object = 0.0) -> object:
    if not isinstance(value, int | float | str):
        raise TypeError(f"`float` does not take {word(value)}")
    result = float(value)
    if math.isnan(result):
        raise ValueError("the result is not a number")
    return result


def _enumerate(value: object, start: object = 0) -> object:
    first = _integer(start, "enumerate")
    return [(first + index, item) for index, item in enumerate(_items(value))]


def _real_function(name: str, function: Callable[..., object]) -> Callable[..., object]:
    def apply(*values: object) -> object:
        numbers = [_number(value, name) for value in values]
        return _real(function(*numbers), *numbers)

    return apply


def _zip(*values: object) -> object:
    return list(zip(*map(_items, values), strict=False))


FUNCTIONS: dict[str, tuple[Callable[..., object], int, int]] = {
    # name: (function, fewest arguments, most arguments)
    "min": (_extreme(min), 1, MAX_ITEMS),
    "max": (_extreme(max), 1, MAX_ITEMS),
    "abs": (_real_function("abs", abs), 1, 1),
    "round": (_round, 1, 2),
    "int": (_int, 0, 1),
    "float": (_float, 0, 1),
    "str": (as_text, 1, 1),
    "bool": (truth, 1, 1),
    "len": (_length, 1, 1),
    "sum": (_sum, 1, 2),
    "range": (_range, 1, 3),
    "list": (_items, 1, 1),
    "zip": (_zip, 1, MAX_ITEMS),
    "enumerate": (_enumerate, 1, 2),
    "sorted": (_sorted, 1, 1),
    "sqrt": (_real_function("sqrt", math.sqrt), 1, 1),
    "log": (_real_function("log", math.log), 1, 2),
    "log2": (_real_function("log2", math.log2), 1, 1),
    "exp": (_real_function("exp", math.exp), 1, 1),
    "ceil": (_real_function("ceil", math.ceil), 1, 1),
    "floor": (_real_function("floor", math.floor), 1, 1),
}

KEYWORDS = {("sorted", "reverse"), ("enumerate", "start"), ("sum", "start")}


# --- the walk -------------------------------------------------------------------------------------------------------


class Evaluator:
    """One evaluation of one expression over `names`, within one budget of steps."""

    def __init__(self, names: Mapping[str, object]) -> None:
        self.names = names
        self.bound: dict[str, object] = {}
        self.steps = 0

    def result(self, node: ast.expr) -> object:
        """The value of the whole expression; raises LanguageError."""
        value = self.value(node)
        self._guard(node, lambda: measure(value))
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
        raise LanguageError.at(node, "undefined-name", f"`{name}` is not defined", help)

    def _unary(self, op: ast.unaryop, value: object) -> object:
        if isinstance(op, ast.Not):
            return not truth(value)
        if isinstance(op, ast.Invert):
            return ~_integer(value, "~")
        number = _number(value, "-" if isinstance(op, ast.USub) else "+")
        return bounded(-number if isinstance(op, ast.USub) else +number)

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
                items.extend(_items(self.value(node.value)))
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
            count = str(fewest) if fewest == most else f"{fewest} to {most}" if most < MAX_ITEMS else f"at least {fewest}"
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
            return value[slice(*[None if b is None else _integer(b, "[:]") for b in bounds])]
        index = self.value(node.slice)
        if isinstance(value, dict):
            if not isinstance(index, str) or index not in value:
                raise LookupError(f"there is no key {index!r}" if isinstance(index, str) else "keys are text")
            return value[index]
        place = _integer(index, "[]")
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
        for item in _items(self.value(first.iter)):
            self._spend(first.target, 1)
            self._bind(first.target, item)
            if all(truth(self.value(condition)) for condition in first.ifs):
                yield from self._rounds(rest)

    def _bind(self, target: ast.expr, item: object) -> None:
        if isinstance(target, ast.Name):
            self.bound[target.id] = item
        elif isinstance(target, ast.Tuple | ast.List):
            parts = _items(item)
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
