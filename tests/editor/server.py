"""yaml-language-server as an editor starts it, where `npm ci` in this folder has installed it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.editor.client import Client

__all__ = ["MODELINE", "missing", "session"]

FOLDER: Final = Path(__file__).parent
SERVER: Final = FOLDER / "node_modules/yaml-language-server/bin/yaml-language-server"
MODELINE: Final = "# yaml-language-server: $schema=../../schemas/confnet.schema.json\n"
"""For a text that is shown as a file of this folder."""

_SETTINGS: Final[Mapping[str, Any]] = {
    "yaml": {
        "validate": True,
        "hover": True,
        "completion": True,
        "hoverSchemaSource": False,  # where the schema lies differs from machine to machine
        "schemaStore": {"enable": False},  # no network
    },
    "http": {"proxy": "", "proxyStrictSSL": False},
}


def missing() -> str:
    """Why there is no server here; empty where there is one."""
    if shutil.which("node") is None:
        return "node is not installed"
    return "" if SERVER.exists() else "yaml-language-server is not installed: run `npm ci` in tests/editor"


def session() -> Client:
    """A session with the server, to be entered."""
    return Client(("node", str(SERVER), "--stdio"), _SETTINGS)
