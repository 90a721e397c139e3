"""The places of a model that a state dict fills, and modules that only take what stands under their names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

__all__ = ["Slot", "computed_of", "loads_plainly", "own_state", "slots_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """A place of a parameter or persistent buffer: its name in the state dict, and where it is kept."""

    name: str
    module: nn.Module
    key: str
    tensor: torch.Tensor

    def put(self, tensor: torch.Tensor) -> None:
        """Put another tensor there, of the same kind."""
        if isinstance(self.module, nn.RNNBase):
            setattr(self.module, self.key, tensor)  # which keeps a list of its parameters by this
        elif isinstance(tensor, nn.Parameter):
            self.module._parameters[self.key] = tensor
        else:
            self.module._buffers[self.key] = tensor


def slots_of(root: nn.Module) -> Iterator[Slot]:
    """All places of a model, under each of their names."""
    for path, module in root.named_modules(remove_duplicate=False):
        for key, tensor in own_state(module):
            yield Slot(f"{path}.{key}" if path else key, module, key, tensor)


def own_state(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """What a module itself has in the state dict."""
    for name, parameter in module._parameters.items():
        if parameter is not None:
            yield name, parameter
    for name, buffer in module._buffers.items():
        if buffer is not None and name not in module._non_persistent_buffers_set:
            yield name, buffer


def computed_of(root: nn.Module) -> Iterator[str]:
    """The names of the buffers that are not in a state dict."""
    for path, module in root.named_modules(remove_duplicate=False):
        for name in module._non_persistent_buffers_set:
            yield f"{path}.{name}" if path else name


def loads_plainly(module: nn.Module) -> bool:
    """Whether a module takes tensors from a state dict by their names, and does nothing else with it."""
    cls: Any = type(module)
    return (
        cls._load_from_state_dict in _PLAIN_LOADS
        and cls.load_state_dict is nn.Module.load_state_dict
        and cls.set_extra_state is nn.Module.set_extra_state
        and not module._load_state_dict_pre_hooks
        and not module._load_state_dict_post_hooks
    )


# A norm's own makes a counter that old checkpoints lack: where all names are there, it has nothing to do.
_PLAIN_LOADS = (nn.Module._load_from_state_dict, _NormBase._load_from_state_dict)
