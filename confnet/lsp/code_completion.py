"""What may be written in code: children, parameters, inputs, args; functions of the allowlist; what follows a dot."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from confnet.catalog import functions as catalog
from confnet.catalog.functions import DTYPES, TENSOR_ATTRIBUTES
from confnet.catalog.registry import DEFAULT_REGISTRY, lookup
from confnet.language.kinds import Signature
from confnet.language.names import BUILTINS
from confnet.lsp.completion import Item, Kind
from confnet.lsp.cursor import Cursor
from confnet.lsp.names import Named, Names
from confnet.lsp.wording import function_line, function_of, function_text

__all__ = ["chain_of", "code_items", "resolve_chain"]

_CHAIN = re.compile(r"(?<!\w)((?:[^\W\d]\w*(?:\[[^\[\]]*\])?\s*\.\s*)+)\w*$")
_AFTER_VALUE = re.compile(r"[)\]}\"']\s*\.\s*\w*$")
_NUMBER = re.compile(r"\d\.\d*$")
_CALL = re.compile(r"(?<![\w.])([^\W\d][\w.\[\]]*)\s*$")
_MATH: dict[str, Kind] = {"sqrt": "function", "exp": "function", "log": "function", "pi": "value", "inf": "value"}
_WORDS = (
    "return", "if", "elif", "else", "for", "in", "not", "and", "or", "is", "None", "True", "False", "assert", "pass",
    "break", "continue", "with",
)  # fmt: skip


def code_items(cursor: Cursor, names: Names) -> list[Item]:
    """What may stand at a cursor in code."""
    line = cursor.before.rpartition("\n")[2]
    if _in_text(line) or _NUMBER.search(line):
        return []
    found = _CHAIN.search(line)
    if found is not None:
        return list(_after_dot(chain_of(found[1]), cursor, names))
    if _AFTER_VALUE.search(line):
        return list(_tensor())
    if re.search(r"(?:^|[^\w.])\.\w*$", line):
        return []
    return [*_keywords(cursor, names), *_bare(cursor, names)]


def chain_of(text: str) -> list[str]:
    """The names of `self.body[0].` in order: `self`, `body`, `[0]`."""
    return re.findall(r"[^\W\d]\w*|\[[^\[\]]*\]", text)


def _in_text(line: str) -> bool:
    """Whether a line ends inside a text or a comment."""
    rest = re.sub(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'", "", line)
    return '"' in rest or "'" in rest or "#" in rest


# --- bare names -----------------------------------------------------------------------------------------------------


def _bare(cursor: Cursor, names: Names) -> Iterator[Item]:
    lines = cursor.before.split("\n")
    given = names.in_code(cursor.node)
    for name in names.locals(lines[:-1]):
        if name not in given:
            yield Item(name, "name", name, "local", sort="1")
    for name, named in given.items():
        yield _named(name, named, names)
    for name in ("torch", "F", "math", "self"):
        yield Item(name, "module", name, sort="4")
    for name in BUILTINS:
        yield Item(name, "function", name, "Python", sort="5")
    for name, function in DEFAULT_REGISTRY.functions.items():
        text = function.call.__doc__ or ""
        yield Item(name, "function", name, "registered", sort="3", about=partial(str, text))
    for word in _WORDS:
        yield Item(word, "key", word, sort="6")


def _named(name: str, named: Named, names: Names) -> Item:
    detail = named.what
    if named.what == "child":
        detail = f"child {names.layer(named.node)}".rstrip()
    order = {"input": "1", "child": "2", "parameter": "2", "buffer": "2", "method": "2"}.get(named.what, "3")
    kind: Kind = "child" if named.what == "child" else "method" if named.what == "method" else "name"
    return Item(name, kind, name, detail, sort=order)


def _keywords(cursor: Cursor, names: Names) -> Iterator[Item]:
    """The keyword arguments of the call that the cursor stands in."""
    callee, start = _open_call(cursor.before)
    if not callee:
        return
    inside = cursor.before[start:]
    if not re.search(r"[(,]\s*\w*$", f"({inside}"):
        return
    given = set(re.findall(r"(\w+)\s*=(?!=)", inside))
    for name in _parameters(callee, cursor, names):
        if name not in given:
            yield Item(f"{name}=", "argument", f"{name}=", f"argument of {callee}", sort="0")


def _open_call(code: str) -> tuple[str, int]:
    """The name of the innermost call that is open at the end of code, and where its arguments begin."""
    depth = 0
    for index in range(len(code) - 1, max(len(code) - 2000, -1), -1):
        letter = code[index]
        if letter in ")]}":
            depth += 1
        elif letter in "([{":
            if depth == 0:
                match = _CALL.search(code[:index]) if letter == "(" else None
                return (match[1] if match else ""), index + 1
            depth -= 1
    return "", 0


def _parameters(callee: str, cursor: Cursor, names: Names) -> list[str]:
    function = function_of(callee)
    if function is None and "." not in callee and callee in DEFAULT_REGISTRY.functions:
        return _of_signature(DEFAULT_REGISTRY.functions[callee].signature)
    if function is not None:
        return [parameter.name for parameter in function.parameters or ()]
    named = resolve_chain(chain_of(callee), cursor, names)
    if named is None:
        return []
    if named.what == "method":
        return [name for name, _ in names.inputs(named.node, named.node)]
    if named.what != "child":
        return []
    layer = lookup(names.layer(named.node))
    if layer is not None:
        return _of_signature(layer.forward)
    definition = names.definitions.get(names.layer(named.node))
    node = definition.node if definition is not None else named.node
    inputs = node.get("inputs")
    return [each.key or each.scalar for each in inputs.children] if inputs is not None else ["x"]


def _of_signature(signature: Signature) -> list[str]:
    return [parameter.name for parameter in signature.parameters if parameter.keyword]


# --- after a dot ----------------------------------------------------------------------------------------------------


def _after_dot(chain: list[str], cursor: Cursor, names: Names) -> Iterator[Item]:
    path = ".".join(chain)
    if path in ("F", "nn.functional", "torch.nn.functional"):
        yield from _functions("functional", "")
    elif path == "math":
        yield from (
            Item(name, "function" if what == "function" else "value", name, "math") for name, what in _MATH.items()
        )
    elif path == "nn":
        yield Item("functional", "module", "functional")
    elif chain[0] == "torch":
        yield from _torch(path.removeprefix("torch").lstrip("."))
    elif path == "self":
        for name, named in names.in_code(cursor.node).items():
            if named.what != "input":
                yield _named(name, named, names)
        yield Item("training", "name", "training", "whether the module is in train mode", sort="3")
    else:
        found = resolve_chain(chain, cursor, names)
        if found is not None and found.what == "child":
            yield from _of_child(found, names)
        elif found is None or found.what in ("input", "parameter", "buffer"):
            yield from _tensor()


def _of_child(named: Named, names: Names) -> Iterator[Item]:
    inner = names.inside(named)
    for name, each in inner.items():
        if not name.isdigit():
            yield _named(name, each, names)
    for name, what in names.state(named.node).items():
        if name not in inner:
            yield Item(
                name, "child" if what == "child" else "name", name, f"{what} of {names.layer(named.node)}", sort="2"
            )


def resolve_chain(chain: list[str], cursor: Cursor, names: Names) -> Named | None:
    """What a chain of names of code means, as far as the file says it."""
    has_self = chain[:1] == ["self"]
    parts = chain[1:] if has_self else chain
    if not parts:
        return None
    local = not has_self and parts[0] in names.locals(cursor.before.split("\n"))
    found: Named | None = None if local else names.in_code(cursor.node).get(parts[0])
    for part in parts[1:]:
        if found is None or found.what != "child":
            return None
        inner = names.inside(found)
        key = part.strip("[]").strip("\"'")
        # Any item of a list tells what the others are like.
        found = inner.get(key) or (next(iter(inner.values()), None) if part[0] == "[" else None)
    return found


def _torch(inside: str) -> Iterator[Item]:
    yield from _functions("torch", f"{inside}." if inside else "")
    if not inside:
        yield from (Item(name, "value", name, "dtype", sort="6") for name in sorted(DTYPES))
        yield Item("finfo", "function", "finfo", "limits of a floating-point dtype", sort="6")


_FIND = {"torch": catalog.torch_function, "functional": catalog.functional, "tensor": catalog.tensor_method}


def _functions(namespace: catalog.Namespace, prefix: str) -> Iterator[Item]:
    spaces: dict[str, None] = {}
    for name in catalog.names(namespace):
        if not name.startswith(prefix):
            continue
        head, dot, _ = name.removeprefix(prefix).partition(".")
        function = _FIND[namespace](name)
        if dot:
            spaces[head] = None
        elif function is not None:
            kind: Kind = "method" if namespace == "tensor" else "function"
            yield Item(head, kind, head, function_line(function), about=partial(function_text, function))
    yield from (Item(space, "module", space, sort="6") for space in spaces)


def _tensor() -> Iterator[Item]:
    yield from (Item(name, "value", name, "attribute of a tensor", sort="4") for name in TENSOR_ATTRIBUTES)
    yield from _functions("tensor", "")
