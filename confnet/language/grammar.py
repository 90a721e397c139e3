"""The one expression grammar: text to a checked syntax tree, for `$` values and for code alike.

A tree that leaves this module holds allowed nodes only, is small and shallow, and counts its columns in
characters. What names may stand in it is decided by `confnet.language.expressions` and `confnet.language.checker`.
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Literal

from confnet.language.errors import LanguageError, lowered, syntax_error

__all__ = ["LanguageError", "Mode", "closing_bracket", "compiler_errors", "parse", "read"]

Mode = Literal["expression", "block"]

MAX_TEXT = 100_000
MAX_BRACKETS = 90
MAX_PREFIXES = 50
MAX_NODES = 10_000
MAX_DEPTH = 100
MAX_INTEGER = 2**63


# --- before ast.parse ------------------------------------------------------------------------------
# `ast.parse` answers deep input with a MemoryError or a RecursionError, so a linear scan caps nesting first.

TOKEN = re.compile(
    r"""(?P<string>'''(?:[^\\]|\\.)*?'''|\"\"\"(?:[^\\]|\\.)*?\"\"\"|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")
      | (?P<comment>\#[^\n]*)
      | (?P<open>[(\[{]) | (?P<close>[)\]}])
      | (?P<dollar>\$)
      | (?P<prefix>[-+~]|(?:not|lambda|await|yield)\b)
      | (?P<space>\s+)
      | (?P<other>\w+|.)""",
    re.VERBOSE | re.DOTALL,
)
CLOSERS = {"(": ")", "[": "]", "{": "}"}
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


def closing_bracket(text: str, start: int) -> int | None:
    """The index of the bracket that closes the one at `start`, strings respected, or None if nothing does."""
    stack: list[str] = []
    for token in TOKEN.finditer(text, start):
        if token.lastgroup == "open":
            stack.append(CLOSERS[token[0]])
        elif token.lastgroup == "close":
            if stack.pop() != token[0]:
                return None
            if not stack:
                return token.start()
    return None


def _error_at(text: str, index: int, code: str, message: str, help: str = "", length: int = 1) -> LanguageError:
    line = text.count("\n", 0, index) + 1
    column = index - (text.rfind("\n", 0, index) + 1)
    return LanguageError(code, message, line, column, line, column + length, help)


def _scan(text: str) -> None:
    if len(text) > MAX_TEXT:
        raise _error_at(text, 0, "code-too-long", f"code is longer than {MAX_TEXT:,} characters")
    if not text.strip():
        raise _error_at(text, 0, "empty-code", "there is nothing here to evaluate")
    bad = CONTROL.search(text)
    if bad:
        raise _error_at(text, bad.start(), "invalid-syntax", f"control character {bad[0]!r} in code")
    opened: list[int] = []
    prefixes = 0
    for token in TOKEN.finditer(text):
        kind = token.lastgroup
        if kind in ("space", "comment"):
            continue
        prefixes = prefixes + 1 if kind == "prefix" else 0
        if len(opened) > MAX_BRACKETS or prefixes > MAX_PREFIXES:
            raise _error_at(text, token.start(), "code-too-deep", "code is nested too deeply")
        if kind == "open":
            opened.append(token.start())
        elif kind == "close" and (not opened or CLOSERS[text[opened.pop()]] != token[0]):
            raise _error_at(text, token.start(), "invalid-syntax", f"unmatched `{token[0]}`")
        elif kind == "dollar":
            name = re.match(r"\$\(?\s*(\w*)", text[token.start() :])
            word = name[1] if name else ""
            help = f"write `{word}`: args are plain names in code" if word else "args are plain names in code"
            raise _error_at(text, token.start(), "dollar-in-code", "`$` has no meaning in code", help)
    if opened:
        bracket = text[opened[-1]]
        help = f"write the `{CLOSERS[bracket]}` that closes it"
        raise _error_at(text, opened[-1], "invalid-syntax", f"`{bracket}` is never closed", help)


# --- ast.parse, and columns in characters ----------------------------------------------------------


def read(text: str, mode: Mode = "expression") -> tuple[ast.Expression | ast.Module, list[LanguageError]]:
    """Parse `text` and return the tree with every construct in it that the language does not have.

    Raises LanguageError where there is no tree to return: syntax errors and excess of size or depth.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    _scan(text)
    tree = _parse(text, mode)
    _count_in_characters(tree, text, shift=1 if mode == "expression" else 0)
    _cap(tree)
    return tree, sorted(_refusals(tree), key=lambda error: (error.line, error.column))


def parse(text: str, mode: Mode = "expression") -> ast.Expression | ast.Module:
    """The checked tree of `text`; raises the first LanguageError in it."""
    tree, errors = read(text, mode)
    if errors:
        raise errors[0]
    return tree


def _parse(text: str, mode: Mode) -> ast.Expression | ast.Module:
    # Brackets round an expression let it begin with a space and go over lines; `_scan` has seen that they balance.
    source = f"({text}\n)" if mode == "expression" else text
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if mode == "expression":
                return ast.parse(source, mode="eval")
            return ast.parse(source, mode="exec")
    except SyntaxError as error:
        raise syntax_error(error, text, shift=1 if mode == "expression" else 0) from None
    except (MemoryError, RecursionError):
        raise _error_at(text, 0, "code-too-deep", "code is nested too deeply") from None
    except ValueError as error:
        raise _error_at(text, 0, "invalid-syntax", lowered(str(error))) from None


def _count_in_characters(tree: ast.AST, text: str, shift: int) -> None:
    if not shift and text.isascii():  # bytes are characters
        return
    lines = [line.encode() for line in text.split("\n")]
    for node in ast.walk(tree):
        if not isinstance(node, ast.expr | ast.stmt | ast.keyword):
            continue
        node.lineno, node.col_offset = _place(lines, node.lineno, node.col_offset, shift)
        if node.end_lineno is not None and node.end_col_offset is not None:
            node.end_lineno, node.end_col_offset = _place(lines, node.end_lineno, node.end_col_offset, shift)


def _place(lines: list[bytes], line: int, offset: int, shift: int) -> tuple[int, int]:
    if line > len(lines):  # the closing bracket that `_parse` added
        return len(lines), len(lines[-1].decode())
    offset = max(offset - (shift if line == 1 else 0), 0)
    return line, len(lines[line - 1][:offset].decode(errors="ignore"))


def _children(node: ast.AST) -> list[ast.AST]:
    """What `ast.iter_child_nodes` gives, in a third of the time."""
    found: list[ast.AST] = []
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, ast.AST):
            found.append(value)
        elif isinstance(value, list):
            found += [item for item in value if isinstance(item, ast.AST)]
    return found


