"""What torch refuses beyond types: bounds of arguments, and rules over several of them. Reviewed data.

Each entry names its source: the sentence of torch's documentation, or the error torch raises at construction or at
the first forward. Nothing is refused here that torch accepts and does not document as wrong, however odd: a `Linear`
of zero features is legal. `tests/test_catalog.py` holds every entry against torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Final

from confnet.catalog.arguments import Fault, Rule
from confnet.records import dataclass

__all__ = ["BOUNDS", "RULES", "Bounds", "LayerRule", "bounds_of", "rules_of"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of arguments by name, for the layers whose name matches one of the patterns."""

    layers: tuple[str, ...]
    arguments: tuple[str, ...]
    source: str
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class LayerRule:
    """A rule, for the layers whose name matches one of the patterns."""

    layers: tuple[str, ...]
    rule: Rule


_CONVOLUTIONS: Final = ("*Conv?d", "*ConvTranspose?d")
_POOLS: Final = ("MaxPool?d", "AvgPool?d", "LPPool?d")
_TRANSFORMERS: Final = ("Transformer", "TransformerEncoderLayer", "TransformerDecoderLayer")
_NEGATIVE: Final = "RuntimeError: Trying to create tensor with negative dimension"
_PROBABILITY: Final = "ValueError: dropout probability has to be between 0 and 1"

