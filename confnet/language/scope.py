"""What the checker of the forward language is told about a piece of code, and what it answers."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from dataclasses import field
from functools import cached_property

from confnet.diagnostics import Diagnostic
from confnet.language.code import Code
from confnet.language.kinds import Kind, Signature
from confnet.records import dataclass

__all__ = ["CheckResult", "ParsedCode", "Scope"]


@dataclass(frozen=True, eq=False)
class ParsedCode:
    """Code as statements. `diagnostics` tells why there are none: the grammar refused the text."""

    code: Code
    body: tuple[ast.stmt, ...]
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the text is code of the language."""
        return not self.diagnostics

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All nodes of the statements: one body is checked for many instances."""
        return tuple(node for statement in self.body for node in ast.walk(statement))


@dataclass(frozen=True, slots=True)
class Scope:
    """The names that a body may use, in one instance of its definition.

    `members` are children, parameters and buffers; `buffers` says which of them are buffers that the module
    declares itself, the only state that a body may change. `constants` are args and `let` with their values.
    `defaults` are the defaults of inputs. `methods` are the module's own, without `forward`. `must_return` is False
    for hooks, whose code may return nothing.
    """

    inputs: Mapping[str, Kind] = field(default_factory=dict)
    members: Mapping[str, Kind] = field(default_factory=dict)
    constants: Mapping[str, object] = field(default_factory=dict)
    functions: Mapping[str, Signature] = field(default_factory=dict)
    methods: Mapping[str, Signature] = field(default_factory=dict)
    has_self: bool = True
    buffers: Collection[str] = frozenset()
    defaults: Mapping[str, object] = field(default_factory=dict)
    must_return: bool = True


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What the checker found out about a body.

    `result` is the kind of what it returns. `names_read` are the members and constants that it reads,
    `methods_called` the module's own methods. `changes` are the inputs that it may change in place, `shares` the
    parameters, buffers and children whose memory the result may share: for the `Signature` of the method.
    """

    diagnostics: tuple[Diagnostic, ...]
    result: Kind
    names_read: frozenset[str]
    methods_called: frozenset[str]
    changes: frozenset[str]
    shares: frozenset[str]

    @property
    def ok(self) -> bool:
        """Whether nothing found is an error."""
        return not any(d.severity == "error" for d in self.diagnostics)
