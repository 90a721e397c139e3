"""A plan becomes a module: constructed really and in order, as hand-written code would."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from torch import nn

from confnet.blueprint import Blueprint
from confnet.builder.code import function_of
from confnet.builder.guard import budget
from confnet.builder.hook_installer import HookInstaller
from confnet.builder.hooks import TIES, rebind
from confnet.builder.instances import BLUEPRINT, class_of, extend, layer_class
from confnet.builder.meta import Recipes, on_cpu, only_on_meta
from confnet.builder.rules import InitOrigin, RuleRunner, convert, initialise_tensor, refused
from confnet.catalog.types import TensorLiteral
from confnet.diagnostics import ConfnetError, Diagnostic, Span
from confnet.language.code import Code
from confnet.language.names import attribute_name
from confnet.plan import (
    BufferPlan,
    Definition,
    DTypeName,
    HookPlan,
    InitPlan,
    Input,
    LayerName,
    ModulePlan,
    ParameterPlan,
    Plan,
    Share,
    Tie,
)

__all__ = ["Built", "construct"]


# The code of one value: enough for any table that is written as loops, and no more.
_VALUE_STEPS = 100_000
_VALUE_SECONDS = 2.0


def construct(
    plan: Plan, blueprint: Blueprint, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> Built:
    """The module of a checked plan, on `device` (None: the default device) and in `dtype` (None: as constructed).

    Raises ConfnetError where torch refuses what the checks could not see, TypeError for a dtype that parameters
    cannot have.
    """
    made = _Construction(blueprint)
    with nullcontext() if device is None else torch.device(device):
        module = made.module(plan.root, None)
    warnings = made.finish(module)
    if dtype is not None:
        if not isinstance(dtype, torch.dtype):
            raise TypeError(f"`dtype` is a torch.dtype, not {type(dtype).__name__}")
        if not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(f"a module cannot be converted to {dtype}: give a floating-point or complex dtype")
        convert(module.modules(), dtype)
    return Built(module, warnings, made.places)


@dataclass(frozen=True, slots=True)
class Built:
    """A built module, what only the build could warn of, and the place of the file that each module came from.

    Modules that a layer makes inside itself have no place of their own.
    """

    module: nn.Module
    warnings: tuple[Diagnostic, ...]
    places: Mapping[nn.Module, ModulePlan]


@dataclass(eq=False)
class _Frame:
    """A definition under construction: shares inside it wait until all its modules are there."""

    waiting: list[tuple[nn.Module, str, Share]] = field(default_factory=list)
    hooks: list[tuple[nn.Module, HookPlan, tuple[frozenset[str], frozenset[str]]]] = field(default_factory=list)


class _Construction:
    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        self.rules = RuleRunner(self.plain, self.init_value, lambda module, rule: extend(module, rule, blueprint))
        self.hooks = HookInstaller(blueprint, self.plain)
        self.places: dict[nn.Module, ModulePlan] = {}

    def finish(self, root: nn.Module) -> tuple[Diagnostic, ...]:
        """What needs the whole model: hooks, the record of initialisers, and rules that did nothing."""
        self.hooks.install(root)
        self.rules.finish(root)
        problems = (*self.rules.unused(), *self.hooks.unused())
        if any(problem.severity == "error" for problem in problems):
            raise ConfnetError(problems)
        return problems

    def module(self, plan: ModulePlan, frame: _Frame | None) -> nn.Module:
        if plan.definition is None:
            module = self.layer(plan, layer_class(plan.base), frame)
            self.children(module, plan, frame)
        else:
            frame = _Frame()
            module = self.defined(plan, plan.definition, frame)
        self.places[module] = plan
        self.rules.run(module, plan.rules)
        definition = plan.definition
        for hook in plan.hooks:
            names: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset(hook.constants))
            if definition is not None and hook.in_body:
                names = (definition.members, definition.constants)
            assert frame is not None, "a document's root is a definition"
            frame.hooks.append((module, hook, names))
        if definition is not None and frame is not None:
            self.hooks.add(module, frame.hooks)
        return module

    def defined(self, plan: ModulePlan, definition: Definition, frame: _Frame) -> nn.Module:
        """An instance of a definition, with all that its body says but rules and hooks."""
        module = self.layer(plan, class_of(definition, self.blueprint), frame)
        setattr(module, BLUEPRINT, self.blueprint)
        for name, value in plan.constants.items():
            attribute = attribute_name(name)
            taken = name in plan.children or name in plan.parameters or name in plan.buffers
            if not taken and not hasattr(module, attribute):  # a subclass of a layer keeps the layer's own attributes
                setattr(module, attribute, self.plain(value))
        self.children(module, plan, frame)
        self.state(module, plan)
        self.shares(module, frame)
        for tie in plan.ties:
            self.tie(module, tie, plan)
        if plan.ties:
            module.__dict__[TIES] = [(tie.name, tie.to) for tie in plan.ties]
            module.register_load_state_dict_post_hook(rebind)
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
            raise refused(f"`{plan.base}` cannot be made", error, plan.span, plan.chain) from error

    def plain(self, value: object) -> Any:
        """A value without modules, as torch takes it."""
        return self.value(value, None)

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

    def shares(self, module: nn.Module, frame: _Frame) -> None:
        """Give each share the module that it means; shares of shares are settled in rounds."""
        waiting = frame.waiting
        while waiting:
            left = [item for item in waiting if not self.shared(module, *item)]
            if len(left) == len(waiting):
                raise ConfnetError(
                    Diagnostic("unknown-module", f"there is no module `{share.path}` to share", span=share.span)
                    for _, _, share in left
                )
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
            if parameter is not None:
                init = parameter.init
                what, place = ("zeros_", parameter.span) if init is None else (init.name or "value", init.span)
                self.rules.record(module, name, InitOrigin(what, place.file, place.line), None)
        for name, buffer in plan.buffers.items():
            tensor = None if buffer is None else self.buffer(module, buffer, plan)
            module.register_buffer(name, tensor, persistent=buffer is None or buffer.persistent)
            if tensor is not None and tensor.is_meta and buffer is not None and not buffer.persistent:
                Recipes.of(module).recipes[name] = partial(self.buffer, plan=buffer, owner=plan)

    def parameter(self, module: nn.Module, plan: ParameterPlan, owner: ModulePlan) -> nn.Parameter:
        """A parameter, zero where the file gives it no initialiser."""
        dtype = _dtype(plan.dtype)
        try:
            parameter = nn.Parameter(torch.zeros(plan.shape, dtype=dtype), requires_grad=plan.requires_grad)
        except (RuntimeError, TypeError) as error:
            raise refused("the parameter cannot be made", error, plan.span, owner.chain) from error
        init = plan.init
        if init is not None:
            compute = partial(self.init_value, module, init, parameter)
            initialise_tensor(parameter, init, owner.chain, self.plain, compute)
        return parameter

    def init_value(self, holder: nn.Module, init: InitPlan, tensor: torch.Tensor) -> object:
        """The value that the code of an initialiser computes for a tensor."""
        assert init.code is not None
        scope = _InitScope(holder, {attribute_name(name): self.plain(value) for name, value in init.constants.items()})
        return self.computed(scope, init.code, type(holder).__name__, init.constants, (), shape=tuple(tensor.shape))

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
        code = self.blueprint.traced(code)
        function = function_of(
            code, "value", owner, [Input(name, True) for name in inputs], constants, members, guard=True
        )
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

    # --- ties -----------------------------------------------------------------------------------------------------

    def tie(self, module: nn.Module, tie: Tie, plan: ModulePlan) -> None:
        ends = []
        for path in (tie.name, tie.to):
            owner, _, leaf = path.rpartition(".")
            holder = module.get_submodule(owner)
            found = holder._parameters.get(leaf)
            if found is None:
                message = f"there is no parameter `{path}`"
                raise ConfnetError([Diagnostic("unknown-parameter", message, span=tie.span, notes=plan.chain)])
            ends.append((holder, leaf, found))
        (holder, leaf, left), (_, _, right) = ends
        if left.shape != right.shape:
            shapes = (list(left.shape), list(right.shape))
            message = f"`{tie.name}` of shape {shapes[0]} cannot be tied to `{tie.to}` of shape {shapes[1]}"
            raise ConfnetError([Diagnostic("tie-shape-mismatch", message, span=tie.span, notes=plan.chain)])
        self.rules.forget(holder, leaf)
        holder._parameters[leaf] = right


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
