"""YAML text to located values.

A text is read as a stream of events, never composed by libyaml, whose composer crashes on deep nesting.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from confnet.diagnostics import Collector, ConfnetError, Note, Span
from confnet.limits import DEFAULT_LIMITS, Limits
from confnet.source.core import IntegerTooLarge, core_value
from confnet.source.failures import explain, failure, short
from confnet.source.nodes import Mapping, Node, Plain, Scalar, Sequence, Source, plain

__all__ = ["decode", "parse", "read_file", "read_value"]

_Loader: Any = getattr(yaml, "CLoader", yaml.Loader)

# What YAML calls printable (1.2, production c-printable), less the byte order mark inside a text.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


def read_file(path: Path, name: str, limits: Limits = DEFAULT_LIMITS) -> Source:
    """Read the file at `path`, called `name` in diagnostics. Raises ConfnetError."""
    try:
        if not path.is_file():
            raise failure(
                "unreadable-file", f"`{name}` is not a file" if path.exists() else f"`{name}` does not exist", name
            )
        with path.open("rb") as stream:
            data = stream.read(limits.file_bytes + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else "the path is not usable"
        raise failure("unreadable-file", f"`{name}` cannot be read: {reason}", name) from None
    return parse(decode(data, name, limits), name, limits)


def decode(data: bytes, name: str, limits: Limits = DEFAULT_LIMITS) -> str:
    """The text of a UTF-8 file. Raises ConfnetError for other encodings and for files over the limit."""
    if len(data) > limits.file_bytes:
        raise failure("file-too-large", f"the file is larger than {limits.file_bytes:,} bytes", name)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        span = Span(name, line, column, line, column + 1)
        text = data.decode("utf-8", "replace")
        raise failure(
            "not-utf8", "the file is not UTF-8 text", name, span, text=text, help="save the file as UTF-8"
        ) from None


def parse(text: str, name: str, limits: Limits = DEFAULT_LIMITS) -> Source:
    """Read YAML text into located values. Raises ConfnetError with what is wrong and where."""
    text = text.removeprefix("\ufeff")
    if len(text) > limits.file_bytes:
        raise failure("file-too-large", f"the text is larger than {limits.file_bytes:,} characters", name)
    bad = _FORBIDDEN.search(text)
    if bad:
        line = len(text[: bad.start()].splitlines()) or 1
        before = text[: bad.start()]
        column = len(before) - max(before.rfind("\n"), before.rfind("\r")) if before else 1
        if before.endswith(("\n", "\r")):
            line, column = line + 1, 1
        message = f"the character U+{ord(bad.group()):04X} is not allowed in YAML"
        span = Span(name, line, column, line, column + 1)
        raise failure("invalid-character", message, name, span, text=text.encode("utf-8", "replace").decode())
    reader = _Reader(text, name, limits)
    return Source(name, text, reader.read(), reader.nodes)


def read_value(text: str) -> Any:
    """The plain value of a short YAML text, as the command line's `--set name=value` gives it. Raises ConfnetError."""
    return plain(parse(text, "<value>").root) if text.strip() else None


