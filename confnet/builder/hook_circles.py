"""Hooks whose code calls modules: none may run itself again.

The rule is simple, and stricter than it would have to be: what such a hook calls may have no such hook on it or
inside it. Then a call never comes to a second one, and there can be no circle, whatever the forwards do.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from torch import nn

from confnet.builder.hooks import Hook
from confnet.diagnostics import Diagnostic
from confnet.language.forward import parse_code

__all__ = ["circles"]

_RUN_BY_CALLS = ("forward_pre", "forward")


def circles(hooks: Iterable[tuple[nn.Module, nn.Module, Hook]]) -> Iterator[Diagnostic]:
    """What is wrong with hooks, each given with its owner and the module that it is on; one report for each hook of
    the file."""
    calling = [
        (module, hook, called)
        for owner, module, hook in hooks
        if hook.plan.kind in _RUN_BY_CALLS and (called := dict(_called(owner, module, hook)))
    ]
    targets = {module for module, _, _ in calling}
    known: dict[nn.Module, bool] = {}
    told = set()
    for _, hook, called in calling:
        again = next((name for module, name in called.items() if _holds(module, targets, known)), None)
        if again is not None and hook.plan.span not in told and hook.plan.code is not None:
            told.add(hook.plan.span)
            yield Diagnostic(
                "invalid-hook",
                f"the hook calls `{again}`, which has a hook that calls modules on it or inside it",
                span=hook.plan.code.span,
                notes=hook.plan.chain,
                help="such a hook may run itself without end: compute it from `args`, `output` and parameters, or call "
                "a module without such hooks",
            )


def _holds(module: nn.Module, targets: set[nn.Module], known: dict[nn.Module, bool]) -> bool:
    """Whether a module or one inside it is among the targets."""
    if module not in known:
        known[module] = module in targets or any(_holds(child, targets, known) for child in module.children())
    return known[module]


def _called(owner: nn.Module, module: nn.Module, hook: Hook) -> Iterator[tuple[nn.Module, str]]:
    """The modules that the code of a hook may call, with their names in it.

    A module that code mentions can only be called, iterated, indexed or compared, so that each mention counts but
    for those that go on to a parameter, buffer or argument.
    """
    if hook.plan.code is None:
        return
    for chain, is_called in _chains(parse_code(hook.plan.code).body):
        if chain[0] == "module":
            start, names = module, chain[1:]
        elif hook.plan.in_body and chain[0] not in hook.call_names:
            start, names = owner, chain[1:] if chain[0] == "self" else chain
        else:
            continue
        reached = start
        for index, name in enumerate(names):
            child = reached._modules.get(name)
            if child is None:
                is_method = is_called and index == len(names) - 1
                if is_method and reached is not start:
                    yield reached, ".".join(chain[:-1])
                break
            reached = child
        else:
            if reached is not start:
                yield reached, ".".join(chain)


def _chains(body: Iterable[ast.stmt]) -> Iterator[tuple[list[str], bool]]:
    """Every name with the attributes behind it, as far as they go, and whether that is called."""
    waiting: list[tuple[ast.AST, bool]] = [(statement, False) for statement in body]
    while waiting:
        node, is_called = waiting.pop()
        names: list[str] = []
        inner = node
        while isinstance(inner, ast.Attribute):
            names.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            yield [inner.id, *reversed(names)], is_called
        elif names:
            waiting.append((inner, False))
        else:
            for child in ast.iter_child_nodes(node):
                waiting.append((child, isinstance(node, ast.Call) and child is node.func))
