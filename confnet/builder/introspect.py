"""The catalog's data, made from the installed torch by introspection: `python -m confnet.builder.introspect`.

Signatures are read, never typed in. Reviewed tables stand only where a signature hides or misstates something; each
says so. A test holds the shipped file against what this module gives for the pinned torch.
"""

from __future__ import annotations

import collections.abc
import inspect
import json
import re
import sys
import types
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from torch.nn.utils import parametrizations

import confnet.catalog
from confnet.catalog.layers import NOT_LAYERS, WITHHELD
from confnet.whole_files import write_whole

__all__ = [
    "CONTAINERS",
    "DATA",
    "collect",
    "make",
    "public_classes",
    "sample_arguments",
    "text_of",
    "write",
]

DATA: Final = Path(confnet.catalog.__path__[0]) / "layers.json"

Row = dict[str, Any]

# --- reviewed tables ----------------------------------------------------------------------------------------------

# Arguments that `__init__` takes as `*args, **kwargs` and hands to RNNBase, less its first (`mode`).
# torch/nn/modules/rnn.py: RNN reads `nonlinearity` as its fourth; only LSTM takes `proj_size`.
_RNNS: Final[Mapping[str, tuple[tuple[str, int] | None, bool]]] = {
    "RNN": (("nonlinearity", 3), False),
    "LSTM": (None, True),
    "GRU": (None, False),
}
_REDUCTION: Final = "'none' | 'mean' | 'sum'"
_ACTIVATION: Final = "'relu' | 'gelu'"
_FLAGS: Final = ("bias", "add_bias_kv", "add_zero_attn", "batch_first", "affine", "track_running_stats")

# Types where an annotation is missing, or is `str` where the documentation names the texts, by argument name; then
# types that a class states too widely or too narrowly (pooling layers say `tuple[int, ...]` for a pair).
_TYPES_BY_NAME: Final[Mapping[str, str]] = {
    "dtype": "dtype | None",
    "reduction": _REDUCTION,
    "activation": _ACTIVATION,
    "nonlinearity": "'tanh' | 'relu'",
    "approximate": "'none' | 'tanh'",
    "custom_encoder": "module | None",
    "custom_decoder": "module | None",
    "encoder_layer": "module",
    "decoder_layer": "module",
    "distance_function": "None",
    "embed_dim": "int",
    "num_heads": "int",
    "kdim": "int | None",
    "vdim": "int | None",
    "eps": "float",
    "dropout": "float",
    **dict.fromkeys(_FLAGS, "bool"),
}
_PAIR: Final = "int | tuple[int, int]"
_TRIPLE: Final = "int | tuple[int, int, int]"
_SINGLE: Final = "int | tuple[int]"
_TYPES: Final[Mapping[tuple[str, str], str]] = {
    ("RMSNorm", "eps"): "float | None",
    ("KLDivLoss", "reduction"): "'none' | 'batchmean' | 'mean' | 'sum'",
    ("EmbeddingBag", "mode"): "'sum' | 'mean' | 'max'",
    ("Upsample", "mode"): "'nearest' | 'linear' | 'bilinear' | 'bicubic' | 'trilinear' | 'area' | 'nearest-exact'",
    ("Unflatten", "unflattened_size"): "tuple[int, ...]",
    ("LazyConvTranspose2d", "dilation"): _PAIR,
    **{(f"LPPool{n}d", name): kind for n, kind in ((1, "int"), (2, _PAIR), (3, _TRIPLE)) for name in ("kernel_size",)},
    **{(f"LPPool{n}d", "stride"): f"{kind} | None" for n, kind in ((1, "int"), (2, _PAIR), (3, _TRIPLE))},
    **{
        (f"MaxPool{n}d", name): kind + (" | None" if name == "stride" else "")
        for n, kind in ((1, _SINGLE), (2, _PAIR), (3, _TRIPLE))
        for name in ("kernel_size", "stride", "padding", "dilation")
    },
    **{(f"Adaptive{kind}Pool1d", "output_size"): _SINGLE for kind in ("Avg", "Max")},
    **{
        (f"Adaptive{kind}Pool{n}d", "output_size"): f"int | tuple[{', '.join(['int | None'] * n)}]"
        for kind in ("Avg", "Max")
        for n in (2, 3)
    },
    **{
        (name, argument): _PAIR
        for name in ("Fold", "Unfold")
        for argument in ("output_size", "kernel_size", "dilation", "padding", "stride")
    },
    **{
        (f"{lazy}InstanceNorm{n}d", "momentum"): "float | None"  # as in BatchNorm; torch accepts it
        for lazy in ("", "Lazy")
        for n in (1, 2, 3)
    },
    **{(f"LazyBatchNorm{n}d", "momentum"): "float | None" for n in (1, 2, 3)},
    # `Only "zeros" padding mode is supported for ConvTranspose`, says torch at construction.
    **{(f"{lazy}ConvTranspose{n}d", "padding_mode"): "'zeros'" for lazy in ("", "Lazy") for n in (1, 2, 3)},
    # Annotated `str`; the documentation names these two. The lazy ones hand theirs to the same constructor.
    **{
        (f"{lazy}Conv{n}d", "padding"): f"{kind} | 'valid' | 'same'"
        for lazy in ("", "Lazy")
        for n, kind in ((1, _SINGLE), (2, _PAIR), (3, _TRIPLE))
    },
    ("weight_norm", "dim"): "int | None",  # documented: "If None, the norm is computed over the entire weight tensor"
    ("orthogonal", "orthogonal_map"): "'matrix_exp' | 'cayley' | 'householder' | None",
}

