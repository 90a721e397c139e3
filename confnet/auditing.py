"""What a file would use, told without building it and without torch.

The answer is an upper bound: every branch of every `when`, every definition and every variant counts, whether a build
reaches it or not. A file can use nothing else.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from confnet.catalog.functions import functional, tensor_method, torch_function
from confnet.catalog.registry import DEFAULT_REGISTRY, lookup
from confnet.diagnostics import Collector, Span
from confnet.language.code import Code
from confnet.language.forward import parse_code
from confnet.language.names import BUILTINS, NAMESPACES, dotted
from confnet.limits import DEFAULT_LIMITS, Limits
from confnet.loading import Spec, Unit, load_file
from confnet.plan import CONTAINERS
from confnet.source import Mapping, Node, Scalar, Sequence
from confnet.spec import read_module
from confnet.spec.models import (
    ArgSpec,
    BufferSpec,
    HookSpec,
    LayerSpec,
    MethodSpec,
    ModifiersSpec,
    ModuleSpec,
    ParameterSpec,
    ParametrizeSpec,
    Part,
    RuleSpec,
)
from confnet.spec.words import is_layer_key
from confnet.values import code_of

__all__ = ["KINDS", "Audit", "Kind", "Use", "audit"]

Kind = Literal[
    "include",
    "layer",
    "computed layer",
    "unknown layer",
    "function",
    "method",
    "initializer",
    "parametrization",
    "hook",
]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Use:
    """Something that a file names, and every place where it does.

    `registered` tells what a caller has registered, Python code of its own, from what torch and confnet bring. A
    `function` is one of torch, of Python's own that code may call, or a registered one; a `method` one of tensors,
    lists or dicts; a `computed layer` is a layer whose name is an arg (`$norm`), which the caller may set to any
    layer of the catalog or registered one; an `unknown layer` would have to be registered first.
    """

    kind: Kind
    name: str
    places: tuple[Span, ...]
    registered: bool = False


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything that a file and its includes would use, by kind and name."""

    uses: tuple[Use, ...]

    def of(self, kind: Kind) -> tuple[str, ...]:
        """The names of one kind, sorted."""
        return tuple(use.name for use in self.uses if use.kind == kind)

    @property
    def registered(self) -> tuple[Use, ...]:
        """What only works because the caller registered it: the part of the answer that torch does not vouch for."""
        return tuple(use for use in self.uses if use.registered)

    def as_data(self) -> list[dict[str, Any]]:
        """The uses as plain values."""
        return [
            {
                "kind": use.kind,
                "name": use.name,
                "registered": use.registered,
                "places": [{"file": p.file, "line": p.line, "column": p.column} for p in use.places],
            }
            for use in self.uses
        ]

    def __str__(self) -> str:
        lines = []
        for kind in KINDS:
            uses = [use for use in self.uses if use.kind == kind]
            if uses:
                lines.append(f"{kind}s")
            for use in uses:
                more = f" and {len(use.places) - 1} more" if len(use.places) > 1 else ""
                mark = " (registered)" if use.registered else ""
                lines.append(f"  {use.name}{mark}  {use.places[0]}{more}")
        return "\n".join(lines)


def audit(spec: Spec | str | Path, *, limits: Limits = DEFAULT_LIMITS) -> Audit:
    """Everything that a spec (or the file at a path) would use. Raises ConfnetError for a file of wrong form.

    The file is not checked further: what it names and `validate` refuses is listed as far as it has a meaning.
    """
    if not isinstance(spec, Spec):
        spec = load_file(Path(spec), str(spec), limits)
    found = _Uses()
    for unit in spec.units():
        _Walk(unit, found).document()
    return found.result()


class _Uses:
    def __init__(self) -> None:
        self.places: dict[tuple[Kind, str, bool], dict[Span, None]] = {}

    def note(self, kind: Kind, name: str, place: Span, *, registered: bool = False) -> None:
        self.places.setdefault((kind, name, registered), {})[place] = None

    def result(self) -> Audit:
        order = sorted(self.places.items(), key=lambda item: (KINDS.index(item[0][0]), item[0][1]))
        return Audit(tuple(Use(kind, name, tuple(p), registered) for (kind, name, registered), p in order))


