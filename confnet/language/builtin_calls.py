"""Checking calls of the few Python functions, and methods of dicts, that code may call."""

from __future__ import annotations

import ast
import builtins

from confnet.language.arithmetic import FUNCTIONS
from confnet.language.kinds import (
    FLAG,
    NUMBER,
    TENSOR,
    TEXT,
    UNKNOWN,
    DictKind,
    Kind,
    ListKind,
    ModuleKind,
    TupleKind,
)
from confnet.language.names import NAMESPACES, dotted
from confnet.language.operands import Operands
from confnet.language.values import (
    BROKEN,
    UNSETTLED,
    Labels,
    Value,
    flat,
    holds_module,
    join_kinds,
    modules_of,
    tuple_kind,
)

__all__ = ["BuiltinCalls"]

# name: (fewest, most positional arguments, keyword arguments)
BUILTIN_ARGUMENTS: dict[str, tuple[int, int, frozenset[str]]] = {
    "len": (1, 1, frozenset()),
    "range": (1, 3, frozenset()),
    "zip": (0, 1000, frozenset({"strict"})),
    "enumerate": (1, 2, frozenset({"start"})),
    "reversed": (1, 1, frozenset()),
    "min": (1, 1000, frozenset()),
    "max": (1, 1000, frozenset()),
    "sum": (1, 2, frozenset({"start"})),
    "abs": (1, 1, frozenset()),
    "int": (1, 1, frozenset()),
    "float": (1, 1, frozenset()),
    "bool": (1, 1, frozenset()),
    "list": (0, 1, frozenset()),
    "tuple": (0, 1, frozenset()),
}
LAZY = frozenset({"zip", "enumerate", "reversed"})