class _Reader:
    """One pass over the events of one text."""

    def __init__(self, text: str, name: str, limits: Limits) -> None:
        self.text, self.name, self.limits = text, name, limits
        self.lines = text.splitlines()
        self.found = Collector()
        self.anchors: dict[str, Node | None] = {}
        self.sizes: dict[int, int] = {}
        self.nodes = 0
        self.expanded = 0
        self.events: Any = _Loader(text)

    def read(self) -> Node:
        try:
            root = self.document()
        except yaml.MarkedYAMLError as error:
            raise self.syntax_error(error) from None
        except yaml.YAMLError:
            raise failure("yaml-syntax", "this is not YAML text", self.name, text=self.text) from None
        except ConfnetError as error:  # also one of the collector, which knows no texts
            error.sources.setdefault(self.name, self.text)
            raise
        finally:
            self.events.dispose()
        self.found.raise_errors({self.name: self.text})
        return root

    def document(self) -> Node:
        self.events.get_event()
        if self.events.check_event(yaml.StreamEndEvent):
            raise self.failure(
                "empty-document", "the file is empty", Span(self.name, 1, 1, 1, 1), help="start with `confnet: 1`"
            )
        self.events.get_event()
        root = self.node(self.events.get_event(), 1, False)
        self.events.get_event()
        if not self.events.check_event(yaml.StreamEndEvent):
            span = self.span(self.events.get_event())
            raise self.failure(
                "multiple-documents",
                "a file holds one document",
                Span(self.name, span.line, span.column, span.line, span.column + 3),
                help="split the file at `---`, and use `include`",
            )
        return root

    def node(self, event: Any, depth: int, flow: bool) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event)
        self.nodes += 1
        if self.nodes > self.limits.nodes:
            raise self.failure(
                "too-many-nodes", f"the file has more than {self.limits.nodes:,} values", self.span(event)
            )
        if depth > self.limits.nesting:
            raise self.failure(
                "nested-too-deeply", f"values are nested more than {self.limits.nesting} deep", self.span(event)
            )
        # An explicit tag shows as not implicit; "!" alone is the non-specific tag.
        tagged = (event.tag is not None and event.tag != "!") or (
            isinstance(event, yaml.ScalarEvent) and event.tag == "!"
        )
        if tagged:
            tag, span = str(event.tag).replace("tag:yaml.org,2002:", "!!", 1), self.span(event)
            self.found.add(
                "tag",
                f"the tag `{tag}` is not allowed: a file is plain data",
                Span(self.name, span.line, span.column, span.line, span.column + len(tag)),
                help="remove the tag",
            )
        before = self.nodes
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            node: Node = self.scalar(event, flow)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self.sequence(event, depth)
        else:
            node = self.mapping(event, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
            self.sizes[id(node)] = self.nodes - before + 1
        return node

    def alias(self, event: Any) -> Node:
        span = self.span(event)
        if event.anchor not in self.anchors:
            raise self.failure(
                "undefined-alias",
                f"`*{event.anchor}` names no anchor",
                span,
                help=f'a text that begins with `*` needs quotes: `"*{event.anchor}"`',
            )
        node = self.anchors[event.anchor]
        if node is None:
            raise self.failure("recursive-alias", f"`*{event.anchor}` stands inside the value it names", span)
        size = self.sizes[id(node)]
        self.expanded += size
        # What an anchor around this alias will count for when it is used itself.
        self.nodes += size
        if self.expanded > self.limits.alias_nodes or self.nodes > self.limits.nodes:
            raise self.failure(
                "alias-expansion", f"aliases expand to more than {self.limits.alias_nodes:,} values", span
            )
        return node

    def sequence(self, start: Any, depth: int) -> Sequence:
        items = []
        while not self.events.check_event(yaml.SequenceEndEvent):
            items.append(self.node(self.events.get_event(), depth + 1, bool(start.flow_style)))
        end = self.events.get_event()
        if start.flow_style:
            self.check_split(items)
        return Sequence(tuple(items), self.whole(start, end, items), bool(start.flow_style))

    def mapping(self, start: Any, depth: int) -> Mapping:
        entries: list[tuple[Scalar, Node]] = []
        index: dict[str, Node] = {}
        keys: dict[str, Scalar] = {}
        while not self.events.check_event(yaml.MappingEndEvent):
            key = self.node(self.events.get_event(), depth + 1, bool(start.flow_style))
            value = self.node(self.events.get_event(), depth + 1, bool(start.flow_style))
            if not isinstance(key, Scalar):
                self.found.add("invalid-key", "a key is a text, not a list or a mapping", key.span)
                continue
            if key.text == "<<" and key.style == "":
                self.found.add(
                    "merge-key",
                    "the merge key `<<` is not part of YAML 1.2",
                    key.span,
                    help="write the keys out, or use a definition with args",
                )
                continue
            if key.text in keys:
                first = keys[key.text].span
                self.found.add(
                    "duplicate-key",
                    f"the key `{short(key.text)}` stands twice in one mapping",
                    key.span,
                    notes=[Note("first written", first)],
                    help="remove one of the two",
                )
                continue
            keys[key.text] = key
            index[key.text] = value
            entries.append((key, value))
        end = self.events.get_event()
        if start.flow_style:
            self.check_split([part for entry in entries for part in entry])
        return Mapping(tuple(entries), self.whole(start, end, [v for _, v in entries]), bool(start.flow_style), index)

    def scalar(self, event: Any, flow: bool) -> Scalar:
        span, text = self.span(event), event.value
        style = event.style or ""
        style = "" if style == ":" else style
        value: Plain = text
        if style == "":
            self.check_plain(text, span, flow)
            try:
                value = core_value(text)
            except IntegerTooLarge:
                self.found.add("integer-too-large", f"`{short(text)}` does not fit in 64 bits", span)
                value = 0
        first_line, indent = self.content_place(event, span, style)
        return Scalar(value, text, span, style, first_line, indent)

    def check_plain(self, text: str, span: Span, flow: bool) -> None:
        opened = text.find("$(")
        if opened < 0 or text.count("(", opened) <= text.count(")", opened):
            return
        if flow or text.count("(") > text.count(")"):
            self.found.add(
                "unbalanced-expression",
                f"`{short(text)}` opens a bracket that it does not close",
                span,
                help="quote the whole value: YAML splits an unquoted one at `,`, `[`, `{` or ` #`"
                if flow
                else "close the bracket; a value that holds ` #` or `: ` needs quotes",
            )

    def check_split(self, parts: Iterable[Node]) -> None:
        """Find code that YAML split at a comma: a part opens a round bracket, and a later one closes it."""
        opened: Scalar | None = None
        for part in parts:
            if not isinstance(part, Scalar) or part.style:
                continue
            excess = part.text.count("(") - part.text.count(")")
            if excess > 0 and "$(" not in part.text:
                opened = opened or part
            elif excess < 0 and opened is not None:
                self.found.add(
                    "unbalanced-expression",
                    f"`{short(opened.text)}` opens a bracket that it does not close",
                    opened.span,
                    help="quote the whole value: YAML splits an unquoted one at `,`",
                )
                opened = None

    def content_place(self, event: Any, span: Span, style: str) -> tuple[int, int]:
        if style in ("|", ">"):
            header = span.line
            while header <= len(self.lines) and not re.search(r"[|>][-+0-9]*\s*(#.*)?$", self.lines[header - 1]):
                header += 1
            for offset, line in enumerate(event.value.splitlines()):
                if line.strip() and header + offset < len(self.lines):
                    return header + 1, len(self.lines[header + offset]) - len(line)
            return header + 1, 0
        column = span.column - 1
        line = self.lines[span.line - 1] if span.line <= len(self.lines) else ""
        if event.anchor is not None:
            skip = re.match(r"&\S+\s*", line[column:])
            column += skip.end() if skip else 0
        return span.line, column + (1 if style else 0)

    def span(self, event: Any) -> Span:
        start, end = event.start_mark, event.end_mark
        return Span(self.name, start.line + 1, start.column + 1, end.line + 1, end.column + 1)

    def whole(self, start: Any, end: Any, children: list[Node]) -> Span:
        begin = self.span(start)
        if start.flow_style or not children:
            last = self.span(end)
            return Span(self.name, begin.line, begin.column, last.end_line, last.end_column)
        # A block collection ends, for libyaml, at the next token; it ends, for a reader, with its last value.
        last = children[-1].span
        if (last.end_line, last.end_column) < (begin.line, begin.column):  # an alias to an earlier place
            last = begin
        return Span(self.name, begin.line, begin.column, last.end_line, last.end_column)

    def failure(self, code: str, message: str, span: Span, *, help: str = "") -> ConfnetError:
        self.found.add(code, message, span, help=help)
        return ConfnetError(self.found.sorted(), {self.name: self.text})

    def syntax_error(self, error: yaml.MarkedYAMLError) -> ConfnetError:
        mark = error.problem_mark or error.context_mark
        open_quote = "quoted scalar" in (error.context or "") and "end of" in (error.problem or "")
        if open_quote and error.context_mark:  # where the file ends tells nothing; where the quote begins does
            mark = error.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        # libyaml points behind the last line when a file ends too early: show the last line that holds something.
        if line >= len(self.lines) and self.lines:
            line = len(self.lines) - 1
            while line > 0 and not self.lines[line].strip():
                line -= 1
            column = len(self.lines[line].rstrip())
        code, message, help = explain(
            f"{error.context or ''} {error.problem or ''}", self.lines[line] if self.lines else "", column
        )
        notes = []
        if error.context_mark and error.problem_mark and error.context_mark.line < line and not open_quote:
            begin = error.context_mark
            place = Span(self.name, begin.line + 1, begin.column + 1, begin.line + 1, begin.column + 2)
            notes.append(Note("while reading what begins", place))
        split = any(
            d.code == "unbalanced-expression" and d.span and d.span.line == line + 1 for d in self.found.sorted()
        )
        if not split:  # else this is what YAML made of an expression that it split, which is told already
            self.found.add(
                code, message, Span(self.name, line + 1, column + 1, line + 1, column + 2), help=help, notes=notes
            )
        return ConfnetError(self.found.sorted(), {self.name: self.text})
