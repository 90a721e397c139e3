"""From the sizes that came out of several runs to the expression in symbolic sizes that gives all of them.

Torch computes the sizes; here the simplest expression that agrees with every run is found. Layers make integer
functions of few kinds: `k*((s + c)//d) + e` of one size, and products and sums of such (a flattened map, joined
tensors). Where several expressions agree, `separating` names a point at which they differ, to run next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations_with_replacement, pairwise
from math import gcd, prod

__all__ = ["Form", "Forms", "Point", "values_of"]

Point = Mapping[str, int]
"""A value for each symbolic size."""

MAX_DIVISOR = 512
MAX_FACTOR = 32
MAX_NUMERATOR = 16
MAX_CANDIDATES = 64
MAX_LIBRARY = 14


@dataclass(frozen=True, slots=True)
class Form:
    """An integer function of symbolic sizes: `scale * (product of bases)`, shifted, divided, scaled and shifted again.

    Its value is `k * ((m * product + c) // d) + e`, at most `cap` and at least `least`. Without bases it is the
    constant `e`; a sum has two bases and is marked so.
    """

    symbol: str = ""
    bases: tuple[Form, ...] = ()
    is_sum: bool = False
    m: int = 1
    c: int = 0
    d: int = 1
    k: int = 1
    e: int = 0
    cap: int | None = None
    least: int | None = None

    def at(self, point: Point) -> int:
        """The value at a point."""
        if self.symbol:
            return point[self.symbol]
        if not self.bases:
            return self.e
        if len(self.bases) == 1:
            base = self.bases[0]
            inner = point[base.symbol] if base.symbol else base.at(point)
        else:
            values = [base.at(point) for base in self.bases]
            inner = sum(values) if self.is_sum else prod(values)
        value = self.k * ((self.m * inner + self.c) // self.d) + self.e
        value = value if self.cap is None else min(value, self.cap)
        return value if self.least is None else max(value, self.least)

    @property
    def symbols(self) -> frozenset[str]:
        """The symbols that it depends on."""
        return frozenset({self.symbol} if self.symbol else {s for base in self.bases for s in base.symbols})

    @property
    def is_smooth(self) -> bool:
        """Whether nothing is divided and nothing ends: then two points settle it."""
        ends = self.d > 1 or self.cap is not None or self.least is not None
        return not ends and all(base.is_smooth for base in self.bases)

    @property
    def size(self) -> int | str:
        """The function as a size of a shape: a number where it is constant."""
        return self.text if self.symbol or self.bases else self.e

    @property
    def text(self) -> str:
        """The function as code."""
        if self.symbol:
            return self.symbol
        if not self.bases:
            return str(self.e)
        if self.least is not None:
            return f"max({replace(self, least=None).text}, {self.least})"
        if self.cap is not None:
            return f"min({replace(self, cap=None).text}, {self.cap})"
        m, c, d, k, e = self.m, self.c, self.d, self.k, self.e
        if d == 1:
            m, c, k, e = m * k, 0, 1, e + k * c
        elif k == 1:
            c, e = c + d * e, 0
        inner = self._inner(m)
        if d > 1:
            closed = c == 0 and not (self.is_sum and m == 1)
            inner = f"{inner}//{d}" if closed else f"({_shifted(inner, c)})//{d}"
            inner = inner if k == 1 else f"{k}*({inner})"
        return _shifted(inner, e)

    def _inner(self, m: int) -> str:
        if self.is_sum:
            text = " + ".join(base.text for base in self.bases)
            return text if m == 1 else f"{m}*({text})"
        return "*".join(([str(m)] if m != 1 else []) + [base.factor for base in self.bases])

    @property
    def factor(self) -> str:
        """The text, safe to multiply with."""
        text = self.text
        return text if self.symbol or text.isdigit() or self.least is not None or self.cap is not None else f"({text})"

    @property
    def cost(self) -> tuple[int, ...]:
        """How far the form is from simple: the least is chosen."""
        return (len(self.bases), self.d > 1, self.k * self.m, self.d, abs(self.c), abs(self.e), self.c)


@lru_cache(maxsize=16_384)
def values_of(form: Form, symbol: str, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The values of a form of one symbol at sizes of it."""
    return tuple(form.at({symbol: size}) for size in sizes)


