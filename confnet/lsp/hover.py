"""What is said of the word under the cursor."""

from __future__ import annotations

from collections.abc import Sequence

from confnet.catalog.documentation import (
    hook_documentation,
    initializer_documentation,
    layer_documentation,
    parametrization_documentation,
)
from confnet.catalog.hooks import HOOK_KINDS
from confnet.catalog.registry import DEFAULT_REGISTRY, lookup
from confnet.language.arithmetic import FUNCTIONS
from confnet.lsp.answers import Seen
from confnet.lsp.code_completion import chain_of, resolve_chain
from confnet.lsp.cursor import Cursor, Target
from confnet.lsp.grammar import KEYS, Place, is_layer, layer_entry, place_of
from confnet.lsp.names import Named, Names
from confnet.lsp.outline import Node
from confnet.lsp.wording import (
    argument_text,
    arguments_of,
    counted,
    documentation_of,
    function_of,
    function_text,
    page,
    signature,
)

__all__ = ["Hoverer", "cursor_of", "returned_together", "shapes_at"]

_MOST_SHAPES = 4


class Hoverer:
    """Answers for one file; `values` and `locals` are the shapes that are known of it."""

    def __init__(self, names: Names, values: Sequence[Seen], locals: Sequence[Seen], summary: Sequence[str]) -> None:
        self.names, self.values, self.locals, self.summary = names, values, locals, summary

    def text(self, target: Target) -> str:
        """Markdown about a word, empty where there is nothing to say."""
        if target.slot == "code":
            return self.code(target)
        if target.slot == "expression":
            return self.expression(target.word, target.node)
        return self.key(target) if target.slot == "key" else self.value(target)

    # --- YAML -----------------------------------------------------------------------------------------------------

    def key(self, target: Target) -> str:
        node, key = target.node, target.word
        around = place_of(node.parent) if node.parent is not None else Place("document")
        kind = around.kind
        if is_layer(key) and kind in ("document", "definition", "module", "edited", "argument"):
            return self.layer(key, node.parent or node)
        if kind.endswith("arguments"):
            return self.argument(around, key)
        if kind == "initializer" and key != "value":
            return self.called(Place("init arguments", key))
        if kind == "parametrization":
            return self.called(Place("parametrize arguments", key))
        if kind == "hook call":
            return self.called(Place("hook arguments", key))
        own = self.own_key(kind, key, node)
        if own:
            return own
        return self.child(node) if target.place.kind in ("module", "definition") else ""

    def own_key(self, kind: str, key: str, node: Node) -> str:
        parent = node.parent
        if kind == "module" and parent is not None and parent.get("repeat") is not None:
            kind = "repeat"
        text = KEYS.get(kind, {}).get(key, "")
        if not text:
            return ""
        said = f"**{key}**: {text}"
        if kind == "document" and key in ("inputs", "outputs", "forward") and self.summary:
            said += "\n\n```text\n" + "\n".join(self.summary) + "\n```"
        return said

    def child(self, node: Node) -> str:
        """A child or definition under its name: its layer, and what comes out of it."""
        name = self.names.layer(node)
        lines = [f"```yaml\n{node.key}: {name or 'a composite'}\n```"]
        description = node.get("description")
        if description is not None and description.scalar:
            lines.append(description.scalar)
        lines += self.returned(node)
        return "\n\n".join(lines)

    def value(self, target: Target) -> str:
        kind, word = target.place.kind, target.word
        if kind in ("module", "definition", "type pattern") or (kind.endswith("argument") and lookup(word) is not None):
            return self.layer(word, target.node)
        if kind == "initializer":
            return self.called(Place("init arguments", word))
        if kind == "parametrization":
            return self.called(Place("parametrize arguments", word))
        if kind == "hook call":
            return self.called(Place("hook arguments", word))
        if kind == "hook kind" and word in HOOK_KINDS:
            return f"```python\n{word}({', '.join(HOOK_KINDS[word].arguments)})\n```\n\na kind of hook of torch's"
        if kind.endswith("argument"):
            return self.argument(target.place, target.place.argument)
        return ""

    def layer(self, name: str, module: Node) -> str:
        if name.startswith("$"):
            return self.expression(name[1:], module)
        definition = self.names.definitions.get(name)
        if definition is not None:
            return "\n\n".join([self.definition(definition), *self.returned(module)])
        layer = lookup(name)
        if layer is None:
            return ""
        said = page(layer_documentation(name), signature(name, layer.arguments))
        return "\n\n".join([said, *self.returned(module)])

    def definition(self, definition: Named) -> str:
        args = definition.node.get("args")
        given = [
            f"{each.key}: {each.text}" if each.text and not each.block else each.key
            for each in (args.children if args is not None else ())
        ]
        description = definition.node.get("description")
        text = f"```yaml\n{definition.name}({', '.join(given)})\n```"
        return f"{text}\n\n{description.scalar}" if description is not None and description.scalar else text

    def argument(self, place: Place, name: str) -> str:
        arguments = arguments_of(place)
        if name.isdecimal() and int(name) < len(arguments):
            name = arguments[int(name)].name
        found = next((argument for argument in arguments if argument.name == name), None)
        if found is not None:
            return argument_text(found, documentation_of(place))
        definition = self.names.definitions.get(place.of)
        arg = self.names.constants(definition.node).get(name) if definition is not None else None
        return self.named(arg) if arg is not None else ""

    def called(self, place: Place) -> str:
        find = {
            "init arguments": initializer_documentation,
            "parametrize arguments": parametrization_documentation,
            "hook arguments": hook_documentation,
        }[place.kind]
        documentation, arguments = find(place.of), arguments_of(place)
        if documentation is None and not arguments:
            return ""
        return page(documentation, signature(place.of, arguments))

    def returned(self, module: Node) -> list[str]:
        """What comes out of a module, as far as it is known."""
        shapes = shapes_at(self.values, module)
        return [f"returns {shapes}"] if shapes else []

    # --- names ----------------------------------------------------------------------------------------------------

    def expression(self, word: str, node: Node) -> str:
        named = self.names.values(node).get(word)
        if named is not None:
            return self.named(named)
        if word in FUNCTIONS:
            return f"```python\n{word}(...)\n```\n\na function of expressions, of {counted(*FUNCTIONS[word][1:])}"
        return ""

    def named(self, named: Named) -> str:
        node = named.node
        written = node.text if not node.block else ""
        description = node.get("description")
        lines = [f"```yaml\n{named.name}: {written}\n```", named.what]
        if description is not None and description.scalar:
            lines.append(description.scalar)
        return "\n\n".join(lines)

    def code(self, target: Target) -> str:
        cursor = cursor_of(target, self.names)
        chain = chain_of(target.dotted)
        if not chain:
            return ""
        if len(chain) > 1 or chain[0] in ("torch", "F", "math"):
            return self.dotted(target, chain, cursor)
        name = chain[0]
        shape = self.local(name, target)
        given = self.names.in_code(target.node).get(name)
        if shape:
            return f"```python\n{name}: {shape}\n```"
        if given is None:
            registered = DEFAULT_REGISTRY.functions.get(name)
            return (
                f"```python\n{name}(...)\n```\n\n{registered.call.__doc__ or 'a registered function'}"
                if registered
                else ""
            )
        return self.member(given)

    def dotted(self, target: Target, chain: list[str], cursor: Cursor) -> str:
        function = function_of(target.dotted)
        if function is not None:
            return function_text(function)
        named = resolve_chain(chain, cursor, self.names)
        if named is not None:
            return self.member(named)
        owner = resolve_chain(chain[:-1], cursor, self.names)
        if owner is not None and owner.what == "child":
            what = self.names.state(owner.node).get(target.word)
            return f"```python\n{target.word}\n```\n\n{what} of `{self.names.layer(owner.node)}`" if what else ""
        method = function_of(f"Tensor.{target.word}")
        return function_text(method) if method is not None and chain[0] not in ("torch", "F", "math") else ""

    def member(self, named: Named) -> str:
        if named.what == "child":
            layer = layer_entry(named.node)
            name = self.names.layer(named.node)
            written = f"{{{layer.key}: {layer.text}}}" if layer is not None and layer.text else name or "a composite"
            known = lookup(name)
            lines = [f"```yaml\n{named.name}: {written}\n```"]
            documentation = layer_documentation(name) if known is not None else None
            if documentation is not None:
                lines.append(documentation.summary)
            return "\n\n".join([*lines, *self.returned(named.node)])
        if named.what == "input":
            return f"```python\n{named.name}\n```\n\ninput"
        return self.named(named)

    def local(self, name: str, target: Target) -> str:
        """The shape of a name in code at a place: of its last assignment before, or as it came in."""
        node = target.node
        first = node.text_line if node.block else node.line
        last = first + node.text.count("\n")
        file = self.names.file.name
        here = [
            seen
            for seen in self.locals
            if seen.span.file == file and first <= seen.span.line - 1 <= last and seen.name.partition("[")[0] == name
        ]
        before = [seen for seen in here if _is_before(seen, target)]
        if not before:
            return ""
        place = max((seen.span.line, seen.span.column) for seen in before)
        return _joined([seen for seen in before if (seen.span.line, seen.span.column) == place])


