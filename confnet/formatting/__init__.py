"""Canonical formatting of files: the layout is one, every value and comment stays."""

from confnet.formatting.formatter import formatted

__all__ = ["formatted"]
