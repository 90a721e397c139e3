"""The wiring of one forward as plain data: which call took which values, and what came of it.

`confnet.shapes.tracing` records it; whoever draws or explains a model reads it without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Call", "Kind", "Trace", "Untraced", "Value"]

Kind = Literal["module", "function", "input", "output", "state"]


@dataclass(frozen=True, slots=True)
class Value:
    """One tensor. What is changed in place is another value afterwards.

    `sizes` are integers, or expressions over symbolic sizes as in a `ShapeReport`; `?` stands for a size that none was
    found for. `name` is that of an input, parameter or buffer, empty for what is computed.
    """

    id: int
    sizes: tuple[int | str, ...]
    dtype: str
    name: str = ""

    @property
    def text(self) -> str:
        """The shape as it is written in a file: `[B, 64, H//4, W//4]`."""
        return f"[{', '.join(map(str, self.sizes))}]"


@dataclass(frozen=True, slots=True)
class Call:
    """One step of a forward: a module, a torch function, an input, an output, or a parameter or buffer that is read.

    `fqn` is the dotted name of the module, parameter or buffer; of a function that of the module whose code calls it;
    empty for the model itself, its inputs and outputs. `label` is the class of a module, the name of a function (an
    operator has that of its function: `add`), of an input or output, or of the parameter. `parent` is the call of the
    module around it. `inputs` and `outputs` are ids of values. `file` and `line` tell where the step is written: of a
    module the line of code that calls it, or where it stands in the container that does; line 0 is unknown.
    `times` counts the calls of a function that a loop makes one after the other at one place: they are one step.
    """

    id: int
    fqn: str
    kind: Kind
    label: str
    parent: int | None
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    file: str
    line: int
    times: int = 1


@dataclass(frozen=True, slots=True)
class Trace:
    """The calls of a forward in the order in which they begin; an id is the place in `calls` or `values`.

    A layer of torch is one call, whatever it does inside. A module that only hands on what others computed has their
    values for its outputs.
    """

    calls: tuple[Call, ...]
    values: tuple[Value, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Untraced:
    """Why the wiring of a model is not known: it declares no inputs, has no forward, or torch cannot follow a step."""

    reason: str
