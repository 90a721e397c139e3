"""Mistakes, put into a spec that was right: sizes, names, types, code, contracts, state and structure."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

__all__ = ["with_fault"]

Place = tuple[Any, Any]
"""A mapping or list, and the key or index of an item of it."""


def with_fault(spec: dict[str, Any], random: Random) -> tuple[dict[str, Any], str]:
    """A copy of the spec with one mistake, and its kind. Not every one breaks the model: that is for torch to say."""
    made = copy.deepcopy(spec)
    kinds = list(FAULTS)
    random.shuffle(kinds)
    for kind in kinds:
        if FAULTS[kind](made, random):
            return made, kind
    return made, "none"


def _walk(value: Any, inside: str = "") -> Iterator[tuple[Any, Any, str]]:
    """Every item: its owner, its key, and the key of the section that it stands in."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        section = key if isinstance(key, str) else inside
        yield value, key, section
        yield from _walk(item, section)


CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")


def _layers(spec: Any) -> list[Place]:
    """The layers and definitions that are called, containers apart."""
    return [
        (owner, key)
        for owner, key, _ in _walk(spec)
        if isinstance(key, str) and key[0].isupper() and key not in CONTAINERS and owner is not spec.get("modules")
    ]


def _numbers(spec: Any) -> list[Place]:
    """The numbers and expressions among the arguments of layers and definitions."""
    found: list[Place] = []
    for owner, key in _layers(spec):
        value = owner[key]
        found += [(owner, key)] if _is_size(value) else [(o, k) for o, k, _ in _walk(value) if _is_size(o[k])]
    return found


def _is_size(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, str) and value[:1] == "$")


def _size(spec: Any, random: Random) -> bool:
    places = _numbers(spec)
    if not places:
        return False
    owner, key = random.choice(places)
    value = owner[key]
    if isinstance(value, int):
        owner[key] = value + random.choice([-1, 1, 1, 2, -value, value])
    elif re.fullmatch(r"\$\w+", value):
        owner[key] = random.choice([f"$({value[1:]} + 1)", f"$(2 * {value[1:]})", 5, f"${value[1:]}x"])
    else:
        owner[key] = random.choice([f"$(1 + {value[2:-1]})", "$(1 / 0)", 5])
    return True


def _kind(spec: Any, random: Random) -> bool:
    """A value of another type."""
    places = _numbers(spec)
    if not places:
        return False
    owner, key = random.choice(places)
    owner[key] = random.choice(["four", [4, 4], 4.5, None])
    return True


def _layer_name(spec: Any, random: Random) -> bool:
    places = _layers(spec)
    if not places:
        return False
    owner, key = random.choice(places)
    items = list(owner.items())
    owner.clear()
    owner.update((f"{k[:-1]}" if k == key else k, v) for k, v in items)
    return True


def _argument_name(spec: Any, random: Random) -> bool:
    places = [(owner, key) for owner, key in _layers(spec) if isinstance(owner[key], dict) and owner[key]]
    if not places:
        return False
    owner, key = random.choice(places)
    arguments = owner[key]
    name = random.choice(list(arguments))
    value = arguments.pop(name)
    if random.random() < 0.7:
        arguments[f"{name}s"] = value
    return True


def _count(spec: Any, random: Random) -> bool:
    """An argument too many, or one too few."""
    places = [(owner, key) for owner, key in _layers(spec) if isinstance(owner[key], list)]
    if not places:
        return False
    owner, key = random.choice(places)
    if random.random() < 0.5:
        owner[key].pop()
    else:
        owner[key] += [3] * 12
    return True


def _bodies(spec: Any) -> list[Any]:
    return [spec, *(owner[key] for owner, key, _ in _walk(spec) if isinstance(owner[key], dict))]


def _code(spec: Any, random: Random) -> bool:
    """A line of code left out, doubled, swapped, or with another name, number or operator."""
    bodies = [body for body in _bodies(spec) if isinstance(body.get("forward"), str)]
    if not bodies:
        return False
    body = random.choice(bodies)
    lines = body["forward"].rstrip("\n").split("\n")
    index = random.randrange(len(lines))
    step = random.randrange(7)
    if step == 0 and len(lines) > 1 and not lines[index].endswith(":"):
        del lines[index]
    elif step == 1 and len(lines) > 2 and not any(line.startswith((" ", "else")) for line in lines):
        other = random.randrange(len(lines) - 1)
        lines[index], lines[other] = lines[other], lines[index]
    elif step == 2:
        words = sorted(set(re.findall(r"\b[a-z]+\d*\b(?=\()|\b[vxyzm]\d*\b", body["forward"])))
        found = re.findall(r"\b[vxyzm]\d*\b", lines[index])
        if words and found:
            lines[index] = re.sub(rf"\b{random.choice(found)}\b", random.choice([*words, "w"]), lines[index], count=1)
    elif step == 3:
        lines[index] = re.sub(r"dim=-?\d", f"dim={random.choice([0, 1, 2, 3, -3])}", lines[index])
    elif step == 4:
        lines[index] = re.sub(r" [+*-] ", " @ ", lines[index], count=1)
    elif step == 5:
        lines[index] = re.sub(r"\((\w+)\)", r"(\1, \1)", lines[index], count=1)
    else:
        lines.insert(len(lines) - 1, _indented(lines[-1], random.choice(EXTRA)))
    made = "\n".join(lines) + "\n"
    changed: bool = made != body["forward"]
    body["forward"] = made
    return changed


