"""The hooks that confnet brings. Each gets its hook, torch's arguments by name, and those of the file."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch.utils import _pytree as pytree

from confnet.plan import HookPlan

__all__ = ["IMPLEMENTATIONS"]

_LOG = logging.getLogger("confnet.hooks")


class Hook(Protocol):
    """The hook that an implementation runs for."""

    plan: HookPlan
    label: str
    memory: dict[str, Any]
    started: float | None


# What each kind of hook looks at and may change.
_SUBJECT = {
    "forward_pre": "args",
    "forward": "output",
    "full_backward_pre": "grad_output",
    "full_backward": "grad_input",
    "tensor": "grad",
}


def _subject(hook: Hook, call: Mapping[str, Any]) -> Any:
    if hook.plan.kind == "post_accumulate_grad":
        return call["param"].grad
    return call[_SUBJECT[hook.plan.kind]]


def _gradients_changed(hook: Hook, call: Mapping[str, Any], change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """What torch is to go on with: the changed gradients, or nothing where they are changed in place."""
    if hook.plan.kind != "post_accumulate_grad":
        return _mapped(_subject(hook, call), change)
    with torch.no_grad():
        grad = _subject(hook, call)
        grad.copy_(change(grad))
    return None


def _mapped(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same structure with every tensor changed."""
    return pytree.tree_map(lambda item: change(item) if isinstance(item, torch.Tensor) else item, value)


def _tensors(value: Any) -> list[torch.Tensor]:
    return [item for item in pytree.tree_leaves(value) if isinstance(item, torch.Tensor)]


def _capture(hook: Hook, call: Mapping[str, Any], key: str, detach: bool = True, append: bool = False) -> None:
    value = _subject(hook, call)
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    if detach:
        value = _mapped(value, torch.Tensor.detach)
    if append:
        hook.memory.setdefault(key, []).append(value)
    else:
        hook.memory[key] = value


def _check_finite(hook: Hook, call: Mapping[str, Any]) -> None:
    for tensor in _tensors(_subject(hook, call)):
        if not tensor.is_meta and not torch.isfinite(tensor).all():
            what = _SUBJECT.get(hook.plan.kind, "grad").replace("args", "input")
            raise FloatingPointError(f"{what} of `{hook.label or 'the model'}` is not finite ({hook.plan.span})")


def _scale_grad(hook: Hook, call: Mapping[str, Any], factor: float) -> Any:
    return _gradients_changed(hook, call, lambda grad: grad * factor)


def _clip_grad_value(hook: Hook, call: Mapping[str, Any], limit: float) -> Any:
    return _gradients_changed(hook, call, lambda grad: grad.clamp(-limit, limit))


def _clip_grad_norm(hook: Hook, call: Mapping[str, Any], max_norm: float, norm_type: float = 2.0) -> Any:
    def clip(grad: torch.Tensor) -> torch.Tensor:
        # The formula of torch.nn.utils.clip_grad_norm_, for one gradient.
        norm = torch.linalg.vector_norm(grad, norm_type)
        scale: torch.Tensor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
        return grad * scale

    return _gradients_changed(hook, call, clip)


def _cast(hook: Hook, call: Mapping[str, Any], dtype: torch.dtype) -> Any:
    def cast(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    value = _mapped(_subject(hook, call), cast)
    if hook.plan.kind == "forward_pre" and "kwargs" in call:
        return value, _mapped(call["kwargs"], cast)
    return value


def _log_stats(hook: Hook, call: Mapping[str, Any], level: str = "info") -> None:
    for tensor in _tensors(_subject(hook, call)):
        if tensor.numel() == 0:
            continue
        values = tensor.detach()
        values = values.abs() if values.is_complex() else values.float()
        deviation = values.std(correction=0)
        _LOG.log(
            getattr(logging, level.upper()),
            "%s %s: mean %.4g, std %.4g, min %.4g, max %.4g",
            hook.label or "the model",
            list(tensor.shape),
            values.mean(),
            deviation,
            values.min(),
            values.max(),
        )


def _print_shape(hook: Hook, call: Mapping[str, Any]) -> None:
    shapes = ", ".join(str(list(tensor.shape)) for tensor in _tensors(_subject(hook, call)))
    sys.stdout.write(f"{hook.label or 'the model'}: {shapes}\n")


def _time(hook: Hook, call: Mapping[str, Any], key: str) -> None:
    """Runs before (`output` is absent) and after each forward."""
    if "output" not in call:
        hook.started = time.perf_counter()
    elif hook.started is not None:
        hook.memory[key], hook.started = time.perf_counter() - hook.started, None


# --- state dicts --------------------------------------------------------------------------------------------------


def _rekeyed(call: Mapping[str, Any], rename: Callable[[str], str | None]) -> None:
    """Give the keys of the hook's module other names, in place and in order; None leaves a key out."""
    state, prefix = call["state_dict"], call["prefix"]
    entries = list(state.items())
    metadata = getattr(state, "_metadata", None)
    renamed: dict[str, Any] = {}
    for key, value in entries:
        name = rename(key[len(prefix) :]) if key.startswith(prefix) else key
        if name is None:
            continue
        full = prefix + name if key.startswith(prefix) else key
        if full in renamed:
            raise KeyError(f"two keys of the state dict would be called {full!r}")
        renamed[full] = value
    state.clear()
    state.update(renamed)
    if metadata is not None:
        state._metadata = metadata


def _rename_keys(hook: Hook, call: Mapping[str, Any], pattern: str, to: str) -> None:
    _rekeyed(call, lambda key: re.sub(pattern, to, key))


def _drop_keys(hook: Hook, call: Mapping[str, Any], pattern: str) -> None:
    _rekeyed(call, lambda key: None if re.search(pattern, key) else key)


def _add_prefix(hook: Hook, call: Mapping[str, Any], prefix: str) -> None:
    _rekeyed(call, lambda key: prefix + key)


def _strip_prefix(hook: Hook, call: Mapping[str, Any], prefix: str) -> None:
    _rekeyed(call, lambda key: key.removeprefix(prefix))


IMPLEMENTATIONS: dict[str, Callable[..., Any]] = {
    "add_prefix": _add_prefix,
    "capture": _capture,
    "cast": _cast,
    "check_finite": _check_finite,
    "clip_grad_norm": _clip_grad_norm,
    "clip_grad_value": _clip_grad_value,
    "drop_keys": _drop_keys,
    "log_stats": _log_stats,
    "print_shape": _print_shape,
    "rename_keys": _rename_keys,
    "scale_grad": _scale_grad,
    "strip_prefix": _strip_prefix,
    "time": _time,
}