def _is_before(seen: Seen, target: Target) -> bool:
    """Whether a name has at the target the value that was seen: on the line of its assignment, only as its target."""
    line = seen.span.line - 1
    if seen.span.end_column == seen.span.column:  # as it came in
        return True
    return line < target.line or (line == target.line and seen.span.column - 1 == target.column)


def shapes_at(values: Sequence[Seen], module: Node) -> str:
    """The shapes of what comes out of the modules that a node stands for."""
    entry = layer_entry(module)
    starts = {(module.line, module.column)}
    if module.text:
        starts.add((module.text_line, module.text_column))
    if entry is not None:
        starts.add((entry.line, entry.column))
    return _joined([seen for seen in values if (seen.span.line - 1, seen.span.column - 1) in starts])


def _joined(seen: Sequence[Seen]) -> str:
    """Shapes in a line: each once."""
    texts = returned_together(seen)
    more = f" and {len(texts) - _MOST_SHAPES} others" if len(texts) > _MOST_SHAPES else ""
    return " or ".join(texts[:_MOST_SHAPES]) + more


def returned_together(seen: Sequence[Seen]) -> list[str]:
    """The shapes of values, those of one tuple in brackets; each once."""
    values: dict[tuple[str, str], list[str]] = {}
    for each in seen:
        values.setdefault((each.module, each.name.partition("[")[0]), []).append(each.text)
    return list(dict.fromkeys(f"({', '.join(each)})" if len(each) > 1 else each[0] for each in values.values()))


def cursor_of(target: Target, names: Names) -> Cursor:
    """A cursor at the end of a word of code, for what needs the code before it."""
    node = target.node
    lines = names.file.outline.lines
    first = node.text_line
    written = [*lines[first : target.line], lines[target.line][: target.column]]
    if not node.block:  # the key stands on the same line; columns stay what they are
        written[0] = " " * node.text_column + written[0][node.text_column :]
    before = "\n".join(written)
    return Cursor("code", node, target.place, target.word, target.line, target.column, before)
