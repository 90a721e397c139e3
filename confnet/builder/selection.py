"""Which modules of a built tree a selector means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from torch import nn

from confnet.plan import Selector

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
    """Whether a selector means a module that stands under `names`; None means every module."""
    if selector is None:
        return True
    if selector.types is not None and not any(_is_a(module, pattern) for pattern in selector.types):
        return False
    if selector.names is not None and not any(_glob(p).fullmatch(name) for p in selector.names for name in names):
        return False
    return selector.exclude is None or not selected(selector.exclude, module, names)


def _is_a(module: nn.Module, pattern: str) -> bool:
    """Whether the class of a module, or one that it derives from, is called so (globs allowed)."""
    return any(_glob(pattern).fullmatch(base.__name__) for base in type(module).__mro__ if issubclass(base, nn.Module))


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str]:
    """`*` is any text without a dot, `**` any number of segments, `?` one character."""
    parts = []
    for token in re.split(r"(\*\*\.|\.\*\*|\*\*|\*|\?)", pattern):
        parts.append({"**.": r"(?:[^.]+\.)*", ".**": r"(?:\.[^.]+)*", "**": r".*", "*": r"[^.]*", "?": r"[^.]"}.get(token, re.escape(token)))
    return re.compile("".join(parts))
