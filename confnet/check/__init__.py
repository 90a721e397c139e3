"""Wiring: what the code of a plan calls, reads and changes, checked by kind before torch is imported."""

from confnet.check.modules import check

__all__ = ["check"]