def _shifted(text: str, by: int) -> str:
    if by == 0:
        return text
    return f"{text} + {by}" if by > 0 else f"{text} - {-by}"


class Forms:
    """Finds forms for vectors of sizes: one value for each point of `points`."""

    def __init__(self, symbols: Iterable[str], points: Sequence[Point]) -> None:
        self.points = list(points)
        self.symbols = [Form(symbol=symbol) for symbol in symbols]
        self.library: list[tuple[Form, tuple[int, ...]]] = [(form, self._vector(form)) for form in self.symbols]
        self.known: dict[tuple[int, ...], list[Form]] = {}

    def _vector(self, form: Form) -> tuple[int, ...]:
        return tuple(form.at(point) for point in self.points)

    def find(self, values: Sequence[int]) -> Form | None:
        """The simplest form that gives these values at the points, or None."""
        found = self.candidates(values)
        return found[0] if found else None

    def candidates(self, values: Sequence[int]) -> list[Form]:
        """The forms of the first kind that fits, the simplest first."""
        key = tuple(values)
        if key not in self.known:
            found = self.known[key] = self._search(key)
            if found and found[0].bases and len(self.library) < MAX_LIBRARY and all(key != v for _, v in self.library):
                self.library.append((found[0], key))
        return self.known[key]

    def _search(self, values: tuple[int, ...]) -> list[Form]:
        if len(set(values)) == 1:
            return [Form(e=values[0])]
        for base, vector in self.library:
            if vector == values:
                return [base]
        for of_symbols in (self._plain, self._capped, self._emptied):
            found = list(of_symbols(values))  # of all symbols: few runs may leave two of them in question
            if found:
                return sorted(found, key=lambda form: form.cost)[:MAX_CANDIDATES]
        for searched in (self._affine, self._products, self._sums):
            made = next(searched(values), None)
            if made is not None:
                return [made]
        return []

    def _plain(self, values: tuple[int, ...]) -> Iterator[Form]:
        for base, vector in self.library[: len(self.symbols)]:
            yield from _of_one(base, vector, values)

    def _capped(self, values: tuple[int, ...]) -> Iterator[Form]:
        """One size up to a limit: a slice of the first items."""
        cap, least = max(values), min(values)
        if sum(value == cap for value in values) < 2:
            return
        for base, vector in self.library[: len(self.symbols)]:
            below = [(u, v) for u, v in zip(vector, values, strict=True) if v < cap]
            found = [Form(bases=(base,), m=m, e=least - m * vector[values.index(least)]) for m in (1, 2, 3, 4)]
            found += _of_one(base, [u for u, _ in below], [v for _, v in below])
            for form in dict.fromkeys(replace(form, cap=cap) for form in found):
                if all(form.at(point) == value for point, value in zip(self.points, values, strict=True)):
                    yield form

    def _emptied(self, values: tuple[int, ...]) -> Iterator[Form]:
        """A size that stays 0 where there is nothing left: a slice without its ends."""
        if 0 not in values:
            return
        for base, vector in self.library[: len(self.symbols)]:
            pairs = [(u, v) for u, v in zip(vector, values, strict=True) if v > 0]
            if len({u for u, _ in pairs}) < 2:
                continue
            for form in _of_one(base, [u for u, _ in pairs], [v for _, v in pairs]):
                emptied = replace(form, least=0)
                if all(emptied.at(point) == v for point, v in zip(self.points, values, strict=True)):
                    yield emptied

    def _affine(self, values: tuple[int, ...]) -> Iterator[Form]:
        """A multiple of what is known, plus a constant: a class token beside the patches."""
        for base, vector in self.library[len(self.symbols) :]:
            yield from _line((base,), vector, values)

    def _products(self, values: tuple[int, ...]) -> Iterator[Form]:
        for count in (2, 3, 4):
            for chosen in combinations_with_replacement(self.library, count):
                bases = tuple(base for base, _ in chosen)
                vector = tuple(prod(items) for items in zip(*(vector for _, vector in chosen), strict=True))
                yield from _ratio(bases, vector, values)
                if count == 2:
                    yield from _line(bases, vector, values)

    def _sums(self, values: tuple[int, ...]) -> Iterator[Form]:
        for chosen in combinations_with_replacement(self.library, 2):
            bases = tuple(base for base, _ in chosen)
            vector = tuple(map(sum, zip(*(vector for _, vector in chosen), strict=True)))
            for form in _line(bases, vector, values):
                yield Form(bases=bases, is_sum=True, m=form.m, e=form.e)


