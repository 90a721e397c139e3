"""The outcome of a comparison, as data. A is what was there before, B what is there now."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["Change", "CodeChange", "Detail", "Difference", "KeyChanges", "Model", "ShapeChange"]


@dataclass(frozen=True, slots=True)
class Detail:
    """One thing that a module says, before and after; None where it does not say it.

    `what` is `class`, `argument`, `constant`, or the key of the file that says it: `parameters`, `tie`, `hooks`, ...
    """

    what: str
    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """A module that is in one model only, has another name, or says something else.

    `path` is its name in A (in B for one that was added), `to` the other name of one that was renamed. `parameters`
    are those that it has more in B, all its own for one that was added or removed.
    """

    kind: Literal["added", "removed", "renamed", "changed"]
    path: str
    cls: str
    to: str = ""
    parameters: int = 0
    details: tuple[Detail, ...] = ()


@dataclass(frozen=True, slots=True)
class CodeChange:
    """Code of a class that differs, and the modules whose it is, by their names in B. None: there is no such code."""

    owner: str
    name: str
    before: str | None
    after: str | None
    places: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShapeChange:
    """A value whose shape differs: an input, what a module returns, or an output."""

    kind: Literal["input", "value", "output"]
    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class KeyChanges:
    """What `load_state_dict(strict=False)` of B would report of a checkpoint of A, in its order.

    `missing` and `unexpected` are its two lists; `mismatched` are the keys whose shapes differ, with both of them,
    about which it raises. `errors` are other reasons of the model not to load. `kept` keys fit. Of equal models this is
    not asked.
    """

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()
    errors: tuple[str, ...] = ()
    kept: int = 0

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.mismatched or self.errors)


@dataclass(frozen=True, slots=True)
class Model:
    """One side: what it is called, its class, its modules, parameters and elements of buffers."""

    label: str
    cls: str
    modules: int
    parameters: int
    trainable: int
    buffers: int


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between A and B. It is false where nothing does."""

    a: Model
    b: Model
    changes: tuple[Change, ...] = ()
    code: tuple[CodeChange, ...] = ()
    shapes: tuple[ShapeChange, ...] = ()
    keys: KeyChanges = field(default_factory=KeyChanges)
    unchecked: str = ""
    """Why shapes are not compared, if they are not."""

    def __bool__(self) -> bool:
        return bool(self.changes or self.code or self.shapes or self.keys)

    def as_data(self) -> dict[str, Any]:
        """The same as plain data, for JSON."""
        return {"different": bool(self), **asdict(self)}
