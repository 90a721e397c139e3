"""A piece of code in a file: its text and where its lines stand."""

from __future__ import annotations

from typing import Literal

from confnet.diagnostics import Span
from confnet.records import dataclass

__all__ = ["Code"]


@dataclass(frozen=True, slots=True)
class Code:
    """Code as written, with its place.

    Line k (from 0), column c (from 0) of `text` stands in the file at line `first_line + k`, column
    `indent + c + 1`. `form` says what may be written: a `body` is statements that may return; a `value` is one
    expression, or a block of statements that ends in `return`.
    """

    text: str
    file: str
    first_line: int
    indent: int
    span: Span
    form: Literal["body", "value"] = "body"

    def span_at(self, line: int, column: int, end_line: int, end_column: int) -> Span:
        """The span in the file of a range of the text (lines from 1, columns from 0, as `ast` counts them)."""
        return Span(
            self.file,
            self.first_line + line - 1,
            self.indent + column + 1,
            self.first_line + end_line - 1,
            self.indent + end_column + 1,
        )
