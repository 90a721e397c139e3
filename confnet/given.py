"""What a caller gives for a spec, and how a caller sees its errors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from confnet.diagnostics import ConfnetError, Diagnostic
from confnet.limits import Limits
from confnet.loading import Spec, load_file, load_text, located
from confnet.render import render_text
from confnet.source import Source, parse, to_text

__all__ = ["SourceLike", "located_in", "rendering", "spec_from"]

T = TypeVar("T")

SourceLike = str | os.PathLike[str] | IO[str] | Mapping[str, Any] | Spec
"""A path (a `str` is always one), an open text file, a mapping of plain values, or what `load` returned."""


def spec_from(source: SourceLike, limits: Limits) -> Spec:
    """The spec that a caller means. Raises ConfnetError, TypeError for what is none."""
    if not isinstance(limits, Limits):
        raise TypeError(f"`limits` is a confnet.Limits, not {type(limits).__name__}")
    if isinstance(source, Spec):
        return source
    if isinstance(source, Mapping):
        return load_text(to_text(source), "<mapping>", limits)
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        if not isinstance(name, str):
            raise TypeError("a path is text, not bytes")
        return load_file(Path(name), name, limits)
    if hasattr(source, "read"):
        name = getattr(source, "name", "<text>")
        text = source.read()
        if not isinstance(text, str):
            raise TypeError("the file must be open for text, not bytes")
        return load_text(text, name if isinstance(name, str) else "<text>", limits)
    raise TypeError(f"a spec is a path, an open text file, a mapping or a Spec, not {type(source).__name__}")


def located_in(
    diagnostics: Iterable[Diagnostic], sources: Mapping[str, str], known: Mapping[str, Source]
) -> tuple[Diagnostic, ...]:
    """The same diagnostics, sorted, each with the path of the value it stands in; `known` are sources as read."""
    diagnostics = tuple(diagnostics)
    read = dict(known)
    for file in {d.span.file for d in diagnostics if d.span is not None and not d.path} - read.keys():
        # What cannot be read is what the diagnostic is about.
        with suppress(ConfnetError, KeyError):
            read[file] = parse(sources[file], file)
    return located(diagnostics, read)


def rendering(run: Callable[[], T]) -> T:
    """Run a stage; a ConfnetError that leaves it reads as the command would print it."""
    try:
        return run()
    except ConfnetError as error:
        error.diagnostics = located_in(error.diagnostics, error.sources, {})
        error.rendered = render_text(error.diagnostics, error.sources)
        raise
