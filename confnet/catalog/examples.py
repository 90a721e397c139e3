"""One line of YAML for each layer, its required arguments filled with values that a person would write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from confnet.catalog.arguments import Argument
from confnet.catalog.layers import Layer
from confnet.catalog.types import Member, show

__all__ = ["example"]

# Arguments that a layer is of no use without, though none of them is required; and lines that no rule gives.
_WHOLE: Final[Mapping[str, str]] = {
    "Sequential": "Sequential: [{Linear: [784, 128]}, ReLU, {Linear: [128, 10]}]",
    "ModuleList": "ModuleList: [{Linear: [128, 128]}, {Linear: [128, 10]}]",
    "ModuleDict": "ModuleDict: {image: {Linear: [784, 128]}, text: {Linear: [300, 128]}}",
    "Softmax": "Softmax: {dim: -1}",
    "Softmin": "Softmin: {dim: -1}",
    "LogSoftmax": "LogSoftmax: {dim: -1}",
    "Upsample": "Upsample: {scale_factor: 2, mode: nearest}",
    "UpsamplingNearest2d": "UpsamplingNearest2d: {scale_factor: 2}",
    "UpsamplingBilinear2d": "UpsamplingBilinear2d: {scale_factor: 2}",
    "FractionalMaxPool2d": "FractionalMaxPool2d: {kernel_size: 3, output_ratio: [0.5, 0.5]}",
    "FractionalMaxPool3d": "FractionalMaxPool3d: {kernel_size: 3, output_ratio: [0.5, 0.5, 0.5]}",
    "Fold": "Fold: {output_size: [32, 32], kernel_size: 4, stride: 4}",
    "AdaptiveLogSoftmaxWithLoss": (
        "AdaptiveLogSoftmaxWithLoss: {in_features: 512, n_classes: 10000, cutoffs: [1000, 5000]}"
    ),
    "TransformerEncoder": (
        "TransformerEncoder: "
        "{encoder_layer: {TransformerEncoderLayer: {d_model: 512, nhead: 8, batch_first: true}}, num_layers: 6}"
    ),
    "TransformerDecoder": (
        "TransformerDecoder: "
        "{decoder_layer: {TransformerDecoderLayer: {d_model: 512, nhead: 8, batch_first: true}}, num_layers: 6}"
    ),
    "Transformer": "Transformer: {d_model: 512, nhead: 8, batch_first: true}",
}

_VALUES: Final[Mapping[str, object]] = {
    "in_channels": 3,
    "out_channels": 64,
    "kernel_size": 3,
    "in_features": 512,
    "out_features": 10,
    "in1_features": 128,
    "in2_features": 64,
    "num_features": 64,
    "num_channels": 64,
    "num_groups": 32,
    "num_classes": 10,
    "normalized_shape": 512,
    "size": 5,
    "num_embeddings": 10000,
    "embedding_dim": 512,
    "input_size": 128,
    "hidden_size": 256,
    "embed_dim": 512,
    "num_heads": 8,
    "d_model": 512,
    "nhead": 8,
    "num_layers": 2,
    "output_size": 1,
    "padding": 1,
    "value": 0.0,
    "threshold": 0.1,
    "norm_type": 2.0,
    "groups": 8,
    "upscale_factor": 2,
    "downscale_factor": 2,
    "dim": 1,
    "unflattened_size": [8, 8],
}


def example(layer: Layer) -> str:
    """The layer as a file would write it: a mapping on one line, with its required arguments."""
    if layer.cls is None and layer.name in _WHOLE:
        return _WHOLE[layer.name]
    given = {argument.name: _value(argument) for argument in layer.arguments if argument.required}
    return f"{layer.name}: {show(given, width=1000)}"


def _value(argument: Argument) -> object:
    """A value for an argument: the usual one of that name if its type and bounds allow it, else one of its type."""
    usual = _VALUES.get(argument.name)
    if usual is not None and argument.parsed.accepts(usual):
        return usual
    if argument.choices:
        return argument.choices[0]
    member = argument.parsed.members[0]
    return _least(argument) if member.name in ("int", "float") else _of(member)


def _least(argument: Argument) -> int | float:
    """The smallest whole number from 1 on, or what the bounds ask for."""
    number = 1.0
    if argument.ge is not None:
        number = max(number, argument.ge)
    if argument.gt is not None and number <= argument.gt:
        number = argument.gt + 1
    if (argument.le is not None and number > argument.le) or (argument.lt is not None and number >= argument.lt):
        number = _middle(argument)
    return int(number) if argument.parsed.has("int") else number


def _middle(argument: Argument) -> float:
    low = next((bound for bound in (argument.ge, argument.gt) if bound is not None), 0.0)
    high = next((bound for bound in (argument.le, argument.lt) if bound is not None), low + 1.0)
    return (low + high) / 2


def _of(member: Member) -> object:
    if member.name == "literal":
        return member.text
    if member.items:
        return [_of(item.members[0]) for item in member.items]
    return {
        "int": 1,
        "float": 1.0,
        "bool": True,
        "str": "text",
        "dtype": "float32",
        "layer": "ReLU",
        "module": "ReLU",
        "tensor": [1.0],
        "list": [1],
        "dict": {},
        "any": 1,
    }.get(member.name)
