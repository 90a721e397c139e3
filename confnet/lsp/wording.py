"""What is said of a name of the catalog: its signature in a line, its text for a hover, its place in torch's pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from confnet.catalog.arguments import Argument
from confnet.catalog.documentation import (
    Documentation,
    function_documentation,
    hook_documentation,
    initializer_documentation,
    layer_documentation,
    parametrization_documentation,
)
from confnet.catalog.functions import Function, functional, tensor_method, torch_function
from confnet.catalog.hooks import BUILTIN_HOOKS
from confnet.catalog.initializers import initializer
from confnet.catalog.parametrizations import parametrization
from confnet.catalog.registry import DEFAULT_REGISTRY, lookup
from confnet.lsp.grammar import Place

__all__ = [
    "argument_line",
    "argument_text",
    "arguments_of",
    "counted",
    "documentation_of",
    "function_line",
    "function_of",
    "function_text",
    "page",
    "signature",
]


def arguments_of(place: Place) -> Sequence[Argument]:
    """The arguments that a place is about: those of a layer, initialiser, parametrization or hook."""
    name = place.of
    if place.kind.startswith("init "):
        known = initializer(name)
        registered = DEFAULT_REGISTRY.initializers.get(name)
        return known.arguments if known is not None else registered.after(1).arguments if registered is not None else ()
    if place.kind.startswith("parametrize "):
        found = parametrization(name)
        return found.arguments if found is not None else ()
    if place.kind.startswith("hook "):
        hook = BUILTIN_HOOKS.get(name)
        return hook.arguments if hook is not None else ()
    layer = lookup(name)
    return layer.arguments if layer is not None else ()


def documentation_of(place: Place) -> Documentation | None:
    """The documentation of whose arguments a place is about."""
    if place.kind.startswith("init "):
        return initializer_documentation(place.of)
    if place.kind.startswith("parametrize "):
        return parametrization_documentation(place.of)
    return hook_documentation(place.of) if place.kind.startswith("hook ") else layer_documentation(place.of)


def argument_line(argument: Argument) -> str:
    """An argument as a signature writes it: `stride: int = 1`."""
    return f"{argument.name}: {argument.type}" + ("" if argument.required else f" = {written(argument.default)}")


def written(value: object) -> str:
    """A value as a file writes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    return str(value)


def signature(name: str, arguments: Iterable[Argument]) -> str:
    """The call of a layer or function in a line."""
    return f"{name}({', '.join(map(argument_line, arguments))})"


def argument_text(argument: Argument, documentation: Documentation | None) -> str:
    """What there is to say of an argument: its type and default, its bounds, torch's line about it."""
    lines = [f"```python\n{argument_line(argument)}\n```"]
    bounds = (
        ("at least", argument.ge),
        ("more than", argument.gt),
        ("at most", argument.le),
        ("less than", argument.lt),
    )
    said = [f"{words} {written(bound)}" for words, bound in bounds if bound is not None]
    if said:
        lines.append(" and ".join(said))
    choices = [written(choice) for choice in argument.choices]
    if choices:
        lines.append("one of " + ", ".join(f"`{choice}`" for choice in choices))
    if argument.inferable:
        lines.append("`auto` lets torch find the number")
    text = argument.description or (documentation.arguments.get(argument.name, "") if documentation is not None else "")
    if text:
        lines.append(text)
    return "\n\n".join(lines)


def counted(fewest: int, most: int) -> str:
    """How many values a function takes, in words."""
    count = f"{fewest}" if fewest == most else f"{fewest} or more" if most > 3 else f"{fewest} to {most}"
    return f"{count} value" if count == "1" else f"{count} values"


def page(documentation: Documentation | None, heading: str) -> str:
    """A hover: the heading as code, the text, the link to torch's page."""
    lines = [f"```python\n{heading}\n```"]
    if documentation is not None and documentation.summary:
        lines.append(documentation.summary)
    if documentation is not None and documentation.url:
        lines.append(f"[PyTorch's page]({documentation.url})")
    return "\n\n".join(lines)


def function_of(dotted: str) -> Function | None:
    """The function of torch's that code calls by this name."""
    for prefix, find in (
        ("torch.nn.functional.", functional),
        ("nn.functional.", functional),
        ("F.", functional),
        ("torch.", torch_function),
        ("Tensor.", tensor_method),
    ):
        if dotted.startswith(prefix):
            return find(dotted.removeprefix(prefix))
    return None


def function_line(function: Function) -> str:
    """The call of a function in a line, as its first form has it."""
    if not function.forms:
        return f"{function.label}(...)"
    form = function.forms[0]
    parts, keyword_only = [], False
    for parameter in form.parameters:
        if not parameter.positional and not keyword_only:
            keyword_only = True
            parts.append("*")
        parts.append(parameter.name if parameter.required else f"{parameter.name}=...")
    more = f"  (+{len(function.forms) - 1} more)" if len(function.forms) > 1 else ""
    return f"{function.label}({', '.join(parts)}){more}"


def function_text(function: Function) -> str:
    """What a hover says of a function."""
    return page(function_documentation(function.label), function_line(function))
