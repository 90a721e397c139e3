"""Contracts against values: every size must be what the contract says, and a name means one size in a module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from confnet.language.grammar import LanguageError
from confnet.plan import Size, ValueContract
from confnet.shapes.operands import dtype_name

__all__ = ["ContractError", "evaluated", "match_inputs", "match_outputs"]

LARGEST = 1 << 16


class ContractError(Exception):
    """A value that is not what the contract of a module says.

    `size` is the place of the size in the shape (None where the shape is not what is wrong), `expected` what the
    contract makes of it; `owner` is the module whose contract it is, of its forward or of a `method`.
    """

    def __init__(
        self,
        message: str,
        contract: ValueContract,
        output: bool,
        shape: tuple[int, ...] | None = None,
        size: int | None = None,
        expected: int | None = None,
    ) -> None:
        super().__init__(message)
        self.contract, self.output, self.shape, self.size, self.expected = contract, output, shape, size, expected
        self.owner: Any = None
        self.method = False


def evaluated(size: Size, binding: Mapping[str, int]) -> int | None:
    """The size under a binding of its symbols; None where it is unchecked or not settled yet.

    Raises LanguageError for an expression that has no value, and ValueError for one that is no size.
    """
    if size.value is None or isinstance(size.value, int):
        return size.value
    if any(symbol not in binding for symbol in size.symbols):
        return None
    value = size.value.evaluate({**size.names, **{symbol: binding[symbol] for symbol in size.symbols}})
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"`{size.text}` is `{value}`, not a size")
    return value


def match_inputs(contracts: Sequence[ValueContract], values: Mapping[str, Any], binding: dict[str, int]) -> None:
    """Check inputs, and bind the symbols that they mention. Raises ContractError."""
    for contract in contracts:
        if contract.name in values:
            _match(contract, values[contract.name], binding, output=False)


def match_outputs(contracts: Sequence[ValueContract], result: Any, binding: dict[str, int]) -> None:
    """Check what is returned: one value, a tuple in order or a dict with the keys. Raises ContractError."""
    if len(contracts) == 1 and not (isinstance(result, Mapping) and set(result) == {contracts[0].name}):
        _match(contracts[0], result, binding, output=True)
        return
    first = contracts[0] if contracts else None
    if first is None:
        return
    names = [contract.name for contract in contracts]
    if isinstance(result, Mapping):
        if set(result) != set(names):
            raise ContractError(
                f"the outputs are {_names(names)}, and a dict with {_names(result)} is returned", first, True
            )
        values = [result[name] for name in names]
    elif isinstance(result, list | tuple):
        if len(result) != len(names):
            raise ContractError(f"the outputs are {_names(names)}, and {len(result)} values are returned", first, True)
        values = list(result)
    else:
        raise ContractError(f"the outputs are {_names(names)}, and one value is returned", first, True)
    for contract, value in zip(contracts, values, strict=True):
        _match(contract, value, binding, output=True)


def _names(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names) or "nothing"


def _match(contract: ValueContract, value: Any, binding: dict[str, int], *, output: bool) -> None:
    if value is None and not output and not contract.required and contract.default is None:
        return
    if contract.item is not None and isinstance(value, list | tuple):
        for item in value:
            _tensor(contract, contract.item, item, binding, output=output)
        return
    if contract.shape is not None:
        _tensor(contract, contract.shape, value, binding, output=output)


def _tensor(
    contract: ValueContract, sizes: tuple[Size, ...], value: Any, binding: dict[str, int], *, output: bool
) -> None:
    what = "output" if output else "input"
    if not isinstance(value, torch.Tensor):
        raise ContractError(f"the {what} `{contract.name}` is a {type(value).__name__}, not a tensor", contract, output)
    shape = tuple(value.shape)
    if len(shape) != len(sizes):
        raise ContractError(
            f"the {what} `{contract.name}` has {len(shape)} dimensions, and its contract {len(sizes)}",
            contract,
            output,
            shape,
        )
    if contract.dtype is not None and dtype_name(value.dtype) != contract.dtype:
        raise ContractError(
            f"the {what} `{contract.name}` is `{dtype_name(value.dtype)}`, and its contract says `{contract.dtype}`",
            contract,
            output,
            shape,
        )
    # Plain names first: they settle the expressions.
    order = sorted(range(len(sizes)), key=lambda i: bool(sizes[i].symbols) and sizes[i].text not in sizes[i].symbols)
    for index in order:
        _size(contract, sizes[index], index, shape, binding, output=output)


def _size(
    contract: ValueContract, size: Size, index: int, shape: tuple[int, ...], binding: dict[str, int], *, output: bool
) -> None:
    actual = shape[index]
    if size.value is None:
        return
    if size.text in size.symbols and size.text not in binding:
        binding[size.text] = actual
        return
    try:
        expected = evaluated(size, binding)
        if expected is None:
            open_symbols = [symbol for symbol in size.symbols if symbol not in binding]
            found = _solved(size, open_symbols[0], actual, binding) if len(open_symbols) == 1 else None
            if len(open_symbols) > 1:
                return
            if found is not None:
                binding[open_symbols[0]] = found
                return
    except (LanguageError, ValueError) as error:
        message = getattr(error, "message", None) or str(error)
        raise ContractError(
            f"the size `{size.text}` of `{contract.name}`: {message}", contract, output, shape, index
        ) from None
    if expected != actual:
        raise ContractError(
            f"the {'output' if output else 'input'} `{contract.name}`", contract, output, shape, index, expected
        )


def _solved(size: Size, symbol: str, actual: int, binding: Mapping[str, int]) -> int | None:
    """The whole number under which an expression has a value: by the line through two points, or by trying."""

    def at(value: int) -> int | None:
        try:
            return evaluated(size, {**binding, symbol: value})
        except (LanguageError, ValueError):
            return None

    one, two = at(1), at(2)
    if one is not None and two is not None and two != one and (actual - one) % (two - one) == 0:
        guess = 1 + (actual - one) // (two - one)
        if guess >= 0 and at(guess) == actual:
            return guess
    return next((value for value in range(min(actual, LARGEST) + 1) if at(value) == actual), None)
