"""Which sizes a model works at: found by running it, and said as conditions such as `H >= 7`.

The sizes that a contract leaves open mean any integer from 2 up (a batch normalisation in training needs more than
one value). Where a model needs more than that, bounds, steps and equalities of sizes are found one symbol at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from confnet.shapes.forms import Form, Point

__all__ = ["Domain", "Domains", "Tie", "confirming", "explore", "first_points", "probe_points", "telling"]

SMALLEST = 2
MAX_STEP = 64
CLOSE = (0, 1, 2, 3, 4, 5, 6, 7, 10, 13, 17, 22)
FAR = (37, 129, 515)
NEAR = 5
BEYOND = 1031
_SPREAD = (3, 64, 21, 130, 47, 12, 257, 94, 11, 32, 189, 58)
"""Near and far; any four in a row leave every rest by 4, the first eight every rest by 8, as strides divide."""
_ODD = (5, 7, 11, 13, 17, 19, 23, 29, 31, 37)


@dataclass(frozen=True, slots=True)
class Domain:
    """The sizes that one symbol may have: `low`, `low + step`, ... up to `high`, which is open if None.

    `below`, `above` and `between` are points just outside, to tell why they are not inside.
    """

    low: int = SMALLEST
    high: int | None = None
    step: int = 1
    below: Point | None = None
    above: Point | None = None
    between: Point | None = None

    def nth(self, index: int) -> int:
        """Some size of the domain."""
        if self.high is not None:
            return self.low + self.step * (index % ((self.high - self.low) // self.step + 1))
        return self.low + self.step * index

    def __contains__(self, value: int) -> bool:
        return value >= self.low and (self.high is None or value <= self.high) and (value - self.low) % self.step == 0

    def texts(self, symbol: str) -> Iterator[tuple[str, Point | None]]:
        """The conditions on the symbol, each with a point that breaks it."""
        if self.step > 1:
            rest = self.low % self.step
            if rest == 0:
                yield f"{symbol} % {self.step} == 0", self.between
            else:
                yield f"{symbol} % {self.step} == {rest}", self.between
        first = next(value for value in range(SMALLEST, SMALLEST + self.step) if (value - self.low) % self.step == 0)
        if self.low > first:
            yield f"{symbol} >= {self.low}", self.below
        if self.high is not None:
            yield f"{symbol} <= {self.high}", self.above


@dataclass(frozen=True, slots=True)
class Tie:
    """A size that follows another: `symbol == other + shift`. `broken` is a point where it does not."""

    symbol: str
    other: str
    shift: int
    broken: Point

    @property
    def text(self) -> str:
        """The condition as code."""
        shift = "" if not self.shift else f" + {self.shift}" if self.shift > 0 else f" - {-self.shift}"
        return f"{self.symbol} == {self.other}{shift}"


@dataclass(frozen=True, slots=True)
class Domains:
    """The sizes of all symbols. `fixed` are symbols with one size, `odd` points inside that fail all the same."""

    domains: Mapping[str, Domain]
    ties: tuple[Tie, ...] = ()
    fixed: Mapping[str, Point] | None = None
    odd: tuple[Point, ...] = ()

    def sample(self, index: int) -> dict[str, int]:
        """The point of an index: all symbols differ, and each takes on near and far sizes."""
        point = {}
        for place, (symbol, domain) in enumerate(self.domains.items()):
            spread = _SPREAD[(index + 5 * place) % len(_SPREAD)]
            point[symbol] = domain.nth(spread + 7 * place + 11 * (index // len(_SPREAD)))
        return self.tied(point)

    def lowest(self, index: int) -> dict[str, int]:
        """The point of the smallest sizes (0), or of those next to them."""
        return self.tied({symbol: domain.nth(index) for symbol, domain in self.domains.items()})

    def highest(self, index: int) -> dict[str, int]:
        """The point of the largest sizes, where there are such, else that of an index."""
        point = self.sample(index)
        point.update({symbol: domain.high for symbol, domain in self.domains.items() if domain.high is not None})
        return self.tied(point)

    def tied(self, point: dict[str, int]) -> dict[str, int]:
        """The point with the sizes that follow others set right."""
        for tie in self.ties:
            point[tie.symbol] = point[tie.other] + tie.shift
        return point

    def __contains__(self, point: Point) -> bool:
        tied = {tie.symbol for tie in self.ties}
        return all(point[s] in d for s, d in self.domains.items() if s not in tied) and all(
            point[tie.symbol] == point[tie.other] + tie.shift for tie in self.ties
        )


def first_points(symbols: Sequence[str], hints: Sequence[int]) -> Iterator[dict[str, int]]:
    """Points to begin with, small ones first, until one works."""
    yield {symbol: 3 + 2 * place for place, symbol in enumerate(symbols)}
    scales = [8, 32, 64, 4, 256]
    for scale in scales:
        yield {symbol: scale * (place + 1) for place, symbol in enumerate(symbols)}
    for size in (*hints, *(2 * hint for hint in hints[:2]), 840, 2, 16, 33, 64, 96, 120, 224):
        yield dict.fromkeys(symbols, size)
    for scale in (17, 65, 97):
        yield {symbol: scale + 2 * place for place, symbol in enumerate(symbols)}
    if len(symbols) > 1:
        mixed = [*hints[:4], 3, 8, 64, 224]
        for index in range(60):
            yield {
                symbol: mixed[(index * (2 * place + 1) + place) % len(mixed)] for place, symbol in enumerate(symbols)
            }


def probe_points(symbols: Sequence[str], beyond: Sequence[int]) -> list[dict[str, int]]:
    """Points at which a model without conditions works: the smallest, even and odd ones, far ones.

    The sizes of the first `NEAR` have nothing in common, so that they all work only where every size from 2 up does.
    A 2 is no proof that even sizes work: half of it is 1, which is broadcast. An even size beside odd ones may fail
    where all are even, or all odd.
    """
    up, down = list(enumerate(symbols)), list(enumerate(reversed(symbols)))
    points = [dict.fromkeys(symbols, SMALLEST)]
    points.append({symbol: _ODD[place % len(_ODD)] for place, symbol in up})
    points.append({symbol: _ODD[(place + 2) % len(_ODD)] if place else 10 for place, symbol in up})
    points.append({symbol: max(18 - 4 * place, 4) if place else 23 for place, symbol in up})
    fars = [(FAR[0], up), (FAR[1], down), *((far, up) for far in beyond)]
    points += [{symbol: far + 6 * place for place, symbol in places} for far, places in fars]
    return [{symbol: point[symbol] for symbol in symbols} for point in points]


def telling(mixed: Sequence[Sequence[Form]], domains: Domains, index: int) -> dict[str, int] | None:
    """A point that tells expressions in different symbols apart: one symbol is small where the others are not."""

    def left(point: Point) -> int:
        return sum(max(Counter(form.at(point) for form in found).values()) for found in mixed)

    points = []
    for symbol, domain in domains.domains.items():
        for place in range(3):
            points.append(domains.tied({**domains.sample(index + place), symbol: domain.nth(place)}))
            points.append(domains.tied({**domains.lowest(place), symbol: domains.sample(index + place)[symbol]}))
    return min(points, key=left) if mixed else None


def confirming(found: Sequence[Form], domains: Domains, tried: Sequence[Point]) -> dict[str, int] | None:
    """A point to try expressions at that divide or end: of small sizes in a row, where only the right one holds.

    None where there are no such expressions, or enough points.
    """
    symbols = {symbol for form in found if not form.is_smooth for symbol in form.symbols}
    tied = {tie.symbol for tie in domains.ties}
    point = domains.sample(len(tried))
    left = False
    for place, (symbol, domain) in enumerate(domains.domains.items()):
        known = {other[symbol] for other in tried}
        sizes = [size for size in dict.fromkeys(map(domain.nth, CLOSE)) if size not in known]
        if symbol in symbols and symbol not in tied and sizes:
            point[symbol] = sizes[3 * place % len(sizes)]  # unlike those of its neighbours
            left = True
    return domains.tied(point) if left else None


def _moved(point: Point, base: Point) -> int:
    """In how many symbols a point differs from another."""
    return sum(value != base[symbol] for symbol, value in point.items()) if len(base) > 1 else len(base) + 1


def explore(
    symbols: Sequence[str],
    base: Point,
    works: Callable[[Point], bool],
    beyond: Sequence[int],
    failing: Sequence[Point] = (),
) -> Domains:
    """The domains of all symbols around a point that works; `failing` are points that do not, found by the way."""
    # Where the furthest works, those before it do.
    probes = probe_points(symbols, sorted(beyond)[-1:])
    wrong = next((index for index, point in enumerate(probes) if not works(point)), None)
    if wrong is None and not failing:
        return Domains({symbol: Domain() for symbol in symbols})
    near = bool(failing) or (wrong is not None and wrong < NEAR)
    domains: dict[str, Domain] = {}
    single: list[str] = []
    for symbol in symbols:
        found = (_of_one if near else _of_far_one)(symbol, base, works, beyond)
        if found is None:
            single.append(symbol)
            found = Domain(base[symbol], base[symbol])
        domains[symbol] = found
    ties: list[Tie] = []
    for one, other in combinations(single, 2):
        if other in {tie.symbol for tie in ties} or one in {tie.symbol for tie in ties}:
            continue
        if all(works({**base, one: base[one] + by, other: base[other] + by}) for by in (1, 2, 5)):
            ties.append(Tie(other, one, base[other] - base[one], {**base, other: base[other] + 1}))
    for tie in ties:
        pair = _of_pair(tie, base, works, beyond)
        domains[tie.other] = pair
        domains[tie.symbol] = pair
    free = {tie.symbol for tie in ties} | {tie.other for tie in ties}
    fixed = {symbol: {**base, symbol: base[symbol] + 1} for symbol in single if symbol not in free}
    found_domains = Domains(domains, tuple(ties), fixed)
    candidates = [*probe_points(symbols, beyond), *failing, *(found_domains.sample(index) for index in range(4))]
    odd = tuple(point for point in candidates if point in found_domains and not works(point))
    return replace(found_domains, odd=odd)


def _of_pair(tie: Tie, base: Point, works: Callable[[Point], bool], beyond: Sequence[int]) -> Domain:
    """The domain of a symbol and the one that follows it."""
    along = lambda point: works({**point, tie.symbol: point[tie.other] + tie.shift})  # noqa: E731
    return _of_one(tie.other, base, along, beyond) or Domain(base[tie.other], base[tie.other])


def _of_far_one(symbol: str, base: Point, works: Callable[[Point], bool], beyond: Sequence[int]) -> Domain | None:
    """The domain of one symbol where only far sizes failed so far."""

    def at(value: int) -> dict[str, int]:
        return {**base, symbol: value}

    start = base[symbol]
    if not works(at(start + 1)) or not works(at(start + 2)):
        return _of_one(symbol, base, works, beyond)
    high, above = _upper(start, 1, at, lambda value: works(at(value)), beyond)
    return Domain(high=high, above=above)


def _of_one(symbol: str, base: Point, works: Callable[[Point], bool], beyond: Sequence[int]) -> Domain | None:
    """The domain of one symbol while the others stay; None where it has the one size only."""

    def at(value: int) -> dict[str, int]:
        return {**base, symbol: value}

    def good(value: int) -> bool:
        return works(at(value))

    start = base[symbol]
    step = _step(start, good)
    if step is None:
        return _bounded_above(start, at, good)
    between = at(start + 1) if step > 1 else None
    inside = list(range(start, SMALLEST - 1, -step))
    low, below = start, None
    wrong = _first(inside, lambda value: not good(value))
    if wrong is not None:
        low, below = inside[wrong - 1], at(inside[wrong])
    else:
        low = inside[-1]
    high, above = _upper(start, step, at, good, beyond)
    return Domain(low, high, step, below, above, between)


def _step(start: int, good: Callable[[int], bool]) -> int | None:
    """The least step with which sizes go on to work. Where a divided size must be even, sizes work in runs, which a
    step near their period follows for a while: one that lasts is preferred."""
    found: int | None = None
    for by in range(1, MAX_STEP + 1):
        if good(start + by) and good(start + 2 * by):
            if by == 1 or all(good(start + times * by) for times in range(3, 9)):
                return by
            found = found or by
    return found


def _bounded_above(start: int, at: Callable[[int], dict[str, int]], good: Callable[[int], bool]) -> Domain | None:
    """The domain of a symbol whose size cannot grow: what is below, if anything."""
    steps = range(1, MAX_STEP + 1)
    step = next((by for by in steps if good(start + by) or (start - by >= SMALLEST and good(start - by))), None)
    if step is None:
        return None
    high = start + step if good(start + step) else start
    inside = list(range(high, SMALLEST - 1, -step))
    wrong = _first(inside, lambda value: not good(value))
    low = inside[wrong - 1] if wrong is not None else inside[-1]
    below = at(inside[wrong]) if wrong is not None else None
    return Domain(low, high, step, below, at(high + step), at(high - 1) if step > 1 else None)


def _upper(
    start: int, step: int, at: Callable[[int], dict[str, int]], good: Callable[[int], bool], beyond: Sequence[int]
) -> tuple[int | None, Point | None]:
    """The largest size, if going far finds an end."""
    furthest = start + step * max(1, (max(*FAR, *beyond) - start) // step)
    if good(furthest):
        return None, None
    reached = [start + step * max(1, (far - start + step - 1) // step) for far in (*FAR, *beyond)]
    stations = [start, *sorted({*reached, furthest} - {start})]
    end = _first(stations, lambda value: not good(value))
    if end is None:
        return None, None
    last, value = stations[end - 1], stations[end]
    if value - last > step and good(value - step):  # a size that was tried because a table ends before it
        return value - step, at(value)
    values = list(range(last, value + 1, step))
    wrong = _first(values, lambda v: not good(v))
    assert wrong is not None
    return values[wrong - 1], at(values[wrong])


def _first(values: Sequence[int], wrong: Callable[[int], bool]) -> int | None:
    """The place of the first wrong value, where all after it are wrong too; None where the last is right."""
    if not values or not wrong(values[-1]):
        return None
    low, high = 0, len(values) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if wrong(values[middle]):
            high = middle
        else:
            low = middle
    return high
