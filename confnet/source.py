"""Text to located values: the only module that knows YAML.

A file is read as a stream of events (never composed by libyaml, whose composer crashes on deep nesting) into
`Scalar`, `Sequence` and `Mapping` nodes that know their place. The values are those of the YAML 1.2 core schema
(https://yaml.org/spec/1.2.2/#103-core-schema): `1e-3` is a float, `on` and `no` are strings, `010` is ten.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from confnet.diagnostics import Collector, ConfnetError, Note, Span
from confnet.limits import DEFAULT_LIMITS, Limits

__all__ = [
    "Mapping",
    "Node",
    "Scalar",
    "Sequence",
    "Source",
    "decode",
    "parse",
    "plain",
    "read_file",
    "read_value",
    "to_text",
]

Plain = None | bool | int | float | str

_Loader: Any = getattr(yaml, "CLoader", yaml.Loader)


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """A single value. `text` is what the user wrote, without quotes; `style` is '', ', ", | or > as in YAML.

    For a block (`|`), `first_line` is the line of its first line of content and `indent` the number of columns
    its content is shifted by, so that line k, column c of `value` stands at (first_line + k, indent + c + 1).
    For a scalar on one line the same two numbers hold for its only line.
    """

    value: Plain
    text: str
    span: Span
    style: str = ""
    first_line: int = 0
    indent: int = 0

    @property
    def one_line(self) -> bool:
        """Whether the scalar stands on a single line of the file."""
        return self.style not in ("|", ">") and self.span.line == self.span.end_line


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """A list of nodes. `flow` tells `[a, b]` from a block list."""

    items: tuple[Node, ...]
    span: Span
    flow: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Mapping:
    """Keys (scalars, named by their text) and nodes, in order, without duplicates."""

    entries: tuple[tuple[Scalar, Node], ...]
    span: Span
    flow: bool = False
    index: dict[str, Node] = field(default_factory=dict, repr=False)

    def get(self, key: str) -> Node | None:
        """The node under `key`, or None."""
        return self.index.get(key)

    def key(self, name: str) -> Scalar:
        """The key node called `name`; raises KeyError if there is none."""
        for key, _ in self.entries:
            if key.text == name:
                return key
        raise KeyError(name)

    def __iter__(self) -> Iterator[tuple[Scalar, Node]]:
        return iter(self.entries)


Node = Scalar | Sequence | Mapping


@dataclass(frozen=True, eq=False)
class Source:
    """A file as read: its name as the user gave it, its text, and its values with their places."""

    file: str
    text: str
    root: Node

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the text, without their ends, as YAML counts them."""
        return self.text.splitlines()

    def path_at(self, span: Span) -> str:
        """The dotted path of the innermost value around `span`: `modules.Block.children.conv1`."""
        place = (span.line, span.column)
        path, node = "", self.root
        while True:
            for step, child in _steps(node):
                begin, end = _extent(child)
                if step.span is not None:
                    begin = min(begin, (step.span.line, step.span.column))
                if begin <= place < end or begin == place:
                    path += step.text if not path or step.text.startswith("[") else f".{step.text}"
                    node = child
                    break
            else:
                return path


@dataclass(frozen=True, slots=True)
class _Step:
    text: str
    span: Span | None


def _steps(node: Node) -> Iterator[tuple[_Step, Node]]:
    if isinstance(node, Mapping):
        for key, child in node.entries:
            yield _Step(key.text, key.span), child
    elif isinstance(node, Sequence):
        for number, child in enumerate(node.items):
            yield _Step(f"[{number}]", None), child


def _extent(node: Node) -> tuple[tuple[int, int], tuple[int, int]]:
    return (node.span.line, node.span.column), (node.span.end_line, node.span.end_column)


# --- values of the YAML 1.2 core schema ---------------------------------------------------------------------------

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: dict[str, Plain] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_INT64 = 2**63


class _IntegerTooLarge(ValueError):
    """An integer beyond 64 bits."""


