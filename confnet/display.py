"""How notebooks show specs and built models: the base of the house names who does it, which is loaded when asked."""

from __future__ import annotations

import importlib

__all__ = ["shown"]

_HOME = "confnet.notebook"


def shown(what: str, subject: object) -> str | None:
    """The HTML of a `spec` or `model`; None, for which notebooks show the text, where anything is in the way.

    It is called to look at something, so that nothing may come of it but what is seen: no error, no change.
    """
    try:
        text = getattr(importlib.import_module(_HOME), f"{what}_html")(subject)
    except Exception:
        return None
    return str(text)
