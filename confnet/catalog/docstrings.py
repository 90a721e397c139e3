"""Docstrings as plain text: torch's own (reST with Google sections), and those of registered Python.

What comes out has no roles and no directives; code and formulas stand in backticks.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Final

__all__ = ["arguments", "inline", "reference", "summary"]


def summary(text: str) -> str:
    """The first paragraph of prose, as one line of plain text; empty if there is none."""
    for block in _blocks(_without_signature(_clean(text))):
        if not _is_prose(block):
            continue
        said = _MORE.sub("", _closed(inline(" ".join(_BULLET.sub("", line).strip() for line in block))))
        if said:
            return said
    return ""


def arguments(text: str) -> dict[str, str]:
    """What the docstring says of each argument, as one line of plain text: Google's, NumPy's or reST's form."""
    lines = _clean(text).splitlines()
    found: dict[str, str] = {}
    for item in (*_google_items(lines), *_numpy_items(lines), *_field_items(lines)):
        for names, said in _entries(item):
            for name in names:
                found.setdefault(name, said)
    return {name: said for name, said in found.items() if said}


_SEE: Final = re.compile(
    r"(?:(?:In-?place|Out-of-place) version of|Alias (?:of|for)|See) `(?P<name>[\w.]+)`"
    r"(?: for (?:more details|details|function description))?\.?"
)


def reference(text: str) -> str:
    """The name that a summary sends its reader to, if that is all it says ("See `torch.add`"); else empty."""
    match = _SEE.fullmatch(text.strip())
    return match["name"] if match else ""


# --- paragraphs ---------------------------------------------------------------------------------------------------

_SECTION: Final = re.compile(
    r"(?:Args?|Arguments?|Parameters?|Keyword [Aa]rg(?:ument)?s|Other Parameters|Returns?|Yields?|Raises|Shape|Inputs?"
    r"|Outputs?|Attributes|Examples?|Notes?|Warnings?|Variables|References?|See Also|Equation)\s*::?.*"
)
_BULLET: Final = re.compile(r"^[-*] +")
_MORE: Final = re.compile(r"(?<=\.) See `[\w.]+` for (?:more )?(?:details|information)(?: and output shape)?\.$")
_UNDERLINE: Final = re.compile(r"\s*([-=~^\"'])\1{2,}\s*")


def _clean(text: str) -> str:
    """A docstring without the indentation of its source; a section on the first line keeps what is below it."""
    first = text.partition("\n")[0].strip()
    return inspect.cleandoc(f"\n{text}" if _SECTION.fullmatch(first) else text)


def _without_signature(text: str) -> str:
    """A text without the signature that it begins with, as those of compiled functions do."""
    if re.match(r"[\w.]+\s*\(", text) is None:
        return text
    depth = 0
    for at, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == ")" and depth == 0:
            line, _, rest = text[at + 1 :].partition("\n")
            return rest if re.fullmatch(r"\s*(?:->.*)?:?\s*", line) else text
    return text


def _blocks(text: str) -> Iterator[list[str]]:
    """The paragraphs of a text, without what is indented below a directive or a section's heading."""
    block: list[str] = []
    hidden = False
    for line in [*text.splitlines(), ""]:
        indented = line[:1].isspace()
        if hidden and (indented or not line.strip()):
            continue
        hidden = False
        if line.strip() and not line.startswith(".. ") and not (_SECTION.fullmatch(line) and not block):
            block.append(line)
            continue
        if block:
            yield block
        block = []
        hidden = bool(line.strip())


def _is_prose(block: list[str]) -> bool:
    """Whether a paragraph tells something: no field, table, doctest or underlined heading."""
    return not block[0].lstrip().startswith((":param", ">>>", "|", "+-", "@")) and not any(
        _UNDERLINE.fullmatch(line) for line in block
    )


def _closed(text: str) -> str:
    """A paragraph that leads to a formula below it, without the sentence or clause that does."""
    if not text.endswith(":"):
        return text
    sentences = re.split(r"(?<=[.!?]) (?=[A-Z`])", text)
    return " ".join(sentences[:-1]) if len(sentences) > 1 else text.rstrip(":") + "."