class BuiltinCalls(Operands):
    """The kinds of calls of `len`, `range`, `zip` and their like, and of `items`, `keys` and `values`."""

    def _builtin(self, node: ast.Call, name: str) -> Value:
        fewest, most, keywords = BUILTIN_ARGUMENTS[name]
        starred = any(isinstance(argument, ast.Starred) for argument in node.args)
        if not starred and not fewest <= len(node.args) <= most:
            count = str(fewest) if fewest == most else f"{fewest} to {most}" if most < 1000 else f"at least {fewest}"
            surplus = node.args[most] if len(node.args) > most else node
            plural = "" if count in ("1", "at least 1") else "s"
            message = f"`{name}` takes {count} argument{plural}, not {len(node.args)}"
            self.report(surplus, "wrong-argument-count", message)
        for keyword in node.keywords:
            if keyword.arg not in keywords:
                self.report(keyword, "unknown-argument", f"`{name}` has no argument `{keyword.arg}` in code")
        values = [self._builtin_argument(argument, name) for argument in node.args]
        refused = {keyword.arg for keyword in node.keywords} - keywords
        values += [self.tolerated(k.value) if k.arg in refused else self.value(k.value) for k in node.keywords]
        return self._builtin_result(node, name, values)

    def tolerated(self, node: ast.expr) -> Value:
        """The value of an argument of a call that is refused: a function may be what such a call would take."""
        return BROKEN if self._is_function(node) else self.value(node, "passed as an argument")

    def tolerated_callee(self, node: ast.expr) -> Value:
        """The value of what another function shall call, without a word about functions as values."""
        return BROKEN if self._is_function(node) else self.expression(node)

    def _is_function(self, node: ast.expr) -> bool:
        """Whether an expression names a function, one of Python's own that code may not call included."""
        path = dotted(node) or ""
        bare = isinstance(node, ast.Name) and not self.is_local(node.id) and self.attribute(node.id) is None
        if bare:
            return hasattr(builtins, path) or path in self.scope.methods or path in self.scope.functions
        return path.split(".")[0] in NAMESPACES and self.find_function(path) is not None

    def _builtin_argument(self, argument: ast.expr, name: str) -> Value:
        if isinstance(argument, ast.GeneratorExp):
            return self.generator_argument(argument)
        if isinstance(argument, ast.Starred):
            spread = self.value(argument.value, "passed")
            return self.items(spread, argument.value)
        value = self.expression(argument)
        if name in LAZY or (name == "len" and modules_of(value.kind)):
            return value
        return self.not_a_module(value, argument, "passed as an argument")

    def _builtin_result(self, node: ast.Call, name: str, values: list[Value]) -> Value:
        labels: Labels = frozenset().union(*(value.labels for value in values))
        inside: Labels = frozenset().union(*(self.held(value) for value in values))
        symbolic = any(value.symbolic for value in values)
        site = frozenset({self.site(node)})
        if not values:
            return Value(ListKind(UNKNOWN), site, fresh=name == "list") if name == "list" else Value(TupleKind(()))
        first = values[0]
        if name in LAZY:
            return self._lazy(node, name, values, labels, inside)
        if name in ("list", "tuple"):
            item = self.items(first, node.args[0])
            return Value(
                flat(ListKind(item.kind)),
                site,
                self.held(first),
                symbolic=symbolic,
                fresh=name == "list",
                nonempty=first.nonempty,
            )
        if name == "range":
            return self._range(node, values, symbolic)
        if name == "len":
            static = _static_length(first)
            sized = isinstance(first.kind, ModuleKind | ListKind | TupleKind | DictKind)
            return Value(NUMBER, static=UNSETTLED if static is None else static, symbolic=not sized)
        if name in ("int", "float", "bool"):
            return Value(FLAG if name == "bool" else NUMBER, symbolic=symbolic)
        if name == "abs":
            return Value(first.kind if first.kind in (TENSOR, NUMBER) else UNKNOWN, symbolic=symbolic)
        # `min`, `max` and `sum` may hand back an argument, or an item of it.
        kind = (
            self._items_kind(first, node) if len(values) == 1 or name == "sum" else join_kinds(v.kind for v in values)
        )
        return Value(kind, labels | inside, labels | inside, symbolic=symbolic)

    def _items_kind(self, value: Value, node: ast.Call) -> Kind:
        kind = self.items(value, node.args[0]).kind if not isinstance(node.args[0], ast.Starred) else UNKNOWN
        return NUMBER if kind == FLAG else kind

    def _lazy(self, node: ast.Call, name: str, values: list[Value], labels: Labels, inside: Labels) -> Value:
        count = 1 if name in ("enumerate", "reversed") else len(values)
        items = [
            self.items(value, argument) for value, argument in zip(values[:count], node.args[:count], strict=False)
        ]
        kinds: list[Kind] = [item.kind for item in items]
        kind = kinds[0] if name == "reversed" else TupleKind((NUMBER, *kinds) if name == "enumerate" else tuple(kinds))
        if not any(holds_module(part) for part in kinds) and isinstance(kind, TupleKind):
            kind = tuple_kind(kind.items)
        lazy = holds_module(kind)
        return Value(
            ListKind(kind, lazy) if lazy else flat(ListKind(kind)),
            labels,
            labels | inside,
            symbolic=any(value.symbolic for value in values[:count]),
            nonempty=all(value.nonempty for value in values[:count]),
        )

    def _range(self, node: ast.Call, values: list[Value], symbolic: bool) -> Value:
        bounds = [value.static for value in values if isinstance(value.static, int)]
        nonempty = False
        if len(bounds) == len(values) == len(node.args) and 1 <= len(bounds) <= 3:
            try:
                nonempty = bool(FUNCTIONS["range"][0](*bounds))
            except ValueError as error:
                zero = bounds[-1] == 0 and len(bounds) == 3
                message = "the step of `range` is 0" if zero else str(error)
                self.report(node.args[-1] if zero else node, "expression-error", message)
        return Value(ListKind(NUMBER), symbolic=symbolic, nonempty=nonempty)

    def _module_dict(self, kind: ModuleKind, name: str) -> Value:
        item = self._all_items(kind)
        kinds: dict[str, Kind] = {"keys": TEXT, "values": item, "items": TupleKind((TEXT, item))}
        return Value(ListKind(kinds[name], lazy=True), nonempty=bool(kind.items))

    def _dict_method(self, node: ast.Call, owner: Value, item: Kind, name: str) -> Value:
        if node.args or node.keywords:
            for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
                self.value(argument)
            self.report(node, "wrong-argument-count", f"`{name}` takes no arguments")
        kinds: dict[str, Kind] = {"keys": TEXT, "values": item, "items": tuple_kind((TEXT, item))}
        return Value(ListKind(kinds[name]), owner.own, self.held(owner), nonempty=owner.nonempty)


def _static_length(value: Value) -> int | None:
    if isinstance(value.kind, ModuleKind):
        return len(value.kind.items)
    if isinstance(value.static, list | tuple | dict | str | range):
        return len(value.static)
    return len(value.kind.items) if isinstance(value.kind, TupleKind) else None
