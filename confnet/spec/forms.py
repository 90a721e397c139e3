"""What every reader of a piece of a file does: makes its model, and reports what is wrong with its form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pydantic import ValidationError

from confnet.catalog.registry import layer_names, lookup
from confnet.diagnostics import Collector, Note, Span
from confnet.language.names import NAMESPACES
from confnet.source import Mapping, Node, Scalar, Sequence
from confnet.spec.models import Part, describe
from confnet.spec.words import is_identifier, is_layer_key, name_help

__all__ = ["Forms", "Reader"]


# What people call things elsewhere.
_SYNONYMS = {
    "layers": "children",
    "submodules": "children",
    "blocks": "children",
    "params": "parameters",
    "arguments": "args",
    "variables": "let",
    "definitions": "modules",
    "includes": "include",
    "if": "when",
    "output": "outputs",
    "input": "inputs",
    "weights": "parameters",
}

M = TypeVar("M", bound=Part)
Reader = Callable[[Node], Any]


class Forms:
    """Turns nodes into models; `found` receives what is wrong."""

    def __init__(self, found: Collector) -> None:
        self.found = found

    def make(
        self,
        model: type[M],
        chosen: dict[str, Node],
        node: Node | None,
        readers: dict[str, Reader],
        *,
        span: Span | None = None,
        extra: dict[str, Any] | None = None,
    ) -> M | None:
        """A model from the values under its keys, those in `readers` read by them first."""
        values: dict[str, Any] = {"span": span or (node.span if node else None), **(extra or {})}
        broken = False
        for key, value in chosen.items():
            if key in readers:
                values[key] = readers[key](value)
                broken = broken or values[key] is None
            else:
                values[key] = value
        if broken:
            values = {key: value for key, value in values.items() if value is not None}
        return self.validated(model, values, node, chosen, quiet=broken)

    def validated(
        self,
        model: type[M],
        values: dict[str, Any],
        node: Node | None,
        chosen: dict[str, Node] | None = None,
        *,
        quiet: bool = False,
    ) -> M | None:
        try:
            return model.model_validate({key: value for key, value in values.items() if value is not None})
        except ValidationError as error:
            for item in error.errors(include_url=False):
                key = str(item["loc"][0]) if item["loc"] else ""
                place = (chosen or {}).get(key) or node
                context = item.get("ctx", {})
                if item["type"] == "missing" and quiet:  # what is missing was wrong, and is reported already
                    continue
                code = item["type"] if "message" in context else "invalid-type"
                message = context.get("message", f"`{key}`: {item['msg'][:1].lower()}{item['msg'][1:]}")
                self.error(code, message, place.span if place else None, context.get("help", ""))
            return None

    def named(self, node: Node | None, read: Callable[[Scalar, Node], Any]) -> tuple[Any, ...]:
        """What `read` makes of each entry of a mapping; null is an empty one."""
        if node is None or (isinstance(node, Scalar) and node.value is None):
            return ()
        if not isinstance(node, Mapping):
            help = "write each entry under its name: `name: ...`" if isinstance(node, Sequence) else ""
            self.error("invalid-type", f"a mapping is expected here, not {describe(node)}", node.span, help)
            return ()
        return tuple(item for item in (read(key, value) for key, value in node) if item is not None)

    def each(self, node: Node | None, read: Callable[[Node], Any]) -> tuple[Any, ...]:
        """What `read` makes of each item of a list; null is an empty one."""
        if node is None or (isinstance(node, Scalar) and node.value is None):
            return ()
        if not isinstance(node, Sequence):
            help = f"write `[{node.text}]`" if isinstance(node, Scalar) and node.one_line else ""
            self.error("invalid-type", f"a list is expected here, not {describe(node)}", node.span, help)
            return ()
        return tuple(item for item in (read(child) for child in node.items) if item is not None)

    def unknown_keys(
        self, node: Mapping, allowed: Iterable[str], what: str, *, layer: bool = False, arguments_of: str = ""
    ) -> None:
        allowed = tuple(allowed)
        listed = False
        callee = lookup(arguments_of) if arguments_of else None
        arguments = {argument.name for argument in callee.arguments} if callee else set()
        for key, _ in node:
            if key.text in allowed or (layer and is_layer_key(key.text)):
                continue
            pool = [*allowed, *layer_names()] if layer else allowed
            guess = (
                _SYNONYMS.get(key.text) if _SYNONYMS.get(key.text) in allowed else self.found.closest(key.text, pool)
            )
            help, fix = f"did you mean `{guess}`?" if guess else "", guess
            if node.flow and " " in key.text:
                help, fix = "quote the value before it: inside `{ }` YAML ends an unquoted one at a comma", None
            elif key.text in arguments:
                help, fix = f"an argument of `{arguments_of}` is indented below it", None
            elif not guess and not listed:  # a long list is told once
                help, listed = f"the keys are {', '.join(f'`{name}`' for name in allowed)}", True
            self.error("unknown-key", f"`{key.text}` is not a key of {what}", key.span, help, fix=fix)

    def else_needs_when(self, node: Mapping) -> None:
        if "else" in node.index and "when" not in node.index:
            self.error("else-without-when", "`else` goes with `when`", node.key("else").span)

    def identifier(self, key: Scalar, what: str) -> bool:
        if key.text in NAMESPACES:
            self.error("reserved-name", f"`{key.text}` is a namespace in code", key.span, "choose another name")
            return False
        if is_identifier(key.text):
            return True
        self.error("invalid-name", f"`{key.text}` cannot name {what}", key.span, name_help(key.text))
        return False

    def first_key(self, node: Mapping) -> Span:
        return node.entries[0][0].span if node.entries else node.span

    def error(
        self,
        code: str,
        message: str,
        span: Span | None,
        help: str = "",
        notes: Iterable[Note] = (),
        fix: str | None = None,
    ) -> None:
        self.found.add(code, message, span, help=help, notes=notes, fix=fix)
