"""The layers of torch.nn as data: `layers.json`, made by `confnet.builder.introspect` and read without torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from functools import lru_cache
from typing import Any, Final, Literal

from confnet.catalog import data
from confnet.catalog.arguments import Argument, Rule
from confnet.catalog.constraints import bounds_of, rules_of
from confnet.language.kinds import TENSOR, UNKNOWN, Parameter, Signature
from confnet.records import dataclass

__all__ = [
    "NOT_LAYERS",
    "WITHHELD",
    "Argument",
    "Layer",
    "NotALayer",
    "install",
    "shipped",
    "torch_layers",
    "torch_version",
]


@dataclass(frozen=True, slots=True)
class NotALayer:
    """A public class of torch.nn that a file cannot use as a layer: why, and what to write instead."""

    reason: str
    help: str


NOT_LAYERS: Final[Mapping[str, NotALayer]] = {
    "Module": NotALayer(
        "it is the base of all modules and has no forward", "write `children:` for a module of your own"
    ),
    "Container": NotALayer("torch has deprecated it", "use `Sequential`, `ModuleList` or `ModuleDict`"),
    "DataParallel": NotALayer("it is a way to run a model, not a part of it", "wrap the built model in Python"),
    "SyncBatchNorm": NotALayer(
        "it needs a process group",
        "write `BatchNorm2d` and call `SyncBatchNorm.convert_sync_batchnorm` on the built model",
    ),
    "RNNBase": NotALayer("it is a bare base without a forward", "use `RNN`, `LSTM` or `GRU`"),
    "RNNCellBase": NotALayer("it is a bare base without a forward", "use `RNNCell`, `LSTMCell` or `GRUCell`"),
    "ParameterList": NotALayer("it holds parameters, not modules", "declare them under `parameters:`"),
    "ParameterDict": NotALayer("it holds parameters, not modules", "declare them under `parameters:`"),
    "Parameter": NotALayer("it is a tensor, not a module", "declare it under `parameters:`"),
    "UninitializedParameter": NotALayer("it is a tensor, not a module", "declare it under `parameters:`"),
    "Buffer": NotALayer("it is a tensor, not a module", "declare it under `buffers:`"),
    "UninitializedBuffer": NotALayer("it is a tensor, not a module", "declare it under `buffers:`"),
    "LinearCrossEntropyOptions": NotALayer("it holds options, not computation", "use `LinearCrossEntropyLoss`"),
}

# Arguments that torch has and a file has not, with what to do instead.
WITHHELD: Final[Mapping[str, str]] = {
    "device": "the caller of `build` chooses the device; remove it",
    "size_average": "torch has deprecated it: write `reduction`",
    "reduce": "torch has deprecated it: write `reduction`",
    "min_value": "torch has deprecated it: write `min_val`",
    "max_value": "torch has deprecated it: write `max_val`",
    "options": "it takes a Python object; register a layer that sets it",
    "_weight": "it is private to torch: write an `init` rule for `weight`",
    "_freeze": "it is private to torch: write `requires_grad: false`",
    "_random_samples": "it is private to torch",
}


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer by its name: its arguments, its forward and what it registers.

    `parameters` and `buffers` are the names it may register itself, `children` the modules it makes (name to class);
    a `*` in a name stands for a number (`weight_ih_l*`). `bases` are the layers it is a subclass of. `cls` is the
    class of a registered layer, None for torch's. `opaque` tells that what it registers is not known beforehand.
    """

    name: str
    arguments: tuple[Argument, ...]
    forward: Signature
    has_forward: bool = True
    parameters: tuple[str, ...] = ()
    buffers: tuple[str, ...] = ()
    children: Mapping[str, str] = field(default_factory=dict)
    bases: tuple[str, ...] = ()
    summary: str = ""
    url: str = ""
    cls: type | None = None
    container: Literal["", "list", "dict", "sequential"] = ""
    variadic: bool = False
    keywords: bool = False
    opaque: bool = False
    rules: tuple[Rule, ...] = ()
    withheld: Mapping[str, str] = field(default_factory=dict)

    def argument(self, name: str) -> Argument | None:
        """The argument of that name, or None."""
        return next((argument for argument in self.arguments if argument.name == name), None)

    def registers(self, name: str) -> bool:
        """Whether the layer may register a parameter or buffer of that name (an opaque layer may register any)."""
        return self.opaque or any(_covers(pattern, name) for pattern in (*self.parameters, *self.buffers))


