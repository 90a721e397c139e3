"""Wirings written by hand, to draw without torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from confnet.graph.boxes import Graph, graph_of
from confnet.graph.details import Detail
from confnet.graph.steps import Box
from confnet.wiring import Call, Kind, Trace, Value


class Tape:
    """Records calls as a forward would make them; each gives one value, of the sizes given or of its first input."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.values: list[Value] = []
        self.open: list[int] = []
        self.details: dict[str, Detail] = {"": Detail(cls="Net")}
        self.model: int | None = None

    def value(self, sizes: Sequence[int | str]) -> int:
        self.values.append(Value(len(self.values), tuple(sizes), "float32"))
        return len(self.values) - 1

    def add(self, kind: Kind, fqn: str, label: str, inputs: Sequence[int], outputs: Sequence[int]) -> int:
        parent = self.open[-1] if self.open else self.model
        if kind in ("input", "output"):
            parent = None
        number = len(self.calls)
        self.calls.append(Call(number, fqn, kind, label, parent, tuple(inputs), tuple(outputs), "net.yaml", 1))
        return number

    def input(self, name: str, *sizes: int | str) -> int:
        value = self.value(sizes)
        self.add("input", "", name, (), (value,))
        return value

    def begin(self) -> None:
        """The model is called."""
        self.model = self.add("module", "", "Net", (), ())

    def output(self, name: str, value: int) -> None:
        self.add("output", "", name, (value,), ())

    def layer(self, fqn: str, cls: str, *inputs: int, sizes: Sequence[int | str] = (), **arguments: str) -> int:
        """A layer, with details."""
        value = self.value(sizes or self.values[inputs[0]].sizes)
        self.add("module", fqn, cls, inputs, (value,))
        structure = tuple(arguments.items())
        self.details[fqn] = Detail(cls=cls, layer=cls, arguments=arguments, parameters=8, structure=structure)
        return value

    def function(self, label: str, *inputs: int, sizes: Sequence[int | str] = ()) -> int:
        value = self.value(sizes or self.values[inputs[0]].sizes)
        self.add("function", "", label, inputs, (value,))
        return value

    def state(self, fqn: str, *sizes: int | str) -> int:
        value = self.value(sizes)
        self.add("state", fqn, fqn.rpartition(".")[2], (), (value,))
        return value

    @contextmanager
    def module(self, fqn: str, cls: str, *inputs: int, whole: bool = False) -> Iterator[None]:
        """A composite: what is called within stands inside it. It gives the last value made within, or all of them."""
        self.details.setdefault(fqn, Detail(cls=cls, parameters=16))
        self.open.append(self.add("module", fqn, cls, inputs, ()))
        before = len(self.values)
        yield
        number = self.open.pop()
        made = tuple(range(before, len(self.values)))
        self.calls[number] = replace(self.calls[number], outputs=made if whole else made[-1:])

    def trace(self) -> Trace:
        return Trace(tuple(self.calls), tuple(self.values), (), ())

    def graph(self) -> Graph:
        return graph_of("Net", self.details, self.trace())


def residual(tape: Tape, fqn: str, x: int) -> int:
    """A block: x + fc(norm(x))."""
    with tape.module(fqn, "Block", x):
        y = tape.layer(f"{fqn}.norm", "LayerNorm", x)
        y = tape.layer(f"{fqn}.fc", "Linear", y)
        return tape.function("add", x, y)


def named(graph: Graph, fqn: str) -> Box:
    """The box of a module."""
    return next(box for box in graph.boxes() if box.fqn == fqn and box.kind == "module")
