"""A file and the files it includes, read and checked for form: the `Spec` that every later stage starts from."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from confnet.blocks import PREFIX, block_names, block_text
from confnet.diagnostics import Collector, ConfnetError, Diagnostic, Note, Span, closest
from confnet.display import shown
from confnet.limits import DEFAULT_LIMITS, Limits
from confnet.records import dataclass
from confnet.source import Mapping as MappingNode
from confnet.source import Scalar, Source, parse, read_file
from confnet.spec import Document, base_of, extended, read_document

__all__ = ["Spec", "Unit", "load_file", "load_text", "load_texts", "located"]


@dataclass(frozen=True, eq=False)
class Unit:
    """One file of a spec: its document, its text, and the files that it includes.

    A file that extends others has their changes in its document; `bases` are those others, `extends` where they are
    named, and `replaced` the definitions of its bases' includes that it has others for.
    """

    document: Document
    source: Source
    includes: tuple[Unit, ...] = ()
    bases: tuple[Source, ...] = ()
    extends: tuple[Scalar, ...] = ()
    replaced: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class Spec:
    """A validated document with everything it includes: what `confnet.load` returns and `confnet.build` takes."""

    root: Unit

    @property
    def document(self) -> Document:
        """The document of the file itself."""
        return self.root.document

    @property
    def texts(self) -> dict[str, str]:
        """The text of every file of the spec, by the name it has in diagnostics; the file itself comes first."""
        return {name: source.text for name, source in self.sources().items()}

    def sources(self) -> dict[str, Source]:
        """Every source of the spec, by the name it has in diagnostics."""
        return {source.file: source for unit in self.units() for source in (unit.source, *unit.bases)}

    def units(self) -> Iterator[Unit]:
        """Every file of the spec once, the file itself first."""
        seen: dict[int, Unit] = {}
        waiting = [self.root]
        while waiting:
            unit = waiting.pop(0)
            if id(unit) not in seen:
                seen[id(unit)] = unit
                waiting.extend(unit.includes)
        return iter(seen.values())

    def _repr_html_(self) -> str | None:
        """What a notebook shows of it."""
        return shown("spec", self)

    def __repr__(self) -> str:
        return f"<Spec {self.document.name} from {self.document.file}>"


def located(diagnostics: Iterable[Diagnostic], sources: Mapping[str, Source]) -> tuple[Diagnostic, ...]:
    """The same diagnostics, sorted, each with the path of the value it stands in."""
    found = []
    for diagnostic in diagnostics:
        source = sources.get(diagnostic.span.file) if diagnostic.span else None
        if source is not None and diagnostic.span is not None and not diagnostic.path:
            diagnostic = replace(diagnostic, path=source.path_at(diagnostic.span))
        found.append(diagnostic)
    return tuple(sorted(found, key=Diagnostic.sort_key))


def load_file(path: Path, name: str, limits: Limits = DEFAULT_LIMITS, texts: Mapping[Path, str] | None = None) -> Spec:
    """Read the file at `path`, called `name` in diagnostics, and what it includes. Raises ConfnetError.

    `texts` are files as they stand in an editor, by their resolved path: they are read instead of the disk.
    """

    def opened(path: Path, name: str) -> Source:
        text = texts.get(path) if texts else None
        return read_file(path, name, limits) if text is None else parse(text, name, limits)

    source = opened(path.resolve() if texts else path, name)
    folder = path.resolve().parent

    def read(include: str, place: Span) -> Source:
        if include.startswith(PREFIX):
            return _shipped(include, limits)
        try:
            resolved = (folder / include).resolve()
        except (OSError, RuntimeError):  # before Python 3.13, a circle of links is a RuntimeError
            raise _IncludeError("unreadable-file", f"`{include}` is a link that leads nowhere", "") from None
        if not resolved.is_relative_to(folder):
            raise _IncludeError(
                "include-escapes", f"`{include}` lies outside the folder of `{name}`", "move the file below that folder"
            )
        return opened(resolved, os.path.join(os.path.dirname(name), include))

    return _Loading(read, limits).spec(source, path.stem)


def load_text(text: str, name: str, limits: Limits = DEFAULT_LIMITS) -> Spec:
    """Read a text that is no file, called `name` in diagnostics. Raises ConfnetError."""

    def read(include: str, place: Span) -> Source:
        if include.startswith(PREFIX):
            return _shipped(include, limits)
        raise _IncludeError(
            "include-without-folder",
            f"`{include}` cannot be found: a text has no folder to start from",
            "load the file by its path",
        )

    return _Loading(read, limits).spec(parse(text, name, limits), _stem(name))


def load_texts(texts: Mapping[str, str], limits: Limits = DEFAULT_LIMITS) -> Spec:
    """The spec that `Spec.texts` was taken from, without a disk. Raises ConfnetError."""
    name = next(iter(texts))

    def read(include: str, place: Span) -> Source:
        # A shipped file too is as it was: a later version of the package changes nothing for a model that was kept.
        file = include if include.startswith(PREFIX) else os.path.join(os.path.dirname(name), include)
        if file not in texts:
            raise _IncludeError("unreadable-file", f"`{include}` does not exist", "")
        return parse(texts[file], file, limits)

    return _Loading(read, limits).spec(parse(texts[name], name, limits), _stem(name))


def _stem(name: str) -> str:
    """What a text that does not say its `name` is called: after its file, if it has one."""
    return "Model" if name.startswith("<") else Path(name).stem


def _shipped(name: str, limits: Limits) -> Source:
    """A file of the package, by its name with the prefix. Raises _IncludeError for what is none."""
    try:
        return parse(block_text(name), name, limits)
    except KeyError:
        guess = closest(name, block_names())
        help = f"did you mean `{guess}`?" if guess else f"there are {', '.join(f'`{each}`' for each in block_names())}"
        raise _IncludeError("unknown-include", f"`{name}` does not come with confnet", help, guess) from None


_Chain = tuple[tuple[str, Span], ...]
"""How a file was reached: the path of each file on the way, and where it names the next."""


class _IncludeError(Exception):
    """An include that cannot be followed: code, message and help of its diagnostic, and what was meant, if known."""


class _Loading:
    """Follows includes from the root; a file included twice is read once."""

    def __init__(self, read: Callable[[str, Span], Source], limits: Limits) -> None:
        self.read, self.limits = read, limits
        self.found = Collector()
        self.sources: dict[str, Source] = {}
        self.texts: dict[str, str] = {}
        self.units: dict[str, Unit] = {}
        self.bases: dict[str, tuple[Scalar, Source]] = {}
        """What the root extends, from the nearest: where it is named, and its source, by its path."""
        self.keys: dict[str, str] = {}
        """The path of each file from the root's folder, by its name."""
        self.bytes = self.nodes = 0

    def spec(self, source: Source, stem: str) -> Spec:
        self.bytes, self.nodes = len(source.text), source.nodes
        try:
            unit = self.unit(source, stem, "", ())
            self.found.raise_errors(self.texts)
        except ConfnetError as error:
            raise ConfnetError(located(error.diagnostics, self.sources), {**self.texts, **error.sources}) from None
        assert unit is not None
        return Spec(unit)

    def unit(self, source: Source, stem: str, key: str, chain: _Chain) -> Unit | None:
        """The unit of a source. `key` is its path from the root's folder, `chain` the includes that led to it."""
        self.register(source, key)
        written: Source | None = source
        if not chain:
            written = self.extended(source, key, chain)
        elif (base := base_of(source, self.found)) is not None:
            help = "write its definitions out, or extend it in the file that is built"
            self.found.add("invalid-extends", "an included file extends another", base.span, help=help)
            return None
        document = read_document(written, stem, self.found) if written is not None else None
        if document is None:
            return None
        includes = []
        if len(document.variants) > self.limits.variants:
            message = f"the file has more than {self.limits.variants:,} variants"
            self.found.add("too-many-variants", message, document.variants[self.limits.variants].span)
        replaced: set[str] = set()
        for include in document.include:
            own = self.keys[include.span.file]
            unit = self.include(include.path, own, (*chain, (own, include.span)))
            if unit is not None:
                includes.append(unit)
                replaced |= self.replaced(document, include.span, unit)
        if chain:
            return Unit(document, source, tuple(includes))
        bases, extends = tuple(base for _, base in self.bases.values()), tuple(path for path, _ in self.bases.values())
        return Unit(document, source, tuple(includes), bases, extends, frozenset(replaced))

    def register(self, source: Source, key: str) -> None:
        self.texts[source.file] = source.text
        self.sources[source.file] = source
        self.keys[source.file] = key

    def extended(self, source: Source, key: str, chain: _Chain) -> Source | None:
        """The root's source with what it extends, and what that extends, or None where a base cannot be had."""
        path = base_of(source, self.found)
        if path is None:
            return source if not isinstance(source.root, MappingNode) or "extends" not in source.root.index else None
        chain = (*chain, (key, path.span))
        target = self.reached(path, key, chain, "extend")
        base = self.fetched(target, path) if target is not None else None
        if target is None or base is None:
            return None
        self.register(base, target)
        self.bases[target] = path, base
        written = self.extended(base, target, chain)
        if written is None:
            return None
        if written is not base:  # all of it is gone through once more
            self.total(replace(written, text=""), path)
        return extended(written, source, self.found, self.limits.nesting)

    def replaced(self, document: Document, place: Span, unit: Unit) -> set[str]:
        """The definitions of an include that a file further out has others for."""
        order = [next(iter(self.texts)), *(base.file for _, base in self.bases.values())]
        if place.file not in order:
            return set()
        outer = order[: order.index(place.file)]
        own = {definition.name for definition in document.modules if definition.span.file in outer}
        return own & {definition.name for definition in unit.document.modules}

    def include(self, path: Scalar, key: str, chain: _Chain) -> Unit | None:
        target = self.reached(path, key, chain, "include")
        if target is None:
            return None
        if target in self.bases:
            notes = [Note("extended here", self.bases[target][0].span)]
            message = f"`{path.text}` is extended already, and its definitions are there"
            self.found.add("invalid-extends", message, path.span, notes=notes, help="remove the include")
            return None
        if target in self.units:
            return self.units[target]
        source = self.fetched(target, path)
        if source is None:
            return None
        unit = self.unit(source, Path(target).stem, target, chain)
        if unit is not None:
            self.units[target] = unit
        return unit

    def reached(self, path: Scalar, key: str, chain: _Chain, verb: str) -> str | None:
        """The file that a path leads to, or None when it may not be followed, or leads back to where it came from."""
        target = self.target(path, key)
        if target is None:
            return None
        if any(target == seen or (seen == "" and target == self.root_name) for seen, _ in chain):
            notes = [Note(f"{verb.removesuffix('e')}ed", span) for _, span in chain[:-1]]
            message, help = f"`{path.text}` {verb}s itself", f"remove one of the {verb}s"
            self.found.add("cyclic-include", message, path.span, notes=notes, help=help)
            return None
        return target

    def fetched(self, target: str, path: Scalar) -> Source | None:
        """The source of a file, or None where it cannot be had, which is reported."""
        if len(self.texts) > self.limits.files:  # the first file is no include
            self.found.add("too-many-files", f"includes reach more than {self.limits.files} files", path.span)
            return None
        try:
            source = self.read(target, path.span)
        except _IncludeError as error:
            code, message, help, *guess = error.args
            self.found.add(code, message, path.span, help=help, fix=guess[0] if guess else None)
            return None
        except ConfnetError as error:
            self.adopt(error, path)
            return None
        self.total(source, path)
        return source

    def total(self, source: Source, path: Scalar) -> None:
        """Count a file that an include reaches; raises ConfnetError where all files together are too much."""
        self.bytes += len(source.text)
        self.nodes += source.nodes
        limits = self.limits
        if self.bytes > limits.file_bytes:
            message = f"the files together are larger than {limits.file_bytes:,} characters"
            self.found.add("file-too-large", message, path.span)
        elif self.nodes > limits.nodes:
            self.found.add("too-many-nodes", f"the files together have more than {limits.nodes:,} values", path.span)
        else:
            return
        self.found.raise_errors(self.texts)

    @property
    def root_name(self) -> str:
        return os.path.basename(next(iter(self.texts)))

    def target(self, path: Scalar, key: str) -> str | None:
        """The included path from the root's folder, or None when it may not be followed."""
        text = path.text
        if text.startswith(PREFIX):
            return text
        if key.startswith(PREFIX):
            self.found.add(
                "include-escapes", f"`{text}` is no file of confnet, and `{key}` includes only those", path.span
            )
            return None
        if "\\" in text or text.startswith("/") or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", text) or "\0" in text:
            self.found.add(
                "include-not-relative",
                f"`{text}` is not a relative path",
                path.span,
                help="name a file relative to this one, such as `blocks.yaml`, with `/` between folders",
            )
            return None
        parts: list[str] = []
        for part in (PurePosixPath(key).parent / text).parts:
            if part != "..":
                parts.append(part)
            elif parts:
                parts.pop()
            else:
                self.found.add(
                    "include-escapes",
                    f"`{text}` lies outside the folder of the first file",
                    path.span,
                    help="move the file below that folder",
                )
                return None
        target = "/".join(parts)
        if not target or target.startswith(PREFIX):  # `./confnet:mlp.yaml` is a path, and would be taken for a name
            self.found.add("unreadable-file", f"`{text}` is not a file", path.span)
            return None
        return target

    def adopt(self, error: ConfnetError, path: Scalar) -> None:
        """Report what is wrong with an included file; a file that is not there is the include's mistake."""
        self.texts.update(error.sources)
        for diagnostic in error.diagnostics:
            if diagnostic.span is None:
                self.found.add(diagnostic.code, diagnostic.message, path.span, help=diagnostic.help)
            else:
                self.found.report(diagnostic)
