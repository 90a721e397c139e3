"""What a forward is run with: the ways to call it that its contract allows, and the tensors of one size of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import torch
from torch import nn

from confnet.plan import Size, ValueContract
from confnet.shapes.forms import Point
from confnet.shapes.matching import evaluated

__all__ = ["Case", "Unchecked", "cases_of"]

UNCHECKED_SIZE = 5
"""What stands for a size that an input leaves unchecked (`_`)."""
MAX_CASES = 12


class Unchecked(Exception):
    """Why a forward cannot be run with what its contract says."""


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A tensor of the contract's shape, or with `count` a list of so many; `unchecked` stands for sizes `_`."""

    contract: ValueContract
    count: int | None = None
    unchecked: int = UNCHECKED_SIZE

    def sizes(self) -> tuple[Size, ...]:
        sizes = self.contract.shape if self.count is None else self.contract.item
        return sizes or ()

    def shape(self, point: Point) -> tuple[int, ...]:
        found = []
        for size in self.sizes():
            value = evaluated(size, point)
            found.append(self.unchecked if value is None else value)
        return tuple(found)

    def at(self, point: Point) -> Any:
        """The tensors of one size, on meta."""
        dtype = getattr(torch, self.contract.dtype or "float32")
        shape = self.shape(point)
        made = [torch.empty(shape, dtype=dtype, device="meta") for _ in range(1 if self.count is None else self.count)]
        return made[0] if self.count is None else made


@dataclass(frozen=True, slots=True)
class _Plain:
    """A value that is no tensor."""

    value: Any

    def at(self, point: Point) -> Any:
        return self.value


@dataclass(frozen=True)
class Case:
    """One way to call a forward. `label` says what makes it another than the first."""

    contracts: tuple[ValueContract, ...]
    choices: Mapping[str, _Tensor | _Plain]
    label: str = ""
    keyed: bool = False  # whether a text was chosen that may be no key of what it is looked up in
    symbols: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        found: dict[str, None] = {}
        for choice in self.choices.values():
            if isinstance(choice, _Tensor):
                for size in choice.sizes():
                    found.update(dict.fromkeys(size.symbols))
        object.__setattr__(self, "symbols", tuple(found))

    def arguments(self, point: Point) -> dict[str, Any]:
        """The inputs by name, in order."""
        return {name: choice.at(point) for name, choice in self.choices.items()}

    def otherwise(self) -> Iterator[tuple[str, Case]]:
        """The same call with another number where the contract leaves one open that has no symbol, and which it is."""
        contracts = {contract.name: contract for contract in self.contracts}
        for name, choice in self.choices.items():
            other: list[tuple[str, _Tensor | _Plain]] = []
            if isinstance(choice, _Tensor):
                if choice.count is not None:
                    other.append((f"the number of items in `{name}`", replace(choice, count=choice.count + 1)))
                if any(size.value is None for size in choice.sizes()):
                    other.append((f"a size `_` of `{name}`", replace(choice, unchecked=choice.unchecked + 2)))
            elif contracts[name].required and contracts[name].type in ("int", "float"):
                high = contracts[name].high
                if high is None or choice.value + 1 < high:
                    other.append((f"the value of `{name}`", _Plain(choice.value + 1)))
            for what, changed in other:
                yield what, replace(self, choices={**self.choices, name: changed})

    def tensors(self) -> Iterator[ValueContract]:
        """The contracts of the inputs that are tensors here."""
        return (choice.contract for choice in self.choices.values() if isinstance(choice, _Tensor))


def cases_of(contracts: Sequence[ValueContract], module: nn.Module) -> list[Case]:
    """The ways to call a forward, the plainest first. Raises Unchecked."""
    required = [contract for contract in contracts if contract.required]
    optional = [contract for contract in contracts if not contract.required]
    given = [contract for contract in optional if contract.shape is not None or contract.item is not None]
    found = []
    for chosen in product(*(_choices(contract, module) for contract in required)):
        fixed = dict(zip((contract.name for contract in required), chosen, strict=True))
        for tensors in _subsets(given):
            choices = {**fixed}
            for contract in optional:
                inside = any(contract is other for other in tensors)
                choices[contract.name] = _tensor(contract) if inside else _Plain(_frozen(contract.default))
            words = [f"{name} = {choice.value!r}" for name, choice in fixed.items() if isinstance(choice, _Plain)]
            words += [f"{contract.name} given" for contract in tensors]
            keyed = any(contract.type == "str" for contract in required)
            found.append(Case(tuple(contracts), choices, ", ".join(words), keyed))
    return found[:MAX_CASES]


def _subsets(optional: Sequence[ValueContract]) -> list[tuple[ValueContract, ...]]:
    """None of the optional tensors, all of them, and each alone."""
    found: list[tuple[ValueContract, ...]] = [(), tuple(optional)] if optional else [()]
    return found + [(contract,) for contract in optional if len(optional) > 1]


def _tensor(contract: ValueContract) -> _Tensor:
    return _Tensor(contract, None if contract.shape is not None else 2)


def _choices(contract: ValueContract, module: nn.Module) -> list[_Tensor | _Plain]:
    """What a required input may be."""
    if contract.shape is not None:
        return [_Tensor(contract)]
    if contract.item is not None:
        return [_Tensor(contract, 2)]
    if contract.type == "bool":
        return [_Plain(False), _Plain(True)]
    if contract.type in ("int", "float") and contract.low is not None:
        return [_Plain(int(contract.low) if contract.type == "int" else float(contract.low))]
    if contract.type == "str":
        keys = dict.fromkeys(key for m in module.modules() if isinstance(m, nn.ModuleDict) for key in m)
        if keys:
            return [_Plain(key) for key in keys]
    missing = "shape" if contract.type in (None, "tensor") else "item shape" if contract.type == "list" else "default"
    raise Unchecked(f"the input `{contract.name}` has no {missing}")


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
