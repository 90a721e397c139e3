"""How the modules of one construction are made: really, or on meta, and where in the model it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from confnet.builder.pending import Pending
from confnet.builder.templates import Templates

__all__ = ["Making"]


@dataclass(eq=False)
class Making:
    """A construction with `templates` is lean: modules are made on meta, where their values are `pending`, if they are
    to have any. `path` are the names down to the module that is being made."""

    pending: Pending | None
    templates: Templates | None
    path: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name in the model of the module that is being made."""
        return ".".join(self.path)

    def on_meta(self) -> AbstractContextManager[Any]:
        """Within it new tensors are on meta, where the construction is lean."""
        return nullcontext() if self.templates is None else torch.device("meta")

    @contextmanager
    def really(self) -> Iterator[None]:
        """Within it modules are made with their values at once."""
        assert self.pending is not None
        templates, self.templates = self.templates, None
        try:
            with torch.device(self.pending.drawn_on):
                yield
        finally:
            self.templates = templates

    def drawing(self, name: str = "") -> AbstractContextManager[None]:
        """Within it a value of the module that is being made is computed with random numbers of its own."""
        if self.pending is None:
            return nullcontext()
        return self.pending.drawing(f"{self.name}.{name}" if self.path and name else self.name or name)

    def values_on(self) -> torch.device | None:
        """Where a tensor of the file is made: it has its values from the beginning."""
        if self.pending is not None:
            return self.pending.drawn_on
        return None if self.templates is None else torch.device("meta")
