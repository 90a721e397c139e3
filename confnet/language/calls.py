"""Checking calls: what may be called, with which arguments, and what comes out."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import Literal

from confnet.catalog.functions import Function, check_arguments, refusal_help, tensor_method
from confnet.catalog.functions import names as allowed_names
from confnet.language.binding import bind
from confnet.language.builtin_calls import BuiltinCalls
from confnet.language.context import STEP_OF_COPIES
from confnet.language.kinds import (
    DICT,
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
)
from confnet.language.names import BUILTINS, NAMESPACES, dotted
from confnet.language.operands import TYPE_INFO
from confnet.language.values import (
    BROKEN,
    Label,
    Labels,
    Value,
    describe,
    flat,
    has_inplace,
    join,
    join_kinds,
    modules_of,
    options,
)

__all__ = ["GRAD_MODES", "LIST_METHODS", "Calls"]

CHECKPOINT = "torch.utils.checkpoint.checkpoint"
GRAD_MODES = frozenset({"torch.no_grad", "torch.enable_grad"})
MATH_FUNCTIONS = {"math.sqrt": 1, "math.exp": 1, "math.log": 2}
LIST_METHODS = {"append": (1, 1), "extend": (1, 1), "pop": (0, 1)}
DICT_METHODS = frozenset({"items", "keys", "values"})
REGISTER = "a caller may register a Python function or layer that does it"
NEVER_BY_NAME = frozenset({"forward", "__call__"})


class Calls(BuiltinCalls):
    """The kinds of calls."""

    def _call(self, node: ast.Call) -> Value:
        return self.call(node)

    def call(self, node: ast.Call) -> Value:
        """The value of a call; reports whatever may not be called so."""
        path = dotted(node.func)
        root = path.split(".", 1)[0] if path else ""
        if path and "." in path and root in NAMESPACES:
            return self._namespaced_call(node, path)
        match node.func:
            case ast.Name(id=name):
                return self._named_call(node, node.func, name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name) if self.scope.has_self:
                return self._own_call(node, node.func, name)
            case ast.Attribute(value=owner, attr=name):
                return self._method_call(node, node.func, self.expression(owner), name)
        return self._call_value(node, self.expression(node.func))

    # --- arguments ---------------------------------------------------------------------------------

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

    def refused_arguments(self, node: ast.Call) -> None:
        """Check the arguments of a call that is refused."""
        for argument in node.args:
            if isinstance(argument, ast.GeneratorExp):
                self.expression(argument)
            else:
                self.tolerated(argument.value if isinstance(argument, ast.Starred) else argument)
        for keyword in node.keywords:
            self.tolerated(keyword.value)

    def _labels(self, values: dict[int, Value]) -> Labels:
        return frozenset().union(*(value.labels for value in values.values()))

    def _refuse_out(self, node: ast.Call) -> None:
        for keyword in node.keywords:
            if keyword.arg == "out":
                help = "assign the result: `name = ...`"
                self.report(keyword, "out-argument", "`out=` writes into its argument: it is not allowed in code", help)

    def _check_arguments(self, node: ast.Call, function: Function) -> None:
        """Report arguments that no form of a function of the allowlist takes."""
        self._refuse_out(node)
        keywords = {keyword.arg or "": keyword for keyword in node.keywords if keyword.arg != "out"}
        plain_arguments = [argument for argument in node.args if not isinstance(argument, ast.Starred)]
        count = len(plain_arguments)
        for problem in check_arguments(function, count, list(keywords), starred=count < len(node.args)):
            place: ast.AST = node
            if isinstance(problem.place, int):
                place = plain_arguments[problem.place]
            elif problem.place is not None:
                place = keywords[problem.place]
            code = "wrong-argument-count" if problem.code == "too-many-arguments" else problem.code
            help = self.suggested(str(problem.place), problem.meant) if problem.meant else problem.help
            self.report(place, code, problem.message, help)

    def _signed_call(
        self, node: ast.Call, signature: Signature, label: str, skip: int = 0, of_module: bool = False
    ) -> Value:
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
            if not (of_module and self.dead):  # in the instances that come here, another module may stand there
                written = problem.node.arg or "" if isinstance(problem.node, ast.keyword) else ""
                help = self.suggested(written, problem.meant) if problem.meant else problem.help
                self.report(problem.node, problem.code, problem.message, help)
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

    # --- torch, F, math ----------------------------------------------------------------------------

    def _namespaced_call(self, node: ast.Call, path: str) -> Value:
        if path == CHECKPOINT:
            return self._checkpoint(node)
        if path in MATH_FUNCTIONS:
            return self._math(node, path)
        if path in GRAD_MODES:
            self.argument_values(node)
            self.report(node, "not-allowed-in-code", f"`{path}()` stands in a `with` statement only")
            return BROKEN
        if path in TYPE_INFO:
            self.argument_values(node)
            names = ", ".join(f"`{path}(dtype).{name}`" for name in TYPE_INFO[path])
            self.report(node, "not-allowed-in-code", f"`{path}` is read, not kept", f"write one of {names}")
            return BROKEN
        function = self.find_function(path)
        if function is None:
            self.refused_arguments(node)
            self.report(
                node.func,
                "unknown-function",
                f"`{path}` is not among the functions that code may call",
                self._function_help(path),
            )
            return BROKEN
        self._check_arguments(node, function)
        values = self.argument_values(node)
        changed = self._changed_arguments(node, function, values)
        for value in changed:
            self.change(value, node, f"`{path}`")
        labels = self._labels(values) if changed or function.view or function.name.endswith("_") else frozenset()
        symbolic = any(value.symbolic for value in values.values())
        return Value(function.result, labels, labels, symbolic=symbolic)

    def _function_help(self, path: str) -> str:
        if refusal_help(path):
            return refusal_help(path)
        spaces = ("torch.nn.functional.", "nn.functional.", "F.", "torch.")
        for space in spaces:
            if path.startswith(space):
                key: Literal["torch", "functional"] = "torch" if space == "torch." else "functional"
                near = self.suggestion(path.removeprefix(space), allowed_names(key))
                return self.suggested(*self.meant[near], prefix=space) if near else REGISTER
        return "`math` has `sqrt`, `log`, `exp`, `pi` and `inf` here" if path.startswith("math.") else REGISTER

    def _changed_arguments(self, node: ast.Call, function: Function, values: dict[int, Value]) -> list[Value]:
        """The arguments that a call of a function may change in place."""
        places = [p.name for p in function.parameters or () if p.positional]
        given: dict[str, ast.expr] = dict(zip(places, node.args, strict=False))
        given.update({keyword.arg: keyword.value for keyword in node.keywords if keyword.arg})
        names = list(function.mutates)
        if function.name == "batch_norm" and _is_false(given.get("training", ast.Constant(False))):
            names = []  # running statistics are only read then
        if function.mutates_if_inplace and not _is_false(given.get("inplace", ast.Constant(False))):
            names.append(places[0])
        starred = any(isinstance(argument, ast.Starred) for argument in node.args)
        if starred and (function.mutates or function.mutates_if_inplace):
            return list(values.values())  # what `*` spreads may be the flag itself
        return [values[id(given[name])] for name in names if name in given]

    def _math(self, node: ast.Call, path: str) -> Value:
        values = self.argument_values(node)
        most = MATH_FUNCTIONS[path]
        if node.keywords or not 1 <= len(node.args) <= most:
            takes = "1 positional argument" if most == 1 else "1 or 2 positional arguments"
            surplus = node.args[most] if len(node.args) > most else node
            self.report(surplus, "wrong-argument-count", f"`{path}` takes {takes}, not {len(node.args)}")
        return Value(NUMBER, symbolic=any(value.symbolic for value in values.values()))

    def _checkpoint(self, node: ast.Call) -> Value:
        flags = [keyword for keyword in node.keywords if keyword.arg == "use_reentrant"]
        help = "write `torch.utils.checkpoint.checkpoint(child, x, use_reentrant=False)`"
        if not flags:
            self.report(node, "missing-argument", "`checkpoint` is missing its argument `use_reentrant`", help)
        elif not _is_false(flags[0].value):
            self.report(flags[0], "invalid-value", "`use_reentrant` of `checkpoint` takes False", help)
        if not node.args or isinstance(node.args[0], ast.Starred):
            self.report(node, "missing-argument", "`checkpoint` is missing its argument `function`", help)
            return BROKEN
        known = len(self.collector.found)
        target = self.tolerated_callee(node.args[0])
        if not modules_of(target.kind):
            if len(self.collector.found) == known:
                message = f"`checkpoint` calls a child of the module, not `{self.source(node.args[0])}`"
                self.report(node.args[0], "not-callable", message)
            self.argument_values(node, skip=1)
            return BROKEN
        return self._call_value(node, target, skip=1)

    # --- names and attributes ----------------------------------------------------------------------

    def _named_call(self, node: ast.Call, func: ast.Name, name: str) -> Value:
        if self.is_local(name):
            return self._call_value(node, self.expression(func))
        if name in NAMESPACES or (name == "self" and self.scope.has_self):
            self.refused_arguments(node)
            self.report(func, "not-callable", f"`{name}` cannot be called in code")
            return BROKEN
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
        self.refused_arguments(node)
        if name in NEVER_BY_NAME:
            self.report(func, "not-callable", "`forward` is not called by name", "move the code into a method")
        else:
            self.undefined(func, name)
        return BROKEN

    def _own_call(self, node: ast.Call, func: ast.Attribute, name: str) -> Value:
        value = self.attribute(name)
        if value is not None:
            return self._call_value(node, value)
        if name in self.scope.methods:
            return self._own_method(node, name)
        if name == "children" and not node.args and not node.keywords:
            kinds = {name: kind for name, kind in self.scope.members.items() if modules_of(kind)}
            self.names_read |= kinds.keys()
            return Value(ListKind(join_kinds(kinds.values()), lazy=True), nonempty=bool(kinds))
        self.refused_arguments(node)
        if name in NEVER_BY_NAME:
            self.report(func, "not-callable", "`forward` is not called by name", "move the code into a method")
            return BROKEN
        if name in self.refused_attributes:
            return BROKEN
        help = self.suggestion(name, [*self.scope.members, *self.scope.methods])
        self.report(func, "module-method", f"the module has no child or method `{name}` that code may call", help)
        return BROKEN

    def _own_method(self, node: ast.Call, name: str) -> Value:
        self.methods_called.add(name)
        return self._signed_call(node, self.scope.methods[name], name)

    def _call_value(self, node: ast.Call, value: Value, skip: int = 0) -> Value:
        results = [self._call_kind(node, kind, value, skip) for kind in options(value.kind)]
        return join(results)

    def _call_kind(self, node: ast.Call, kind: Kind, value: Value, skip: int) -> Value:
        callee = node.args[0] if skip else node.func
        if not isinstance(kind, ModuleKind):
            called = self.source(callee)
            self.argument_values(node, skip)
            if value.broken:
                return BROKEN
            if kind == NONE:
                self.report(node, "call-of-none", f"`{called}` is None here: it cannot be called")
            else:
                self.report(
                    node, "not-callable", f"`{called}` is {describe(kind)}: only modules and functions are called"
                )
            return BROKEN
        if kind.call is None:
            self.argument_values(node, skip)
            if isinstance(callee, ast.Name) and callee.id in self.scope.inputs:
                message = f"`{callee.id}` may be read, not called, in a hook"
                self.report(node, "not-callable", message)
                return BROKEN
            loop = f"call its items: `for layer in {self.source(callee)}`"
            help = loop if kind.container else "give it a `forward`"
            self.report(node, "not-callable", f"{describe(kind)} has no forward: it cannot be called", help)
            return BROKEN
        signature = kind.call
        if not signature.changes and self._may_change_in_place(kind):
            signature = replace(signature, changes=frozenset({"*"}))
        return self._signed_call(node, signature, kind.label, skip, of_module=True)

    def _may_change_in_place(self, kind: ModuleKind) -> bool:
        if id(kind) not in self.in_place:
            self.in_place[id(kind)] = has_inplace(kind)
        return self.in_place[id(kind)]

    # --- methods -----------------------------------------------------------------------------------

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
        if kind in (TENSOR, UNKNOWN):
            return self._tensor_method(node, func, owner, kind, name)
        self.refused_arguments(node)
        code = "call-of-none" if kind == NONE else "unknown-method"
        reason = "text has no methods in code" if kind == TEXT else f"{describe(kind)} has no method `{name}` in code"
        self.report(func, code, reason)
        return BROKEN

    def _tensor_method(self, node: ast.Call, func: ast.Attribute, owner: Value, kind: Kind, name: str) -> Value:
        method = tensor_method(name)
        if owner.broken or method is None:
            self.refused_arguments(node)
            if not owner.broken:
                near = refusal_help(name) or self.suggestion(name, allowed_names("tensor"))
                what = "tensor methods" if kind == TENSOR else "methods"
                message = f"`.{name}()` is not among the {what} that code may call"
                self.report(func, "unknown-method", message, near)
            return BROKEN
        values = self.argument_values(node)
        self._check_arguments(node, method)
        in_place = method.in_place or name.endswith("_")
        if in_place:
            self.change(owner, node, f"`{name}`")
            self.grow(owner, node)
        labels = owner.labels | self._labels(values) if in_place or method.view else frozenset()
        symbolic = name in ("size", "numel", "dim") or owner.symbolic
        return Value(method.result, labels, labels, symbolic=symbolic)

    def _module_method(self, node: ast.Call, func: ast.Attribute, kind: ModuleKind, name: str) -> Value:
        if name in kind.methods:
            return self._signed_call(node, kind.methods[name], f"{kind.label}.{name}", of_module=True)
        if kind.container == "dict" and name in DICT_METHODS and not node.args and not node.keywords:
            return self._module_dict(kind, name)
        child = kind.members.get(name) or kind.items.get(name)
        if child is not None:
            return self._call_value(node, self._module_attribute(func, kind))
        self.refused_arguments(node)
        help = self.suggestion(name, [*kind.methods, *kind.members])
        if name == "children" and kind.container:
            help = f"iterate over it: `for layer in {self.source(func.value)}`"
        self.report(func, "module-method", f"the method `{name}` of {describe(kind)} cannot be called in code", help)
        return BROKEN

    def _list_method(self, node: ast.Call, func: ast.Attribute, owner: Value, kind: ListKind, name: str) -> Value:
        fewest, most = LIST_METHODS[name]
        values = self.argument_values(node)
        if node.keywords or not fewest <= len(node.args) <= most:
            self.report(
                node, "wrong-argument-count", f"`{name}` takes {'one argument' if fewest else 'at most one argument'}"
            )
        local = isinstance(func.value, ast.Name) and self.is_local(func.value.id) and owner.fresh
        if not local:
            help = "make a list in the body and change that one: `list(...)` copies"
            self.report(func, "not-a-local-list", f"`{name}` is only for lists that the body makes", help)
            return Value(kind.item)
        if name != "pop" and node is not self.statement_call:
            # In a comprehension it could run once for every item that it adds.
            self.report(node, "not-allowed-in-code", f"`{name}` stands in a line of its own only")
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
        self.visit(len(self.environment) // STEP_OF_COPIES)
        for value, argument in zip(values, node.args, strict=False):
            item = self.items(value, argument) if name == "extend" else value
            empty = kind.item == UNKNOWN and not owner.inside and not owner.nonempty
            joined = flat(ListKind(item.kind if empty else join_kinds([kind.item, item.kind])))
            for other, known in list(self.environment.items()):
                if known.own & owner.own and isinstance(known.kind, ListKind):
                    self.visit()
                    own_names = known.inside | item.labels
                    kept = joined if isinstance(joined, ListKind) else ListKind(UNKNOWN)
                    self.environment[other] = replace(known, kind=kept, inside=own_names, nonempty=True)


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and (node.value is False or node.value is None)
