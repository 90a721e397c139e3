"""The state of one check, and how the checker reports: shared by the parts of the checker."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

from confnet.diagnostics import Collector, Fix, Severity, Span, closest
from confnet.language.code import Code
from confnet.language.kinds import FLAG, NONE, UNKNOWN, Kind, ModuleKind
from confnet.language.names import BUILTINS, NAMESPACES, assigned_attributes, local_names
from confnet.language.scope import ParsedCode, Scope
from confnet.language.values import (
    HEAP,
    PRESENT,
    UNSETTLED,
    Label,
    Labels,
    Value,
    constant,
    describe,
    holds_module,
    modules_of,
    options,
)

__all__ = ["Context", "TooComplex"]

MAX_VISITS = 100_000  # one step takes about 10 microseconds, so that a second is the most that any body can take
STEP_OF_COPIES = 64  # copying so many entries takes as long as one step
MAX_SUGGESTIONS = 30  # different unknown names in one body: each is compared with every known one
# Not reported where an instance cannot come: the child may be missing just because the branch is not for it.
QUIET_IN_DEAD_CODE = {
    "call-of-none",
    "expression-error",
    "missing-member",
    "not-callable",
    "not-iterable",
    "possibly-undefined",
}
MODULE_HELP = "a module can be called, indexed or iterated if it is a container, and compared with None"

Environment = dict[str, Value]


class TooComplex(Exception):
    """The check took too many steps, which loops in loops in loops can make it do."""


class Context:
    """The environment of a body at the point that is being checked, and everything found so far."""

    def __init__(self, parsed: ParsedCode, scope: Scope) -> None:
        self.code: Code = parsed.code
        self.scope = scope
        self.collector = Collector()
        self.lines = parsed.code.text.split("\n")
        self.locals = local_names(parsed.body) | frozenset(scope.inputs)
        self.environment: Environment = {name: self._input(name) for name in scope.inputs}
        self.comprehended: list[str] = []
        self.dead = 0
        self.visits = 0
        self.names_read: set[str] = set()
        self.methods_called: set[str] = set()
        self.heap: set[Label] = set()
        self.changes: list[tuple[Labels, ast.AST, str]] = []
        self.growths: list[tuple[Labels, tuple[Labels, ...], ast.AST]] = []
        self.loops: list[Labels] = []
        self.statement_call: ast.expr | None = None
        self.in_place: dict[int, bool] = {}
        self.returned: list[Value] = []
        self.refused_attributes = assigned_attributes(parsed.nodes)
        self.suggestions: dict[tuple[str, ...], str] = {}
        self.meant: dict[str, tuple[str, str]] = {}
        """The word that each suggestion is for, and the one that it suggests."""

    def _input(self, name: str) -> Value:
        kind = self.scope.inputs[name]
        default = self.scope.defaults.get(name)
        role: Literal["constant", "input"] = "constant" if isinstance(default, list | dict) else "input"
        label = frozenset({Label(role, name)})
        return Value(kind) if isinstance(kind, ModuleKind) else Value(kind, label, label)

    # --- reports -----------------------------------------------------------------------------------

    def report(
        self, node: ast.AST, code: str, message: str, help: str = "", severity: Severity = "error", label: str = ""
    ) -> None:
        """Record a diagnostic at a node, unless the node stands where this instance never comes and the code says
        nothing about other instances."""
        if self.dead and (code in QUIET_IN_DEAD_CODE or severity != "error"):
            return
        fix = self._fix(node, *self.meant[help]) if help in self.meant else None
        self.collector.add(code, message, self.span(node), help=help, severity=severity, label=label, fix=fix)

    def _fix(self, node: ast.AST, word: str, near: str) -> Fix | None:
        """The edit that writes `near` for the word that a name or attribute ends in, or a keyword begins with."""
        span = self.span(node)
        if span.line != span.end_line:
            return None
        if isinstance(node, ast.keyword) and node.arg == word:
            return Fix(replace(span, end_column=span.column + len(word)), near)
        if isinstance(node, ast.Name | ast.Attribute) and f".{ast.unparse(node)}".endswith(f".{word}"):
            return Fix(replace(span, column=span.end_column - len(word)), near)
        return None

    def span(self, node: ast.AST) -> Span:
        """The place of a node in the file."""
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        return self.code.span_at(
            line, column, getattr(node, "end_lineno", line) or line, getattr(node, "end_col_offset", column) or column
        )

    def source(self, node: ast.AST, limit: int = 40) -> str:
        """The user's own text of a node, on one line and not too long."""
        lines = self.lines
        line, end = getattr(node, "lineno", 1), getattr(node, "end_lineno", 1) or 1
        first, last = getattr(node, "col_offset", 0), getattr(node, "end_col_offset", 0) or 0
        if line == end:
            text = lines[line - 1][first:last]
        else:
            text = " ".join(
                part.strip() for part in [lines[line - 1][first:], *lines[line : end - 1], lines[end - 1][:last]]
            )
        return text if len(text) <= limit else text[: limit - 3] + "..."

    def visit(self, steps: int = 1) -> None:
        """Count steps; raises TooComplex when there are too many."""
        self.visits += steps
        if self.visits > MAX_VISITS:
            raise TooComplex

    @contextmanager
    def unreachable(self, dead: bool = True) -> Iterator[None]:
        """Check something that this instance never runs, if `dead`."""
        self.dead += dead
        try:
            yield
        finally:
            self.dead -= dead

    # --- names -------------------------------------------------------------------------------------

    def is_local(self, name: str) -> bool:
        """Whether a bare name is an input, a local or the variable of a comprehension here."""
        return name in self.comprehended or name in self.locals

    def has_attribute(self, name: str) -> bool:
        """Whether `self.<name>` can be read."""
        return self.scope.has_self and (
            name in self.scope.members or name in self.scope.constants or name == "training"
        )

    def attribute(self, name: str) -> Value | None:
        """The value of `self.<name>`, or of a bare name that is no local; None if there is no such attribute."""
        if name in self.scope.members:
            self.names_read.add(name)
            return self._member(name, self.scope.members[name])
        if name in self.scope.constants:
            self.names_read.add(name)
            return constant(name, self.scope.constants[name])
        if name == "training" and self.scope.has_self:
            return Value(FLAG)
        return None

    def _member(self, name: str, kind: Kind) -> Value:
        return self.stored(kind, Label("buffer" if name in self.scope.buffers else "parameter", name))

    def stored(self, kind: Kind, label: Label) -> Value:
        """The value of something that a module holds: it is settled whether it is None."""
        if kind == NONE:
            return Value(NONE, static=None)
        kinds = list(options(kind))
        static = UNSETTLED if NONE in kinds or UNKNOWN in kinds else PRESENT
        if holds_module(kind):
            return Value(kind, static=static, nonempty=all(module.items for module in modules_of(kind)))
        return Value(kind, frozenset({label}), frozenset({label}), static)

    def nameable(self, python: bool = False) -> list[str]:
        """Every bare name that means something here, for suggestions; for a name of Python itself (`map`) without
        other names of Python."""
        scope = self.scope
        own = [*self.comprehended, *self.locals, *scope.members, *scope.constants, *scope.methods, *scope.functions]
        return sorted(own) if python else [*sorted(own), *BUILTINS, *sorted(NAMESPACES)]

    def suggestion(self, word: str, candidates: Iterable[str]) -> str:
        """A did-you-mean help, or nothing."""
        key = (word, *candidates)
        if key not in self.suggestions:
            if len(self.suggestions) >= MAX_SUGGESTIONS:
                return ""
            near = closest(word, key[1:])
            self.suggestions[key] = self.suggested(word, near) if near and near != word else ""
        return self.suggestions[key]

    def suggested(self, word: str, near: str, prefix: str = "") -> str:
        """The help that tells to write `near` for a word, both behind a prefix."""
        help = f"did you mean `{prefix}{near}`?"
        self.meant[help] = word, near
        return help

    # --- values ------------------------------------------------------------------------------------

    def not_a_module(self, value: Value, node: ast.AST, doing: str) -> Value:
        """`value`, after a report if it is a module or an iterable of modules."""
        if not holds_module(value.kind):
            return value
        modules = modules_of(value.kind)
        if modules and modules[0].label == "module argument":
            help = f"make it a child (`{self.source(node)}: ${self.source(node)}` under `children`)"
            self.report(node, "module-as-value", f"`{self.source(node)}` is a module argument, not a child", help)
        else:
            what = describe(modules[0]) if modules else "an iterable of modules"
            self.report(node, "module-as-value", f"{what} cannot be {doing}", MODULE_HELP)
        return replace(value, kind=UNKNOWN, static=UNSETTLED, broken=True)

    def change(self, value: Value, node: ast.AST, doing: str) -> None:
        """Record that an in-place operation reaches whatever `value` shares memory with."""
        if value.labels:
            self.changes.append((value.labels, node, doing))

    def grow(self, value: Value, node: ast.AST) -> None:
        """Record that a list may grow, inside the loops that are open."""
        if self.loops and value.own:
            self.growths.append((value.own, tuple(self.loops), node))

    def store(self, value: Value) -> None:
        """Record that a value is put into a list or dict that exists already."""
        self.heap |= value.labels

    def held(self, value: Value) -> Labels:
        """The labels of an item of `value`."""
        return value.inside | {HEAP} if value.inside or value.own else frozenset({HEAP})

    def resolved(self, labels: Labels) -> set[Label]:
        """Labels with the heap replaced by everything that was put into a list; the body must be checked before."""
        found = set(labels)
        return (found | self.heap if HEAP in found else found) - {HEAP}
