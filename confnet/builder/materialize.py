"""A model on meta gets its values: those of a twin that is built from the same file."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from confnet.builder.construct import Built, Streams
from confnet.builder.hooks import retie
from confnet.builder.origins import ORIGINS
from confnet.builder.weights import REPORT

__all__ = ["give_values", "is_root", "streams_for"]


def streams_for(seed: int | None, seeding: str, device: torch.device | str | None) -> Streams | None:
    """The streams that `build` draws from: none for `torch`, and none are needed on meta.

    Without a seed, one of 64 bits is drawn from torch's global generator.
    """
    target = torch.get_default_device() if device is None else torch.device(device)
    if seeding == "torch" or target.type == "meta":
        return None
    if seed is None:
        seed = int(torch.randint(-(2**63), 2**63 - 1, (), device="cpu"))
    return Streams(seed, on_cpu=seeding == "cpu")


def is_root(model: nn.Module) -> bool:
    """Whether a module is what `build` returned, and not a part of it."""
    return ORIGINS in model.__dict__


def give_values(model: nn.Module, twin: Built) -> None:
    """Put the tensors of a twin into the places of a model that are on meta.

    What the caller changed since the build holds: dtypes, `requires_grad`, ties made or undone, hooks. Raises
    ValueError, before anything is changed, where a tensor on meta has no partner of its shape in the twin.
    """
    givers = dict(twin.module.named_modules(remove_duplicate=False))
    places = [(path, module) for path, module in model.named_modules(remove_duplicate=False)]
    for path, module in places:
        for name, tensor in _waiting(module):
            given = _tensor(givers.get(path), name)
            if given is None or (not is_lazy(given) and given.shape != tensor.shape):
                what = f"`{path}.{name}`" if path else f"`{name}`"
                raise ValueError(f"{what} is no tensor of the file that the model was built from")
    made: dict[int, torch.Tensor] = {}
    kept: list[torch.Tensor] = []
    used: set[int] = set()
    for path, module in places:
        for name, old in list(_waiting(module)):
            if id(old) not in made:
                given = _tensor(givers[path], name)
                assert given is not None
                made[id(old)] = _as(given, old, again=id(given) in used)
                used.add(id(given))
                kept.append(old)  # so that no other tensor gets its id
            setattr(module, name, made[id(old)])
    for module in model.modules():
        retie(module, ())  # hooks on parameters
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters()
    for note in (ORIGINS, REPORT):
        if note in twin.module.__dict__:
            model.__dict__[note] = twin.module.__dict__[note]


def _waiting(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of a module that are on meta, those included that only it knows of."""
    for table in (module._parameters, module._buffers, module.__dict__):
        for name, tensor in table.items():
            if isinstance(tensor, torch.Tensor) and tensor.is_meta:
                yield name, tensor


def _tensor(module: nn.Module | None, name: str) -> torch.Tensor | None:
    """The tensor that a module holds under a name."""
    tables = () if module is None else (module._parameters, module._buffers, module.__dict__)
    return next((table[name] for table in tables if isinstance(table.get(name), torch.Tensor)), None)


def _as(given: torch.Tensor, old: torch.Tensor, again: bool) -> torch.Tensor:
    """A tensor of the twin in place of one of the model; a copy of it, if it has a place already."""
    if is_lazy(given):
        return given
    tensor = given.detach().to(old.dtype)
    if again and tensor.data_ptr() == given.data_ptr():
        tensor = tensor.clone()
    return nn.Parameter(tensor, old.requires_grad) if isinstance(old, nn.Parameter) else tensor
