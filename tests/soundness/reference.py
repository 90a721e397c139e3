"""A spec as plain PyTorch: built the naive way, without confnet and without any check, to see what becomes of it.

It knows the part of the language that the random models use. Names are looked up as Python does, `$` values are
evaluated by Python, torch raises what it raises. Contracts are checked at every call, with an arithmetic of its own.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["SYMBOL", "Broken", "contract_of", "hold_outputs", "reference"]

Scope = Mapping[str, Any]
BUILTINS: Scope = {
    function.__name__: function
    for function in (min, max, abs, round, int, float, str, bool, len, sum, range, list, zip, enumerate, sorted, tuple)
}
SYMBOL = re.compile(r"\b[A-Z][A-Za-z0-9]*\b")


class Broken(Exception):
    """A contract that does not hold."""


def reference(spec: Mapping[str, Any], *, whole: bool = False) -> nn.Module:
    """The module of a document; with `whole`, what `when` closes and what no one uses is made as well, and dropped.

    Whatever Python or torch raise is raised.
    """
    scope: dict[str, Any] = {}
    for name, value in spec.get("args", {}).items():
        scope[name] = _default(value, scope)
    _constants(spec, scope)
    builder = _Builder(spec.get("modules", {}), scope, whole)
    builder.kept(scope)
    return builder.body(spec, scope)


def _constants(body: Mapping[str, Any], scope: dict[str, Any]) -> None:
    for name, value in body.get("let", {}).items():
        scope[name] = _value(value, scope)


class _Kept:
    """A module that an arg holds: made afresh at each use, with the names of where it was written."""

    def __init__(self, written: Any, scope: Scope) -> None:
        self.written, self.scope = written, scope


def _default(written: Any, scope: Scope) -> Any:
    if isinstance(written, Mapping) and "type" in written:
        if "default" not in written:
            raise TypeError("an arg without a value")
        return _Kept(written["default"], scope) if written["type"] == "module" else _value(written["default"], scope)
    if written in ("int", "float", "module", "layer", "str", "bool"):
        raise TypeError("an arg without a value")
    return _value(written, scope)


def _value(written: Any, scope: Scope) -> Any:
    """A value of the file: `$` evaluated, lists and mappings item by item."""
    if isinstance(written, list):
        return [_value(item, scope) for item in written]
    if isinstance(written, Mapping):
        return {key: _value(item, scope) for key, item in written.items()}
    return _text(written, scope) if isinstance(written, str) and "$" in written else written


def _text(written: str, scope: Scope) -> Any:
    if re.fullmatch(r"\$\w+", written):
        return _evaluated(written[1:], scope)
    if written.startswith("$(") and written.endswith(")"):
        return _evaluated(written[2:-1], scope)
    return re.sub(r"\$(\w+)|\$\(([^()]*)\)", lambda m: str(_evaluated(m[1] or m[2], scope)), written)


def _evaluated(code: str, scope: Scope) -> Any:
    return eval(code, {"__builtins__": {}, **BUILTINS, **scope})


class _Builder:
    def __init__(self, definitions: Mapping[str, Any], outer: Scope, whole: bool) -> None:
        self.definitions, self.outer, self.whole = definitions, outer, whole

    def kept(self, scope: Scope) -> None:
        """Make the modules that args hold, whether they are used or not."""
        for value in scope.values() if self.whole else ():
            if isinstance(value, _Kept):
                self.module(value.written, value.scope)

    def module(self, written: Any, scope: Scope) -> nn.Module | None:
        """A module as it may stand anywhere; None where `when` leaves it out."""
        if isinstance(written, str):
            if written.startswith("$"):
                kept = scope[written[1:]]
                return self.module(kept.written, kept.scope)
            return self.layer(written, None, scope)
        if "when" in written:
            rest = {key: value for key, value in written.items() if key not in ("when", "else")}
            branches = {True: rest, False: written.get("else")}
            taken = bool(_value(written["when"], scope))
            if self.whole and branches[not taken] is not None:
                self.module(branches[not taken], scope)
            chosen = branches[taken]
            return self.module(chosen, scope) if chosen is not None else None
        keys = [key for key in written if key[0].isupper() or key[0] == "$"]
        if keys:
            (key,) = keys
            made = self.layer(scope[key[1:]] if key[0] == "$" else key, written[key], scope)
        else:
            made = self.body(written, scope)
        if written.get("requires_grad") is False:
            made.requires_grad_(False)
        return made

    def layer(self, name: str, written: Any, scope: Scope) -> nn.Module:
        if name in self.definitions:
            return self.definition(self.definitions[name], written, scope)
        if name in ("Sequential", "ModuleList"):
            items = self.named(written, scope) if isinstance(written, Mapping) else self.items(written, scope)
            made: nn.Module = nn.Sequential() if name == "Sequential" else nn.ModuleList()
            for index, (key, module) in enumerate(items):
                made.add_module(key or str(index), module)
            return made
        if name == "ModuleDict":
            return nn.ModuleDict(dict(self.named(written, scope)))
        cls: Callable[..., nn.Module] = getattr(nn, name)
        positional, keywords = _arguments(written, scope)
        keywords = {key: self.argument(key, value, scope) for key, value in keywords.items()}
        return cls(*map(_tuples, positional), **keywords)

    def argument(self, key: str, value: Any, scope: Scope) -> Any:
        if key in ("encoder_layer", "decoder_layer"):
            return self.module(value, scope)
        return getattr(torch, value) if key == "dtype" else _tuples(value)

    def definition(self, body: Mapping[str, Any], written: Any, scope: Scope) -> nn.Module:
        positional, keywords = _arguments(written, scope, body.get("args", {}))
        names = list(body.get("args", {}))
        if len(positional) > len(names) or set(keywords) - set(names) or set(keywords) & set(names[: len(positional)]):
            raise TypeError("arguments that the definition does not have")
        inner = dict(self.outer)
        given = {**dict(zip(names, positional, strict=False)), **keywords}
        for name, declared in body.get("args", {}).items():
            inner[name] = given[name] if name in given else _default(declared, inner)
        _constants(body, inner)
        self.kept({name: inner[name] for name in names})
        return self.body(body, inner)

    def items(self, written: Sequence[Any], scope: Scope) -> Iterator[tuple[str, nn.Module]]:
        for item in written:
            if isinstance(item, Mapping) and "repeat" in item:
                for inner in _steps(item, scope):
                    yield from self.items(item["children"] if "children" in item else [item["module"]], inner)
                continue
            module = self.module(item, scope)
            if module is not None:
                yield "", module

    def named(self, written: Mapping[str, Any], scope: Scope) -> Iterator[tuple[str, nn.Module]]:
        for key, module in self.children(written, scope):
            if module is not None:
                yield key, module

    def children(self, written: Mapping[str, Any], scope: Scope) -> Iterator[tuple[str, nn.Module | None]]:
        for key, item in written.items():
            if isinstance(item, Mapping) and "repeat" in item:
                for inner in _steps(item, scope):
                    yield from self.children(item["children"] if "children" in item else {key: item["module"]}, inner)
            elif isinstance(item, Mapping) and "share" in item:
                yield key, None
            else:
                yield str(_value(key, scope)), self.module(item, scope)

    def body(self, written: Mapping[str, Any], scope: Scope) -> nn.Module:
        """A composite, or a layer with a contract of its own."""
        layers = [key for key in written if key[0].isupper()]
        if layers:
            made = self.layer(layers[0], written[layers[0]], scope)
            return _contracted(made, written, scope)
        composite = _Composite(written, scope)
        for name, module in self.children(written.get("children", {}), scope):
            composite.add_module(name, module)
        for name, item in written.get("children", {}).items():
            if isinstance(item, Mapping) and "share" in item:
                composite.add_module(name, composite.get_submodule(item["share"]))
        for name, state in written.get("parameters", {}).items():
            present = _present(state, scope)
            made_of = torch.zeros(_sizes(state, scope), dtype=_dtype(state)) if present or self.whole else None
            composite.register_parameter(name, nn.Parameter(made_of) if made_of is not None and present else None)
        for name, state in written.get("buffers", {}).items():
            present = _present(state, scope)
            buffer = _buffer(state, scope) if present or self.whole else None
            composite.register_buffer(name, buffer if present else None)
        for target, source in written.get("tie", {}).items():
            owner, _, last = target.rpartition(".")
            module = composite.get_submodule(owner)
            if not isinstance(getattr(module, last), nn.Parameter):
                raise TypeError("no parameter to tie")
            if getattr(module, last).shape != composite.get_parameter(source).shape:
                raise TypeError("a tie of unequal shapes")
            setattr(module, last, composite.get_parameter(source))
        return composite


class _Composite(nn.Module):
    """A module whose forward is the code of a file, run by Python with the module's attributes as its globals."""

    def __init__(self, written: Mapping[str, Any], scope: Scope) -> None:
        super().__init__()
        self.written, self.scope = written, scope
        self.code = _function(written.get("inputs"), written.get("forward", "raise NotImplementedError"))
        self.methods = {
            name: _function(None if isinstance(m, str) else m.get("inputs"), m if isinstance(m, str) else m["forward"])
            for name, m in written.get("methods", {}).items()
        }

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        call = self.bound(self.code)
        return _checked(self.written, self.scope, call, args, kwargs)

    def bound(self, code: types.FunctionType) -> types.FunctionType:
        names: dict[str, Any] = {**BUILTINS, **self.scope, "torch": torch, "F": F, "math": math}
        names |= {"training": self.training, "self": self}
        for table in (self._parameters, self._buffers, self._modules):
            names.update(table)
        call = types.FunctionType(code.__code__, names, argdefs=code.__defaults__)
        names.update({name: types.FunctionType(m.__code__, names) for name, m in self.methods.items()})
        return call