# --- sections of arguments ----------------------------------------------------------------------------------------

_GOOGLE: Final = re.compile(r"(?:Args?|Arguments?|Parameters?|Keyword [Aa]rg(?:ument)?s|Options)\s*:")
_NUMPY: Final = re.compile(r"(?:Parameters|Other Parameters|Arguments)\s*")
_FIELD: Final = re.compile(r":(?:param|parameter|arg|argument|key|keyword)\s+(?:[^:]*\s)?(\*{0,2}\w+):\s*(.*)")
_NAMES: Final = r"(?:\*{0,2}`{0,2}\w+`{0,2})(?:\s*(?:,|/|and)\s*`{0,2}\w+`{0,2})*"
_ENTRY: Final = re.compile(
    rf"(?:[*-]\s+)?({_NAMES})\s*(?:\((?:[^()]|\([^()]*\))*\))?\s*(?::|\s--?|\s\u2013)(?!:)\s*(.*)"
)


def _google_items(lines: list[str]) -> Iterator[list[str]]:
    for at, line in enumerate(lines):
        if _GOOGLE.fullmatch(line.strip()) and not _underlined(lines, at):
            margin = _indent(line)
            body: list[str] = []
            for later in lines[at + 1 :]:
                if later.strip() and _indent(later) <= margin:
                    break
                body.append(later)
            yield from _items(body)


def _items(body: list[str]) -> Iterator[list[str]]:
    """The entries of a section: each begins at the section's own margin."""
    margin = min((_indent(line) for line in body if line.strip()), default=0)
    item: list[str] = []
    for line in body:
        if line.strip() and _indent(line) == margin:
            if item:
                yield item
            item = []
        item.append(line)
    if any(line.strip() for line in item):
        yield item


def _numpy_items(lines: list[str]) -> Iterator[list[str]]:
    """Entries as NumPy writes them, `name : type` above an indented text, turned into `name: text`."""
    for at, line in enumerate(lines):
        if not (_NUMPY.fullmatch(line.strip()) and _underlined(lines, at)):
            continue
        body: list[str] = []
        for number in range(at + 2, len(lines)):
            if _underlined(lines, number):
                break
            body.append(lines[number])
        for head, *rest in _items(body):
            yield [f"{head.partition(':')[0].strip()}:", *rest]


def _field_items(lines: list[str]) -> Iterator[list[str]]:
    for at, line in enumerate(lines):
        match = _FIELD.fullmatch(line.strip())
        if match is None:
            continue
        rest = lines[at + 1 :]
        end = next((n for n, later in enumerate(rest) if _indent(later) <= _indent(line) or not later.strip()), None)
        yield [f"{match[1]}: {match[2]}", *rest[:end]]


def _entries(item: list[str]) -> Iterator[tuple[list[str], str]]:
    """The names that an entry is about and the first paragraph of what it says."""
    text = [item[0].strip()]
    for line in item[1:]:
        stripped = line.strip()
        if text[-1] and (not stripped or stripped.startswith((".. ", "* ", "- ", ">>>"))):
            break
        text.append(stripped)
    match = _ENTRY.fullmatch(" ".join(filter(None, text)))
    if match is not None:
        names = [name.strip("*` ") for name in re.split(r",|/|\band\b", match[1])]
        yield names, _closed(inline(match[2]))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _underlined(lines: list[str], at: int) -> bool:
    return at + 1 < len(lines) and bool(lines[at].strip()) and _UNDERLINE.fullmatch(lines[at + 1]) is not None


# --- inside a line ------------------------------------------------------------------------------------------------

_INLINE: Final = re.compile(
    r":math:`(?P<math>[^`]*)`"
    r"|:(?:ref|doc|numref):`(?P<link>[^`<]*?)\s*(?:<[^`]*>)?`"
    r"|:(?:\w+:)?\w+:`(?P<code>[^`]*)`"
    r"|``(?P<literal>.+?)``"
    r"|`(?P<title>[^`<]+?)\s*<(?P<target>[^`>]*)>`__?"
    r"|`(?P<anchor>[^`]+)`__?(?!\w)"
    r"|`(?P<plain>[^`]+)`"
    r"|\*\*(?P<bold>[^*\s][^*]*)\*\*"
    r"|(?<=`)\\(?P<suffix>\w)"
    r"|\\(?P<escaped>[\s_*`\\])"
)


