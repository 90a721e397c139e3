"""What `nn.Module`'s own inspection finds in a built model, each item with its place in the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from confnet.builder.construct import Built
from confnet.builder.hooks import Hook
from confnet.builder.origins import InitOrigin, init_report
from confnet.builder.outline import Line, Totals, outline, parameter_totals
from confnet.diagnostics import Span

__all__ = ["Inspection", "Places", "hook_rows", "inspection"]

Row = Mapping[str, Any]

_HOOK_TABLES = {
    "_forward_pre_hooks": "forward_pre",
    "_forward_hooks": "forward",
    "_backward_pre_hooks": "full_backward_pre",
    "_backward_hooks": "full_backward",
    "_state_dict_pre_hooks": "state_dict_pre",
    "_state_dict_hooks": "state_dict_post",
    "_load_state_dict_pre_hooks": "load_state_dict_pre",
    "_load_state_dict_post_hooks": "load_state_dict_post",
}


@dataclass(frozen=True, slots=True)
class Inspection:
    """Tables of a model: the rows of `named_modules`, `named_children`, `named_parameters`, `named_buffers`, of the
    hooks that are registered, and of what initialises each parameter. `place` is `file:line`, or empty. `outline` is
    the model as torch prints it, `totals` counts its parameters, `aliases` are further names of parameters, each with
    the first name."""

    outline: tuple[Line, ...]
    totals: Totals
    modules: tuple[Row, ...]
    children: tuple[Row, ...]
    parameters: tuple[Row, ...]
    buffers: tuple[Row, ...]
    hooks: tuple[Row, ...]
    init: tuple[Row, ...]
    aliases: Mapping[str, str]

    def tables(self) -> dict[str, tuple[Row, ...]]:
        """Every table by name."""
        return {name: getattr(self, name) for name in ("modules", "children", "parameters", "buffers", "hooks", "init")}


def inspection(built: Built) -> Inspection:
    """Inspect a built model."""
    model = built.module
    places = Places(built)
    return Inspection(
        outline=outline(model),
        totals=parameter_totals([model]),
        modules=tuple(_module(name, module, places) for name, module in model.named_modules()),
        children=tuple(_module(name, module, places) for name, module in model.named_children()),
        parameters=tuple(_parameters(model, places)),
        buffers=tuple(_buffers(model, places)),
        hooks=tuple(hook_rows(model)),
        init=tuple(_inits(model, places)),
        aliases=dict(_aliases(model)),
    )


def _aliases(model: nn.Module) -> Iterator[tuple[str, str]]:
    first = {id(parameter): name for name, parameter in model.named_parameters()}
    for prefix, module in model.named_modules(remove_duplicate=False):
        for leaf, parameter in module._parameters.items():
            name = f"{prefix}.{leaf}" if prefix else leaf
            if parameter is not None and first[id(parameter)] != name:
                yield name, first[id(parameter)]


class Places:
    """Where modules, parameters and buffers come from; what a layer makes itself comes from the layer's line."""

    def __init__(self, built: Built) -> None:
        self.built = built
        self.modules = dict(built.module.named_modules())

    def module(self, name: str) -> str:
        """Where a module is written: the line of its name in the module around it, or of what made it."""
        while True:
            around, _, leaf = name.rpartition(".")
            parent = self.built.places.get(self.modules[around]) if name and around in self.modules else None
            if parent is not None and leaf in parent.places:
                return _place(parent.places[leaf])
            plan = self.built.places.get(self.modules[name]) if name in self.modules else None
            if plan is not None:
                return _place(plan.span)
            if not name:
                return ""
            name = name.rpartition(".")[0]

    def state(self, name: str) -> str:
        """Where a parameter or buffer is written, or the module that has it."""
        owner, _, leaf = name.rpartition(".")
        plan = self.built.places.get(self.modules[owner]) if owner in self.modules else None
        if plan is not None:
            made = plan.parameters.get(leaf) or plan.buffers.get(leaf)
            if made is not None:
                return _place(made.span)
        return self.module(owner)


def _place(span: Span) -> str:
    return f"{span.file}:{span.line}"


def _module(name: str, module: nn.Module, places: Places) -> Row:
    count = parameter_totals([module]).parameters
    return {"name": name, "type": type(module).__name__, "parameters": count, "place": places.module(name)}


def _tensor(tensor: torch.Tensor) -> Row:
    if isinstance(tensor, UninitializedBuffer | UninitializedParameter):
        return {"shape": None, "dtype": str(tensor.dtype).removeprefix("torch."), "count": None}
    return {"shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch."), "count": tensor.numel()}


def _parameters(model: nn.Module, places: Places) -> Iterator[Row]:
    for name, parameter in model.named_parameters():
        yield {
            "name": name,
            **_tensor(parameter),
            "requires_grad": parameter.requires_grad,
            "place": places.state(name),
        }


def _buffers(model: nn.Module, places: Places) -> Iterator[Row]:
    modules = dict(model.named_modules())
    for name, buffer in model.named_buffers():
        owner, _, leaf = name.rpartition(".")
        persistent = leaf not in modules[owner]._non_persistent_buffers_set
        yield {"name": name, **_tensor(buffer), "persistent": persistent, "place": places.state(name)}


def hook_rows(model: nn.Module) -> Iterator[Row]:
    """Every hook that a module or parameter has, those that Python code registered included.

    Left out is what confnet registers for itself, to keep ties and tensor hooks when parameters are replaced.
    """
    for module_name, module in model.named_modules():
        for table, kind in _HOOK_TABLES.items():
            for registered in getattr(module, table).values():
                hook = getattr(registered, "hook", registered)
                if isinstance(hook, Hook) or not getattr(hook, "__module__", "").startswith("confnet."):
                    yield _hook(module_name, kind, "", hook)
        for leaf, parameter in module._parameters.items():
            if parameter is not None:
                for hook in (parameter._backward_hooks or {}).values():
                    yield _hook(module_name, "tensor", leaf, hook)
                for hook in (getattr(parameter, "_post_accumulate_grad_hooks", None) or {}).values():
                    yield _hook(module_name, "post_accumulate_grad", leaf, hook)


def _hook(module: str, kind: str, tensor: str, hook: Any) -> Row:
    if isinstance(hook, Hook):
        plan = hook.plan
        what = plan.call.name if plan.call is not None else "do"
        return {
            "module": module,
            "kind": plan.kind,
            "tensor": plan.tensor or "",
            "name": plan.name,
            "runs": what,
            "place": _place(plan.span),
        }
    runs = getattr(hook, "__qualname__", type(hook).__qualname__)
    return {"module": module, "kind": kind, "tensor": tensor, "name": "", "runs": runs, "place": ""}


def _inits(model: nn.Module, places: Places) -> Iterator[Row]:
    for name, origin in init_report(model).items():
        if isinstance(origin, InitOrigin):
            yield {"name": name, "initializer": origin.initializer, "place": f"{origin.file}:{origin.line}"}
        else:  # a model that is inspected is never built with weights
            yield {"name": name, "initializer": "torch default", "place": places.state(name)}
