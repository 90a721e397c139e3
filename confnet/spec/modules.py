"""Modules: which keys make a layer, a composite, a share or a repeat, and what may stand beside them."""

from __future__ import annotations

from collections.abc import Iterable

from confnet.catalog.registry import layer_names
from confnet.diagnostics import Note, Span, closest
from confnet.plan import CONTAINERS
from confnet.source import Mapping, Node, Scalar, Sequence
from confnet.spec.forms import Reader
from confnet.spec.models import BodySpec, ItemSpec, LayerSpec, ModifiersSpec, ModuleSpec, RepeatSpec, describe
from confnet.spec.parts import PartReader
from confnet.spec.words import COMPOSITE_KEYS, MODIFIER_KEYS, SCOPE_KEYS, bare_layer, is_layer_key, misspelt

__all__ = ["ModuleReader"]


class ModuleReader(PartReader):
    """Reads modules, wherever they stand."""

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
        if any(is_layer_key(key) for key in keys) and not keys & {*SCOPE_KEYS, *COMPOSITE_KEYS}:
            return self.layer_module(node, label)
        if keys & {*COMPOSITE_KEYS, *SCOPE_KEYS}:
            allowed = (*(key for key in SCOPE_KEYS if key != "args"), *COMPOSITE_KEYS, *MODIFIER_KEYS)
            return self.body_module(node, label, "a composite module", allowed, node.span)
        self.not_a_module(node)
        return None

    def module_by_name(self, node: Scalar, label: str) -> ModuleSpec | None:
        text = node.value
        if isinstance(text, str) and text.startswith("$"):
            return ModuleSpec(span=node.span, label=label, reference=node)
        if not isinstance(text, str) or not is_layer_key(text):
            guess = (bare_layer(text) or closest(text, layer_names())) if isinstance(text, str) else None
            self.error(
                "not-a-module",
                f"a module is expected here, not {describe(node)}",
                node.span,
                f"did you mean `{guess}`?"
                if guess
                else "name a layer such as `ReLU`, or write a mapping with a layer key",
                fix=guess,
            )
            return None
        layer = LayerSpec(span=node.span, name=node, arguments=None, items=() if text in CONTAINERS else None)
        return ModuleSpec(span=node.span, label=label, layer=layer)

    def not_a_module(self, node: Mapping) -> None:
        if not node.entries:
            self.error("not-a-module", "an empty mapping is not a module", node.span, "name a layer, such as `ReLU`")
            return
        key = next((key for key, _ in node if key.text not in MODIFIER_KEYS), None)
        if key is None:
            key = node.entries[0][0]
            self.error(
                "not-a-module",
                f"`{key.text}` stands beside no module",
                key.span,
                "write a layer key such as `Linear:` beside it",
            )
            return
        guess = bare_layer(key.text) or closest(
            key.text, [*layer_names(), *COMPOSITE_KEYS, *MODIFIER_KEYS, "share", "repeat"]
        )
        self.error(
            "not-a-module",
            f"`{key.text}` names no module",
            key.span,
            f"did you mean `{guess}`?"
            if guess
            else "write a layer key such as `Linear:`, or a composite body (`children:`, `forward:`)",
            fix=guess,
        )

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
        self.unknown_keys(node, MODIFIER_KEYS, "a layer", layer=True, arguments_of=layer.name.text)
        return ModuleSpec(span=layer.span, label=label, layer=layer, modifiers=self.modifiers(node, label))

    def layer(self, node: Mapping) -> LayerSpec | None:
        keys = [(key, value) for key, value in node if is_layer_key(key.text)]
        if len(keys) > 1:
            self.error(
                "several-layers",
                f"one module is one layer, and `{keys[0][0].text}` stands beside `{keys[1][0].text}`",
                keys[1][0].span,
                "put both into a list under `Sequential:`",
                [Note("the first layer", keys[0][0].span)],
            )
            return None
        name, arguments = keys[0]
        items = self.items(arguments, name.text) if name.text in CONTAINERS else None
        return LayerSpec(span=name.span, name=name, arguments=arguments, items=items)

    def body_module(
        self, node: Mapping, label: str, what: str, allowed: tuple[str, ...], span: Span
    ) -> ModuleSpec | None:
        """A composite, definition or document: a body, with or without a layer key."""
        self.unknown_keys(node, allowed, what, layer=True)
        layered = any(is_layer_key(key.text) for key, _ in node)
        layer = self.layer(node) if layered else None
        if layered and layer is None:
            return None
        if layer:
            for key, _ in node:
                if key.text in COMPOSITE_KEYS:
                    self.error(
                        "layer-with-body",
                        f"`{key.text}` cannot stand beside the layer key `{layer.name.text}`",
                        key.span,
                        "write a composite body, with the layer as one of its `children`",
                        [Note("the layer key", layer.span)],
                    )
        if not layered and not any(key.text in COMPOSITE_KEYS for key, _ in node):
            if misspelt(node, COMPOSITE_KEYS):
                return None
            self.error(
                "no-module",
                f"`{label}` has neither a layer key nor a body",
                span,
                "write a layer key such as `Sequential:`, or `children:` and `forward:`",
            )
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
        chosen = {k.text: v for k, v in node if k.text in (*SCOPE_KEYS, *COMPOSITE_KEYS)}
        return self.make(BodySpec, chosen, node, readers)

    def modifiers(self, node: Mapping, label: str, keys: Iterable[str] = MODIFIER_KEYS) -> ModifiersSpec | None:
        chosen = {k.text: v for k, v in node if k.text in keys and k.text in MODIFIER_KEYS}
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
        for key, child in node:
            if key.text in layer_names() and not _may_be_module(child):
                self.error(
                    "not-a-module",
                    f"`{key.text}` is a name here, as every key of a mapping of modules",
                    key.span,
                    f"write a list: `- {key.text}: ...`; or give it a name: `name: {{{key.text}: ...}}`",
                )
                return ()
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
        self.unknown_keys(
            node,
            ("repeat", "as", "module", "children", "when"),
            "a repeat",
            layer=not {"module", "children"} & node.index.keys(),
        )
        given = [k for k in ("module", "children") if k in node.index]
        stray = next((k for k, _ in node if is_layer_key(k.text)), None)
        if not given and stray is not None:
            self.error(
                "invalid-repeat",
                f"the layer key `{stray.text}` stands beside `repeat`",
                stray.span,
                f"write `module: {{{stray.text}: ...}}`",
            )
            return None
        if len(given) != 1:
            self.error(
                "invalid-repeat",
                f"the repeat has {'both' if given else 'neither'} `module` {'and' if given else 'nor'} `children`",
                node.key("repeat").span,
                "write `module:` for one per step, `children:` for several",
            )
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


def _may_be_module(node: Node) -> bool:
    """Whether a value has the form of a module, be it right or wrong."""
    if isinstance(node, Mapping):
        wanted = {*COMPOSITE_KEYS, *SCOPE_KEYS, "share", "repeat"}
        return any(is_layer_key(key.text) or key.text in wanted for key, _ in node)
    return isinstance(node, Scalar) and is_layer_key(node.text)