def core_value(text: str) -> Plain:
    """The value that the YAML 1.2 core schema gives a plain scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        if len(text) > 24:
            raise _IntegerTooLarge(text)
        value = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        if not -_INT64 <= value < _INT64:
            raise _IntegerTooLarge(text)
        return value
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


# --- reading ------------------------------------------------------------------------------------------------------

# What YAML calls printable (1.2, production c-printable), less the byte order mark inside a text.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


def read_file(path: Path, name: str, limits: Limits = DEFAULT_LIMITS) -> Source:
    """Read the file at `path`, called `name` in diagnostics. Raises ConfnetError."""
    try:
        if not path.is_file():
            raise _failure("unreadable-file", f"`{name}` is not a file" if path.exists() else f"`{name}` does not exist", name)
        with path.open("rb") as stream:
            data = stream.read(limits.file_bytes + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else "the path is not usable"
        raise _failure("unreadable-file", f"`{name}` cannot be read: {reason}", name) from None
    return parse(decode(data, name, limits), name, limits)


def decode(data: bytes, name: str, limits: Limits = DEFAULT_LIMITS) -> str:
    """The text of a UTF-8 file. Raises ConfnetError for other encodings and for files over the limit."""
    if len(data) > limits.file_bytes:
        raise _failure("file-too-large", f"the file is larger than {limits.file_bytes:,} bytes", name)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        span = Span(name, line, column, line, column + 1)
        text = data.decode("utf-8", "replace")
        raise _failure(
            "not-utf8", "the file is not UTF-8 text", name, span, text=text, help="save the file as UTF-8"
        ) from None


def parse(text: str, name: str, limits: Limits = DEFAULT_LIMITS) -> Source:
    """Read YAML text into located values. Raises ConfnetError with what is wrong and where."""
    text = text.removeprefix("\ufeff")
    if len(text) > limits.file_bytes:
        raise _failure("file-too-large", f"the text is larger than {limits.file_bytes:,} characters", name)
    bad = _FORBIDDEN.search(text)
    if bad:
        line = len(text[: bad.start()].splitlines()) or 1
        before = text[: bad.start()]
        column = len(before) - max(before.rfind("\n"), before.rfind("\r")) if before else 1
        if before.endswith(("\n", "\r")):
            line, column = line + 1, 1
        message = f"the character U+{ord(bad.group()):04X} is not allowed in YAML"
        span = Span(name, line, column, line, column + 1)
        raise _failure("invalid-character", message, name, span, text=text.encode("utf-8", "replace").decode())
    return Source(name, text, _Reader(text, name, limits).read())


def read_value(text: str) -> Any:
    """The plain value of a short YAML text, as the command line's `--set name=value` gives it. Raises ConfnetError."""
    return plain(parse(text, "<value>").root) if text.strip() else None


