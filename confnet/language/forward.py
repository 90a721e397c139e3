"""The forward language: code in a file to statements, checked.

`parse_code` reads the text, `check_code` says whether a body may run in one instance of its definition, and
`confnet.language.compile` makes the function.
"""

from __future__ import annotations

import ast

from confnet.diagnostics import Diagnostic
from confnet.language.checker import Checker
from confnet.language.code import Code
from confnet.language.grammar import LanguageError, compiler_errors, read
from confnet.language.kinds import UNKNOWN
from confnet.language.names import attribute_name, find_cycle
from confnet.language.scope import CheckResult, ParsedCode, Scope

__all__ = ["CheckResult", "ParsedCode", "Scope", "attribute_name", "check_code", "find_cycle", "parse_code"]


def parse_code(code: Code) -> ParsedCode:
    """Read code; what the grammar refuses is in `diagnostics`, and there is no body then."""
    try:
        body, errors = _read(code)
    except LanguageError as error:
        body, errors = (), [error]
    if not errors:
        errors = compiler_errors(body, code.text)
    if errors:
        return ParsedCode(code, (), tuple(_diagnostic(code, error) for error in errors))
    return ParsedCode(code, body)


def _read(code: Code) -> tuple[tuple[ast.stmt, ...], list[LanguageError]]:
    try:
        tree, errors = read(code.text, "block")
    except LanguageError as error:
        if code.form == "body" or error.code != "invalid-syntax":
            raise
        # An expression may go over lines and begin with a space, which statements may not.
        try:
            tree, errors = read(code.text, "expression")
        except LanguageError:
            raise error from None
    if isinstance(tree, ast.Expression):
        return (_returned(tree.body),), errors
    if not tree.body and not errors:
        raise LanguageError("empty-code", "there is nothing here to run", 1, 0, 1, 1)
    only = tree.body[0] if len(tree.body) == 1 else None
    if code.form == "value" and isinstance(only, ast.Expr):
        return (_returned(only.value),), errors
    return tuple(tree.body), errors


def _returned(value: ast.expr) -> ast.stmt:
    return ast.copy_location(ast.Return(value), value)


def _diagnostic(code: Code, error: LanguageError) -> Diagnostic:
    span = code.span_at(error.line, error.column, error.end_line, error.end_column)
    return Diagnostic(error.code, error.message, span=span, help=error.help)


def check_code(parsed: ParsedCode, scope: Scope) -> CheckResult:
    """Check a body against the names of one instance.

    Code that `parse_code` refused is answered with its diagnostics alone.
    """
    if not parsed.ok:
        nothing: frozenset[str] = frozenset()
        return CheckResult(parsed.diagnostics, UNKNOWN, nothing, nothing, nothing, nothing)
    return Checker(parsed, scope).result()
