"""Checking calls: what may be called, with which arguments, and what comes out."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from confnet.catalog.functions import names as allowed_names
from confnet.catalog.functions import tensor_method
from confnet.language.aliasing import changed_arguments, may_alias
from confnet.language.binding import Bound, bind
from confnet.language.kinds import (
    DICT,
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
    Parameter,
    Signature,
    TupleKind,
)
from confnet.language.names import BUILTINS, NAMESPACES, dotted
from confnet.language.operands import FUNCTION_SPACES, TYPE_INFO, Operands
from confnet.language.values import (
    UNSETTLED,
    Label,
    Labels,
    Value,
    describe,
    flat,
    holds_module,
    join,
    join_kinds,
    modules_of,
    options,
    tuple_kind,
)

__all__ = ["GRAD_MODES", "LIST_METHODS", "Calls"]

CHECKPOINT = "torch.utils.checkpoint.checkpoint"
GRAD_MODES = frozenset({"torch.no_grad", "torch.enable_grad"})
MATH_FUNCTIONS = {"math.sqrt": 1, "math.exp": 1, "math.log": 2}
LIST_METHODS = {"append": (1, 1), "extend": (1, 1), "pop": (0, 1)}
DICT_METHODS = frozenset({"items", "keys", "values"})
REGISTER = "a caller may register a Python function or layer that does it"
NEVER_BY_NAME = frozenset({"forward", "__call__"})

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


class Calls(Operands):
    """The kinds of calls."""

    def _call(self, node: ast.Call) -> Value:
        return self.call(node)

    def call(self, node: ast.Call) -> Value:
        """The value of a call; reports whatever may not be called so."""
        path = dotted(node.func)
        root = path.split(".", 1)[0] if path else ""
        if path and "." in path and root in NAMESPACES and not self.is_local(root):
            return self._namespaced_call(node, path)
        match node.func:
            case ast.Name(id=name):
                return self._named_call(node, node.func, name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name) if self.scope.has_self:
                return self._own_call(node, node.func, name)
            case ast.Attribute(value=owner, attr=name):
                return self._method_call(node, node.func, self.expression(owner), name)
        return self._call_value(node, self.expression(node.func))

    # --- arguments --------------------------------------------------------------------------------------------------------

    def argument_values(self, node: ast.Call, skip: int = 0) -> dict[int, Value]:
        """The values of the arguments of a call by the identity of their nodes; modules among them are reported."""
        values: dict[int, Value] = {}
        for argument in node.args[skip:]:
            if isinstance(argument, ast.Starred):
                spread = self.value(argument.value, "passed")
                item = self.items(spread, argument.value)
                values[id(argument)] = replace(item, own=item.labels | spread.labels, inside=item.labels)
            elif isinstance(argument, ast.GeneratorExp):
                self.expression(argument)
            else:
                values[id(argument)] = self.value(argument, "passed as an argument")
        for keyword in node.keywords:
            values[id(keyword.value)] = self.value(keyword.value, "passed as an argument")
        return values

    def _labels(self, values: dict[int, Value]) -> Labels:
        return frozenset().union(*(value.labels for value in values.values()))

    def _refuse_out(self, node: ast.Call) -> None:
        for keyword in node.keywords:
            if keyword.arg == "out":
                help = "assign the result: `name = ...`"
                self.report(keyword, "out-argument", "`out=` writes into its argument: it is not allowed in code", help)

    def _bind(
        self, node: ast.Call, parameters: Sequence[Parameter], label: str, variadic: bool, keywords: bool, skip: int = 0
    ) -> Bound:
        given = [keyword for keyword in node.keywords if keyword.arg != "out"]
        bound = bind(
            node, node.args[skip:], given, parameters, label, variadic=variadic, extra_keywords=keywords
        )
        for problem in bound.problems:
            self.report(problem.node, problem.code, problem.message, problem.help)
        return bound

    def _signed_call(self, node: ast.Call, signature: Signature, label: str, skip: int = 0) -> Value:
        """A call of something whose signature is known: a module, a method, a registered function."""
        bound = bind(
            node,
            node.args[skip:],
            [keyword for keyword in node.keywords if not (skip and keyword.arg == "use_reentrant")],
            signature.parameters,
            label,
            variadic=signature.variadic,
            extra_keywords=signature.keywords,
        )
        for problem in bound.problems:
            self.report(problem.node, problem.code, problem.message, problem.help)
        values = self.argument_values(node, skip)
        for name in signature.changes:
            argument = bound.arguments.get(name)
            reached = [values[id(argument)]] if argument is not None and not bound.open else list(values.values())
            for value in reached:
                self.change(value, node, f"`{label}`")
        # What is called may hand back its argument (`Identity`), or, if it says so, memory of its own.
        labels = self._labels(values)
        if signature.shares_state:
            labels = labels | {Label("child", label)}
        return Value(signature.result, labels, labels)

    # --- torch, F, math -----------------------------------------------------------------------------------------------------

    def _namespaced_call(self, node: ast.Call, path: str) -> Value:
        if path == CHECKPOINT:
            return self._checkpoint(node)
        if path in MATH_FUNCTIONS:
            return self._math(node, path)
        if path in GRAD_MODES:
            self.argument_values(node)
            self.report(node, "not-allowed-in-code", f"`{path}()` stands in a `with` statement only")
            return Value(UNKNOWN)
        if path in TYPE_INFO:
            self.argument_values(node)
            names = ", ".join(f"`{path}(dtype).{name}`" for name in TYPE_INFO[path])
            self.report(node, "not-allowed-in-code", f"`{path}` is read, not kept", f"write one of {names}")
            return Value(UNKNOWN)
        space, _, name = path.rpartition(".")
        function = self.find_function(path)
        if function is None:
            self.argument_values(node)
            self.report(node.func, "unknown-function", f"`{path}` is not among the functions that code may call",
                        self._function_help(path))  # fmt: skip
            return Value(UNKNOWN)
        bound = Bound(open=True)
        self._refuse_out(node)
        if function.parameters is not None:
            bound = self._bind(node, function.parameters, path, function.variadic, function.keywords)
        values = self.argument_values(node)
        where: Literal["torch", "F"] = "F" if FUNCTION_SPACES.get(space) == "F" else "torch"
        written = self._function_changes(node, where, name, bound, values, path)
        full = path.removeprefix("torch.") if where == "torch" else name
        labels = self._labels(values) if written or may_alias(full) or may_alias(name) else frozenset()
        symbolic = any(value.symbolic for value in values.values())
        return Value(function.result, labels, labels, symbolic=symbolic)

    def _function_help(self, path: str) -> str:
        for space, key in (("torch.nn.functional.", "functional"), ("nn.functional.", "functional"), ("F.", "functional"),
                           ("torch.", "torch")):  # fmt: skip
            if path.startswith(space):
                near = self.suggestion(path.removeprefix(space), allowed_names(key))
                return near.replace("`", f"`{space}", 1) if near else REGISTER
        return "`math` has `sqrt`, `log`, `exp`, `pi` and `inf` here" if path.startswith("math.") else REGISTER

    def _function_changes(
        self, node: ast.Call, space: Literal["torch", "F"], name: str, bound: Bound, values: dict[int, Value], path: str
    ) -> bool:
        """Record what a call changes in place; the answer is whether there is anything."""
        starred = any(isinstance(argument, ast.Starred) for argument in node.args)
        flags = [keyword for keyword in node.keywords if not _is_false(keyword.value)]
        count = len(node.args)
        while count > 1 and _is_false(node.args[count - 1]):
            count -= 1
        words = frozenset(keyword.arg or "" for keyword in flags)
        reached = changed_arguments(space, name, 1000 if starred else count, words)
        for parameter, place in reached:
            for value in self._reached(node, parameter, place, values, starred):
                self.change(value, node, f"`{path}`")
        return bool(reached)

    def _reached(
        self, node: ast.Call, parameter: str, place: int, values: dict[int, Value], starred: bool
    ) -> list[Value]:
        if starred:
            return list(values.values())
        named = [values[id(k.value)] for k in node.keywords if k.arg in (parameter, "self", "input")[: 3 if not place else 1]]
        return named or ([values[id(node.args[place])]] if place < len(node.args) else [])

    def _math(self, node: ast.Call, path: str) -> Value:
        values = self.argument_values(node)
        most = MATH_FUNCTIONS[path]
        if node.keywords or not 1 <= len(node.args) <= most:
            self.report(node, "wrong-argument-count", f"`{path}` takes {'1' if most == 1 else '1 or 2'} positional arguments")
        return Value(NUMBER, symbolic=any(value.symbolic for value in values.values()))

    def _checkpoint(self, node: ast.Call) -> Value:
        flags = [keyword for keyword in node.keywords if keyword.arg == "use_reentrant"]
        if len(flags) != 1 or not _is_false(flags[0].value):
            help = "write `torch.utils.checkpoint.checkpoint(child, x, use_reentrant=False)`"
            self.report(node, "missing-argument", "`checkpoint` needs `use_reentrant=False`", help)
        if not node.args or isinstance(node.args[0], ast.Starred):
            self.report(node, "missing-argument", "`checkpoint` needs a child to call")
            return Value(UNKNOWN)
        target = self.expression(node.args[0])
        if not modules_of(target.kind):
            self.report(node.args[0], "not-callable", "`checkpoint` takes a child of the module")
            self.argument_values(node, skip=1)
            return Value(UNKNOWN)
        return self._call_value(node, target, skip=1)

    # --- names and attributes -------------------------------------------------------------------------------------------------

    def _named_call(self, node: ast.Call, func: ast.Name, name: str) -> Value:
        if self.is_local(name):
            return self._call_value(node, self.expression(func))
        if name in NAMESPACES or (name == "self" and self.scope.has_self):
            self.argument_values(node)
            self.report(func, "not-callable", f"`{name}` cannot be called in code")
            return Value(UNKNOWN)
        value = self.attribute(name)
        if value is not None:
            return self._call_value(node, value)
        if name in self.scope.methods:
            return self._own_method(node, name)
        if name in BUILTINS:
            return self._builtin(node, name)
        if name in self.scope.functions:
            self._refuse_out(node)
            return self._signed_call(node, self.scope.functions[name], name)
        self.argument_values(node)
        if name in NEVER_BY_NAME:
            self.report(func, "not-callable", "`forward` is not called by name", "move the code into a method")
        else:
            self.undefined(func, name)
        return Value(UNKNOWN)

    def _own_call(self, node: ast.Call, func: ast.Attribute, name: str) -> Value:
        value = self.attribute(name)
        if value is not None:
            return self._call_value(node, value)
        if name in self.scope.methods:
            return self._own_method(node, name)
        if name == "children" and not node.args and not node.keywords:
            kinds = [kind for kind in self.scope.members.values() if modules_of(kind)]
            return Value(ListKind(join_kinds(kinds), lazy=True), nonempty=bool(kinds))
        self.argument_values(node)
        if name in NEVER_BY_NAME:
            self.report(func, "not-callable", "`forward` is not called by name", "move the code into a method")
            return Value(UNKNOWN)
        help = self.suggestion(name, [*self.scope.members, *self.scope.methods])
        self.report(func, "module-method", f"the module has no child or method `{name}` that code may call", help)
        return Value(UNKNOWN)

    def _own_method(self, node: ast.Call, name: str) -> Value:
        self.methods_called.add(name)
        return self._signed_call(node, self.scope.methods[name], name)

    def _call_value(self, node: ast.Call, value: Value, skip: int = 0) -> Value:
        results = [self._call_kind(node, kind, value, skip) for kind in options(value.kind)]
        return join(results)

    def _call_kind(self, node: ast.Call, kind: Kind, value: Value, skip: int) -> Value:
        called = self.source(node.args[0] if skip else node.func)
        if not isinstance(kind, ModuleKind):
            self.argument_values(node, skip)
            if kind == NONE:
                self.report(node, "call-of-none", f"`{called}` is None here: it cannot be called")
            else:
                self.report(node, "not-callable", f"`{called}` is {describe(kind)}: only modules and functions are called")
            return Value(UNKNOWN)
        if kind.call is None:
            self.argument_values(node, skip)
            help = "call its items: `for layer in layers`" if kind.container else "give it a `forward`"
            self.report(node, "not-callable", f"{describe(kind)} has no forward: it cannot be called", help)
            return Value(UNKNOWN)
        signature = kind.call
        if not signature.changes and self._may_change_in_place(kind):
            signature = replace(signature, changes=frozenset({"*"}))
        return self._signed_call(node, signature, kind.label, skip)

    def _may_change_in_place(self, kind: ModuleKind) -> bool:
        if id(kind) not in self.in_place:
            self.in_place[id(kind)] = _has_inplace(kind)
        return self.in_place[id(kind)]

    # --- methods ----------------------------------------------------------------------------------------------------------------

    def _method_call(self, node: ast.Call, func: ast.Attribute, owner: Value, name: str) -> Value:
        kinds = list(options(owner.kind))
        if len(kinds) > 1 and NONE in kinds:  # a local that may be None: what it is otherwise counts
            kinds.remove(NONE)
        return join([self._method_of_kind(node, func, owner, kind, name) for kind in kinds])

    def _method_of_kind(self, node: ast.Call, func: ast.Attribute, owner: Value, kind: Kind, name: str) -> Value:
        match kind:
            case ModuleKind():
                return self._module_method(node, func, kind, name)
            case ListKind() if name in LIST_METHODS:
                return self._list_method(node, func, owner, kind, name)
            case DictKind() if name in DICT_METHODS:
                return self._dict_method(node, owner, kind.value, name)
        if kind == DICT and name in DICT_METHODS:
            return self._dict_method(node, owner, UNKNOWN, name)
        values = self.argument_values(node)
        if kind in (TENSOR, UNKNOWN):
            return self._tensor_method(node, func, owner, name, values)
        code = "call-of-none" if kind == NONE else "unknown-method"
        reason = "text has no methods in code" if kind == TEXT else f"{describe(kind)} has no method `{name}` in code"
        self.report(func, code, reason)
        return Value(UNKNOWN)

    def _tensor_method(
        self, node: ast.Call, func: ast.Attribute, owner: Value, name: str, values: dict[int, Value]
    ) -> Value:
        method = tensor_method(name)
        if method is None:
            near = self.suggestion(name, allowed_names("tensor"))
            self.report(func, "unknown-method", f"`.{name}()` is not among the tensor methods that code may call", near)
            return Value(UNKNOWN)
        self._refuse_out(node)
        if method.parameters is not None:
            self._bind(node, method.parameters, f".{name}", method.variadic, method.keywords)
        in_place = method.in_place or name.endswith("_")
        if in_place:
            self.change(owner, node, f"`{name}`")
            self.grow(owner, node)
        labels = owner.labels | self._labels(values) if in_place or may_alias(name) else frozenset()
        symbolic = name in ("size", "numel", "dim") or owner.symbolic
        return Value(method.result, labels, labels, symbolic=symbolic)

    def _module_method(self, node: ast.Call, func: ast.Attribute, kind: ModuleKind, name: str) -> Value:
        if name in kind.methods:
            return self._signed_call(node, kind.methods[name], f"{kind.label}.{name}")
        if kind.container == "dict" and name in DICT_METHODS and not node.args and not node.keywords:
            return self._module_dict(kind, name)
        child = kind.members.get(name) or kind.items.get(name)
        if child is not None:
            return self._call_value(node, self._module_attribute(func, kind))
        self.argument_values(node)
        help = self.suggestion(name, [*kind.methods, *kind.members])
        if name == "children" and kind.container:
            help = f"iterate over it: `for layer in {self.source(func.value)}`"
        self.report(func, "module-method", f"the method `{name}` of {describe(kind)} cannot be called in code", help)
        return Value(UNKNOWN)

    def _module_dict(self, kind: ModuleKind, name: str) -> Value:
        item = self._all_items(kind)
        kinds: dict[str, Kind] = {"keys": TEXT, "values": item, "items": TupleKind((TEXT, item))}
        return Value(ListKind(kinds[name], lazy=True), nonempty=bool(kind.items))

    def _dict_method(self, node: ast.Call, owner: Value, item: Kind, name: str) -> Value:
        if node.args or node.keywords:
            self.argument_values(node)
            self.report(node, "wrong-argument-count", f"`{name}` takes no arguments")
        kinds: dict[str, Kind] = {"keys": TEXT, "values": item, "items": tuple_kind((TEXT, item))}
        return Value(ListKind(kinds[name]), owner.own, self.held(owner), nonempty=owner.nonempty)

    def _list_method(self, node: ast.Call, func: ast.Attribute, owner: Value, kind: ListKind, name: str) -> Value:
        fewest, most = LIST_METHODS[name]
        values = self.argument_values(node)
        if node.keywords or not fewest <= len(node.args) <= most:
            self.report(node, "wrong-argument-count", f"`{name}` takes {'one argument' if fewest else 'at most one argument'}")
        local = isinstance(func.value, ast.Name) and self.is_local(func.value.id) and owner.fresh
        if not local:
            help = "make a list in the body and change that one: `list(...)` copies"
            self.report(func, "not-a-local-list", f"`{name}` is only for lists that the body makes", help)
            return Value(kind.item)
        if name == "pop":
            held = self.held(owner)
            return Value(kind.item, held, held)
        self.grow(owner, node)
        for value in values.values():
            self.store(value)
        self._take_in(func, owner, kind, name, list(values.values()), node)
        return Value(NONE)

    def _take_in(
        self, func: ast.Attribute, owner: Value, kind: ListKind, name: str, values: list[Value], node: ast.Call
    ) -> None:
        """Let every local that may be the list know what kinds of items it holds now."""
        for value, argument in zip(values, node.args, strict=False):
            item = self.items(value, argument) if name == "extend" else value
            empty = kind.item == UNKNOWN and not owner.inside and not owner.nonempty
            joined = flat(ListKind(item.kind if empty else join_kinds([kind.item, item.kind])))
            for other, known in list(self.environment.items()):
                if known.own & owner.own and isinstance(known.kind, ListKind):
                    own_names = known.inside | item.labels
                    kept = joined if isinstance(joined, ListKind) else ListKind(UNKNOWN)
                    self.environment[other] = replace(known, kind=kept, inside=own_names, nonempty=True)

    # --- builtins ---------------------------------------------------------------------------------------------------------------

    def _builtin(self, node: ast.Call, name: str) -> Value:
        fewest, most, keywords = BUILTIN_ARGUMENTS[name]
        starred = any(isinstance(argument, ast.Starred) for argument in node.args)
        if not starred and not fewest <= len(node.args) <= most:
            count = str(fewest) if fewest == most else f"{fewest} to {most}" if most < 1000 else f"at least {fewest}"
            self.report(node, "wrong-argument-count", f"`{name}` takes {count} arguments, not {len(node.args)}")
        for keyword in node.keywords:
            if keyword.arg not in keywords:
                self.report(keyword, "unknown-argument", f"`{name}` has no argument `{keyword.arg}` in code")
        values = [self._builtin_argument(argument, name) for argument in node.args]
        values += [self.value(keyword.value) for keyword in node.keywords]
        return self._builtin_result(node, name, values)

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
            return Value(flat(ListKind(item.kind)), site, self.held(first), symbolic=symbolic, fresh=name == "list",
                         nonempty=first.nonempty)  # fmt: skip
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
        kind = self._items_kind(first, node) if len(values) == 1 or name == "sum" else join_kinds(v.kind for v in values)
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
        kind = kinds[0] if name == "reversed" else TupleKind(((NUMBER, *kinds) if name == "enumerate" else tuple(kinds)))
        if not any(holds_module(part) for part in kinds) and isinstance(kind, TupleKind):
            kind = tuple_kind(kind.items)
        lazy = holds_module(kind)
        return Value(ListKind(kind, lazy) if lazy else flat(ListKind(kind)), labels, labels | inside,
                     nonempty=all(value.nonempty for value in values[:count]))  # fmt: skip

    def _range(self, node: ast.Call, values: list[Value], symbolic: bool) -> Value:
        statics = [value.static for value in values]
        nonempty = False
        if all(isinstance(static, int) for static in statics) and len(values) == len(node.args) <= 3:
            try:
                nonempty = bool(range(*statics))  # type: ignore[arg-type]
            except ValueError:
                self.report(node, "wrong-argument-count", "the step of `range` is 0")
        return Value(ListKind(NUMBER), symbolic=symbolic, nonempty=nonempty)


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and (node.value is False or node.value is None)


def _static_length(value: Value) -> int | None:
    if isinstance(value.kind, ModuleKind):
        return len(value.kind.items)
    if isinstance(value.static, list | tuple | dict | str | range):
        return len(value.static)
    return len(value.kind.items) if isinstance(value.kind, TupleKind) else None


def _has_inplace(kind: ModuleKind) -> bool:
    """Whether a module, or one inside it, has the constructor argument `inplace`."""
    stack: list[Kind] = [kind]
    seen: set[int] = set()
    while stack:
        module = stack.pop()
        if not isinstance(module, ModuleKind) or id(module) in seen:
            continue
        seen.add(id(module))
        if "inplace" in module.members:
            return True
        stack.extend([*module.items.values(), *module.members.values()])
    return False