def _covers(pattern: str, name: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", "[0-9]+"), name) is not None


# --- the shipped data ---------------------------------------------------------------------------------------------

_installed: Mapping[str, Any] | None = None


def shipped() -> Mapping[str, Any]:
    """The data of the installed torch: its version under `torch`, `layers`, `initializers`, `parametrizations`."""
    return _installed if _installed is not None else data.read("layers")


def install(rows: Mapping[str, Any] | None) -> None:
    """Use other data in this process; None goes back to those of the installed torch."""
    global _installed
    _installed = rows
    torch_layers.cache_clear()


def torch_version() -> str:
    """The version of torch that the data was made from."""
    return str(shipped()["torch"])


@lru_cache(maxsize=1)
def torch_layers() -> Mapping[str, Layer]:
    """Every layer of torch.nn by its name, each made when it is first asked for."""
    return _Layers(shipped()["layers"])


class _Layers(Mapping[str, Layer]):
    """Layers by name: a file names a few of them."""

    def __init__(self, rows: Mapping[str, Any]) -> None:
        self.rows = rows
        self.made: dict[str, Layer] = {}

    def __getitem__(self, name: str) -> Layer:
        layer = self.made.get(name)
        if layer is None:
            layer = self.made[name] = _layer(name, self.rows[name])
        return layer

    def __contains__(self, name: object) -> bool:
        return name in self.rows

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def arguments_of(owner: str, rows: list[dict[str, Any]]) -> tuple[Argument, ...]:
    """Arguments from their rows of data, with the bounds that `owner` has for them."""
    return tuple(_argument(owner, row) for row in rows)


def _argument(owner: str, row: Mapping[str, Any], *, inferable: bool = False) -> Argument:
    bounds = bounds_of(owner, row["name"])
    return Argument(
        row["name"],
        row["type"],
        required="default" not in row,
        default=row.get("default"),
        positional=not row.get("keyword_only", False),
        ge=bounds.ge if bounds else None,
        gt=bounds.gt if bounds else None,
        le=bounds.le if bounds else None,
        lt=bounds.lt if bounds else None,
        choices=bounds.choices if bounds else (),
        settable=row.get("settable", False),
        inferable=inferable,
    )


def _layer(name: str, row: Mapping[str, Any]) -> Layer:
    forward = row.get("forward")
    lazy = shipped()["layers"].get(f"Lazy{name}")
    left = {argument["name"] for argument in lazy["arguments"]} if lazy is not None else None
    return Layer(
        name=name,
        arguments=tuple(
            # what torch's lazy layer does not take, it infers
            _argument(name, argument, inferable=left is not None and argument["name"] not in left)
            for argument in row["arguments"]
        ),
        forward=_signature(forward or {}),
        has_forward=forward is not None,
        parameters=tuple(row.get("parameters", ())),
        buffers=tuple(row.get("buffers", ())),
        children=row.get("children", {}),
        bases=tuple(row.get("bases", ())),
        summary=row["summary"],
        url=f"https://docs.pytorch.org/docs/stable/generated/torch.nn.{name}.html",
        container=row.get("container", ""),
        variadic=row.get("variadic", False),
        keywords=row.get("keywords", False),
        rules=rules_of(name),
        withheld={withheld: WITHHELD[withheld] for withheld in row.get("withheld", ())},
    )


def _signature(row: Mapping[str, Any]) -> Signature:
    parameters = tuple(
        Parameter(name, required)
        for names, required in ((row.get("required", ()), True), (row.get("optional", ()), False))
        for name in names
    )
    return Signature(parameters, result=TENSOR if row.get("result") == "tensor" else UNKNOWN)