BOUNDS: Final[tuple[Bounds, ...]] = (
    Bounds(("Conv?d",), ("in_channels",), _NEGATIVE, ge=0),
    Bounds(
        ("ConvTranspose?d",), ("in_channels",), "RuntimeError: expected weight to be at least 1 at dimension 0", ge=1
    ),
    Bounds(_CONVOLUTIONS, ("out_channels",), "RuntimeError: expected weight to be at least 1 at dimension 0", ge=1),
    Bounds(_CONVOLUTIONS, ("kernel_size",), "RuntimeError: kernel size should be greater than zero", ge=1),
    Bounds(_CONVOLUTIONS, ("stride",), "RuntimeError: non-positive stride is not supported", ge=1),
    Bounds(_CONVOLUTIONS, ("padding",), "RuntimeError: negative padding is not supported", ge=0),
    Bounds(_CONVOLUTIONS, ("output_padding",), "RuntimeError: negative output_padding is not supported", ge=0),
    Bounds(_CONVOLUTIONS, ("dilation",), "RuntimeError: dilation should be greater than zero", ge=1),
    Bounds(_CONVOLUTIONS, ("groups",), "ValueError: groups must be a positive integer", ge=1),
    Bounds(
        (*_POOLS, "Unfold", "Fold"), ("kernel_size",), "RuntimeError: kernel size should be greater than zero", ge=1
    ),
    Bounds((*_POOLS, "Unfold", "Fold"), ("stride",), "RuntimeError: stride should be greater than zero", ge=1),
    Bounds(("MaxPool?d", "AvgPool?d", "Unfold", "Fold"), ("padding",), "RuntimeError: pad must be non-negative", ge=0),
    Bounds(("MaxPool?d", "Unfold", "Fold"), ("dilation",), "RuntimeError: dilation should be greater than zero", ge=1),
    Bounds(("Fold",), ("output_size",), "RuntimeError: output_size should be greater than zero", ge=1),
    Bounds(("Adaptive*Pool?d",), ("output_size",), "RuntimeError: elements of output_size must be at least 0", ge=0),
    Bounds(("MaxUnpool?d",), ("kernel_size",), "ValueError: must contain non-negative spatial dimensions", ge=0),
    Bounds(("MaxUnpool?d",), ("stride",), "RuntimeError: Found an invalid max index", ge=1),
    Bounds(("FractionalMaxPool?d",), ("output_size",), _NEGATIVE, ge=0),
    Bounds(("FractionalMaxPool?d",), ("output_ratio",), "ValueError: output_ratio must be between 0 and 1", gt=0, lt=1),
    Bounds(("*Linear",), ("in_features", "out_features"), _NEGATIVE, ge=0),
    Bounds(("LinearCrossEntropyLoss",), ("in_features", "num_classes"), _NEGATIVE, ge=0),
    Bounds(("Bilinear",), ("in1_features",), "ValueError: in1_features must be > 0", ge=1),
    Bounds(("Bilinear",), ("in2_features", "out_features"), _NEGATIVE, ge=0),
    Bounds(("Embedding*",), ("num_embeddings", "embedding_dim"), _NEGATIVE, ge=0),
    Bounds(("BatchNorm?d",), ("num_features",), _NEGATIVE, ge=0),
    Bounds(
        ("BatchNorm?d", "LazyBatchNorm?d"),
        ("eps",),
        "ValueError: batch_norm eps must be positive during training",
        gt=0,
    ),
    Bounds(("InstanceNorm?d",), ("num_features",), "doc: number of features or channels C of the input", ge=0),
    Bounds(("LayerNorm", "RMSNorm"), ("normalized_shape",), _NEGATIVE, ge=0),
    Bounds(("GroupNorm",), ("num_groups",), "RuntimeError: Expected num groups to be greater than 0", ge=1),
    Bounds(("GroupNorm",), ("num_channels",), _NEGATIVE, ge=0),
    Bounds(
        ("LocalResponseNorm", "CrossMapLRN2d"),
        ("size",),
        "RuntimeError: kernel size should be greater than zero; "
        "doc: amount of neighbouring channels used for normalization",
        ge=1,
    ),
    Bounds(("*Dropout*",), ("p",), _PROBABILITY, ge=0, le=1),
    Bounds((*_TRANSFORMERS, "MultiheadAttention", "RNN", "LSTM", "GRU"), ("dropout",), _PROBABILITY, ge=0, le=1),
    Bounds(
        ("RNN", "LSTM", "GRU"),
        ("input_size", "hidden_size", "num_layers"),
        "ValueError: must be greater than zero",
        ge=1,
    ),
    Bounds(("LSTM",), ("proj_size",), "ValueError: proj_size should be a positive integer or zero", ge=0),
    Bounds(("RNNCell", "LSTMCell", "GRUCell"), ("input_size", "hidden_size"), _NEGATIVE, ge=0),
    Bounds(("MultiheadAttention",), ("embed_dim", "num_heads"), "ValueError: must be greater than 0", ge=1),
    Bounds(("MultiheadAttention",), ("kdim", "vdim"), _NEGATIVE, ge=0),
    Bounds(_TRANSFORMERS, ("d_model", "nhead"), "ValueError: embed_dim and num_heads must be greater than 0", ge=1),
    Bounds(_TRANSFORMERS, ("dim_feedforward",), _NEGATIVE, ge=0),
    Bounds(("TransformerEncoder",), ("num_layers",), "IndexError: index 0 is out of range, at the first forward", ge=1),
    Bounds(("TransformerDecoder",), ("num_layers",), "IndexError: index 0 is out of range, at the first forward", ge=1),
    Bounds(
        ("Transformer",),
        ("num_encoder_layers", "num_decoder_layers"),
        "IndexError: index 0 is out of range, at the first forward",
        ge=1,
    ),
    Bounds(("PixelShuffle",), ("upscale_factor",), "RuntimeError: expects a positive upscale_factor", ge=1),
    Bounds(("PixelUnshuffle",), ("downscale_factor",), "RuntimeError: expects a positive downscale_factor", ge=1),
    Bounds(
        ("ChannelShuffle",), ("groups",), "RuntimeError: Number of groups to divide channels in must be positive", ge=1
    ),
    Bounds(("Upsampl*",), ("size",), "RuntimeError: Input and output sizes should be greater than 0", ge=1),
    Bounds(("Upsampl*",), ("scale_factor",), "RuntimeError: Input and output sizes should be greater than 0", gt=0),
    Bounds(("MultiMarginLoss",), ("p",), "ValueError: only p == 1 and p == 2 supported", choices=(1, 2)),
    Bounds(("TripletMargin*Loss",), ("margin",), "ValueError: expected margin to be greater than 0", gt=0),
    Bounds(("SmoothL1Loss",), ("beta",), "RuntimeError: does not support negative values for beta", ge=0),
    Bounds(("HuberLoss",), ("delta",), "RuntimeError: does not support non-positive values for delta", gt=0),
    Bounds(
        ("CrossEntropyLoss", "LinearCrossEntropyLoss"), ("label_smoothing",), "doc: A float in [0.0, 1.0]", ge=0, le=1
    ),
    Bounds(("CosineEmbeddingLoss",), ("margin",), "doc: Should be a number from -1 to 1", ge=-1, le=1),
    Bounds(("CTCLoss",), ("blank",), "RuntimeError: blank must be in label range", ge=0),
    Bounds(("Softshrink",), ("lambd",), "doc: must be no less than zero", ge=0),
    Bounds(("PReLU",), ("num_parameters",), "doc: only 1 or the number of channels are legitimate", ge=1),
    Bounds(("AdaptiveLogSoftmaxWithLoss",), ("in_features",), _NEGATIVE, ge=0),
    Bounds(("AdaptiveLogSoftmaxWithLoss",), ("cutoffs",), "ValueError: cutoffs should be positive integers", ge=1),
    Bounds(("AdaptiveLogSoftmaxWithLoss",), ("div_value",), "ZeroDivisionError; negative sizes below zero", gt=0),
    Bounds(("Unflatten",), ("unflattened_size",), "RuntimeError: invalid shape dimension", ge=-1),
    Bounds(("normal_", "sparse_"), ("std",), "RuntimeError: normal expects std >= 0.0", ge=0),
    Bounds(("trunc_normal_",), ("std",), "ZeroDivisionError; doc: the standard deviation", gt=0),
    Bounds(("xavier_*_",), ("gain",), "RuntimeError: normal expects std >= 0.0; [from, to) range", ge=0),
    Bounds(("sparse_",), ("sparsity",), "doc: The fraction of elements in each column to be set to zero", ge=0, le=1),
    Bounds(("dirac_",), ("groups",), "ZeroDivisionError: integer modulo by zero", ge=1),
    Bounds(("spectral_norm",), ("n_power_iterations",), "ValueError: to be positive", ge=1),
)


