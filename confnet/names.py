"""Names that can be checked as a file is read, wherever they stand: also in branches and definitions that are not used.

Every `$` name, layer, argument name and literal argument value is looked at without evaluating anything. What
depends on values is `confnet.resolve`'s; what both can see is reported once.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from collections.abc import Mapping as TypingMapping
from collections.abc import Set as AbstractSet
from dataclasses import field

from confnet.calls import Written, callee_of, declared, report_unknown_layer
from confnet.catalog.arguments import Argument, Takes, bind
from confnet.catalog.registry import lookup
from confnet.catalog.types import UNKNOWN_VALUE
from confnet.diagnostics import Collector
from confnet.language.arithmetic import FUNCTIONS
from confnet.language.expressions import Expression, Piece
from confnet.language.grammar import LanguageError
from confnet.loading import Spec, Unit
from confnet.records import dataclass
from confnet.source import Mapping, Node, Scalar, plain
from confnet.source import Sequence as SequenceNode
from confnet.spec import read_module
from confnet.spec.models import (
    ArgSpec,
    BodySpec,
    BufferSpec,
    DefinitionSpec,
    ItemSpec,
    LetSpec,
    ModuleSpec,
    ParameterSpec,
)
from confnet.spec.words import is_layer_key
from confnet.values import expression_of, part_of, template_of

__all__ = ["check_names"]

_Known = AbstractSet[str]


def check_names(spec: Spec, found: Collector) -> None:
    """Report every name in the spec's files that means nothing, and every literal argument that cannot be right."""
    for unit in spec.units():
        _Names(unit, found).document()


class _Names:
    def __init__(self, unit: Unit, found: Collector) -> None:
        self.unit, self.found = unit, found
        self.definitions: dict[str, DefinitionSpec] = {d.name: d for d in unit.document.modules}
        for included in unit.includes:
            self.definitions.update({d.name: d for d in included.document.modules if d.name not in self.definitions})
        self.defining = _Defining()

    def document(self) -> None:
        document = self.unit.document
        known = self.scope(document.args, document.let, frozenset())
        for item in document.require:
            self.text(item.condition, known)
            self.text(item.message, known)
        if document.root is not None:
            self.module(document.root, known)
        for definition in document.modules:
            if lookup(definition.name) is not None:
                self.found.add(
                    "shadows-layer",
                    f"`{definition.name}` is a layer as well, which this file cannot use then",
                    definition.span,
                    severity="warning",
                    help="give the definition a name of its own",
                )
            body = definition.module.body
            inner = self.scope(body.args, body.let, known) if body else known
            self.module(definition.module, inner, own_scope=True)

    def scope(self, args: Iterable[ArgSpec], let: Iterable[LetSpec], known: _Known) -> _Known:
        """The names inside a definition; defaults and constants may use those before them."""
        outer, below = self.defining, {c.name: c.value for c in let} | {arg.name: arg.default for arg in args}
        known = set(known)  # it grows: a file may have thousands of args
        for arg in args:
            self.defining = _Defining(arg.name, below)
            if arg.default is not None:
                self.argument(arg.default, declared(arg), known)
            known.add(arg.name)
            below.pop(arg.name, None)
        taken = {arg.name for arg in args}
        for constant in let:
            if constant.name in taken:
                self.found.add(
                    "duplicate-name",
                    f"`{constant.name}` is an argument and a constant",
                    constant.span,
                    help="rename one of the two",
                )
            taken.add(constant.name)
            self.defining = _Defining(constant.name, below)
            self.value(constant.value, known)
            known.add(constant.name)
            below.pop(constant.name, None)
        self.defining = outer
        return known

    # --- modules --------------------------------------------------------------------------------------------------

    def module(self, spec: ModuleSpec, known: _Known, *, own_scope: bool = False) -> None:
        if spec.body is not None and not own_scope:
            known = self.scope((), spec.body.let, known)
        if spec.modifiers is not None:
            self.text(spec.modifiers.when, known)
            if spec.modifiers.otherwise is not None:
                self.module(spec.modifiers.otherwise, known)
        self.text(spec.share, known)
        self.text(spec.reference, known)
        if spec.layer is not None:
            if spec.layer.items is not None:
                self.items(spec.layer.items, known)
            else:
                self.call(spec.layer.name, spec.layer.arguments, known)
        if spec.body is not None:
            self.body(spec.body, known)

    def body(self, body: BodySpec, known: _Known) -> None:
        for item in body.require:
            self.text(item.condition, known)
            self.text(item.message, known)
        self.items(body.children or (), known)
        for parameter in body.parameters or ():
            self.state(parameter, known)
        for buffer in body.buffers or ():
            self.state(buffer, known)
        for tie in body.tie:
            self.text(tie.name, known)
            self.text(tie.to, known)
            self.text(tie.when, known)

    def state(self, spec: ParameterSpec | BufferSpec | Scalar, known: _Known) -> None:
        if isinstance(spec, Scalar):
            return
        self.text(spec.when, known)
        self.text(spec.dtype, known)
        if isinstance(spec, BufferSpec) and not isinstance(spec.value, Scalar):
            self.value(spec.value, known)
        self.shape(spec.shape, known)
        if isinstance(spec, ParameterSpec):
            self.value(spec.init, known)
        if spec.otherwise is not None:
            self.state(spec.otherwise, known)

    def items(self, items: Iterable[ItemSpec], known: _Known) -> None:
        for item in items:
            if item.module is not None:
                self.text(item.name, known)
                self.module(item.module, known)
            if item.repeat is not None:
                self.value(item.repeat.count, known)
                self.text(item.repeat.when, known)
                inner = known | {item.repeat.variable.text} if item.repeat.variable is not None else known
                if item.repeat.module is not None:
                    self.text(item.name, inner)
                    self.module(item.repeat.module, inner)
                self.items(item.repeat.children or (), inner)

    # --- calls ----------------------------------------------------------------------------------------------------

    def call(self, name: Scalar, arguments: Node | None, known: _Known) -> None:
        if name.text.startswith("$"):
            self.text(name, known)
            self.value(arguments, known)
            return
        callee = self.callee(name)
        if callee is None:
            self.value(arguments, known)
            return
        written = Written.read(arguments, name.span)
        positional: list[object] = []
        keywords: dict[str, object] = {}
        for slot, node, argument in written.slots(callee):
            value = self.argument(node, argument, known)
            if isinstance(slot, int):
                positional.append(value)
            else:
                keywords[slot] = value
        written.report(bind(callee, positional, keywords).problems, self.found, known=known)

    def callee(self, name: Scalar) -> Takes | None:
        if name.text in self.definitions:
            return callee_of(self.definitions[name.text])
        layer = lookup(name.text)
        if layer is None:
            report_unknown_layer(name.text, name.span, self.definitions, self.found)
        return layer

    def argument(self, node: Node, argument: Argument | None, known: _Known) -> object:
        """The value of an argument as far as it is literal; modules among the arguments are looked into."""
        named = isinstance(node, Scalar) and is_layer_key(node.text) and not _deferred(node)
        is_module = named or isinstance(node, Mapping)
        if argument is not None and argument.takes_module and is_module:
            spec = read_module(node, argument.name, self.found)
            if spec is not None:
                self.module(spec, known)
            return UNKNOWN_VALUE
        self.value(node, known)
        return UNKNOWN_VALUE if _deferred(node) else plain(node)

    # --- `$` ------------------------------------------------------------------------------------------------------

    def value(self, node: Node | None, known: _Known) -> None:
        if isinstance(node, Scalar):
            self.text(node, known)
        elif isinstance(node, SequenceNode):
            for item in node.items:
                self.value(item, known)
        elif isinstance(node, Mapping):
            for key, child in node.entries:
                self.text(key, known)
                self.value(child, known)

    def text(self, node: Scalar | None, known: _Known) -> None:
        """Check the names of a scalar's `$` expressions."""
        if node is None or "$" not in node.text or not isinstance(node.value, str | type(None)):
            return
        try:
            template = template_of(node.text)
        except LanguageError as error:
            self.language_error(error, node)
            return
        for part in template.parts:
            if isinstance(part, Piece):
                for undefined in _undefined(part.expression, known, self.defining, self.found):
                    self.language_error(undefined.shifted(part.line, part.column), node)

    def shape(self, node: Node | None, known: _Known) -> None:
        """Check the names of a shape, whose sizes are code over args."""
        if not isinstance(node, SequenceNode):
            self.value(node, known)
            return
        for item in node.items:
            if isinstance(item, Scalar) and isinstance(item.value, str) and "$" not in item.value:
                try:
                    expression = expression_of(item.value)
                except LanguageError as error:
                    self.language_error(error, item)
                    continue
                for undefined in _undefined(expression, known, self.defining, self.found):
                    self.language_error(undefined, item)
            else:
                self.value(item, known)

    def language_error(self, error: LanguageError, node: Scalar) -> None:
        self.found.add(error.code, error.message, part_of(node, error), help=error.help, fix=error.meant)


