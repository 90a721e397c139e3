"""Located values to a `Document`: one model per kind of node, chosen by the keys that the node has.

Every mistake of form in a file is collected; the caller raises them together.
"""

from __future__ import annotations

from typing import Any

from confnet.diagnostics import Collector, Span, closest
from confnet.plan import CONTAINERS
from confnet.source import Mapping, Node, Scalar, Source
from confnet.spec.models import DefinitionSpec, Document, IncludeSpec, ModuleSpec, VariantSpec, describe
from confnet.spec.modules import ModuleReader
from confnet.spec.words import (
    COMPOSITE_KEYS,
    HEADER_KEYS,
    LAYER_KEY,
    MODIFIER_KEYS,
    SCOPE_KEYS,
    camel_case,
    is_layer_key,
    misspelt,
)

__all__ = ["read_document", "read_module"]


def read_document(source: Source, stem: str, found: Collector) -> Document | None:
    """The document of a source, or None where its form is so wrong that nothing of it can be used."""
    return _DocumentReader(found).document(source, stem)


def read_module(node: Node, label: str, found: Collector) -> ModuleSpec | None:
    """The module that a node writes, for arguments whose type is a module."""
    return ModuleReader(found).module(node, label)


class _DocumentReader(ModuleReader):
    """Reads whole files."""

    def document(self, source: Source, stem: str) -> Document | None:
        node = source.root
        if not isinstance(node, Mapping):
            self.error(
                "invalid-type", f"a document is a mapping, not {describe(node)}", node.span, "start with `confnet: 1`"
            )
            return None
        self.version(node)
        name = self.class_name(node.get("name"), camel_case(stem))
        header = {
            key.text: value
            for key, value in node
            if key.text in (*HEADER_KEYS, "description", "args", "let", "require")
        }
        has_root = any(is_layer_key(key.text) or key.text in COMPOSITE_KEYS for key, _ in node)
        values: dict[str, Any] = {
            "span": Span(source.file, 1, 1, 1, 1),
            "file": source.file,
            "name": name,
            "description": header.get("description"),
            "include": self.each(header.get("include"), self.include),
            "variants": self.named(header.get("variants"), self.variant),
            "modules": self.named(header.get("modules"), self.definition),
            "args": self.named(header.get("args"), self.arg),
            "let": self.named(header.get("let"), self.let),
            "require": self.named(header.get("require"), self.require),
            "root": self.root(node, name) if has_root else None,
        }
        if not has_root:
            self.unknown_keys(
                node, (*HEADER_KEYS, *SCOPE_KEYS, *MODIFIER_KEYS, *COMPOSITE_KEYS), "a document", layer=True
            )
            if not header.get("modules") and not misspelt(node, (*COMPOSITE_KEYS, "modules")):
                self.error(
                    "no-module",
                    "the document has no module",
                    self.first_key(node),
                    "write a layer key such as `Sequential:`, a body (`children:`, `forward:`), or `modules:`",
                )
            elif header.get("modules"):
                self.of_a_module(node)
        return self.validated(Document, values, node)

    def of_a_module(self, node: Mapping) -> None:
        """A document that only defines modules has none of its own that anything could be said of."""
        for key, _ in node:
            if key.text in ("inputs", "outputs", "methods", *MODIFIER_KEYS):
                self.error(
                    "no-module",
                    f"`{key.text}` says something of a module, and the document only defines some",
                    key.span,
                    "write it into a definition, or add a layer key or a body to the document",
                )

    def version(self, node: Mapping) -> None:
        version = node.get("confnet")
        if version is None:
            near = next((key for key, _ in node if closest(key.text, ["confnet"])), None)
            if near is None:
                self.error(
                    "missing-key",
                    "the document does not say `confnet: 1`",
                    self.first_key(node),
                    "make it the first line",
                )
        elif not isinstance(version, Scalar) or type(version.value) is not int or version.value != 1:
            self.error(
                "unknown-version",
                f"the language version is 1, not {describe(version)}",
                version.span,
                "write `confnet: 1`",
            )

    def class_name(self, node: Node | None, default: str) -> str:
        if node is None:
            return default
        if not isinstance(node, Scalar) or not isinstance(node.value, str) or not LAYER_KEY.fullmatch(node.value):
            self.error(
                "invalid-name",
                f"a class name is a capitalised identifier, not {describe(node)}",
                node.span,
                f"write `name: {camel_case(node.text)}`" if isinstance(node, Scalar) and node.text else "",
            )
            return default
        return node.value

    def root(self, node: Mapping, name: str) -> ModuleSpec | None:
        kept = [(k, v) for k, v in node if k.text not in (*HEADER_KEYS, "args", "let", "require")]
        inner = Mapping(tuple(kept), node.span, node.flow, {k.text: v for k, v in kept})
        return self.body_module(
            inner, name, "a document", (*HEADER_KEYS, *SCOPE_KEYS, *COMPOSITE_KEYS, *MODIFIER_KEYS), node.span
        )

    def include(self, node: Node) -> IncludeSpec | None:
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            self.error("invalid-type", f"an include is the path of a file, not {describe(node)}", node.span)
            return None
        return IncludeSpec(span=node.span, path=node)

    def variant(self, key: Scalar, node: Node) -> VariantSpec | None:
        if isinstance(node, Scalar) and node.value is None:
            node = Mapping((), node.span)
        if not isinstance(node, Mapping):
            self.error("invalid-type", f"a variant is a mapping of args, not {describe(node)}", node.span)
            return None
        return VariantSpec(span=key.span, name=key.text, args=node)

    def definition(self, key: Scalar, node: Node) -> DefinitionSpec | None:
        if not LAYER_KEY.fullmatch(key.text):
            self.error(
                "invalid-name",
                f"a definition has a capitalised name, not `{key.text}`",
                key.span,
                f"call it `{camel_case(key.text)}`",
            )
            return None
        if key.text in CONTAINERS:
            self.error("reserved-name", f"`{key.text}` is a container of torch", key.span, "choose another name")
            return None
        if not isinstance(node, Mapping):
            self.error("invalid-type", f"a definition is a mapping, not {describe(node)}", node.span)
            return None
        label = self.class_name(node.get("name"), key.text)
        allowed = ("name", *SCOPE_KEYS, *COMPOSITE_KEYS, *MODIFIER_KEYS)
        module = self.body_module(node, label, "a definition", allowed, key.span)
        return DefinitionSpec(span=key.span, name=key.text, module=module) if module else None
