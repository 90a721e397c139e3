"""The arithmetic of `$` expressions: operators and functions, bounded in size and digits.

Everything here raises TypeError, ValueError, LookupError or ArithmeticError; `confnet.language.evaluator` turns that
into a diagnostic. No method of an opaque value (a module) is ever called.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

from confnet.plan import DTypeName, LayerName

__all__ = [
    "FUNCTIONS",
    "KEYWORDS",
    "MAX_ITEMS",
    "MAX_TEXT",
    "as_text",
    "binary",
    "bounded",
    "compare",
    "integer",
    "items_of",
    "measure",
    "number",
    "truth",
    "word",
]

MAX_ITEMS = 100_000
MAX_TEXT = 10_000
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


# --- bounds ----------------------------------------------------------------------------------------


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


# --- operators -------------------------------------------------------------------------------------


def number(value: object, symbol: str) -> Number:
    """`value` as an operand of `symbol`; raises TypeError if it is no number."""
    if isinstance(value, int | float):
        return value
    raise TypeError(f"`{symbol}` does not take {word(value)}")


def integer(value: object, symbol: str) -> int:
    """`value` as an operand of `symbol`; raises TypeError if it is no whole number."""
    if isinstance(value, int):
        return value
    raise TypeError(f"`{symbol}` takes whole numbers, not {word(value)}")


def _real(value: object, *operands: Number) -> object:
    """A result of arithmetic; raises ValueError where finite numbers gave something that is not a finite real."""
    if isinstance(value, float) and not math.isfinite(value) and all(math.isfinite(o) for o in operands):
        raise ValueError("the result is not a finite number")
    return bounded(value)


def _add(left: object, right: object) -> object:
    if isinstance(left, str) and isinstance(right, str):
        return bounded(left + right)
    if isinstance(left, list) and isinstance(right, list):
        return bounded(left + right)
    if isinstance(left, tuple) and isinstance(right, tuple):
        return bounded(left + right)
    a, b = number(left, "+"), number(right, "+")
    return _real(a + b, a, b)


def _multiply(left: object, right: object) -> object:
    if isinstance(right, str | list | tuple):
        left, right = right, left
    if isinstance(left, str | list | tuple):
        times = integer(right, "*")
        if len(left) * times > (MAX_TEXT if isinstance(left, str) else MAX_ITEMS):
            raise ValueError("the result is too long")
        return left * times
    a, b = number(left, "*"), number(right, "*")
    return _real(a * b, a, b)


def _power(left: object, right: object) -> object:
    base, exponent = number(left, "**"), number(right, "**")
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * max(exponent, 0) > 128:
        if abs(base) > 1:
            raise ValueError("the result is an integer of more than 64 bits")
        exponent = exponent % 2 + 2  # powers of -1, 0 and 1 know only odd and even
    return _real(base**exponent, base, exponent)


def _shift_left(left: object, right: object) -> object:
    value, places = integer(left, "<<"), integer(right, "<<")
    if places > 64:
        raise ValueError("the result is an integer of more than 64 bits")
    return bounded(value << places)


def _arithmetic(symbol: str, function: Callable[[Number, Number], object]) -> Callable[[object, object], object]:
    def apply(left: object, right: object) -> object:
        a, b = number(left, symbol), number(right, symbol)
        return _real(function(a, b), a, b)

    return apply


def _bitwise(symbol: str, function: Callable[[int, int], object]) -> Callable[[object, object], object]:
    def apply(left: object, right: object) -> object:
        return bounded(function(integer(left, symbol), integer(right, symbol)))

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

COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], object]] = {
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


# --- functions -------------------------------------------------------------------------------------


def items_of(value: object) -> list[object]:
    """The items of a sequence, the keys of a dict; raises TypeError for anything else."""
    if isinstance(value, list | tuple | dict | range | str):
        bounded(value)
        return list(value)
    raise TypeError(f"{word(value)} has no items to go through")


def _range(*bounds: object) -> object:
    made = range(*[integer(bound, "range") for bound in bounds])
    try:
        length = len(made)
    except OverflowError:
        length = MAX_ITEMS + 1
    if length > MAX_ITEMS:
        raise ValueError(f"the range has more than {MAX_ITEMS:,} items")
    return made


def _length(value: object) -> object:
    return len(items_of(value))


def _extreme(function: Callable[..., object]) -> Callable[..., object]:
    def apply(*values: object) -> object:
        items = items_of(values[0]) if len(values) == 1 else list(values)
        measure(items)
        keys = [comparable(item) for item in items]
        chosen = function(range(len(items)), key=keys.__getitem__)
        assert isinstance(chosen, int)
        return items[chosen]

    return apply


def _sorted(value: object, *, reverse: object = False) -> object:
    items = items_of(value)
    measure(items)
    keys = [comparable(item) for item in items]
    order = sorted(range(len(items)), key=keys.__getitem__, reverse=truth(reverse))  # type: ignore[arg-type]
    return [items[index] for index in order]


def _sum(value: object, start: object = 0) -> object:
    if isinstance(start, str):
        raise TypeError("`sum` does not take text")
    items = items_of(value)
    if isinstance(start, list | tuple) and len(items) > 1_000:
        raise ValueError("`sum` joins at most 1,000 lists")
    total = start
    for item in items:
        total = _add(total, item)
    return total


def _round(value: object, digits: object = None) -> object:
    given = number(value, "round")
    if digits is None:
        return bounded(round(given))
    places = integer(digits, "round")
    if abs(places) > MAX_DIGITS:
        raise ValueError(f"`round` takes at most {MAX_DIGITS} digits")
    return bounded(round(given, places))


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
    first = integer(start, "enumerate")
    return [(first + index, item) for index, item in enumerate(items_of(value))]


def _real_function(name: str, function: Callable[..., object]) -> Callable[..., object]:
    def apply(*values: object) -> object:
        numbers = [number(value, name) for value in values]
        return _real(function(*numbers), *numbers)

    return apply


def _zip(*values: object) -> object:
    return list(zip(*map(items_of, values), strict=False))


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
    "list": (items_of, 1, 1),
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
