"""What torch's layers put into their parameters when they are made, as data that draws from a given generator.

A layer's `reset_parameters` draws from torch's global generator, so that every layer moves the values of the next.
Here each parameter's distribution stands alone. Formulas are those of `torch/nn/modules/*.py` (pages:
https://docs.pytorch.org/docs/stable/nn.html), computed in the same order, so that the same stream gives the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.rnn import RNNBase, RNNCellBase
from torch.nn.parameter import is_lazy

from confnet.builder.initializers import (
    Constant,
    Initializer,
    Normal,
    Uniform,
    kaiming_uniform,
    xavier_normal,
    xavier_uniform,
)

__all__ = ["Slot", "copies_of", "default_initializer", "defaults_of", "is_known", "own_defaults", "reset_buffers"]

Slot = tuple[nn.Module, str]
"""The place of a parameter: the module that holds it, and its name there."""

Reset = Callable[[Any], dict[Slot, Initializer]]
"""What the constructor of one layer sets, by slot: it may reach into the layers inside."""


def default_initializer(module: nn.Module, name: str) -> Initializer | None:
    """What the constructor of a layer puts into its own parameter `name`; None where that is not known.

    Layers that hold this one may have set it anew (`MultiheadAttention`, `Transformer`): `defaults_of` tells.
    The answer is of the construction: a parametrization, or a tie to a tensor of another size, does not change it.
    """
    own = own_defaults(module)
    return None if own is None else own.get((module, name))


def defaults_of(root: nn.Module) -> dict[Slot, Initializer]:
    """The initialiser that finally counts of each parameter below `root`, as constructors run: inner before outer.

    A slot is missing where nobody but a real construction knows: a class that is neither of torch nor made from a
    definition, all that is inside of it (its constructor may have set that), and parameters that a definition declares.
    """
    found: dict[Slot, Initializer] = {}
    pending: list[tuple[nn.Module, bool]] = [(root, False)]
    seen: set[nn.Module] = set()
    while pending:
        module, entered = pending.pop()
        if not entered:
            if module in seen:
                continue
            seen.add(module)
            pending.append((module, True))
            pending.extend((child, False) for child in reversed(list(module.children())))
            continue
        own = own_defaults(module)
        if own is None:
            for slot in _slots(module):
                found.pop(slot, None)
        else:
            found.update((slot, initializer) for slot, initializer in own.items() if slot[1] in slot[0]._parameters)
    return found


def own_defaults(module: nn.Module) -> dict[Slot, Initializer] | None:
    """What the constructor of one module sets by itself, in its own parameters and in those of modules inside it.

    What the constructors of its children set is theirs to tell. None is a module of which nothing is known.
    """
    reset = _reset_of(type(module))
    return None if reset is None else reset(module)


def is_known(cls: type[nn.Module]) -> bool:
    """Whether all that the constructor of a class puts into tensors is told here."""
    return _reset_of(cls) is not None


def copies_of(root: nn.Module) -> dict[Slot, Slot]:
    """The parameters that begin as a copy of another, with that other.

    `TransformerEncoder` and `TransformerDecoder` copy one layer, values included; an initialiser that draws both from
    one stream gives both the same bits. What an outer `Transformer` draws anew is no copy.
    """
    found: dict[Slot, Slot] = {}
    for module in root.modules():
        if isinstance(module, nn.TransformerEncoder | nn.TransformerDecoder) and _reset_of(type(module)) is not None:
            first, *others = module.layers
            originals = list(_slots(first))
            for other in others:
                for slot, original in zip(_slots(other), originals, strict=True):
                    found.setdefault(slot, original)
    for module in root.modules():
        if isinstance(module, nn.Transformer) and _reset_of(type(module)) is not None:
            for slot in _transformer(module):
                found.pop(slot, None)
    return {slot: _first(slot, found) for slot in found}


def reset_buffers(module: nn.Module) -> tuple[str, ...]:
    """Give a module's own buffers the values that its constructor gives them, and return the names of those it cannot.

    These are the buffers of unknown classes, those that a definition declares, and those that are arguments (the class
    weights of a loss). Buffers on meta and lazy ones have no values to set.
    """
    values: Mapping[str, float] = {}
    if isinstance(module, _NormBase) and _reset_of(type(module)) is not None:
        values = _RUNNING_STATS
    left = []
    with torch.no_grad():
        for name, buffer in module._buffers.items():
            if buffer is None:
                continue
            if name not in values:
                left.append(name)
            elif not is_lazy(buffer):
                buffer.fill_(values[name])
    return tuple(left)


_RUNNING_STATS: Mapping[str, float] = {"running_mean": 0, "running_var": 1, "num_batches_tracked": 0}


# --- what each layer sets ------------------------------------------------------------------------------------------


def _own(module: nn.Module, **initializers: Initializer) -> dict[Slot, Initializer]:
    """Slots of a module, without those that it registers as None or does not fill yet."""
    return {
        (module, name): initializer
        for name, initializer in initializers.items()
        if not (name in module._parameters and _absent(module._parameters[name]))
    }


def _absent(parameter: nn.Parameter | None) -> bool:
    return parameter is None or is_lazy(parameter)


def _by_fan_in(module: nn.Module, fan_in: int) -> dict[Slot, Initializer]:
    """`kaiming_uniform_(weight, a=sqrt(5))`, which is U(-1/sqrt(fan_in), 1/sqrt(fan_in)), and the same for the bias."""
    if fan_in <= 0:  # torch leaves the empty weight and zeroes the bias
        return _own(module, weight=Uniform(0.0, 0.0), bias=Uniform(0.0, 0.0))
    bound = 1 / math.sqrt(fan_in)
    return _own(module, weight=kaiming_uniform(fan_in, math.sqrt(5)), bias=Uniform(-bound, bound))


def _linear(module: nn.Linear) -> dict[Slot, Initializer]:
    """https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html: U(-sqrt(k), sqrt(k)), k = 1/in_features."""
    return _by_fan_in(module, module.in_features)


def _conv(module: _ConvNd) -> dict[Slot, Initializer]:
    """https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html: k = groups / (in_channels * kernel sizes).

    The fan of a transposed convolution counts `out_channels`, because its weight is stored the other way round.
    """
    channels = module.out_channels if module.transposed else module.in_channels
    return _by_fan_in(module, channels // module.groups * math.prod(module.kernel_size))


def _bilinear(module: nn.Bilinear) -> dict[Slot, Initializer]:
    """https://docs.pytorch.org/docs/stable/generated/torch.nn.Bilinear.html: k = 1/in1_features, for both."""
    bound = 1 / math.sqrt(module.in1_features)
    return _own(module, weight=Uniform(-bound, bound), bias=Uniform(-bound, bound))