def _function(inputs: Any, code: str) -> types.FunctionType:
    if isinstance(inputs, Mapping):
        signature = ", ".join(f"{k}={v[0]!r}" if (v := _input_default(value)) else k for k, value in inputs.items())
    else:
        signature = ", ".join(["x"] if inputs is None else inputs)
    lines = "".join(f"    {line}\n" for line in code.strip().splitlines())
    found: dict[str, Any] = {}
    exec(f"def call({signature}):\n{lines}", found)
    function: types.FunctionType = found["call"]
    return function


def _input_default(written: Any) -> tuple[Any] | None:
    if isinstance(written, Mapping):
        return (written["default"],) if "default" in written else None
    return None if isinstance(written, list) or written == "any" else (written,)


def _contracted(made: nn.Module, written: Mapping[str, Any], scope: Scope) -> nn.Module:
    if "inputs" in written or "outputs" in written:
        inner = made.forward
        made.forward = lambda *args: _checked(written, scope, inner, args, {})
    return made


# --- values -----------------------------------------------------------------------------------------------------------


def _steps(item: Mapping[str, Any], scope: Scope) -> Iterator[Scope]:
    count = _value(item["repeat"], scope)
    if isinstance(count, bool) or not isinstance(count, int | list) or (isinstance(count, int) and count < 0):
        raise TypeError("a repeat takes a number or a list")
    for value in range(count) if isinstance(count, int) else count:
        yield {**scope, item["as"]: value} if "as" in item else scope