def _line(bases: tuple[Form, ...], vector: Sequence[int], values: Sequence[int]) -> Iterator[Form]:
    """`m * u + e` with whole numbers."""
    i, j = _apart(vector)
    if vector[i] == vector[j] or (values[j] - values[i]) % (vector[j] - vector[i]):
        return
    m = (values[j] - values[i]) // (vector[j] - vector[i])
    e = values[i] - m * vector[i]
    if m > 0 and all(m * u + e == v for u, v in zip(vector, values, strict=True)):
        yield Form(bases=bases, m=m, e=e)


def _ratio(bases: tuple[Form, ...], vector: Sequence[int], values: Sequence[int]) -> Iterator[Form]:
    """`m * u // d` without a remainder anywhere."""
    if not vector[0] or not values[0]:
        return
    common = gcd(vector[0], values[0])
    m, d = values[0] // common, vector[0] // common
    if all(m * u == v * d for u, v in zip(vector, values, strict=True)):
        yield Form(bases=bases, m=m, d=d)


def _apart(vector: Sequence[int]) -> tuple[int, int]:
    low = min(range(len(vector)), key=vector.__getitem__)
    high = max(range(len(vector)), key=vector.__getitem__)
    return low, high


def _of_one(base: Form, vector: Sequence[int], values: Sequence[int]) -> tuple[Form, ...]:
    """Every form of one size within bounds that agrees: `k*((s + c)//d) + e` and `(m*s + c)//d`."""
    return _known_of_one(base, tuple(vector), tuple(values))


@lru_cache(maxsize=4096)
def _known_of_one(base: Form, vector: tuple[int, ...], values: tuple[int, ...]) -> tuple[Form, ...]:
    """The models of one file are run at the same points, and many of their values are alike."""
    return tuple(_search_of_one(base, vector, values))


def _search_of_one(base: Form, vector: Sequence[int], values: Sequence[int]) -> Iterator[Form]:
    seen: dict[int, int] = {}
    for u, v in zip(vector, values, strict=True):
        if seen.setdefault(u, v) != v:
            return
    if len(seen) < 2:
        return
    pairs = sorted(seen.items())
    if any(v > w for (_, v), (_, w) in pairwise(pairs)):
        return  # every form grows with its size
    (low, first), (high, last) = pairs[0], pairs[-1]
    rise, run = last - first, high - low
    if rise < 0:
        return
    if rise % run == 0 and rise:
        m = rise // run
        e = first - m * low
        if all(m * u + e == v for u, v in pairs):
            yield Form(bases=(base,), m=m, e=e)
    if len({v for _, v in pairs}) < 3:
        return  # some division always fits two values
    common = gcd(*(v - first for _, v in pairs))
    for k in range(1, MAX_FACTOR + 1):
        # k*((s + c)//d) rises by less than k more or less than k*run/d.
        most = MAX_DIVISOR if rise <= k else min(MAX_DIVISOR, k * run // (rise - k) + 1)
        for d in range(max(2, k * run // (rise + k)), min(most, run) + 1):
            if common % k == 0:
                yield from _floored(base, pairs, m=1, d=d, k=k)
            if 1 < k <= MAX_NUMERATOR and d <= MAX_NUMERATOR and gcd(k, d) == 1:
                yield from _floored(base, pairs, m=k, d=d, k=1)


def _floored(base: Form, pairs: Sequence[tuple[int, int]], *, m: int, d: int, k: int) -> Iterator[Form]:
    """Every `k*((m*s + c)//d) + e` with 0 <= e < k: each pair bounds c from both sides."""
    e = pairs[0][1] % k
    if any(v % k != e for _, v in pairs):
        return
    lowest, highest = None, None
    for u, v in pairs:
        bound = (v - e) // k * d - m * u
        lowest = bound if lowest is None else max(lowest, bound)
        highest = bound if highest is None else min(highest, bound)
        if lowest >= highest + d:
            return
    assert lowest is not None
    assert highest is not None
    for c in range(lowest, highest + d):
        yield Form(bases=(base,), m=m, c=c, d=d, k=k, e=e)