def bounds_of(layer: str, argument: str) -> Bounds | None:
    """The bounds of one argument, or None."""
    for bounds in BOUNDS:
        if argument in bounds.arguments and _matches(layer, bounds.layers):
            return bounds
    return None


def rules_of(layer: str) -> tuple[Rule, ...]:
    """The rules over the arguments of a layer."""
    return tuple(entry.rule for entry in RULES if _matches(layer, entry.layers))


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


# --- rules --------------------------------------------------------------------------------------------------------


def _each(*values: object) -> Iterator[tuple[int, ...]]:
    """The values dimension by dimension, where one number stands for every dimension."""
    size = max((len(value) for value in values if isinstance(value, tuple)), default=1)
    spread = [value if isinstance(value, tuple) else (value,) * size for value in values]
    if all(len(value) == size for value in spread):
        yield from zip(*spread, strict=True)


def _divisible(number: int, divisor: int) -> Fault | None:
    return Fault(f"is {number}, which is not divisible by {divisor}") if divisor > 0 and number % divisor else None


def _groups(groups: int, *channels: object) -> Fault | None:
    odd = next((count for count in channels if isinstance(count, int) and groups > 0 and count % groups), None)
    return Fault(f"is {groups}, which does not divide {odd} channels") if odd is not None else None


def _divisible_by_heads(size: int, heads: int) -> Fault | None:
    fault = _divisible(size, heads)
    return Fault(f"{fault.message}, the number of heads") if fault else None


def _same_padding(padding: object, stride: object) -> Fault | None:
    if padding == "same" and any(step != 1 for (step,) in _each(stride)):
        return Fault("is `same`, which torch does not support for strided convolutions", "give the padding as numbers")
    return None


