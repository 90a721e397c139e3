"""Which modules behave alike on meta, so that what one of them returned need not be computed for another.

Two modules are alike if they are of one class and equal in all that a forward can read of them: plain attributes, the
forms of parameters and buffers (values do not exist on meta), contracts, and children that are alike in turn. Modules
of several variants are compared the same way, because classes made from one text are the same.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from itertools import count
from types import BuiltinFunctionType, FunctionType

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from confnet.plan import Contract, ModulePlan, Size, ValueContract

__all__ = ["Likeness"]

_OF_TORCH = frozenset(nn.Module().__dict__) | {"_flat_weight_refs"}  # references to what is compared anyhow
_OF_CONFNET = "_confnet_"  # where a module came from
_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_CONSTANT = (torch.dtype, torch.device, torch.layout, torch.memory_format, type, FunctionType, BuiltinFunctionType)


class _Own(Exception):
    """Something that cannot be compared: the module is like itself only."""


class Likeness:
    """Numbers for modules: equal numbers mean modules that behave alike.

    It holds what it compares, so that the identity of a class or function is never that of an earlier one.
    """

    def __init__(self) -> None:
        self.numbers: dict[object, int] = {}
        self.next = count()

    def of(self, modules: Mapping[nn.Module, str], plans: Mapping[nn.Module, ModulePlan]) -> dict[nn.Module, int]:
        """The number of each module of a model; `modules` gives their dotted names, outer ones first."""
        found: dict[nn.Module, int] = {}
        for module in reversed(list(modules)):
            if module not in found:
                self.number(module, modules, plans, found)
        return found

    def number(
        self,
        module: nn.Module,
        names: Mapping[nn.Module, str],
        plans: Mapping[nn.Module, ModulePlan],
        found: dict[nn.Module, int],
    ) -> int:
        known = found.get(module)
        if known is not None:
            return known
        children: list[object] = []
        name = names.get(module, "")
        for key, child in module._modules.items():
            if child is None:
                children.append(key)
                continue
            path = f"{name}.{key}" if name else key
            # A module that has its name elsewhere returns what it does under that name.
            elsewhere = "" if names.get(child) == path else names.get(child)
            children.append((key, self.number(child, names, plans, found), elsewhere))
        plan = plans.get(module)
        try:
            form = (
                type(module),
                *_state(module),
                tuple(children),
                _contracts(plan.contracts) if plan is not None else None,
            )
            made = self.numbers.get(form)
            if made is None:
                made = self.numbers[form] = next(self.next)
        except (_Own, TypeError):  # also what has no hash
            made = next(self.next)
        found[module] = made
        return made


def _state(module: nn.Module) -> tuple[object, ...]:
    """What a module holds itself."""
    if any(module.__dict__.get(table) for table in _HOOKS):
        raise _Own
    tables: list[dict[str, torch.Tensor | None]] = [dict(module._parameters), module._buffers]
    tensors = tuple(tuple((key, _form(tensor)) for key, tensor in table.items()) for table in tables)
    attributes = [
        (key, _frozen(value))
        for key, value in module.__dict__.items()
        if key not in _OF_TORCH and not key.startswith(_OF_CONFNET)
    ]
    return (*tensors, tuple(sorted(attributes, key=lambda item: item[0])))


_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def _form(tensor: torch.Tensor | None) -> object:
    if tensor is None:
        return None
    if is_lazy(tensor) or not tensor.is_meta:  # what has values may be used for them
        raise _Own
    return (type(tensor), tensor.shape, tensor.stride(), tensor.dtype, tensor.device, tensor.requires_grad)


def _frozen(value: object) -> object:
    """A value that can be compared: of a number its type as well, as 1, 1.0 and True are equal."""
    if isinstance(value, _PLAIN):
        return (type(value), value)
    if isinstance(value, list | tuple):
        return (type(value), *map(_frozen, value))
    if isinstance(value, dict):
        return (dict, *((_frozen(key), _frozen(item)) for key, item in value.items()))
    if isinstance(value, set | frozenset):
        return (type(value), frozenset(map(_frozen, value)))
    if isinstance(value, torch.Tensor):
        return _form(value)
    if isinstance(value, _CONSTANT):
        return value
    if isinstance(value, weakref.ref):
        return weakref.ref
    raise _Own


def _contracts(contracts: Mapping[str, Contract]) -> object:
    return tuple(
        (name, *(None if side is None else tuple(map(_contract, side)) for side in (contract.inputs, contract.outputs)))
        for name, contract in contracts.items()
    )


def _contract(contract: ValueContract) -> object:
    sizes = [None if sizes is None else tuple(map(_size, sizes)) for sizes in (contract.shape, contract.item)]
    rest = (contract.low, contract.high, contract.type, contract.required, _frozen(contract.default))
    return (contract.name, *sizes, contract.dtype, *rest)


def _size(size: Size) -> object:
    value = size.value if size.value is None or isinstance(size.value, int) else "computed"
    names = tuple((name, _frozen(item)) for name, item in size.names.items())
    return (size.text, value, size.symbols, names)
