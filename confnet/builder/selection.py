"""Which modules of a built tree a selector means."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from confnet.plan import Selector
from confnet.selection import matches

__all__ = ["named_postorder", "selected"]


def named_postorder(root: nn.Module) -> Iterator[tuple[nn.Module, tuple[str, ...]]]:
    """Each module once, children before parents as `nn.Module.apply` visits them, with all its dotted names."""
    names: dict[nn.Module, list[str]] = {}
    for name, module in root.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    seen: set[nn.Module] = set()
    stack: list[tuple[nn.Module, bool]] = [(root, False)]
    while stack:
        module, done = stack.pop()
        if done:
            yield module, tuple(names[module])
        elif module not in seen:
            seen.add(module)
            stack.append((module, True))
            stack.extend((child, False) for child in reversed(list(module.children())) if child not in seen)


def selected(selector: Selector | None, module: nn.Module, names: tuple[str, ...]) -> bool:
    """Whether a selector means a module that stands under `names`; a type is matched as isinstance does."""
    classes = [base.__name__ for base in type(module).__mro__ if issubclass(base, nn.Module)]
    return matches(selector, classes, names)
