"""What may be written at the cursor: layers, their arguments, our own keys, values; code has a file of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from confnet.blocks import block_names
from confnet.catalog.arguments import Argument
from confnet.catalog.documentation import (
    Documentation,
    hook_documentation,
    initializer_documentation,
    layer_documentation,
    parametrization_documentation,
)
from confnet.catalog.functions import DTYPES
from confnet.catalog.hooks import BUILTIN_HOOKS, HOOK_KINDS
from confnet.catalog.initializers import initializer_names
from confnet.catalog.parametrizations import parametrization_names
from confnet.catalog.registry import DEFAULT_REGISTRY, layer_names, lookup
from confnet.language.arithmetic import FUNCTIONS
from confnet.lsp.cursor import Cursor
from confnet.lsp.grammar import KEYS, Place, layer_entry
from confnet.lsp.names import Named, Names
from confnet.lsp.outline import Node
from confnet.lsp.wording import argument_line, argument_text, arguments_of, counted, documentation_of, page, signature
from confnet.plan import CONTAINERS
from confnet.spec.words import ARG_TYPES

__all__ = ["Completer", "Item", "Kind"]

Kind = Literal[
    "layer", "argument", "key", "value", "name", "child", "function", "method", "definition", "file", "module"
]


@dataclass(frozen=True, slots=True)
class Item:
    """Something that may be written: `insert` is what is put in place of the word; in a `snippet` `$1` is a field.

    `sort` orders items of equal fit. `about` gives the text that is shown beside it, when somebody looks.
    """

    label: str
    kind: Kind
    insert: str = ""
    detail: str = ""
    snippet: bool = False
    sort: str = "5"
    about: Callable[[], str] | None = None


_INPUT_TYPES: Final = ("tensor", "list", "int", "float", "bool", "str", "dict", "any")
_OPENS: Final = frozenset(
    {"args", "let", "require", "inputs", "outputs", "methods", "children", "parameters", "buffers", "tie", "variants",
     "modules", "edit", "init", "parametrize", "apply", "hooks", "include"}
)  # fmt: skip


class Completer:
    """Answers for one file. `snippets` tells that the editor has fields to fill in."""

    def __init__(self, names: Names, folder: str | None, snippets: bool) -> None:
        self.names, self.folder, self.snippets = names, folder, snippets

    def items(self, cursor: Cursor) -> list[Item]:
        """What may stand at a cursor in YAML or in `$`; code is answered elsewhere."""
        if cursor.slot == "expression":
            return list(self.expression(cursor))
        if cursor.slot == "key":
            return list(self.keys(cursor, cursor.node))
        return list(self.values(cursor)) if cursor.slot == "value" else []

    # --- keys -----------------------------------------------------------------------------------------------------

    def keys(self, cursor: Cursor, owner: Node) -> Iterator[Item]:
        kind = cursor.place.kind
        module = kind in ("document", "definition", "module")
        if module and owner.get("repeat") is not None:
            kind, module = "repeat", False
        for key, text in KEYS.get(kind, {}).items():
            if key not in cursor.taken:
                yield self.own_key(key, text, cursor)
        if module and (not any(layer[:1].isupper() for layer in cursor.taken)) and "children" not in cursor.taken:
            yield from self.layers(cursor, as_key=True)
        if kind.endswith("arguments"):
            yield from self.arguments(cursor)
        elif kind == "argument" or kind == "edited":
            yield from self.layers(cursor, as_key=True)
        elif kind == "initializer":
            yield from self.initializers(cursor, as_key=True)
        elif kind == "parametrization":
            yield from self.parametrizations(cursor, as_key=True)
        elif kind == "hook call":
            yield from self.hooks(cursor, as_key=True)
        elif kind in ("init", "parametrize"):
            yield from self.parameters(cursor, owner)
        elif kind == "variant":
            root = owner.chain()[0]
            for name, named in self.names.constants(root).items():
                if named.what == "arg" and name not in cursor.taken:
                    yield Item(name, "name", self.after(name, cursor), _shown(named))

    def own_key(self, key: str, text: str, cursor: Cursor) -> Item:
        if cursor.has_colon:
            insert = key
        else:
            insert = f"{key}: "
            if cursor.in_flow or key not in _OPENS:
                insert += "1" if key == "confnet" else ""
            else:
                insert = f"{key}:"
        return Item(key, "key", insert, "confnet", sort="3", about=lambda: text)

    def after(self, name: str, cursor: Cursor) -> str:
        return name if cursor.has_colon else f"{name}: "

    def arguments(self, cursor: Cursor) -> Iterator[Item]:
        documentation = documentation_of(cursor.place)
        for argument in arguments_of(cursor.place):
            if argument.name not in cursor.taken:
                yield Item(
                    argument.name, "argument", self.after(argument.name, cursor), argument_line(argument),
                    sort="1" if argument.required else "2", about=_about_argument(argument, documentation),
                )  # fmt: skip
        definition = self.names.definitions.get(cursor.place.of) if cursor.place.kind == "arguments" else None
        args = definition.node.get("args") if definition is not None else None
        for node in args.children if args is not None else ():
            if node.key and node.key not in cursor.taken:
                detail = f"{node.key}: {node.text}" if node.text and not node.block else node.key
                yield Item(node.key, "argument", self.after(node.key, cursor), detail, sort="1")

    def parameters(self, cursor: Cursor, owner: Node) -> Iterator[Item]:
        """The names of parameters that `init` or `parametrize` may have for keys."""
        module = owner.parent
        if module is None:
            return
        known = self.names.state(module)
        where = module.get("where")
        if where is not None and where.get("type") is not None:
            pattern = where.get("type")
            layer = lookup(pattern.scalar) if pattern is not None else None
            known = dict.fromkeys(layer.parameters, "parameter") if layer is not None else {}
        for name, what in known.items():
            if what == "parameter" and name not in cursor.taken:
                yield Item(name, "name", self.after(name, cursor), "parameter")

    # --- values ---------------------------------------------------------------------------------------------------

    def values(self, cursor: Cursor) -> Iterator[Item]:
        kind, node = cursor.place.kind, cursor.node
        simple = self.simple(kind)
        for word, detail in simple:  # inside `{ }` YAML wants quotes around `list[int]`
            yield Item(word, "value", f'"{word}"' if cursor.in_flow and "[" in word else word, detail)
        if simple:
            return
        if kind in ("module", "definition"):
            yield from self.layers(cursor, as_key=node.is_item and not node.in_flow)
            if node.is_item and not node.in_flow:
                for key in ("repeat", "share", "when"):
                    yield self.own_key(key, KEYS["module"][key], cursor)
        elif kind == "initializer":
            yield from self.initializers(cursor, as_key=False)
        elif kind == "parametrization":
            yield from self.parametrizations(cursor, as_key=False)
        elif kind == "hook call":
            yield from self.hooks(cursor, as_key=False)
        elif kind == "type pattern":
            yield from (Item(name, "layer", name) for name in self.names.definitions)
            yield from (Item(name, "layer", name) for name in layer_names())
        elif kind in ("include", "includes"):
            yield from self.files(cursor)
        elif kind in ("name pattern", "path"):
            yield from self.paths(cursor)
        elif kind.endswith("argument"):
            yield from self.argument(cursor)
        elif node.is_item and not node.in_flow and kind in KEYS:
            for key, text in KEYS[kind].items():
                yield self.own_key(key, text, cursor)

    def simple(self, kind: str) -> list[tuple[str, str]]:
        """The words that a place takes, where they are few."""
        tables: dict[str, Iterable[tuple[str, str]]] = {
            "flag": (("true", ""), ("false", "")),
            "version": (("1", "the version of the language"),),
            "dtype": ((name, "dtype") for name in sorted(DTYPES)),
            "arg": ((name, "required") for name in ARG_TYPES),
            "type": ((name, "") for name in ARG_TYPES),
            "input type": ((name, "") for name in _INPUT_TYPES),
            "hook kind": ((hook.name, ", ".join(hook.arguments)) for hook in HOOK_KINDS.values()),
        }
        return list(tables.get(kind, ()))

    def argument(self, cursor: Cursor) -> Iterator[Item]:
        """The values of an argument: texts it takes, true and false, dtypes, modules, `$` names."""
        found = given = arguments_of(cursor.place)
        name = cursor.place.argument
        argument = given[int(name)] if name.isdecimal() and int(name) < len(given) else None
        argument = argument or next((each for each in found if each.name == name), None)
        if argument is not None:
            words = list(argument.texts)
            if "bool" in argument.type:
                words += ["true", "false"]
            if "dtype" in argument.type:
                words += sorted(DTYPES)
            if argument.inferable:
                words.append("auto")
            yield from (Item(word, "value", word, argument.name, sort="1") for word in words)
            if argument.takes_module:
                yield from self.layers(cursor, as_key=False)
        for name, named in self.names.values(cursor.node).items():
            yield Item(f"${name}", "name", f"${name}", _shown(named), sort="2")

    def files(self, cursor: Cursor) -> Iterator[Item]:
        yield from (Item(name, "file", name, "comes with confnet") for name in block_names())
        for path in _yaml_files(self.folder) if self.folder is not None else ():
            if path != os.path.basename(self.names.file.name):
                yield Item(path, "file", path)

    def paths(self, cursor: Cursor) -> Iterator[Item]:
        body = self.names.body(cursor.node)
        for name, named in self.names.members(body).items():
            if named.what == "child":
                yield Item(name, "child", name, self.names.layer(named.node))

    # --- names of the catalog -------------------------------------------------------------------------------------

    def layers(self, cursor: Cursor, as_key: bool) -> Iterator[Item]:
        for name in (*CONTAINERS, *(each for each in layer_names() if each not in CONTAINERS)):
            layer = lookup(name)
            if layer is None:
                continue
            required = [argument.name for argument in layer.arguments if argument.required]
            insert, snippet = self.written(name, required, cursor, as_key, bool(layer.container))
            detail = signature(name, layer.arguments)
            yield Item(name, "layer", insert, detail, snippet, "4", _about(layer_documentation, name, detail))
        for name, named in self.names.definitions.items():
            args = named.node.get("args")
            required = [each.key for each in args.children if _is_required(each)] if args is not None else []
            insert, snippet = self.written(name, required, cursor, as_key, False)
            description = named.node.get("description")
            text = description.scalar if description is not None else ""
            yield Item(name, "definition", insert, "definition", snippet, "1", partial(str, text))
        for name, named in self.names.values(cursor.node).items():
            kind = named.node.get("type")
            if kind is not None and kind.scalar in ("module", "layer"):
                yield Item(f"${name}", "name", f"${name}", _shown(named), sort="2")

    def written(
        self, name: str, required: list[str], cursor: Cursor, as_key: bool, is_container: bool
    ) -> tuple[str, bool]:
        """A layer with fields for what it needs, in the form that fits where it stands."""
        if cursor.has_colon:
            return name, False
        alone = cursor.slot == "value"
        if is_container:
            return (f"{name}:" if as_key and not cursor.in_flow else f"{{{name}: " if alone else f"{name}: "), False
        if not required:
            return (name if alone else f"{name}: {{}}"), False
        if not self.snippets:
            return (f"{name}: " if as_key else name), False
        fields = ", ".join(f"{each}: ${{{place}}}" for place, each in enumerate(required, 1))
        body = f"{name}: {{{fields}}}"
        return (body if as_key else f"{{{body}}}"), True

    def initializers(self, cursor: Cursor, as_key: bool) -> Iterator[Item]:
        for name in (*initializer_names(), *DEFAULT_REGISTRY.initializers):
            arguments = arguments_of(Place("init arguments", name))
            yield self.called(name, arguments, as_key, initializer_documentation)
        if as_key:
            yield Item("value", "key", "value: ", "code over `shape`", sort="6")

    def parametrizations(self, cursor: Cursor, as_key: bool) -> Iterator[Item]:
        for name in parametrization_names():
            arguments = arguments_of(Place("parametrize arguments", name))
            yield self.called(name, arguments, as_key, parametrization_documentation)

    def hooks(self, cursor: Cursor, as_key: bool) -> Iterator[Item]:
        owner = cursor.node.parent
        kind = owner.get("kind") if owner is not None else None
        wanted = kind.scalar if kind is not None else ""
        for hook in BUILTIN_HOOKS.values():
            if not wanted or wanted in hook.kinds:
                yield self.called(hook.name, hook.arguments, as_key, hook_documentation)
        for name in DEFAULT_REGISTRY.hooks:
            yield Item(name, "function", f"{name}: {{}}" if as_key else name, "registered")

    def called(
        self, name: str, arguments: Iterable[Argument], as_key: bool, find: Callable[[str], Documentation | None]
    ) -> Item:
        required = [argument.name for argument in arguments if argument.required]
        detail = signature(name, arguments)
        about = _about(find, name, detail)
        if not required or not self.snippets:
            return Item(name, "function", f"{name}: " if as_key else name, detail, sort="4", about=about)
        fields = ", ".join(f"{each}: ${{{place}}}" for place, each in enumerate(required, 1))
        body = f"{name}: {{{fields}}}"
        return Item(name, "function", body if as_key else f"{{{body}}}", detail, True, "4", about)

    # --- `$` ------------------------------------------------------------------------------------------------------

    def expression(self, cursor: Cursor) -> Iterator[Item]:
        """The names of an expression; functions only inside `$( )`."""
        for name, named in self.names.values(cursor.node).items():
            yield Item(name, "name", name, _shown(named), sort="1")
        inside = cursor.before.startswith("(")
        for name, (_, fewest, most) in FUNCTIONS.items() if inside else ():
            yield Item(name, "function", name, f"function of {counted(fewest, most)}", sort="3")


def _is_required(arg: Node) -> bool:
    """Whether an entry of `args` has no default: a bare type name, or the long form without one."""
    kind = arg.get("type")
    if kind is not None:
        return arg.get("default") is None
    return arg.scalar in ARG_TYPES


def _shown(named: Named) -> str:
    """What is written for a name, in a line."""
    text = named.node.text if not named.node.block else ""
    layer = layer_entry(named.node) if named.what == "child" else None
    text = layer.key if layer is not None else text.split("\n")[0][:60]
    return f"{named.what} {text}".rstrip()


def _about(find: Callable[[str], Documentation | None], name: str, heading: str) -> Callable[[], str]:
    return lambda: page(find(name), heading)


def _about_argument(argument: Argument, documentation: Documentation | None) -> Callable[[], str]:
    return lambda: argument_text(argument, documentation)


def _yaml_files(folder: str, most: int = 200) -> list[str]:
    """The YAML files of a folder and below, as an include names them."""
    found: list[str] = []
    for path, folders, files in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for name in sorted(files):
            if name.endswith((".yaml", ".yml")):
                found.append(os.path.relpath(os.path.join(path, name), folder).replace(os.sep, "/"))
        if len(found) > most or path.count(os.sep) - folder.count(os.sep) >= 3:
            folders[:] = []
    return found[:most]