def _embedding(module: nn.Embedding | nn.EmbeddingBag) -> dict[Slot, Initializer]:
    """https://docs.pytorch.org/docs/stable/generated/torch.nn.Embedding.html: N(0, 1), the row of padding zero."""
    return _own(module, weight=Normal(zero_row=module.padding_idx))


def _ones_and_zeros(module: nn.Module) -> dict[Slot, Initializer]:
    """All normalisations: "the elements of gamma are set to 1 and the elements of beta are set to 0".

    https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html
    """
    return _own(module, weight=Constant(1.0), bias=Constant(0.0))


def _rms_norm(module: nn.RMSNorm) -> dict[Slot, Initializer]:
    """https://docs.pytorch.org/docs/stable/generated/torch.nn.RMSNorm.html: a weight of ones, no bias."""
    return _own(module, weight=Constant(1.0))


def _prelu(module: nn.PReLU) -> dict[Slot, Initializer]:
    """https://docs.pytorch.org/docs/stable/generated/torch.nn.PReLU.html: the argument `init`."""
    return _own(module, weight=Constant(module.init))


def _recurrent(module: RNNBase) -> dict[Slot, Initializer]:
    """https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html: U(-sqrt(k), sqrt(k)), k = 1/hidden_size."""
    bound = 1.0 / math.sqrt(module.hidden_size)
    return _own(module, **dict.fromkeys(module._flat_weights_names, Uniform(-bound, bound)))


def _cell(module: RNNCellBase) -> dict[Slot, Initializer]:
    """https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTMCell.html: as the layers."""
    bound = 1.0 / math.sqrt(module.hidden_size) if module.hidden_size > 0 else 0.0
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return _own(module, **dict.fromkeys(names, Uniform(-bound, bound)))


