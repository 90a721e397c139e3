"""What confnet has to say about a file: spans, diagnostics and the one error that carries them.

Errors are data first and text last: a stage of the pipeline reports `Diagnostic`s, and `confnet.render` turns
them into text or JSON. Nothing here knows YAML, Pydantic or torch.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Literal

from confnet.records import dataclass

__all__ = ["Collector", "ConfnetError", "Diagnostic", "Fix", "Note", "Span", "closest"]

Severity = Literal["error", "warning", "note"]

MAX_DIAGNOSTICS = 1_000
MAX_REPORTED = 5_000
MAX_TEXT = 1_000
"""Texts longer than this quote something of a file that nobody would read to its end."""
MAX_QUOTE = 80
MAX_COMPARED = 100_000


@dataclass(frozen=True, slots=True)
class Span:
    """A range of text: `file` as the user named it, lines and columns counted from 1, the end exclusive in columns."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Note:
    """A further fact about a diagnostic, with the place it speaks of, if it has one."""

    message: str
    span: Span | None = None

    def __post_init__(self) -> None:
        if len(self.message) > MAX_TEXT:
            object.__setattr__(self, "message", _shortened(self.message))


@dataclass(frozen=True, slots=True)
class Fix:
    """An edit that does what the help of a diagnostic says: `text` in place of what stands at `span`."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One fact about a file.

    `message` says what is wrong in lower case without a final period; only `help` says what to do about it.
    `path` is the place inside the document (`modules.Block.children.conv1`), `span` the place in the text,
    `label` a short remark under the underlined text. `fix` does what `help` says, where that is certain.
    """

    code: str
    message: str
    path: str = ""
    span: Span | None = None
    label: str = ""
    notes: tuple[Note, ...] = ()
    help: str = ""
    severity: Severity = "error"
    fix: Fix | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for name in ("message", "path", "help"):
            text = getattr(self, name)
            if len(text) > MAX_TEXT:
                object.__setattr__(self, name, _shortened(text))

    def sort_key(self) -> tuple[str, int, int, str, str]:
        """Order of a report: by file, then place, then code."""
        if self.span is None:
            return ("", 0, 0, self.code, self.message)
        return (self.span.file, self.span.line, self.span.column, self.code, self.message)


def _shortened(text: str) -> str:
    """A text whose quotes, and then whose end, are cut to what a person reads."""
    text = re.sub(rf"`([^`]{{{MAX_QUOTE}}})[^`]+(?:`|\Z)", r"`\1...`", text)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."


class ConfnetError(Exception):
    """A user's mistake. `diagnostics` holds everything the failed stage found, sorted by place.

    `sources` maps each file name that a span may hold to the text of that file, so that whoever shows the
    error can excerpt it. `rendered` is the text a person reads; `str(error)` gives it.
    """

    def __init__(self, diagnostics: Iterable[Diagnostic], sources: Mapping[str, str] | None = None) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(sorted(diagnostics, key=Diagnostic.sort_key))
        self.sources: dict[str, str] = dict(sources or {})
        self.rendered: str = ""
        super().__init__(self.diagnostics)

    def __str__(self) -> str:
        if self.rendered:
            return self.rendered
        return "\n".join(
            f"{d.span}: {d.severity}[{d.code}]: {d.message}" if d.span else f"{d.severity}[{d.code}]: {d.message}"
            for d in self.diagnostics
        )

    def __reduce__(self) -> tuple[object, ...]:
        return (_restore_error, (self.diagnostics, self.sources, self.rendered))


def _restore_error(diagnostics: tuple[Diagnostic, ...], sources: dict[str, str], rendered: str) -> ConfnetError:
    error = ConfnetError(diagnostics, sources)
    error.rendered = rendered
    return error


