"""The files that `confnet new` starts from, beside this one. docs/tools.md tells what each is."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from confnet.source.core import core_value
from confnet.spec.words import LAYER_KEY, camel_case, is_identifier

__all__ = ["summary", "template_names", "template_text"]

_SUFFIX = ".yaml"
_ORDER = ("classifier", "encoder", "decoder", "unet", "gan")


@cache
def template_names() -> tuple[str, ...]:
    """The templates, from the simplest."""
    found = {entry.name.removesuffix(_SUFFIX) for entry in files(__name__).iterdir() if entry.name.endswith(_SUFFIX)}
    return tuple(sorted(found, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)))


def template_text(template: str, name: str | None = None) -> str:
    """The text of a template, with another class name if one is given.

    Raises KeyError for a template that there is not, ValueError for what is no class name.
    """
    if template not in template_names():  # compared as a whole: a name is never a path
        raise KeyError(template)
    text = files(__name__).joinpath(f"{template}{_SUFFIX}").read_text(encoding="utf-8")
    if name is None:
        return text
    if not LAYER_KEY.fullmatch(name):
        raise ValueError(f"a class name is a capitalised identifier such as {camel_case(name)!r}, not {name!r}")
    if not is_identifier(name) or not isinstance(core_value(name), str):
        raise ValueError(f"{name!r} means something else in YAML or in Python; choose another name")
    return re.sub(r"(?m)^name: \w+", f"name: {name}", text, count=1)


def summary(template: str) -> str:
    """What a template is, in a line: the first sentence of its description."""
    found = re.search(r"(?m)^description: (.+)$", template_text(template))
    assert found is not None, "every template has a description of one line"
    return found[1]
