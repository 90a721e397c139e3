"""Arguments as a file writes them: of layers, definitions and initialisers alike."""

from __future__ import annotations

from collections.abc import Container, Iterable
from itertools import chain

from confnet.catalog.arguments import Argument, Callee, Problem, Takes
from confnet.catalog.layers import NOT_LAYERS
from confnet.catalog.registry import layer_names
from confnet.diagnostics import Collector, Note, Span
from confnet.records import dataclass
from confnet.source import Mapping, Node, Scalar, Sequence, plain
from confnet.spec.models import ArgSpec, DefinitionSpec
from confnet.spec.words import MODIFIER_KEYS, type_of_default

__all__ = ["Written", "callee_of", "declared", "report_unknown_layer"]


@dataclass(frozen=True, slots=True)
class Written:
    """The arguments of one call: positional nodes, keyword nodes with their keys, and the place of the call.

    A list written in the file spreads into positional arguments, a mapping into keywords. `literal` arguments come
    from outside the file (a variant, the caller): a `$` in them is text. `help` says where a missing one is given.
    """

    positional: tuple[Node, ...]
    keywords: dict[str, tuple[Scalar, Node]]
    span: Span
    literal: bool = False
    help: str = ""

    @classmethod
    def read(cls, node: Node | None, span: Span) -> Written:
        """The arguments that stand under a layer key."""
        if node is None or (isinstance(node, Scalar) and node.value is None):
            return cls((), {}, span)
        if isinstance(node, Mapping):
            return cls((), {key.text: (key, value) for key, value in node}, span)
        return cls(node.items if isinstance(node, Sequence) else (node,), {}, span)

    def slots(self, callee: Takes) -> Iterable[tuple[int | str, Node, Argument | None]]:
        """Each argument with the position or keyword it was given by, and what the callee says of it."""
        by_position = [argument for argument in callee.arguments if argument.positional]
        by_name = {argument.name: argument for argument in callee.arguments}
        for index, node in enumerate(self.positional):
            yield index, node, by_position[index] if index < len(by_position) else None
        for name, (_, node) in self.keywords.items():
            yield name, node, by_name.get(name)

    def report(
        self, problems: Iterable[Problem], found: Collector, notes: Iterable[Note] = (), known: Container[str] = ()
    ) -> None:
        """Report what `bind` found wrong, each at its argument. `known` are the names that `$` has here."""
        for problem in problems:
            span, node = self.span, None
            if isinstance(problem.where, int):
                node = self.positional[problem.where]
                span = node.span
            elif problem.where in self.keywords:
                key, node = self.keywords[problem.where]
                span = key.span if problem.code in ("unknown-argument", "duplicate-argument") else node.span
            help = problem.help or (self.help if problem.code == "missing-argument" else "")
            fix = problem.meant
            if problem.code == "unknown-argument" and problem.where in MODIFIER_KEYS:
                help, fix = f"`{problem.where}` stands beside the layer key, not among its arguments", None
            if problem.code.startswith("invalid-"):
                if isinstance(node, Scalar) and node.value in known:
                    fix = f"${node.text}"
                    help = f"write `{fix}` for the arg of that name"
                elif not isinstance(node, Scalar) or "$" in node.text:  # the value stands elsewhere
                    fix = None
            found.add(problem.code, problem.message, span, help=help, notes=notes, fix=fix)


def callee_of(definition: DefinitionSpec) -> Callee:
    """A definition as something that takes arguments."""
    body = definition.module.body
    return Callee(definition.name, tuple(declared(arg) for arg in body.args) if body else ())


def declared(arg: ArgSpec) -> Argument:
    """The catalog's argument of a declared arg; its type follows from the default where none is written."""
    null_default = isinstance(arg.default, Scalar) and arg.default.value is None
    nullable = null_default or (isinstance(arg.nullable, Scalar) and arg.nullable.value is True)
    kind = arg.type or type_of_default(arg.default)
    return Argument(
        name=arg.name,
        type=f"{kind} | None" if nullable and kind != "any" else kind,
        required=not arg.has_default,
        ge=_number(arg.ge),
        gt=_number(arg.gt),
        le=_number(arg.le),
        lt=_number(arg.lt),
        choices=tuple(plain(item) for item in arg.choices.items) if arg.choices is not None else (),
    )


def _number(node: Node | None) -> float | int | None:
    return node.value if isinstance(node, Scalar) and isinstance(node.value, int | float) else None


def report_unknown_layer(
    name: str, span: Span, definitions: Iterable[str], found: Collector, notes: Iterable[Note] = ()
) -> None:
    """Report a name that is neither a definition nor a layer."""
    if name in NOT_LAYERS:
        known = NOT_LAYERS[name]
        found.add("not-a-layer", f"`{name}` is not a layer: {known.reason}", span, help=known.help, notes=notes)
        return
    guess = found.closest(name, chain(definitions, layer_names()))
    help = f"did you mean `{guess}`?" if guess else "define it under `modules`, or register it with `confnet.register`"
    found.add("unknown-layer", f"there is no layer or definition `{name}`", span, help=help, notes=notes, fix=guess)
