"""Where the values of a parameter came from: what `confnet.init_report` tells."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["InitOrigin", "WeightOrigin"]


@dataclass(frozen=True, slots=True)
class InitOrigin:
    """What set a parameter: an initialiser or a registered function, as a place of the file says."""

    initializer: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class WeightOrigin:
    """What a parameter was loaded from: a file (`<weights>` for a mapping) and the key that it has there.

    The key is None where a hook of the model, or torch for a counter that old checkpoints lack, made the value.
    """

    file: str
    key: str | None
