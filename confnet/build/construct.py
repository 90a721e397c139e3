"""A plan becomes a module: constructed really and in order, as hand-written code would."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn

from confnet.blueprint import Blueprint
from confnet.build.code import function_of
from confnet.build.instances import BLUEPRINT, class_of, layer_class
from confnet.catalog.types import TensorLiteral
from confnet.diagnostics import ConfnetError, Diagnostic, Note, Span
from confnet.language.code import Code
from confnet.language.names import attribute_name
from confnet.plan import BufferPlan, DTypeName, InitPlan, Input, LayerName, ModulePlan, ParameterPlan, Plan, Share, Tie

__all__ = ["construct"]


def construct(
    plan: Plan, blueprint: Blueprint, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> nn.Module:
    """The module of a checked plan, on `device` (the default device when None) and in `dtype` (as constructed when None).

    Raises ConfnetError where torch refuses what the checks could not see.
    """
    made = _Construction(blueprint)
    if device is None:
        module = made.module(plan.root, None)
    else:
        with torch.device(device):
            module = made.module(plan.root, None)
    return module if dtype is None else module.to(dtype)


@dataclass(eq=False)
class _Frame:
    """A definition under construction: the shares inside it wait until all its modules are there."""

    waiting: list[tuple[nn.Module, str, Share]] = field(default_factory=list)


class _Construction:
    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint

    def module(self, plan: ModulePlan, frame: _Frame | None) -> nn.Module:
        if plan.definition is None:
            module = self.layer(plan, layer_class(plan.base), frame)
            self.children(module, plan, frame)
            return module
        frame = _Frame()
        module = self.layer(plan, class_of(plan.definition, self.blueprint), frame)
        setattr(module, BLUEPRINT, self.blueprint)
        for name, value in plan.constants.items():
            attribute = attribute_name(name)
            taken = name in plan.children or name in plan.parameters or name in plan.buffers
            if not taken and not hasattr(module, attribute):  # a subclass of a layer keeps the layer's own attributes
                setattr(module, attribute, self.value(value, None))
        self.children(module, plan, frame)
        self.state(module, plan)
        self.shares(module, frame, plan)
        for tie in plan.ties:
            self.tie(module, tie, plan)
        return module

    def layer(self, plan: ModulePlan, cls: type[nn.Module], frame: _Frame | None) -> nn.Module:
        """An instance of a class, called with the arguments of the file."""
        positional = [self.value(value, frame) for value in plan.positional]
        keywords = {name: self.value(value, frame) for name, value in plan.keywords.items()}
        try:
            return cls(*positional, **keywords)
        except ConfnetError:
            raise
        except Exception as error:
            raise _refused(f"`{plan.base}` cannot be made", error, plan.span, plan.chain) from error

    def value(self, value: object, frame: _Frame | None) -> Any:
        """A value of the plan as torch takes it."""
        if isinstance(value, ModulePlan):
            return self.module(value, frame)
        if isinstance(value, DTypeName):
            return getattr(torch, value.name)
        if isinstance(value, TensorLiteral):
            return torch.tensor(value.data, dtype=torch.get_default_dtype())
        if isinstance(value, LayerName):
            return layer_class(value.name)
        if isinstance(value, list | tuple):
            return type(value)(self.value(item, frame) for item in value)
        if isinstance(value, dict):
            return {key: self.value(item, frame) for key, item in value.items()}
        return value

    def children(self, module: nn.Module, plan: ModulePlan, frame: _Frame | None) -> None:
        for name, child in plan.children.items():
            if isinstance(child, ModulePlan):
                module.register_module(name, self.module(child, frame))
                continue
            module.register_module(name, None)  # holds the place of a share in the order of children
            if isinstance(child, Share):
                assert frame is not None, "a document's root is a definition"
                frame.waiting.append((module, name, child))

    def shares(self, module: nn.Module, frame: _Frame, plan: ModulePlan) -> None:
        """Give each share the module that it means; shares of shares are settled in rounds."""
        waiting = frame.waiting
        while waiting:
            left = [item for item in waiting if not self.shared(module, *item)]
            assert len(left) < len(waiting), "the check refuses shares in a circle"
            waiting = left

    def shared(self, module: nn.Module, owner: nn.Module, name: str, share: Share) -> bool:
        target: nn.Module | None = module
        for step in share.path.split("."):
            target = target._modules.get(step) if target is not None else None
        if target is None:
            return False
        owner._modules[name] = target
        return True

    # --- parameters and buffers -----------------------------------------------------------------------------------

    def state(self, module: nn.Module, plan: ModulePlan) -> None:
        for name, parameter in plan.parameters.items():
            module.register_parameter(name, None if parameter is None else self.parameter(module, parameter, plan))
        for name, buffer in plan.buffers.items():
            tensor = None if buffer is None else self.buffer(module, buffer, plan)
            module.register_buffer(name, tensor, persistent=buffer is None or buffer.persistent)

    def parameter(self, module: nn.Module, plan: ParameterPlan, owner: ModulePlan) -> nn.Parameter:
        """A parameter, zero where the file gives it no initialiser."""
        dtype = _dtype(plan.dtype)
        try:
            parameter = nn.Parameter(torch.zeros(plan.shape, dtype=dtype), requires_grad=plan.requires_grad)
        except (RuntimeError, TypeError) as error:
            raise _refused("the parameter cannot be made", error, plan.span, owner.chain) from error
        if plan.init is not None:
            self.initialise(module, parameter, plan.init, owner)
        return parameter

    def initialise(self, module: nn.Module, parameter: nn.Parameter, init: InitPlan, owner: ModulePlan) -> None:
        with torch.no_grad():
            if init.code is not None:
                value = self.computed(module, init.code, owner, shape=tuple(parameter.shape))
                try:
                    parameter.copy_(torch.as_tensor(value))
                except (RuntimeError, TypeError) as error:
                    raise _refused("the value does not fit the parameter", error, init.span, owner.chain) from error
                return
            try:
                getattr(nn.init, init.name)(parameter, *map(self._plain, init.positional), **init.keywords)
            except Exception as error:
                raise _refused(f"`{init.name}` cannot be used here", error, init.span, owner.chain) from error

    def _plain(self, value: object) -> Any:
        return self.value(value, None)

    def buffer(self, module: nn.Module, plan: BufferPlan, owner: ModulePlan) -> torch.Tensor:
        dtype = _dtype(plan.dtype)
        try:
            if plan.shape is not None:
                fill = plan.value
                if dtype is None:
                    dtype = torch.bool if isinstance(fill, bool) else torch.get_default_dtype()
                return torch.full(plan.shape, cast(float, fill), dtype=dtype)
            if plan.code is None:
                return torch.tensor(plan.value, dtype=dtype)
        except (RuntimeError, TypeError, ValueError) as error:
            raise _refused("the buffer cannot be made", error, plan.span, owner.chain) from error
        value: object = self.computed(module, plan.code, owner)
        if not isinstance(value, torch.Tensor):
            try:
                value = torch.tensor(value)
            except (RuntimeError, TypeError, ValueError) as error:
                raise _refused("the value is not a tensor", error, plan.code.span, owner.chain) from error
        return value if dtype is None else value.to(dtype)

    def computed(self, module: nn.Module, code: Code, owner: ModulePlan, **inputs: Any) -> Any:
        """The value of code that runs once, at the build."""
        assert owner.definition is not None
        names = [Input(name, True) for name in inputs]
        function = function_of(code, "value", names, owner.definition)
        try:
            return function(module, **inputs)
        except Exception as error:
            raise _refused("the value cannot be computed", error, _line_of(error, code), owner.chain) from error

    # --- ties -----------------------------------------------------------------------------------------------------

    def tie(self, module: nn.Module, tie: Tie, plan: ModulePlan) -> None:
        ends = []
        for path in (tie.name, tie.to):
            owner, _, leaf = path.rpartition(".")
            holder = module.get_submodule(owner)
            found = holder._parameters.get(leaf)
            if found is None:
                raise ConfnetError([Diagnostic("unknown-parameter", f"there is no parameter `{path}`", span=tie.span, notes=plan.chain)])
            ends.append((holder, leaf, found))
        (holder, leaf, left), (_, _, right) = ends
        if left.shape != right.shape:
            message = f"`{tie.name}` of shape {list(left.shape)} cannot be tied to `{tie.to}` of shape {list(right.shape)}"
            raise ConfnetError([Diagnostic("tie-shape-mismatch", message, span=tie.span, notes=plan.chain)])
        holder._parameters[leaf] = right


def _dtype(name: str | None) -> torch.dtype | None:
    return None if name is None else cast(torch.dtype, getattr(torch, name))


def _refused(what: str, error: Exception, span: Span, chain: tuple[Note, ...]) -> ConfnetError:
    """A refusal by torch as a diagnostic at the place in the file."""
    text = " ".join(str(error).split())
    if len(text) > 300:
        text = text[:297] + "..."
    message = f"{what}: {text}" if text else what
    return ConfnetError([Diagnostic("refused-by-torch", message, span=span, notes=chain)])


def _line_of(error: Exception, code: Code) -> Span:
    """The line of the file in which code failed."""
    traceback, line = error.__traceback__, code.span.line
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == code.file:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    if line == code.span.line:
        return code.span
    return Span(code.file, line, code.indent + 1, line, code.indent + 2)
