"""The parameters and buffers of an instance of a definition, and the code of a file that runs at the build."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import partial
from types import FunctionType
from typing import Any, cast

import torch
from torch import nn

from confnet.blueprint import Blueprint
from confnet.builder.code import function_of
from confnet.builder.filling import refused
from confnet.builder.guard import budget
from confnet.builder.hooks import names_in
from confnet.builder.making import Making
from confnet.builder.meta import Recipes, on_cpu, only_on_meta
from confnet.builder.origins import InitOrigin
from confnet.builder.rules import RuleRunner
from confnet.diagnostics import ConfnetError, Span
from confnet.language.code import Code
from confnet.language.names import attribute_name
from confnet.plan import BufferPlan, InitPlan, Input, ModulePlan, ParameterPlan

__all__ = ["State"]

# The code of one value: enough for any table that is written as loops, and no more.
_VALUE_STEPS = 100_000
_VALUE_SECONDS = 2.0


class State:
    """Makes parameters and buffers; `plain` turns a value of the plan into one of torch."""

    def __init__(self, blueprint: Blueprint, making: Making, rules: RuleRunner, plain: Callable[[object], Any]) -> None:
        self.blueprint, self.making, self.rules, self.plain = blueprint, making, rules, plain

    def register(self, module: nn.Module, plan: ModulePlan) -> None:
        """Register what a body says of parameters and buffers, in order."""
        with self.making.on_meta() if plan.parameters or plan.buffers else nullcontext():
            for name, parameter in plan.parameters.items():
                if parameter is None:
                    module.register_parameter(name, None)
                else:
                    self.parameter(module, name, parameter, plan)
            for name, buffer in plan.buffers.items():
                if buffer is None:
                    module.register_buffer(name, None)
                else:
                    self.buffer(module, name, buffer, plan)

    def parameter(self, module: nn.Module, name: str, plan: ParameterPlan, owner: ModulePlan) -> None:
        """Register a parameter, zero where the file gives it no initialiser."""
        dtype, init = _dtype(plan.dtype), plan.init
        try:
            parameter = nn.Parameter(torch.zeros(plan.shape, dtype=dtype), requires_grad=plan.requires_grad)
        except (RuntimeError, TypeError) as error:
            raise refused("the parameter cannot be made", error, plan.span, owner.chain) from error
        compute = partial(self.init_value, module, init)
        if self.making.pending is not None and parameter.is_meta:
            module.register_parameter(name, parameter)
            self.rules.wait(self.making.pending, module, name, init, owner.chain, compute)
        elif init is not None:
            with self.making.drawing(name):
                self.rules.attempt(parameter, init, owner.chain, compute)
        module.register_parameter(name, parameter)
        what, place = ("zeros_", plan.span) if init is None else (init.name or "value", init.span)
        self.rules.record(module, name, InitOrigin(what, place.file, place.line), None)

    def buffer(self, module: nn.Module, name: str, plan: BufferPlan, owner: ModulePlan) -> None:
        """Register a buffer. It has its values at once, and what its code reads of the module too."""
        if self.making.pending is None or self.making.templates is None:
            with self.making.drawing(name) if plan.code is not None else nullcontext():
                tensor = self.buffer_value(module, plan, owner)
            if tensor.is_meta:
                Recipes.of(module).recipes[name] = partial(self.buffer_value, plan=plan, owner=owner)
        else:
            if plan.code is not None and self.reads_state(module, plan.code, owner):
                self.making.pending.settle(module, self.making.name)
            with self.making.really(), self.making.drawing(name) if plan.code is not None else nullcontext():
                tensor = self.buffer_value(module, plan, owner)
        module.register_buffer(name, tensor, persistent=plan.persistent)

    def reads_state(self, module: nn.Module, code: Code, owner: ModulePlan) -> bool:
        """Whether the code of a buffer reads something that may have no values yet."""
        assert owner.definition is not None
        function = self.function(code, owner.definition.name, owner.definition.constants, owner.definition.members, ())
        names = names_in(function.__code__)
        return not names.isdisjoint(module._parameters) or not names.isdisjoint(module._modules)

    def init_value(self, holder: nn.Module, init: InitPlan | None, tensor: torch.Tensor) -> object:
        """The value that the code of an initialiser computes for a tensor."""
        assert init is not None
        assert init.code is not None
        constants = {attribute_name(name): self.plain(value) for name, value in init.constants.items()}
        if self.making.pending is not None:  # such code draws from the CPU's generator, on any device
            constants = {k: v.cpu() if isinstance(v, torch.Tensor) else v for k, v in constants.items()}
        scope = _InitScope(holder, constants)
        return self.computed(scope, init.code, type(holder).__name__, init.constants, (), shape=tuple(tensor.shape))

    def buffer_value(self, module: nn.Module, plan: BufferPlan, owner: ModulePlan) -> torch.Tensor:
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
            raise refused("the buffer cannot be made", error, plan.span, owner.chain) from error
        assert owner.definition is not None
        definition = owner.definition
        value: object = self.computed(module, plan.code, definition.name, definition.constants, definition.members)
        if not isinstance(value, torch.Tensor):
            try:
                value = torch.tensor(value)
            except (RuntimeError, TypeError, ValueError) as error:
                raise refused("the value is not a tensor", error, plan.code.span, owner.chain) from error
        return value if dtype is None else value.to(dtype)

    def computed(
        self, scope: object, code: Code, owner: str, constants: Iterable[str], members: Iterable[str], **inputs: Any
    ) -> object:
        """The value of code that runs once, at the build."""
        function = self.function(code, owner, constants, members, inputs)
        code = self.blueprint.traced(code)
        try:
            try:
                with budget(steps=_VALUE_STEPS, seconds=_VALUE_SECONDS):
                    return function(scope, **inputs)
            except Exception as error:
                if not only_on_meta(error):
                    raise
            with on_cpu(), budget(steps=_VALUE_STEPS, seconds=_VALUE_SECONDS):
                value = function(scope, **inputs)
            return value.to("meta") if isinstance(value, torch.Tensor) else value
        except ConfnetError:
            raise
        except Exception as error:
            raise refused("the value cannot be computed", error, _line_of(error, code), ()) from error

    def function(
        self, code: Code, owner: str, constants: Iterable[str], members: Iterable[str], inputs: Iterable[str]
    ) -> FunctionType:
        code = self.blueprint.traced(code)
        return function_of(code, "value", owner, [Input(name, True) for name in inputs], constants, members, guard=True)


def _dtype(name: str | None) -> torch.dtype | None:
    return None if name is None else cast(torch.dtype, getattr(torch, name))


class _InitScope:
    """What the code of an initialiser reads: the args in force where it is written, then the module that holds it."""

    def __init__(self, holder: nn.Module, constants: dict[str, Any]) -> None:
        self.__dict__.update(constants)
        self.__dict__["_holder"] = holder

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_holder"], name)


def _line_of(error: Exception, code: Code) -> Span:
    """The line of the file in which code failed."""
    traceback, line = error.__traceback__, code.span.line
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == code.file:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    if line == code.span.line:
        return code.span
    return Span(code.span.file, line, code.indent + 1, line, code.indent + 2)
