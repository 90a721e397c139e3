"""What the server asks its worker, and what it hears: plain data that crosses between processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from confnet.diagnostics import Diagnostic, Span

__all__ = ["Answer", "Job", "Seen"]


@dataclass(frozen=True, slots=True)
class Job:
    """A text to look at: its structure (no torch), its shapes (all that `validate` does), or the shapes of locals.

    `path` is where the file stands, None for a text that is no file; `others` are files as the editor has them.
    """

    kind: Literal["structure", "shapes", "locals"]
    path: str | None
    text: str
    others: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    """A value whose shape is known, where it comes from: a module's (the dotted name), or a name's in code."""

    name: str
    module: str
    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Diagnostics with the texts they point into, shapes of modules and of names in code, the model's in a line.

    `files` are all files that were read.
    """

    diagnostics: tuple[Diagnostic, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    values: tuple[Seen, ...] = ()
    locals: tuple[Seen, ...] = ()
    summary: tuple[str, ...] = ()
