"""One way to call a model, tried at many sizes: the sizes that work, the shapes that come out, or what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from confnet.diagnostics import Diagnostic, Note, Span
from confnet.plan import Plan
from confnet.shapes.cases import Case
from confnet.shapes.diagnose import at_point, diagnose, summary_of, unfollowed
from confnet.shapes.domains import BEYOND, FAR, Domains, confirming, explore, first_points, telling
from confnet.shapes.forms import Forms, Point, values_of
from confnet.shapes.matching import evaluated
from confnet.shapes.memory import Value
from confnet.shapes.operands import tensors_in
from confnet.shapes.outputs import batch_apart, differing, reads_mode, varying
from confnet.shapes.report import Condition, ShapeReport, ValueShape, output_name
from confnet.shapes.runs import Outcome, Runner

__all__ = ["Stop", "Trial"]

ENOUGH_SAMPLES = 9
MAX_SAMPLES = 32
TRIED = (*range(70), *range(70, 400, 7))
ALIKE = 12
"""So many failures of one kind are enough to believe it."""
TRACED = 5
LARGEST_HINT = 20_000


class Stop(Exception):
    """The outcome is known: a report or None, and diagnostics."""

    def __init__(self, report: ShapeReport | None, *diagnostics: Diagnostic) -> None:
        super().__init__()
        self.report, self.diagnostics = report, diagnostics


class Trial:
    """`result()` is the report (None for a way to call that is none) and the diagnostics."""

    def __init__(self, runner: Runner, case: Case, plan: Plan, *, first: bool) -> None:
        self.runner, self.case, self.plan = runner, case, plan
        self.label = "" if first else case.label
        self.failed: Outcome | None = None  # what was told of last
        self.outcomes: dict[tuple[tuple[str, int], ...], Outcome] = {}
        self.place = _place(plan)
        self.moded = reads_mode(plan)

    def result(self) -> tuple[ShapeReport | None, tuple[Diagnostic, ...]]:
        """Try, and tell."""
        try:
            base = self.base()
            beyond = self.beyond(base)
            domains, outcomes = self.sampled(base, beyond)
            failing = [o.point for o in self.outcomes.values() if not o.ok and o.point in domains]
            if any(point not in domains.odd for point in failing):  # there is more to it than the first points told
                domains, outcomes = self.sampled(base, beyond, failing)
            in_eval = self.evaluation(outcomes[:2])
            if self.plan.root.contracts["forward"].outputs:  # the file states one form for both modes
                report, diagnostics = self.report(domains, outcomes, ())
                return report, (*diagnostics, *differing(outcomes, in_eval, self.place))
            varies = any(one.outputs != other.outputs for one, other in zip(outcomes, in_eval, strict=False))
            return self.report(domains, outcomes, self.evaluation(outcomes) if varies else ())
        except Stop as stop:
            return stop.report, stop.diagnostics

    def sampled(
        self, base: Outcome, beyond: Sequence[int], failing: Sequence[Point] = ()
    ) -> tuple[Domains, list[Outcome]]:
        """The sizes that work, and runs all over them."""
        domains = explore(self.case.symbols, base.point, lambda point: self.run(point).ok, beyond, failing)
        self.refuse_fixed(domains)
        return domains, self.samples(domains, base)

    def run(self, point: Point) -> Outcome:
        """The outcome at a point in train mode, run once; of eval mode if code asks for the mode and fails there only.

        A step that torch cannot follow ends the trial.
        """
        key = tuple(point.items())
        if key not in self.outcomes:
            outcome = self.runner.run(self.case, point)
            self.follow(outcome)
            if outcome.ok and self.moded:
                other = self.runner.run(self.case, point, training=False)
                self.follow(other)
                outcome = outcome if other.ok else other
            self.outcomes[key] = outcome
        return self.outcomes[key]

    def follow(self, outcome: Outcome) -> None:
        failure = outcome.failure
        if failure is not None and not failure.followed:
            warning = unfollowed(outcome, self.place)
            raise Stop(ShapeReport(False, warning.message.split(",")[0]), warning)

    # --- a point that works ---------------------------------------------------------------------------------------

    def base(self) -> Outcome:
        """The first run that works, and has something left in every tensor if that can be."""
        failed: list[Outcome] = []
        emptied: Outcome | None = None
        hints: list[int] = []
        for point in first_points(self.case.symbols, hints):
            outcome = self.run(point)
            if outcome.failure is None:
                if not any(0 in value.shape for value in (*outcome.values, *outcome.outputs)):
                    return outcome
                emptied = emptied or outcome
                continue
            if self.case.keyed and isinstance(outcome.failure.error, KeyError):
                raise Stop(None)  # a text that names nothing here
            failed.append(outcome)
            if len(failed) == 1:
                hints += self.hints(outcome)
            if not self.case.symbols or (len(failed) >= ALIKE + len(hints) and self.alike(failed)):
                break
        if emptied is not None:
            return emptied
        raise Stop(self.unchecked("the forward fails"), self.diagnosis(self.furthest(failed)))

    def alike(self, failed: Sequence[Outcome]) -> bool:
        return len({outcome.failure.key for outcome in failed if outcome.failure is not None}) == 1

    def furthest(self, failed: Sequence[Outcome]) -> Outcome:
        """The failure that came the furthest: the others had sizes too small to get there."""
        return max(failed, key=lambda outcome: outcome.calls)

    def hints(self, outcome: Outcome) -> list[int]:
        """Sizes that would fit what refused: of the weights of the module that did."""
        assert outcome.failure is not None
        steps = outcome.failure.steps
        module = steps[-1].module if steps else None
        sizes = {size for p in module.parameters() for size in _shape(p)} if module is not None else set()
        if outcome.failure.call is not None:
            arguments = outcome.failure.call[1]
            sizes |= {size for tensor in tensors_in(arguments) for size in tensor.shape} - {*outcome.point.values()}
            sizes |= {n for a in arguments for n in (a if isinstance(a, list | tuple) else [a]) if type(n) is int}
        return sorted(size for size in sizes if 2 <= size <= LARGEST_HINT)[:6]

    def beyond(self, base: Outcome) -> list[int]:
        """Far sizes to try: where tables of the model may end. None if the number of steps grows with sizes."""
        larger = self.run({symbol: FAR[0] + 6 * place for place, symbol in enumerate(self.case.symbols)})
        if larger.ok and larger.calls > 2 * base.calls + 50:
            return []
        found = {FAR[2], BEYOND}
        for module, plan in self.runner.built.places.items():
            tables = [] if isinstance(module, _NormBase) else [*module.buffers(recurse=False)]
            if isinstance(module, nn.Embedding) or plan.parameters:
                tables += list(module.parameters(recurse=False))
            found |= {size + 1 for table in tables for size in _shape(table) if 16 <= size <= LARGEST_HINT}
        return sorted({*sorted(found)[:7], max(found)})

    # --- what is wrong --------------------------------------------------------------------------------------------

    def diagnosis(self, outcome: Outcome) -> Diagnostic:
        """The diagnostic of a failure, with the runs around it that fail alike."""
        assert outcome.failure is not None
        self.failed = outcome
        training = outcome.training
        traced = [self.runner.run(self.case, outcome.point, training=training, trace=True)]
        for point in self.near(outcome.point):
            other = self.runner.run(self.case, point, training=training, trace=True)
            if other.failure is not None and other.failure.key == outcome.failure.key:
                traced.append(other)
            if len(traced) == TRACED:
                break
        first = traced[0].failure
        if first is None or not first.followed:  # only the first run of a lazy model fails so; tell what is known
            traced = [outcome]
        return diagnose(self.runner, traced, self.case.symbols, self.place, self.label)

    def near(self, point: Point) -> Iterator[dict[str, int]]:
        """Points like one, all symbols moved."""
        if not self.case.symbols:
            return
        for by in ((1, 2), (3, 1), (2, 5), (8, 8), (16, 24), (5, 4), (64, 32)):
            yield {symbol: value + by[place % 2] + place for place, (symbol, value) in enumerate(point.items())}
        for factor in (2, 3, 4):
            yield {symbol: value * factor for symbol, value in point.items()}

    def unchecked(self, reason: str) -> ShapeReport:
        return ShapeReport(False, reason)

    def refuse_fixed(self, domains: Domains) -> None:
        """A size that the contract leaves open, and the model does not."""
        found = []
        for symbol, point in (domains.fixed or {}).items():
            made = self.diagnosis(self.run(point))
            size = domains.domains[symbol].low
            note = Note(f"it works with `{symbol}` = {size} only, and the contract leaves `{symbol}` open")
            found.append(replace(made, code="fixed-size", notes=(note, *made.notes)))
        for tie in domains.ties:
            made = self.diagnosis(self.run(tie.broken))
            note = Note(f"it works where `{tie.text}` only, and the contract leaves both open")
            shift = f" {'+' if tie.shift > 0 else '-'} {abs(tie.shift)}" if tie.shift else ""
            help = f"mend this step, or write `{tie.other}{shift}` for `{tie.symbol}` if that is meant"
            found.append(replace(made, code="fixed-size", notes=(note, *made.notes), help=help))
        if found:
            raise Stop(self.unchecked("the forward fails"), *found)

    def evaluation(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """The same in eval mode."""
        found = []
        for outcome in outcomes:
            other = self.runner.run(self.case, outcome.point, training=False)
            self.follow(other)
            if other.failure is not None:
                raise Stop(self.unchecked("the forward fails"), self.diagnosis(other))
            found.append(other)
        return found

    # --- shapes ---------------------------------------------------------------------------------------------------

    def samples(self, domains: Domains, base: Outcome) -> list[Outcome]:
        """Runs all over the domains: enough that each size has one simplest expression."""
        if not self.case.symbols:
            return [base]
        ends = [self.run(domains.sample(index)) for index in range(3)]
        ends += [self.run(point) for point in (domains.lowest(0), domains.highest(3))]
        # Points that differ in one symbol alone say little: there are many of the search, and not many are used.
        found = sorted(self.outcomes.values(), key=lambda outcome: _moved(outcome.point, base.point) == 1)
        found = [outcome for outcome in (base, *ends, *found) if outcome.ok and outcome.point in domains]
        chosen = list({id(outcome): outcome for outcome in found}.values())[: ENOUGH_SAMPLES - 1]
        while len(chosen) < MAX_SAMPLES:
            point = self.separating(chosen, domains) or self.confirming(chosen, domains)
            if point is None and len(chosen) >= ENOUGH_SAMPLES:
                break
            point = point or domains.sample(len(self.outcomes))
            outcome = self.run(point)
            if outcome.ok:
                chosen.append(outcome)
            elif point in domains:
                break  # sizes fail here that no condition tells of
        return chosen

    def separating(self, outcomes: Sequence[Outcome], domains: Domains) -> dict[str, int] | None:
        """A point at which expressions differ that agree so far."""
        forms = Forms(self.case.symbols, [outcome.point for outcome in outcomes])
        unsettled = [found for sizes in _vectors(outcomes) if len(found := forms.candidates(sizes)) > 1]
        mixed = [found for found in unsettled if len({form.bases[0].symbol for form in found}) > 1]
        point = telling(mixed, domains, len(outcomes)) or domains.sample(len(outcomes))
        if any(len({form.at(point) for form in found}) > 1 for found in mixed):
            return point
        settled = True
        for symbol, domain in domains.domains.items():
            mine = [found for found in unsettled if found[0].bases[0].symbol == symbol]
            if mine and not any(tie.symbol == symbol for tie in domains.ties):
                sizes = tuple(map(domain.nth, TRIED))
                left = [0] * len(sizes)  # how many candidates would agree still, at worst
                for found in mine:
                    columns = zip(*(values_of(form, symbol, sizes) for form in found), strict=True)
                    left = [n + max(Counter(column).values()) for n, column in zip(left, columns, strict=True)]
                best = min(range(len(sizes)), key=left.__getitem__)
                point[symbol] = sizes[best]
                settled = settled and left[best] == sum(map(len, mine))
        return None if settled else domains.tied(point)

    def confirming(self, outcomes: Sequence[Outcome], domains: Domains) -> dict[str, int] | None:
        """A point at which expressions would differ that agree by chance."""
        points = [outcome.point for outcome in outcomes]
        forms = Forms(self.case.symbols, points)
        found = [form for sizes in _vectors(outcomes) if (form := forms.find(sizes)) is not None]
        return confirming(found, domains, points)

    def report(
        self, domains: Domains, outcomes: Sequence[Outcome], in_eval: Sequence[Outcome]
    ) -> tuple[ShapeReport, tuple[Diagnostic, ...]]:
        """What the runs tell; `in_eval` are those of eval mode, where it returns something else."""
        forms = self.forms(outcomes)
        inputs = tuple(self.inputs(forms))
        values = tuple(self.shapes([outcome.values for outcome in outcomes], forms))
        outputs = self.outputs(outcomes, forms)
        conditions = (*self.conditions(domains), *self.after_the_first(domains))
        modes = self.outputs(in_eval, forms) if in_eval else ()
        report = ShapeReport(True, "", inputs, values, outputs, conditions, in_eval=modes)
        return report, (
            *self.odd(domains),
            *varying(outcomes, self.place),
            *batch_apart(self.case, outcomes, outputs, self.place),
        )

    def forms(self, outcomes: Sequence[Outcome]) -> Forms:
        return Forms(self.case.symbols, [outcome.point for outcome in outcomes])

    def outputs(self, outcomes: Sequence[Outcome], forms: Forms) -> tuple[ValueShape, ...]:
        """What is returned, under the names of the contract; `forms` knows the sizes inside, of which products are."""
        contract = self.plan.root.contracts["forward"]
        shapes = self.shapes([outcome.outputs for outcome in outcomes], forms)
        return tuple(replace(shape, name=output_name(shape.name, contract)) for shape in shapes)

    def inputs(self, forms: Forms) -> Iterator[ValueShape]:
        for contract in self.case.tensors():
            sizes = contract.shape if contract.shape is not None else contract.item or ()
            shown: list[int | str] = []
            for size in sizes:
                if size.text in size.symbols:
                    shown.append(size.text)
                    continue
                values = [value for point in forms.points if (value := evaluated(size, point)) is not None]
                if len(values) < len(forms.points):  # `_`: of any size
                    shown.append("_")
                    continue
                form = forms.find(values)
                shown.append("_" if size.value is None else size.text if form is None else form.size)
            yield ValueShape(contract.name, tuple(shown), contract.dtype or "float32", contract.span)

    def shapes(self, tables: Sequence[tuple[Value, ...]], forms: Forms) -> Iterator[ValueShape]:
        """The values that every run has, with sizes as expressions."""
        by_name = [{value.name: value for value in table} for table in tables]
        for value in tables[0]:
            same = [found for table in by_name if (found := table.get(value.name)) is not None]
            if len(same) < len(tables) or len({len(found.shape) for found in same}) > 1:
                continue
            sizes: list[int | str] = []
            for index in range(len(value.shape)):
                form = forms.find([found.shape[index] for found in same])
                sizes.append("?" if form is None else form.size)
            span = self.runner.places.spans.get(value.module) if value.module is not None else None
            yield ValueShape(value.name, tuple(sizes), value.dtype, span)

    def conditions(self, domains: Domains) -> Iterator[Condition]:
        for symbol, domain in domains.domains.items():
            if any(tie.symbol == symbol for tie in domains.ties):
                continue
            for text, broken in domain.texts(symbol):
                yield self.condition(text, broken)

    def condition(self, text: str, broken: Point | None) -> Condition:
        failure = self.run(broken).failure if broken is not None else None
        if failure is None:
            return Condition(text, "")
        steps = failure.steps
        return Condition(text, summary_of(failure), steps[-1].span if steps else None)

    def after_the_first(self, domains: Domains) -> Iterator[Condition]:
        """A lazy layer takes its size from the first forward; whether others still work is found by a second."""
        if not self.runner.lazy or not self.case.symbols:
            return
        self.runner.run(self.case, domains.sample(0))
        self.runner.lazy = False
        for symbol in self.case.symbols:
            point = {**domains.sample(0), symbol: domains.sample(1)[symbol]}
            second = self.runner.run(self.case, point)
            if second.failure is not None and second.failure.followed:
                yield Condition(f"`{symbol}` stays as in the first forward", summary_of(second.failure))
        self.runner.lazy = True

    # --- warnings -------------------------------------------------------------------------------------------------

    def odd(self, domains: Domains) -> Iterator[Diagnostic]:
        """Points inside all conditions that fail: there is a condition that has no name here."""
        for point in domains.odd[:1]:
            made = self.diagnosis(self.run(point))
            note = Note(f"other sizes work; it fails {at_point(point)}")
            yield replace(made, severity="warning", notes=(note, *made.notes))


def _place(plan: Plan) -> Span:
    """Where to point for what no single step does: the forward, or the inputs of a model without code."""
    root = plan.root
    if root.definition is not None and "forward" in root.definition.methods:
        return root.definition.methods["forward"].code.span
    inputs = root.contracts["forward"].inputs
    return inputs[0].span if inputs else root.span


def _moved(point: Point, base: Point) -> int:
    """In how many symbols a point differs from another."""
    return sum(value != base[symbol] for symbol, value in point.items()) if len(base) > 1 else len(base) + 1


def _shape(tensor: object) -> tuple[int, ...]:
    """A shape, () for what has none yet."""
    try:
        return tuple(getattr(tensor, "shape", ()))
    except RuntimeError:  # a parameter of a lazy layer
        return ()


def _vectors(outcomes: Sequence[Outcome]) -> Iterator[tuple[int, ...]]:
    """Every distinct vector of sizes, one size for each run."""
    if len({outcome.layout for outcome in outcomes}) == 1:
        return iter(dict.fromkeys(zip(*(outcome.sizes for outcome in outcomes), strict=True)))
    seen: dict[tuple[int, ...], None] = {}
    tables = [dict(zip(outcome.layout, outcome.shapes, strict=True)) for outcome in outcomes]
    for (name, dims), shape in tables[0].items():
        shapes = [table.get((name, dims)) for table in tables]
        if None not in shapes:
            for index in range(len(shape)):
                seen[tuple(other[index] for other in shapes if other is not None)] = None
    return iter(seen)
