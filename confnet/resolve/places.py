"""Where a module stands while a document is resolved: what it sees, and how deep it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from confnet.diagnostics import Span
from confnet.loading import Unit
from confnet.plan import Origin
from confnet.records import dataclass
from confnet.spec.models import BodySpec, DefinitionSpec
from confnet.values import Names, Values

__all__ = ["NO_BODY", "Place", "Reports", "Scope", "TooLarge"]

NO_BODY = BodySpec(span=Span("", 1, 1, 1, 1))


@dataclass(eq=False)
class Scope:
    """What the modules of one file see: its definitions (own and included) and its args and constants."""

    unit: Unit
    definitions: dict[str, tuple[DefinitionSpec, Scope]] = field(default_factory=dict)
    names: Names = field(default_factory=Names)
    usable: bool = True  # whether what the file requires of its args holds


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where a module stands: its file's scope, the names in force, and how deep in definitions it is."""

    scope: Scope
    names: Names
    depth: int = 0

    def with_names(self, own: Mapping[str, object], origins: Mapping[str, Origin] | None = None) -> Place:
        """The same place with further names."""
        return Place(self.scope, self.names.with_names(own, origins), self.depth) if own else self


class Reports:
    """What reads a part of a spec at a place, and reports the mistakes in it."""

    values: Values

    def error(
        self, code: str, message: str, span: Span | None, place: Place, *, help: str = "", fix: str | None = None
    ) -> None:
        """Report a mistake, with the chain of places that led here; `fix` takes the place of what stands at `span`."""
        self.values.error(code, message, span, place.names, help=help, fix=fix)


class TooLarge(Exception):
    """The spec expands to more modules than the limit; reported already."""