def _arguments(written: Any, scope: Scope, declared: Scope = MappingProxyType({})) -> tuple[list[Any], dict[str, Any]]:
    if written is None:
        return [], {}
    names = list(declared)
    if isinstance(written, list):
        return [_given(item, scope, declared, dict(enumerate(names)).get(k)) for k, item in enumerate(written)], {}
    if isinstance(written, Mapping):
        return [], {key: _given(item, scope, declared, key) for key, item in written.items()}
    return [_given(written, scope, declared, names[0] if names else None)], {}


def _given(written: Any, scope: Scope, declared: Scope, name: str | None) -> Any:
    kind = declared.get(name or "")
    if kind == "module" or (isinstance(kind, Mapping) and kind.get("type") == "module"):
        return _Kept(written, scope)
    if isinstance(written, Mapping):  # a module as the argument of a layer
        return written
    return _value(written, scope)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _present(state: Any, scope: Scope) -> bool:
    return bool(_value(state.get("when", True), scope))


def _dtype(state: Mapping[str, Any]) -> torch.dtype:
    found: torch.dtype = getattr(torch, state.get("dtype", "float32"))
    return found


def _sizes(state: Mapping[str, Any], scope: Scope) -> list[int]:
    sizes = [_evaluated(size, scope) if isinstance(size, str) else size for size in state["shape"]]
    if any(isinstance(size, bool) or not isinstance(size, int) for size in sizes):
        raise TypeError("a size is an integer")
    return sizes


