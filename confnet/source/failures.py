"""Mistakes that end the reading of a text, in confnet's own words."""

from __future__ import annotations

from confnet.diagnostics import Collector, ConfnetError, Note, Span

__all__ = ["explain", "failure", "short"]


def failure(
    code: str,
    message: str,
    name: str,
    span: Span | None = None,
    *,
    text: str | None = None,
    help: str = "",
    notes: tuple[Note, ...] = (),
) -> ConfnetError:
    found = Collector()
    found.add(code, message, span, help=help, notes=notes, path="" if span else name)
    return ConfnetError(found.sorted(), {} if text is None else {name: text})


def explain(problem: str, line: str, column: int) -> tuple[str, str, str]:
    """Code, message and help for a syntax error of either parser (libyaml and PyYAML word them differently)."""
    problem = problem.lower()
    character = line[column : column + 1]
    if "\t" in line[: column + 1] and ("tab" in problem or character == "\t" or not line[:column].strip()):
        return "yaml-tab", "a tab cannot indent YAML", "use spaces"
    if "mapping values" in problem:
        return (
            "yaml-syntax",
            "`: ` begins a mapping, and none can begin here",
            "quote the value, or write it as a block below `|`; or mend the indentation",
        )
    if "alias" in problem and "$(" in line[:column]:
        help = "quote the whole value: YAML takes `[` and `*` in it for its own"
        return "yaml-syntax", "`*` begins an alias in YAML", help
    if "alias" in problem:
        return "yaml-syntax", "`*` begins an alias in YAML", 'quote a text that begins with `*`: `"*.conv"`'
    if "quoted scalar" in problem and "end of" in problem:
        return "yaml-syntax", "this quoted text is not closed", f"write {character or 'the quote'} at its end"
    if "quoted scalar" in problem:
        return (
            "yaml-syntax",
            "this quoted text holds a wrong escape",
            "write `\\\\` for a backslash, or use single quotes",
        )
    if "cannot start any token" in problem and character and character in "|>":
        return (
            "yaml-syntax",
            f"a `{character}` block cannot stand inside `{{ }}` or `[ ]`",
            "write the mapping or list around it on lines of its own",
        )
    if "cannot start any token" in problem:
        return "yaml-syntax", f"`{character}` cannot begin a value", f"quote a text that begins with `{character}`"
    if "flow" in problem:
        return (
            "yaml-syntax",
            "`,` or a closing bracket is expected here",
            "close the bracket; inside `{ }` and `[ ]` quote every value that holds `,`, `[`, `{` or `: `",
        )
    if "could not find expected ':'" in problem:
        return "yaml-syntax", "a key without `:`", "write `key: value`; a space follows the colon"
    if character and character in "}],":
        return (
            "yaml-syntax",
            f"`{character}` closes nothing here",
            "write `key: value`; a space follows the colon, and brackets come in pairs",
        )
    if "block collection" in problem or "block mapping" in problem or "block sequence" in problem:
        return "yaml-syntax", "this line does not fit the indentation above it", "align it with its siblings"
    if "anchor" in problem:
        return "yaml-syntax", "`&` begins an anchor in YAML", "quote a text that begins with `&`"
    if "block scalar" in problem:
        return (
            "yaml-syntax",
            "this block text begins wrongly",
            "write `|` alone, then the text, indented, on the next lines",
        )
    return "yaml-syntax", "this is not well-formed YAML", ""


def short(text: str, width: int = 60) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