def _cap(tree: ast.AST) -> None:
    count = 0
    stack: list[tuple[ast.AST, int, ast.AST]] = [(tree, 0, tree)]
    while stack:
        node, depth, placed = stack.pop()
        if isinstance(node, ast.expr_context | ast.operator | ast.unaryop | ast.boolop | ast.cmpop):
            continue
        placed = node if hasattr(node, "lineno") else placed
        count += 1
        if depth > MAX_DEPTH:
            raise LanguageError.at(placed, "code-too-deep", f"code is nested deeper than {MAX_DEPTH} levels")
        if count > MAX_NODES:
            raise LanguageError.at(placed, "code-too-long", f"code has more than {MAX_NODES:,} parts")
        stack.extend([(child, depth + 1, placed) for child in _children(node)])


# --- what the compiler of Python refuses of a tree that its parser made -----------------------------


def compiler_errors(body: Sequence[ast.stmt], text: str) -> list[LanguageError]:
    """What keeps a checked body from being compiled; the compiler is asked, so that no limit of it is missed."""
    arguments = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
    function = ast.FunctionDef(name="body", args=arguments, body=list(body), decorator_list=[])
    tree = ast.Module(body=[ast.copy_location(function, body[0])], type_ignores=[])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(tree, "<code>", "exec", dont_inherit=True)
    except SyntaxError as error:
        if "loop" in error.msg:
            return []  # `break` outside of a loop, which the checker tells
        return [syntax_error(error, text.replace("\r\n", "\n").replace("\r", "\n"), shift=0)]
    except (MemoryError, RecursionError, OverflowError):
        return [_error_at(text, 0, "code-too-deep", "code is nested too deeply")]
    return []


# --- what the language has -------------------------------------------------------------------------

ALLOWED: frozenset[type[ast.AST]] = frozenset(
    {
        ast.Module,
        ast.Expression,
        ast.Assign,
        ast.AugAssign,
        ast.Return,
        ast.If,
        ast.For,
        ast.Break,
        ast.Continue,
        ast.Assert,
        ast.With,
        ast.withitem,
        ast.Pass,
        ast.Expr,
        ast.BoolOp,
        ast.BinOp,
        ast.UnaryOp,
        ast.IfExp,
        ast.Compare,
        ast.Call,
        ast.keyword,
        ast.Constant,
        ast.Name,
        ast.Attribute,
        ast.Subscript,
        ast.Slice,
        ast.Starred,
        ast.List,
        ast.Tuple,
        ast.Dict,
        ast.ListComp,
        ast.DictComp,
        ast.GeneratorExp,
        ast.comprehension,
        ast.Load,
        ast.Store,
        ast.And,
        ast.Or,
        ast.Not,
        ast.Invert,
        ast.UAdd,
        ast.USub,
        ast.Add,
        ast.Sub,
        ast.Mult,
        ast.MatMult,
        ast.Div,
        ast.FloorDiv,
        ast.Mod,
        ast.Pow,
        ast.LShift,
        ast.RShift,
        ast.BitAnd,
        ast.BitOr,
        ast.BitXor,
        ast.Eq,
        ast.NotEq,
        ast.Lt,
        ast.LtE,
        ast.Gt,
        ast.GtE,
        ast.Is,
        ast.IsNot,
        ast.In,
        ast.NotIn,
    }
)