def _buffer(state: Mapping[str, Any], scope: Scope) -> torch.Tensor:
    if "shape" in state:
        return torch.full(_sizes(state, scope), state.get("fill", 0), dtype=_dtype(state))
    value = state["value"]
    if isinstance(value, str):
        made: torch.Tensor = eval(value, {**BUILTINS, **scope, "torch": torch, "math": math})
        return made.to(_dtype(state)) if "dtype" in state else made
    return torch.tensor(value, dtype=_dtype(state) if "dtype" in state else None)


# --- contracts --------------------------------------------------------------------------------------------------------


def contract_of(written: Any) -> Mapping[str, Any] | None:
    """The long form of the contract of a tensor or list; None for a plain value."""
    if isinstance(written, list):
        return {"shape": written}
    return written if isinstance(written, Mapping) and ("shape" in written or "item" in written) else None


def _checked(written: Mapping[str, Any], scope: Scope, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    binding: dict[str, int] = {}
    inputs = written.get("inputs")
    if isinstance(inputs, Mapping):
        given = {**dict(zip(inputs, args, strict=False)), **kwargs}
        for name, contract in inputs.items():
            _hold(contract, given.get(name), binding, scope)
    result = call(*args, **kwargs)
    if result is None:
        raise Broken("nothing is returned")
    hold_outputs(written, scope, binding, result)
    return result


def hold_outputs(written: Mapping[str, Any], scope: Scope, binding: dict[str, int], result: Any) -> None:
    """Check what a module returned against its contract. Raises Broken."""
    outputs = written.get("outputs", {})
    if len(outputs) == 1:
        values = [result]
    elif isinstance(result, dict):
        if set(result) != set(outputs) and outputs:
            raise Broken("other keys")
        values = [result[name] for name in outputs]
    else:
        values = list(result) if isinstance(result, tuple | list) else [result]
    if outputs and len(values) != len(outputs):
        raise Broken("another number of outputs")
    for contract, value in zip(outputs.values(), values, strict=False):
        _hold(contract, value, binding, scope, output=True)


def _hold(written: Any, value: Any, binding: dict[str, int], scope: Scope, *, output: bool = False) -> None:
    contract = contract_of(written)
    if contract is None or (value is None and "default" in contract and not output):
        return
    for tensor in value if "item" in contract else [value]:
        if not isinstance(tensor, torch.Tensor):
            raise Broken("no tensor")
        if "dtype" in contract and tensor.dtype != getattr(torch, contract["dtype"]):
            raise Broken(f"{tensor.dtype} instead of {contract['dtype']}")
        sizes = contract.get("shape", contract.get("item"))
        if len(sizes) != tensor.dim():
            raise Broken(f"{tensor.dim()} dimensions for {sizes}")
        order = sorted(zip(sizes, tensor.shape, strict=True), key=lambda pair: not SYMBOL.fullmatch(str(pair[0])))
        for size, actual in order:
            _fits(str(size), actual, binding, scope)


def _fits(size: str, actual: int, binding: dict[str, int], scope: Scope) -> None:
    if size == "_":
        return
    missing = [name for name in SYMBOL.findall(size) if name not in binding]
    if len(set(missing)) > 1:
        return
    candidates = [{missing[0]: value} for value in range(actual + 1)] if missing else [{}]
    if SYMBOL.fullmatch(size) and missing:
        candidates = [{size: actual}]
    for candidate in candidates:
        if _evaluated(size, {**scope, **binding, **candidate}) == actual:
            binding.update(candidate)
            return
    raise Broken(f"{actual} for `{size}` with {binding}")
