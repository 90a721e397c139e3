"""Nodes of a file to values: `$` expressions evaluated, with every failure reported at its place."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Mapping as AnyMapping
from dataclasses import field
from functools import lru_cache
from typing import Literal

from confnet.catalog.types import UNKNOWN_VALUE
from confnet.diagnostics import Collector, ConfnetError, Note, Span
from confnet.language.code import Code
from confnet.language.expressions import Expression, Template
from confnet.language.grammar import MAX_TEXT, LanguageError
from confnet.plan import DTypeName, Origin
from confnet.records import dataclass
from confnet.source import Node, Scalar, Sequence, plain

__all__ = ["Names", "Values", "code_of", "expression_of", "is_plain", "mentioned", "part_of", "template_of"]

MAX_ELEMENTS = 2**62
MAX_DIMENSIONS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Names:
    """What `$` may name at a place: args, constants and `repeat` variables, the inner ones first.

    `chain` tells, for diagnostics, through which definitions the place was reached; `origins` where the values come
    from, if that is recorded.
    """

    table: AnyMapping[str, object] = field(default_factory=dict)
    chain: tuple[Note, ...] = ()
    origins: AnyMapping[str, Origin] = field(default_factory=dict)

    def with_names(self, own: AnyMapping[str, object], origins: AnyMapping[str, Origin] | None = None) -> Names:
        """The same place with further names."""
        return Names({**self.table, **own}, self.chain, {**self.origins, **origins} if origins else self.origins)

    def origin(self, kind: str, node: Node, value: object) -> Origin:
        """The origin of the value of a node that stands here."""
        uses = {name: self.origins[name] for name in _read_names(node) if name in self.origins}
        return Origin(kind, _shown(node), node.span, value, uses)


def _shown(node: Node) -> str:
    return node.text if isinstance(node, Scalar) else str(plain(node))


def _read_names(node: Node) -> list[str]:
    """The names that `$` reads in a node."""
    if isinstance(node, Scalar):
        if not (isinstance(node.value, str) and "$" in node.value):
            return []
        try:
            return sorted(template_of(node.value).names)
        except LanguageError:  # which is reported where it is evaluated
            return []
    children = node.items if isinstance(node, Sequence) else [value for _, value in node.entries]
    return list(dict.fromkeys(name for child in children for name in _read_names(child)))


@lru_cache(maxsize=4096)
def template_of(text: str) -> Template:
    """A scalar with its `$` expressions, parsed once; raises LanguageError."""
    if len(text) > MAX_TEXT:
        raise LanguageError("code-too-long", f"a text with `$` is longer than {MAX_TEXT:,} characters", 1, 0, 1, 1)
    return Template.parse(text)


@lru_cache(maxsize=4096)
def expression_of(text: str) -> Expression:
    """A bare expression, parsed once; raises LanguageError."""
    return Expression.parse(text)


class Values:
    """Evaluates nodes. What cannot be evaluated is reported once and becomes `UNKNOWN_VALUE`."""

    def __init__(self, found: Collector) -> None:
        self.found = found

    def value(self, node: Node, names: Names) -> object:
        """The value of any node: `$` evaluated, lists and mappings item by item."""
        if isinstance(node, Scalar):
            return self.scalar(node, names)
        if isinstance(node, Sequence):
            return [self.value(item, names) for item in node.items]
        return {self.text(key, names): self.value(child, names) for key, child in node.entries}

    def scalar(self, node: Scalar, names: Names) -> object:
        """The value of a scalar; a text without `$` is itself."""
        text = node.value
        if not isinstance(text, str) or "$" not in text:
            return text
        try:
            template = template_of(text)
            if any(names.table.get(name) is UNKNOWN_VALUE for name in template.names):
                return UNKNOWN_VALUE
            return template.evaluate(names.table)
        except LanguageError as error:
            self.language_error(error, node, names)
            return UNKNOWN_VALUE

    def text(self, node: Scalar, names: Names) -> str:
        """The text of a key or name, `$` formatted into it."""
        if "$" not in node.text:
            return node.text
        value = self.scalar(Scalar(node.text, node.text, node.span, node.style, node.first_line, node.indent), names)
        return node.text if value is UNKNOWN_VALUE else str(value)

    def condition(self, node: Scalar | None, names: Names) -> bool:
        """Whether a `when` holds; an absent one does."""
        if node is None:
            return True
        value = self.scalar(node, names)
        if isinstance(value, str):
            self.error(
                "invalid-type",
                f"a condition is true or false, not the text `{value}`",
                node.span,
                names,
                help="write `true`, `false` or a `$` expression",
            )
        return bool(value)

    def flag(self, node: Scalar | None, names: Names, default: bool) -> bool:
        """A value that is true or false."""
        if node is None:
            return default
        value = self.scalar(node, names)
        if value is UNKNOWN_VALUE or isinstance(value, bool):
            return value is True
        self.error("invalid-type", f"true or false is expected here, not `{value}`", node.span, names)
        return default

    def shape(self, node: Node, names: Names) -> tuple[int, ...] | None:
        """A shape of known sizes; None where it is wrong, which is reported."""
        if isinstance(node, Scalar):
            sizes = self.scalar(node, names)
            items: list[tuple[object, Span]] = (
                [(size, node.span) for size in sizes] if isinstance(sizes, list | tuple) else []
            )
            if sizes is not UNKNOWN_VALUE and not isinstance(sizes, list | tuple):
                self.error("invalid-type", f"a shape is a list of sizes, not `{sizes}`", node.span, names)
            if not isinstance(sizes, list | tuple):
                return None
        elif isinstance(node, Sequence):
            items = [(self.size(item, names), item.span) for item in node.items]
        else:
            return None
        if len(items) > MAX_DIMENSIONS:
            self.error("shape-too-large", f"the shape has {len(items):,} dimensions", node.span, names)
            return None
        total = 1
        for size, span in items:
            if size is UNKNOWN_VALUE:
                return None
            if isinstance(size, bool) or not isinstance(size, int) or size < 0:
                self.error("invalid-shape", f"a size is an integer of 0 or more, not `{size}`", span, names)
                return None
            total *= max(size, 1)
        if total > MAX_ELEMENTS:
            self.error("shape-too-large", f"the shape has {total:,} elements", node.span, names)
            return None
        return tuple(size for size, _ in items if isinstance(size, int))

    def size(self, node: Node, names: Names) -> object:
        """One size of a shape: a number, or code over args."""
        if not isinstance(node, Scalar):
            self.error("invalid-shape", "a size is a number or an expression", node.span, names)
            return UNKNOWN_VALUE
        if not isinstance(node.value, str):
            return node.value
        if "$" in node.value:
            return self.scalar(node, names)
        try:
            expression = expression_of(node.value)
            if any(names.table.get(name) is UNKNOWN_VALUE for name in expression.names):
                return UNKNOWN_VALUE
            return expression.evaluate(names.table)
        except LanguageError as error:
            self.language_error(error, node, names)
            return UNKNOWN_VALUE

    def language_error(self, error: LanguageError, node: Scalar, names: Names) -> None:
        """Report a mistake inside a scalar at its own columns."""
        self.error(error.code, error.message, part_of(node, error), names, help=error.help, fix=error.meant)
        if error.code == "too-much-work":  # every further expression would say so again
            raise ConfnetError(self.found.found.values())

    def error(
        self, code: str, message: str, span: Span | None, names: Names, *, help: str = "", fix: str | None = None
    ) -> None:
        """Report a mistake, with the chain of places that led here; `fix` takes the place of what stands at `span`."""
        self.found.add(code, message, span, help=help, notes=names.chain, fix=fix)


def mentioned(texts: Iterable[str], names: Names) -> dict[str, object]:
    """The args and constants in force that code mentions, as far as they are data that code can read."""
    words = set(re.findall(r"[^\W\d]\w*", "\n".join(texts)))
    return {
        name: value
        for name, value in names.table.items()
        if name in words and (value is UNKNOWN_VALUE or is_plain(value))
    }


def is_plain(value: object) -> bool:
    """Whether a value can be an attribute that code reads: data, not a module or the name of a layer."""
    if isinstance(value, list | tuple):
        return all(is_plain(item) for item in value)
    if isinstance(value, dict):
        return all(is_plain(item) for item in value.values())
    return value is None or isinstance(value, bool | int | float | str | range | DTypeName)


def code_of(node: Scalar, form: Literal["body", "value"]) -> Code:
    """A scalar as code."""
    text = node.value if isinstance(node.value, str) else node.text
    return Code(text, node.span.file, node.first_line, node.indent, node.span, form)


def part_of(node: Scalar, error: LanguageError) -> Span:
    """The place in the file of a mistake inside a scalar."""
    if not (node.one_line or node.style == "|"):
        return node.span
    return Span(
        node.span.file,
        node.first_line + error.line - 1,
        node.indent + error.column + 1,
        node.first_line + error.end_line - 1,
        node.indent + error.end_column + 1,
    )