REFUSED: dict[str, tuple[str, str]] = {
    "While": ("`while` loops", "loop with `for`, over a range or a container"),
    "Lambda": ("`lambda` functions", "write the expression where it is used, or a method under `methods`"),
    "JoinedStr": ("f-strings", "code does not format text, because a format can call code; leave the values out"),
    "FormattedValue": ("f-strings", ""),
    "Await": ("`await`", ""),
    "Yield": ("`yield`", "collect the values in a list and return it"),
    "YieldFrom": ("`yield from`", "collect the values in a list and return it"),
    "NamedExpr": ("`:=`", "assign on a line of its own"),
    "Set": ("set displays", "write a list or a tuple"),
    "SetComp": ("set comprehensions", "write a list comprehension"),
    "FunctionDef": ("function definitions", "declare it under `methods`"),
    "AsyncFunctionDef": ("function definitions", "declare it under `methods`"),
    "ClassDef": ("classes", "declare a module under `modules`"),
    "Import": ("`import`", "`torch`, `F` and `math` are there; a caller registers other functions"),
    "ImportFrom": ("`import`", "`torch`, `F` and `math` are there; a caller registers other functions"),
    "Global": ("`global`", ""),
    "Nonlocal": ("`nonlocal`", ""),
    "Delete": ("`del`", "leave it out: locals end with the call"),
    "Try": ("`try`", ""),
    "TryStar": ("`try`", ""),
    "Raise": ("`raise`", 'write `assert condition, "text"`'),
    "AnnAssign": ("annotations", "leave the annotation out"),
    "AsyncFor": ("`async`", ""),
    "AsyncWith": ("`async`", ""),
    "Match": ("`match`", "write `if` and `elif`"),
}


def _refusals(tree: ast.AST) -> Iterator[LanguageError]:
    """Everything in the tree that the language does not have; nothing below a refused node is reported again."""
    starred: set[int] = set()
    ellipses: set[int] = set()
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        _note_positions(node, starred, ellipses)
        error = _refusal(node, starred, ellipses)
        if error is None:
            stack.extend(_children(node))
        else:
            yield error


def _note_positions(node: ast.AST, starred: set[int], ellipses: set[int]) -> None:
    """Remember where among the children of `node` a `*` or a `...` may stand."""
    match node:
        case ast.Call(args=items) | ast.List(elts=items, ctx=ast.Load()) | ast.Tuple(elts=items, ctx=ast.Load()):
            starred.update(id(item) for item in items)
        case ast.Subscript(slice=ast.Tuple(elts=items)):
            ellipses.update(id(item) for item in items)
        case ast.Subscript(slice=index):
            ellipses.add(id(index))


def _refusal(node: ast.AST, starred: set[int], ellipses: set[int]) -> LanguageError | None:
    if type(node) not in ALLOWED:
        words, help = REFUSED.get(type(node).__name__, (f"`{type(node).__name__}`", ""))
        return _not_allowed(node, words, help)
    match node:
        case ast.Starred() if id(node) not in starred:
            return _not_allowed(node, "`*` here", "`*` stands in calls and in list and tuple displays")
        case ast.Constant(value=value):
            return _constant_refusal(node, value, id(node) in ellipses)
        case ast.keyword(arg=None):
            return _not_allowed(node, "`**` arguments", "pass each argument by its name")
        case ast.Dict(keys=keys) if any(not _is_text(key) for key in keys):
            return _not_allowed(node, "dict keys other than text", 'write `{"name": value}`')
        case ast.comprehension(is_async=1):
            return _not_allowed(node.target, "`async`", "")
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)) if name.startswith("__"):
            return LanguageError.at(node, "not-allowed-in-code", f"names that begin with `__` do not exist: `{name}`")
    return None


def _is_text(key: ast.expr | None) -> bool:
    return isinstance(key, ast.Constant) and isinstance(key.value, str)


def _constant_refusal(node: ast.Constant, value: object, may_be_ellipsis: bool) -> LanguageError | None:
    if value is Ellipsis:
        return None if may_be_ellipsis else _not_allowed(node, "`...` outside of an index", "")
    if isinstance(value, bytes):
        return _not_allowed(node, "byte strings", "")
    if isinstance(value, complex):
        return _not_allowed(node, "complex constants", "use `torch.complex`")
    if isinstance(value, int) and not -MAX_INTEGER <= value < MAX_INTEGER:
        return _not_allowed(node, "integers of more than 64 bits", "")
    if isinstance(value, float) and not math.isfinite(value):
        return _not_allowed(node, "numbers too large for a float", "write `math.inf`")
    return None


def _not_allowed(node: ast.AST, words: str, help: str) -> LanguageError:
    verb = "is" if words.startswith("`") and not words.endswith("s") else "are"
    return LanguageError.at(node, "not-allowed-in-code", f"{words} {verb} not allowed in code", help)