@dataclass(slots=True)
class Collector:
    """Diagnostics gathered while a stage runs; the same fact at the same place is kept once.

    After `MAX_DIAGNOSTICS` of them the stage ends: nobody reads more, and a file could ask for millions. It ends as
    well when the same ones are told over and over, as by a repeat whose module is wrong.
    """

    found: dict[tuple[str, str, Span | None], Diagnostic] = field(default_factory=dict)
    reported: int = 0
    compared: int = 0

    def add(
        self,
        code: str,
        message: str,
        span: Span | None,
        *,
        path: str = "",
        label: str = "",
        notes: Iterable[Note] = (),
        help: str = "",
        severity: Severity = "error",
        fix: Fix | str | None = None,
    ) -> None:
        """Record one diagnostic, unless it is recorded already. Raises ConfnetError when there are too many.

        A `fix` that is a text takes the place of what stands at `span`.
        """
        edit = Fix(span, fix) if isinstance(fix, str) and span is not None else fix
        edit = None if isinstance(edit, str) else edit
        self.report(Diagnostic(code, message, path, span, label, tuple(notes), help, severity, edit))

    def report(self, diagnostic: Diagnostic) -> None:
        """The same for a finished diagnostic. Raises ConfnetError when there are too many."""
        if len(self.found) >= MAX_DIAGNOSTICS and diagnostic.severity != "error":
            return  # a file is not refused for its warnings, however many
        self.found.setdefault((diagnostic.code, diagnostic.message, diagnostic.span), diagnostic)
        self.reported += diagnostic.severity == "error"
        if self.reported > MAX_REPORTED:
            raise ConfnetError(self.found.values())
        if len(self.found) > MAX_DIAGNOSTICS:
            message = f"there are more than {MAX_DIAGNOSTICS:,} diagnostics"
            last = Diagnostic("too-many-errors", message, span=diagnostic.span)
            raise ConfnetError([*self.found.values(), last])

    def forget_after(self, count: int) -> None:
        """Keep only the first `count` of what is recorded."""
        for key in list(self.found)[count:]:
            del self.found[key]

    def closest(self, word: str, candidates: Iterable[str]) -> str | None:
        """What `closest` finds, as long as the stage has not compared too many words: then None."""
        if self.compared > MAX_COMPARED:
            return None
        words = list(candidates)
        self.compared += len(words)
        return closest(word, words) if self.compared <= MAX_COMPARED else None

    def sorted(self) -> tuple[Diagnostic, ...]:
        """Everything recorded, by place."""
        return tuple(sorted(self.found.values(), key=Diagnostic.sort_key))

    @property
    def has_errors(self) -> bool:
        """Whether anything recorded forbids the next stage."""
        return any(d.severity == "error" for d in self.found.values())

    def raise_errors(self, sources: Mapping[str, str]) -> None:
        """Raise one `ConfnetError` with everything recorded if any of it is an error."""
        if self.has_errors:
            raise ConfnetError(self.found.values(), sources)


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `word` was most likely meant to be, or None when none is near.

    Near are words a slip of the hand away (a letter more, less, other or swapped with its neighbour), two slips in
    longer words, and long words that share most of their text.
    """
    if len(word) > MAX_QUOTE:  # no slip of the hand, and long to compare
        return None
    folded: dict[str, str] = {}
    for candidate in candidates:
        folded.setdefault(candidate.casefold(), candidate)
    meant = word.casefold()
    if meant in folded:
        return folded[meant]
    if len(folded) > MAX_CANDIDATES:  # a file with thousands of names: those that begin alike are compared
        alike = [other for other in folded if other[:2] == meant[:2]][:MAX_CANDIDATES]
        folded = {other: folded[other] for other in alike}
    slips = [(count, other) for other in folded if (count := _slips(meant, other)) is not None]
    if slips:
        return folded[min(slips, key=lambda found: found[0])[1]]
    if len(meant) < SHARED_TEXT_FROM:
        return None
    found = difflib.get_close_matches(meant, [c for c in folded if len(c) >= SHARED_TEXT_FROM], n=1, cutoff=0.7)
    return folded[found[0]] if found else None


SHARED_TEXT_FROM = 6
MAX_CANDIDATES = 400


def _is_another_word(one: str, two: str) -> bool:
    """Whether two words of three letters differ as words do (`pop`, `pow`), and not by a slip or a digit."""
    differing = [pair for pair in zip(one, two, strict=False) if pair[0] != pair[1]]
    if len(one) != len(two):
        return one[0] != two[0]
    return len(differing) == 1 and not any(letter.isdigit() for letter in differing[0])


def _slips(one: str, two: str) -> int | None:
    """How many slips lie between two words, or None where they are too many for words of this length."""
    longer = max(len(one), len(two))
    most = 0 if longer < 3 else 1 if longer < 6 else 2
    if abs(len(one) - len(two)) > most or (longer == 3 and _is_another_word(one, two)):
        return None
    before: list[int] = []
    row = list(range(len(two) + 1))
    for i, a in enumerate(one, 1):
        beyond, before, row = before, row, [i]
        for j, b in enumerate(two, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == two[j - 2] and b == one[i - 2]:
                cost = min(cost, beyond[j - 2] + 1)
            row.append(cost)
        if min(row) > most and min(before) > most:
            return None
    return row[-1] if row[-1] <= most else None
