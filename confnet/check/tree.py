"""Questions to a plan: what stands where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from confnet.catalog.registry import lookup
from confnet.plan import BROKEN, CONTAINERS, ModulePlan, Share

__all__ = ["absent", "arrows", "below", "module_at", "modules_in", "placed_shares"]


def modules_in(values: Iterable[object]) -> Iterator[ModulePlan]:
    """The modules among values, those inside lists included."""
    for value in values:
        if isinstance(value, ModulePlan):
            yield value
        elif isinstance(value, list | tuple):
            yield from modules_in(value)


def module_at(plan: ModulePlan, path: str) -> ModulePlan | Share | None:
    """The module at a dotted path, or None; BROKEN inside a layer, whose own modules are seen at the build."""
    found: ModulePlan | Share | None = plan
    for name in path.split("."):
        if not isinstance(found, ModulePlan):
            return None
        if found.definition is None and found.base not in CONTAINERS:
            return BROKEN if _has_modules(found) else None
        found = found.children.get(name)
    return found


def _has_modules(plan: ModulePlan) -> bool:
    """Whether a layer may hold modules: those it makes, those it is given, and whatever Python code adds."""
    layer = lookup(plan.base)
    given = next(modules_in([*plan.positional, *plan.keywords.values()]), None)
    return layer is None or layer.opaque or bool(layer.children) or given is not None


def below(plan: ModulePlan, prefix: str) -> Iterator[tuple[str, ModulePlan | Share]]:
    """Everything below a module with its path, definitions looked into as well."""
    for name, child in plan.children.items():
        path = f"{prefix}.{name}" if prefix else name
        if child is not None:
            yield path, child
        if isinstance(child, ModulePlan):
            yield from below(child, path)


def absent(plan: ModulePlan, prefix: str) -> Iterator[str]:
    """The paths below a module where nothing stands, as a `when` is false there."""
    for name, child in plan.children.items():
        path = f"{prefix}.{name}" if prefix else name
        if child is None:
            yield path
        elif isinstance(child, ModulePlan):
            yield from absent(child, path)


def placed_shares(plan: ModulePlan, prefix: str = "") -> Iterator[tuple[str, Share]]:
    """The shares that belong to a definition: in its children and their containers, not inside other definitions."""
    for name, child in plan.children.items():
        path = f"{prefix}.{name}" if prefix else name
        if isinstance(child, Share):
            yield path, child
        elif isinstance(child, ModulePlan) and child.definition is None:
            yield from placed_shares(child, path)


def arrows(names: Iterable[str]) -> str:
    """A path of names for a message."""
    return " -> ".join(f"`{name}`" for name in names)
