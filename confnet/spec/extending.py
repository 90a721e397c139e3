"""`extends`: a document that is written as the changes of another one.

Two files become one tree of located values, which is then read as if it had been written out by hand: every value keeps
the place of the file that wrote it, and no later stage knows that there were two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from confnet.diagnostics import Collector, Note
from confnet.source import Mapping, Node, Scalar, Sequence, Source
from confnet.spec.edits import (
    Edit,
    Edits,
    Member,
    Members,
    Step,
    definitions,
    inside,
    is_null,
    mapping_of,
    members,
    node_at,
    rebuilt,
)
from confnet.spec.forms import Forms
from confnet.spec.models import describe
from confnet.spec.words import type_of_default

__all__ = ["base_of", "extended"]

_REPLACED = ("name", "description", "inputs", "outputs", "forward")
_BY_NAME = ("let", "require", "variants", "modules", "methods", "parameters", "buffers", "tie")
_APPENDED = ("include", "apply", "hooks")
_KEYS = ("confnet", "extends", "args", "edit", *_REPLACED, *_BY_NAME, *_APPENDED)
_AROUND = ("before", "replace", "after")


def base_of(source: Source, found: Collector) -> Scalar | None:
    """The path of the document that a source extends, or None where it extends nothing."""
    if not isinstance(source.root, Mapping):
        return None
    path = source.root.get("extends")
    if path is None:
        if "edit" in source.root.index:
            message = "`edit` changes the document that `extends` names, and there is none"
            found.add("missing-key", message, source.root.key("edit").span, help="add `extends:`")
        return None
    if isinstance(path, Scalar) and isinstance(path.value, str):
        return path
    help = "name one base document" if isinstance(path, Sequence) else ""
    found.add("invalid-type", f"`extends` is the path of one file, not {describe(path)}", path.span, help=help)
    return None


def extended(base: Source, source: Source, found: Collector, nesting: int) -> Source:
    """`source` written out: the document of `base` with what `source` changes. Values nest at most `nesting` deep."""
    if not isinstance(base.root, Mapping) or not isinstance(source.root, Mapping):
        return base
    root = _Extension(base, base.root, source.root, found, nesting).document()
    return replace(source, root=root, nodes=base.nodes + source.nodes)


# --- the document -----------------------------------------------------------------------------------------------------


class _Extension(Forms):
    """One document on top of another."""

    def __init__(self, source: Source, base: Mapping, own: Mapping, found: Collector, nesting: int) -> None:
        super().__init__(found)
        self.file, self.base, self.own, self.nesting = source.file, base, own, nesting
        self.known: dict[int, Members] = {}

    def document(self) -> Mapping:
        self.check_keys()
        edited = rebuilt(self.base, self.edits()) if "edit" in self.own.index else self.base
        assert isinstance(edited, Mapping), "an edit changes what is inside the document"
        merged = dict(edited.index)
        keys = {key.text: key for key, _ in self.base}
        for key, node in self.own:
            before = merged.get(key.text)
            # A base without its version is told of.
            if key.text in _REPLACED or (key.text == "confnet" and _is_version(before)):
                merged[key.text] = node
            elif key.text == "args":
                merged[key.text] = self.merged(before, node, self.default)
            elif key.text in _BY_NAME:
                merged[key.text] = self.merged(before, node, lambda _, new: new)
            elif key.text in _APPENDED:
                merged[key.text] = _appended(before, node)
            else:
                continue
            keys[key.text] = key
        return mapping_of(self.own, [(keys[name], node) for name, node in merged.items()])

    def check_keys(self) -> None:
        for key, _ in self.own:
            if key.text in _KEYS:
                continue
            guess = self.found.closest(key.text, _KEYS)
            help = f"did you mean `{guess}`?" if guess else "change what the base says with `edit`, path by path"
            message = f"`{key.text}` is not a key of a document that extends another"
            self.error("unknown-key", message, key.span, help, fix=guess)

    def merged(self, before: Node | None, node: Node, value: Callable[[Node, Node], Node]) -> Node:
        """The entries of both by name: those of the base in their order and place, then what is new."""
        if before is None or is_null(before) or not isinstance(before, Mapping):
            return node
        if is_null(node):
            return before
        if not isinstance(node, Mapping):
            self.error("invalid-type", f"a mapping is expected here, not {describe(node)}", node.span)
            return before
        new = {key.text: (key, child) for key, child in node}
        entries: list[tuple[Scalar, Node]] = []
        for key, child in before:
            if key.text in new:
                own_key, own_child = new.pop(key.text)
                entries.append((own_key, value(child, own_child)))
            else:
                entries.append((key, child))
        return mapping_of(before, [*entries, *new.values()])

    def default(self, declaration: Node, value: Node) -> Node:
        """The declaration of an arg with another default: its type, bounds and choices stay."""
        if isinstance(declaration, Mapping):
            entries = [(key, node) for key, node in declaration if key.text != "default"]
            kind, default = declaration.get("type"), declaration.get("default")
            if kind is None:
                kind = _word(type_of_default(default), value)
                entries.append((_word("type", value), kind))
            if default is not None and is_null(default) and "nullable" not in declaration.index:
                entries.append((_word("nullable", value), Scalar(True, "true", value.span)))
        elif isinstance(declaration, Scalar) and isinstance(declaration.value, str) and declaration.text[:1] != "$":
            kind = declaration
            entries = [(_word("type", declaration), kind)]
        else:
            kind = _word(type_of_default(declaration), value)
            entries = [(_word("type", value), kind)]
        nullable = {key.text: node for key, node in entries}.get("nullable")
        may = isinstance(kind, Scalar) and (
            kind.text == "any" or (isinstance(nullable, Scalar) and nullable.value is True)
        )
        if is_null(value) and not may:
            self.error("invalid-type", "a value is expected here: the base does not let this arg be null", value.span)
        return mapping_of(declaration, [*entries, (_word("default", value), value)])

    # --- edits --------------------------------------------------------------------------------------------------------

    def edits(self) -> Edits:
        """The edits by their steps from the base's root. All are found in the base as written: order is nothing."""
        edits = Edits()
        node = self.own.index["edit"]
        placed: dict[tuple[Step, ...], Scalar] = {}
        for key, change in self.named(node, lambda key, change: (key, change)):
            steps = self.located(key)
            if steps is not None:
                around = self.around(key, change, isinstance(steps[-1], int))
                if around is not None and self.may_stand(around, key, steps):
                    placed[steps] = key
                    edits.put(steps, around)
        self.check_conflicts(placed, edits)
        self.check_names(self.base, edits)
        return edits

    def located(self, path: Scalar) -> tuple[Step, ...] | None:
        """The steps to the module of a path, or None where the base has none there, which is reported."""
        steps: tuple[Step, ...] = ()
        holder: Node = self.base
        rest, done = path.text, ""
        while True:
            found = self.members(holder)
            member = found.of(rest)
            if member is None:
                self.unknown(path, done, rest, found.names, holder)
                return None
            steps += member.steps
            if rest == member.name:
                if not done and steps[0] == "modules":
                    message = f"`{path.text}` is a definition, and `edit` changes modules"
                    help = f"replace it under `modules:`, or edit a child of it: `{path.text}.name`"
                    self.error("unknown-edit", message, path.span, help, [Note("defined here", member.node.span)])
                    return None
                return steps
            done, rest = f"{done}{member.name}.", rest[len(member.name) + 1 :]
            further, holder = inside(member)
            steps += further

    def members(self, holder: Node) -> Members:
        """The modules inside a node, looked up once; inside the document also its definitions."""
        if id(holder) not in self.known:
            found = dict(members(holder)) if isinstance(holder, Mapping) else {}
            if holder is self.base:
                for name, definition in definitions(self.base):
                    found.setdefault(name, Member(("modules", name), definition, name))
            self.known[id(holder)] = Members(found)
        return self.known[id(holder)]

    def unknown(self, path: Scalar, done: str, rest: str, members: Iterable[str], holder: Node) -> None:
        names = list(members)
        head = rest.partition(".")[0]
        guess = self.found.closest(head, names)
        whole = guess + rest[len(head) :] if guess is not None else self.found.closest(rest, names)
        if whole is not None:
            help = f"did you mean `{done}{whole}`?"
        elif names:
            help = f"there are {', '.join(f'`{done}{name}`' for name in names[:20])}"
        else:
            help = "replace the whole module"
        where = f"the module `{done[:-1]}` of `{self.file}`" if done else f"`{self.file}`"
        included = not done and head[:1].isupper() and "include" in self.base.index
        if included and whole is None:
            help = "a definition of a file that the base includes is replaced under `modules:`"
        fix = None if whole is None else f"{done}{whole}"
        notes = [Note("in the base", holder.span if done else self.first_key(self.base))]
        self.error("unknown-edit", f"{where} has no child `{rest if done else path.text}`", path.span, help, notes, fix)

    def around(self, path: Scalar, change: Node, in_list: bool) -> Edit | None:
        """What an edit says: a module in the place of another, or what to put before and after it."""
        key = None if in_list or "$" in path.text else path
        if not isinstance(change, Mapping) or not set(change.index) & set(_AROUND):
            return Edit(path, key, True, change)
        self.unknown_keys(change, _AROUND, "an edit")
        edit = Edit(path, key, "replace" in change.index, change.get("replace"))
        for where, into in (("before", edit.before), ("after", edit.after)):
            node = change.get(where)
            if node is None:
                continue
            if in_list:
                into += self.each(node, lambda item: (path, item))
            else:
                into += self.named(node, lambda name, item: (name, item))
        return edit

    def may_stand(self, edit: Edit, path: Scalar, steps: tuple[Step, ...]) -> bool:
        """Whether all of an edit nests no deeper than a file may."""
        nodes = [*(node for _, node in (*edit.before, *edit.after)), *([edit.node] if edit.node else [])]
        heights: dict[int, int] = {}
        if len(steps) + 1 + max((_height(node, heights) for node in nodes), default=0) <= self.nesting:
            return True
        self.error("nested-too-deeply", f"values are nested more than {self.nesting} deep", path.span)
        return False

    def check_conflicts(self, placed: dict[tuple[Step, ...], Scalar], edits: Edits) -> None:
        """Report an edit of what another edit, or a definition of this file, has replaced."""
        own = self.own.get("modules")
        own_modules = {key.text: key for key, _ in own} if isinstance(own, Mapping) else {}
        for steps, path in placed.items():
            above = next(
                (placed[steps[:end]] for end in range(1, len(steps)) if edits.replaces(steps[:end])),
                own_modules.get(str(steps[1])) if steps[0] == "modules" else None,
            )
            if above is not None:
                message = f"`{path.text}` lies inside what `{above.text}` replaces"
                notes = [Note("replaced here", above.span)]
                self.error("edit-conflict", message, path.span, "make the change there, or leave one out", notes)

    def check_names(self, node: Node, edits: Edits) -> None:
        """Report names that are put where a name like this stands already."""
        if isinstance(node, Mapping):
            removed = {step for step, inner in edits.inner.items() if inner.edit is not None and inner.edit.removes}
            taken = {key.text: key for key, _ in node if key.text not in removed}
            for inner in edits.inner.values():
                for name, _ in (*inner.edit.before, *inner.edit.after) if inner.edit is not None else ():
                    if name.text in taken:
                        notes = [Note("first written", taken[name.text].span)]
                        message = f"the key `{name.text}` stands twice in one mapping"
                        self.error("duplicate-key", message, name.span, "choose another name", notes)
                    taken[name.text] = name
        for step, inner in edits.inner.items():
            if inner.inner:
                self.check_names(node_at(node, step), inner)


# --- nodes ------------------------------------------------------------------------------------------------------------


def _appended(before: Node | None, node: Node) -> Node:
    """Both lists in one; what is no list is left for the reader to report."""
    if isinstance(before, Sequence) and isinstance(node, Sequence):
        return replace(before, items=(*before.items, *node.items))
    return before if before is not None and is_null(node) else node


def _word(text: str, place: Node) -> Scalar:
    """A word that nobody wrote, at the place of what it is about."""
    return Scalar(text, text, place.span)


def _is_version(node: Node | None) -> bool:
    return isinstance(node, Scalar) and type(node.value) is int and node.value == 1


def _height(node: Node, known: dict[int, int]) -> int:
    """How deep a node nests; `known` are those of nodes that aliases repeat."""
    if id(node) not in known:
        inner: Iterable[Node] = ()
        if isinstance(node, Mapping):
            inner = (child for _, child in node)
        elif isinstance(node, Sequence):
            inner = node.items
        known[id(node)] = 1 + max((_height(child, known) for child in inner), default=0)
    return known[id(node)]