EXTRA = (
    "x = x.transpose(0, 1)", "x = x[:, :2]", "x = x.view(-1, 7)", "x = x.reshape(x.shape[0], -1)", "x = x.unsqueeze(0)",
    "x = x.long()", "x = x[0]", "x = x.sum()", "x = x.flatten()", "x = undefined(x)", "x = F.relux(x)",
    "x = x.to(torch.float64)", "assert x.shape[0] == 3, 'three'", "x = x + torch.ones(3)", "x = torch.relu(x, x, x)",
)  # fmt: skip


def _indented(like: str, line: str) -> str:
    return " " * (len(like) - len(like.lstrip())) + line


def _contract(spec: Any, random: Random) -> bool:
    bodies = [b for b in _bodies(spec) if isinstance(b.get("inputs"), dict) or isinstance(b.get("outputs"), dict)]
    places: list[Place] = []
    for body in bodies:
        for table in (body.get("inputs"), body.get("outputs")):
            for owner, key, _ in _walk(table if isinstance(table, dict) else {}):
                if isinstance(owner, list) or key == "dtype":
                    places.append((owner, key))
    if not places:
        return False
    owner, key = random.choice(places)
    value = owner[key]
    if key == "dtype":
        owner[key] = random.choice([d for d in ("float32", "float64", "int64", "bool") if d != value])
    elif random.random() < 0.15:
        owner.append("_")
    else:
        owner[key] = random.choice([size for size in (3, "B", "T", "S", "2 * B", 5, "B + 1") if size != value])
    return True


def _child(spec: Any, random: Random) -> bool:
    """A child left out, closed by `when`, swapped with another, or under another name."""
    bodies = [body for body in _bodies(spec) if isinstance(body.get("children"), dict) and body["children"]]
    if not bodies:
        return False
    children = random.choice(bodies)["children"]
    one, other = random.choice(list(children)), random.choice(list(children))
    step = random.randrange(4)
    if step == 0:
        del children[one]
    elif step == 1 and isinstance(children[one], dict) and not {"when", "share", "repeat"} & children[one].keys():
        children[one] = {"when": False, **children[one]}
    elif step == 2:
        children[one], children[other] = children[other], children[one]
    else:
        children[f"{one}_"] = children.pop(one)
    return True


def _items(spec: Any, random: Random) -> bool:
    """Items of a container left out, doubled or swapped."""
    places = [(o, k) for o, k, _ in _walk(spec) if k in CONTAINERS and isinstance(o[k], list) and o[k]]
    if not places:
        return False
    owner, key = random.choice(places)
    items = owner[key]
    one, other = random.randrange(len(items)), random.randrange(len(items))
    step = random.randrange(3)
    if step == 0:
        del items[one]
    elif step == 1:
        items.insert(other, copy.deepcopy(items[one]))
    else:
        items[one], items[other] = items[other], items[one]
    return True


def _state(spec: Any, random: Random) -> bool:
    """A parameter or buffer of another size or dtype, or with an initialiser that does not fit."""
    states = [
        state
        for body in _bodies(spec)
        for table in ("parameters", "buffers")
        for state in (body.get(table) or {}).values()
        if isinstance(state, dict)
    ]
    if not states:
        return False
    state = random.choice(states)
    step = random.randrange(4)
    if step == 0 and "shape" in state:
        state["shape"] = [*state["shape"], 3]
    elif step == 1 and "shape" in state:
        state["shape"] = [5 if isinstance(size, str) or size > 1 else size for size in state["shape"]]
    elif step == 2:
        state["dtype"] = random.choice(["float64", "int64", "bool", "float16"])
    elif "shape" in state:
        state["shape"] = [random.choice([-1, "undefined", 0]), *state["shape"][1:]]
    else:
        state["value"] = random.choice(["torch.ones(5)", "undefined", [1.0, 2.0, 3.0]])
    return True


def _repeat(spec: Any, random: Random) -> bool:
    owners = [owner for owner, key, _ in _walk(spec) if key == "repeat"]
    if not owners:
        return False
    random.choice(owners)["repeat"] = random.choice([0, -1, "three", 2.5, 4, True])
    return True


def _arg(spec: Any, random: Random) -> bool:
    """A default of the document, or an arg that a definition no longer has."""
    tables = [body["args"] for body in _bodies(spec) if isinstance(body.get("args"), dict) and body["args"]]
    if not tables:
        return False
    table = random.choice(tables)
    name = random.choice(list(table))
    if random.random() < 0.4:
        del table[name]
    else:
        table[name] = random.choice([3, "int", True, 0, 2.5, {"type": "str", "default": "text"}])
    return True


FAULTS: dict[str, Callable[[Any, Random], bool]] = {
    "size": _size, "size again": _size, "type": _kind, "layer name": _layer_name, "argument name": _argument_name,
    "argument count": _count, "code": _code, "code again": _code, "contract": _contract, "child": _child,
    "items": _items, "state": _state, "repeat": _repeat, "arg": _arg,
}  # fmt: skip
