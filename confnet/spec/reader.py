"""Located values to a `Document`: one model per kind of node, chosen by the keys that the node has.

Every mistake of form in a file is collected; the caller raises them together.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pydantic import ValidationError

from confnet.catalog.registry import layer_names, lookup
from confnet.diagnostics import Collector, Note, Span, closest
from confnet.plan import CONTAINERS
from confnet.source import Mapping, Node, Scalar, Sequence, Source
from confnet.spec.models import (
    ArgSpec,
    BodySpec,
    BufferSpec,
    ContractSpec,
    DefinitionSpec,
    Document,
    HookSpec,
    IncludeSpec,
    InputSpec,
    ItemSpec,
    LayerSpec,
    LetSpec,
    MethodSpec,
    ModifiersSpec,
    ModuleSpec,
    ParameterSpec,
    ParametrizeSpec,
    RepeatSpec,
    RequireSpec,
    RuleSpec,
    SelectorSpec,
    Part,
    TieSpec,
    VariantSpec,
    describe,
)

__all__ = ["ARG_TYPES", "camel_case", "is_identifier", "is_layer_key", "name_help", "read_document", "read_module"]

ARG_TYPES = (
    "int", "float", "bool", "str", "dtype", "any", "dict", "layer", "module", "list", "list[int]", "list[float]", "list[str]",
)  # fmt: skip

_HEADER = ("confnet", "name", "include", "variants", "modules")
_SCOPE = ("description", "args", "let", "require", "inputs", "outputs", "methods")
_COMPOSITE = ("children", "parameters", "buffers", "forward", "tie")
_MODIFIERS = ("when", "else", "init", "parametrize", "requires_grad", "extra_repr", "apply", "hooks")
_LAYER_KEY = re.compile(r"_*[A-Z]\w*")

_TYPE_WORDS = {"integer": "int", "number": "float", "boolean": "bool", "string": "str", "text": "str", "tuple": "list", "mapping": "dict"}

M = TypeVar("M", bound=Part)
Reader = Callable[[Node], Any]


def is_layer_key(text: str) -> bool:
    """Whether a key names a layer: capitalised after leading underscores, or computed by `$`."""
    return text.startswith("$") or _LAYER_KEY.fullmatch(text) is not None


def is_identifier(name: str) -> bool:
    """Whether code can read an attribute or argument of this name."""
    return name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("__") and name != "self"


def name_help(name: str) -> str:
    """What to do about a name that is no identifier."""
    if keyword.iskeyword(name) or name == "self":
        return "Python has its own meaning for it; choose another name"
    fixed = re.sub(r"\W", "_", name).lstrip("_")
    return f"write `{fixed}`" if is_identifier(fixed) else "use letters, digits and underscores, and begin with a letter"


def camel_case(text: str) -> str:
    """A class name made of any text: `my-net_2` gives `MyNet2`."""
    words = re.findall(r"[A-Za-z0-9]+", re.sub(r"\$\([^)]*\)|\$\w+", " ", text))
    name = "".join(word[0].upper() + word[1:] for word in words)
    return name if name and not name[0].isdigit() else f"_{name}" if name else "Model"


def read_document(source: Source, stem: str, found: Collector) -> Document | None:
    """The document of a source, or None where its form is so wrong that nothing of it can be used."""
    return _SpecReader(found).document(source, stem)


def read_module(node: Node, label: str, found: Collector) -> ModuleSpec | None:
    """The module that a node writes, for arguments whose type is a module."""
    return _SpecReader(found).module(node, label)


def _type_meant(word: str) -> str | None:
    """The type of argument that a word was most likely meant to name."""
    return _TYPE_WORDS.get(word.lower()) or closest(word, ARG_TYPES)


def _misspelt(node: Mapping, keys: Iterable[str]) -> bool:
    """Whether a key of the mapping is nearly one of `keys`: what that one would have said is then not missing."""
    return any(closest(key.text, keys) is not None for key, _ in node)


def _bare_layer(text: str) -> str | None:
    """The layer that a dotted path such as `torch.nn.Linear` ends in."""
    last = text.rpartition(".")[2]
    return last if "." in text and lookup(last) is not None else None


class _SpecReader:
    """Reads nodes into models; `found` receives what is wrong."""

    def __init__(self, found: Collector) -> None:
        self.found = found

    # --- documents ------------------------------------------------------------------------------------------------

    def document(self, source: Source, stem: str) -> Document | None:
        node = source.root
        if not isinstance(node, Mapping):
            self.error("invalid-type", f"a document is a mapping, not {describe(node)}", node.span, "start with `confnet: 1`")
            return None
        self.version(node)
        name = self.class_name(node.get("name"), camel_case(stem))
        header = {key.text: value for key, value in node if key.text in (*_HEADER, "description", "args", "let", "require")}
        has_root = any(is_layer_key(key.text) or key.text in _COMPOSITE for key, _ in node)
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
            self.unknown_keys(node, (*_HEADER, *_SCOPE, *_MODIFIERS, *_COMPOSITE), "a document", layer=True)
            if not header.get("modules") and not _misspelt(node, (*_COMPOSITE, "modules")):
                self.error(
                    "no-module", "the document has no module", self.first_key(node),
                    "write a layer key such as `Sequential:`, a composite body (`children:`, `forward:`), or `modules:`",
                )  # fmt: skip
        return self.validated(Document, values, node)

    def version(self, node: Mapping) -> None:
        version = node.get("confnet")
        if version is None:
            near = next((key for key, _ in node if closest(key.text, ["confnet"])), None)
            if near is None:
                self.error("missing-key", "the document does not say `confnet: 1`", self.first_key(node), "make it the first line")
        elif not isinstance(version, Scalar) or version.value is True or version.value != 1:
            self.error("unknown-version", f"the language version is 1, not {describe(version)}", version.span, "write `confnet: 1`")

    def class_name(self, node: Node | None, default: str) -> str:
        if node is None:
            return default
        if not isinstance(node, Scalar) or not isinstance(node.value, str) or not _LAYER_KEY.fullmatch(node.value):
            self.error(
                "invalid-name", f"a class name is a capitalised identifier, not {describe(node)}", node.span,
                f"write `name: {camel_case(node.text)}`" if isinstance(node, Scalar) and node.text else "",
            )  # fmt: skip
            return default
        return node.value

    def root(self, node: Mapping, name: str) -> ModuleSpec | None:
        kept = [(k, v) for k, v in node if k.text not in (*_HEADER, "description", "args", "let", "require")]
        inner = Mapping(tuple(kept), node.span, node.flow, {k.text: v for k, v in kept})
        return self.body_module(inner, name, "a document", (*_HEADER, *_SCOPE, *_COMPOSITE, *_MODIFIERS), node.span)

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
        if not _LAYER_KEY.fullmatch(key.text):
            self.error(
                "invalid-name", f"a definition has a capitalised name, not `{key.text}`", key.span,
                f"call it `{camel_case(key.text)}`",
            )  # fmt: skip
            return None
        if key.text in CONTAINERS:
            self.error("reserved-name", f"`{key.text}` is a container of torch", key.span, "choose another name")
            return None
        if not isinstance(node, Mapping):
            self.error("invalid-type", f"a definition is a mapping, not {describe(node)}", node.span)
            return None
        module = self.body_module(node, key.text, "a definition", (*_SCOPE, *_COMPOSITE, *_MODIFIERS), key.span)
        return DefinitionSpec(span=key.span, name=key.text, module=module) if module else None

    # --- modules --------------------------------------------------------------------------------------------------

    def module(self, node: Node, label: str) -> ModuleSpec | None:
        """Any module, wherever one may stand."""
        if isinstance(node, Scalar):
            return self.module_by_name(node, label)
        if isinstance(node, Sequence):
            self.error(
                "not-a-module", "a list is not a module", node.span, "put it under `Sequential:` or `ModuleList:`"
            )
            return None
        keys = {key.text for key, _ in node}
        if "share" in keys:
            return self.share(node, label)
        if any(is_layer_key(key) for key in keys) and not keys & {*_SCOPE, *_COMPOSITE}:
            return self.layer_module(node, label)
        if keys & {*_COMPOSITE, *_SCOPE}:
            allowed = (*(key for key in _SCOPE if key != "args"), *_COMPOSITE, *_MODIFIERS)
            return self.body_module(node, label, "a composite module", allowed, node.span)
        self.not_a_module(node)
        return None

    def module_by_name(self, node: Scalar, label: str) -> ModuleSpec | None:
        text = node.value
        if isinstance(text, str) and text.startswith("$"):
            return ModuleSpec(span=node.span, label=label, reference=node)
        if not isinstance(text, str) or not is_layer_key(text):
            guess = (_bare_layer(text) or closest(text, layer_names())) if isinstance(text, str) else None
            self.error(
                "not-a-module", f"a module is expected here, not {describe(node)}", node.span,
                f"did you mean `{guess}`?" if guess else "name a layer such as `ReLU`, or write a mapping with a layer key",
            )  # fmt: skip
            return None
        layer = LayerSpec(span=node.span, name=node, arguments=None, items=() if text in CONTAINERS else None)
        return ModuleSpec(span=node.span, label=label, layer=layer)

    def not_a_module(self, node: Mapping) -> None:
        if not node.entries:
            self.error("not-a-module", "an empty mapping is not a module", node.span, "name a layer, such as `ReLU`")
            return
        key = next((key for key, _ in node if key.text not in _MODIFIERS), None)
        if key is None:
            key = node.entries[0][0]
            self.error(
                "not-a-module", f"`{key.text}` stands beside no module", key.span, "write a layer key such as `Linear:` beside it"
            )
            return
        guess = _bare_layer(key.text) or closest(key.text, [*layer_names(), *_COMPOSITE, *_MODIFIERS, "share", "repeat"])
        self.error(
            "not-a-module", f"`{key.text}` names no module", key.span,
            f"did you mean `{guess}`?" if guess else "write a layer key such as `Linear:`, or a composite body (`children:`, `forward:`)",
        )  # fmt: skip

    def share(self, node: Mapping, label: str) -> ModuleSpec | None:
        self.unknown_keys(node, ("share", "when", "else"), "a share")
        path = node.get("share")
        if not isinstance(path, Scalar) or not isinstance(path.value, str):
            self.error("invalid-type", "`share` takes the dotted path of a module", path.span if path else node.span)
            return None
        modifiers = self.modifiers(node, label, ("when", "else"))
        return ModuleSpec(span=node.span, label=label, share=path, modifiers=modifiers)

    def layer_module(self, node: Mapping, label: str) -> ModuleSpec | None:
        layer = self.layer(node)
        if layer is None:
            return None
        self.unknown_keys(node, _MODIFIERS, "a layer", layer=True, arguments_of=layer.name.text)
        return ModuleSpec(span=layer.span, label=label, layer=layer, modifiers=self.modifiers(node, label))

    def layer(self, node: Mapping) -> LayerSpec | None:
        keys = [(key, value) for key, value in node if is_layer_key(key.text)]
        if len(keys) > 1:
            self.error(
                "several-layers", f"one module is one layer, and `{keys[0][0].text}` stands beside `{keys[1][0].text}`",
                keys[1][0].span, "put both into a list under `Sequential:`",
                [Note("the first layer", keys[0][0].span)],
            )  # fmt: skip
            return None
        name, arguments = keys[0]
        items = self.items(arguments, name.text) if name.text in CONTAINERS else None
        return LayerSpec(span=name.span, name=name, arguments=arguments, items=items)

    def body_module(self, node: Mapping, label: str, what: str, allowed: tuple[str, ...], span: Span) -> ModuleSpec | None:
        """A composite, definition or document: a body, with or without a layer key."""
        self.unknown_keys(node, allowed, what, layer=True)
        layered = any(is_layer_key(key.text) for key, _ in node)
        layer = self.layer(node) if layered else None
        if layered and layer is None:
            return None
        if layer:
            for key, _ in node:
                if key.text in _COMPOSITE:
                    self.error(
                        "layer-with-body", f"`{key.text}` cannot stand beside the layer key `{layer.name.text}`", key.span,
                        "write a composite body, with the layer as one of its `children`",
                        [Note("the layer key", layer.span)],
                    )  # fmt: skip
        if not layered and not any(key.text in _COMPOSITE for key, _ in node):
            if _misspelt(node, _COMPOSITE):
                return None
            self.error(
                "no-module", f"`{label}` has neither a layer key nor a body", span,
                "write a layer key such as `Sequential:`, or `children:` and `forward:`",
            )  # fmt: skip
            return None
        return ModuleSpec(
            span=span, label=label, layer=layer, body=self.body(node), modifiers=self.modifiers(node, label)
        )

    def body(self, node: Mapping) -> BodySpec | None:
        readers: dict[str, Reader] = {
            "args": lambda n: self.named(n, self.arg),
            "let": lambda n: self.named(n, self.let),
            "require": lambda n: self.named(n, self.require),
            "inputs": self.inputs,
            "outputs": self.outputs,
            "children": self.children,
            "parameters": lambda n: self.named(n, self.parameter),
            "buffers": lambda n: self.named(n, self.buffer),
            "methods": lambda n: self.named(n, self.method),
            "tie": lambda n: self.named(n, self.tie),
        }
        chosen = {k.text: v for k, v in node if k.text in (*_SCOPE, *_COMPOSITE)}
        return self.make(BodySpec, chosen, node, readers)

    def modifiers(self, node: Mapping, label: str, keys: Iterable[str] = _MODIFIERS) -> ModifiersSpec | None:
        chosen = {k.text: v for k, v in node if k.text in keys and k.text in _MODIFIERS}
        if not chosen:
            return None
        readers: dict[str, Reader] = {
            "else": lambda n: self.module(n, label),
            "parametrize": lambda n: self.named(n, self.parametrize),
            "apply": lambda n: self.each(n, self.rule),
            "hooks": lambda n: self.each(n, self.hook),
        }
        self.else_needs_when(node)
        return self.make(ModifiersSpec, chosen, node, readers)

    # --- containers -----------------------------------------------------------------------------------------------

    def items(self, node: Node, container: str) -> tuple[ItemSpec, ...]:
        """The modules of a container: of a list under numbers, of a mapping under names."""
        if isinstance(node, Scalar) and node.value is None:
            return ()
        if isinstance(node, Scalar):
            self.error(
                "invalid-type", f"`{container}` takes a list or a mapping of modules, not {describe(node)}", node.span
            )
            return ()
        if isinstance(node, Sequence):
            if container == "ModuleDict" and node.items:
                self.error("invalid-type", "`ModuleDict` takes a mapping of modules, not a list", node.span)
                return ()
            return self.list_items(node)
        return self.children(node)

    def list_items(self, node: Sequence) -> tuple[ItemSpec, ...]:
        found = []
        for child in node.items:
            if isinstance(child, Mapping) and "repeat" in child.index:
                repeat = self.repeat(None, child)
                found.append(ItemSpec(span=child.span, name=None, repeat=repeat) if repeat else None)
            else:
                module = self.module(child, "item")
                found.append(ItemSpec(span=child.span, name=None, module=module) if module else None)
        return tuple(item for item in found if item)

    def children(self, node: Node) -> tuple[ItemSpec, ...]:
        return self.named(node, self.child)

    def child(self, key: Scalar, node: Node) -> ItemSpec | None:
        if isinstance(node, Mapping) and "repeat" in node.index:
            repeat = self.repeat(key, node)
            return ItemSpec(span=key.span, name=key, repeat=repeat) if repeat else None
        module = self.module(node, key.text)
        return ItemSpec(span=key.span, name=key, module=module) if module else None

    def repeat(self, key: Scalar | None, node: Mapping) -> RepeatSpec | None:
        self.unknown_keys(node, ("repeat", "as", "module", "children", "when"), "a repeat", layer=not {"module", "children"} & node.index.keys())
        given = [k for k in ("module", "children") if k in node.index]
        stray = next((k for k, _ in node if is_layer_key(k.text)), None)
        if not given and stray is not None:
            self.error(
                "invalid-repeat", f"the layer key `{stray.text}` stands beside `repeat`", stray.span,
                f"write `module: {{{stray.text}: ...}}`",
            )  # fmt: skip
            return None
        if len(given) != 1:
            self.error(
                "invalid-repeat", f"the repeat has {'both' if given else 'neither'} `module` {'and' if given else 'nor'} `children`",
                node.key("repeat").span,
                "write `module:` for one per step, `children:` for several",
            )  # fmt: skip
            return None
        label = key.text if key else "item"
        readers: dict[str, Reader] = {
            "module": lambda n: self.module(n, label),
            "children": lambda n: self.several(n, key is not None),
        }
        chosen = {k.text: v for k, v in node if k.text in ("repeat", "as", *given, "when")}
        return self.make(RepeatSpec, chosen, node, readers, span=node.key("repeat").span)

    def several(self, node: Node, named: bool) -> tuple[ItemSpec, ...] | None:
        """The `children` of a repeat: a mapping among named modules, a list among numbered ones."""
        if isinstance(node, Mapping) and named:
            return self.children(node)
        if isinstance(node, Sequence) and not named:
            return self.list_items(node)
        wanted = "a mapping, as names stand around it" if named else "a list, as it stands in a list"
        self.error("invalid-repeat", f"the `children` of this repeat are {wanted}", node.span)
        return None

    # --- args and constants ---------------------------------------------------------------------------------------

    def arg(self, key: Scalar, node: Node) -> ArgSpec | None:
        if not self.identifier(key, "an argument"):
            return None
        if isinstance(node, Mapping):
            return self.long_arg(key, node)
        if isinstance(node, Scalar) and (node.value is None or isinstance(node.value, str) and not node.value.startswith("$")):
            if node.text in ARG_TYPES and node.style == "":
                return ArgSpec(span=key.span, name=key.text, type=node.text)
            guess = _type_meant(node.text) if node.text else None
            kind = "str" if node.value is not None else "any"
            self.error(
                "unknown-type", f"`{node.text or 'null'}` is not a type of argument", node.span,
                f"did you mean `{guess}`?" if guess
                else f"write `{{type: {kind}, default: {node.text or 'null'}}}` for a default; the types are {', '.join(ARG_TYPES)}",
            )  # fmt: skip
            return None
        return ArgSpec(span=key.span, name=key.text, default=node, has_default=True)

    def long_arg(self, key: Scalar, node: Mapping) -> ArgSpec | None:
        allowed = ("type", "default", "ge", "gt", "le", "lt", "choices", "nullable", "description")
        self.unknown_keys(node, allowed, "an argument")
        if "type" not in node.index and "default" not in node.index:
            self.error(
                "missing-key", f"the argument `{key.text}` has neither `type` nor `default`", key.span,
                "add `type:`, or a `default:` that tells it",
            )  # fmt: skip
            return None
        kind = node.get("type")
        if kind is not None and (not isinstance(kind, Scalar) or kind.text not in ARG_TYPES):
            guess = _type_meant(kind.text) if isinstance(kind, Scalar) else None
            help = f"did you mean `{guess}`?" if guess else f"the types are {', '.join(ARG_TYPES)}"
            self.error("unknown-type", f"{describe(kind)} is not a type of argument", kind.span, help)
            return None
        default = node.get("default")
        if kind is None and isinstance(default, Scalar) and default.value is None:
            self.error("missing-key", f"a null default does not tell the type of `{key.text}`", default.span, "add `type:`")
            return None
        chosen = {k.text: v for k, v in node if k.text in allowed and k.text != "type"}
        extra = {"name": key.text, "type": kind.text if isinstance(kind, Scalar) else None, "has_default": default is not None}
        return self.make(ArgSpec, chosen, node, {}, span=key.span, extra=extra)

    def let(self, key: Scalar, node: Node) -> LetSpec | None:
        return LetSpec(span=key.span, name=key.text, value=node) if self.identifier(key, "a constant") else None

    def require(self, key: Scalar, node: Node) -> RequireSpec | None:
        if not key.text.startswith("$"):
            self.error("invalid-type", f"a condition is a `$` expression, not `{key.text}`", key.span, f"write `$({key.text})`")
            return None
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            self.error("invalid-type", f"the message of a condition is a text, not {describe(node)}", node.span)
            return None
        return RequireSpec(span=key.span, condition=key, message=node)

    # --- inputs and outputs ---------------------------------------------------------------------------------------

    def inputs(self, node: Node) -> tuple[InputSpec, ...]:
        if isinstance(node, Sequence):
            return self.unique(self.each(node, self.input_name))
        return self.ordered(self.named(node, self.input))

    def input_name(self, node: Node) -> InputSpec | None:
        if not isinstance(node, Scalar):
            self.error("invalid-type", f"an input is a name, not {describe(node)}", node.span)
            return None
        return InputSpec(span=node.span, name=node.text) if self.identifier(node, "an input") else None

    def input(self, key: Scalar, node: Node) -> InputSpec | None:
        if not self.identifier(key, "an input"):
            return None
        if isinstance(node, Sequence):
            return InputSpec(span=key.span, name=key.text, shape=node)
        if isinstance(node, Mapping):
            allowed = ("shape", "dtype", "low", "high", "default", "type", "item")
            self.unknown_keys(node, allowed, "an input")
            chosen = {k.text: v for k, v in node if k.text in allowed}
            extra: dict[str, Any] = {"name": key.text, "has_default": "default" in node.index}
            kind = chosen.pop("type", None)
            if kind is not None:
                extra["type"] = kind.text if isinstance(kind, Scalar) else ""
            return self.make(InputSpec, chosen, node, {}, span=key.span, extra=extra)
        if node.value == "any":
            return InputSpec(span=key.span, name=key.text)
        if isinstance(node.value, str) and "$" in node.value:
            self.error(
                "invalid-default", "the default of an input is the same for every instance", node.span,
                "write the value itself, or read the arg in the code",
            )  # fmt: skip
            return None
        if isinstance(node.value, str):
            self.error(
                "invalid-type", f"an input is a shape, a default or `any`, not {describe(node)}", node.span,
                f"write `{{default: {node.text}}}` for a text default, `[{node.text}]` for a shape",
            )  # fmt: skip
            return None
        return InputSpec(span=key.span, name=key.text, default=node, has_default=True)

    def ordered(self, inputs: tuple[InputSpec, ...]) -> tuple[InputSpec, ...]:
        optional: InputSpec | None = None
        for item in inputs:
            if item.has_default:
                optional = optional or item
            elif optional is not None:
                self.error(
                    "invalid-inputs", f"the required input `{item.name}` follows the optional `{optional.name}`", item.span,
                    "put the inputs with a default last", [Note("the optional input", optional.span)],
                )  # fmt: skip
        return inputs

    def unique(self, inputs: tuple[InputSpec, ...]) -> tuple[InputSpec, ...]:
        seen: dict[str, InputSpec] = {}
        for item in inputs:
            if item.name in seen:
                self.error("duplicate-name", f"the input `{item.name}` stands twice", item.span)
            seen[item.name] = item
        return tuple(seen.values())

    def outputs(self, node: Node) -> tuple[ContractSpec, ...]:
        if isinstance(node, Sequence):
            return self.each(node, lambda n: ContractSpec(span=n.span, name=n.text) if isinstance(n, Scalar) else None)
        return self.named(node, self.output)

    def output(self, key: Scalar, node: Node) -> ContractSpec | None:
        if isinstance(node, Scalar) and node.value in ("any", "_", None):
            return ContractSpec(span=key.span, name=key.text)
        if not isinstance(node, Sequence):
            self.error("invalid-type", f"an output is a shape or `any`, not {describe(node)}", node.span)
            return None
        return ContractSpec(span=key.span, name=key.text, shape=node)

    # --- parameters, buffers, methods, ties -----------------------------------------------------------------------

    def parameter(self, key: Scalar, node: Node) -> ParameterSpec | Scalar | None:
        if isinstance(node, Scalar) and node.value is None:
            return key
        if not isinstance(node, Mapping):
            self.error(
                "invalid-type", f"a parameter is a mapping with `shape`, not {describe(node)}", node.span,
                f"write `{key.text}: {{shape: [...]}}`",
            )  # fmt: skip
            return None
        allowed = ("shape", "dtype", "init", "requires_grad", "when", "else")
        if "persistent" in node.index:
            self.error(
                "unknown-key", "a parameter is always persistent", node.key("persistent").span,
                "declare it under `buffers` to leave it out of the state dict",
            )  # fmt: skip
        self.unknown_keys(node, (*allowed, "persistent"), "a parameter")
        if "shape" not in node.index:
            self.error("missing-key", f"the parameter `{key.text}` has no `shape`", key.span)
            return None
        self.else_needs_when(node)
        chosen = {k.text: v for k, v in node if k.text in allowed}
        readers = {"else": lambda n: self.parameter(key, n)}
        return self.make(ParameterSpec, chosen, node, readers, span=key.span, extra={"name": key})

    def buffer(self, key: Scalar, node: Node) -> BufferSpec | Scalar | None:
        if isinstance(node, Scalar) and node.value is None:
            return key
        if not isinstance(node, Mapping):
            self.error(
                "invalid-type", f"a buffer is a mapping with `value` or `shape`, not {describe(node)}", node.span,
                f"write `{key.text}: {{value: {node.text if isinstance(node, Scalar) else '...'}}}`",
            )  # fmt: skip
            return None
        allowed = ("value", "shape", "fill", "dtype", "persistent", "when", "else")
        self.unknown_keys(node, allowed, "a buffer")
        if ("value" in node.index) == ("shape" in node.index):
            has = "both `value` and" if "value" in node.index else "neither `value` nor"
            self.error(
                "invalid-buffer", f"the buffer `{key.text}` has {has} `shape`", key.span,
                "write `value:` for what it holds, or `shape:` (and `fill:`) for one number everywhere",
            )  # fmt: skip
            return None
        if "fill" in node.index and "shape" not in node.index:
            self.error("invalid-buffer", "`fill` goes with `shape`", node.key("fill").span)
        self.else_needs_when(node)
        chosen = {k.text: v for k, v in node if k.text in allowed}
        readers = {"else": lambda n: self.buffer(key, n)}
        return self.make(BufferSpec, chosen, node, readers, span=key.span, extra={"name": key})

    def method(self, key: Scalar, node: Node) -> MethodSpec | None:
        if not self.identifier(key, "a method"):
            return None
        if isinstance(node, Scalar):
            return self.make(MethodSpec, {"forward": node}, None, {}, span=key.span, extra={"name": key})
        if not isinstance(node, Mapping):
            self.error("invalid-type", f"a method is code, or a mapping with `inputs` and `forward`, not {describe(node)}", node.span)
            return None
        self.unknown_keys(node, ("inputs", "outputs", "forward"), "a method")
        if "forward" not in node.index:
            self.error("missing-key", f"the method `{key.text}` has no `forward`", key.span)
            return None
        chosen = {k.text: v for k, v in node if k.text in ("inputs", "outputs", "forward")}
        readers: dict[str, Reader] = {"inputs": self.inputs, "outputs": self.outputs}
        return self.make(MethodSpec, chosen, node, readers, span=key.span, extra={"name": key})

    def tie(self, key: Scalar, node: Node) -> TieSpec | None:
        if isinstance(node, Mapping):
            self.unknown_keys(node, ("to", "when"), "a tie")
            if "to" not in node.index:
                self.error("missing-key", f"the tie of `{key.text}` has no `to`", key.span)
                return None
            chosen = {k.text: v for k, v in node if k.text in ("to", "when")}
        else:
            chosen = {"to": node}
        return self.make(TieSpec, chosen, node, {}, span=key.span, extra={"name": key})

    # --- apply and hooks ------------------------------------------------------------------------------------------

    def rule(self, node: Node) -> RuleSpec | None:
        if not isinstance(node, Mapping):
            self.error("invalid-type", f"a rule is a mapping, not {describe(node)}", node.span)
            return None
        allowed = ("where", "init", "parametrize", "requires_grad", "extra_repr", "set", "methods", "dtype", "call", "when")
        self.unknown_keys(node, allowed, "a rule")
        chosen = {k.text: v for k, v in node if k.text in allowed}
        if not set(chosen) - {"where", "when"}:
            self.error("empty-rule", "the rule does nothing", node.span, "say what it sets, such as `init:`")
            return None
        readers: dict[str, Reader] = {
            "where": self.selector,
            "parametrize": lambda n: self.named(n, self.parametrize),
            "methods": lambda n: self.named(n, self.method),
        }
        return self.make(RuleSpec, chosen, node, readers)

    def selector(self, node: Node) -> SelectorSpec | None:
        if not isinstance(node, Mapping):
            self.error(
                "invalid-type", f"`where` is a mapping with `type`, `name` or `not`, not {describe(node)}", node.span,
                f"write `where: {{type: {node.text}}}`" if isinstance(node, Scalar) and is_layer_key(node.text) else "",
            )  # fmt: skip
            return None
        self.unknown_keys(node, ("type", "name", "not"), "a selector")
        chosen = {k.text: v for k, v in node if k.text in ("type", "name", "not")}
        return self.make(SelectorSpec, chosen, node, {"not": self.selector})

    def parametrize(self, key: Scalar, node: Node) -> ParametrizeSpec:
        return ParametrizeSpec(span=key.span, parameter=key, call=node)

    def hook(self, node: Node) -> HookSpec | None:
        if not isinstance(node, Mapping):
            self.error("invalid-type", f"a hook is a mapping, not {describe(node)}", node.span)
            return None
        allowed = ("kind", "where", "call", "do", "tensor", "name", "prepend", "with_kwargs", "always_call", "when")
        if "on" in node.index and "kind" not in node.index:
            self.error("unknown-key", "`on` is not a key of a hook", node.key("on").span, "write `kind`: YAML 1.1 reads `on` as true")
            return None
        self.unknown_keys(node, allowed, "a hook")
        if "kind" not in node.index:
            self.error("missing-key", "the hook has no `kind`", node.span)
            return None
        if ("call" in node.index) == ("do" in node.index):
            has = "both `call` and" if "call" in node.index else "neither `call` nor"
            self.error(
                "invalid-hook", f"the hook has {has} `do`", node.key("kind").span,
                "write `do:` with code, or `call:` with the name of a hook",
            )  # fmt: skip
            return None
        chosen = {k.text: v for k, v in node if k.text in allowed}
        return self.make(HookSpec, chosen, node, {"where": self.selector})

    # --- common ---------------------------------------------------------------------------------------------------

    def make(
        self,
        model: type[M],
        chosen: dict[str, Node],
        node: Node | None,
        readers: dict[str, Reader],
        *,
        span: Span | None = None,
        extra: dict[str, Any] | None = None,
    ) -> M | None:
        """A model from the values under its keys, those in `readers` read by them first."""
        values: dict[str, Any] = {"span": span or (node.span if node else None), **(extra or {})}
        broken = False
        for key, value in chosen.items():
            if key in readers:
                values[key] = readers[key](value)
                broken = broken or values[key] is None
            else:
                values[key] = value
        if broken:
            values = {key: value for key, value in values.items() if value is not None}
        return self.validated(model, values, node, chosen, quiet=broken)

    def validated(
        self, model: type[M], values: dict[str, Any], node: Node | None, chosen: dict[str, Node] | None = None, *, quiet: bool = False
    ) -> M | None:
        try:
            return model.model_validate({key: value for key, value in values.items() if value is not None})
        except ValidationError as error:
            for item in error.errors(include_url=False):
                key = str(item["loc"][0]) if item["loc"] else ""
                place = (chosen or {}).get(key) or node
                context = item.get("ctx", {})
                if item["type"] == "missing" and quiet:  # what is missing was wrong, and is reported already
                    continue
                code = item["type"] if "message" in context else "invalid-type"
                message = context.get("message", f"`{key}`: {item['msg'][:1].lower()}{item['msg'][1:]}")
                self.error(code, message, place.span if place else None, context.get("help", ""))
            return None

    def named(self, node: Node | None, read: Callable[[Scalar, Node], Any]) -> tuple[Any, ...]:
        """What `read` makes of each entry of a mapping; null is an empty one."""
        if node is None or isinstance(node, Scalar) and node.value is None:
            return ()
        if not isinstance(node, Mapping):
            self.error("invalid-type", f"a mapping is expected here, not {describe(node)}", node.span)
            return ()
        return tuple(item for item in (read(key, value) for key, value in node) if item is not None)

    def each(self, node: Node | None, read: Callable[[Node], Any]) -> tuple[Any, ...]:
        """What `read` makes of each item of a list; null is an empty one."""
        if node is None or isinstance(node, Scalar) and node.value is None:
            return ()
        if not isinstance(node, Sequence):
            help = f"write `[{node.text}]`" if isinstance(node, Scalar) and node.one_line else ""
            self.error("invalid-type", f"a list is expected here, not {describe(node)}", node.span, help)
            return ()
        return tuple(item for item in (read(child) for child in node.items) if item is not None)

    def unknown_keys(
        self, node: Mapping, allowed: Iterable[str], what: str, *, layer: bool = False, arguments_of: str = ""
    ) -> None:
        allowed = tuple(allowed)
        listed = False
        callee = lookup(arguments_of) if arguments_of else None
        arguments = {argument.name for argument in callee.arguments} if callee else set()
        for key, _ in node:
            if key.text in allowed or layer and is_layer_key(key.text):
                continue
            pool = [*allowed, *layer_names()] if layer else allowed
            guess = closest(key.text, pool)
            help = f"did you mean `{guess}`?" if guess else ""
            if key.text in arguments:
                help = f"an argument of `{arguments_of}` is indented below it"
            elif not guess and not listed:  # a long list is told once
                help, listed = f"the keys are {', '.join(f'`{name}`' for name in allowed)}", True
            self.error("unknown-key", f"`{key.text}` is not a key of {what}", key.span, help)

    def else_needs_when(self, node: Mapping) -> None:
        if "else" in node.index and "when" not in node.index:
            self.error("else-without-when", "`else` goes with `when`", node.key("else").span)

    def identifier(self, key: Scalar, what: str) -> bool:
        if is_identifier(key.text):
            return True
        self.error("invalid-name", f"`{key.text}` cannot name {what}", key.span, name_help(key.text))
        return False

    def first_key(self, node: Mapping) -> Span:
        return node.entries[0][0].span if node.entries else node.span

    def error(self, code: str, message: str, span: Span | None, help: str = "", notes: Iterable[Note] = ()) -> None:
        self.found.add(code, message, span, help=help, notes=notes)
