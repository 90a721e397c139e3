"""Checking expressions other than calls."""

from __future__ import annotations

import ast
import builtins
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from confnet.catalog.functions import DTYPES, TENSOR_ATTRIBUTES, Function, functional, result_fields, torch_function
from confnet.language.arithmetic import MAX_ITEMS, binary, compare
from confnet.language.context import STEP_OF_COPIES
from confnet.language.items import Items, settled
from confnet.language.kinds import (
    DTYPE,
    FLAG,
    NONE,
    NUMBER,
    TENSOR,
    TEXT,
    UNKNOWN,
    Kind,
    ListKind,
    ModuleKind,
    TupleKind,
)
from confnet.language.names import BUILTINS, NAMESPACES, dotted
from confnet.language.values import (
    BROKEN,
    PRESENT,
    UNSETTLED,
    Label,
    Value,
    describe,
    holds_module,
    join,
    join_kinds,
    modules_of,
    options,
    plain,
    surely_tensor,
    tuple_kind,
)

__all__ = ["Operands"]

FUNCTION_SPACES = {"torch": "torch", "F": "F", "nn.functional": "F", "torch.nn.functional": "F"}
MATH_NUMBERS = frozenset({"pi", "inf"})
MATH_NAMES = MATH_NUMBERS | {"exp", "log", "sqrt"}
TYPE_INFO = {"torch.finfo": ("min", "max", "eps", "tiny"), "torch.iinfo": ("min", "max")}


