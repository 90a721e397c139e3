"""What the standard streams can show: colour, lines of a tree, and how long something takes."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from types import TracebackType
from typing import Any

__all__ = ["Progress", "draws_lines", "use_color", "width"]

PATIENCE = 1.0
"""So many seconds pass before a step is told of."""


def use_color() -> bool:
    """Whether the standard output is a terminal that shows colour, and its user wants that."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width() -> int | None:
    """The columns of the terminal; None where the output goes to a file or another program."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def draws_lines() -> bool:
    """Whether the encoding of the standard output has the lines that a tree is drawn with."""
    try:
        "├└│─·".encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True


class Progress:
    """Tells on the error stream, if that is a terminal, what is being done, once it takes more than a second."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.timer: threading.Timer | None = None
        self.status: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def step(self, text: str) -> None:
        """Something else is being done from now on."""
        if not sys.stderr.isatty():
            return
        self.stop()
        self.timer = threading.Timer(PATIENCE, self.show, [text])
        self.timer.daemon = True
        self.timer.start()

    def show(self, text: str) -> None:
        """Show what is being done, if it still is."""
        from rich.console import Console
        from rich.live import Live
        from rich.spinner import Spinner

        with self.lock:
            if self.timer is threading.current_thread():
                # The streams are left alone: the main thread may have replaced them for a while.
                options: dict[str, Any] = {"redirect_stdout": False, "redirect_stderr": False}
                spinner = Spinner("dots", f"{text} ...")
                self.status = Live(spinner, console=Console(stderr=True), transient=True, **options)
                self.status.start()

    def stop(self) -> None:
        """Nothing is being done any more."""
        with self.lock:
            if self.timer is not None:
                self.timer.cancel()
            if self.status is not None:
                self.status.stop()
            self.timer = self.status = None
