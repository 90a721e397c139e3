"""What the check of shapes found: the shape of every value, in the names that the file uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from confnet.diagnostics import Span
from confnet.plan import Contract

__all__ = ["Condition", "ShapeReport", "ValueShape", "output_name"]


@dataclass(frozen=True, slots=True)
class ValueShape:
    """The shape of one value: an input, what a module returned, or an output.

    `name` is the name of an input or output, or the dotted name of the module (`conv1#2` for its second call, `[0]`
    behind it for the first item of a tuple). `sizes` are integers, or expressions over symbolic sizes.
    """

    name: str
    sizes: tuple[int | str, ...]
    dtype: str
    span: Span | None = None

    @property
    def text(self) -> str:
        """The shape as it is written in a file: `[B, 64, H//4, W//4]`."""
        return f"[{', '.join(map(str, self.sizes))}]"

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


@dataclass(frozen=True, slots=True)
class Condition:
    """Sizes that the model needs: `H >= 7`. `reason` and `span` are what fails otherwise."""

    text: str
    reason: str
    span: Span | None = None

    def __str__(self) -> str:
        return f"{self.text}: {self.reason}" if self.reason else self.text


@dataclass(frozen=True, slots=True)
class ShapeReport:
    """The shapes of one model: checked, or unchecked and why (`reason`).

    Symbolic sizes mean any integer from 2 up that meets the `conditions`. `values` are those of inner modules, in the
    order in which they are called. Outputs and values are those of train mode; `in_eval` are the outputs of eval mode
    where code makes them others.
    """

    checked: bool
    reason: str = ""
    inputs: tuple[ValueShape, ...] = ()
    values: tuple[ValueShape, ...] = ()
    outputs: tuple[ValueShape, ...] = ()
    conditions: tuple[Condition, ...] = ()
    variant: str | None = None
    root: str | None = None
    in_eval: tuple[ValueShape, ...] = ()

    def __str__(self) -> str:
        if not self.checked:
            return f"unchecked: {self.reason}"
        taken, returned, in_eval = (
            ", ".join(map(str, side)) or "nothing" for side in (self.inputs, self.outputs, self.in_eval)
        )
        needs = " and ".join(condition.text for condition in self.conditions)
        modes = f" (in eval mode {in_eval})" if self.in_eval else ""
        return f"{taken} -> {returned}{modes}" + (f" where {needs}" if needs else "")


def output_name(name: str, contract: Contract) -> str:
    """The name that the contract gives to an output; `output` where it gives none."""
    outputs = contract.outputs or ()
    if len(outputs) == 1:
        return outputs[0].name if name in ("", f"[{outputs[0].name!r}]") else outputs[0].name + name
    by_place: Mapping[str, str] = {f"[{place}]": item.name for place, item in enumerate(outputs)}
    by_key = {f"[{item.name!r}]": item.name for item in outputs}
    return by_place.get(name) or by_key.get(name) or f"output{name}"
