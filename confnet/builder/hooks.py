"""Hooks of a built model: what they run, how they are registered, copied, found again and switched off.

A hook belongs to the definition instance that says it (its owner), which keeps a list of its hooks; the hook holds
its owner weakly. So a copy of the owner takes its hooks with it and its hooks act on the copy, and pickling a child
does not carry the whole model.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from confnet.blueprint import Blueprint
from confnet.builder.builtin_hooks import IMPLEMENTATIONS
from confnet.builder.code import function_of
from confnet.catalog.hooks import BUILTIN_HOOKS, HOOK_KINDS
from confnet.catalog.registry import DEFAULT_REGISTRY
from confnet.language.names import attribute_name
from confnet.plan import HookPlan, Input

__all__ = ["HOOKS", "TIES", "Hook", "HookHandle", "adopt", "captured", "hooks", "hooks_disabled", "own", "rebind"]

HOOKS = "_confnet_hooks"
TIES = "_confnet_ties"

_TABLES = (
    "_forward_pre_hooks",
    "_forward_hooks",
    "_backward_pre_hooks",
    "_backward_hooks",
    "_state_dict_pre_hooks",
    "_state_dict_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
)


class Hook:
    """One hook on one module: what torch calls.

    `path` is the dotted name of the module from the owner, `label` its name in the model. `memory` is what the hook
    has captured or measured; copies start without it.
    """

    def __init__(
        self, plan: HookPlan, blueprint: Blueprint, names: tuple[frozenset[str], frozenset[str]], arguments: tuple[list[Any], dict[str, Any]],
        constants: Mapping[str, Any], path: str, label: str,
    ) -> None:  # fmt: skip
        self.plan, self.blueprint, self.names = plan, blueprint, names
        self.arguments, self.constants = arguments, dict(constants)
        self.namespace = SimpleNamespace(**{attribute_name(name): value for name, value in constants.items()})
        self.path, self.label = path, label
        self.enabled = True
        self.memory: dict[str, Any] = {}
        self.owner: weakref.ref[nn.Module] | None = None
        self.handles: list[torch.utils.hooks.RemovableHandle] = []
        self.prepare()

    def prepare(self) -> None:
        """Find what the hook runs: code, a hook of confnet, or a registered one."""
        plan = self.plan
        kind = HOOK_KINDS[plan.kind]
        self.call_names = kind.names(plan.options.get("with_kwargs", False))
        self.function: Any = None
        self.implementation: Any = None
        if plan.code is not None:
            members, constants = self.names
            inputs = [Input(name, True) for name in self.call_names]
            self.function = function_of(self.blueprint.traced(plan.code), "do", plan.name, inputs, constants, members)
        elif plan.call is not None and plan.call.name in BUILTIN_HOOKS:
            self.implementation = IMPLEMENTATIONS[plan.call.name]
        elif plan.call is not None:
            self.function = DEFAULT_REGISTRY.hooks[plan.call.name].call

    def __call__(self, *args: Any) -> Any:
        if not self.enabled:
            return None
        positional, keywords = self.arguments
        if self.implementation is not None:
            return self.implementation(self, dict(zip(self.call_names, args, strict=False)), *positional, **keywords)
        if self.plan.code is None:
            return self.function(*args, *positional, **keywords)
        owner = self.owner() if self.owner is not None and self.plan.in_body else None
        return self.function(self.namespace if owner is None else owner, *args)

    def __reduce__(self) -> tuple[Any, ...]:
        key = str(self.plan.span)
        state = (self.names, self.arguments, self.constants, self.path, self.label, self.enabled)
        return _restored, (self.blueprint, key, state)

    # --- registration ---------------------------------------------------------------------------------------------

    def register(self, module: nn.Module) -> None:
        """Register with torch on the module that the hook is for."""
        plan, options = self.plan, self.plan.options
        match plan.kind:
            case "forward_pre":
                module.register_forward_pre_hook(self, prepend=options.get("prepend", False), with_kwargs=options.get("with_kwargs", False))
            case "forward":
                if plan.call is not None and plan.call.name == "time":
                    module.register_forward_pre_hook(_Before(self), prepend=True)
                module.register_forward_hook(
                    self, prepend=options.get("prepend", False), with_kwargs=options.get("with_kwargs", False),
                    always_call=options.get("always_call", False),
                )  # fmt: skip
            case "full_backward_pre":
                module.register_full_backward_pre_hook(self, prepend=options.get("prepend", False))
            case "full_backward":
                module.register_full_backward_hook(self, prepend=options.get("prepend", False))
            case "state_dict_pre":
                module.register_state_dict_pre_hook(self)
            case "state_dict_post":
                module.register_state_dict_post_hook(self)
            case "load_state_dict_pre":
                module.register_load_state_dict_pre_hook(self)
            case "load_state_dict_post":
                module.register_load_state_dict_post_hook(self)
            case _ if plan.tensor == "output":
                module.register_forward_hook(_OnOutput(self))
            case _ if plan.tensor == "input":
                module.register_forward_pre_hook(_OnInput(self))
            case _:
                self.attach(module)

    def attach(self, module: nn.Module) -> None:
        """Register on a parameter. torch loses such hooks when a parameter is copied or replaced, so this is done
        again then; parameters that are absent or frozen get none."""
        for handle in self.handles:
            handle.remove()
        self.handles = []
        parameter = getattr(module, self.plan.tensor or "", None)
        if not isinstance(parameter, torch.Tensor) or not parameter.requires_grad or not parameter.is_leaf:
            return
        register = parameter.register_hook if self.plan.kind == "tensor" else parameter.register_post_accumulate_grad_hook
        self.handles.append(register(self))

    @property
    def on_parameter(self) -> bool:
        """Whether the hook is registered on a parameter itself."""
        return HOOK_KINDS[self.plan.kind].on_tensor and self.plan.tensor not in ("output", "input")

    def remove(self, module: nn.Module) -> None:
        """Take the hook off its module for good."""
        for handle in self.handles:
            handle.remove()
        self.handles = []
        for table in (getattr(module, name) for name in _TABLES):
            for key, value in list(table.items()):
                if value is self or getattr(value, "hook", None) is self:
                    for other in (getattr(module, name) for name in _TABLES):
                        other.pop(key, None)


class _Before:
    """The first half of a hook that runs before and after a forward."""

    def __init__(self, hook: Hook) -> None:
        self.hook = hook

    def __call__(self, module: nn.Module, args: Any) -> None:
        self.hook(module, args)


class _OnOutput:
    """Registers a tensor hook on what a module returns, at each forward."""

    def __init__(self, hook: Hook) -> None:
        self.hook = hook

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        _watch(self.hook, output)


class _OnInput:
    """Registers a tensor hook on what a module takes, at each forward."""

    def __init__(self, hook: Hook) -> None:
        self.hook = hook

    def __call__(self, module: nn.Module, args: Any) -> None:
        _watch(self.hook, args)


def _watch(hook: Hook, value: Any) -> None:
    for tensor in torch.utils._pytree.tree_leaves(value):
        if isinstance(tensor, torch.Tensor) and tensor.requires_grad:
            tensor.register_hook(hook)


def _restored(blueprint: Blueprint, key: str, state: tuple[Any, ...]) -> Hook:
    names, arguments, constants, path, label, enabled = state
    hook = Hook(blueprint.hook(key), blueprint, names, arguments, constants, path, label)
    hook.enabled = enabled
    return hook


# --- owners -------------------------------------------------------------------------------------------------------


def own(owner: nn.Module, hook: Hook) -> None:
    """Make a hook one of its owner's."""
    owner.__dict__.setdefault(HOOKS, []).append(hook)
    hook.owner = weakref.ref(owner)
    if hook.on_parameter and rebind not in owner._load_state_dict_post_hooks.values():
        owner.register_load_state_dict_post_hook(rebind)