# Attributes that a layer's forward reads at each call and that determine no parameter's shape: a rule may set them.
_SETTABLE: Final = frozenset(
    {
        "p",
        "inplace",
        "eps",
        "momentum",
        "negative_slope",
        "alpha",
        "beta",
        "lambd",
        "lower",
        "upper",
        "threshold",
        "value",
        "min_val",
        "max_val",
        "dim",
        "approximate",
        "dropout",
        "batch_first",
        "ceil_mode",
        "count_include_pad",
        "divisor_override",
        "return_indices",
        "align_corners",
        "mode",
        "size",
        "scale_factor",
        "recompute_scale_factor",
        "max_norm",
        "norm_type",
        "scale_grad_by_freq",
        "sparse",
        "include_last_offset",
        "reduction",
        "ignore_index",
        "label_smoothing",
        "margin",
        "swap",
        "delta",
        "blank",
        "zero_infinity",
        "log_input",
        "log_target",
        "full",
        "keepdim",
        "k",
        "start_dim",
        "end_dim",
        "upscale_factor",
        "downscale_factor",
        "output_size",
        "norm_first",
    }
)

# A value for each required argument, with which every layer can be made, and further ones that make it register more.
_SAMPLE: Final[Mapping[str, Any]] = {
    "in_channels": 4,
    "out_channels": 4,
    "kernel_size": 3,
    "in_features": 4,
    "out_features": 4,
    "in1_features": 4,
    "in2_features": 4,
    "num_features": 4,
    "num_channels": 4,
    "num_groups": 2,
    "normalized_shape": 4,
    "size": 3,
    "num_embeddings": 8,
    "embedding_dim": 4,
    "input_size": 4,
    "hidden_size": 4,
    "embed_dim": 4,
    "num_heads": 2,
    "d_model": 4,
    "nhead": 2,
    "num_layers": 2,
    "output_size": 4,
    "padding": 1,
    "value": 0.5,
    "threshold": 0.5,
    "norm_type": 2.0,
    "groups": 2,
    "upscale_factor": 2,
    "downscale_factor": 2,
    "dim": 1,
    "unflattened_size": [2, 2],
    "n_classes": 8,
    "num_classes": 8,
    "cutoffs": [2, 4],
}
_FURTHER: Final[Mapping[str, tuple[Row, ...]]] = {
    "RNN": ({"num_layers": 2, "bidirectional": True, "nonlinearity": "relu"},),
    "LSTM": ({"num_layers": 2, "bidirectional": True, "proj_size": 2},),
    "GRU": ({"num_layers": 2, "bidirectional": True},),
    "MultiheadAttention": ({"kdim": 2, "vdim": 2, "add_bias_kv": True},),
    "Transformer": (
        {"d_model": 4, "nhead": 2, "dim_feedforward": 4, "num_encoder_layers": 1, "num_decoder_layers": 1},
    ),
    "Upsample": ({"size": 4},),
    "UpsamplingNearest2d": ({"size": 4},),
    "UpsamplingBilinear2d": ({"size": 4},),
    "FractionalMaxPool2d": ({"output_size": 2},),
    "FractionalMaxPool3d": ({"output_size": 2},),
    "LinearCrossEntropyLoss": ({"bias": True},),
}
_INITIALIZER_DIMENSIONS: Final[Mapping[str, tuple[int, int | None]]] = {
    "dirac_": (3, 5),
    "eye_": (2, 2),
    "sparse_": (2, 2),
    "orthogonal_": (2, None),
    **{f"{family}_{kind}_": (2, None) for family in ("xavier", "kaiming") for kind in ("normal", "uniform")},
}
CONTAINERS: Final = {"Sequential": "sequential", "ModuleList": "list", "ModuleDict": "dict"}


