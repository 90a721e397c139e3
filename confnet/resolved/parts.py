"""What a module says besides its children, as a file writes it: contracts, tensors, initialisers, rules, hooks."""

from __future__ import annotations

from collections.abc import Mapping

from confnet.catalog.arguments import Takes
from confnet.catalog.hooks import BUILTIN_HOOKS, HOOK_KINDS
from confnet.catalog.initializers import initializer
from confnet.catalog.parametrizations import parametrization
from confnet.catalog.registry import DEFAULT_REGISTRY
from confnet.plan import (
    BufferPlan,
    CallPlan,
    Contract,
    HookPlan,
    InitPlan,
    Method,
    ModulePlan,
    ParameterPlan,
    RulePlan,
    Selector,
    Size,
    ValueContract,
)
from confnet.resolved.code import with_values
from confnet.resolved.values import call_data, escaped, plain_data
from confnet.rules import THIS_MODULE
from confnet.source.layout import Code

__all__ = [
    "buffer_data",
    "hook_data",
    "init_data",
    "inputs_data",
    "is_own",
    "method_data",
    "outputs_data",
    "own_data",
    "parameter_data",
    "rule_data",
]


def _no_module(plan: ModulePlan, label: str) -> object:
    raise AssertionError(f"`{plan.base}` is an argument where none may be a module")


# --- contracts --------------------------------------------------------------------------------------------------------


def inputs_data(contract: Contract | None, taken: Mapping[str, str]) -> object | None:
    """The inputs of a contract, or None where it says nothing of them; `taken` names are not symbols here."""
    if contract is None or contract.inputs is None:
        return None
    inputs = contract.inputs
    if all(item.required and not _said(item, taken) for item in inputs):
        return [item.name for item in inputs]
    return {item.name: _input(item, taken) for item in inputs}


def outputs_data(contract: Contract | None, taken: Mapping[str, str]) -> object | None:
    """The outputs of a contract, or None where it says nothing of them."""
    if contract is None or contract.outputs is None:
        return None
    return {item.name: "any" if item.shape is None else _shape(item.shape, taken) for item in contract.outputs}


def _input(item: ValueContract, taken: Mapping[str, str]) -> object:
    said = _said(item, taken)
    if item.required:
        return "any" if not said else said["shape"] if list(said) == ["shape"] else said
    if not said and (item.default is None or isinstance(item.default, bool | int | float)):
        return item.default
    return {**said, "default": item.default}


def _said(item: ValueContract, taken: Mapping[str, str]) -> dict[str, object]:
    """What a contract says of an input, apart from its default."""
    said = {
        "type": item.type,
        "shape": None if item.shape is None else _shape(item.shape, taken),
        "item": None if item.item is None else _shape(item.item, taken),
        "dtype": item.dtype,
        "low": item.low,
        "high": item.high,
    }
    return {key: value for key, value in said.items() if value is not None}


def _shape(sizes: tuple[Size, ...], taken: Mapping[str, str]) -> list[object]:
    return [_size(size, taken) for size in sizes]


def _size(size: Size, taken: Mapping[str, str]) -> object:
    if size.value is None:
        return "_"
    return size.value if isinstance(size.value, int) else with_values(size.text, size.names, taken)


# --- tensors ----------------------------------------------------------------------------------------------------------


def init_data(plan: InitPlan) -> object:
    """An initialiser: a name, a name and its arguments, or a value that code computes."""
    if plan.code is not None:
        return {"value": Code(with_values(plan.code.text, plan.constants))}
    registered = DEFAULT_REGISTRY.initializers.get(plan.name)
    callee: Takes | None = initializer(plan.name) or (registered.after(1) if registered is not None else None)
    arguments = call_data(callee, plan.positional, plan.keywords, _no_module)
    return plan.name if arguments is None else {plan.name: arguments}


def parameter_data(plan: ParameterPlan | None) -> object:
    """A parameter of a composite; null for one that is registered as None."""
    if plan is None:
        return None
    data: dict[str, object] = {"shape": list(plan.shape)}
    if plan.dtype is not None:
        data["dtype"] = plan.dtype
    if not plan.requires_grad:
        data["requires_grad"] = False
    if plan.init is not None:
        data["init"] = init_data(plan.init)
    return data


def buffer_data(plan: BufferPlan | None) -> object:
    """A buffer of a composite; null for one that is registered as None."""
    if plan is None:
        return None
    data: dict[str, object] = {}
    if plan.code is not None:
        data["value"] = Code(plan.code.text)
    elif plan.shape is not None:
        data["shape"] = list(plan.shape)
        if plan.value != 0 or type(plan.value) is not int:
            data["fill"] = plan.value
    else:
        data["value"] = _numbers(plan.value)
    if plan.dtype is not None:
        data["dtype"] = plan.dtype
    if not plan.persistent:
        data["persistent"] = False
    return data


