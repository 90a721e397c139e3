"""Hooks of a built model: what they run, how they are registered, copied, found again and switched off.

A hook belongs to the definition instance that says it (its owner), which keeps a list of its hooks; the hook holds
its owner weakly. So a copy of the owner takes its hooks with it and its hooks act on the copy, and pickling a child
does not carry the whole model.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import CodeType, SimpleNamespace
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

__all__ = ["HOOKS", "TIES", "Hook", "adopt", "names_in", "own", "rebind", "retie", "submodule_at", "ties_in_force"]

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

    `path` is the dotted name of the module from the owner, `place` that of the module that the hook stands beside,
    `label` the name of the module in the model. `memory` is what the hook has captured or measured; copies start
    without it. A hook whose module is copied or pickled without its owner takes along what its code reads of the
    owner (`read`), and acts on that.
    """

    def __init__(
        self,
        plan: HookPlan,
        blueprint: Blueprint,
        names: tuple[frozenset[str], frozenset[str]],
        arguments: tuple[list[Any], dict[str, Any]],
        constants: Mapping[str, Any],
        path: str,
        place: str,
        label: str,
    ) -> None:
        self.plan, self.blueprint, self.names = plan, blueprint, names
        self.arguments, self.constants = arguments, dict(constants)
        self.namespace = SimpleNamespace(**{attribute_name(name): value for name, value in constants.items()})
        self.path, self.place, self.label = path, place, label
        self.enabled = True
        self.memory: dict[str, Any] = {}
        self.started: float | None = None
        self.owner: weakref.ref[nn.Module] | None = None
        self.handles: list[torch.utils.hooks.RemovableHandle] = []
        self.attached: weakref.ref[torch.Tensor] | None = None
        if plan.kind == "state_dict_post":
            self._from_public_api = True  # torch's own mark, which a copy needs as well
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
            self.function = function_of(
                self.blueprint.traced(plan.code),
                "do",
                plan.name,
                inputs,
                constants,
                members,
                guard=self.blueprint.guarded,
            )
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
        return self.function(self.scope(args[0]), *args)

    def scope(self, module: Any) -> Any:
        """What the code reads besides its arguments: the owner, or the args in force beside the hook."""
        if not self.plan.in_body:
            return self.namespace
        owner = self.owner() if self.owner is not None else None
        if owner is None:
            self.namespace.training = getattr(module, "training", True)
            return self.namespace
        return owner

    # --- copies ---------------------------------------------------------------------------------------------------

    def read(self) -> dict[str, Any]:
        """The parameters, buffers and children of the owner that the code reads."""
        if self.plan.code is None or not self.plan.in_body:
            return {}
        owner = self.owner() if self.owner is not None else None
        known = self.namespace.__dict__ if owner is None else {**owner._parameters, **owner._buffers, **owner._modules}
        return {name: known[name] for name in names_in(self.function.__code__) if name in known}

    def state(self) -> tuple[Any, ...]:
        plan = self.plan
        of_plan = (
            plan.name,
            plan.tensor,
            dict(plan.options),
        )  # these may read `$` values: the place does not tell them
        return of_plan, self.names, self.arguments, self.constants, self.path, self.place, self.label, self.enabled

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.blueprint, str(self.plan.span), self.state()), self.read()

    def __setstate__(self, read: dict[str, Any]) -> None:
        self.namespace.__dict__.update(read)

    def __deepcopy__(self, memo: dict[int, Any]) -> Hook:
        made = memo[id(self)] = _made(self.plan, self.blueprint, copy.deepcopy(self.state(), memo))
        made.__setstate__(copy.deepcopy(self.read(), memo))
        return made

    # --- registration ---------------------------------------------------------------------------------------------

    def register(self, module: nn.Module) -> None:
        """Register with torch on the module that the hook is for."""
        plan, options = self.plan, self.plan.options
        match plan.kind:
            case "forward_pre":
                module.register_forward_pre_hook(
                    self, prepend=options.get("prepend", False), with_kwargs=options.get("with_kwargs", False)
                )
            case "forward":
                if plan.call is not None and plan.call.name == "time":
                    module.register_forward_pre_hook(_Before(self), prepend=True)
                module.register_forward_hook(
                    self,
                    prepend=options.get("prepend", False),
                    with_kwargs=options.get("with_kwargs", False),
                    always_call=options.get("always_call", False),
                )
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
                module.register_forward_pre_hook(_OnInput(self), with_kwargs=True)
            case _:
                self.attach(module)

    def attach(self, module: nn.Module) -> None:
        """Register on a parameter. torch loses such hooks when a parameter is copied or replaced, so this is done
        again then; parameters that are absent or frozen get none."""
        parameter = module._parameters.get(self.plan.tensor or "")
        if self.handles and self.attached is not None and self.attached() is parameter:
            return
        for handle in self.handles:
            handle.remove()
        self.handles = []
        if parameter is None or not parameter.requires_grad:
            return
        self.attached = weakref.ref(parameter)
        register = (
            parameter.register_hook if self.plan.kind == "tensor" else parameter.register_post_accumulate_grad_hook
        )
        self.handles.append(register(self))

    def attach_in(self, owner: nn.Module) -> None:
        """The same for a hook of an owner; nothing for other kinds of hooks."""
        module = submodule_at(owner, self.path) if self.on_parameter else None
        if module is not None:
            self.attach(module)

    @property
    def on_parameter(self) -> bool:
        """Whether the hook is registered on a parameter itself."""
        return HOOK_KINDS[self.plan.kind].on_tensor and self.plan.tensor not in ("output", "input")

    def remove(self, module: nn.Module | None) -> None:
        """Take the hook off its module for good."""
        for handle in self.handles:
            handle.remove()
        self.handles = []
        tables = [getattr(module, name) for name in _TABLES] if module is not None else []
        mine = {
            key
            for table in tables
            for key, value in table.items()
            if value is self or getattr(value, "hook", None) is self
        }
        for table in tables:
            for key in mine & table.keys():
                del table[key]


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

    def __call__(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        _watch(self.hook, (args, kwargs))


def _watch(hook: Hook, value: Any) -> None:
    for tensor in torch.utils._pytree.tree_leaves(value):
        if (
            isinstance(tensor, torch.Tensor)
            and tensor.requires_grad
            and hook not in (tensor._backward_hooks or {}).values()
        ):
            tensor.register_hook(hook)  # once, also where the same tensor comes again


def names_in(code: CodeType) -> set[str]:
    """Every name that compiled code looks up, in comprehensions too."""
    inner = (names_in(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return {*code.co_names}.union(*inner)


def _restored(blueprint: Blueprint, key: str, state: tuple[Any, ...]) -> Hook:
    return _made(blueprint.hook(key), blueprint, state)


def _made(plan: HookPlan, blueprint: Blueprint, state: tuple[Any, ...]) -> Hook:
    (name, tensor, options), names, arguments, constants, path, place, label, enabled = state
    plan = replace(plan, name=name, tensor=tensor, options=options)
    hook = Hook(plan, blueprint, names, arguments, constants, path, place, label)
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
        hook.attach_in(owner)


def rebind(module: nn.Module, incompatible: object = None) -> None:
    """After parameters have been replaced by `load_state_dict(assign=True)`: ties and tensor hooks as they were."""
    retie(module, module.__dict__.get(TIES, ()))


def ties_in_force(module: nn.Module) -> list[tuple[str, str]]:
    """The ties of a module that hold: one around it may have tied the same parameter to another since."""
    found = []
    for name, to in module.__dict__.get(TIES, ()):
        left, right = _slot(module, name), _slot(module, to)
        if left is not None and right is not None and left[0][left[1]] is right[0][right[1]]:
            found.append((name, to))
    return found


def retie(module: nn.Module, ties: Iterable[tuple[str, str]]) -> None:
    """After parameters have been replaced: these ties, and tensor hooks, as they were."""
    for name, to in ties:
        left, right = _slot(module, name), _slot(module, to)
        if left is not None and right is not None:
            left[0][left[1]] = right[0][right[1]]
    for hook in module.__dict__.get(HOOKS, ()):
        hook.attach_in(module)


def _slot(module: nn.Module, path: str) -> tuple[dict[str, nn.Parameter | None], str] | None:
    """Where the Parameter at a dotted path is kept: in its module, or in the parametrization of one tensor."""
    holder, _, name = path.rpartition(".")
    owner = submodule_at(module, holder)
    if owner is None:
        return None
    if name in owner._parameters:
        return owner._parameters, name
    inner = submodule_at(owner, f"parametrizations.{name}")
    return (inner._parameters, "original") if inner is not None and "original" in inner._parameters else None


def submodule_at(module: nn.Module, path: str) -> nn.Module | None:
    """The module at a dotted path, or None if the caller has taken it away."""
    try:
        return module.get_submodule(path)
    except AttributeError:
        return None
