"""The parts of a module besides other modules: args, contracts, parameters, buffers, methods, ties, rules, hooks."""

from __future__ import annotations

from typing import Any

from confnet.catalog.registry import layer_names
from confnet.diagnostics import Note
from confnet.source import Mapping, Node, Scalar, Sequence
from confnet.spec.forms import Forms, Reader
from confnet.spec.models import (
    ArgSpec,
    BufferSpec,
    ContractSpec,
    HookSpec,
    InputSpec,
    LetSpec,
    MethodSpec,
    ParameterSpec,
    ParametrizeSpec,
    RequireSpec,
    RuleSpec,
    SelectorSpec,
    TieSpec,
    describe,
)
from confnet.spec.words import ARG_TYPES, is_layer_key, type_meant

__all__ = ["PartReader"]


class PartReader(Forms):
    """Reads what a module says of itself."""

    # --- args and constants ---------------------------------------------------------------------------------------

    def arg(self, key: Scalar, node: Node) -> ArgSpec | None:
        if not self.identifier(key, "an argument"):
            return None
        if isinstance(node, Mapping):
            return self.long_arg(key, node)
        if isinstance(node, Scalar) and (
            node.value is None or (isinstance(node.value, str) and not node.value.startswith("$"))
        ):
            # Inside `{ }` YAML wants quotes around `list[int]`.
            if node.text in ARG_TYPES and (node.style == "" or "[" in node.text):
                return ArgSpec(span=key.span, name=key.text, type=node.text)
            guess = type_meant(node.text) if node.text else None
            kind = "any" if node.value is None else "module" if node.text in layer_names() else "str"
            default = f"write `{{type: {kind}, default: {node.text or 'null'}}}` for a default"
            self.error(
                "unknown-type",
                f"`{node.text or 'null'}` is not a type of argument",
                node.span,
                f"did you mean `{guess}`?" if guess else f"{default}; the types are {', '.join(ARG_TYPES)}",
                fix=_plain_type(guess),
            )
            return None
        return ArgSpec(span=key.span, name=key.text, default=node, has_default=True)

    def long_arg(self, key: Scalar, node: Mapping) -> ArgSpec | None:
        allowed = ("type", "default", "ge", "gt", "le", "lt", "choices", "nullable", "description")
        self.unknown_keys(node, allowed, "an argument")
        if "type" not in node.index and "default" not in node.index:
            self.error(
                "missing-key",
                f"the argument `{key.text}` has neither `type` nor `default`",
                key.span,
                "add `type:`, or a `default:` that tells it",
            )
            return None
        kind = node.get("type")
        if kind is not None and (not isinstance(kind, Scalar) or kind.text not in ARG_TYPES):
            guess = type_meant(kind.text) if isinstance(kind, Scalar) else None
            help = f"did you mean `{guess}`?" if guess else f"the types are {', '.join(ARG_TYPES)}"
            message = f"{describe(kind)} is not a type of argument"
            self.error("unknown-type", message, kind.span, help, fix=_plain_type(guess))
            return None
        default = node.get("default")
        if kind is None and isinstance(default, Scalar) and default.value is None:
            self.error(
                "missing-key", f"a null default does not tell the type of `{key.text}`", default.span, "add `type:`"
            )
            return None
        chosen = {k.text: v for k, v in node if k.text in allowed and k.text != "type"}
        extra = {
            "name": key.text,
            "type": kind.text if isinstance(kind, Scalar) else None,
            "has_default": default is not None,
        }
        return self.make(ArgSpec, chosen, node, {}, span=key.span, extra=extra)

    def let(self, key: Scalar, node: Node) -> LetSpec | None:
        return LetSpec(span=key.span, name=key.text, value=node) if self.identifier(key, "a constant") else None

    def require(self, key: Scalar, node: Node) -> RequireSpec | None:
        if not key.text.startswith("$"):
            self.error(
                "invalid-type", f"a condition is a `$` expression, not `{key.text}`", key.span, f"write `$({key.text})`"
            )
            return None
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            self.error("invalid-type", f"the message of a condition is a text, not {describe(node)}", node.span)
            return None
        return RequireSpec(span=key.span, condition=key, message=node)

    # --- inputs and outputs ---------------------------------------------------------------------------------------

    def inputs(self, node: Node) -> tuple[InputSpec, ...]:
        if isinstance(node, Sequence):
            return self.unique(self.each(node, self.input_name))
        if isinstance(node, Scalar) and isinstance(node.value, str):
            self.error(
                "invalid-type",
                f"inputs are a list or a mapping, not {describe(node)}",
                node.span,
                f"write `[{node.text}]`",
            )
            return ()
        return self.ordered(self.named(node, self.input))

    def input_name(self, node: Node) -> InputSpec | None:
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
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
                "invalid-default",
                "the default of an input is the same for every instance",
                node.span,
                "write the value itself, or read the arg in the code",
            )
            return None
        if isinstance(node.value, str):
            self.error(
                "invalid-type",
                f"an input is a shape, a default or `any`, not {describe(node)}",
                node.span,
                f"write `{{default: {node.text}}}` for a text default, `[{node.text}]` for a shape",
            )
            return None
        return InputSpec(span=key.span, name=key.text, default=node, has_default=True)

    def ordered(self, inputs: tuple[InputSpec, ...]) -> tuple[InputSpec, ...]:
        optional: InputSpec | None = None
        for item in inputs:
            if item.has_default:
                optional = optional or item
            elif optional is not None:
                self.error(
                    "invalid-inputs",
                    f"the required input `{item.name}` follows the optional `{optional.name}`",
                    item.span,
                    "put the inputs with a default last",
                    [Note("the optional input", optional.span)],
                )
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
            return self.each(node, self.output_name)
        return self.named(node, self.output)

    def output_name(self, node: Node) -> ContractSpec | None:
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            self.error("invalid-type", f"an output is a name, not {describe(node)}", node.span)
            return None
        return ContractSpec(span=node.span, name=node.text)

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
                "invalid-type",
                f"a parameter is a mapping with `shape`, not {describe(node)}",
                node.span,
                f"write `{key.text}: {{shape: [...]}}`",
            )
            return None
        allowed = ("shape", "dtype", "init", "requires_grad", "when", "else")
        if "persistent" in node.index:
            self.error(
                "unknown-key",
                "a parameter is always persistent",
                node.key("persistent").span,
                "declare it under `buffers` to leave it out of the state dict",
            )
        self.unknown_keys(node, (*allowed, "persistent"), "a parameter")
        if "shape" not in node.index:
            self.error("missing-key", f"the parameter `{key.text}` has no `shape`", key.span)
            return None
        self.else_needs_when(node)
        chosen = {k.text: v for k, v in node if k.text in allowed}
        readers = {"else": lambda n: _made(self.parameter(key, n))}
        return self.make(ParameterSpec, chosen, node, readers, span=key.span, extra={"name": key})

    def buffer(self, key: Scalar, node: Node) -> BufferSpec | Scalar | None:
        if isinstance(node, Scalar) and node.value is None:
            return key
        if not isinstance(node, Mapping):
            self.error(
                "invalid-type",
                f"a buffer is a mapping with `value` or `shape`, not {describe(node)}",
                node.span,
                f"write `{key.text}: {{value: {node.text if isinstance(node, Scalar) else '...'}}}`",
            )
            return None
        allowed = ("value", "shape", "fill", "dtype", "persistent", "when", "else")
        self.unknown_keys(node, allowed, "a buffer")
        if ("value" in node.index) == ("shape" in node.index):
            has = "both `value` and" if "value" in node.index else "neither `value` nor"
            self.error(
                "invalid-buffer",
                f"the buffer `{key.text}` has {has} `shape`",
                key.span,
                "write `value:` for what it holds, or `shape:` (and `fill:`) for one number everywhere",
            )
            return None
        if "fill" in node.index and "shape" not in node.index:
            self.error("invalid-buffer", "`fill` goes with `shape`", node.key("fill").span)
        self.else_needs_when(node)
        chosen = {k.text: v for k, v in node if k.text in allowed}
        readers = {"else": lambda n: _made(self.buffer(key, n))}
        return self.make(BufferSpec, chosen, node, readers, span=key.span, extra={"name": key})

    def method(self, key: Scalar, node: Node) -> MethodSpec | None:
        if not self.identifier(key, "a method"):
            return None
        if isinstance(node, Scalar):
            return self.make(MethodSpec, {"forward": node}, None, {}, span=key.span, extra={"name": key})
        if not isinstance(node, Mapping):
            self.error(
                "invalid-type",
                f"a method is code, or a mapping with `inputs` and `forward`, not {describe(node)}",
                node.span,
            )
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
        allowed = (
            "where",
            "init",
            "parametrize",
            "requires_grad",
            "extra_repr",
            "set",
            "methods",
            "dtype",
            "call",
            "when",
        )
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
                "invalid-type",
                f"`where` is a mapping with `type`, `name` or `not`, not {describe(node)}",
                node.span,
                f"write `where: {{type: {node.text}}}`" if isinstance(node, Scalar) and is_layer_key(node.text) else "",
            )
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
            self.error(
                "unknown-key",
                "`on` is not a key of a hook",
                node.key("on").span,
                "write `kind`: YAML 1.1 reads `on` as true",
            )
            return None
        self.unknown_keys(node, allowed, "a hook")
        if "kind" not in node.index:
            self.error("missing-key", "the hook has no `kind`", node.span)
            return None
        if ("call" in node.index) == ("do" in node.index):
            has = "both `call` and" if "call" in node.index else "neither `call` nor"
            self.error(
                "invalid-hook",
                f"the hook has {has} `do`",
                node.key("kind").span,
                "write `do:` with code, or `call:` with the name of a hook",
            )
            return None
        chosen = {k.text: v for k, v in node if k.text in allowed}
        return self.make(HookSpec, chosen, node, {"where": self.selector})


def _plain_type(guess: str | None) -> str | None:
    """A type as it may stand anywhere: inside `{ }` YAML wants quotes around `list[int]`."""
    return None if guess is None else f'"{guess}"' if "[" in guess else guess


def _made(spec: ParameterSpec | BufferSpec | Scalar | None) -> ParameterSpec | BufferSpec | None:
    """What an `else` gives; `null` is what there would be without it."""
    return None if isinstance(spec, Scalar) else spec