def inline(text: str) -> str:
    """One line of reST as plain text: code and formulas in backticks, links by their words."""
    text = re.sub(r"`\\ `+", " ", text.replace("\n", " "))  # `dim`\ `= None`: one piece of code in two
    text = _INLINE.sub(_replacement, text)
    return " ".join(text.split())


def _replacement(match: re.Match[str]) -> str:
    kind, value = match.lastgroup, match[match.lastgroup or 0]
    if kind == "target":
        return match["title"].strip()
    if kind == "math":
        return f"`{plain_math(value)}`"
    if kind == "code":
        return f"`{_role_text(value)}`"
    if kind == "literal":
        return f"`{value.replace('`', '').strip()}`"
    if kind == "link":
        return value.strip().rpartition("/")[2]
    if kind == "plain":
        text = plain_math(value) if "\\" in value else value.strip().lstrip("~")
        return f"`{text}`"
    return value.strip()


def _role_text(value: str) -> str:
    """What Sphinx shows for a role: the title of `title <target>`, the last part of `~a.b`."""
    titled = re.fullmatch(r"(.+?)\s*<.*>", value, re.DOTALL)
    if titled is not None:
        return titled[1]
    if value.startswith("~"):
        return value.lstrip("~").rpartition(".")[2]
    return plain_math(value) if "\\" in value else value.removesuffix("()").lstrip("!.")


_WORDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("left", "right", "big", "Big", "bigg", "quad", "qquad", "limits", "displaystyle"), ""),
    **dict.fromkeys(("times", "cdot", "ast", "star", "odot"), " * "),
    **dict.fromkeys(("le", "leq"), " <= "),
    **dict.fromkeys(("ge", "geq"), " >= "),
    **dict.fromkeys(("ne", "neq", "not="), " != "),
    **dict.fromkeys(("ldots", "dots", "cdots"), "..."),
    **dict.fromkeys(("to", "rightarrow", "mapsto"), " -> "),
    **dict.fromkeys(("lVert", "rVert", "|", "Vert"), "||"),
    **dict.fromkeys(("lvert", "rvert", "vert"), "|"),
    "infty": "inf",
    "lfloor": "floor(",
    "rfloor": ")",
    "lceil": "ceil(",
    "rceil": ")",
    "sim": " ~ ",
    "in": " in ",
    "approx": " ~= ",
    "pm": " +- ",
    "sum": "sum",
    "mid": " | ",
    "top": "T",
    "varepsilon": "eps",
    "epsilon": "eps",
}


def plain_math(tex: str) -> str:
    """A formula of TeX in the signs that a keyboard has, as far as that goes."""
    text = tex.replace(r"\_", "_")
    text = re.sub(r"\\(?:text|mathrm|mathcal|mathbf|mathbb|mathit|operatorname|bm|texttt)\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\\(?:mathcal|mathbb|mathrm)\s*(\w)", r"\1", text)
    for _ in range(4):  # from the innermost out
        text = re.sub(r"([_^])\{(\w+)\}", r"\1\2", text)
        text = re.sub(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", _fraction, text)
        text = re.sub(r"\\sqrt\s*\{([^{}]*)\}", r"sqrt(\1)", text)
        text = re.sub(r"([_^])\{([^{}]*)\}", r"\1(\2)", text)
        text = re.sub(r"\\(?:text|mathrm|hat|bar|tilde|overline)\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\\([A-Za-z]+|\|)", lambda match: _WORDS.get(match[1], match[1]), text)
    text = re.sub(r"(?<!\\)[{}]", "", text)
    text = re.sub(r"\\[,;:! ]|~", " ", text).replace("\\", "")
    return re.sub(r"\s+([,)\]])", r"\1", re.sub(r"([(\[])\s+", r"\1", " ".join(text.split())))


def _fraction(match: re.Match[str]) -> str:
    return " / ".join(part if re.fullmatch(r"[\w.]+", part) else f"({part})" for part in match.groups())
