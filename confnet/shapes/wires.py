"""Watches one forward on meta for its wiring: every step with the values that it takes and gives."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.overrides import TorchFunctionMode

from confnet.diagnostics import Span
from confnet.plan import CONTAINERS
from confnet.shapes.operands import dtype_name
from confnet.shapes.steps import Places
from confnet.wiring import Kind

__all__ = ["Row", "Tensor", "TooManySteps", "Wires", "function_label", "named_tensors", "state_of"]

MAX_STEPS = 400_000

_CALL: CodeType = nn.Module._call_impl.__code__
_SIZE: CodeType = LazyModuleMixin._infer_parameters.__code__
_Point = tuple[str, int, object]
"""A file, a line, and what tells one instruction of the code there from another."""


class TooManySteps(Exception):
    """A forward has more steps than anyone could look at."""


@dataclass(slots=True)
class Tensor:
    """A value of one run."""

    shape: tuple[int, ...]
    dtype: str
    name: str = ""


@dataclass(slots=True)
class Row:
    """A step of one run; `inputs` and `outputs` are places in the list of values."""

    kind: Kind
    fqn: str
    label: str
    parent: int | None
    inputs: list[int]
    outputs: list[int]
    file: str = ""
    line: int = 0
    instruction: object = None
    times: int = 1
    by_container: bool = False  # whether no code calls it


@dataclass(slots=True)
class _Open:
    """A call of a module that has not come to its end."""

    row: int
    module: nn.Module
    is_leaf: bool


class Wires(TorchFunctionMode):
    """The steps of one run, in order. Whoever runs the model tells of its modules by `enter` and `leave`.

    `state` are the parameters and buffers, as `state_of` gives them; `lazy` tells that some get their sizes in the run.
    """

    def __init__(self, places: Places, state: Mapping[int, tuple[str, nn.Module]], lazy: bool = False) -> None:
        super().__init__()
        self.places, self.state, self.lazy = places, state, lazy
        self.rows: list[Row] = []
        self.values: list[Tensor] = []
        self.numbers: dict[int, int] = {}
        self.kept: list[torch.Tensor] = []  # so that no id() is given to another
        self.open: list[_Open] = []

    # --- what is told ---------------------------------------------------------------------------------------------

    def input(self, name: str, value: Any, span: Span | None) -> list[int]:
        """An input of the model; the values of its tensors."""
        tensors = dict(named_tensors(value, name))
        if not tensors:
            return []
        outputs = [self.new(tensor, label) for label, tensor in tensors.items()]
        self.rows.append(Row("input", "", name, None, [], outputs, *_place(span)))
        return outputs

    def output(self, name: str, tensor: torch.Tensor, span: Span | None) -> int:
        """A tensor that the model returns; its value."""
        (number,) = self.known([tensor])
        self.rows.append(Row("output", "", name, None, [number], [], *_place(span)))
        return number

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """A module is called. Nothing of what a layer does inside is recorded."""
        if self.in_leaf:
            return
        with torch._C.DisableTorchFunction():
            inputs = self.known(tensor for _, tensor in named_tensors((*args, *kwargs.values())))
            row = Row("module", self.places.name(module), type(module).__name__, self.parent, inputs, [])
            called = self.caller()
            if called is not None:
                row.file, row.line = called
            else:
                row.by_container = True
                self.locate(row)
            self.open.append(_Open(self.add(row), module, self.is_leaf(module)))

    def leave(self, module: nn.Module, result: Any) -> None:
        """A module has returned."""
        call = self.open[-1]
        if call.module is not module:  # inside a layer
            return
        self.open.pop()
        with torch._C.DisableTorchFunction():
            made = [tensor for _, tensor in named_tensors(result)]
            numbers = [self.new(tensor) for tensor in made] if call.is_leaf else self.known(made)
            self.rows[call.row].outputs = numbers

    @property
    def in_leaf(self) -> bool:
        """Whether a layer of torch is at work."""
        return bool(self.open) and self.open[-1].is_leaf

    @property
    def parent(self) -> int | None:
        """The innermost call of a module."""
        return self.open[-1].row if self.open else None

    def is_leaf(self, module: nn.Module) -> bool:
        """Whether the forward of a module is none that the file writes."""
        forward = getattr(type(module), "forward", None)
        code = getattr(forward, "__code__", None)
        if code is not None and code.co_filename in self.places.files:
            return False
        return not isinstance(module, tuple(getattr(nn, name) for name in CONTAINERS))

    # --- functions ------------------------------------------------------------------------------------------------

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        keywords = kwargs or {}
        name = getattr(func, "__name__", "")
        if self.in_leaf or name == "__set__" or (self.lazy and self.is_sizing()):
            return func(*args, **keywords)
        before = self.known_of((*args, *keywords.values()))
        result = func(*args, **keywords)
        made = [args[0]] if name == "__setitem__" else [tensor for _, tensor in named_tensors(result)]
        if made:
            with torch._C.DisableTorchFunction():
                self.function(function_label(func), before, made)
        return result

    def is_sizing(self) -> bool:
        """Whether a lazy layer makes its parameters, which it does before it is called."""
        frame: FrameType | None = sys._getframe(2)
        while frame is not None and frame.f_code is not _CALL and frame.f_code.co_filename not in self.places.files:
            if frame.f_code is _SIZE:
                return True
            frame = frame.f_back
        return False

    def known_of(self, given: tuple[Any, ...]) -> list[tuple[torch.Tensor, int | None]]:
        """The tensors among arguments, with the values that they are before the call."""
        return [(tensor, self.numbers.get(id(tensor))) for _, tensor in named_tensors(given)]

    def function(self, label: str, given: list[tuple[torch.Tensor, int | None]], made: list[torch.Tensor]) -> None:
        file, line, fqn, instruction = self.line()
        inputs = list(dict.fromkeys(self.known([t])[0] if number is None else number for t, number in given))
        last = self.rows[-1] if self.rows else None
        if last is not None and _is_again(last, label, self.parent, instruction):
            last.inputs += [number for number in inputs if number not in last.inputs and number not in last.outputs]
            last.outputs += [self.new(tensor) for tensor in made]
            last.times += 1
            return
        outputs = [self.new(tensor) for tensor in made]
        self.add(Row("function", fqn, label, self.parent, inputs, outputs, file, line, instruction))

    def add(self, row: Row) -> int:
        if len(self.rows) >= MAX_STEPS:
            raise TooManySteps
        self.rows.append(row)
        return len(self.rows) - 1

    # --- values ---------------------------------------------------------------------------------------------------

    def new(self, tensor: torch.Tensor, name: str = "") -> int:
        """A new value, which a tensor is from now on."""
        number = len(self.values)
        self.values.append(Tensor(tuple(tensor.shape), dtype_name(tensor.dtype), name))
        self.number(tensor, number)
        return number

    def number(self, tensor: torch.Tensor, number: int) -> None:
        """Know that a tensor is a value from now on."""
        self.numbers[id(tensor)] = number
        self.kept.append(tensor)

    def known(self, tensors: Iterable[torch.Tensor]) -> list[int]:
        """The values that tensors are, each once; a parameter or buffer is a step of its own when it is first read."""
        found: dict[int, None] = {}
        for tensor in tensors:
            number = self.numbers.get(id(tensor))
            if number is None:
                number = self.read(tensor)
            found[number] = None
        return list(found)

    def read(self, tensor: torch.Tensor) -> int:
        """The value of a tensor that no step has made."""
        state = self.state.get(id(tensor))
        if state is None:
            return self.new(tensor)
        name, owner = state
        parent = next((call.row for call in reversed(self.open) if call.module is owner), self.parent)
        number = self.new(tensor, name)
        row = Row("state", name, name.rpartition(".")[2], parent, [], [number])
        self.locate(row)
        self.add(row)
        return number

    # --- places ---------------------------------------------------------------------------------------------------

    def locate(self, row: Row) -> None:
        """Give a step the place where its module, parameter or buffer stands."""
        if row.kind == "state":
            around, _, leaf = row.fqn.rpartition(".")
            owner = self.places.modules[around]
            plan = self.places.plan(owner)
            made = (plan.parameters.get(leaf) or plan.buffers.get(leaf)) if plan is not None else None
            row.file, row.line = _place(made.span if made is not None else self.places.spans.get(owner))
        else:
            row.file, row.line = _place(self.places.spans.get(self.places.modules[row.fqn]))

    def caller(self) -> tuple[str, int] | None:
        """The line of code that calls the module that is entered; None where a container does."""
        calls = 0
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and calls < 2:
            code = frame.f_code
            if code is _CALL:
                calls += 1
            elif code.co_filename in self.places.files:
                return self.places.files[code.co_filename], frame.f_lineno
            frame = frame.f_back
        return None

    def line(self) -> tuple[str, int, str, object]:
        """The line of code at work: its file and number, the module that it belongs to, and its instruction."""
        frame: FrameType | None = sys._getframe(2)
        around = self.open[-1].module if self.open else self.places.built.module
        while frame is not None:
            code = frame.f_code
            if code.co_filename in self.places.files:
                owner = frame.f_locals.get("self")
                known = owner if isinstance(owner, nn.Module) and owner in self.places.names else around
                file = self.places.files[code.co_filename]
                return file, frame.f_lineno, self.places.name(known), (code, frame.f_lasti)
            frame = frame.f_back
        return "", 0, self.places.name(around), None


def _is_again(last: Row, label: str, parent: int | None, instruction: object) -> bool:
    """Whether a function is called at the place where the last step was made: a loop goes round."""
    same = (last.kind, last.label, last.parent, last.instruction) == ("function", label, parent, instruction)
    return same and instruction is not None


def state_of(model: nn.Module) -> Iterator[tuple[int, tuple[str, nn.Module]]]:
    """Every parameter and buffer by its id, with its first name and the module that holds it under that."""
    seen: set[int] = set()
    for prefix, module in model.named_modules():
        for table in (module._parameters, module._buffers):
            for name, tensor in table.items():
                if tensor is not None and id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield id(tensor), (f"{prefix}.{name}" if prefix else name, module)


def _place(span: Span | None) -> tuple[str, int]:
    return ("", 0) if span is None else (span.file, span.line)


def named_tensors(value: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of a value, named by what picks each of them."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from named_tensors(item, f"{name}[{key!r}]")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from named_tensors(item, f"{name}[{index}]")


_WORDS = {"truediv": "div", "floordiv": "floor_divide", "getitem": "getitem", "setitem": "setitem"}
_OPERATORS = frozenset(
    ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift"]
)


def function_label(func: Callable[..., Any]) -> str:
    """The name of a torch function; an operator has that of its function: `x + y` and `2 + x` are `add`."""
    name: str = getattr(func, "__name__", type(func).__name__)
    if name == "__get__":  # an attribute that is computed, as `x.T`
        owner = getattr(func, "__self__", None)
        return str(getattr(owner, "__name__", name))
    if not (name.startswith("__") and name.endswith("__")):
        return name
    word = name.strip("_")
    if word[:1] == "r" and word[1:] in _OPERATORS:
        word = word[1:]
    elif word[:1] == "i" and word[1:] in _OPERATORS:
        return f"{_WORDS.get(word[1:], word[1:])}_"
    return _WORDS.get(word, word)
