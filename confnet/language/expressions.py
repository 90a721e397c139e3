"""`$` values: text with expressions in it, read once and evaluated over the names of a scope.

`$name` and `$(expression)` stand for values; `$$` is a dollar. A text that is one expression keeps the type of its
value, inside a longer text the value is formatted.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

from confnet.diagnostics import closest
from confnet.language.arithmetic import FUNCTIONS, MAX_TEXT, as_text
from confnet.language.evaluator import Evaluator
from confnet.language.grammar import LanguageError, closing_bracket, parse
from confnet.records import dataclass

__all__ = ["FUNCTIONS", "Expression", "Template", "evaluate_expression"]

NAME = re.compile(r"[^\W\d]\w*")
SIGNED = re.compile(r"\s*([-+~])\s*\$(\(.*\)|[^\W\d]\w*)\s*", re.DOTALL)
# Names may hold `-` and `/`, which count as operators only between spaces; a glob begins with its `*`.
COMPUTED = re.compile(
    r"\s*(?:\d+(?:\.\d+)?\s*(\*\*?|//|\+|\s[-/]\s)\s*\$[^\W\d]\w*"
    r"|\$[^\W\d]\w*\s*(\*\*?|//|\+|\s[-/]\s)\s*(?:\d+(?:\.\d+)?|\$[^\W\d]\w*))\s*"
)
USED = re.compile(r"\s*\$([^\W\d]\w*)([\[(].*[\])])\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Expression:
    """A bare expression: `32 * H`. `names` are the names that it reads and does not bind itself."""

    text: str
    tree: ast.expr
    names: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> Expression:
        """Read an expression; raises LanguageError with a place in `text`."""
        if len(text) > MAX_TEXT:
            raise LanguageError("code-too-long", f"an expression is longer than {MAX_TEXT:,} characters", 1, 0, 1, 1)
        tree = _parsed(text)
        assert isinstance(tree, ast.Expression)
        _check_words(tree.body)
        return cls(text, tree.body, frozenset(_free_names(tree.body, frozenset())))

    def evaluate(self, names: Mapping[str, object]) -> object:
        """The value of the expression; raises LanguageError (`expression-error`, `undefined-name`)."""
        return Evaluator(names).result(self.tree)


def _parsed(text: str) -> ast.AST:
    try:
        return parse(text, "expression")
    except LanguageError as error:
        if error.code != "not-allowed-in-code":
            raise
        error.code = "not-allowed-in-expression"
        error.message = error.message.replace("in code", "in an expression")
        raise


def evaluate_expression(text: str, names: Mapping[str, object]) -> object:
    """The value of a bare expression; raises LanguageError with a place in `text`."""
    return Expression.parse(text).evaluate(names)


@dataclass(frozen=True, slots=True)
class Piece:
    """An expression inside a template, and the place where it begins (line from 1, column from 0)."""

    expression: Expression
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Template:
    """A scalar of a file: literal text and expressions, in order."""

    text: str
    parts: tuple[str | Piece, ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """Read a scalar; raises LanguageError with a place in `text`."""
        _refuse_traps(text)
        return cls(text, tuple(_joined(_parts(text))))

    @property
    def is_plain(self) -> bool:
        """Whether the text holds no expression."""
        return not any(isinstance(part, Piece) for part in self.parts)

    @property
    def names(self) -> frozenset[str]:
        """The names that the expressions read and do not bind themselves."""
        pieces = [part.expression.names for part in self.parts if isinstance(part, Piece)]
        return frozenset().union(*pieces)

    def evaluate(self, names: Mapping[str, object]) -> object:
        """The value: of its own type if the text is one expression, else text.

        Raises LanguageError (`expression-error`, `undefined-name`) with a place in the text.
        """
        if len(self.parts) == 1 and isinstance(self.parts[0], Piece):
            return _evaluate(self.parts[0], names)
        texts = [part if isinstance(part, str) else _format(part, names) for part in self.parts]
        if sum(map(len, texts)) > MAX_TEXT and not self.is_plain:
            raise LanguageError("expression-error", f"the text is longer than {MAX_TEXT:,} characters", 1, 0, 1, 1)
        return "".join(texts)


def _evaluate(piece: Piece, names: Mapping[str, object]) -> object:
    try:
        return piece.expression.evaluate(names)
    except LanguageError as error:
        raise error.shifted(piece.line, piece.column) from None


def _format(piece: Piece, names: Mapping[str, object]) -> str:
    value = _evaluate(piece, names)
    try:
        return as_text(value)
    except (TypeError, ValueError) as error:
        raise LanguageError.at(piece.expression.tree, "expression-error", str(error)).shifted(
            piece.line, piece.column
        ) from None


# --- text to parts ---------------------------------------------------------------------------------


def _refuse_traps(text: str) -> None:
    signed = SIGNED.fullmatch(text)
    if signed and (signed[2][0] != "(" or closing_bracket(text, signed.start(2)) == signed.end(2) - 1):
        inner = signed[2] if signed[2][0] != "(" else signed[2][1:-1]
        operand = inner if NAME.fullmatch(inner) else f"({inner})"
        raise _misplaced(text, 0, len(text), f"`{signed[1]}` before a `$` is text", f"write `$({signed[1]}{operand})`")
    used = USED.fullmatch(text)
    if used and closing_bracket(text, used.start(2)) == used.end(2) - 1:
        message = f"`{used[2][0]}` after `${used[1]}` is text"
        raise _misplaced(text, 0, len(text), message, f"write `$({used[1]}{used[2]})`")
    computed = COMPUTED.fullmatch(text)
    if computed:
        expression = re.sub(r"\$", "", text.strip())
        message = f"`{(computed[1] or computed[2]).strip()}` beside a `$` is text"
        raise _misplaced(text, 0, len(text), message, f"write `$({expression})`")


def _parts(text: str) -> Iterator[str | Piece]:
    position = 0
    while (dollar := text.find("$", position)) >= 0:
        yield text[position:dollar]
        after = text[dollar + 1 : dollar + 2]
        if after == "$":
            yield "$"
            position = dollar + 2
        elif after == "(":
            end = closing_bracket(text, dollar + 1)
            if end is None:
                raise _unbalanced(text, dollar)
            yield _piece(text, dollar + 2, end)
            position = end + 1
        elif name := NAME.match(text, dollar + 1):
            yield _piece(text, name.start(), name.end())
            position = name.end()
        else:
            message = "`$` is followed by neither a name nor `(`"
            raise _misplaced(text, dollar, dollar + 1, message, "write `$$` for a dollar sign")
    yield text[position:]


def _joined(parts: Iterator[str | Piece]) -> Iterator[str | Piece]:
    """The same parts, with neighbouring texts joined and empty ones left out."""
    pending = ""
    for part in parts:
        if isinstance(part, str):
            pending += part
            continue
        if pending:
            yield pending
        pending = ""
        yield part
    if pending:
        yield pending


def _piece(text: str, start: int, end: int) -> Piece:
    line, column = _place(text, start)
    try:
        return Piece(Expression.parse(text[start:end]), line, column)
    except LanguageError as error:
        raise error.shifted(line, column) from None


def _place(text: str, index: int) -> tuple[int, int]:
    return text.count("\n", 0, index) + 1, index - (text.rfind("\n", 0, index) + 1)


def _misplaced(text: str, start: int, end: int, message: str, help: str) -> LanguageError:
    return LanguageError("misplaced-dollar", message, *_place(text, start), *_place(text, end), help)


def _unbalanced(text: str, dollar: int) -> LanguageError:
    help = 'quote the whole value ("$(...)"): inside `{ }` and `[ ]` YAML ends an unquoted one at a comma or bracket'
    places = (*_place(text, dollar), *_place(text, len(text)))
    return LanguageError("unbalanced-expression", "the bracket of `$(` is not closed", *places, help)


# --- what an expression may say, and the names it reads --------------------------------------------


def _check_words(tree: ast.expr) -> None:
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name):
                raise LanguageError.at(node, "not-allowed-in-expression", f"`.{name}`: an expression has no attributes")
            case ast.Call(func=ast.Name(id=name)) if name not in FUNCTIONS:
                raise _unknown_function(node.func, name)
            case ast.Call(func=func) if not isinstance(func, ast.Name):
                raise LanguageError.at(func, "not-allowed-in-expression", "only a named function can be called")
            case ast.BinOp(op=ast.MatMult()):
                raise LanguageError.at(node, "not-allowed-in-expression", "`@` has no meaning between numbers")
            case ast.Constant(value=value) if value is Ellipsis:
                raise LanguageError.at(node, "not-allowed-in-expression", "`...` has no meaning in an expression")


def _unknown_function(node: ast.expr, name: str) -> LanguageError:
    near = closest(name, FUNCTIONS)
    help = f"did you mean `{near}`?" if near else "an expression may call " + ", ".join(f"`{n}`" for n in FUNCTIONS)
    return LanguageError.at(node, "unknown-function", f"`{name}` is not a function of expressions", help, near)


def _free_names(node: ast.AST, bound: frozenset[str]) -> Iterator[str]:
    match node:
        case ast.Name(id=name):
            if name not in bound:
                yield name
        case ast.Call():
            for child in [*node.args, *node.keywords]:
                yield from _free_names(child, bound)
        case ast.ListComp() | ast.DictComp() | ast.GeneratorExp():
            for generator in node.generators:
                yield from _free_names(generator.iter, bound)
                targets = {n.id for n in ast.walk(generator.target) if isinstance(n, ast.Name)}
                bound = bound | targets
                for condition in generator.ifs:
                    yield from _free_names(condition, bound)
            for element in [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]:
                yield from _free_names(element, bound)
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _free_names(child, bound)
