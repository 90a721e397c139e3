"""Plain values to YAML text that readers of YAML 1.1 and 1.2 take back as they are."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping as AnyMapping
from typing import Any

import yaml

from confnet.source.core import IntegerTooLarge, core_value
from confnet.source.failures import failure, short
from confnet.source.nodes import Plain

__all__ = ["to_text"]


class _Dumper(yaml.SafeDumper):
    """Writes values so that both YAML 1.1 and 1.2 readers take them back as they are."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _write_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = None
    if "\n" in text and not re.search(r"[ \t](\n|$)|\A\s", text):
        style = "|"
    elif not isinstance(_core_or_text(text), str):
        style = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _core_or_text(text: str) -> Plain:
    try:
        return core_value(text)
    except IntegerTooLarge:
        return 0


def _write_float(dumper: _Dumper, number: float) -> yaml.ScalarNode:
    text = {math.inf: ".inf", -math.inf: "-.inf"}.get(number, ".nan" if math.isnan(number) else repr(number))
    if "e" in text and "." not in text:  # `1e-05` is a text for YAML 1.1
        text = text.replace("e", ".0e")
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(str, _write_text)
_Dumper.add_representer(float, _write_float)


def to_text(value: AnyMapping[str, Any]) -> str:
    """YAML text of a mapping of plain values, in the order given. Raises ConfnetError for any other value."""
    return str(
        yaml.dump(
            _plain_only(value, ""),
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            width=110,
            default_flow_style=None,
        )
    )


def _plain_only(value: Any, path: str, depth: int = 0) -> Any:
    if depth > 200:
        raise failure("nested-too-deeply", "the mapping is nested more than 200 deep, or holds itself", path)
    if value is None or isinstance(value, bool | int | float | str):
        return value if value is None or type(value) in (bool, int, float, str) else _base(value)
    if isinstance(value, list | tuple):
        return [_plain_only(item, f"{path}[{number}]", depth + 1) for number, item in enumerate(value)]
    if isinstance(value, AnyMapping):
        result = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise failure("invalid-key", f"a key is a text, not `{short(repr(key))}`", path)
            result[str(key)] = _plain_only(item, f"{path}.{key}" if path else key, depth + 1)
        return result
    raise failure(
        "invalid-type",
        f"a value of type `{type(value).__name__}` cannot stand in a file",
        path,
        help="use None, bool, int, float, str, list or dict",
    )


def _base(value: Any) -> Any:
    """A subclass of a plain type (an enum, a numpy float) as the plain type itself."""
    return next(kind(value) for kind in (bool, int, float, str) if isinstance(value, kind))
