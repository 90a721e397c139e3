"""Files written whole or not at all. Standard library only."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: str | os.PathLike[str], content: str | bytes, *, mode: int | None = None) -> None:
    """Write a file so that a reader, at any time, finds the old content or the new one, never a part.

    The content (a text in UTF-8) goes to a temporary file beside `path`, which is then renamed; what was there is
    replaced. The permissions are `mode`, or else those of any new file. Raises OSError.
    """
    data = content if isinstance(content, bytes) else content.encode("utf-8")
    temporary = Path(path).parent / f".confnet-{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    # Until it has its own permissions, a file that is to have any is nobody else's.
    handle = os.open(temporary, flags, 0o666 if mode is None else 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        if mode is not None:
            os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
