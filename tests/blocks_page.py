"""The facts of docs/blocks.md: what each shipped definition is, takes and returns, taken from the specs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from confnet.blocks import block_names, block_text
from confnet.source import parse, plain

__all__ = ["PAGE", "definitions", "facts", "read_facts", "write_facts"]

PAGE = Path(__file__).resolve().parent.parent / "docs" / "blocks.md"

_BEGIN, _END = "<!-- {}: written by tests/test_blocks.py -->", "<!-- end of facts -->"
_SECTION = re.compile(r"^<!-- (\w+): written by tests/test_blocks\.py -->\n(.*?)^<!-- end of facts -->$", re.M | re.S)


def definitions() -> dict[str, dict[str, Any]]:
    """Every shipped definition as it is written, by its name, and under `file` the name of its file."""
    found: dict[str, dict[str, Any]] = {}
    for file in block_names():
        for name, body in plain(parse(block_text(file), file).root)["modules"].items():
            assert name not in found, f"`{name}` is defined in two files, which cannot be included together then"
            found[name] = {**body, "file": file}
    return found


def facts(body: dict[str, Any]) -> str:
    """What the page says of a definition, in Markdown."""
    lines = [_linked(body["description"]), ""]
    lines += [f"From `{body['file']}`. Takes {_contract(body['inputs'])}; returns {_contract(body['outputs'])}.", ""]
    lines += ["| arg | type | default | meaning |", "|---|---|---|---|"]
    lines += [_row(name, arg) for name, arg in body["args"].items()]
    for condition in body.get("require", {}):
        lines += ["", f"Requires `{condition.removeprefix('$').removeprefix('(').removesuffix(')')}`."]
    return "\n".join(lines) + "\n"


def _linked(description: str) -> str:
    text = " ".join(description.split())
    return re.sub(r"https://arxiv\.org/abs/([\d.]+\d)", r"[arXiv:\1](\g<0>)", text)


def _contract(values: Any) -> str:
    if isinstance(values, list):
        return ", ".join(f"`{name}`" for name in values)
    return ", ".join(_value(name, value) for name, value in values.items())


def _value(name: str, value: Any) -> str:
    if isinstance(value, dict):
        optional = ", optional" if "default" in value else ""
        return f"`{name}` `{_shape(value['shape'])}` ({value['dtype']}{optional})"
    return f"`{name}`" if value == "any" else f"`{name}` `{_shape(value)}`"


def _shape(sizes: list[Any]) -> str:
    return f"[{', '.join(map(str, sizes))}]"


def _row(name: str, arg: dict[str, Any]) -> str:
    default = "required" if "default" not in arg else f"`{_text(arg['default'])}`"
    bounds = [f"{sign} {arg[key]}" for key, sign in _SIGNS.items() if key in arg]
    meaning = [part for part in (arg.get("description", ""), ", ".join(bounds)) if part]
    kind = f"`{arg['type']}`" + (" or null" if arg.get("nullable") else "")
    return f"| `{name}` | {kind} | {default} | {'; '.join(meaning).replace('|', chr(92) + '|')} |"


_SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def _text(value: Any) -> str:
    """A default as YAML writes it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def read_facts(text: str) -> dict[str, str]:
    """The facts that a page has, by the name of the definition."""
    return dict(_SECTION.findall(text))


def write_facts() -> None:
    """Put the facts of today into the page, between the marks that it has."""
    known = definitions()

    def section(match: re.Match[str]) -> str:
        name = match[1]
        return f"{_BEGIN.format(name)}\n{facts(known[name])}{_END}"

    PAGE.write_text(_SECTION.sub(section, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
