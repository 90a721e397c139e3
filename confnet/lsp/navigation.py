"""Where a word is defined, and what a file is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from confnet.lsp.answers import Seen
from confnet.lsp.code_completion import chain_of, resolve_chain
from confnet.lsp.cursor import Target
from confnet.lsp.grammar import is_layer, layer_entry, modules_in, place_of
from confnet.lsp.hover import cursor_of, returned_together
from confnet.lsp.names import File, Named, Names
from confnet.lsp.outline import Node
from confnet.plan import CONTAINERS

__all__ = ["Hint", "Location", "Symbol", "definition_of", "hints", "symbols"]


@dataclass(frozen=True, slots=True)
class Location:
    """A place of a file, by lines and columns from 0."""

    file: File
    line: int
    column: int
    end: int


def definition_of(target: Target, names: Names) -> Location | None:
    """Where the word under the cursor is defined."""
    if target.slot == "code":
        return _in_code(target, names)
    if target.slot == "expression":
        return _named(names.values(target.node).get(target.word))
    kind = target.place.kind
    if target.slot == "key":
        return _of_key(target, names)
    if kind in ("include", "includes"):
        other = names.read(names.file, target.word)
        return Location(other, 0, 0, 0) if other is not None else None
    if kind in ("path", "ties", "name pattern"):
        return _named(_path(target.word, target.node, names))
    if kind in ("module", "definition", "type pattern", "") or kind.endswith("argument"):
        return _named(names.definitions.get(target.word))
    return None


def _of_key(target: Target, names: Names) -> Location | None:
    node, key = target.node, target.word
    around = place_of(node.parent) if node.parent is not None else None
    if is_layer(key):
        name = key[1:] if key.startswith("$") else key
        return _named(names.values(node).get(name) if key.startswith("$") else names.definitions.get(name))
    if around is not None and around.kind == "arguments":
        definition = names.definitions.get(around.of)
        return _named(names.constants(definition.node, definition.file).get(key)) if definition is not None else None
    if around is not None and around.kind == "variant":
        return _named(names.constants(node.chain()[0]).get(key))
    return _named(_path(key, node, names)) if around is not None and around.kind == "ties" else None


def _path(path: str, node: Node, names: Names) -> Named | None:
    """What a dotted path of the module around a node leads to."""
    head, *rest = path.split(".")
    found = names.members(names.body(node)).get(head)
    for part in rest:
        if found is None or found.what != "child":
            return found
        inner = names.inside(found).get(part)
        if inner is None:  # a parameter of a layer has no line of its own
            return found
        found = inner
    return found


def _in_code(target: Target, names: Names) -> Location | None:
    chain = chain_of(target.dotted)
    cursor = cursor_of(target, names)
    if len(chain) == 1:
        lines = cursor.before.split("\n")
        assigned = _assigned(chain[0], target, names, lines)
        if assigned is not None:
            return assigned
    return _named(resolve_chain(chain, cursor, names))


def _assigned(name: str, target: Target, names: Names, lines: list[str]) -> Location | None:
    """Where a local was assigned last before the line of the target."""
    found = names.locals(lines[:-1]).get(name)
    if found is None:
        return None
    line, column = target.node.text_line + found[0], found[1]
    return Location(names.file, line, column, column + len(name))


def _named(named: Named | None) -> Location | None:
    if named is None:
        return None
    node = named.node
    if node.is_item:
        return Location(named.file, node.text_line or node.line, node.text_column, node.text_column + len(node.text))
    return Location(named.file, node.line, node.column, node.key_end)


# --- symbols --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Symbol:
    """An entry of a file that has a name: what it is, and where it begins and ends."""

    name: str
    kind: Literal["definition", "module", "arg", "value", "input", "parameter", "method", "section", "variant"]
    detail: str
    node: Node = field(repr=False)
    children: list[Symbol] = field(default_factory=list)


def symbols(names: Names) -> list[Symbol]:
    """The symbols of a file, in the order of its text."""
    return list(_of_body(names.file.outline.root, names, 0))


def _of_body(body: Node, names: Names, depth: int) -> Iterator[Symbol]:
    """What a document, definition or module holds."""
    layer = layer_entry(body)
    for node in body.children:
        if node.is_item or not node.key:
            continue
        match node.key:
            case "args" | "let":
                yield Symbol(node.key, "section", "", node, [_leaf(each, "arg") for each in _keyed(node)])
            case "modules" if depth == 0:
                inner = [_module(each, names, "definition", depth) for each in _keyed(node)]
                yield Symbol(node.key, "section", "", node, inner)
            case "children":
                yield Symbol(node.key, "section", "", node, list(_modules(node, names, depth)))
            case "parameters" | "buffers":
                yield Symbol(node.key, "section", "", node, [_leaf(each, "parameter") for each in _keyed(node)])
            case "variants" if depth == 0:
                yield Symbol(node.key, "section", "", node, [_leaf(each, "variant") for each in _keyed(node)])
            case "methods":
                yield Symbol(node.key, "section", "", node, [_leaf(each, "method") for each in _keyed(node)])
            case "inputs" | "outputs":
                yield Symbol(node.key, "section", "", node, [_leaf(each, "input") for each in _keyed(node)])
            case "forward":
                yield Symbol(node.key, "method", "", node)
            case key if node is layer and key in CONTAINERS and depth == 0:
                yield Symbol(key, "section", "", node, list(_modules(node, names, depth)))


def _keyed(section: Node) -> Iterator[Node]:
    return (node for node in section.children if node.key)


def _leaf(node: Node, kind: Literal["arg", "parameter", "variant", "method", "input"]) -> Symbol:
    return Symbol(node.key, kind, "" if node.block else node.text.split("\n")[0][:60], node)


def _modules(section: Node, names: Names, depth: int) -> Iterator[Symbol]:
    for place, node in enumerate(modules_in(section)):
        yield _module(node, names, "module", depth, node.key or str(place))


def _module(node: Node, names: Names, kind: Literal["definition", "module"], depth: int, name: str = "") -> Symbol:
    layer = names.layer(node)
    entry = layer_entry(node)
    if depth > 20:
        return Symbol(name or node.key, kind, layer, node)
    inside = list(_of_body(node, names, depth + 1))
    if entry is not None and entry.key in CONTAINERS:
        inside += _modules(entry, names, depth + 1)
    return Symbol(name or node.key, kind, layer or "composite", node, inside)


# --- hints ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hint:
    """A text at the end of a line."""

    line: int
    text: str


def hints(lines: Sequence[str], values: Iterable[Seen], first: int, last: int) -> list[Hint]:
    """The shapes of what the modules of lines return, one text a line."""
    by_line: dict[int, dict[tuple[int, int], list[Seen]]] = {}
    for seen in values:
        line = seen.span.line - 1
        if first <= line <= last and line < len(lines):
            by_line.setdefault(line, {}).setdefault((line, seen.span.column), []).append(seen)
    found = []
    for line, places in sorted(by_line.items()):
        # Of several modules on a line the outermost stands first.
        texts = returned_together(places[min(places)])
        shown = " | ".join(texts[:2]) + (f" | {len(texts) - 2} more" if len(texts) > 2 else "")
        found.append(Hint(line, f"→ {shown}"))
    return found