def sample_arguments(name: str) -> list[Row]:
    """Sets of keyword arguments with which `make` makes the layer; None stands for a module that it makes too."""
    if name in CONTAINERS:
        return [{}]
    required = {row["name"]: _SAMPLE.get(row["name"]) for row in _layer_arguments(name) if "default" not in row}
    further = [{**required, **row} for row in _FURTHER.get(name, ())]
    needs_further = name.startswith(("Upsampl", "FractionalMaxPool"))
    return further if needs_further else [required, *further]


# --- collecting ---------------------------------------------------------------------------------------------------


def public_classes() -> dict[str, type]:
    """Every public class of torch.nn, by its name."""
    return {name: value for name, value in vars(nn).items() if isinstance(value, type) and not name.startswith("_")}


def collect() -> Row:
    """The catalog's data for the installed torch."""
    names = sorted(
        name for name, cls in public_classes().items() if issubclass(cls, nn.Module) and name not in NOT_LAYERS
    )
    return {
        "torch": torch.__version__.split("+")[0],
        "layers": {name: _layer(name) for name in names},
        "initializers": {name: _initializer(name) for name in _initializers()},
        "parametrizations": {name: _parametrization(name) for name in sorted(parametrizations.__all__)},
    }


def text_of(data: Mapping[str, Any]) -> str:
    """The text of the data: one entry a line, sorted, so that a difference can be read."""
    parts = [f'"torch": {json.dumps(data["torch"])}']
    for table in ("layers", "initializers", "parametrizations"):
        rows = [f"{json.dumps(name)}: {json.dumps(row, ensure_ascii=False)}" for name, row in data[table].items()]
        parts.append(f'"{table}": {{\n' + ",\n".join(rows) + "\n}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def write(path: Path = DATA) -> None:
    """Write the data of the installed torch to `path`, all of it or nothing. Raises OSError."""
    write_whole(path, text_of(collect()))


# --- layers -------------------------------------------------------------------------------------------------------


def _layer(name: str) -> Row:
    cls: Any = getattr(nn, name)
    row: Row = {"arguments": _layer_arguments(name) if name not in CONTAINERS else []}
    instances = [make(name, sample) for sample in sample_arguments(name)]
    for argument in row["arguments"]:
        if _settable(argument["name"], instances[0]):
            argument["settable"] = True
    withheld = [p.name for p in _constructor(name) if p.name in WITHHELD]
    rest = {
        "withheld": withheld,
        "variadic": name == "Identity",
        "keywords": name == "Identity",
        "container": CONTAINERS.get(name, ""),
        "bases": [base.__name__ for base in cls.__mro__[1:] if _is_public_layer(base)],
        "parameters": _names(instances, "_parameters"),
        "buffers": _names(instances, "_buffers"),
        "children": {child: _public_name(module) for i in instances for child, module in i.named_children()},
    }
    row.update({key: value for key, value in rest.items() if value})
    if cls.forward is not nn.Module.forward:
        row["forward"] = _forward(cls)
    row["summary"] = _summary(cls)
    return row


def _is_public_layer(cls: type) -> bool:
    return getattr(nn, cls.__name__, None) is cls and cls.__name__ not in NOT_LAYERS


def _public_name(module: nn.Module) -> str:
    return next((base.__name__ for base in type(module).__mro__ if _is_public_layer(base)), "")


def make(name: str, sample: Mapping[str, Any], device: str = "meta") -> nn.Module:
    """The layer of torch.nn called `name` with these arguments, lists as tuples; small layers for its modules."""
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in sample.items()}
    small = {"d_model": 4, "nhead": 2, "dim_feedforward": 4}
    with torch.device(device), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated layers, lazy ones, empty tensors
        if "encoder_layer" in given:
            given["encoder_layer"] = nn.TransformerEncoderLayer(**small)  # type: ignore[arg-type]
        if "decoder_layer" in given:
            given["decoder_layer"] = nn.TransformerDecoderLayer(**small)  # type: ignore[arg-type]
        made: nn.Module = getattr(nn, name)(**given)
    return made


