"""Bounds on what a file may ask for. The caller may change them, a file never (DESIGN 5)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_LIMITS", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """`file_bytes` per file, `nesting` of YAML collections, `nodes` after aliases are expanded, `modules` after
    `repeat`, `definition_depth` of definitions inside definitions, `files` reached by includes."""

    file_bytes: int = 10_000_000
    nesting: int = 100
    nodes: int = 1_000_000
    alias_nodes: int = 100_000
    modules: int = 100_000
    definition_depth: int = 64
    files: int = 100


DEFAULT_LIMITS = Limits()