def _numbers(value: object) -> object:
    return [_numbers(item) for item in value] if isinstance(value, list | tuple) else value


# --- code -------------------------------------------------------------------------------------------------------------


def method_data(method: Method, contract: Contract | None, taken: Mapping[str, str]) -> object:
    """A further method: code alone, or with what it takes and returns."""
    inputs, outputs = inputs_data(contract, taken), outputs_data(contract, taken)
    if inputs is None and [item.name for item in method.inputs] != ["x"]:  # of a rule, whose contracts nobody keeps
        inputs = {item.name: "any" if item.required else {"default": item.default} for item in method.inputs}
    code = Code(method.code.text)
    if inputs is None and outputs is None:
        return code
    said = {"inputs": inputs, "outputs": outputs}
    return {**{key: value for key, value in said.items() if value is not None}, "forward": code}


# --- rules and hooks --------------------------------------------------------------------------------------------------


def is_own(rule: RulePlan) -> bool:
    """Whether a rule is about its module alone and says only what may stand beside a layer key."""
    others = (rule.settings, rule.methods, rule.dtype, rule.calls)
    return rule.where == THIS_MODULE and not any(others)


def own_data(rule: RulePlan, idle: frozenset[str]) -> dict[str, object]:
    """What a rule says, without what it is about. `idle` are the parameters that no module of it has."""
    data: dict[str, object] = {}
    inits = {escaped(name): init_data(plan) for name, plan in rule.init.items() if name not in idle}
    calls = {
        escaped(name): _named(call, parametrization(call.name))
        for name, call in rule.parametrize.items()
        if name not in idle
    }
    if inits:
        data["init"] = inits
    if calls:
        data["parametrize"] = calls
    if rule.requires_grad is not None:
        data["requires_grad"] = rule.requires_grad
    if rule.extra_repr is not None:
        data["extra_repr"] = escaped(rule.extra_repr)
    return data


def rule_data(rule: RulePlan, idle: frozenset[str]) -> dict[str, object]:
    """One item of `apply`; empty where nothing is left of it."""
    data = own_data(rule, idle)
    if rule.settings:
        data["set"] = {name: plain_data(value) for name, value in rule.settings.items()}
    if rule.dtype is not None:
        data["dtype"] = rule.dtype
    if rule.methods:
        data["methods"] = {name: method_data(method, None, {}) for name, method in rule.methods.items()}
    if rule.calls:
        applied = DEFAULT_REGISTRY.applies
        data["call"] = {
            call.name: call_data(applied[call.name].after(1), call.positional, call.keywords, _no_module)
            for call in rule.calls
        }
    return {"where": _selector(rule.where), **data} if data and rule.where is not None else data


def _selector(selector: Selector) -> dict[str, object]:
    data: dict[str, object] = {}
    for key, patterns in (("type", selector.types), ("name", selector.names)):
        if patterns is not None:
            texts = [escaped(pattern) for pattern in patterns]
            data[key] = texts[0] if len(texts) == 1 else texts
    if selector.exclude is not None:
        data["not"] = _selector(selector.exclude)
    return data


def _named(call: CallPlan, callee: Takes | None) -> object:
    arguments = call_data(callee, call.positional, call.keywords, _no_module)
    return call.name if arguments is None else {call.name: arguments}


def hook_data(hook: HookPlan) -> dict[str, object]:
    """One item of `hooks`."""
    data: dict[str, object] = {"kind": hook.kind}
    if hook.where is not None and hook.where != THIS_MODULE:
        data["where"] = _selector(hook.where)
    if hook.tensor is not None:
        data["tensor"] = escaped(hook.tensor)
    if hook.name != hook.kind:
        data["name"] = escaped(hook.name)
    data.update(hook.options)
    if hook.call is not None:
        registered = DEFAULT_REGISTRY.hooks.get(hook.call.name)
        callee: Takes | None = BUILTIN_HOOKS.get(hook.call.name)
        if callee is None and registered is not None:
            names = HOOK_KINDS[hook.kind].names(hook.options.get("with_kwargs", False))
            callee = registered.after(len(names))
        data["call"] = _named(hook.call, callee)
    if hook.code is not None:
        code = hook.code.text
        data["do"] = Code(code if hook.in_body else with_values(code, hook.constants))
    return data