def plain(node: Node) -> Any:
    """The Python value of a node: None, bool, int, float, str, list or dict with text keys."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return {key.text: plain(child) for key, child in node.entries}


def _failure(
    code: str, message: str, name: str, span: Span | None = None, *, text: str | None = None, help: str = "", notes: tuple[Note, ...] = ()
) -> ConfnetError:
    found = Collector()
    found.add(code, message, span, help=help, notes=notes, path="" if span else name)
    return ConfnetError(found.sorted(), {} if text is None else {name: text})


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
            raise _failure("yaml-syntax", "this is not YAML text", self.name, text=self.text) from None
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
            raise self.failure("too-many-nodes", f"the file has more than {self.limits.nodes:,} values", self.span(event))
        if depth > self.limits.nesting:
            raise self.failure(
                "nested-too-deeply", f"values are nested more than {self.limits.nesting} deep", self.span(event)
            )
        # An explicit tag shows as not implicit; "!" alone is the non-specific tag.
        tagged = event.tag is not None and event.tag != "!" or (
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
                    f"the key `{_short(key.text)}` stands twice in one mapping",
                    key.span,
                    notes=[Note("first written", first)],
                    help="remove one of the two",
                )
                continue
            keys[key.text] = key
            index[key.text] = value
            entries.append((key, value))
        end = self.events.get_event()
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
            except _IntegerTooLarge:
                self.found.add("integer-too-large", f"`{_short(text)}` does not fit in 64 bits", span)
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
                f"`{_short(text)}` opens a bracket that it does not close",
                span,
                help="quote the whole value: YAML splits an unquoted one at `,`, `[`, `{` or ` #`"
                if flow
                else "close the bracket; a value that holds ` #` or `: ` needs quotes",
            )

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
        code, message, help = _explain(
            f"{error.context or ''} {error.problem or ''}", self.lines[line] if self.lines else "", column
        )
        notes = []
        if error.context_mark and error.problem_mark and error.context_mark.line < line and not open_quote:
            begin = error.context_mark
            place = Span(self.name, begin.line + 1, begin.column + 1, begin.line + 1, begin.column + 2)
            notes.append(Note("while reading what begins", place))
        split = any(d.code == "unbalanced-expression" and d.span and d.span.line == line + 1 for d in self.found.sorted())
        if not split:  # else this is what YAML made of an expression that it split, which is told already
            self.found.add(
                code, message, Span(self.name, line + 1, column + 1, line + 1, column + 2), help=help, notes=notes
            )
        return ConfnetError(self.found.sorted(), {self.name: self.text})


def _explain(problem: str, line: str, column: int) -> tuple[str, str, str]:
    """Code, message and help for a syntax error of either parser (libyaml and PyYAML word them differently)."""
    problem = problem.lower()
    character = line[column : column + 1]
    if "\t" in line[: column + 1] and ("tab" in problem or character == "\t" or not line[:column].strip()):
        return "yaml-tab", "a tab cannot indent YAML", "use spaces"
    if "mapping values" in problem:
        return (
            "yaml-syntax",
            "`: ` begins a mapping, and none can begin here",
            "quote the value, or write it as a block below `|`; or mend the indentation",
        )
    if "alias" in problem:
        return "yaml-syntax", "`*` begins an alias in YAML", 'quote a text that begins with `*`: `"*.conv"`'
    if "quoted scalar" in problem and "end of" in problem:
        return "yaml-syntax", "this quoted text is not closed", f"write {character or 'the quote'} at its end"
    if "quoted scalar" in problem:
        return "yaml-syntax", "this quoted text holds a wrong escape", "write `\\\\` for a backslash, or use single quotes"
    if "cannot start any token" in problem and character and character in "|>":
        return (
            "yaml-syntax", f"a `{character}` block cannot stand inside `{{ }}` or `[ ]`",
            "write the mapping or list around it on lines of its own",
        )  # fmt: skip
    if "cannot start any token" in problem:
        return "yaml-syntax", f"`{character}` cannot begin a value", f"quote a text that begins with `{character}`"
    if "flow" in problem:
        return (
            "yaml-syntax",
            "`,` or a closing bracket is expected here",
            "close the bracket; inside `{ }` and `[ ]` quote every value that holds `,`, `[`, `{` or `: `",
        )
    if "could not find expected ':'" in problem:
        return "yaml-syntax", "a key without `:`", "write `key: value`; a space follows the colon"
    if character and character in "}],":
        return "yaml-syntax", f"`{character}` closes nothing here", "write `key: value`; a space follows the colon, and brackets come in pairs"
    if "block collection" in problem or "block mapping" in problem or "block sequence" in problem:
        return "yaml-syntax", "this line does not fit the indentation above it", "align it with its siblings"
    if "anchor" in problem:
        return "yaml-syntax", "`&` begins an anchor in YAML", "quote a text that begins with `&`"
    if "block scalar" in problem:
        return "yaml-syntax", "this block text begins wrongly", "write `|` alone, then the text, indented, on the next lines"
    return "yaml-syntax", "this is not well-formed YAML", ""


def _short(text: str, width: int = 60) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


# --- writing ------------------------------------------------------------------------------------------------------


class _Dumper(yaml.SafeDumper):
    """Writes values so that both YAML 1.1 and 1.2 readers take them back as they are."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _write_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = None
    if "\n" in text and not re.search(r"[ \t](\n|$)|\A\s", text):
        style = "|"
    elif not isinstance(_core_or_text(text), str):
        style = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _core_or_text(text: str) -> Plain:
    try:
        return core_value(text)
    except _IntegerTooLarge:
        return 0


def _write_float(dumper: _Dumper, number: float) -> yaml.ScalarNode:
    text = {math.inf: ".inf", -math.inf: "-.inf"}.get(number, ".nan" if math.isnan(number) else repr(number))
    if "e" in text and "." not in text:  # `1e-05` is a text for YAML 1.1
        text = text.replace("e", ".0e")
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(str, _write_text)
_Dumper.add_representer(float, _write_float)


def to_text(value: AnyMapping[str, Any]) -> str:
    """YAML text of a mapping of plain values, in the order given. Raises ConfnetError for any other value."""
    return str(
        yaml.dump(_plain_only(value, ""), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    )


def _plain_only(value: Any, path: str, depth: int = 0) -> Any:
    if depth > 200:
        raise _failure("nested-too-deeply", "the mapping is nested more than 200 deep, or holds itself", path)
    if value is None or isinstance(value, bool | int | float | str):
        return value if value is None or type(value) in (bool, int, float, str) else _base(value)
    if isinstance(value, list | tuple):
        return [_plain_only(item, f"{path}[{number}]", depth + 1) for number, item in enumerate(value)]
    if isinstance(value, AnyMapping):
        result = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise _failure("invalid-key", f"a key is a text, not `{_short(repr(key))}`", path)
            result[str(key)] = _plain_only(item, f"{path}.{key}" if path else key, depth + 1)
        return result
    raise _failure(
        "invalid-type", f"a value of type `{type(value).__name__}` cannot stand in a file", path,
        help="use None, bool, int, float, str, list or dict",
    )


def _base(value: Any) -> Any:
    """A subclass of a plain type (an enum, a numpy float) as the plain type itself."""
    return next(kind(value) for kind in (bool, int, float, str) if isinstance(value, kind))
