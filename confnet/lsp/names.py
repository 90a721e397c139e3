"""The names that an outline defines, and which of them a place can use: args, children, parameters, definitions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from confnet.catalog.hooks import HOOK_KINDS
from confnet.catalog.registry import lookup
from confnet.lsp.grammar import layer_entry, modules_in, place_of
from confnet.lsp.outline import Node, Outline
from confnet.plan import CONTAINERS
from confnet.spec.words import is_layer_key

__all__ = ["File", "Named", "Names"]

_ASSIGNED = re.compile(r"^\s*(?:for\s+(.+?)\s+in\b|([^\W\d][\w\s,.()\[\]*]*?)\s*(?:[-+*/@%&|^]|//|\*\*|<<|>>)?=(?!=))")
_NAME = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True)
class File:
    """A file as an outline: `name` is its path, or the name that an include gives to a file of the package."""

    name: str
    outline: Outline


@dataclass(frozen=True, slots=True)
class Named:
    """Something that a file gives a name: `what` says in a word what it is, `node` where it stands."""

    name: str
    what: str
    file: File
    node: Node


class Names:
    """What a file's names mean. `read` gives the file that an include of a file names, or None."""

    def __init__(self, file: File, read: Callable[[File, str], File | None]) -> None:
        self.file, self.read = file, read

    # --- definitions ----------------------------------------------------------------------------------------------

    @cached_property
    def definitions(self) -> dict[str, Named]:
        """The definitions that this file can use: its own, those of its includes and of what it extends."""
        found: dict[str, Named] = {}
        for file in self.reached(self.file, 0):
            modules = file.outline.root.get("modules")
            for node in modules.children if modules is not None else ():
                if node.key:
                    found.setdefault(node.key, Named(node.key, "definition", file, node))
        return found

    def reached(self, file: File, depth: int) -> Iterator[File]:
        """A file, what it extends, and what it includes."""
        yield file
        root = file.outline.root
        extends, include = root.get("extends"), root.get("include")
        if extends is not None and depth < 8:
            base = self.read(file, extends.scalar)
            if base is not None:
                yield from self.reached(base, depth + 1)
        for item in include.children if include is not None else ():
            other = self.read(file, item.scalar)
            if other is not None:
                yield other

    # --- `$` ------------------------------------------------------------------------------------------------------

    def values(self, node: Node) -> dict[str, Named]:
        """What `$name` may name at a node: args and `let` around it, and the steps of repeats."""
        found: dict[str, Named] = {}
        for around in reversed(node.chain()):
            step = around.get("as") if around.get("repeat") is not None else None
            if step is not None and step.scalar:
                found.setdefault(step.scalar, Named(step.scalar, "step", self.file, step))
            elif step is None and around.get("repeat") is not None:
                continue
            place = place_of(around).kind
            if place in ("document", "definition"):
                found.update({k: v for k, v in self.constants(around).items() if k not in found})
        return found

    def constants(self, body: Node, file: File | None = None) -> dict[str, Named]:
        """The args and `let` of a document or definition."""
        found = {}
        for key, what in (("args", "arg"), ("let", "let")):
            section = body.get(key)
            for node in section.children if section is not None else ():
                if node.key:
                    found[node.key] = Named(node.key, what, file or self.file, node)
        return found

    # --- code -----------------------------------------------------------------------------------------------------

    def body(self, node: Node) -> Node:
        """The module whose code or state a node belongs to."""
        for around in reversed(node.chain()[:-1] or node.chain()):
            kind = place_of(around).kind
            if kind in ("document", "definition"):
                return around
            if kind == "module" and any(around.get(key) is not None for key in ("children", "forward")):
                return around
        return node.chain()[0]

    def in_code(self, node: Node) -> dict[str, Named]:
        """What the code at a node may read or call by a bare name, inputs first."""
        body = self.body(node)
        found = dict(self.inputs(node, body))
        if place_of(node).kind == "code" and node.key in ("value",):
            found = {}
        if (given := self.members(body)) and not self._is_hook_without_body(node, body):
            for name, named in given.items():
                found.setdefault(name, named)
        for name, named in self.values(body).items():
            found.setdefault(name, named)
        return found

    def _is_hook_without_body(self, node: Node, body: Node) -> bool:
        return node.key == "do" and body.get("children") is None and body.get("forward") is None

    def inputs(self, node: Node, body: Node) -> Iterator[tuple[str, Named]]:
        """The inputs of the code at a node, with the arguments of a hook."""
        owner = node.parent if node.parent is not None else body
        if node.key == "do":
            kind = owner.get("kind")
            known = HOOK_KINDS.get(kind.scalar) if kind is not None else None
            with_kwargs = owner.get("with_kwargs")
            keywords = with_kwargs is not None and with_kwargs.scalar == "true"
            for name in known.names(keywords and "args" in known.arguments) if known is not None else ():
                yield name, Named(name, "input", self.file, owner)
            return
        if node.key == "value":
            return
        holder = node if place_of(node).kind == "method" and not node.children else owner
        inputs = holder.get("inputs")
        if inputs is None:
            yield "x", Named("x", "input", self.file, holder)
            return
        for item in inputs.children:
            name = item.key or item.scalar
            if name:
                yield name, Named(name, "input", self.file, item)

    def members(self, body: Node, file: File | None = None) -> dict[str, Named]:
        """The children, parameters, buffers and methods of a module with a body, or of a container."""
        file = file or self.file
        found: dict[str, Named] = {}
        for name, node in self.children(body):
            found[name] = Named(name, "child", file, node)
        for key, what in (("parameters", "parameter"), ("buffers", "buffer"), ("methods", "method")):
            section = body.get(key)
            for node in section.children if section is not None else ():
                if node.key:
                    found[node.key] = Named(node.key, what, file, node)
        return found

    def children(self, body: Node) -> Iterator[tuple[str, Node]]:
        """The children of a module by name, as far as their names are written."""
        section = body.get("children")
        if section is None:
            layer = layer_entry(body)
            section = layer if layer is not None and layer.key in CONTAINERS else None
        for place, node in enumerate(modules_in(section)) if section is not None else ():
            name = node.key or (str(place) if node.is_item else "")
            if name and "$" not in name:
                yield name, node

    @staticmethod
    def locals(lines: list[str]) -> dict[str, tuple[int, int]]:
        """The names that lines of code assign, with the place of their last assignment."""
        found = {}
        for number, line in enumerate(lines):
            match = _ASSIGNED.match(line)
            group = 1 if match and match[1] else 2
            if match is None or line.lstrip().startswith(("return", "assert", "if", "elif")):
                continue
            for name in _NAME.finditer(line, match.start(group), match.end(group)):
                if line[: name.start()].rstrip()[-1:] not in (".", "["):
                    found[name[0]] = (number, name.start())
        return found

    # --- modules --------------------------------------------------------------------------------------------------

    def layer(self, module: Node) -> str:
        """The name of the layer or definition of a module; that of a `$name` is its default."""
        entry = layer_entry(module)
        name = entry.key if entry is not None else module.scalar
        if name.startswith("$") and not name.startswith("$("):
            arg = self.values(module).get(name[1:])
            default = arg.node.get("default") if arg is not None else None
            if default is None:
                return ""
            entry = layer_entry(default)
            name = entry.key if entry is not None else default.scalar
        return name if is_layer_key(name) else ""

    def inside(self, module: Named) -> dict[str, Named]:
        """What can be read of a child by attribute, as far as the file says it."""
        node, file = module.node, module.file
        if node.get("children") is not None or node.get("forward") is not None:
            return self.members(node, file)
        name = self.layer(node)
        if name in CONTAINERS:
            return self.members(node, file)
        definition = self.definitions.get(name)
        if definition is None:
            return {}
        given = self.members(definition.node, definition.file)
        return {**given, **self.constants(definition.node, definition.file)}

    def state(self, module: Node) -> dict[str, str]:
        """The parameters, buffers, arguments and inner modules of a layer of the catalog, with what they are."""
        layer = lookup(self.layer(module))
        if layer is None:
            return {}
        found = {argument.name: "argument" for argument in layer.arguments}
        found.update(dict.fromkeys(layer.buffers, "buffer"))
        found.update(dict.fromkeys(layer.parameters, "parameter"))
        found.update(dict.fromkeys(layer.children, "child"))
        return {name: what for name, what in found.items() if "*" not in name}
