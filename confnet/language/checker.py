"""Checking statements: the flow of a body, and what is known at its end."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace

from confnet.catalog.functions import tensor_method
from confnet.language.calls import GRAD_MODES, LIST_METHODS, Calls
from confnet.language.context import STEP_OF_COPIES, Environment, TooComplex
from confnet.language.flow import Loop, merge
from confnet.language.kinds import NONE, UNKNOWN, Kind, ListKind, ModuleKind
from confnet.language.names import NAMESPACES, dotted
from confnet.language.scope import CheckResult, ParsedCode, Scope
from confnet.language.values import (
    Label,
    Value,
    holds_module,
    join_kinds,
    options,
    plain,
    widen,
)

__all__ = ["Checker"]

PASSES_BEFORE_WIDENING = 3


class Checker(Calls):
    """One check of one body: `Checker(parsed, scope).result()`."""

    def __init__(self, parsed: ParsedCode, scope: Scope) -> None:
        super().__init__(parsed, scope)
        self.body, self.nodes = parsed.body, parsed.nodes
        self.open_loops: list[Loop] = []
        self.faulty: set[ast.Expr] = set()
        self.heads: dict[ast.For, Environment] = {}

    def result(self) -> CheckResult:
        """Check the body and tell what was found."""
        for name in self.scope.inputs:
            self.refuse_shadow(self.body[0] if self.body else ast.Pass(), name)
        try:
            self.block(self.body)
            self._returns()
        except TooComplex:
            whole = self.body[0]
            message = "this code takes too many steps to check"
            self.report(whole, "code-too-complex", message, "move parts of it into `methods`, or nest fewer loops")
        changes = self._changes()
        self._growths()
        shares = {label for value in self.returned for label in self.resolved(value.labels)}
        roles = ("parameter", "buffer", "child", "constant")
        return CheckResult(
            self.collector.sorted(),
            join_kinds(value.kind for value in self.returned) if self.returned else NONE,
            frozenset(self.names_read),
            frozenset(self.methods_called),
            frozenset(changes),
            frozenset(label.name for label in shares if label.role in roles),
        )

    # --- at the end --------------------------------------------------------------------------------

    def _returns(self) -> None:
        if not self.scope.must_return or any(isinstance(node, ast.Return) for node in self.nodes):
            return
        last = self.body[-1]
        if isinstance(last, ast.Expr):
            return  # told by `_expr`
        name = _assigned_name(last)
        help = f"end with `return {name}`" if name else "end with `return`"
        self.report(last, "missing-return", "this code returns nothing", help)

    def _changes(self) -> set[str]:
        """Report every in-place operation that reaches something it must not; the answer is the inputs changed."""
        inputs: set[str] = set()
        for labels, node, doing in self.changes:
            found = self.resolved(labels)
            inputs |= {label.name for label in found if label.role == "input"}
            for label in sorted(found):
                self._refuse_change(label, node, doing)
        return inputs

    def _refuse_change(self, label: Label, node: ast.AST, doing: str) -> None:
        words = {"parameter": "the parameter", "child": "the state of a child,", "constant": "the constant"}
        if label.role in words:
            help = "work on a copy (`.clone()`), or declare a buffer for state that changes"
            message = f"{doing} may change {words[label.role]} `{label.name}` in place"
            code = "changes-constant" if label.role == "constant" else "changes-module-state"
            self.collector.add(code, message, self.span(node), help=help)

    def _growths(self) -> None:
        for labels, loops, node in self.growths:
            own = self.resolved(labels)
            lists = {label for label in own if label.role in ("list", "input", "constant")}
            for loop in loops:
                if lists & self.resolved(loop):
                    help = "collect the new items in another list"
                    self.collector.add(
                        "list-grows-in-loop", "a list grows inside a loop over it", self.span(node), help=help
                    )

    # --- flow --------------------------------------------------------------------------------------

    def block(self, statements: Sequence[ast.stmt]) -> bool:
        """Check statements in order; the answer is whether their end is reached."""
        reached = True
        beyond = 0
        for statement in statements:
            if not self.statement(statement) and reached:
                reached = False
                self.dead += 1
                beyond = 1
        self.dead -= beyond
        return reached

    def statement(self, node: ast.stmt) -> bool:
        """Check one statement; the answer is whether the next one is reached."""
        self.visit()
        match node:
            case ast.Return():
                return self._return(node)
            case ast.If():
                return self._if(node)
            case ast.For():
                return self._for(node)
            case ast.With():
                return self._with(node)
            case ast.Break() | ast.Continue():
                return self._leave(node)
            case ast.Assign():
                self._assign(node)
            case ast.AugAssign():
                self._augmented(node)
            case ast.Assert():
                self._assert(node)
            case ast.Expr():
                self._expr(node)
        return True

    def _return(self, node: ast.Return) -> bool:
        value = Value(NONE) if node.value is None else self.value(node.value, "returned")
        if not self.dead:
            self.returned.append(value)
        return False

    def _leave(self, node: ast.Break | ast.Continue) -> bool:
        if not self.open_loops:
            word = "break" if isinstance(node, ast.Break) else "continue"
            self.report(node, "invalid-syntax", f"`{word}` outside of a loop")
        elif not self.dead:
            loop = self.open_loops[-1]
            (loop.breaks if isinstance(node, ast.Break) else loop.continues).append(dict(self.environment))
        return False

    def _if(self, node: ast.If) -> bool:
        verdict = self.condition(node.test)
        before = self.environment
        ends: list[Environment] = []
        for body, outcome in ((node.body, True), (node.orelse, False)):
            dead = verdict is (not outcome)
            self.environment = self.narrowed(before, node.test, outcome)
            with self.unreachable(dead):
                reached = self.block(body)
            if reached and not dead:
                ends.append(self.environment)
        self.environment = merge(ends, self.visit) if ends else before
        return bool(ends)

    def _with(self, node: ast.With) -> bool:
        for item in node.items:
            call = item.context_expr
            if item.optional_vars is not None or not _is_grad_mode(call):
                help = "write `with torch.no_grad():`"
                self.report(call, "not-allowed-in-code", f"`with {self.source(call)}` is not allowed in code", help)
        return self.block(node.body)

    def _for(self, node: ast.For) -> bool:
        iterable = self.iterable(node.iter)
        if iterable.symbolic and _counts(node.iter):
            message = "this loop runs over a size of a tensor: its shapes are checked at example sizes"
            self.report(node.iter, "loop-over-symbolic-size", message, severity="note")
        empty = _surely_empty(iterable)
        entry = dict(self.environment)
        item = self.items(iterable, node.iter)
        self.loops.append(iterable.own)
        with self.unreachable(empty):
            loop, ends = self._passes(node, entry, item)
        self.loops.pop()
        exhausted = ends if iterable.nonempty and not empty else [entry, *([] if empty else ends)]
        self.environment = merge(exhausted, self.visit) if exhausted else dict(entry)
        with self.unreachable(not exhausted):
            falls = self.block(node.orelse) and bool(exhausted)
        exits = [*([self.environment] if falls else []), *([] if empty else loop.breaks)]
        self.environment = merge(exits, self.visit) if exits else self.environment
        return bool(exits)

    def _passes(self, node: ast.For, entry: Environment, item: Value) -> tuple[Loop, list[Environment]]:
        """Check the body of a loop until another pass would tell nothing new.

        The answer is the loop, and the environments at the end of a round. An inner loop begins with what the last
        round of the outer one found out, or each level of nesting would multiply the rounds.
        """
        head = merge([entry, self.heads[node]], self.visit) if node in self.heads else entry
        for number in itertools.count():  # labels and widened kinds are finite, and `visit` counts
            self.visit()
            loop = Loop()
            self.open_loops.append(loop)
            self.environment = dict(head)
            self._target(node.target, item)
            reached = self.block(node.body)
            self.open_loops.pop()
            ends = [*loop.continues, *([self.environment] if reached else [])]
            after = merge([head, *ends], self.visit)
            if after == head:
                break
            changed = {name for name in after if after[name] != head.get(name)}
            widening = number >= PASSES_BEFORE_WIDENING
            head = {name: widen(v) if widening and name in changed else v for name, v in after.items()}
        self.heads[node] = head
        return loop, ends

    def _assert(self, node: ast.Assert) -> None:
        self.condition(node.test)
        if node.msg is None or not (isinstance(node.msg, ast.Constant) and isinstance(node.msg.value, str)):
            help = 'write `assert condition, "text"`'
            self.report(node.msg or node, "invalid-assert", "an assertion needs a text that says what is wrong", help)
        self.environment = self.narrowed(self.environment, node.test, True)

    # --- assignments -------------------------------------------------------------------------------

    def _assign(self, node: ast.Assign) -> None:
        if len(node.targets) == 1 and self._assign_in_parallel(node.targets[0], node.value):
            return
        value = self.expression(node.value)
        for target in node.targets:
            if not isinstance(target, ast.Name) or not _is_one_module(value.kind):
                value = self.not_a_module(value, node.value, "assigned, unpacked or stored")
            self._target(target, value, node.value)

    def _assign_in_parallel(self, target: ast.expr, value: ast.expr) -> bool:
        """`a, b = x, y`: each name gets its own value, rather than what any of them may be."""
        if not isinstance(target, ast.Tuple | ast.List) or not isinstance(value, ast.Tuple | ast.List):
            return False
        if len(target.elts) != len(value.elts) or any(isinstance(part, ast.Starred) for part in value.elts):
            return False
        values = [self.value(part, "stored in a tuple") for part in value.elts]
        for part, made, source in zip(target.elts, values, value.elts, strict=True):
            self._target(part, made, source)
        return True

    def _target(self, target: ast.expr, value: Value, source: ast.expr | None = None) -> None:
        match target:
            case ast.Name() | ast.Tuple() | ast.List():
                self.bind(target, value)
                for part in _places(target):
                    self._place(part, value, None)
            case _:
                self._place(target, value, source)

    def _place(self, target: ast.expr, value: Value, source: ast.expr | None) -> None:
        """Assignment to an item or an attribute."""
        if isinstance(target, ast.Attribute):
            self._refuse_attribute_target(target, source)
        elif isinstance(target, ast.Subscript):
            self._item_target(target, value)

    def _refuse_attribute_target(self, target: ast.Attribute, source: ast.expr | None) -> None:
        text = self.source(target)
        name = target.attr
        if name == "training":
            help = "the caller sets the mode, with `model.train()` or `model.eval()`"
        elif name in self.scope.buffers:
            help = f"under `with torch.no_grad():` write `{name}.copy_(...)`"
        else:
            value = f"`{name} = {self.source(source)}`" if source is not None else f"a local `{name}`"
            help = f"write {value}: a local is enough, and state lives in buffers"
        self.report(target, "attribute-assignment", f"`{text}` cannot be assigned in code", help)

    def _item_target(self, target: ast.Subscript, value: Value) -> None:
        root: ast.expr = target
        while isinstance(root, ast.Subscript):
            root = root.value
        owner = self.value(target.value)
        self._index(target.slice)
        if not (isinstance(root, ast.Name) and self.is_local(root.id)):
            help = "use an in-place method of a buffer (`name.copy_(...)`), or work on a copy"
            self.report(
                target, "not-a-local", f"items of `{self.source(root)}` cannot be assigned: it is no local", help
            )
            return
        self.change(owner, target, "assigning an item")
        self.store(value)
        if not isinstance(owner.kind, ListKind) or isinstance(target.slice, ast.Slice):
            self.grow(owner, target)
        self._forget_items(owner, value)

    def _forget_items(self, owner: Value, value: Value) -> None:
        """An item was replaced: what is known of the items of that list or dict holds no more."""
        self.visit(len(self.environment) // STEP_OF_COPIES)
        for name, known in list(self.environment.items()):
            if any(label.role == "list" for label in known.own & owner.own):
                self.visit()
                kind: Kind = ListKind(UNKNOWN) if isinstance(known.kind, ListKind) else UNKNOWN
                self.environment[name] = replace(known, kind=kind, inside=known.inside | value.labels)

    def _augmented(self, node: ast.AugAssign) -> None:
        right = self.value(node.value)
        match node.target:
            case ast.Name(id=name):
                self._augment_name(node, node.target, name, right)
            case ast.Subscript():
                load = ast.copy_location(ast.Subscript(node.target.value, node.target.slice, ast.Load()), node.target)
                value = self.operate(node, node.op, self.value(load), right)
                self._item_target(node.target, value)
            case ast.Attribute(attr=name):
                help = f"write `{name}.add_(...)` for a buffer" if name in self.scope.buffers else "use a local"
                text = self.source(node.target)
                self.report(node.target, "attribute-assignment", f"`{text}` cannot be assigned in code", help)

    def _augment_name(self, node: ast.AugAssign, target: ast.Name, name: str, right: Value) -> None:
        self.refuse_shadow(target, name)
        left = self.value(target) if name not in NAMESPACES else Value(UNKNOWN)
        if not plain(left.kind):
            # A tensor or a list is changed where it is; whoever shares its memory sees that.
            self.change(left, node, "an augmented assignment")
            self.grow(left, node)
            self.store(right)
        result = self.operate(node, node.op, left, right)
        kept = frozenset() if plain(result.kind) else left.labels | right.inside
        own = frozenset() if plain(result.kind) else left.own
        self.environment[name] = replace(result, own=own, inside=kept, fresh=left.fresh).local()

    # --- expression statements ---------------------------------------------------------------------

    def _expr(self, node: ast.Expr) -> None:
        call = node.value
        if (
            isinstance(call, ast.Constant)
            and isinstance(call.value, str)
            and node is self.body[0]
            and len(self.body) > 1
        ):
            return  # a docstring
        self.statement_call = call
        known = len(self.collector.found)
        value = self.expression(call)
        if value.broken or len(self.collector.found) > known:
            self.faulty.add(node)
        if node in self.faulty:
            return  # what is wrong with it is told
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
            name = call.func.attr
            method = tensor_method(name)
            tensorial = (dotted(call.func) or "").split(".")[0] not in NAMESPACES
            if name in LIST_METHODS or (method is not None and (method.in_place or name.endswith("_")) and tensorial):
                return
        if node is self.body[-1]:
            help = f"write `return {self.source(call)}`"
            if isinstance(call, ast.Constant):
                help = "write what the module does with its inputs, and `return` the result"
            self.report(node, "missing-return", "this code ends in an expression that nobody gets", help)
        else:
            self.report(
                node, "unused-expression", "the value of this expression is not used", "assign it, or leave it out"
            )


def _assigned_name(node: ast.stmt) -> str:
    return node.targets[0].id if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) else ""


def _is_grad_mode(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and dotted(node.func) in GRAD_MODES and not node.args and not node.keywords


def _counts(node: ast.expr) -> bool:
    """Whether an iterable is a `range`, in a wrapper or not."""
    return any(isinstance(part, ast.Name) and part.id == "range" for part in ast.walk(node))


def _surely_empty(value: Value) -> bool:
    match value.kind:
        case ModuleKind(container="list" | "dict", items=items):
            return not items
    return isinstance(value.static, list | tuple | dict) and not value.static


def _is_one_module(kind: Kind) -> bool:
    """Whether a value is a module, rather than an iterable of modules."""
    return all(isinstance(option, ModuleKind) for option in options(kind) if holds_module(option))


def _places(target: ast.expr) -> Iterable[ast.expr]:
    """The items and attributes among the parts of a tuple target."""
    if isinstance(target, ast.Tuple | ast.List):
        for part in target.elts:
            yield from _places(part)
    elif not isinstance(target, ast.Name):
        yield target
