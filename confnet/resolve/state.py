"""Parameters, buffers, initialisers and ties of a composite."""

from __future__ import annotations

from collections.abc import Iterable

from confnet.calls import Written
from confnet.catalog.initializers import initializer, initializer_names
from confnet.catalog.registry import DEFAULT_REGISTRY
from confnet.catalog.types import UNKNOWN_VALUE, Type
from confnet.diagnostics import closest
from confnet.language.code import Code
from confnet.plan import BufferPlan, DTypeName, InitPlan, ParameterPlan, Tie
from confnet.resolve.arguments import Arguments
from confnet.resolve.places import Place, Reports
from confnet.source import Mapping, Node, Scalar
from confnet.spec.models import BufferSpec, ParameterSpec, TieSpec
from confnet.values import code_of, mentioned

__all__ = ["State", "sources_first"]


class State(Reports):
    """Reads what a composite holds besides its children."""

    def __init__(self, arguments: Arguments) -> None:
        self.values, self.arguments = arguments.values, arguments

    def parameter(self, spec: ParameterSpec | Scalar, place: Place) -> ParameterPlan | None:
        if isinstance(spec, Scalar):
            return None
        if not self.values.condition(spec.when, place.names):
            return self.parameter(spec.otherwise, place) if spec.otherwise else None
        shape = self.values.shape(spec.shape, place.names)
        dtype = self.dtype(spec.dtype, place)
        requires_grad = self.values.flag(spec.requires_grad, place.names, True)
        init = self.init(spec.init, shape or (), place) if spec.init is not None else None
        return ParameterPlan(shape or (), dtype, requires_grad, init, spec.span)

    def dtype(self, node: Scalar | None, place: Place) -> str | None:
        if node is None:
            return None
        value = self.values.scalar(node, place.names)
        if value is None or value is UNKNOWN_VALUE:
            return None
        kind = Type.parse("dtype")
        coerced = kind.coerce(value)
        if isinstance(coerced, DTypeName):
            return coerced.name
        self.error(
            "invalid-type",
            f"`{value}` is not a dtype",
            node.span,
            place,
            help="write a name such as `float32` or `int64`",
        )
        return None

    def init(self, node: Node, shape: tuple[int, ...] | None, place: Place) -> InitPlan | None:
        """An initialiser: a name, or a mapping of a name to its arguments, or `{value: code}`."""
        if isinstance(node, Scalar) and isinstance(node.value, str):
            return self.initializer(node, None, shape, place)
        if isinstance(node, Mapping) and len(node.entries) == 1:
            key, arguments = node.entries[0]
            if key.text == "value" and isinstance(arguments, Scalar):
                code = self.code(arguments, place)
                return InitPlan("", (), {}, code, mentioned([code.text], place.names), node.span)
            return self.initializer(key, arguments, shape, place)
        self.error(
            "invalid-init",
            "an initialiser is a name, or a mapping of one name to its arguments",
            node.span,
            place,
            help="write `zeros_`, or `{normal_: {std: 0.02}}`",
        )
        return None

    def initializer(
        self, key: Scalar, arguments: Node | None, shape: tuple[int, ...] | None, place: Place
    ) -> InitPlan | None:
        known = initializer(key.text)
        registered = DEFAULT_REGISTRY.initializers
        if known is None and key.text in registered:
            positional, keywords = self.arguments.bound(
                registered[key.text].after(1), Written.read(arguments, key.span), place
            )
            return None if positional is None else InitPlan(key.text, positional, keywords, None, {}, key.span)
        if known is None:
            guess = closest(key.text, [*initializer_names(), *registered])
            help = (
                f"did you mean `{guess}`?"
                if guess
                else "the initialisers are those of `torch.nn.init`, and registered ones"
            )
            message = f"there is no initialiser `{key.text}`"
            self.error("unknown-initializer", message, key.span, place, help=help, fix=guess)
            return None
        if shape is not None and not known.takes_shape(shape):
            wanted = (
                f"at least {known.min_dimensions}"
                if known.max_dimensions != known.min_dimensions
                else str(known.min_dimensions)
            )
            self.error(
                "invalid-init",
                f"`{key.text}` needs {wanted} dimensions, and the shape {list(shape)} has {len(shape)}",
                key.span,
                place,
            )
            return None
        positional, keywords = self.arguments.bound(known, Written.read(arguments, key.span), place)
        return None if positional is None else InitPlan(key.text, positional, keywords, None, {}, key.span)

    def buffer(self, spec: BufferSpec | Scalar, place: Place) -> BufferPlan | None:
        if isinstance(spec, Scalar):
            return None
        if not self.values.condition(spec.when, place.names):
            return self.buffer(spec.otherwise, place) if spec.otherwise else None
        shape = self.values.shape(spec.shape, place.names) if spec.shape is not None else None
        dtype = self.dtype(spec.dtype, place)
        persistent = self.values.flag(spec.persistent, place.names, True)
        code, value = None, None
        if spec.shape is not None:
            value = self.values.scalar(spec.fill, place.names) if spec.fill is not None else 0
        elif isinstance(spec.value, Scalar) and isinstance(spec.value.value, str):
            code = self.code(spec.value, place)
        else:
            value = self.values.value(spec.value, place.names)
            if not _is_numeric(value):
                self.error(
                    "invalid-type", "a buffer's value is a number, a list of numbers, or code", spec.value.span, place
                )
                value = 0
        return BufferPlan(value, code, shape, dtype, persistent, spec.span)

    def code(self, node: Scalar, place: Place) -> Code:
        if node.style == ">" or not (node.one_line or node.style == "|"):
            self.error(
                "folded-code", "code on several lines needs a block", node.span, place, help="write it below `|`"
            )
        return code_of(node, "value")

    def tie(self, spec: TieSpec, place: Place) -> Tie | None:
        if not self.values.condition(spec.when, place.names):
            return None
        return Tie(
            self.values.text(spec.name, place.names), self.values.text(spec.to, place.names), spec.span, spec.to.span
        )


def _is_numeric(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_numeric(item) for item in value)
    return value is UNKNOWN_VALUE or isinstance(value, bool | int | float)


def sources_first(ties: Iterable[Tie]) -> tuple[Tie, ...]:
    """Ties in an order in which a parameter takes its own before another takes it: a chain becomes one Parameter."""
    left = {tie.name: tie for tie in ties}
    ordered: list[Tie] = []

    def add(tie: Tie | None) -> None:
        if tie is not None:
            add(left.pop(tie.to, None))
            ordered.append(tie)

    while left:
        add(left.pop(next(iter(left))))
    return tuple(ordered)