def _settable(name: str, instance: nn.Module) -> bool:
    held = instance.__dict__.get(name, instance)
    if name == "batch_first" and isinstance(instance, nn.Transformer):
        return False  # its layers hold their own
    return name in _SETTABLE and (held is None or isinstance(held, bool | int | float | str | tuple))


def _names(instances: list[nn.Module], table: str) -> list[str]:
    found: dict[str, None] = {}
    for instance in instances:
        for name in getattr(instance, table):
            pattern = re.sub(r"_l\d+", "_l*", name) if isinstance(instance, nn.RNNBase) else name
            found.setdefault(pattern)
    return list(found)


def _constructor(name: str) -> list[inspect.Parameter]:
    """The parameters of a layer's constructor, those of a hidden signature included."""
    cls = getattr(nn, name)
    if name in _RNNS:
        extra, projected = _RNNS[name]
        found = list(inspect.signature(nn.RNNBase.__init__).parameters.values())[2:]
        found = [p for p in found if projected or p.name != "proj_size"]
        if extra is not None:
            keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD
            found.insert(extra[1], inspect.Parameter(extra[0], keyword, default="tanh"))
        return found
    if cls.__init__ is nn.Module.__init__:  # `*args, **kwargs`, all of which Module refuses
        return []
    return list(inspect.signature(cls.__init__).parameters.values())[1:]


def _layer_arguments(name: str) -> list[Row]:
    return list(_arguments(name, _constructor(name)))


def _arguments(owner: str, parameters: list[inspect.Parameter]) -> Iterator[Row]:
    by_name_only = False
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name in WITHHELD:
            by_name_only = True  # what follows cannot be reached by position without it
            continue
        row: Row = {"name": parameter.name, "type": _type(owner, parameter)}
        if parameter.default is not parameter.empty:
            row["default"] = _default(parameter.default)
        if by_name_only or parameter.kind is parameter.KEYWORD_ONLY:
            row["keyword_only"] = True
        yield row


