"""Where the values of a parameter came from: what `confnet.init_report` tells."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

__all__ = ["ORIGINS", "InitOrigin", "WeightOrigin", "init_report"]

ORIGINS = "_confnet_inits"


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


def init_report(model: nn.Module) -> dict[str, InitOrigin | WeightOrigin | None]:
    """What set each parameter of a built model, by its first name in `named_parameters`; None is torch's default.

    Raises TypeError for a module that is not the root of a build.
    """
    if ORIGINS not in getattr(model, "__dict__", {}):
        raise TypeError(f"`{type(model).__name__}` is not the root of a model that confnet built")
    return {name: model.__dict__[ORIGINS].get(name) for name, _ in model.named_parameters()}
