"""Which modules of a built tree a selector means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from torch import nn

from confnet.diagnostics import closest
from confnet.plan import Selector
from confnet.selection import matches

__all__ = ["all_selected", "named_postorder", "nothing_helps", "parameters_of", "selected"]

_EXPLAINED = 20
_LISTED = 12


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


def all_selected(selector: Selector | None, places: Mapping[nn.Module, tuple[str, ...]]) -> list[nn.Module]:
    """Those of some modules, each with its names, that a selector means."""
    if not _by_types(selector):
        return [module for module, names in places.items() if selected(selector, module, names)]
    kinds: dict[type[nn.Module], bool] = {}
    for module in places:
        if type(module) not in kinds:
            kinds[type(module)] = selected(selector, module, ())
    return [module for module in places if kinds[type(module)]]


def _by_types(selector: Selector | None) -> bool:
    """Whether names make no difference to a selector."""
    return selector is None or (selector.names is None and _by_types(selector.exclude))


def nothing_helps(unmatched: Iterable[tuple[Selector | None, Iterable[str], Iterable[str]]]) -> Iterator[str]:
    """What to write instead of selectors that mean none of the modules of these classes and names.

    Comparing many names with many selectors could take long, and nobody reads so much: the later ones have none.
    """
    for index, (selector, classes, names) in enumerate(unmatched):
        yield _nothing_help(selector, classes, names) if index < _EXPLAINED else ""


def _nothing_help(selector: Selector | None, classes: Iterable[str], names: Iterable[str]) -> str:
    if selector is None:
        return ""
    classes, names = sorted(classes), list(names)
    for patterns, known in ((selector.types, classes), (selector.names, names)):
        guess = next((guess for pattern in patterns or () if (guess := closest(pattern, known))), None)
        if guess is not None and guess not in (patterns or ()):
            return f"did you mean `{guess}`?"
    by_name = selector.names is not None and not any(matches(Selector(names=selector.names), (), [n]) for n in names)
    what, known = ("names", names) if by_name else ("modules", classes)
    if not known:
        return "there are no modules inside"
    more = ", ..." if len(known) > _LISTED else ""
    return f"the {what} here are " + ", ".join(f"`{name}`" for name in known[:_LISTED]) + more


def parameters_of(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    """Each place of a parameter in a module: the module that holds it, and its name there."""
    for inner in module.modules():
        for name, parameter in inner._parameters.items():
            if parameter is not None:
                yield inner, name, parameter
