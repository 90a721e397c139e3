"""The requests and notifications of the protocol, handed to the server. A fault is logged, and ends nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from lsprotocol import types as lsp

from confnet.lsp import converting
from confnet.lsp.server import Server

__all__ = ["made", "serve"]

log = logging.getLogger(__name__)

T = TypeVar("T")


def _guarded(run: Callable[[], T]) -> T | None:
    """The answer to a request, None where confnet fails: that is logged, and the editor goes on."""
    try:
        return run()
    except Exception:
        log.exception("a request failed")
        return None


def made(plugins: Sequence[str] = (), shapes: bool = True) -> Server:
    """A server with its features."""
    server = Server(plugins, shapes)

    @server.feature(lsp.INITIALIZED)
    async def initialized(params: lsp.InitializedParams) -> None:
        server.structure.start()
        if server.shapes is not None:
            server.shapes.start()

    @server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    async def opened(params: lsp.DidOpenTextDocumentParams) -> None:
        item = params.text_document
        _guarded(lambda: server.open(item.uri, item.language_id, item.version, item.text))

    @server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
    async def changed(params: lsp.DidChangeTextDocumentParams) -> None:
        item = params.text_document
        source = server.workspace.get_text_document(item.uri).source
        _guarded(lambda: server.change(item.uri, item.version, source))

    @server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    async def closed(params: lsp.DidCloseTextDocumentParams) -> None:
        _guarded(lambda: server.close(params.text_document.uri))

    @server.feature(lsp.TEXT_DOCUMENT_DID_SAVE)
    async def saved(params: lsp.DidSaveTextDocumentParams) -> None:
        """Files on the disk may be others now, which open documents include."""
        for document in list(server.documents.values()):
            if document.uri != params.text_document.uri:
                document.changed.set()

    @server.feature(lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    async def watched(params: lsp.DidChangeWatchedFilesParams) -> None:
        paths = {converting.path_of(event.uri) for event in params.changes}
        for document in list(server.documents.values()):
            if document.structure is None or paths & set(document.structure.files):
                document.changed.set()

    options = lsp.CompletionOptions(trigger_characters=[".", "$", "(", "{", "[", " ", ":", "-"], resolve_provider=True)

    @server.feature(lsp.TEXT_DOCUMENT_COMPLETION, options)
    def completion(params: lsp.CompletionParams) -> lsp.CompletionList | None:
        return _guarded(lambda: server.completions(params.text_document.uri, params.position))

    @server.feature(lsp.COMPLETION_ITEM_RESOLVE)
    def resolve(item: lsp.CompletionItem) -> lsp.CompletionItem:
        return _guarded(lambda: server.resolved(item)) or item

    @server.feature(lsp.TEXT_DOCUMENT_HOVER)
    def hover(params: lsp.HoverParams) -> lsp.Hover | None:
        return _guarded(lambda: server.hovered(params.text_document.uri, params.position))

    @server.feature(lsp.TEXT_DOCUMENT_DEFINITION)
    def definition(params: lsp.DefinitionParams) -> lsp.Location | None:
        return _guarded(lambda: server.defined(params.text_document.uri, params.position))

    @server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    def symbol(params: lsp.DocumentSymbolParams) -> list[lsp.DocumentSymbol] | None:
        return _guarded(lambda: server.symbols(params.text_document.uri))

    @server.feature(lsp.TEXT_DOCUMENT_INLAY_HINT)
    def inlay(params: lsp.InlayHintParams) -> list[lsp.InlayHint] | None:
        return _guarded(lambda: server.hints(params.text_document.uri, params.range))

    actions = lsp.CodeActionOptions(code_action_kinds=[lsp.CodeActionKind.QuickFix])

    @server.feature(lsp.TEXT_DOCUMENT_CODE_ACTION, actions)
    def action(params: lsp.CodeActionParams) -> list[lsp.CodeAction] | None:
        return _guarded(lambda: server.actions(params.text_document.uri, params.range, params.context))

    @server.feature(lsp.SHUTDOWN)
    def shutdown(params: None) -> None:
        server.stop()

    return server


def serve(plugins: Sequence[str] = (), shapes: bool = True) -> None:
    """Serve an editor over standard input and output until it goes."""
    server = made(plugins, shapes)
    try:
        server.start_io()
    finally:
        server.stop()
