"""A client of a language server over stdio, as an editor is one: requests with answers, diagnostics as they come."""

from __future__ import annotations

import itertools
import json
import queue
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

__all__ = ["Client", "Place"]

Place = tuple[int, int]
"""A line and a column, both counted from 0."""


class Client:
    """One session with a server: started on entering, ended on leaving.

    `settings` answers the server's questions about the editor's configuration, section by section.
    """

    def __init__(self, command: Sequence[str], settings: Mapping[str, Any], timeout: float = 60) -> None:
        self.command, self.settings, self.timeout = command, settings, timeout
        self._numbers = itertools.count(1)
        self._came: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._answers: dict[int, dict[str, Any]] = {}
        self._diagnostics: dict[str, list[dict[str, Any]]] = {}
        self._versions: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._server = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._to_server: IO[bytes] = self._server.stdin
        self._reader = threading.Thread(target=self._read, args=(self._server.stdout,), daemon=True)
        self._reader.start()
        self.request(
            "initialize",
            {
                "processId": None,
                "rootUri": None,
                "capabilities": {
                    "workspace": {"configuration": True},
                    "textDocument": {
                        "hover": {"contentFormat": ["markdown"]},
                        "completion": {
                            "completionItem": {"snippetSupport": True, "documentationFormat": ["markdown", "plaintext"]}
                        },
                    },
                },
            },
        )
        self.notify("initialized", {})
        self.notify("workspace/didChangeConfiguration", {"settings": dict(self.settings)})
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                self.request("shutdown", None)
                self.notify("exit", None)
                self._server.wait(10)
        finally:
            self._server.kill()
            self._server.wait()
            self._reader.join(10)
            for stream in (self._to_server, self._server.stdout):
                if stream is not None:
                    stream.close()

    # --- what an editor does ------------------------------------------------------------------------------------------

    def open(self, path: Path, text: str) -> list[dict[str, Any]]:
        """Show a file, which need not exist, with this text; its diagnostics."""
        uri = path.as_uri()
        version = self._versions[uri] = self._versions.get(uri, 0) + 1
        self._diagnostics.pop(uri, None)
        if version == 1:
            document = {"uri": uri, "languageId": "yaml", "version": version, "text": text}
            self.notify("textDocument/didOpen", {"textDocument": document})
        else:
            changed = {"uri": uri, "version": version}
            self.notify("textDocument/didChange", {"textDocument": changed, "contentChanges": [{"text": text}]})
        while uri not in self._diagnostics:
            self._wait()
        return self._diagnostics[uri]

    def complete(self, path: Path, place: Place) -> list[dict[str, Any]]:
        """What the editor offers at a place."""
        answer = self._at("textDocument/completion", path, place)
        items: list[dict[str, Any]] = answer["items"] if isinstance(answer, dict) else answer or []
        return items

    def hover(self, path: Path, place: Place) -> str:
        """What the editor shows under the mouse; empty where it has nothing to say."""
        answer = self._at("textDocument/hover", path, place)
        return str(answer["contents"]["value"]) if answer else ""

    def _at(self, method: str, path: Path, place: Place) -> Any:
        position = {"line": place[0], "character": place[1]}
        return self.request(method, {"textDocument": {"uri": path.as_uri()}, "position": position})

    # --- the protocol -------------------------------------------------------------------------------------------------

    def request(self, method: str, params: Any) -> Any:
        """The answer to a request. Raises RuntimeError where the server refuses it, TimeoutError where none comes."""
        number = next(self._numbers)
        self._send({"id": number, "method": method, "params": params})
        while number not in self._answers:
            self._wait()
        answer = self._answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer.get("result")

    def notify(self, method: str, params: Any) -> None:
        """Tell the server something."""
        self._send({"method": method, "params": params})

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._to_server.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._to_server.flush()

    def _wait(self) -> None:
        """Take one message of the server."""
        try:
            message = self._came.get(timeout=self.timeout)
        except queue.Empty:
            raise TimeoutError("the language server does not answer") from None
        if message is None:
            raise RuntimeError("the language server has ended")
        if "method" not in message:
            self._answers[message["id"]] = message
        elif "id" in message:
            self._send({"id": message["id"], "result": self._told(message)})
        elif message["method"] == "textDocument/publishDiagnostics":
            self._diagnostics[message["params"]["uri"]] = message["params"]["diagnostics"]

    def _told(self, message: dict[str, Any]) -> Any:
        """Our answer to a request of the server."""
        if message["method"] == "workspace/configuration":
            return [self.settings.get(item.get("section", ""), {}) for item in message["params"]["items"]]
        return None

    def _read(self, stream: IO[bytes]) -> None:
        while True:
            length = 0
            while (line := stream.readline().strip()) != b"" or length == 0:
                if not line:
                    self._came.put(None)
                    return
                if line.lower().startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            self._came.put(json.loads(stream.read(length)))
