"""A plan becomes a module: on meta first, each tensor given its values once when all is there; or really and in order,
as hand-written code would do it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from confnet.blueprint import Blueprint
from confnet.builder.defaults import is_known, own_defaults
from confnet.builder.filling import convert, refused
from confnet.builder.hook_installer import HookInstaller
from confnet.builder.hooks import TIES, rebind
from confnet.builder.instances import BLUEPRINT, class_of, extend, layer_class
from confnet.builder.kernels import without_compiler
from confnet.builder.making import Making
from confnet.builder.pending import Pending
from confnet.builder.rules import RuleRunner
from confnet.builder.state import State
from confnet.builder.templates import Templates
from confnet.catalog.types import TensorLiteral
from confnet.diagnostics import ConfnetError, Diagnostic
from confnet.language.names import attribute_name
from confnet.plan import (
    Definition,
    DTypeName,
    HookPlan,
    InitPlan,
    LayerName,
    ModulePlan,
    Plan,
    Share,
    Tie,
)

__all__ = ["Built", "Made", "Streams", "construct"]

Made = Callable[[nn.Module, ModulePlan, list[Any], dict[str, Any]], None]
"""Takes a module that was just made, its plan, and the arguments that its class was called with."""

_AS_THEY_ARE = (int, float, str, bool, type(None))


def construct(
    plan: Plan,
    blueprint: Blueprint,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    made: Made | None = None,
    streams: Streams | None = None,
) -> Built:
    """The module of a checked plan, on `device` (None: the default device) and in `dtype` (None: as constructed).

    With `streams` every parameter is drawn once, from a stream of its own; without, layers are constructed really, in
    order, and draw from torch's global generator. On meta nothing is drawn. Every `auto` of the plan is settled before
    (`confnet.auto`). `made` is told of each module as it is made.
    Raises ConfnetError where torch refuses what the checks could not see, TypeError for a dtype that parameters
    cannot have.
    """
    target = torch.get_default_device() if device is None else torch.device(device)
    if dtype is not None and not isinstance(dtype, torch.dtype):
        raise TypeError(f"`dtype` is a torch.dtype, not {type(dtype).__name__}")
    if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
        raise TypeError(f"a module cannot be converted to {dtype}: give a floating-point or complex dtype")
    on_meta = target.type == "meta"
    pending = None if on_meta or streams is None else Pending(target, streams.seed, streams.on_cpu, streams.skip)
    lean = on_meta or pending is not None
    construction = _Construction(blueprint, made, pending, lean)
    with without_compiler() if lean else nullcontext() if device is None else target:
        module = construction.module(plan.root, None)
    if dtype is not None:
        if pending is not None:
            pending.converting(list(module.modules()))
        convert(module.modules(), dtype)
    return Built(module, construction.finish(module), construction.places)


@dataclass(frozen=True, slots=True)
class Streams:
    """Where the values of a model come from: the seed that the stream of each name derives from. `on_cpu` draws all on
    the CPU; what has a name of `skip` is not drawn."""

    seed: int
    on_cpu: bool = False
    skip: frozenset[str] = frozenset()


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
    """Constructs the modules of a plan. A `lean` one makes them on meta, where their values are `pending`, if they are
    to have any; the layers that nobody else can initialise (and all in them) are constructed really even then."""

    def __init__(self, blueprint: Blueprint, made: Made | None, pending: Pending | None, lean: bool) -> None:
        self.blueprint, self.made = blueprint, made
        self.making = Making(pending, Templates() if lean else None)
        self.rules = RuleRunner(
            self.plain, self.init_value, lambda module, rule: extend(module, rule, blueprint), pending
        )
        self.state = State(blueprint, self.making, self.rules, self.plain)
        self.hooks = HookInstaller(blueprint, self.plain)
        self.places: dict[nn.Module, ModulePlan] = {}
        self.classes: dict[Definition, type[nn.Module]] = {}

    def init_value(self, holder: nn.Module, init: InitPlan, tensor: torch.Tensor) -> object:
        return self.state.init_value(holder, init, tensor)

    def finish(self, root: nn.Module) -> tuple[Diagnostic, ...]:
        """What needs the whole model: values, hooks, the record of initialisers, and rules that did nothing."""
        if self.making.pending is not None:
            self.making.pending.finish(root)
        with self.making.on_meta() if self.making.pending is None else nullcontext():
            self.hooks.install(root)
        self.rules.finish(root)
        problems = (*self.rules.unused(), *self.hooks.unused())
        if any(problem.severity == "error" for problem in problems):
            raise ConfnetError(problems)
        return problems

    def module(self, plan: ModulePlan, frame: _Frame | None) -> nn.Module:
        definition = plan.definition
        cls = layer_class(plan.base) if definition is None else self.class_of(definition)
        if self.making.pending is not None and self.making.templates is not None and not is_known(cls):
            with self.making.really():
                return self.made_of(cls, plan, frame)
        return self.made_of(cls, plan, frame)

    def made_of(self, cls: type[nn.Module], plan: ModulePlan, frame: _Frame | None) -> nn.Module:
        if plan.definition is None:
            module = self.layer(plan, cls, frame)
            self.children(module, plan, frame)
        else:
            frame = _Frame()
            module = self.defined(plan, cls, frame)
        self.places[module] = plan
        if plan.rules:
            with self.making.on_meta():
                self.rules.run(module, plan.rules, self.making.name)
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

    def class_of(self, definition: Definition) -> type[nn.Module]:
        if definition not in self.classes:
            self.classes[definition] = class_of(definition, self.blueprint)
        return self.classes[definition]

    def defined(self, plan: ModulePlan, cls: type[nn.Module], frame: _Frame) -> nn.Module:
        """An instance of a definition, with all that its body says but rules and hooks."""
        module = self.layer(plan, cls, frame)
        module.__dict__[BLUEPRINT] = self.blueprint
        for name, value in plan.constants.items():
            attribute = attribute_name(name)
            taken = name in plan.children or name in plan.parameters or name in plan.buffers
            if not taken and not hasattr(module, attribute):  # a subclass of a layer keeps the layer's own attributes
                setattr(module, attribute, self.plain(value))
        self.children(module, plan, frame)
        self.state.register(module, plan)
        self.shares(module, frame)
        for tie in plan.ties:
            self.tie(module, tie, plan)
        if plan.ties:
            module.__dict__[TIES] = [(tie.name, tie.to) for tie in plan.ties]
            module.register_load_state_dict_post_hook(rebind)
        return module

    def layer(self, plan: ModulePlan, cls: type[nn.Module], frame: _Frame | None) -> nn.Module:
        """An instance of a class, called with the arguments of the file."""
        positional = [self.argument(index, value, frame) for index, value in enumerate(plan.positional)]
        keywords = {name: self.argument(name, value, frame) for name, value in plan.keywords.items()}
        try:
            if self.making.templates is not None:
                module = self.making.templates.make(cls, positional, keywords)
            else:
                with self.making.drawing():
                    module = cls(*positional, **keywords)
        except ConfnetError:
            raise
        except Exception as error:
            raise refused(f"`{plan.base}` cannot be made", error, plan.span, plan.chain) from error
        if self.making.pending is not None and plan.size > 1 and (positional or keywords):
            for holder, name in own_defaults(module) or ():  # the constructor may set what is in its arguments anew
                if holder is not module:
                    self.making.pending.forget(holder, name)
        if self.made is not None:
            self.made(module, plan, positional, keywords)
        return module

    def argument(self, name: int | str, value: object, frame: _Frame | None) -> Any:
        """A value that a layer is called with; a module among them is called after its place until the layer has it."""
        if type(value) in _AS_THEY_ARE:
            return value
        self.making.path.append(f"({name})")
        try:
            if isinstance(value, list | tuple):
                return type(value)(self.argument(index, item, frame) for index, item in enumerate(value))
            return self.value(value, frame)
        finally:
            self.making.path.pop()

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
            return torch.tensor(value.data, dtype=torch.get_default_dtype(), device=self.making.values_on())
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
                self.making.path.append(name)
                module.register_module(name, self.module(child, frame))
                self.making.path.pop()
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
        self.rules.tied[id(right)] = (right, tie.span)
