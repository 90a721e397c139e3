"""From confnet's data to that of the protocol."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path

from lsprotocol import types as lsp
from pygls import uris

from confnet.blocks import PREFIX
from confnet.diagnostics import Diagnostic, Span
from confnet.lsp.completion import Item
from confnet.lsp.cursor import Cursor
from confnet.lsp.navigation import Symbol
from confnet.lsp.positions import Text

__all__ = ["completion_item", "diagnostic", "path_of", "range_of", "symbol", "uri_of"]

_SEVERITIES = {
    "error": lsp.DiagnosticSeverity.Error,
    "warning": lsp.DiagnosticSeverity.Warning,
    "note": lsp.DiagnosticSeverity.Information,
}
_ITEM_KINDS = {
    "layer": lsp.CompletionItemKind.Class,
    "definition": lsp.CompletionItemKind.Class,
    "argument": lsp.CompletionItemKind.Property,
    "key": lsp.CompletionItemKind.Keyword,
    "value": lsp.CompletionItemKind.Value,
    "name": lsp.CompletionItemKind.Variable,
    "child": lsp.CompletionItemKind.Field,
    "function": lsp.CompletionItemKind.Function,
    "method": lsp.CompletionItemKind.Method,
    "file": lsp.CompletionItemKind.File,
    "module": lsp.CompletionItemKind.Module,
}
_SYMBOL_KINDS = {
    "definition": lsp.SymbolKind.Class,
    "module": lsp.SymbolKind.Field,
    "arg": lsp.SymbolKind.Variable,
    "value": lsp.SymbolKind.Constant,
    "input": lsp.SymbolKind.Variable,
    "parameter": lsp.SymbolKind.Property,
    "method": lsp.SymbolKind.Method,
    "section": lsp.SymbolKind.Namespace,
    "variant": lsp.SymbolKind.EnumMember,
}


def uri_of(file: str, own: str) -> str:
    """The URI of a file by the name that diagnostics give it; `own` is that of a text that is no file."""
    if file.startswith("<"):
        return own
    if file.startswith(PREFIX):
        return Path(str(files("confnet.blocks").joinpath(file.removeprefix(PREFIX)))).as_uri()
    return uris.from_fs_path(os.path.abspath(file)) or own


def path_of(uri: str) -> str | None:
    """The path of a document, None for one that is no file."""
    path = uris.to_fs_path(uri) if uri.startswith("file:") else None
    return path or None


def position(text: Text, line: int, column: int) -> lsp.Position:
    return lsp.Position(*text.to_editor(line, column))


def range_of(text: Text, line: int, column: int, end_line: int, end_column: int) -> lsp.Range:
    """A range of a text, by lines and columns from 0."""
    return lsp.Range(position(text, line, column), position(text, end_line, end_column))


def range_of_span(text: Text, span: Span) -> lsp.Range:
    """The range of a span. One that goes over lines is underlined on its first: the rest is what stands inside."""
    start = position(text, span.line - 1, span.column - 1)
    if span.end_line > span.line:
        return lsp.Range(start, position(text, span.line - 1, len(text.line(span.line - 1).rstrip())))
    return lsp.Range(start, position(text, span.end_line - 1, max(span.end_column, span.column) - 1))


def diagnostic(
    found: Diagnostic, texts: Mapping[str, Text], uri: Callable[[str], str], related: bool
) -> lsp.Diagnostic:
    """A diagnostic as an editor shows it, with the text that the command prints; `uri` gives that of a file.

    Notes with a place are links, or lines of the message where the editor has no such links (`related` False).
    """
    span = found.span
    lines = [found.message + (f" ({found.label})" if found.label else "")]
    links = []
    for note in found.notes:
        if note.span is None or not related:
            lines.append(f"note: {note.message}" + (f" at {note.span}" if note.span is not None else ""))
        else:
            where = lsp.Location(uri(note.span.file), range_of_span(_text(texts, note.span), note.span))
            links.append(lsp.DiagnosticRelatedInformation(where, note.message))
    if found.help:
        lines.append(f"help: {found.help}")
    place = (
        range_of_span(_text(texts, span), span)
        if span is not None
        else lsp.Range(lsp.Position(0, 0), lsp.Position(0, 0))
    )
    return lsp.Diagnostic(
        range=place,
        message="\n".join(lines),
        severity=_SEVERITIES[found.severity],
        code=found.code,
        source="confnet",
        related_information=links or None,
    )


def _text(texts: Mapping[str, Text], span: Span) -> Text:
    return texts.get(span.file) or Text("")


def completion_item(item: Item, cursor: Cursor, text: Text, number: int) -> lsp.CompletionItem:
    """An item that takes the place of the word at the cursor; `number` finds its documentation later."""
    end = cursor.column + len(cursor.word)
    place = range_of(text, cursor.line, cursor.column, cursor.line, end)
    return lsp.CompletionItem(
        label=item.label,
        kind=_ITEM_KINDS[item.kind],
        detail=item.detail or None,
        sort_text=f"{item.sort}{number:05}",
        filter_text=item.label,
        insert_text_format=lsp.InsertTextFormat.Snippet if item.snippet else lsp.InsertTextFormat.PlainText,
        text_edit=lsp.TextEdit(place, item.insert or item.label),
        data=number if item.about is not None else None,
    )


def symbol(found: Symbol, text: Text) -> lsp.DocumentSymbol:
    """A symbol with what it holds."""
    node = found.node
    name_end = node.key_end if not node.is_item else node.column + 1
    end_line = max(node.end_line, node.line)
    end = (
        len(text.line(end_line))
        if end_line > node.line or not node.in_flow
        else max(name_end, node.text_column + len(node.text))
    )
    return lsp.DocumentSymbol(
        name=found.name or "?",
        kind=_SYMBOL_KINDS[found.kind],
        detail=found.detail or None,
        range=range_of(text, node.line, node.column, end_line, end),
        selection_range=range_of(text, node.line, node.column, node.line, name_end),
        children=[symbol(child, text) for child in found.children] or None,
    )