def _output_padding(output_padding: object, stride: object, dilation: object) -> Fault | None:
    for extra, step, spread in _each(output_padding, stride, dilation):
        if extra >= max(step, spread):
            return Fault(f"is {extra}, and must be smaller than the stride ({step}) or the dilation ({spread})")
    return None


def _pool_padding(padding: object, kernel: object) -> Fault | None:
    for pad, size in _each(padding, kernel):
        if pad > size // 2:
            return Fault(f"is {pad}, and must be at most half of the kernel size ({size})")
    return None


def _padding_index(index: int | None, count: int) -> Fault | None:
    if index is None or -count <= index < count:
        return None
    return Fault(f"is {index}, and must be within the {count} embeddings")


def _projection(size: int, hidden: int) -> Fault | None:
    return Fault(f"is {size}, and must be smaller than `hidden_size` ({hidden})") if size >= hidden else None


def _size_or_scale(size: object, scale: object) -> Fault | None:
    if size is None and scale is None:
        return Fault("is missing, and `scale_factor` too", "give `size` or `scale_factor`")
    if size is not None and scale is not None:
        return Fault("is given beside `scale_factor`", "give only one of `size` and `scale_factor`")
    return None


def _size_or_ratio(size: object, ratio: object) -> Fault | None:
    if size is None and ratio is None:
        return Fault("is missing, and `output_ratio` too", "give `output_size` or `output_ratio`")
    if size is not None and ratio is not None:
        return Fault("is given beside `output_ratio`", "give only one of `output_size` and `output_ratio`")
    return None


_INTERPOLATING: Final = ("linear", "bilinear", "bicubic", "trilinear")


def _aligned(align: bool | None, mode: str) -> Fault | None:
    if align is not None and mode not in _INTERPOLATING:
        return Fault(f"can only be given with the modes `{'`, `'.join(_INTERPOLATING)}`, not with `{mode}`")
    return None


def _recomputed(recompute: bool | None, size: object) -> Fault | None:
    return Fault("has no meaning with an explicit `size`") if recompute and size is not None else None


def _above(upper: float, lower: float) -> Fault | None:
    return None if upper > lower else Fault(f"is {upper}, and must be greater than the lower bound ({lower})")


def _not_below(upper: float, lower: float) -> Fault | None:
    return None if upper >= lower else Fault(f"is {upper}, and must not be below the lower bound ({lower})")


def _finite(value: float) -> Fault | None:
    return Fault("must be finite") if abs(value) == float("inf") else None


def _nonzero(value: float | None) -> Fault | None:
    return Fault("must not be 0") if value == 0 else None


def _not_empty(value: object) -> Fault | None:
    return Fault("is an empty list, and needs at least one size") if value == () else None


def _one_inferred(sizes: tuple[int, ...]) -> Fault | None:
    return Fault("has more than one -1: only one size can be inferred") if sizes.count(-1) > 1 else None


def _no_features(features: int, affine: bool, tracked: bool) -> Fault | None:
    return Fault("is 0, and torch cannot normalize nothing") if features == 0 and (affine or tracked) else None


def _cutoffs(cutoffs: tuple[int, ...], classes: int) -> Fault | None:
    if not cutoffs or list(cutoffs) != sorted(set(cutoffs)) or cutoffs[-1] > classes - 1:
        return Fault(f"must be increasing integers from 1 to {classes - 1}, one less than `n_classes`")
    return None


def _no_max(flag: bool, mode: str) -> Fault | None:
    return Fault("is not supported with `mode: max`") if flag and mode == "max" else None


def _entry(layers: tuple[str, ...], reads: tuple[str, ...], broken: object, source: str) -> LayerRule:
    return LayerRule(layers, Rule(reads, broken, source))  # type: ignore[arg-type]


_DIRECT: Final = ("Conv?d", "ConvTranspose?d")

