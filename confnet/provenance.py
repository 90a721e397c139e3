"""Where a module, parameter, buffer or value comes from, and who decided what it is: `confnet explain FILE NAME`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from confnet.catalog.registry import lookup
from confnet.diagnostics import Span, closest
from confnet.plan import AUTO, DTypeName, LayerName, ModulePlan, Origin, Plan, Share
from confnet.wiring import Call, Trace, Untraced

__all__ = ["Explanation", "Fact", "Unknown", "explain"]

Row = Mapping[str, Any]
MOST_LISTED = 20
MOST_CALLERS = 8


class Unknown(LookupError):
    """There is nothing of a name in a model; the message says what is near."""


class Tables(Protocol):
    """What is asked of `api.inspect`."""

    @property
    def aliases(self) -> Mapping[str, str]: ...

    def tables(self) -> Mapping[str, Sequence[Row]]: ...


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is told: of what, its value, the place in a file, what it rests on, and who decided it."""

    name: str
    text: str
    place: str = ""
    reasons: tuple[Fact, ...] = ()
    by: str = ""

    def as_data(self) -> dict[str, Any]:
        """The same as plain data."""
        reasons = [reason.as_data() for reason in self.reasons]
        return {"name": self.name, "text": self.text, "place": self.place, "by": self.by, "reasons": reasons}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known of one name: its `kind` (module, parameter, buffer, input or output), what it is, and facts in
    sections. `path` tells how the file leads there, from the model inwards."""

    name: str
    kind: str
    what: str
    path: tuple[Fact, ...] = ()
    sections: Mapping[str, tuple[Fact, ...]] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "name": self.name,
            "kind": self.kind,
            "what": self.what,
            "path": [fact.as_data() for fact in self.path],
            **{name: [fact.as_data() for fact in facts] for name, facts in self.sections.items() if facts},
        }


def explain(plan: Plan, inspection: Tables, trace: Trace | Untraced, name: str, variant: str | None) -> Explanation:
    """What is known of a name in a model. The plan was made with `record`. Raises Unknown."""
    return _Explainer(plan, inspection, trace, variant).of(name)


class _Explainer:
    def __init__(self, plan: Plan, inspection: Tables, trace: Trace | Untraced, variant: str | None) -> None:
        self.plan, self.trace, self.variant = plan, trace, variant
        self.steps: Sequence[Call] = trace.calls if isinstance(trace, Trace) else ()
        self.aliases = inspection.aliases
        self.tables = inspection.tables()
        self.ties = dict(_ties(plan.root, ""))
        self.rows = {name: {row["name"]: row for row in self.tables[name]} for name in _NAMED}

    def of(self, name: str) -> Explanation:
        if name in self.rows["modules"] or isinstance(self.reached(name), Share):
            return self.module(name)
        if name in self.rows["parameters"] or name in self.aliases:
            return self.parameter(name)
        if name in self.rows["buffers"]:
            return self.buffer(name)
        value = self.value(name)
        if value is not None:
            return value
        first = self.first(name)
        if first != name:
            return self.of(first)
        raise Unknown(self.missing(name))

    def missing(self, name: str) -> str:
        names = list(
            dict.fromkeys(n for table in (*self.rows.values(), self.aliases, self.values()) for n in table if n)
        )
        inside = [other for other in names if other.startswith(name)]
        if inside:
            more = f" and {len(inside) - MOST_LISTED} more" if len(inside) > MOST_LISTED else ""
            return f"there is no `{name}`; names that begin so: {', '.join(inside[:MOST_LISTED])}{more}"
        owner, _, leaf = name.rpartition(".")
        made_of = f"{owner}.parametrizations.{leaf}.".removeprefix(".")
        parts = [other for other in self.rows["parameters"] if other.startswith(made_of)]
        if parts:
            return f"`{name}` is computed, by a parametrization: ask for {', '.join(f'`{part}`' for part in parts)}"
        near = closest(name, names)
        text = f"there is no `{name}` in the model" + (f"; did you mean `{near}`?" if near else "")
        if isinstance(self.trace, Untraced):
            text += f" (of its inputs and outputs nothing is known: {self.trace.reason})"
        return text

    # --- kinds ----------------------------------------------------------------------------------------------------

    def module(self, name: str) -> Explanation:
        plan = self.reached(name)
        if isinstance(plan, Share):
            what = f"the module `{self.shared(name, plan)}` under a second name"
            return Explanation(name, "module", what, tuple(self.path(name)))
        row = self.rows["modules"][name]
        what = row["type"] if plan is not None else f"{row['type']}, which a layer makes inside itself"
        within = self.within(name)
        sections = {
            "arguments": tuple(self.arguments(plan)) if plan is not None else (),
            "shapes": tuple(self.shapes(name)),
            "children": tuple(Fact(n, self.rows["modules"][n]["type"]) for n in self.children(name)),
            "parameters": tuple(self.state(n) for n in within["parameters"]),
            "buffers": tuple(self.state(n, "buffers") for n in within["buffers"]),
            "ties": tuple(
                self.tie(other) for other in self.aliases if _owner(other) == name and name in self.rows["modules"]
            ),
            "hooks": tuple(self.hooks(name)),
            "called by": tuple(self.callers(name)),
        }
        return Explanation(name, "module", what, tuple(self.path(name)), sections)

    def parameter(self, name: str) -> Explanation:
        first = self.aliases.get(name, name)
        row = self.rows["parameters"][first]
        what = _tensor(row) + ("" if row["requires_grad"] else ", frozen")
        modules = self.rows["modules"]
        others = [other for other, one in self.aliases.items() if one == first and _owner(other) in modules]
        init = self.rows["init"][first]
        sections = {
            "initialised by": (Fact(init["initializer"], "", init["place"]),),
            "ties": tuple(map(self.tie, others)),
            "hooks": tuple(self.hooks(_owner(first), first.rpartition(".")[2])),
            "read by": tuple(self.readers(first)),
        }
        path = (*self.path(_owner(name)), Fact(name, "parameter", row["place"]))
        return Explanation(name, "parameter", what, path, sections)

    def tie(self, name: str) -> Fact:
        """A further name of a parameter."""
        return Fact(name, f"is `{self.aliases[name]}`", self.ties.get(name, ""))

    def buffer(self, name: str) -> Explanation:
        row = self.rows["buffers"][name]
        kept = "persistent" if row["persistent"] else "not persistent"
        what = f"{_tensor(row)}, {kept}"
        path = (*self.path(_owner(name)), Fact(name, "buffer", row["place"]))
        return Explanation(name, "buffer", what, path, {"read by": tuple(self.readers(name))})

    def values(self) -> list[str]:
        """The names of inputs and outputs."""
        return [call.label for call in self.steps if call.kind in ("input", "output")]

    def value(self, name: str) -> Explanation | None:
        if not isinstance(self.trace, Trace):
            return None
        for call in self.steps:
            if call.label == name and call.kind in ("input", "output"):
                values = [self.trace.values[number] for number in (*call.inputs, *call.outputs)]
                what = ", ".join(f"{value.text} of {value.dtype}" for value in values)
                path = (Fact(name, call.kind, _place(call.file, call.line)),)
                if call.kind == "input":
                    sections = {"read by": tuple(self.takers(call.outputs, call.id))}
                else:
                    sections = {"made by": tuple(self.makers(call.inputs))}
                return Explanation(name, call.kind, what, path, sections)
        return None

    # --- the way there --------------------------------------------------------------------------------------------

    def reached(self, name: str) -> ModulePlan | Share | None:
        """The plan of a module; None for what a layer makes inside itself, or for what there is not."""
        found: ModulePlan | Share | None = self.plan.root
        for step in name.split(".") if name else ():
            found = found.children.get(step) if isinstance(found, ModulePlan) else None
        return found

    def shared(self, name: str, share: Share) -> str:
        """The first name of the module that a share at a name is."""
        return ".".join(filter(None, [self.owner(name), share.path]))

    def first(self, name: str) -> str:
        """The first name of what is inside a module that has its second name in this one."""
        steps = name.split(".")
        for number in range(1, len(steps)):
            plan = self.reached(".".join(steps[:number]))
            if isinstance(plan, Share):
                return self.first(".".join([self.shared(".".join(steps[:number]), plan), *steps[number:]]))
        return name

    def owner(self, name: str) -> str:
        """The composite around a module, whose names a share uses."""
        while name:
            name = _owner(name)
            plan = self.reached(name)
            if isinstance(plan, ModulePlan) and plan.definition is not None:
                break
        return name

    def path(self, name: str) -> Iterator[Fact]:
        """Each module on the way to a name: where its name is written, where its class, and the step of a repeat."""
        plan: ModulePlan | Share | None = self.plan.root
        yield Fact("", _class(self.plan.root), _span(self.plan.root.span))
        prefix = ""
        for step in name.split(".") if name else ():
            if not isinstance(plan, ModulePlan) or step not in plan.children:
                yield Fact(name, f"made by `{_class(plan)}` inside itself" if isinstance(plan, ModulePlan) else "")
                return
            place = plan.places.get(step)
            plan = plan.children[step]
            prefix = f"{prefix}.{step}" if prefix else step
            if not isinstance(plan, ModulePlan):
                yield Fact(prefix, "a share" if isinstance(plan, Share) else "absent", _span(place))
                return
            yield Fact(prefix, _class(plan), _span(place or plan.span), tuple(self.way(plan, place)))

    def way(self, plan: ModulePlan, place: Span | None) -> Iterator[Fact]:
        """What lies between the name of a module and its class."""
        for step in plan.steps:
            yield Fact("repeat", step.text, _span(step.span), tuple(self.origins(step.uses)))
        if plan.definition is not None and plan.span != place:
            yield Fact("definition", f"`{plan.definition.name}`", _span(plan.span))

    def arguments(self, plan: ModulePlan) -> Iterator[Fact]:
        """Each argument with its value, and who decided it."""
        layer = lookup(plan.base) if plan.base != "Module" else None
        arguments = layer.arguments if layer is not None else ()
        by_name = {argument.name: argument for argument in arguments}
        given = {**dict(zip(by_name, plan.positional, strict=False)), **plan.keywords}
        names = list(dict.fromkeys([*plan.origins, *given, *by_name]))
        for name in names:
            origin = plan.origins.get(name)
            value = given.get(name, plan.constants.get(name, origin.value if origin is not None else None))
            if origin is not None:
                yield self.origin(name, origin, value)
            elif name in given:
                yield Fact(name, _text(value), _span(plan.span), by="the file")
            elif not by_name[name].required:
                yield Fact(name, _text(by_name[name].default), by=f"the default of `{plan.base}`")

    def origin(self, name: str, origin: Origin, value: object) -> Fact:
        written = f" = {origin.text}" if "$" in origin.text else ""
        words = {
            "call": "the file",
            "default": "the default",
            "variant": f"the variant `{self.variant}`",
            "set": "the caller",
            "let": "`let`",
            "repeat": f"`repeat: {origin.text}`",
        }
        place = "" if origin.kind == "set" else _span(origin.span)
        told = _text(value) + (written if origin.kind != "repeat" else "")
        return Fact(name, told, place, tuple(self.origins(origin.uses)), words[origin.kind])

    def origins(self, uses: Mapping[str, Origin]) -> Iterator[Fact]:
        return (self.origin(name, origin, origin.value) for name, origin in uses.items())

    # --- what it holds --------------------------------------------------------------------------------------------

    def within(self, name: str) -> dict[str, list[str]]:
        """The names of what a module holds itself; of a parametrized one also what its parametrizations hold."""

        def own(other: str) -> bool:
            owner = _owner(other)
            return owner == name or owner.startswith(f"{name}.parametrizations." if name else "parametrizations.")

        return {kind: [other for other in self.rows[kind] if own(other)] for kind in ("parameters", "buffers")}

    def children(self, name: str) -> list[str]:
        return [other for other in self.rows["modules"] if other and _owner(other) == name and other != name]

    def state(self, name: str, kind: str = "parameters") -> Fact:
        row = self.rows[kind][name]
        frozen = ", frozen" if kind == "parameters" and not row["requires_grad"] else ""
        init = self.rows["init"].get(name)
        reasons = (Fact("", f"initialised by {init['initializer']}", init["place"]),) if init is not None else ()
        return Fact(name, _tensor(row) + frozen, row["place"], reasons)

    def hooks(self, module: str, tensor: str | None = None) -> Iterator[Fact]:
        for row in self.tables["hooks"]:
            if row["module"] == module and (tensor is None or row["tensor"] == tensor):
                named = f" `{row['name']}`" if row["name"] else ""
                what = f" of {row['tensor']}" if row["tensor"] else ""
                yield Fact(row["kind"] + what, f"runs {row['runs']}{named}", row["place"])

    # --- who uses it ----------------------------------------------------------------------------------------------

    def shapes(self, name: str) -> Iterator[Fact]:
        if not isinstance(self.trace, Trace):
            yield Fact("-", self.trace.reason)
            return
        for call in self.calls(name)[:1]:
            values = self.trace.values
            yield Fact("takes", ", ".join(values[n].text for n in call.inputs) or "no tensor")
            yield Fact("returns", ", ".join(values[n].text for n in call.outputs) or "no tensor")

    def calls(self, name: str) -> list[Call]:
        """The calls of a module."""
        return [call for call in self.steps if call.kind == "module" and call.fqn == name]

    def callers(self, name: str) -> Iterator[Fact]:
        calls = self.calls(name) if name else []
        for call in calls[:MOST_CALLERS]:
            around = self.steps[call.parent].fqn if call.parent is not None else ""
            yield Fact(around, self.label(around), _place(call.file, call.line))
        if len(calls) > MOST_CALLERS:
            yield Fact("...", f"and {len(calls) - MOST_CALLERS} calls more")

    def label(self, module: str) -> str:
        return self.rows["modules"][module]["type"] if module in self.rows["modules"] else ""

    def readers(self, name: str) -> Iterator[Fact]:
        """The steps of code that read a parameter or buffer; what a layer does with its own is its affair."""
        for state in self.steps:
            if state.kind == "state" and state.fqn == name:
                yield from self.takers(state.outputs, state.id)

    def takers(self, numbers: Iterable[int], after: int) -> Iterator[Fact]:
        wanted = set(numbers)
        inner = [
            call
            for call in self.steps[after + 1 :]
            if wanted & {*call.inputs} and not (call.kind == "module" and self.passes(call, wanted))
        ]
        yield from (Fact(call.fqn, call.label, _place(call.file, call.line)) for call in inner[:MOST_CALLERS])
        if len(inner) > MOST_CALLERS:
            yield Fact("...", f"and {len(inner) - MOST_CALLERS} steps more")

    def passes(self, call: Call, wanted: set[int]) -> bool:
        """Whether a module only hands a value on to what is inside of it."""
        return any(other.parent == call.id and wanted & {*other.inputs} for other in self.steps[call.id + 1 :])

    def makers(self, numbers: Iterable[int]) -> Iterator[Fact]:
        for number in numbers:
            made = [call for call in self.steps if number in call.outputs]
            for call in made[-1:]:
                yield Fact(call.fqn, call.label, _place(call.file, call.line))


_NAMED = ("modules", "parameters", "buffers", "init")


def _ties(plan: ModulePlan, prefix: str) -> Iterator[tuple[str, str]]:
    """The names that ties give away, and where."""
    yield from ((prefix + tie.name, _span(tie.span)) for tie in plan.ties)
    for name, child in plan.children.items():
        if isinstance(child, ModulePlan):
            yield from _ties(child, f"{prefix}{name}.")


def _owner(name: str) -> str:
    return name.rpartition(".")[0]


def _tensor(row: Row) -> str:
    shape = f"[{', '.join(map(str, row['shape']))}]" if row["shape"] is not None else "not sized yet"
    return f"{shape} of {row['dtype']}"


def _class(plan: ModulePlan) -> str:
    return plan.definition.name if plan.definition is not None else plan.base


def _span(span: Span | None) -> str:
    return f"{span.file}:{span.line}" if span is not None else ""


def _place(file: str, line: int) -> str:
    return f"{file}:{line}" if line else ""


def _text(value: object) -> str:
    if isinstance(value, ModulePlan):
        return _class(value)
    if isinstance(value, DTypeName | LayerName):
        return value.name
    if value is AUTO:
        return "auto"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value) if isinstance(value, str) else str(value)
