"""The words of the language: keys by where they stand, types of args, and which texts are names."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Iterable

from confnet.catalog.registry import lookup
from confnet.diagnostics import closest
from confnet.source import Mapping, Node, Scalar, Sequence

__all__ = [
    "ARG_TYPES",
    "COMPOSITE_KEYS",
    "HEADER_KEYS",
    "LAYER_KEY",
    "MODIFIER_KEYS",
    "SCOPE_KEYS",
    "bare_layer",
    "camel_case",
    "is_identifier",
    "is_layer_key",
    "misspelt",
    "name_help",
    "type_meant",
    "type_of_default",
]

ARG_TYPES = (
    "int",
    "float",
    "bool",
    "str",
    "dtype",
    "any",
    "dict",
    "layer",
    "module",
    "list",
    "list[int]",
    "list[float]",
    "list[str]",
)

HEADER_KEYS = ("confnet", "name", "extends", "edit", "include", "variants", "modules")
SCOPE_KEYS = ("description", "args", "let", "require", "inputs", "outputs", "methods")
COMPOSITE_KEYS = ("children", "parameters", "buffers", "forward", "tie")
MODIFIER_KEYS = ("when", "else", "init", "parametrize", "requires_grad", "extra_repr", "apply", "hooks")
LAYER_KEY = re.compile(r"_*[A-Z]\w*")

_TYPE_WORDS = {
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "string": "str",
    "text": "str",
    "tuple": "list",
    "mapping": "dict",
}


def is_layer_key(text: str) -> bool:
    """Whether a key names a layer: capitalised after leading underscores, or computed by `$`."""
    return text.startswith("$") or LAYER_KEY.fullmatch(text) is not None


def is_identifier(name: str) -> bool:
    """Whether code can read an attribute or argument of this name."""
    own = name.startswith(("__", "_confnet_"))  # Python's own names, and those that the builder gives
    same = unicodedata.normalize("NFKC", name) == name  # Python reads other forms of a letter as this one
    return name.isidentifier() and same and not keyword.iskeyword(name) and not own and name != "self"


def name_help(name: str) -> str:
    """What to do about a name that is no identifier."""
    if keyword.iskeyword(name) or name == "self":
        return "Python has its own meaning for it; choose another name"
    fixed = re.sub(r"\W", "_", unicodedata.normalize("NFKC", name)).lstrip("_")
    return (
        f"write `{fixed}`" if is_identifier(fixed) else "use letters, digits and underscores, and begin with a letter"
    )


def camel_case(text: str) -> str:
    """A class name made of any text: `my-net_2` gives `MyNet2`."""
    words = re.findall(r"[A-Za-z0-9]+", re.sub(r"\$\([^)]*\)|\$\w+", " ", text))
    name = "".join(word[0].upper() + word[1:] for word in words)
    return name if name and not name[0].isdigit() else f"_{name}" if name else "Model"


def type_meant(word: str) -> str | None:
    """The type of argument that a word was most likely meant to name."""
    return _TYPE_WORDS.get(word.lower()) or closest(word, ARG_TYPES)


def type_of_default(node: Node | None) -> str:
    """The type that a default gives its argument; `$` defaults and mixed lists leave it open."""
    if isinstance(node, Scalar):
        kinds = {bool: "bool", int: "int", float: "float", str: "any", type(None): "any"}
        return kinds[type(node.value)]
    if isinstance(node, Sequence):
        inside = {type_of_default(item) for item in node.items}
        if inside and inside <= {"int", "float"}:
            return "list[float]" if "float" in inside else "list[int]"
        return "list"
    return "dict"


def misspelt(node: Mapping, keys: Iterable[str]) -> bool:
    """Whether a key of the mapping is nearly one of `keys`: what that one would have said is then not missing."""
    return any(closest(key.text, keys) is not None for key, _ in node)


def bare_layer(text: str) -> str | None:
    """The layer that a dotted path such as `torch.nn.Linear` ends in."""
    last = text.rpartition(".")[2]
    return last if "." in text and lookup(last) is not None else None
