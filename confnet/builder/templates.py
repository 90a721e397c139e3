"""Layers without values, made as fast as objects can be copied.

A layer of torch computes and initialises while it is constructed, on meta as well, where that is no use. Here each kind
of layer is constructed once; the next of the same class and arguments is that one again, with parameters, buffers and
tables of its own. Only what is seen to be plain data is copied; every other layer is constructed anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from confnet.builder.defaults import is_known
from confnet.catalog.initializers import initializer_names

__all__ = ["Templates"]

_META = torch.device("meta")
_FIXED = (int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size, FunctionType)
_FIXED_TOO = (BuiltinFunctionType, type)


class Templates:
    """The layers of one construction on meta: the first of each kind is constructed, the others are copied.

    Kinds of torch's own classes whose arguments are data are kept for the constructions that follow.
    """

    def __init__(self) -> None:
        self.known: dict[object, _Template | None] = {}
        self.dtype = torch.get_default_dtype()

    def make(self, cls: type[nn.Module], positional: Sequence[Any], keywords: Mapping[str, Any]) -> nn.Module:
        """A layer on meta, as its class would make it, with its parameters drawn from nothing."""
        key = _key(cls, positional, keywords, self.dtype)
        template = self.known.get(key) or _KEPT.get(key) if key is not None else None
        if template is not None:
            return template.copy()
        with _META, _Unfilled() if is_known(cls) else nullcontext():
            module = cls(*positional, **keywords)
        if key is not None and key not in self.known:
            template = self.known[key] = _Template.of(module)
            if template is not None and _is_lasting(cls, positional, keywords):
                if len(_KEPT) >= _MOST_KEPT:
                    _KEPT.clear()
                _KEPT[key] = template
        return module


class _Unfilled(TorchFunctionMode):
    """Of the current thread: what would draw or set the values of a tensor on meta, which has none, is left out."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if func in _FILLS:
            tensor = args[0] if args else named["tensor"]
            if tensor.is_meta:
                return tensor
        return func(*args, **named)


_FILLS = frozenset(
    {
        torch.Tensor.fill_,
        torch.Tensor.normal_,
        torch.Tensor.uniform_,
        torch.Tensor.zero_,
        *(getattr(nn.init, name) for name in initializer_names()),
    }
)


def _key(
    cls: type, positional: Sequence[Any], keywords: Mapping[str, Any], dtype: torch.dtype
) -> tuple[object, ...] | None:
    """What tells a kind of layer from others; None where an argument is no plain value."""
    if not is_known(cls) or not all(map(_is_fixed, (*positional, *keywords.values()))):
        return None
    made_by: Any = cls  # another constructor, put into the class since, makes other layers
    return cls, made_by.__init__, repr(positional), repr(keywords), dtype  # as a text, `1` and `True` are not equal


def _is_lasting(cls: type, positional: Sequence[Any], keywords: Mapping[str, Any]) -> bool:
    """Whether a kind means the same for as long as the process lasts: its class stays, and no argument is known by
    its address, which another object may have later."""
    return cls.__module__.startswith("torch.nn.") and not any(map(_has_address, (*positional, *keywords.values())))


def _has_address(value: object) -> bool:
    if isinstance(value, tuple | list):
        return any(map(_has_address, value))
    return isinstance(value, (FunctionType, *_FIXED_TOO))


def _is_fixed(value: object) -> bool:
    """Whether a value is plain data that two modules may have in common, or a list of such."""
    if isinstance(value, tuple | list):
        return all(map(_is_fixed, value))
    return type(value) in _FIXED or isinstance(value, _FIXED_TOO) or type(value) is bool


@dataclass(frozen=True, slots=True)
class _Tensor:
    """What a tensor without values is."""

    shape: torch.Size
    dtype: torch.dtype
    requires_grad: bool

    @classmethod
    def of(cls, tensor: torch.Tensor) -> _Tensor:
        return cls(tensor.shape, tensor.dtype, tensor.requires_grad)

    def empty(self) -> torch.Tensor:
        return torch.empty(self.shape, dtype=self.dtype, device=_META)


@dataclass(frozen=True, slots=True, eq=False)
class _Template:
    """A layer to copy. `empty` are its tables without content, `lists` its attributes that are lists."""

    cls: type[nn.Module]
    state: dict[str, Any]
    empty: tuple[tuple[str, type], ...]
    lists: tuple[str, ...]
    parameters: tuple[tuple[str, _Tensor | None], ...]
    buffers: tuple[tuple[str, _Tensor | None], ...]
    modules: tuple[tuple[str, _Template | None], ...]

    @classmethod
    def of(cls, module: nn.Module) -> _Template | None:
        """None where a layer holds more than plain data and tensors on meta."""
        empty: list[tuple[str, type]] = []
        lists: list[str] = []
        for name, value in module.__dict__.items():
            if name in _REGISTERED or (isinstance(value, tuple) and _is_fixed(value)):
                continue
            if isinstance(value, dict) and not value:
                empty.append((name, type(value)))
            elif isinstance(value, list) and _is_fixed(value):
                lists.append(name)
            elif isinstance(value, list | tuple) or not _is_fixed(value):
                return None
        tensors = [*module._parameters.values(), *module._buffers.values()]
        if not all(tensor is None or (tensor.is_meta and not is_lazy(tensor)) for tensor in tensors):
            return None
        inner = {name: None if child is None else cls.of(child) for name, child in module._modules.items()}
        if any(inner[name] is None and child is not None for name, child in module._modules.items()):
            return None
        state = module.__dict__.copy()  # whatever happens to the module itself later is no part of the template
        state.update({name: module.__dict__[name].copy() for name in (*lists, "_non_persistent_buffers_set")})
        # A copy gets tables of its own: those of the module, with its weights later on, are not to live on in here.
        state.update(dict.fromkeys((*_TABLES, *(name for name, _ in empty))))
        return cls(
            type(module),
            state,
            tuple(empty),
            tuple(lists),
            tuple((name, p if p is None else _Tensor.of(p)) for name, p in module._parameters.items()),
            tuple((name, b if b is None else _Tensor.of(b)) for name, b in module._buffers.items()),
            tuple(inner.items()),
        )

    def copy(self) -> nn.Module:
        """Another layer of the same kind."""
        made = self.cls.__new__(self.cls)
        state = self.state.copy()
        for name, kind in self.empty:
            state[name] = kind()
        for name in self.lists:
            state[name] = state[name].copy()
        state["_parameters"] = {
            name: None if known is None else nn.Parameter(known.empty(), known.requires_grad)
            for name, known in self.parameters
        }
        state["_buffers"] = {name: None if known is None else known.empty() for name, known in self.buffers}
        state["_modules"] = {name: None if inner is None else inner.copy() for name, inner in self.modules}
        state["_non_persistent_buffers_set"] = self.state["_non_persistent_buffers_set"].copy()
        made.__dict__.update(state)
        return made


_KEPT: dict[object, _Template] = {}
_MOST_KEPT = 1024

_TABLES = ("_parameters", "_buffers", "_modules")
_REGISTERED = frozenset({*_TABLES, "_non_persistent_buffers_set"})