class _Walk:
    """Goes through everything one file says."""

    def __init__(self, unit: Unit, found: _Uses) -> None:
        self.unit, self.found = unit, found
        self.definitions = {d.name for u in (unit, *unit.includes) for d in u.document.modules}

    def document(self) -> None:
        for base in self.unit.extends:
            self.found.note("include", base.text, base.span)
        for include in self.unit.document.include:
            self.found.note("include", include.path.text, include.span)
        self.part(self.unit.document)
        for variant in self.unit.document.variants:
            self.node(variant.args)

    def part(self, part: Part) -> None:
        """What one piece of the file says, and then the pieces inside it."""
        match part:
            case LayerSpec():
                self.layer(part.name)
                if not self.known(part.name.text) and "$" not in part.name.text:
                    self.found.note("unknown layer", part.name.text, part.name.span)
                if part.items is None:
                    self.node(part.arguments)
            case ModuleSpec(reference=Scalar() as reference):
                self.found.note("computed layer", reference.text, reference.span)
            case ArgSpec():
                self.node(part.default)
                self.node(part.choices)
            case ParameterSpec():
                self.init(part.init)
            case BufferSpec(value=Scalar(value=str()) as value):
                self.code(value, "value")
            case MethodSpec():
                self.code(part.forward, "body")
            case ModifiersSpec():
                self.inits(part.init)
            case RuleSpec():
                self.inits(part.init)
                for key in _called(part.call):
                    self.found.note("function", key.text, key.span, registered=True)
            case ParametrizeSpec():
                for key in _called(part.call):
                    self.found.note("parametrization", key.text, key.span)
            case HookSpec():
                self.hook(part)
        forward = getattr(part, "forward", None)
        if isinstance(forward, Scalar) and not isinstance(part, MethodSpec):
            self.code(forward, "body")
        for inner in _inside(part):
            self.part(inner)

    # --- modules ----------------------------------------------------------------------------------------------------

    def layer(self, name: Scalar) -> None:
        if "$" in name.text:
            self.found.note("computed layer", name.text, name.span)
        elif name.text not in self.definitions and self.known(name.text):
            self.found.note("layer", name.text, name.span, registered=name.text in DEFAULT_REGISTRY.layers)

    def known(self, name: str) -> bool:
        return name in self.definitions or name in CONTAINERS or lookup(name) is not None

    def node(self, node: Node | None) -> None:
        """Whatever among values may be a module or the name of a layer."""
        if isinstance(node, Scalar):
            if isinstance(node.value, str) and is_layer_key(node.text) and "$" not in node.text:
                self.layer(node)
        elif isinstance(node, Sequence):
            for item in node.items:
                self.node(item)
        elif isinstance(node, Mapping):
            spec = None
            if any(is_layer_key(key.text) for key, _ in node):
                spec = read_module(node, "", Collector())
            if spec is not None:
                self.part(spec)
                return
            for key, child in node:
                self.node(key)
                self.node(child)

    # --- rules and hooks --------------------------------------------------------------------------------------------

    def inits(self, node: Node | None) -> None:
        """Initialisers by the names of parameters."""
        for _, init in node if isinstance(node, Mapping) else ():
            self.init(init)

    def init(self, node: Node | None) -> None:
        for key in _called(node):
            if key.text == "value" and isinstance(node, Mapping):
                value = node.get("value")
                if isinstance(value, Scalar):
                    self.code(value, "value")
            else:
                registered = key.text in DEFAULT_REGISTRY.initializers
                self.found.note("initializer", key.text, key.span, registered=registered)

    def hook(self, spec: HookSpec) -> None:
        for key in _called(spec.call):
            self.found.note("hook", key.text, key.span, registered=key.text in DEFAULT_REGISTRY.hooks)
        if isinstance(spec.do, Scalar):
            self.found.note("hook", f"code on {spec.kind.text}", spec.span)
            self.code(spec.do, "body")

    # --- code -------------------------------------------------------------------------------------------------------

    def code(self, node: Scalar, form: Literal["body", "value"]) -> None:
        code = code_of(node, form)
        for statement in parse_code(code).body:
            for part in ast.walk(statement):
                if isinstance(part, ast.Call):
                    self.called(part, code)
                elif isinstance(part, ast.Attribute):
                    self.read(part, code)

    def called(self, call: ast.Call, code: Code) -> None:
        path = dotted(call.func)
        if isinstance(call.func, ast.Name):
            name = call.func.id
            if name in BUILTINS or name in DEFAULT_REGISTRY.functions:
                registered = name in DEFAULT_REGISTRY.functions
                self.found.note("function", name, _place(code, call.func), registered=registered)
        elif isinstance(call.func, ast.Attribute) and (path is None or path.split(".")[0] not in NAMESPACES):
            name = call.func.attr
            if tensor_method(name) is not None or name in _METHODS:
                self.found.note("method", name, _place(code, call.func))

    def read(self, node: ast.Attribute, code: Code) -> None:
        """A function of a namespace; constants such as `torch.float32` are no functions."""
        name = function_name(dotted(node) or "")
        if name:
            self.found.note("function", name, _place(code, node))


_METHODS: Final = ("append", "extend", "pop", "items", "keys", "values", "children")
_OWN: Final = ("torch.no_grad", "torch.enable_grad", "torch.finfo", "torch.utils.checkpoint.checkpoint")


def function_name(path: str) -> str:
    """The function that a dotted path in code means, under one name however it is written; empty for none."""
    if path in _OWN or path.startswith("math."):
        return path
    for prefix in ("torch.nn.functional.", "nn.functional.", "F."):
        if path.startswith(prefix):
            name = path.removeprefix(prefix)
            return f"F.{name}" if functional(name) is not None else ""
    name = path.removeprefix("torch.")
    return path if name != path and torch_function(name) is not None else ""


def _called(node: Node | None) -> Iterator[Scalar]:
    """The names that something by name is called by: `zeros_`, or the keys of `{normal_: {std: 0.02}}`, or a list."""
    if isinstance(node, Scalar) and isinstance(node.value, str):
        yield node
    elif isinstance(node, Mapping):
        yield from (key for key, _ in node)
    elif isinstance(node, Sequence):
        for item in node.items:
            yield from _called(item)


def _inside(part: Part) -> Iterator[Part]:
    for name in type(part).model_fields:
        value = getattr(part, name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Part):
                yield item


def _place(code: Code, node: ast.expr) -> Span:
    return code.span_at(node.lineno, node.col_offset, node.end_lineno or node.lineno, node.end_col_offset or 0)