RULES: Final[tuple[LayerRule, ...]] = (
    _entry(_DIRECT, ("groups", "in_channels", "out_channels"), _groups, "ValueError: must be divisible by groups"),
    _entry(("Lazy*Conv*d",), ("groups", "out_channels"), _groups, "ValueError: must be divisible by groups"),
    _entry(("Conv?d", "LazyConv?d"), ("padding", "stride"), _same_padding, "ValueError: not supported for strided"),
    _entry(
        ("*ConvTranspose?d",),
        ("output_padding", "stride", "dilation"),
        _output_padding,
        "RuntimeError: output padding must be smaller than either stride or dilation",
    ),
    _entry(("MaxPool?d", "AvgPool?d"), ("padding", "kernel_size"), _pool_padding, "RuntimeError: at most half"),
    _entry(("AvgPool?d",), ("divisor_override",), _nonzero, "RuntimeError: divisor must be not zero"),
    _entry(("LPPool?d",), ("norm_type",), _nonzero, "ZeroDivisionError: float division by zero"),
    _entry(("FractionalMaxPool?d",), ("output_size", "output_ratio"), _size_or_ratio, "ValueError at construction"),
    _entry(("Embedding*",), ("padding_idx", "num_embeddings"), _padding_index, "AssertionError: within num_embeddings"),
    _entry(("EmbeddingBag",), ("scale_grad_by_freq", "mode"), _no_max, "ValueError: max mode does not support scaling"),
    _entry(("EmbeddingBag",), ("sparse", "mode"), _no_max, "ValueError: max mode does not support sparse weights"),
    _entry(
        ("BatchNorm?d",),
        ("num_features", "affine", "track_running_stats"),
        _no_features,
        "IndexError: select(): index 0 out of range, at the first forward",
    ),
    _entry(("GroupNorm",), ("num_channels", "num_groups"), _divisible, "ValueError: must be divisible by num_groups"),
    _entry(("LayerNorm", "RMSNorm"), ("normalized_shape",), _not_empty, "RuntimeError: to be at least 1-dimensional"),
    _entry(("LSTM",), ("proj_size", "hidden_size"), _projection, "ValueError: smaller than hidden_size"),
    _entry(("MultiheadAttention",), ("embed_dim", "num_heads"), _divisible_by_heads, "AssertionError: divisible"),
    _entry(_TRANSFORMERS, ("d_model", "nhead"), _divisible_by_heads, "AssertionError: divisible by num_heads"),
    _entry(("Upsampl*",), ("size", "scale_factor"), _size_or_scale, "ValueError at the first forward"),
    _entry(("Upsample",), ("align_corners", "mode"), _aligned, "ValueError: only with the interpolating modes"),
    _entry(("Upsample",), ("recompute_scale_factor", "size"), _recomputed, "ValueError: not meaningful"),
    _entry(("Hardtanh",), ("max_val", "min_val"), _above, "AssertionError: max_val must be greater than min_val"),
    _entry(("RReLU",), ("upper", "lower"), _not_below, "RuntimeError: less than or equal to the upper bound"),
    _entry(("RReLU",), ("lower",), _finite, "RuntimeError: lower bound must be finite"),
    _entry(("RReLU",), ("upper",), _finite, "RuntimeError: upper bound must be finite"),
    _entry(("CELU",), ("alpha",), _nonzero, "RuntimeError: alpha cannot be 0 for CELU"),
    _entry(("Unflatten",), ("unflattened_size",), _not_empty, "RuntimeError: sizes must be non-empty"),
    _entry(("Unflatten",), ("unflattened_size",), _one_inferred, "RuntimeError: only one dimension can be inferred"),
    _entry(("AdaptiveLogSoftmaxWithLoss",), ("cutoffs", "n_classes"), _cutoffs, "ValueError: cutoffs should be ..."),
    _entry(
        ("uniform_", "trunc_normal_"),
        ("b", "a"),
        _not_below,
        "RuntimeError: uniform_ expects to return a [from, to) range",
    ),
)
