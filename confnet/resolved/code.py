"""Values in the place of the names that code reads."""

from __future__ import annotations

import ast
import math
import re
import textwrap
from collections.abc import Container, Iterable, Iterator, Mapping

from confnet.plan import DTypeName, ModulePlan

__all__ = ["codes_of", "expression_text", "mentions", "reads_of_others", "with_values"]

_READS = (ast.Name, ast.Attribute)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def expression_text(value: object, dtypes: str = "torch.") -> str:
    """A value as an expression, of code; or of `$`, where nothing but an arg gives a dtype, with `dtypes` empty."""
    if isinstance(value, DTypeName):
        return f"{dtypes}{value.name}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    if isinstance(value, tuple):
        return f"({', '.join(expression_text(item, dtypes) for item in value)}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(expression_text(item, dtypes) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {expression_text(item, dtypes)}" for key, item in value.items()) + "}"
    return repr(value)


def _in_code(value: object) -> str:
    """A value in the middle of other code."""
    text = expression_text(value)
    return f"({text})" if text.startswith("-") else text


def codes_of(
    plan: ModulePlan, *, rules: Container[int] | None = None, hooks: Container[int] | None = None
) -> Iterator[str]:
    """All code of a module that may read its constants; of its rules and hooks those with these numbers, or all."""
    if plan.definition is not None:
        yield from (method.code.text for method in plan.definition.methods.values())
    yield from (b.code.text for b in plan.buffers.values() if b is not None and b.code is not None)
    for index, hook in enumerate(plan.hooks):
        if hook.code is not None and hook.in_body and (hooks is None or index in hooks):
            yield hook.code.text
    for index, rule in enumerate(plan.rules):
        if rules is None or index in rules:
            yield from (method.code.text for method in rule.methods.values())


def mentions(texts: Iterable[str]) -> set[str]:
    """The names and attributes in some code: whatever it reads is among them."""
    nodes = [node for text in texts for node in ast.walk(ast.parse(textwrap.dedent(text).strip()))]
    return {node.id if isinstance(node, ast.Name) else node.attr for node in nodes if isinstance(node, _READS)}


def reads_of_others(texts: Iterable[str]) -> set[str]:
    """The attributes that some code reads of something else than its own module."""
    return {
        name
        for text in texts
        for owner, name in re.findall(r"(\w*|[\])])\s*\.\s*([^\W\d]\w*)", text)
        if owner not in ("self", "torch", "F", "math")
    }


def with_values(text: str, values: Mapping[str, object], renamed: Mapping[str, str] | None = None) -> str:
    """Code with values in the place of names that it only reads, and some other names `renamed`.

    A name that the code sets itself stays, as does everything else, comments and layout included.
    """
    words = mentions([text])
    new = {name: to for name, to in (renamed or {}).items() if name in words}
    new |= {name: _in_code(value) for name, value in values.items() if name in words}
    if not new:
        return text
    text = text.strip() if "\n" not in text.strip() else text
    tree = ast.parse(text)
    lines = [line.encode() for line in text.split("\n")]
    places = {(node.lineno - 1, node.col_offset, node.end_col_offset): name for node, name in _reads(tree, _sets(tree))}
    for (line, begin, end), name in sorted(places.items(), reverse=True):
        if name in new:
            lines[line] = lines[line][:begin] + new[name].encode() + lines[line][end:]
    return b"\n".join(lines).decode()


def _reads(node: ast.AST, own: set[str]) -> Iterator[tuple[ast.expr, str]]:
    """The places where code reads a name, bare and not among its `own`, or of `self`."""
    if isinstance(node, ast.Name) and node.id not in own:
        yield node, node.id
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        yield node, node.attr
    elif isinstance(node, _COMPREHENSIONS):  # its names are its own, but for what it first goes through
        yield from _reads(node.generators[0].iter, own)
        own = own.union(*(_sets(each.target) for each in node.generators))
    for child in ast.iter_child_nodes(node):
        yield from _reads(child, own)


def _sets(node: ast.AST) -> set[str]:
    """The names that code sets, without those of its comprehensions."""
    if isinstance(node, _COMPREHENSIONS):
        return set()
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        return {node.id}
    return set().union(*map(_sets, ast.iter_child_nodes(node)))