def _attention(module: nn.MultiheadAttention) -> dict[Slot, Initializer]:
    """`MultiheadAttention._reset_parameters` in torch/nn/modules/activation.py: xavier, and biases of zero.

    That of `out_proj` is set to zero too, over the default of a Linear; its weight keeps that default.
    """
    width = module.embed_dim
    if module._qkv_same_embed_dim:
        found = _own(module, in_proj_weight=xavier_uniform((3 * width, width)))
    else:
        found = _own(
            module,
            q_proj_weight=xavier_uniform((width, width)),
            k_proj_weight=xavier_uniform((width, module.kdim)),
            v_proj_weight=xavier_uniform((width, module.vdim)),
        )
    found |= _own(module, in_proj_bias=Constant(0.0))
    if (module, "in_proj_bias") in found:
        found |= _own(module.out_proj, bias=Constant(0.0))
    if module.bias_k is not None:
        found |= _own(module, bias_k=xavier_normal((1, 1, width)), bias_v=xavier_normal((1, 1, width)))
    return found


def _transformer(module: nn.Transformer) -> dict[Slot, Initializer]:
    """`Transformer._reset_parameters` in torch/nn/modules/transformer.py: xavier_uniform_ for every parameter inside
    that has more than one dimension, whatever layer it is of."""
    found: dict[Slot, Initializer] = {}
    for inner, name in _slots(module):
        parameter = inner._parameters[name]
        if not _absent(parameter) and parameter is not None and parameter.dim() > 1:
            found[inner, name] = xavier_uniform(parameter.shape)
    return found


def _nothing(module: nn.Module) -> dict[Slot, Initializer]:
    return {}


_RESETS: Mapping[type[nn.Module], Reset] = {
    nn.Linear: _linear,
    nn.Bilinear: _bilinear,
    _ConvNd: _conv,
    nn.Embedding: _embedding,
    nn.EmbeddingBag: _embedding,
    _NormBase: _ones_and_zeros,
    nn.LayerNorm: _ones_and_zeros,
    nn.GroupNorm: _ones_and_zeros,
    nn.RMSNorm: _rms_norm,
    nn.PReLU: _prelu,
    RNNBase: _recurrent,
    RNNCellBase: _cell,
    nn.MultiheadAttention: _attention,
    nn.Transformer: _transformer,
    nn.AdaptiveLogSoftmaxWithLoss: _nothing,  # its `reset_parameters` calls those of its Linear layers
}

_RESET_METHODS = ("reset_parameters", "_reset_parameters")
_FOUND: WeakKeyDictionary[type[nn.Module], Reset | None] = WeakKeyDictionary()


def _reset_of(cls: type[nn.Module]) -> Reset | None:
    """What is known of a class; None for one whose constructor may set what nothing here knows of."""
    if cls not in _FOUND:
        _FOUND[cls] = _look_up(cls)
    return _FOUND[cls]


def _look_up(cls: type[nn.Module]) -> Reset | None:
    bases = cls.__mro__[: cls.__mro__.index(nn.Module)]
    if not all(_known(base) for base in bases):
        return None
    for base in bases:
        if base in _RESETS:
            return _RESETS[base]
        if any(method in base.__dict__ for method in _RESET_METHODS) and not _lazy(base):
            return None
    return _nothing  # its own parameters, if it has any, are a file's or a caller's to initialise


def _lazy(cls: type) -> bool:
    """Whether a class is the lazy form of another, which it leaves to `reset_parameters` of that one."""
    return issubclass(cls, nn.modules.lazy.LazyModuleMixin)


def _known(cls: type) -> bool:
    """Whether a class is of torch, or made from a definition, which adds no constructor of its own."""
    if cls.__module__.split(".")[:2] == ["torch", "nn"]:
        return True
    return cls.__module__ == "confnet.models" and not any(method in cls.__dict__ for method in _RESET_METHODS)


def _slots(module: nn.Module) -> Iterator[Slot]:
    """Each place of a parameter in a module and in what is inside it."""
    for inner in module.modules():
        yield from ((inner, name) for name, parameter in inner._parameters.items() if parameter is not None)


def _first(slot: Slot, copies: Mapping[Slot, Slot]) -> Slot:
    """The original of a copy of copies."""
    while slot in copies:
        slot = copies[slot]
    return slot