class Operands(Items):
    """The kinds of expressions. `expression` gives any value, `value` reports modules, which may not be values."""

    @abstractmethod
    def call(self, node: ast.Call) -> Value:
        """The value of a call."""

    def expression(self, node: ast.expr) -> Value:
        """The abstract value of an expression, a module included."""
        self.visit()
        handler: Callable[[Any], Value] | None = getattr(self, f"_{type(node).__name__.lower()}", None)
        value = handler(node) if handler else Value(UNKNOWN)
        self.visit((len(value.own) + len(value.inside)) // STEP_OF_COPIES)
        return replace(value, own=frozenset(), inside=frozenset()) if plain(value.kind) and value.labels else value

    def value(self, node: ast.expr, doing: str = "used as a value") -> Value:
        """The abstract value of an expression that must not be a module."""
        return self.not_a_module(self.expression(node), node, doing)

    # --- constants and names -----------------------------------------------------------------------

    def _constant(self, node: ast.Constant) -> Value:
        match node.value:
            case None:
                return Value(NONE, static=None)
            case bool():
                return Value(FLAG, static=node.value)
            case int() | float():
                return Value(NUMBER, static=node.value)
            case str():
                if "%" in node.value:
                    # A format string is refused where it is written: `'%999999999d' % 1` takes all memory.
                    self.report(node, "not-allowed-in-code", "text with `%` is not allowed in code")
                return Value(TEXT, static=node.value)
        return BROKEN

    def _name(self, node: ast.Name) -> Value:
        name = node.id
        if name in self.comprehended:
            return self.environment[name]
        if name in self.locals:
            return self._local(node, name)
        if name in NAMESPACES or (name == "self" and self.scope.has_self):
            what = "the module itself" if name == "self" else "a namespace"
            self.report(
                node, "namespace-as-value", f"`{name}` is {what}, not a value", f"read a name of it: `{name}.x`"
            )
            return BROKEN
        value = self.attribute(name)
        if value is not None:
            self._refuse_format(node, value)
            return value
        if name in BUILTINS or name in self.scope.functions or name in self.scope.methods:
            self.report(node, "function-as-value", f"the function `{name}` can only be called")
            return BROKEN
        self.undefined(node, name)
        return BROKEN

    def _refuse_format(self, node: ast.AST, value: Value) -> None:
        if settled(value) and "%" in str(value.static) and not plain_number(value.static):
            self.report(node, "not-allowed-in-code", "text with `%` is not allowed in code")

    def _local(self, node: ast.Name, name: str) -> Value:
        value = self.environment.get(name)
        if value is not None and not value.maybe:
            return value
        when = "before it is assigned" if value is None else "where it may be unassigned"
        if self.has_attribute(name):
            help = f"write `self.{name}` for the attribute: a body that assigns `{name}` has a local of that name"
            self.report(node, "possibly-undefined", f"`{name}` is a local here, read {when}", help)
        else:
            severity = "error" if value is None else "warning"
            self.report(node, "possibly-undefined", f"`{name}` is read {when}", severity=severity)  # type: ignore[arg-type]
        return value or BROKEN

    def undefined(self, node: ast.AST, name: str) -> None:
        """Report a name that means nothing here."""
        spaces = _namespaces_of(name)
        if not spaces:
            help = self.suggestion(name, self.nameable(hasattr(builtins, name)))
        elif " or " in spaces:
            help = f"did you mean {spaces}?"
        else:
            help = self.suggested(name, spaces.strip("`"))
        self.report(node, "undefined-name", f"`{name}` is not defined", help)

    # --- attributes --------------------------------------------------------------------------------

    def _attribute(self, node: ast.Attribute) -> Value:
        path = dotted(node)
        root = path.split(".", 1)[0] if path else ""
        if path and root in NAMESPACES:
            return self._namespaced(node, path)
        if root == "self" and self.scope.has_self and isinstance(node.value, ast.Name):
            return self._own_attribute(node)
        if isinstance(node.value, ast.Call) and dotted(node.value.func) in TYPE_INFO:
            return self._type_info(node, node.value)
        return self._attribute_of(node, self.expression(node.value))

    def _namespaced(self, node: ast.Attribute, path: str) -> Value:
        space, _, name = path.rpartition(".")
        if space == "torch" and name in DTYPES:
            return Value(DTYPE, static=PRESENT)
        if space == "math" and name in MATH_NUMBERS:
            return Value(NUMBER)
        known = self.find_function(path)
        if known or path in FUNCTION_SPACES:
            self.report(node, "function-as-value", f"`{path}` can only be called")
            return BROKEN
        near = self.suggestion(name, DTYPES) if space == "torch" else ""
        if name in MATH_NUMBERS and space != "math":
            near = f"did you mean `math.{name}`?"
        self.report(node, "unknown-attribute", f"`{path}` cannot be read in code", near)
        return BROKEN

    def find_function(self, path: str) -> Function | None:
        """The entry of the allowlist for `torch.a.b`, `F.a` and the longer ways to say the latter, or None."""
        for space in ("torch.nn.functional", "nn.functional", "F"):
            if path.startswith(f"{space}."):
                return functional(path.removeprefix(f"{space}."))
        return torch_function(path.removeprefix("torch.")) if path.startswith("torch.") else None

    def _own_attribute(self, node: ast.Attribute) -> Value:
        name = node.attr
        value = self.attribute(name)
        if value is not None:
            self._refuse_format(node, value)
            return value
        if name in self.scope.methods:
            self.report(node, "function-as-value", f"the method `{name}` can only be called")
        elif name not in self.refused_attributes:
            help = self.suggestion(name, [*self.scope.members, *self.scope.constants, *self.scope.methods, "training"])
            self.report(node, "missing-member", f"the module has no child, parameter, buffer or arg `{name}`", help)
        return BROKEN

    def _type_info(self, node: ast.Attribute, call: ast.Call) -> Value:
        path = dotted(call.func) or ""
        for argument in call.args:
            self.value(argument)
        if len(call.args) != 1 or call.keywords or node.attr not in TYPE_INFO[path]:
            names = ", ".join(f"`{name}`" for name in TYPE_INFO[path])
            self.report(node, "unknown-attribute", f"`{path}(dtype)` has no `{node.attr}` here", f"it has {names}")
        return Value(NUMBER)

    def _attribute_of(self, node: ast.Attribute, value: Value) -> Value:
        found = [self._attribute_of_kind(node, value, option) for option in options(value.kind)]
        return join(found)

    def _attribute_of_kind(self, node: ast.Attribute, value: Value, kind: Kind) -> Value:
        name = node.attr
        if isinstance(kind, ModuleKind):
            return self._module_attribute(node, kind)
        if kind == NONE:
            if value.kind == NONE:
                self.report(node, "missing-member", f"`{self.source(node.value)}` is None here: it has no `{name}`")
            return BROKEN
        if kind in (TENSOR, UNKNOWN) and name in TENSOR_ATTRIBUTES:
            result = TENSOR_ATTRIBUTES[name]
            labels = value.labels if result in (TENSOR, UNKNOWN) else frozenset()
            return Value(result, labels, labels, symbolic=name == "shape")
        if (kind == UNKNOWN or isinstance(kind, TupleKind)) and name in result_fields():
            return Value(UNKNOWN, value.labels, value.labels)  # `x.max(1).values`
        if not value.broken:
            self._refuse_attribute(node, kind)
        return BROKEN

    def _module_attribute(self, node: ast.Attribute, kind: ModuleKind) -> Value:
        name = node.attr
        if name in kind.items and not name.isdigit():
            return self._member_of(kind, name, kind.items[name])
        if name in kind.members:
            return self._member_of(kind, name, kind.members[name])
        if name == "training":
            return Value(FLAG)
        if name in kind.methods:
            self.report(node, "function-as-value", f"the method `{name}` can only be called")
        else:
            help = self.suggestion(name, [*kind.members, *kind.items, *kind.methods])
            self.report(node, "missing-member", f"{describe(kind)} has nothing called `{name}` to read", help)
        return BROKEN

    def _member_of(self, owner: ModuleKind, name: str, kind: Kind) -> Value:
        return self.stored(kind, Label("child", f"{owner.label}.{name}"))

    def _refuse_attribute(self, node: ast.Attribute, kind: Kind) -> None:
        name = node.attr
        if kind in (TENSOR, UNKNOWN):
            help = self.suggestion(name, TENSOR_ATTRIBUTES)
            self.report(node, "unknown-attribute", f"`.{name}` cannot be read in code", help)
        else:
            self.report(node, "unknown-attribute", f"{describe(kind)} has no attribute `{name}` in code")

    # --- operators ---------------------------------------------------------------------------------

    def _binop(self, node: ast.BinOp) -> Value:
        return self.operate(node, node.op, self.value(node.left), self.value(node.right))

    def operate(self, node: ast.AST, op: ast.operator, left: Value, right: Value) -> Value:
        """The value of `left op right`."""
        kinds = [option for side in (left, right) for option in options(side.kind)]
        formats = any(isinstance(side.static, str) and "%" in side.static for side in (left, right))
        refused = TEXT in kinds and not isinstance(op, ast.Add)
        if refused and not formats:  # formats are refused where they stand
            reason = "a format string can take all memory" if isinstance(op, ast.Mod) else "text can be joined with `+`"
            self.report(node, "invalid-operand", "this operator does not take text in code", reason)
        if settled(left) and settled(right) and not refused:
            try:
                static = binary(op, left.static, right.static)
            except TypeError:
                static = UNSETTLED
            except (ValueError, ArithmeticError) as error:
                self.report(node, "expression-error", _excess(error))
                static = UNSETTLED
        else:
            static = UNSETTLED
            self._refuse_long_repetition(node, op, left, right)
        kind = self._result_kind(op, left.kind, right.kind)
        inside = frozenset() if kind in (TENSOR, NUMBER, TEXT) else left.labels | right.labels
        own = frozenset({self.site(node)}) if isinstance(kind, ListKind) else frozenset()
        return Value(kind, own, inside, static, left.symbolic or right.symbolic, isinstance(kind, ListKind))

    def _refuse_long_repetition(self, node: ast.AST, op: ast.operator, left: Value, right: Value) -> None:
        for held, times in ((left, right), (right, left)):
            repeats = any(isinstance(option, ListKind | TupleKind) for option in options(held.kind))
            if repeats and isinstance(op, ast.Mult) and isinstance(times.static, int) and times.static > MAX_ITEMS:
                self.report(node, "expression-error", f"the result has more than {MAX_ITEMS:,} items")

    def _result_kind(self, op: ast.operator, left: Kind, right: Kind) -> Kind:
        if surely_tensor(left) or surely_tensor(right):
            return TENSOR
        if all(option in (NUMBER, FLAG) for side in (left, right) for option in options(side)):
            return NUMBER
        if isinstance(op, ast.Add):
            if left == right == TEXT:
                return TEXT
            if isinstance(left, ListKind) and isinstance(right, ListKind):
                return ListKind(join_kinds([left.item, right.item]))
            if isinstance(left, TupleKind) and isinstance(right, TupleKind):
                return tuple_kind([*left.items, *right.items])
        if isinstance(op, ast.Mult):
            for side in (left, right):
                if isinstance(side, ListKind):
                    return side
        return UNKNOWN

    def _unaryop(self, node: ast.UnaryOp) -> Value:
        if isinstance(node.op, ast.Not):
            verdict = self.condition(node.operand)
            return Value(FLAG, static=UNSETTLED if verdict is None else not verdict)
        value = self.value(node.operand)
        if TEXT in list(options(value.kind)):
            self.report(node, "invalid-operand", "this operator does not take text in code")
        static: object = UNSETTLED
        if isinstance(value.static, int | float) and not isinstance(node.op, ast.Invert):
            static = -value.static if isinstance(node.op, ast.USub) else +value.static
        kind = NUMBER if value.kind in (NUMBER, FLAG) else value.kind if value.kind == TENSOR else UNKNOWN
        # `+x` is `torch.positive(x)`, which returns its argument.
        labels = value.labels if isinstance(node.op, ast.UAdd) else frozenset()
        return Value(kind, labels, labels, static, value.symbolic)

    def _boolop(self, node: ast.BoolOp) -> Value:
        stop = isinstance(node.op, ast.Or)
        values: list[Value] = []
        verdict: bool | None = not stop
        before = self.environment
        for operand in node.values:
            with self.unreachable(verdict is stop):
                value = self.value(operand)
                verdict = self._and_or(stop, verdict, self.truth(operand, value))
            values.append(value)
            self.environment = self.narrowed(self.environment, operand, not stop)
        self.environment = before
        joined = join(values)
        return replace(joined, static=UNSETTLED if verdict is None else verdict, fresh=False, nonempty=False)

    @staticmethod
    def _and_or(stop: bool, before: bool | None, now: bool | None) -> bool | None:
        """Three-valued `or` (stop is True) and `and`."""
        if before is stop or now is stop:
            return stop
        return None if before is None or now is None else not stop

    def _compare(self, node: ast.Compare) -> Value:
        left_node, left = node.left, self.expression(node.left)
        static: object = UNSETTLED
        kinds: list[Kind] = []
        for op, right_node in zip(node.ops, node.comparators, strict=True):
            right = self.expression(right_node)
            static = self._compare_pair(op, (left_node, left), (right_node, right))
            kinds.append(self._compared_kind(op, left, right))
            left_node, left = right_node, right
        return Value(join_kinds(kinds), static=static if len(node.ops) == 1 else UNSETTLED)

    def _compared_kind(self, op: ast.cmpop, left: Value, right: Value) -> Kind:
        tensor = surely_tensor(left.kind) or surely_tensor(right.kind)
        if isinstance(op, ast.Is | ast.IsNot | ast.In | ast.NotIn):
            return FLAG
        numbers = left.kind in (NUMBER, FLAG, TEXT, DTYPE, NONE) and right.kind in (NUMBER, FLAG, TEXT, DTYPE, NONE)
        return TENSOR if tensor else FLAG if numbers else UNKNOWN

    def _compare_pair(self, op: ast.cmpop, left: tuple[ast.expr, Value], right: tuple[ast.expr, Value]) -> object:
        equality = isinstance(op, ast.Is | ast.IsNot | ast.Eq | ast.NotEq)
        for (node, value), (_, other) in ((left, right), (right, left)):
            if holds_module(value.kind):
                dictionary = isinstance(op, ast.In | ast.NotIn) and value is right[1]
                if dictionary and all(m.container == "dict" for m in modules_of(value.kind)) and modules_of(value.kind):
                    return self._contains(op, left[1], modules_of(value.kind))
                if not (equality and other.kind == NONE):
                    self.not_a_module(value, node, "compared with anything but None")
                    return UNSETTLED
        one, two = left[1].static, right[1].static
        if equality and None in (one, two) and PRESENT in (one, two):
            return isinstance(op, ast.IsNot | ast.NotEq)
        if not settled(left[1]) or not settled(right[1]):
            return UNSETTLED
        try:
            return compare(op, one, two)
        except (TypeError, ValueError):
            return UNSETTLED

    def _contains(self, op: ast.cmpop, key: Value, containers: Sequence[ModuleKind]) -> object:
        if not settled(key) or len(containers) != 1:
            return UNSETTLED
        return (key.static in containers[0].items) == isinstance(op, ast.In)

    # --- conditions --------------------------------------------------------------------------------

    def condition(self, node: ast.expr) -> bool | None:
        """Check a condition; the answer is what it is in this instance, if that is settled."""
        return self.truth(node, self.expression(node))

    def truth(self, node: ast.expr, value: Value) -> bool | None:
        """Whether a value counts as true, if that is settled before the body runs."""
        if modules_of(value.kind):
            help = f"compare it with None: `{self.source(node)} is not None`"
            self.report(node, "module-as-value", f"{describe(value.kind)} is neither true nor false", help)
            return None
        if surely_tensor(value.kind):
            help = "such a branch may break `torch.compile(fullgraph=True)` and `torch.export`; see `torch.where`"
            message = f"the condition `{self.source(node)}` depends on the values of a tensor"
            self.report(node, "data-dependent-control-flow", message, help, "warning")
        if settled(value) and isinstance(value.static, None | bool | int | float | str | list | tuple | dict):
            return bool(value.static)
        return None

    def _ifexp(self, node: ast.IfExp) -> Value:
        verdict = self.condition(node.test)
        before = self.environment
        values: list[Value] = []
        for branch, wanted in ((node.body, True), (node.orelse, False)):
            self.environment = self.narrowed(before, node.test, wanted)
            with self.unreachable(verdict is (not wanted)):
                value = self.expression(branch)
            if verdict is not (not wanted):
                values.append(value)
        self.environment = before
        return join(values)


def _excess(error: Exception) -> str:
    """What is wrong with a value that constants alone give."""
    if isinstance(error, ZeroDivisionError):
        return "division by zero"
    return "the result is too large for a number" if isinstance(error, OverflowError) else str(error)


def _namespaces_of(name: str) -> str:
    """The longer names that a bare name may be short for, in backticks; empty where there is none."""
    found: list[str] = []
    if functional(name):
        found.append(f"F.{name}")
    elif torch_function(name) or name in DTYPES:
        found.append(f"torch.{name}")
    if name in MATH_NAMES:
        found.append(f"math.{name}")
    return " or ".join(f"`{path}`" for path in found)


def plain_number(value: object) -> bool:
    """Whether a settled value is a number, whose text cannot be a format."""
    return isinstance(value, int | float)
