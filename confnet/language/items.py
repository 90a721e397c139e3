"""Checking what holds other values: indexing, iteration, displays, comprehensions and targets."""

from __future__ import annotations

import ast
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from confnet.language.binding import listing
from confnet.language.context import STEP_OF_COPIES, Context
from confnet.language.kinds import (
    DICT,
    DTYPE,
    FLAG,
    NONE,
    NUMBER,
    TENSOR,
    TEXT,
    UNKNOWN,
    DictKind,
    Kind,
    ListKind,
    ModuleKind,
    Signature,
    TupleKind,
)
from confnet.language.names import NAMESPACES
from confnet.language.values import (
    BROKEN,
    HEAP,
    PRESENT,
    UNSETTLED,
    Label,
    Value,
    describe,
    flat,
    holds_module,
    join,
    join_kinds,
    options,
    tuple_kind,
)

__all__ = ["Items", "settled"]

EMPTY_ITEM = ModuleKind("item of an empty container", Signature((), variadic=True, keywords=True))


def settled(value: Value) -> bool:
    """Whether the value itself is known before the body runs."""
    return value.static is not UNSETTLED and value.static is not PRESENT


class Items(Context):
    """What the parts of a value are, and what a value made of parts is."""

    @abstractmethod
    def expression(self, node: ast.expr) -> Value:
        """The abstract value of an expression, a module included."""

    @abstractmethod
    def value(self, node: ast.expr, doing: str = "used as a value") -> Value:
        """The abstract value of an expression that must not be a module."""

    @abstractmethod
    def condition(self, node: ast.expr) -> bool | None:
        """Check a condition; the answer is what it is in this instance, if that is settled."""

    def narrowed(self, environment: dict[str, Value], test: ast.expr, outcome: bool) -> dict[str, Value]:
        """The environment where `test` came out as `outcome`: `x is not None` tells the kind of the local `x`."""
        self.visit(len(environment) // STEP_OF_COPIES)
        match test:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.narrowed(environment, operand, not outcome)
            case ast.BoolOp(op=op, values=values) if isinstance(op, ast.And) == outcome:
                for part in values:
                    environment = self.narrowed(environment, part, outcome)
            case ast.Compare(left=ast.Name(id=name), ops=[op], comparators=[ast.Constant(value=None)]):
                value = environment.get(name)
                if value is not None and isinstance(op, ast.Is | ast.IsNot) and self.is_local(name):
                    is_none = isinstance(op, ast.Is) == outcome
                    kinds = [kind for kind in options(value.kind) if (kind == NONE) == is_none]
                    if kinds:
                        return {**environment, name: replace(value, kind=join_kinds(kinds))}
        return dict(environment)

    # --- items -------------------------------------------------------------------------------------

    def _subscript(self, node: ast.Subscript) -> Value:
        value = self.expression(node.value)
        index = self._index(node.slice)
        if isinstance(node.slice, ast.Slice):
            return join([self._slice_of(node, value, option) for option in options(value.kind)])
        return join([self._item_of(node, value, option, index) for option in options(value.kind)])

    def _index(self, node: ast.expr) -> Value:
        match node:
            case ast.Slice(lower=lower, upper=upper, step=step):
                for part in (lower, upper, step):
                    if part is not None:
                        self.value(part)
                return Value(UNKNOWN)
            case ast.Tuple(elts=parts):
                for part in parts:
                    self._index(part)
                return Value(UNKNOWN)
            case ast.Starred(value=part):
                return self.value(part)
        return self.value(node)

    def _slice_of(self, node: ast.Subscript, value: Value, kind: Kind) -> Value:
        if isinstance(kind, ModuleKind):
            if kind.container != "list":
                self.report(node, "not-indexable", f"{describe(kind)} cannot be sliced")
                return BROKEN
            return Value(ListKind(self._all_items(kind), lazy=True))
        if isinstance(kind, ListKind):
            site = frozenset({self.site(node)})
            return Value(replace(kind, lazy=holds_module(kind)), site, self.held(value), fresh=not holds_module(kind))
        if isinstance(kind, TupleKind):
            return Value(ListKind(join_kinds(kind.items)), frozenset(), self.held(value), symbolic=value.symbolic)
        if kind in (NUMBER, FLAG, NONE, DTYPE):
            self.report(node, "not-indexable", f"{describe(kind)} cannot be sliced")
            return BROKEN
        labels = value.labels | {HEAP} if kind == UNKNOWN else value.labels
        return Value(kind, labels, labels, symbolic=value.symbolic)

    def _item_of(self, node: ast.Subscript, value: Value, kind: Kind, index: Value) -> Value:
        held = self.held(value)
        match kind:
            case ModuleKind():
                return self._module_item(node, kind, index)
            case TupleKind(items=items):
                place = index.static
                if isinstance(place, int) and not isinstance(place, bool):
                    if not -len(items) <= place < len(items):
                        self.report(node, "missing-member", f"there is no item {place} in a tuple of {len(items)}")
                        return BROKEN
                    return Value(items[place], held, held, symbolic=value.symbolic)
                return Value(join_kinds(items), held, held, symbolic=value.symbolic)
            case ListKind(item=item) | DictKind(value=item):
                if holds_module(kind):
                    self.not_a_module(value, node.value, "indexed here")
                    return BROKEN
                return Value(item, held, held, symbolic=value.symbolic)
        if kind in (TENSOR, UNKNOWN, DICT, TEXT):
            labels = value.labels if kind == TENSOR else value.labels | {HEAP}
            return Value(UNKNOWN if kind == DICT else kind, labels, labels, symbolic=value.symbolic)
        code = "call-of-none" if kind == NONE else "not-indexable"
        self.report(node, code, f"`{self.source(node.value)}` is {describe(kind)}: it cannot be indexed")
        return BROKEN

    def _module_item(self, node: ast.Subscript, kind: ModuleKind, index: Value) -> Value:
        if not kind.container:
            self.report(node, "not-indexable", f"{describe(kind)} is no container: it cannot be indexed")
            return BROKEN
        if not settled(index):
            if not kind.items:
                self.report(node, "missing-member", f"{describe(kind)} has no items")
            return Value(self._all_items(kind))
        keys = list(kind.items)
        place = index.static
        if kind.container == "list" and isinstance(place, int):
            found = keys[place] if -len(keys) <= place < len(keys) else None
        else:
            found = place if isinstance(place, str) and place in kind.items and kind.container == "dict" else None
        if found is not None:
            return self.stored(kind.items[found], Label("child", f"{kind.label}.{found}"))
        has = f"it has {len(keys)} items" if kind.container == "list" else f"its keys are {listing(keys)}"
        if not keys:
            has = "it is empty"
        self.report(node, "missing-member", f"{describe(kind)} has no item `{place}`", label=has)
        return Value(EMPTY_ITEM) if self.dead else BROKEN

    def _all_items(self, kind: ModuleKind) -> Kind:
        return join_kinds(kind.items.values()) if kind.items else EMPTY_ITEM

    def items(self, value: Value, node: ast.expr) -> Value:
        """What iteration over `value` gives; a report if there is no iterating over it."""
        return join([self._items_of(value, option, node) for option in options(value.kind)])

    def _items_of(self, value: Value, kind: Kind, node: ast.expr) -> Value:
        held = self.held(value)
        match kind:
            case ModuleKind(container="list"):
                return Value(self._all_items(kind))
            case ModuleKind(container="dict"):
                return Value(TEXT)
            case ListKind(item=item):
                return Value(item, held, held, symbolic=value.symbolic)
            case TupleKind(items=items):
                return Value(join_kinds(items) if items else UNKNOWN, held, held, symbolic=value.symbolic)
            case DictKind():
                return Value(TEXT)
        if kind in (TENSOR, UNKNOWN, DICT):
            labels = value.labels if kind == TENSOR else value.labels | {HEAP}
            return Value(TENSOR if kind == TENSOR else UNKNOWN, labels, labels)
        code = "call-of-none" if kind == NONE else "not-iterable"
        self.report(node, code, f"`{self.source(node)}` is {describe(kind)}: it cannot be iterated")
        return BROKEN

    # --- displays and comprehensions ---------------------------------------------------------------

    def site(self, node: ast.AST) -> Label:
        """The label of a list made at a node."""
        return Label("list", f"{getattr(node, 'lineno', 0)}:{getattr(node, 'col_offset', 0)}:{type(node).__name__}")

    def _parts(self, nodes: Sequence[ast.expr]) -> list[Value]:
        made: list[Value] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                starred = self.value(node.value, "spread into a list")
                made.append(self.items(starred, node.value))
            else:
                made.append(self.value(node, "stored in a list, tuple or dict"))
        return made

    def _list(self, node: ast.List) -> Value:
        parts = self._parts(node.elts)
        kind = flat(ListKind(join_kinds(part.kind for part in parts)))
        inside = frozenset().union(*(part.labels for part in parts))
        nonempty = any(not isinstance(item, ast.Starred) for item in node.elts)
        return Value(kind, frozenset({self.site(node)}), inside, fresh=True, nonempty=nonempty)

    def _tuple(self, node: ast.Tuple) -> Value:
        parts = self._parts(node.elts)
        inside = frozenset().union(*(part.labels for part in parts))
        symbolic = any(part.symbolic for part in parts)
        if any(isinstance(item, ast.Starred) for item in node.elts):
            return Value(flat(ListKind(join_kinds(part.kind for part in parts))), inside=inside, symbolic=symbolic)
        statics = [part.static for part in parts]
        static: object = tuple(statics) if all(settled(part) for part in parts) else UNSETTLED
        kind = tuple_kind(part.kind for part in parts)
        return Value(kind, frozenset(), inside, static, symbolic, nonempty=bool(parts))

    def _dict(self, node: ast.Dict) -> Value:
        parts = self._parts(node.values)
        for key in node.keys:
            if key is not None:
                self.value(key)
        inside = frozenset().union(*(part.labels for part in parts))
        kind = flat(DictKind(join_kinds(part.kind for part in parts))) if parts else DICT
        return Value(kind, frozenset({self.site(node)}), inside, nonempty=bool(parts))

    def _listcomp(self, node: ast.ListComp | ast.GeneratorExp) -> Value:
        with self.comprehension(node.generators):
            element = self.value(node.elt, "stored in a list")
        return Value(flat(ListKind(element.kind)), frozenset({self.site(node)}), element.labels, fresh=True)

    def _dictcomp(self, node: ast.DictComp) -> Value:
        with self.comprehension(node.generators):
            key = self.value(node.key)
            if any(option not in (TEXT, UNKNOWN) for option in options(key.kind)):
                self.report(node.key, "not-allowed-in-code", "dict keys other than text are not allowed in code")
            element = self.value(node.value, "stored in a dict")
        return Value(flat(DictKind(element.kind)), frozenset({self.site(node)}), element.labels)

    def _generatorexp(self, node: ast.GeneratorExp) -> Value:
        # A generator that outlives its call would run later, in another environment than the one checked here.
        self.report(
            node,
            "not-allowed-in-code",
            "a generator can only be the argument of a function such as `sum`",
            "write a list: `[... for ... in ...]`",
        )
        return self._listcomp(node)

    def generator_argument(self, node: ast.GeneratorExp) -> Value:
        """A generator where it is consumed at once."""
        return self._listcomp(node)

    def _starred(self, node: ast.Starred) -> Value:
        return self.value(node.value)

    @contextmanager
    def comprehension(self, generators: Sequence[ast.comprehension]) -> Iterator[None]:
        """Bind the variables of a comprehension, and forget them afterwards."""
        environment, depth = self.environment, len(self.comprehended)
        self.visit(len(environment) // STEP_OF_COPIES)
        self.environment = dict(environment)
        for generator in generators:
            iterable = self.iterable(generator.iter)
            self.bind(generator.target, self.items(iterable, generator.iter), comprehended=True)
            for test in generator.ifs:
                self.condition(test)
                self.environment = self.narrowed(self.environment, test, True)
        try:
            yield
        finally:
            self.environment = environment
            del self.comprehended[depth:]

    def iterable(self, node: ast.expr) -> Value:
        """The value of an expression that is iterated at once: it may hold modules."""
        return self.expression(node)

    def bind(self, target: ast.expr, value: Value, comprehended: bool = False) -> None:
        """Give the names of a target the value or its items."""
        match target:
            case ast.Name(id=name):
                self.refuse_shadow(target, name)
                if comprehended:
                    self.comprehended.append(name)
                self.environment[name] = value.local()
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                self._unpack(target, parts, value, comprehended)
            case _ if comprehended:
                self.report(target, "not-allowed-in-code", "a comprehension binds names only")
                for part in ast.walk(target):  # what reads them says nothing new
                    if isinstance(part, ast.Name) and part.id not in self.environment:
                        self.comprehended.append(part.id)
                        self.environment[part.id] = BROKEN

    def _unpack(self, target: ast.expr, parts: Sequence[ast.expr], value: Value, comprehended: bool) -> None:
        held = self.held(value)
        if isinstance(value.kind, TupleKind):
            kinds = value.kind.items
            if len(kinds) != len(parts):
                self.report(target, "wrong-unpacking", f"{len(kinds)} values are unpacked into {len(parts)} names")
            for index, part in enumerate(parts):
                kind = kinds[index] if index < len(kinds) else UNKNOWN
                self.bind(part, Value(kind, held, held, symbolic=value.symbolic), comprehended)
            return
        item = self.items(value, target)
        for part in parts:
            self.bind(part, item, comprehended)

    def refuse_shadow(self, node: ast.AST, name: str) -> None:
        """Report the assignment of a name that always means the same."""
        if name in NAMESPACES or (name == "self" and self.scope.has_self):
            self.report(node, "shadowed-namespace", f"`{name}` cannot be assigned", "take another name for the local")
