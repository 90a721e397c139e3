"""A spec written out: every arg, include, variant, `repeat`, `when` and `auto` settled, and a file again."""

from confnet.resolved.documents import resolved

__all__ = ["resolved"]
