"""The wiring of one instance of a definition, told again of those that are alike: a deep model repeats itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from confnet.shapes.recorder import description, fresh, is_new
from confnet.shapes.wires import Row, Tensor, Wires, named_tensors

__all__ = ["Seen", "again", "seen"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What one call of a module did: the row of the call, those inside, and the values that it made.

    Rows and values are counted from the call's own; a value under zero is one of the call's inputs: -1 is the first.
    """

    name: str
    outputs: tuple[int, ...]
    inner: tuple[Row, ...]
    values: tuple[Tensor, ...]
    inputs: int
    result: Any


def seen(
    wires: Wires, module: nn.Module, first_row: int, first_value: int, given: Sequence[torch.Tensor], result: Any
) -> Seen | None:
    """What a call that has just returned did; None where it is about more than the module and what it was given.

    Its row is `first_row`, and the first value that was made inside of it `first_value`.
    """
    name = wires.places.name(module)
    head, *inner = wires.rows[first_row:]
    made = [id(tensor) for _, tensor in named_tensors(result)]
    if len(set(made)) < len(made) or not is_new(result, [*given, *module.parameters(), *module.buffers()]):
        return None
    numbers = {number: -1 - place for place, number in enumerate(head.inputs)}
    numbers |= {number: number - first_value for number in range(first_value, len(wires.values))}
    kept = []
    for row in inner:
        if row.fqn != name and not row.fqn.startswith(f"{name}."):
            return None
        if not all(number in numbers for number in row.inputs):
            return None
        if row.kind == "state" and wires.numbers.get(id(_tensor(module, name, row.fqn))) != row.outputs[0]:
            return None  # it was changed in place
        parent = None if row.parent is None else row.parent - first_row
        inputs, outputs = ([numbers[number] for number in many] for many in (row.inputs, row.outputs))
        kept.append(replace(row, parent=parent, inputs=inputs, outputs=outputs))
    outputs_of_all = tuple(numbers[number] for number in head.outputs)
    values = tuple(wires.values[first_value:])
    return Seen(name, outputs_of_all, tuple(kept), values, len(head.inputs), description(result))


def again(wires: Wires, module: nn.Module, known: Seen) -> tuple[bool, Any]:
    """Tell of a call, which has been entered, of a module like the one that was seen; False where it differs."""
    name = wires.places.name(module)
    tail = slice(len(known.name), None)
    states = []
    for row in known.inner:
        if row.kind == "state":
            tensor = _tensor(module, known.name, row.fqn)
            if tensor is None or id(tensor) in wires.numbers:
                return False, None
            if wires.state.get(id(tensor), ("", None))[0] != name + row.fqn[tail]:
                return False, None
            states.append((tensor, row.outputs[0]))
    at, base = len(wires.rows) - 1, len(wires.values)
    own = wires.rows[at]
    if len(own.inputs) != known.inputs:
        return False, None
    given = own.inputs

    def moved(many: Sequence[int]) -> list[int]:
        return [base + number if number >= 0 else given[-1 - number] for number in many]

    for row in known.inner:
        made = Row(
            row.kind,
            name + row.fqn[tail],
            row.label,
            None if row.parent is None else row.parent + at,
            moved(row.inputs),
            moved(row.outputs),
            row.file,
            row.line,
            row.instruction,
            row.times,
            row.by_container,
        )
        if row.by_container or row.kind == "state":
            wires.locate(made)
        wires.add(made)
    for tensor, number in states:
        wires.number(tensor, number + base)
    for value in known.values:
        wires.values.append(Tensor(value.shape, value.dtype, name + value.name[tail]) if value.name else value)
    result = fresh(known.result)
    own.outputs = moved(known.outputs)
    for (_, tensor), number in zip(named_tensors(result), own.outputs, strict=True):
        wires.number(tensor, number)
    wires.open.pop()
    return True, result


def _tensor(module: nn.Module, name: str, fqn: str) -> torch.Tensor | None:
    """The parameter or buffer at a name, by its place inside a module that is called `name`, or alike."""
    *path, leaf = fqn.removeprefix(name).removeprefix(".").split(".")
    for step in path:
        child = module._modules.get(step)
        if child is None:
            return None
        module = child
    tensor = module._parameters.get(leaf)
    return tensor if tensor is not None else module._buffers.get(leaf)
