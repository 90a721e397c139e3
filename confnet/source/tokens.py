"""The tokens of a YAML text with their places, for what must keep comments and layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

__all__ = ["Token", "tokens_of"]

_Loader: Any = getattr(yaml, "CLoader", yaml.Loader)

_KINDS: dict[type, str] = {
    yaml.BlockMappingStartToken: "mapping",
    yaml.BlockSequenceStartToken: "sequence",
    yaml.BlockEndToken: "end",
    yaml.KeyToken: "key",
    yaml.ValueToken: "value",
    yaml.BlockEntryToken: "entry",
    yaml.FlowMappingStartToken: "open",
    yaml.FlowSequenceStartToken: "open",
    yaml.FlowMappingEndToken: "close",
    yaml.FlowSequenceEndToken: "close",
    yaml.FlowEntryToken: "comma",
    yaml.ScalarToken: "scalar",
    yaml.AnchorToken: "anchor",
    yaml.AliasToken: "alias",
    yaml.DocumentStartToken: "marker",
    yaml.DocumentEndToken: "marker",
    yaml.DirectiveToken: "marker",
}


@dataclass(frozen=True, slots=True)
class Token:
    """One token: its kind, and where it begins and ends (line and column from 0).

    `key`, `mapping`, `sequence` and `end` have no width, but for a key that is written with `?`. `style` and `value`
    are those of a scalar.
    """

    kind: str
    line: int
    column: int
    end_line: int
    end_column: int
    style: str = ""
    value: str = ""

    @property
    def is_wide(self) -> bool:
        """Whether something of it is written."""
        return (self.line, self.column) != (self.end_line, self.end_column) and self.kind not in (
            "mapping",
            "sequence",
            "end",
        )


def tokens_of(text: str) -> list[Token]:
    """The tokens of a text that `parse` takes, whose lines end with `\\n`."""
    loader = _Loader(text)
    found: list[Token] = []
    try:
        while loader.check_token():
            token = loader.get_token()
            kind = _KINDS.get(type(token))
            if kind is not None:
                begin, end = token.start_mark, token.end_mark
                style, value = getattr(token, "style", None) or "", getattr(token, "value", None) or ""
                found.append(
                    Token(
                        kind,
                        begin.line,
                        begin.column,
                        end.line,
                        end.column,
                        style if kind == "scalar" else "",
                        str(value) if kind == "scalar" else "",
                    )
                )
    finally:
        loader.dispose()
    return found