def _default(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_default(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if callable(value):
        return value.__name__  # TransformerEncoderLayer.activation is `relu` itself
    raise TypeError(f"no file can write the default {value!r}")


def _type(owner: str, parameter: inspect.Parameter) -> str:
    name = parameter.name
    text = _TYPES.get((owner, name))
    if text is None:
        text = _TYPES_BY_NAME.get(name) if _says_little(parameter.annotation) else None
    if text is None:
        text = _spell(parameter.annotation)
    if parameter.default is None and "None" not in text:
        text += " | None"
    return text


def _says_little(annotation: Any) -> bool:
    """Whether the annotation is missing, `str` for one of a few texts, or something no file can write."""
    if annotation in (inspect.Parameter.empty, str):
        return True
    try:
        _spell(annotation)
    except TypeError:
        return True
    return False


_SPELLED: Final[Mapping[Any, str]] = {
    type(None): "None",
    int: "int",
    float: "float",
    bool: "bool",
    str: "str",
    torch.dtype: "dtype",
    torch.Tensor: "tensor",
    torch.Size: "tuple[int, ...]",
    nn.Module: "module",
}
_SEQUENCES: Final = (list, collections.abc.Sequence)


def _spell(annotation: Any) -> str:
    """An annotation in the language of `confnet.catalog.types`. Raises TypeError for one it cannot say."""
    if annotation in _SPELLED:
        return _SPELLED[annotation]
    origin, items = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        members = [_spell(item) for item in items]
        ordered = [m for m in members if m != "None"] + [m for m in members if m == "None"]
        return " | ".join(dict.fromkeys(ordered))
    if origin is typing.Literal:
        return " | ".join(f"'{item}'" for item in items)
    if origin in _SEQUENCES:
        return f"tuple[{_spell(items[0])}, ...]"
    if origin is tuple:
        return f"tuple[{', '.join('...' if item is ... else _spell(item) for item in items)}]"
    raise TypeError(f"no type of a file says {annotation!r}")


def _forward(cls: Any) -> Row:
    signature = inspect.signature(cls.forward)
    taken = list(signature.parameters.values())[1:]
    row: Row = {
        "required": [p.name for p in taken if p.default is p.empty],
        "optional": [p.name for p in taken if p.default is not p.empty],
    }
    if signature.return_annotation is torch.Tensor:
        row["result"] = "tensor"
    return {key: value for key, value in row.items() if value}


_ROLES: Final = re.compile(r":[a-z]+:(?:`~?(?:[\w.]*\.)?([\w]+)(?:\(\))?`|`([^`]*)`)")


def _summary(documented: Any) -> str:
    paragraphs = (inspect.getdoc(documented) or "").strip().split("\n\n")
    text = next((paragraph for paragraph in paragraphs if not paragraph.startswith("__init__(")), "")
    text = _ROLES.sub(lambda match: f"`{match.group(1) or match.group(2)}`", text).replace("``", "`")
    return " ".join(text.split())


# --- initialisers and parametrizations ----------------------------------------------------------------------------


def _initializers() -> list[str]:
    return sorted(name for name in vars(nn.init) if name.endswith("_") and not name.startswith("_"))


def _initializer(name: str) -> Row:
    function: Callable[..., Any] = getattr(nn.init, name)
    found = [p for p in inspect.signature(function).parameters.values() if p.name not in ("tensor", "generator")]
    row: Row = {"arguments": list(_arguments(name, _real(found))), "summary": _summary(function)}
    if name in _INITIALIZER_DIMENSIONS:
        row["dimensions"] = list(_INITIALIZER_DIMENSIONS[name])
    return row


def _real(parameters: list[inspect.Parameter]) -> list[inspect.Parameter]:
    """Integers as defaults of `float` arguments (`gain: float = 1`) as the floats they stand for."""
    return [
        p.replace(default=float(p.default)) if p.annotation is float and isinstance(p.default, int) else p
        for p in parameters
    ]


def _parametrization(name: str) -> Row:
    function: Callable[..., Any] = getattr(parametrizations, name)
    found = [p for p in inspect.signature(function).parameters.values() if p.name not in ("module", "name")]
    # The parameter's name is the key under `parametrize`; a position counts from the argument after it.
    return {"arguments": list(_arguments(name, found)), "summary": _summary(function)}


if __name__ == "__main__":
    write()
    sys.exit(0)
