"""Contracts: the sizes, dtypes and ranges of inputs and outputs, under the args of one instance."""

from __future__ import annotations

from confnet.catalog.types import UNKNOWN_VALUE
from confnet.diagnostics import Span, closest
from confnet.language.grammar import LanguageError
from confnet.plan import Contract, Size, ValueContract
from confnet.resolve.places import Place, Reports
from confnet.resolve.state import State
from confnet.source import Node, Scalar, Sequence, plain
from confnet.spec.models import BodySpec, ContractSpec, InputSpec
from confnet.values import expression_of, is_plain

__all__ = ["Contracts"]


class Contracts(Reports):
    """Reads what a body says of the inputs and outputs of its forward and methods."""

    def __init__(self, state: State) -> None:
        self.state, self.values = state, state.values

    def of(self, body: BodySpec, place: Place) -> dict[str, Contract]:
        """The contracts of a body by the name of the method; one that says nothing is left out."""
        parts = [("forward", body.inputs, body.outputs)]
        parts += [(method.name.text, method.inputs, method.outputs) for method in body.methods]
        return {
            name: self.contract(inputs, outputs, place)
            for name, inputs, outputs in parts
            if inputs is not None or outputs is not None
        }

    def contract(
        self, inputs: tuple[InputSpec, ...] | None, outputs: tuple[ContractSpec, ...] | None, place: Place
    ) -> Contract:
        """The contract of one forward or method."""
        return Contract(
            None if inputs is None else tuple(self.input(item, place) for item in inputs),
            None if outputs is None else tuple(self.output(item, place) for item in outputs),
        )

    def input(self, spec: InputSpec, place: Place) -> ValueContract:
        return ValueContract(
            spec.name,
            spec.span,
            shape=self.shape(spec.shape, place),
            item=self.shape(spec.item, place),
            dtype=self.state.dtype(spec.dtype, place),
            low=self.number(spec.low, place),
            high=self.number(spec.high, place),
            type=spec.type,
            required=not spec.has_default,
            default=plain(spec.default) if spec.default is not None else None,
        )

    def output(self, spec: ContractSpec, place: Place) -> ValueContract:
        return ValueContract(spec.name, spec.span, shape=self.shape(spec.shape, place))

    def number(self, node: Scalar | None, place: Place) -> float | None:
        if node is None:
            return None
        value = self.values.scalar(node, place.names)
        if value is UNKNOWN_VALUE or value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.error("invalid-type", f"a number is expected here, not `{value}`", node.span, place)
            return None
        return value

    def shape(self, node: Node | None, place: Place) -> tuple[Size, ...] | None:
        """The sizes of a shape; None where there is none, or where it is wrong, which is reported."""
        if isinstance(node, Sequence):
            sizes = [self.size(item, place) for item in node.items]
            return None if any(size is None for size in sizes) else tuple(size for size in sizes if size is not None)
        if not isinstance(node, Scalar):
            return None
        value = self.values.scalar(node, place.names)
        if value is UNKNOWN_VALUE:
            return None
        if not isinstance(value, list | tuple):
            self.error("invalid-type", f"a shape is a list of sizes, not `{value}`", node.span, place)
            return None
        known = [self.known(str(item), item, node.span, place) for item in value]
        return None if any(size is None for size in known) else tuple(size for size in known if size is not None)

    def size(self, node: Node, place: Place) -> Size | None:
        if not isinstance(node, Scalar):
            self.error("invalid-shape", "a size is a number or an expression", node.span, place)
            return None
        if not isinstance(node.value, str):
            return self.known(node.text, node.value, node.span, place)
        if node.value == "_":
            return Size("_", node.span, None)
        if "$" in node.value:
            value = self.values.scalar(node, place.names)
            return None if value is UNKNOWN_VALUE else self.known(node.text, value, node.span, place)
        try:
            expression = expression_of(node.value)
            table = place.names.table
            names = {name: table[name] for name in expression.names if name in table and is_plain(table[name])}
            if any(table.get(name) is UNKNOWN_VALUE for name in expression.names):
                return None
            symbols = tuple(sorted(expression.names - {*names}))
            for name in symbols:
                if not name[:1].isupper():
                    self.undefined(name, node, place)
                    return None
            if symbols:
                return Size(node.value, node.span, expression, symbols, names)
            return self.known(node.value, expression.evaluate(names), node.span, place)
        except LanguageError as error:
            self.values.language_error(error, node, place.names)
            return None

    def undefined(self, name: str, node: Scalar, place: Place) -> None:
        known = [key for key, value in place.names.table.items() if is_plain(value)]
        near = closest(name, known)
        help = f"did you mean `{near}`?" if near else f"a symbolic size is capitalised: `{name.capitalize()}`"
        self.error("undefined-name", f"`{name}` is not defined", node.span, place, help=help)

    def known(self, text: str, value: object, span: Span, place: Place) -> Size | None:
        """A size that the args settle."""
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            self.error("invalid-shape", f"a size is an integer of 0 or more, not `{value}`", span, place)
            return None
        return Size(text, span, value)
