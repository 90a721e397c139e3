"""A small editor: it starts `confnet lsp` and talks to it over standard input and output."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

__all__ = ["Client", "marked"]


class Client:
    """One session. Answers to requests come in order; notifications are kept until somebody asks for them."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        capabilities: dict[str, Any] | None = None,
        encodings: list[str] | None = None,
    ) -> None:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
        self.folder = folder
        self.errors = (folder / "stderr.log").open("w+")
        self.path = folder / "stderr.log"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "confnet", "lsp", *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, cwd=folder, env=environment,
        )  # fmt: skip
        self.messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.kept: list[dict[str, Any]] = []
        self.number = 0
        self.versions: dict[str, int] = {}
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        asked = capabilities if capabilities is not None else FULL
        if encodings:
            asked = {**asked, "general": {"positionEncodings": encodings}}
        self.capabilities = self.request(
            "initialize", {"processId": os.getpid(), "rootUri": folder.as_uri(), "capabilities": asked}
        )["capabilities"]
        self.notify("initialized", {})

    # --- messages -------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        stream = self.process.stdout
        assert stream is not None
        while True:
            length = 0
            while line := stream.readline().strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            if not length:
                self.messages.put(None)
                return
            self.messages.put(json.loads(stream.read(length)))

    def send(self, message: dict[str, Any]) -> None:
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
        self.process.stdin.flush()

    def notify(self, method: str, params: Any) -> None:
        self.send({"method": method, "params": params})

    def request(self, method: str, params: Any, seconds: float = 60) -> Any:
        """The result of a request. Raises AssertionError for an error, or when none comes."""
        self.number += 1
        self.send({"id": self.number, "method": method, "params": params})
        end = time.monotonic() + seconds
        while True:
            message = self._next(end)
            if message.get("id") == self.number and "method" not in message:
                assert "error" not in message, message["error"]
                return message["result"]
            self._keep(message)

    def _next(self, end: float) -> dict[str, Any]:
        try:
            message = self.messages.get(timeout=max(end - time.monotonic(), 0.01))
        except queue.Empty:
            raise AssertionError(f"no answer; {self.log()}") from None
        assert message is not None, f"the server ended; {self.log()}"
        return message

    def _keep(self, message: dict[str, Any]) -> None:
        if "id" in message and "method" in message:  # a request of the server
            self.send({"id": message["id"], "result": None})
        self.kept.append(message)

    def log(self) -> str:
        """What the server wrote to standard error."""
        return self.path.read_text(encoding="utf-8")

    # --- documents ------------------------------------------------------------------------------------------------

    def uri(self, name: str) -> str:
        return name if ":" in name else (self.folder / name).as_uri()

    def open(self, name: str, text: str, language: str = "yaml") -> str:
        uri = self.uri(name)
        self.versions[uri] = 1
        item = {"uri": uri, "languageId": language, "version": 1, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": item})
        return uri

    def change(self, name: str, text: str) -> None:
        self.edit(name, [{"text": text}])

    def edit(self, name: str, changes: list[dict[str, Any]]) -> None:
        uri = self.uri(name)
        self.versions[uri] += 1
        document = {"uri": uri, "version": self.versions[uri]}
        self.notify("textDocument/didChange", {"textDocument": document, "contentChanges": changes})

    def diagnostics(self, name: str, seconds: float = 60, until: int | None = None) -> list[dict[str, Any]]:
        """The next diagnostics that are published for a file; with `until` the next that are so many."""
        uri, end = self.uri(name), time.monotonic() + seconds
        while True:
            for message in self.kept:
                if message.get("method") == "textDocument/publishDiagnostics" and message["params"]["uri"] == uri:
                    self.kept.remove(message)
                    found: list[dict[str, Any]] = message["params"]["diagnostics"]
                    if until is None or len(found) == until:
                        return found
                    break
            else:
                self._keep(self._next(end))

    def wait_for(self, method: str, seconds: float = 60) -> dict[str, Any]:
        """The next message of a kind."""
        end = time.monotonic() + seconds
        while True:
            for message in self.kept:
                if message.get("method") == method:
                    self.kept.remove(message)
                    return message
            self._keep(self._next(end))

    def at(self, method: str, name: str, line: int, character: int, **more: Any) -> Any:
        """The answer to a request about a position."""
        params = {"textDocument": {"uri": self.uri(name)}, "position": {"line": line, "character": character}, **more}
        return self.request(f"textDocument/{method}", params)

    def forget(self) -> None:
        """Close every document, and drop what came: the next test begins anew."""
        for uri in self.versions:
            self.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
        self.versions.clear()
        self.request("textDocument/documentSymbol", {"textDocument": {"uri": "untitled:none"}})
        self.kept.clear()

    def close(self) -> None:
        """End the session as an editor does."""
        try:
            if self.process.poll() is None:
                self.request("shutdown", None)
                self.notify("exit", None)
                self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()
            self.reader.join(20)
            for stream in (self.process.stdin, self.process.stdout, self.errors):
                assert stream is not None
                stream.close()


FULL: dict[str, Any] = {
    "textDocument": {
        "completion": {"completionItem": {"snippetSupport": True}},
        "publishDiagnostics": {"relatedInformation": True},
    },
    "workspace": {"inlayHint": {"refreshSupport": True}},
}


def marked(text: str) -> tuple[str, int, int]:
    """A text without its mark `@|@`, and the line and character (UTF-16) where it stood."""
    before, _, after = text.partition("@|@")
    line = before.rpartition("\n")[2]
    return before + after, before.count("\n"), len(line.encode("utf-16-le")) // 2
