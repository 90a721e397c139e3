"""Graphviz, where it is installed: the program `dot` makes SVG and PNG of a text."""

from __future__ import annotations

import shutil
import subprocess
from typing import Final

__all__ = ["GraphvizError", "run_dot"]

_PATIENCE: Final = 300
"""Seconds that `dot` may take."""
_RESOLUTION: Final = "110"


class GraphvizError(Exception):
    """`dot` is not there, or did not do its work."""


def run_dot(text: str, form: str) -> bytes:
    """What `dot` makes of a text: `svg` or `png`. Raises GraphvizError."""
    program = shutil.which("dot")
    if program is None:
        raise GraphvizError("graphviz is not installed: install its program `dot`, or use `-o model.html`")
    command = [program, f"-T{form}", *([f"-Gdpi={_RESOLUTION}"] if form == "png" else [])]
    try:
        done = subprocess.run(command, input=text.encode("utf-8"), capture_output=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise GraphvizError(
            "graphviz takes too long for so many boxes: use `-o model.html`, or a smaller --depth"
        ) from None
    except OSError as error:
        raise GraphvizError(f"graphviz cannot be started: {error.strerror or error}") from error
    if done.returncode != 0:
        reason = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise GraphvizError(f"graphviz failed: {reason[-1] if reason else f'exit code {done.returncode}'}")
    return done.stdout
