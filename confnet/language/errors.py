"""One mistake in an expression or in code, and Python's own syntax errors in such words."""

from __future__ import annotations

import ast
import re

__all__ = ["LanguageError", "lowered", "syntax_error"]


class LanguageError(Exception):
    """One mistake in an expression or in code, at a place of its text.

    Lines count from 1, columns from 0 and in characters; the end column is exclusive. `meant` is the text that mends it
    if it takes the place of what stands there.
    """

    def __init__(
        self,
        code: str,
        message: str,
        line: int,
        column: int,
        end_line: int,
        end_column: int,
        help: str = "",
        meant: str | None = None,
    ) -> None:
        super().__init__(code, message, line, column, end_line, end_column, help, meant)
        self.code = code
        self.message = message
        self.line = line
        self.column = column
        self.end_line = end_line
        self.end_column = end_column
        self.help = help
        self.meant = meant

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.code}: {self.message}"

    @classmethod
    def at(cls, node: ast.AST, code: str, message: str, help: str = "", meant: str | None = None) -> LanguageError:
        """The error at the place of a node of a tree that `parse` returned."""
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        end_line, end_column = getattr(node, "end_lineno", line), getattr(node, "end_col_offset", column)
        return cls(code, message, line, column, end_line, end_column, help, meant)

    def shifted(self, line: int, column: int) -> LanguageError:
        """The same error in a longer text, where the text that it speaks of begins at `line`, `column`."""
        return LanguageError(
            self.code,
            self.message,
            self.line + line - 1,
            self.column + (column if self.line == 1 else 0),
            self.end_line + line - 1,
            self.end_column + (column if self.end_line == 1 else 0),
            self.help,
            self.meant,
        )


def syntax_error(error: SyntaxError, text: str, shift: int) -> LanguageError:
    """Python's own complaint in the words and at the place of confnet."""
    lines = text.split("\n")
    line = min(max(error.lineno or 1, 1), len(lines))
    if any(words in error.msg for words in ("too many statically nested", "too many levels of indentation")):
        width = len(lines[line - 1])
        place = (line, _indent(lines[line - 1]), line, width)
        return LanguageError("code-too-deep", "code is nested too deeply", *place, "move the inner loops into a method")
    if "indent" in error.msg:  # Python points before the statement
        column, end_column = _indent(lines[line - 1]), len(lines[line - 1].rstrip())
    else:
        column = (error.offset or 1) - 1 - (shift if line == 1 else 0)
        column = min(max(column, 0), len(lines[line - 1]))
        end_column = (error.end_offset or 0) - 1 - (shift if line == 1 else 0)
    if error.end_lineno != line or end_column <= column:
        end_column = max(column + 1, end_column if "indent" in error.msg else 0)
    message, help = _reworded(error.msg)
    code = "duplicate-argument" if message.startswith("the argument") else "invalid-syntax"
    return LanguageError(code, message, line, column, line, end_column, help)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


ADVICE = re.compile(r"(?:\. |, |; )(?=(?:maybe|perhaps) you|use )", re.IGNORECASE)


def _reworded(words: str) -> tuple[str, str]:
    """What Python says of a syntax error as a message and a help."""
    if words.startswith("keyword argument repeated: "):
        return f"the argument `{words.rpartition(' ')[2]}` is given twice", "remove one of them"
    if words.startswith("Exceeds the limit"):
        return "integers of more than 64 bits are not allowed in code", ""
    if words.startswith("Missing parentheses"):
        return lowered(words.split(". ")[0]).replace("'", "`"), ""
    fact, *advice = ADVICE.split(words, maxsplit=1)
    fact = re.sub(r" on line \d+$| \(detected at line \d+\)$", "", fact)  # lines of the code, not of the file
    message = "this is not valid code" if fact.startswith("invalid syntax") else lowered(fact)
    help = lowered(advice[0]) if advice else ""
    if "forgot a comma" in help:
        help = "a comma or an operator may be missing"
    elif "==" in help:
        help = "compare with `==`"
    elif "expected an indented block" in message:
        help = "indent the lines of the block"
    elif "indent" in message:
        help = "lines of one block begin in the same column"
    return message.replace("'", "`"), help.replace("'", "`")


def lowered(message: str) -> str:
    """A sentence of Python as the message of a diagnostic."""
    return (message[:1].lower() + message[1:]).rstrip(".")
