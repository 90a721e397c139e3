"""What the catalog's names mean: torch's own words, a registered object's docstring, or ours for hooks.

documentation.json is made by `confnet.builder.introspect_docs` and read when the first text is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Final

from confnet.catalog import data, docstrings
from confnet.catalog.examples import example
from confnet.catalog.hooks import BUILTIN_HOOKS, HOOK_ARGUMENTS, HOOK_KINDS
from confnet.catalog.registry import DEFAULT_REGISTRY
from confnet.records import dataclass

__all__ = [
    "Documentation",
    "example_of",
    "function_documentation",
    "hook_documentation",
    "initializer_documentation",
    "layer_documentation",
    "parametrization_documentation",
]

_PAGES: Final = "https://docs.pytorch.org/docs/stable/"
_NO_ARGUMENTS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Documentation:
    """Plain text about a name: the first paragraph, torch's page ("" if there is none), and each argument's line.

    Code and formulas stand in backticks. An argument may be missing.
    """

    summary: str
    url: str = ""
    arguments: Mapping[str, str] = field(default_factory=lambda: _NO_ARGUMENTS)


def layer_documentation(name: str) -> Documentation | None:
    """What a layer does: torch's or a registered one. None if there is no such layer."""
    registered = DEFAULT_REGISTRY.layers.get(name)
    if registered is not None and registered.cls is not None:
        constructor = vars(registered.cls).get("__init__")
        return _from_docstrings(vars(registered.cls).get("__doc__"), getattr(constructor, "__doc__", None))
    return _from_data("layers", name)


def function_documentation(name: str) -> Documentation | None:
    """What a function does, named as code spells it: `torch.relu`, `F.relu`, `Tensor.view`, or a registered name.

    None if code cannot call it.
    """
    registered = DEFAULT_REGISTRY.functions.get(name)
    if registered is not None:
        return _from_docstrings(registered.call.__doc__)
    for prefix, short in (("torch.nn.functional.", "F."), ("nn.functional.", "F."), ("torch.Tensor.", "Tensor.")):
        if name.startswith(prefix):
            name = short + name.removeprefix(prefix)
    return _from_data("functions", name)


def initializer_documentation(name: str) -> Documentation | None:
    """What an initialiser does: a function of torch.nn.init or a registered one. None if there is none."""
    registered = DEFAULT_REGISTRY.initializers.get(name)
    return _from_docstrings(registered.call.__doc__) if registered is not None else _from_data("initializers", name)


def parametrization_documentation(name: str) -> Documentation | None:
    """What a function of torch.nn.utils.parametrizations does. None if there is none."""
    return _from_data("parametrizations", name)


def hook_documentation(name: str) -> Documentation | None:
    """What a kind of hook (`forward_pre`), a built-in hook (`capture`) or a registered one does, or None."""
    kind = HOOK_KINDS.get(name)
    if kind is not None:
        names = (*kind.arguments, *(("kwargs",) if "with_kwargs" in kind.options else ()), *kind.options)
        return Documentation(kind.summary, _PAGES + kind.page, {name: HOOK_ARGUMENTS[name] for name in names})
    built_in = BUILTIN_HOOKS.get(name)
    if built_in is not None:
        return Documentation(built_in.summary, "", {a.name: a.description for a in built_in.arguments})
    registered = DEFAULT_REGISTRY.hooks.get(name)
    return _from_docstrings(registered.call.__doc__) if registered is not None else None


def example_of(layer_name: str) -> str:
    """One line of YAML that uses the layer: `Linear: {in_features: 512, out_features: 10}`.

    Raises KeyError if there is no such layer.
    """
    layer = DEFAULT_REGISTRY.lookup(layer_name)
    if layer is None:
        raise KeyError(layer_name)
    return example(layer)


def _from_docstrings(*texts: str | None) -> Documentation:
    written = [text for text in texts if text]
    summary = next(filter(None, map(docstrings.summary, written)), "")
    arguments: dict[str, str] = {}
    for text in written:
        arguments = {**docstrings.arguments(text), **arguments}
    return Documentation(summary, "", arguments)


def _from_data(table: str, name: str) -> Documentation | None:
    row = data.read("documentation")[table].get(name)
    if row is None:
        return None
    return Documentation(row["summary"], _PAGES + row["url"] if row["url"] else "", row.get("arguments", _NO_ARGUMENTS))