@dataclass(frozen=True)
class _Defining:
    """The arg or constant whose value is read, and those of its scope whose values are still to be read, itself too."""

    name: str = ""
    below: TypingMapping[str, Node | None] = field(default_factory=dict)

    def help(self, name: str) -> str:
        """What to do where the value uses `name`; nothing if that does not stand below."""
        if name == self.name:
            return "a value cannot be made of itself"
        if name not in self.below:
            return ""
        if self.name in self.used_by(name):
            return f"`{self.name}` and `{name}` are made of each other: give one of them a value of its own"
        return f"`{name}` stands below: move it above `{self.name}`"

    def used_by(self, name: str) -> set[str]:
        """The names below that the value of `name` is made of, directly or through others."""
        reached: set[str] = set()
        waiting = [name]
        while waiting:
            node = self.below.get(waiting.pop())
            new = {word for word in _words(node) if word in self.below} - reached
            reached |= new
            waiting += new
        return reached


def _words(node: Node | None) -> set[str]:
    """Every word of the scalars that hold a `$`."""
    if isinstance(node, Scalar):
        return set(re.findall(r"[^\W\d]\w*", node.text)) if "$" in node.text else set()
    if isinstance(node, SequenceNode):
        return {word for item in node.items for word in _words(item)}
    return {word for entry in node.entries for part in entry for word in _words(part)} if node is not None else set()


def _undefined(expression: Expression, known: _Known, defining: _Defining, found: Collector) -> Iterable[LanguageError]:
    """The names that an expression reads and that mean nothing, as errors at their places."""
    for node in ast.walk(expression.tree):
        if isinstance(node, ast.Name) and node.id in expression.names and node.id not in known:
            if node.id in FUNCTIONS:
                yield LanguageError.at(node, "expression-error", f"the function `{node.id}` must be called")
                continue
            help, guess = defining.help(node.id), None
            if not help:
                guess = found.closest(node.id, known)
                help = f"did you mean `{guess}`?" if guess else ""
            yield LanguageError.at(node, "undefined-name", f"`{node.id}` is not defined", help, guess)


def _deferred(node: Node) -> bool:
    """Whether a `$` stands anywhere in a value."""
    if isinstance(node, Scalar):
        return isinstance(node.value, str) and "$" in node.value
    if isinstance(node, SequenceNode):
        return any(_deferred(item) for item in node.items)
    return any(_deferred(key) or _deferred(child) for key, child in node.entries)
