"""Bounds on what a file may ask for. The caller may change them, a file never (DESIGN 5)."""

from __future__ import annotations

from confnet.records import dataclass

__all__ = ["DEFAULT_LIMITS", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """`file_bytes` per file and of all files together, `nesting` of YAML collections, `nodes` of all files together
    after aliases are expanded, `modules` after `repeat`, `definition_depth` of definitions inside definitions, `files`
    reached by includes, `variants` of a file, `steps` of its `$` expressions (and a 32nd of them: layers and
    definitions that are worked out one by one), `code` in characters that are checked (once for each instance that
    differs), `parameters` of a model (elements, None: as many as there are)."""

    file_bytes: int = 10_000_000
    nesting: int = 100
    nodes: int = 100_000
    alias_nodes: int = 100_000
    modules: int = 100_000
    definition_depth: int = 64
    files: int = 100
    variants: int = 100
    steps: int = 400_000
    code: int = 250_000
    parameters: int | None = None


DEFAULT_LIMITS = Limits()
