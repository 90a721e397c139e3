"""The files that an editor has open: their text, their outline, and what is known of them."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from confnet.blocks import PREFIX, block_text
from confnet.diagnostics import Diagnostic, Fix, Note, Span
from confnet.limits import DEFAULT_LIMITS
from confnet.lsp.answers import Answer, Seen
from confnet.lsp.names import File, Names
from confnet.lsp.outline import Outline
from confnet.lsp.positions import Text

__all__ = ["Content", "Document", "Files", "Shift", "is_confnet"]

_HEADER = re.compile(r"""^(?:\{\s*)?(?:confnet|"confnet"|'confnet')\s*:""", re.MULTILINE)


def is_confnet(text: str, language: str) -> bool:
    """Whether a document is confnet's: it says so, or its editor does."""
    return language == "confnet" or _HEADER.search(text) is not None


class Content:
    """A text with its outline, made when somebody asks."""

    def __init__(self, name: str, text: str, encoding: str = "utf-16") -> None:
        self.name = name
        self.text = Text(text, encoding)

    @cached_property
    def outline(self) -> Outline:
        """The outline of the text."""
        return Outline(self.text.lines)

    @cached_property
    def file(self) -> File:
        """The same as a file that names are looked up in."""
        return File(self.name, self.outline)


class Shift:
    """Where lines went from one text to another that differs in one stretch of lines."""

    def __init__(self, before: list[str], after: list[str]) -> None:
        shortest = min(len(before), len(after))
        self.first = next((i for i in range(shortest) if before[i] != after[i]), shortest)
        most = shortest - self.first
        same = next((i for i in range(most) if before[-1 - i] != after[-1 - i]), most)
        self.last = len(before) - same
        self.by = len(after) - len(before)

    def line(self, line: int) -> int | None:
        """The new number of a line (from 0), or None if it was changed."""
        if line < self.first:
            return line
        return line + self.by if line >= self.last else None

    def span(self, span: Span) -> Span | None:
        """The new place of a span that was not touched."""
        start = self.line(span.line - 1)
        if start is None:
            return None
        moved = start + 1 - span.line
        return replace(span, line=span.line + moved, end_line=span.end_line + moved)

    def diagnostic(self, found: Diagnostic, file: str) -> Diagnostic | None:
        """A diagnostic of a file at its new place."""
        if found.span is None or found.span.file != file:
            return found
        span = self.span(found.span)
        if span is None:
            return None
        notes = tuple(self._note(note, file) for note in found.notes)
        return replace(found, span=span, notes=notes, fix=self._fix(found.fix, file))

    def _note(self, note: Note, file: str) -> Note:
        if note.span is None or note.span.file != file:
            return note
        return Note(note.message, self.span(note.span))

    def _fix(self, fix: Fix | None, file: str) -> Fix | None:
        if fix is None or fix.span.file != file:
            return fix
        span = self.span(fix.span)
        return Fix(span, fix.text) if span is not None else None

    def seen(self, found: Iterable[Seen], file: str) -> tuple[Seen, ...]:
        """Shapes at their new places; those of changed lines are left out."""
        moved = ((each, self.span(each.span) if each.span.file == file else each.span) for each in found)
        return tuple(replace(each, span=span) for each, span in moved if span is not None)


@dataclass(eq=False)
class Document:
    """A file that is open. `checked` is the text that `structure` is about, `shaped` the one that the shapes are of."""

    uri: str
    path: str | None
    language: str
    version: int
    content: Content
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    structure: Answer | None = None
    checked: Content | None = None
    shapes: Answer | None = None
    locals: tuple[Seen, ...] = ()
    shaped: Content | None = None
    published: dict[str, list[Diagnostic]] = field(default_factory=dict)
    texts: dict[str, Text] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the file in diagnostics."""
        return self.path or "<text>"

    @property
    def folder(self) -> str | None:
        """The folder of the file."""
        return os.path.dirname(self.path) if self.path is not None else None

    @property
    def too_large(self) -> bool:
        """Whether the text is refused."""
        return len(self.content.text.text) > DEFAULT_LIMITS.file_bytes

    def replaced(self, text: str, version: int, encoding: str) -> None:
        """Take another text."""
        self.content = Content(self.name, text, encoding)
        self.version = version

    def values(self) -> tuple[Seen, ...]:
        """The shapes of modules, where the lines still stand as they were."""
        if self.shapes is None or self.shaped is None:
            return ()
        return self._shift(self.shaped).seen(self.shapes.values, self.name)

    def names_shapes(self) -> tuple[Seen, ...]:
        """The shapes of names in code, likewise."""
        return self._shift(self.shaped).seen(self.locals, self.name) if self.shaped is not None else ()

    def diagnostics(self) -> list[Diagnostic]:
        """What is known to be wrong, at the places where it stands now."""
        found: list[Diagnostic] = []
        answer, about = self.structure, self.checked
        if answer is not None and about is not None:
            shift = self._shift(about)
            found += [moved for each in answer.diagnostics if (moved := shift.diagnostic(each, self.name)) is not None]
        if self.shapes is not None and self.shaped is not None and not any(d.severity == "error" for d in found):
            shift = self._shift(self.shaped)
            known = {(each.code, each.message, each.span) for each in found}
            for each in self.shapes.diagnostics:
                moved = shift.diagnostic(each, self.name)
                if moved is not None and (moved.code, moved.message, moved.span) not in known:
                    found.append(moved)
        return sorted(found, key=Diagnostic.sort_key)

    def _shift(self, about: Content) -> Shift:
        if about is self.content:
            return Shift([], [])
        return Shift(about.text.lines, self.content.text.lines)


class Files:
    """Files that others include, as outlines: as the editor has them, else as the disk has them now."""

    def __init__(self, opened: Callable[[str], Document | None]) -> None:
        self.opened = opened
        self.known: dict[str, tuple[tuple[int, int], File]] = {}

    def names(self, document: Document) -> Names:
        """The names of a document and of what it includes."""
        return Names(document.content.file, self.read)

    def read(self, file: File, include: str) -> File | None:
        """The file that an include of a file names, or None."""
        if include.startswith(PREFIX):
            return self._shipped(include)
        if not include or file.name.startswith(("<", PREFIX)):
            return None
        path = os.path.normpath(os.path.join(os.path.dirname(file.name), include))
        document = self.opened(path)
        if document is not None:
            return document.content.file
        try:
            found = os.stat(path)
            stamp = (found.st_mtime_ns, found.st_size)
            known = self.known.get(path)
            if known is not None and known[0] == stamp:
                return known[1]
            if found.st_size > DEFAULT_LIMITS.file_bytes or not os.path.isfile(path):
                return None
            text = Path(path).read_text(encoding="utf-8-sig")
        except (OSError, ValueError):
            return None
        made = Content(path, text).file
        self.known[path] = stamp, made
        return made

    def _shipped(self, name: str) -> File | None:
        if name not in self.known:
            try:
                self.known[name] = (0, 0), Content(name, block_text(name)).file
            except KeyError:
                return None
        return self.known[name][1]


def texts_of(sources: Mapping[str, str], encoding: str) -> dict[str, Text]:
    """Texts of files, to count places in."""
    return {name: Text(text, encoding) for name, text in sources.items()}
