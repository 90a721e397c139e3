"""Python's garbage collector, out of the way while much is made that is kept."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["uncollected"]


@contextmanager
def uncollected() -> Iterator[None]:
    """Within it, no garbage is looked for: the collector goes through all that torch holds again and again.

    What is no longer referred to is freed as ever; only cycles wait. Whoever makes many of them collects by hand.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
