"""What a caller sees of the hooks of a built model: handles by name, and what hooks have captured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from confnet.builder.hooks import HOOKS, Hook, submodule_at

__all__ = ["HookHandle", "captured", "hooks", "hooks_disabled"]


@dataclass(frozen=True, slots=True)
class HookHandle:
    """All hooks of one name: one, or one for each module that the selector meant."""

    name: str
    kind: str
    modules: tuple[str, ...]
    """The dotted names, in the model that was asked, of the modules that the hook is on."""
    places: tuple[tuple[nn.Module, Hook], ...] = field(repr=False)

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
            hook.remove(submodule_at(owner, hook.path))
            if hook in owner.__dict__[HOOKS]:
                owner.__dict__[HOOKS].remove(hook)


def hooks(model: nn.Module) -> dict[str, HookHandle]:
    """The hooks that files registered in a model: by `name` for those of the model itself, by `fqn.name` for those that
    stand in or beside an inner module. A hook without a name is called by its kind (`forward`, `forward1`, ...)."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"a module is expected, not {type(model).__name__}")
    found: dict[str, list[tuple[nn.Module, Hook]]] = {}
    for prefix, owner in model.named_modules():
        for hook in owner.__dict__.get(HOOKS, ()):
            name = ".".join(part for part in (prefix, hook.place, hook.plan.name) if part)
            found.setdefault(name, []).append((owner, hook))
    labels = {module: name for name, module in model.named_modules()}
    return {
        name: HookHandle(
            name, places[0][1].plan.kind, tuple(_label(owner, hook, labels) for owner, hook in places), tuple(places)
        )
        for name, places in found.items()
    }


def _label(owner: nn.Module, hook: Hook, labels: Mapping[nn.Module, str]) -> str:
    module = submodule_at(owner, hook.path)
    return hook.label if module is None else labels.get(module, hook.label)


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
    """What `capture` and `time` hooks of a model hold, by key; one that several modules use holds a dict by module."""
    found: dict[str, dict[str, Any]] = {}
    for handle in hooks(model).values():
        for label, (_, hook) in zip(handle.modules, handle.places, strict=True):
            for key, value in hook.memory.items():
                found.setdefault(key, {})[label] = value
    return {key: next(iter(values.values())) if len(values) == 1 else values for key, values in found.items()}
