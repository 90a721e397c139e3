"""Arguments to parameters: one way to check a call, whatever is called."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import field

from confnet.diagnostics import closest
from confnet.language.kinds import Parameter
from confnet.records import dataclass

__all__ = ["Bound", "Problem", "bind", "listing"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with the arguments of a call, at the call or at one argument."""

    node: ast.AST
    code: str
    message: str
    help: str = ""
    meant: str = ""


@dataclass(slots=True)
class Bound:
    """Which argument goes to which parameter. `open` says that a `*` argument hides where the others go."""

    arguments: dict[str, ast.expr] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    open: bool = False


def bind(
    node: ast.Call,
    positional: Sequence[ast.expr],
    keywords: Sequence[ast.keyword],
    parameters: Sequence[Parameter],
    label: str,
    *,
    variadic: bool = False,
    extra_keywords: bool = False,
) -> Bound:
    """Give the arguments of a call to the parameters; what does not fit is told in `problems`."""
    bound = Bound(open=any(isinstance(argument, ast.Starred) for argument in positional))
    places = [parameter for parameter in parameters if parameter.positional]
    if not bound.open:
        for parameter, argument in zip(places, positional, strict=False):
            bound.arguments[parameter.name] = argument
        if len(positional) > len(places) and not variadic:
            message = f"`{label}` takes {_count(len(places))}, not {len(positional)}"
            bound.problems.append(Problem(positional[len(places)], "wrong-argument-count", message))
    suspects = _bind_keywords(bound, keywords, parameters, label, extra_keywords)
    _missing(bound, node, parameters, label, suspects)
    return bound


def listing(names: Sequence[str]) -> str:
    """Names in backticks: "`a`, `b` and `c`"."""
    quoted = [f"`{name}`" for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def _count(number: int) -> str:
    return "no positional arguments" if number == 0 else f"{number} positional argument{'s' * (number != 1)}"


def _bind_keywords(
    bound: Bound, keywords: Sequence[ast.keyword], parameters: Sequence[Parameter], label: str, extra: bool
) -> set[str]:
    """Bind keyword arguments; the answer is the parameters that misspelt ones were meant for."""
    known = {parameter.name for parameter in parameters if parameter.keyword}
    meant: set[str] = set()
    for keyword in keywords:
        name = keyword.arg or ""
        if name in bound.arguments:
            problem = Problem(
                keyword,
                "duplicate-argument",
                f"`{name}` of `{label}` is given by position and by name",
                "remove one of them",
            )
            bound.problems.append(problem)
        elif name in known:
            bound.arguments[name] = keyword.value
        elif not extra:
            near = closest(name, known - set(bound.arguments))
            meant |= {near} if near else set()
            help = f"did you mean `{near}`?" if near else ""
            message = f"`{label}` has no argument `{name}`"
            bound.problems.append(Problem(keyword, "unknown-argument", message, help, near or ""))
    return meant


def _missing(bound: Bound, node: ast.Call, parameters: Sequence[Parameter], label: str, meant: set[str]) -> None:
    if bound.open:
        return
    missing = [p.name for p in parameters if p.required and p.name not in bound.arguments and p.name not in meant]
    if missing:
        names = listing(missing)
        bound.problems.append(
            Problem(node, "missing-argument", f"`{label}` is missing its argument{'s' * (len(missing) > 1)} {names}")
        )
