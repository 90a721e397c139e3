"""The server itself: what an editor tells it, and what it answers. Faults are logged, and end nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer

import confnet
from confnet.diagnostics import Diagnostic
from confnet.limits import DEFAULT_LIMITS
from confnet.lsp import converting
from confnet.lsp.answers import Answer, Job
from confnet.lsp.code_completion import code_items
from confnet.lsp.completion import Completer, Item
from confnet.lsp.cursor import Cursor, Target, cursor_at, target_at
from confnet.lsp.documents import Content, Document, Files, is_confnet, texts_of
from confnet.lsp.hover import Hoverer
from confnet.lsp.navigation import definition_of, hints, symbols
from confnet.lsp.positions import Text
from confnet.lsp.workers import Worker

__all__ = ["Server"]

log = logging.getLogger(__name__)

QUIET = 0.5
"""Seconds after the last change before shapes are looked at."""
STRUCTURE_SECONDS, SHAPES_SECONDS = 60.0, 120.0


class Server(LanguageServer):
    """The documents that are open, and the processes that check them."""

    def __init__(self, plugins: Sequence[str] = (), shapes: bool = True) -> None:
        super().__init__("confnet", confnet.__version__)
        self.documents: dict[str, Document] = {}
        self.followers: dict[str, asyncio.Task[None]] = {}
        self.shaping: dict[str, asyncio.Task[None]] = {}
        self.files = Files(self.opened)
        self.structure = Worker(plugins, STRUCTURE_SECONDS)
        self.shapes = Worker(plugins, SHAPES_SECONDS) if shapes else None
        self.items: list[Item] = []

    # --- documents ------------------------------------------------------------------------------------------------

    @property
    def encoding(self) -> str:
        """How the editor counts columns."""
        return str(getattr(self.workspace.position_encoding, "value", self.workspace.position_encoding) or "utf-16")

    def opened(self, path: str) -> Document | None:
        """The document of a path, if it is open."""
        return next((each for each in self.documents.values() if each.path == path), None)

    def uri_of(self, file: str, document: Document) -> str:
        """The URI of a file that belongs to a document: of one that is open, as the editor writes it."""
        found = self.opened(file)
        return found.uri if found is not None else converting.uri_of(file, document.uri)

    def document(self, uri: str) -> Document | None:
        """An open document of confnet's."""
        found = self.documents.get(uri)
        if found is None or found.too_large or not is_confnet(found.content.text.text, found.language):
            return None
        return found

    def open(self, uri: str, language: str, version: int, text: str) -> None:
        """A document was opened."""
        path = converting.path_of(uri)
        content = Content(path or "<text>", text, self.encoding)
        document = self.documents[uri] = Document(uri, path, language, version, content)
        self.followers[uri] = asyncio.create_task(self.follow(document))
        self.touch(document)

    def change(self, uri: str, version: int, text: str) -> None:
        """A document has another text."""
        document = self.documents.get(uri)
        if document is not None:
            document.replaced(text, version, self.encoding)
            self.touch(document)

    def close(self, uri: str) -> None:
        """A document was closed: nothing is shown for it any more."""
        document = self.documents.pop(uri, None)
        for tasks in (self.followers, self.shaping):
            task = tasks.pop(uri, None)
            if task is not None:
                task.cancel()
        if document is not None:
            shown = set(document.published)
            document.published = {}
            self.send({uri, *shown})
            self.touch_users(document)

    def touch(self, document: Document) -> None:
        """Check a document again, and those that include it."""
        document.changed.set()
        self.touch_users(document)

    def touch_users(self, document: Document) -> None:
        for other in self.documents.values():
            answer = other.structure
            if other is not document and answer is not None and document.path in answer.files:
                other.changed.set()

    # --- checking -------------------------------------------------------------------------------------------------

    async def follow(self, document: Document) -> None:
        """Check a document after every change, as long as it is open."""
        while True:
            await document.changed.wait()
            document.changed.clear()
            try:
                await self.check(document)
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("checking %s failed", document.uri)

    async def check(self, document: Document) -> None:
        """The structure of a document now, its shapes when it has been quiet for a while."""
        waiting = self.shaping.pop(document.uri, None)
        if waiting is not None:
            waiting.cancel()
        content = document.content
        if document.too_large:
            found = Diagnostic("file-too-large", f"the file is larger than {DEFAULT_LIMITS.file_bytes:,} bytes")
            document.structure, document.checked, document.shapes = Answer((found,)), content, None
        elif not is_confnet(content.text.text, document.language):
            document.structure = document.shapes = None
        else:
            answer = await self.structure.ask(self.job("structure", document))
            if answer is not None:
                document.structure, document.checked = answer, content
                document.texts.update(texts_of(answer.sources, self.encoding))
        self.publish(document)
        if document.structure is not None and self.shapes is not None and not self.has_errors(document):
            self.shaping[document.uri] = asyncio.create_task(self.shape(document, self.shapes))

    def has_errors(self, document: Document) -> bool:
        answer = document.structure
        return answer is not None and any(each.severity == "error" for each in answer.diagnostics)

    async def shape(self, document: Document, worker: Worker) -> None:
        """The shapes of a document, and of the names in its code."""
        await asyncio.sleep(QUIET)
        content = document.content
        answer = await worker.ask(self.job("shapes", document))
        if answer is None or self.documents.get(document.uri) is not document:
            return
        document.shapes, document.shaped = answer, content
        document.locals = ()
        document.texts.update(texts_of(answer.sources, self.encoding))
        self.publish(document)
        self.refresh()
        if document.content is content:
            found = await worker.ask(self.job("locals", document))
            if found is not None and document.shaped is content:
                document.locals = found.locals

    def job(self, kind: Any, document: Document) -> Job:
        others = {
            other.path: other.content.text.text
            for other in self.documents.values()
            if other.path is not None and other is not document and not other.too_large
        }
        return Job(kind, document.path, document.content.text.text, others)

    def refresh(self) -> None:
        """Ask the editor for its inlay hints again, if it can be asked."""
        workspace = self.client_capabilities.workspace
        if workspace is not None and workspace.inlay_hint is not None and workspace.inlay_hint.refresh_support:
            self.workspace_inlay_hint_refresh(None)

    # --- diagnostics ----------------------------------------------------------------------------------------------

    def publish(self, document: Document) -> None:
        """Show what is known of a document, in it and in the files that it includes."""
        before = set(document.published)
        document.published = {document.uri: []}
        if document.structure is not None:
            for found in document.diagnostics():
                uri = self.uri_of(found.span.file, document) if found.span is not None else document.uri
                document.published.setdefault(uri, []).append(found)
        self.send(before | set(document.published))

    def send(self, uris: Iterable[str]) -> None:
        for uri in uris:
            shown: dict[tuple[Any, ...], lsp.Diagnostic] = {}
            for document in self.documents.values():
                for found in document.published.get(uri, ()):
                    key = (found.code, found.message, found.span)
                    shown.setdefault(key, self.converted(found, document))
            own = self.documents.get(uri)
            version = own.version if own is not None else None
            self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, list(shown.values()), version))

    def converted(self, found: Diagnostic, document: Document) -> lsp.Diagnostic:
        texts = self.texts(document)
        return converting.diagnostic(found, texts, lambda file: self.uri_of(file, document), self.has_links)

    def texts(self, document: Document) -> dict[str, Text]:
        """The texts that the diagnostics of a document point into."""
        return {**document.texts, document.name: document.content.text}

    @property
    def has_links(self) -> bool:
        """Whether the editor shows the places of notes."""
        capabilities = self.client_capabilities.text_document
        published = capabilities.publish_diagnostics if capabilities is not None else None
        return published is not None and bool(published.related_information)

    # --- requests -------------------------------------------------------------------------------------------------

    def cursor(self, document: Document, position: lsp.Position) -> Cursor:
        """What is written at a position."""
        text = document.content.text
        line, column = text.from_editor(position.line, position.character)
        return cursor_at(text, line, column, document.content.outline)

    def target(self, document: Document, position: lsp.Position) -> Target | None:
        """The word at a position."""
        text = document.content.text
        line, column = text.from_editor(position.line, position.character)
        return target_at(text, line, column, document.content.outline)

    def completions(self, uri: str, position: lsp.Position) -> lsp.CompletionList | None:
        """What may be written at a position."""
        document = self.documents.get(uri)
        if document is None or document.too_large:
            return None
        if self.document(uri) is None and document.content.text.text.strip() not in ("", *_BEGINNINGS):
            return None
        cursor = self.cursor(document, position)
        names = self.files.names(document)
        if cursor.slot == "code":
            found = code_items(cursor, names)
        else:
            found = Completer(names, document.folder, self.has_snippets).items(cursor)
        self.items = found
        text = document.content.text
        items = [converting.completion_item(item, cursor, text, place) for place, item in enumerate(found)]
        return lsp.CompletionList(is_incomplete=False, items=items)

    @property
    def has_snippets(self) -> bool:
        capabilities = self.client_capabilities.text_document
        completion = capabilities.completion if capabilities is not None else None
        item = completion.completion_item if completion is not None else None
        return item is not None and bool(item.snippet_support)

    def resolved(self, item: lsp.CompletionItem) -> lsp.CompletionItem:
        """An item of the last answer with its documentation."""
        place = item.data
        if isinstance(place, int) and 0 <= place < len(self.items) and self.items[place].label == item.label:
            about = self.items[place].about
            if about is not None:
                item.documentation = lsp.MarkupContent(lsp.MarkupKind.Markdown, about())
        return item

    def hovered(self, uri: str, position: lsp.Position) -> lsp.Hover | None:
        """What is said of the word at a position."""
        document = self.document(uri)
        target = self.target(document, position) if document is not None else None
        if document is None or target is None:
            return None
        summary = document.shapes.summary if document.shapes is not None else ()
        hoverer = Hoverer(self.files.names(document), document.values(), document.names_shapes(), summary)
        said = hoverer.text(target)
        if not said:
            return None
        place = converting.range_of(document.content.text, target.line, target.column, target.line, target.end)
        return lsp.Hover(lsp.MarkupContent(lsp.MarkupKind.Markdown, said), place)

    def defined(self, uri: str, position: lsp.Position) -> lsp.Location | None:
        """Where the word at a position is defined."""
        document = self.document(uri)
        target = self.target(document, position) if document is not None else None
        if document is None or target is None:
            return None
        found = definition_of(target, self.files.names(document))
        if found is None:
            return None
        other = self.opened(found.file.name)
        text = other.content.text if other is not None else Text("\n".join(found.file.outline.lines), self.encoding)
        place = converting.range_of(text, found.line, found.column, found.line, found.end)
        return lsp.Location(self.uri_of(found.file.name, document), place)

    def symbols(self, uri: str) -> list[lsp.DocumentSymbol] | None:
        """What a document is made of."""
        document = self.document(uri)
        if document is None:
            return None
        return [converting.symbol(each, document.content.text) for each in symbols(self.files.names(document))]

    def hints(self, uri: str, wanted: lsp.Range) -> list[lsp.InlayHint] | None:
        """The shapes at the ends of lines."""
        document = self.document(uri)
        if document is None:
            return None
        text = document.content.text
        first, _ = text.from_editor(wanted.start.line, 0)
        last, _ = text.from_editor(wanted.end.line, 0)
        own = [seen for seen in document.values() if seen.span.file == document.name]
        found = []
        for hint in hints(text.lines, own, first, last):
            place = converting.position(text, hint.line, len(text.line(hint.line).rstrip()))
            found.append(lsp.InlayHint(place, hint.text, kind=lsp.InlayHintKind.Type, padding_left=True))
        return found

    def actions(self, uri: str, wanted: lsp.Range, context: lsp.CodeActionContext) -> list[lsp.CodeAction] | None:
        """The edits that diagnostics at a place have for themselves."""
        if context.only and lsp.CodeActionKind.QuickFix not in context.only:
            return None
        found = []
        for document in self.documents.values():
            for each in document.published.get(uri, ()):
                shown = self.converted(each, document)
                if each.fix is None or not _meet(shown.range, wanted):
                    continue
                text = self.texts(document).get(each.fix.span.file)
                if text is None:
                    continue
                place = converting.range_of_span(text, each.fix.span)
                where = self.uri_of(each.fix.span.file, document)
                edit = lsp.WorkspaceEdit(changes={where: [lsp.TextEdit(place, each.fix.text)]})
                title = f"Write `{each.fix.text}`" if each.fix.text else "Remove it"
                found.append(lsp.CodeAction(title, lsp.CodeActionKind.QuickFix, [shown], edit=edit, is_preferred=True))
        return found

    def stop(self) -> None:
        """End what was started."""
        for task in (*self.followers.values(), *self.shaping.values()):
            task.cancel()
        for worker in (self.structure, self.shapes):
            if worker is not None:
                worker.end()


_BEGINNINGS = ("c", "co", "con", "conf", "confn", "confne", "confnet")


def _meet(one: lsp.Range, other: lsp.Range) -> bool:
    """Whether two ranges have a place in common."""
    start, end = (one.start.line, one.start.character), (one.end.line, one.end.character)
    return start <= (other.end.line, other.end.character) and (other.start.line, other.start.character) <= end