def adopt(owner: nn.Module) -> None:
    """After an owner has been copied or unpickled: its hooks are those of the copy, also on parameters."""
    for hook in owner.__dict__.get(HOOKS, ()):
        hook.owner = weakref.ref(owner)
        if hook.on_parameter:
            hook.attach(owner.get_submodule(hook.path))


def rebind(module: nn.Module, incompatible: Any) -> None:
    """After `load_state_dict(assign=True)`, which replaces parameters: ties and tensor hooks as they were."""
    for name, to in module.__dict__.get(TIES, ()):
        owner, _, leaf = name.rpartition(".")
        source, _, source_leaf = to.rpartition(".")
        module.get_submodule(owner)._parameters[leaf] = module.get_submodule(source)._parameters[source_leaf]
    for hook in module.__dict__.get(HOOKS, ()):
        if hook.on_parameter:
            hook.attach(module.get_submodule(hook.path))


# --- what a caller sees -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HookHandle:
    """All hooks of one name: one, or one for each module that the selector meant."""

    name: str
    kind: str
    places: tuple[tuple[nn.Module, Hook], ...] = field(repr=False)

    @property
    def modules(self) -> tuple[str, ...]:
        """The dotted names, in the model that was asked, of the modules that the hook is on."""
        return tuple(hook.label for _, hook in self.places)

    @property
    def enabled(self) -> bool:
        """Whether the hook runs."""
        return all(hook.enabled for _, hook in self.places)

    def disable(self) -> None:
        """Switch the hook off; `enable` switches it on again."""
        for _, hook in self.places:
            hook.enabled = False

    def enable(self) -> None:
        """Switch the hook on."""
        for _, hook in self.places:
            hook.enabled = True

    def remove(self) -> None:
        """Take the hook off for good."""
        for owner, hook in self.places:
            hook.remove(owner.get_submodule(hook.path))
            owner.__dict__[HOOKS].remove(hook)


def hooks(model: nn.Module) -> dict[str, HookHandle]:
    """The hooks that files registered in a model, by name; those of inner definitions under `fqn.name`."""
    found: dict[str, list[tuple[nn.Module, Hook]]] = {}
    for prefix, owner in model.named_modules():
        for hook in owner.__dict__.get(HOOKS, ()):
            found.setdefault(f"{prefix}.{hook.plan.name}" if prefix else hook.plan.name, []).append((owner, hook))
    return {name: HookHandle(name, places[0][1].plan.kind, tuple(places)) for name, places in found.items()}


@contextmanager
def hooks_disabled(model: nn.Module) -> Iterator[None]:
    """Switch every hook of a model's files off for a while; those that were on are on again afterwards."""
    running = [hook for handle in hooks(model).values() for _, hook in handle.places if hook.enabled]
    for hook in running:
        hook.enabled = False
    try:
        yield
    finally:
        for hook in running:
            hook.enabled = True


def captured(model: nn.Module) -> dict[str, Any]:
    """What `capture` and `time` hooks of a model hold, by key; a key that several modules use holds a dict by module."""
    found: dict[str, dict[str, Any]] = {}
    for handle in hooks(model).values():
        for _, hook in handle.places:
            for key, value in hook.memory.items():
                found.setdefault(key, {})[hook.label] = value
    return {key: next(iter(values.values())) if len(values) == 1 else values for key, values in found.items()}
