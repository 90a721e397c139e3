"""What kind of step a box is, and the colour and the sign that stand for it.

The fills are those of Paul Tol's "light" scheme, which people with any colour vision can tell apart behind dark text.
No picture tells anything by colour alone: each box also bears the name of its class or function.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["COLOURS", "RESHAPING", "WORDS", "kind_of_function", "kind_of_layer", "sign_of"]

COLOURS: Final = {
    "input": "#DDDDDD",
    "output": "#DDDDDD",
    "convolution": "#77AADD",
    "linear": "#EE8866",
    "normalization": "#EEDD88",
    "activation": "#44BB99",
    "attention": "#FFAABB",
    "recurrent": "#AAAA00",
    "pooling": "#99DDFF",
    "embedding": "#BBCC33",
    "dropout": "#F4F4F4",
    "function": "#FFFFFF",
    "state": "#FFFFFF",
    "module": "#FFFFFF",
}
"""The fill of each kind of box."""

WORDS: Final = {
    "input": "input",
    "output": "output",
    "convolution": "convolution",
    "linear": "linear",
    "normalization": "normalisation",
    "activation": "activation",
    "attention": "attention",
    "recurrent": "recurrent",
    "pooling": "pooling",
    "embedding": "embedding",
    "dropout": "dropout",
    "function": "function",
    "state": "parameter or buffer",
    "module": "module",
}
"""What a legend calls each kind."""

_LAYERS: Final = (
    ("convolution", r"(Lazy)?Conv(Transpose)?\dd|Unfold|Fold"),
    ("linear", r"(Lazy)?Linear|Bilinear|NonDynamicallyQuantizableLinear"),
    (
        "normalization",
        r"(Lazy)?(Batch|Instance)Norm\dd|(Layer|Group|RMS|LocalResponse)Norm|CrossMapLRN2d|SyncBatchNorm",
    ),
    ("attention", r"MultiheadAttention|Transformer\w*"),
    ("recurrent", r"(LSTM|GRU|RNN)(Cell)?"),
    ("pooling", r"\w*Pool\dd|MaxUnpool\dd|Upsample|Upsampling\w+|Pixel(Uns|S)huffle"),
    ("embedding", r"Embedding(Bag)?"),
    ("dropout", r"\w*Dropout(\dd)?"),
    (
        "activation",
        r"(P|R|C|S)?(Leaky)?ReLU6?|S?ELU|C?ELU|GELU|SiLU|Mish|GLU|Hard\w+|(Log)?Sigmoid|(Log)?Soft(max|min|plus|shrink|sign)"
        r"(2d)?|Tanh(shrink)?|Threshold",
    ),
)

_FUNCTIONS: Final = (
    ("attention", r"scaled_dot_product_attention|multi_head_attention_forward"),
    ("convolution", r"conv(_transpose)?\dd"),
    ("linear", r"linear|bilinear|grouped_mm"),
    ("normalization", r"(batch|layer|group|instance|rms|local_response)_norm"),
    (
        "activation",
        r"(leaky_|p|r)?relu6?_?|[sc]?elu_?|gelu|silu|mish|glu|hard(swish|sigmoid|tanh)|(log_?)?sigmoid_?|tanh_?|"
        r"(log_)?softmax|soft(plus|sign|shrink|min)",
    ),
    ("pooling", r"(adaptive_)?(max|avg|lp)_pool\dd|interpolate|pixel_(un)?shuffle|upsample\w*"),
    ("embedding", r"embedding(_bag)?"),
    ("dropout", r"\w*dropout\w*"),
)

_SIGNS: Final = {
    "add": "+", "add_": "+", "sub": "\N{MINUS SIGN}", "sub_": "\N{MINUS SIGN}", "mul": "×", "mul_": "×",
    "div": "÷", "div_": "÷", "matmul": "@",
}  # fmt: skip

RESHAPING: Final = frozenset(
    {
        "T", "broadcast_to", "chunk", "contiguous", "expand", "expand_as", "flatten", "getitem", "index_select", "mH",
        "mT", "movedim", "moveaxis", "narrow", "permute", "ravel", "repeat_interleave", "reshape", "reshape_as",
        "select", "split", "squeeze", "swapaxes", "swapdims", "t", "tensor_split", "transpose", "type_as", "unbind",
        "unflatten", "unsqueeze", "view", "view_as", "view_as_complex", "view_as_real", "to", "float", "half",
        "bfloat16", "double", "long", "int", "bool", "detach", "clone", "unsafe_chunk", "unsafe_split",
    }
)  # fmt: skip
"""Functions that only arrange, slice or convert what they take: they are told on the arrow, not by a box."""


def _compiled(table: tuple[tuple[str, str], ...]) -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((kind, re.compile(pattern)) for kind, pattern in table)


_LAYER_PATTERNS: Final = _compiled(_LAYERS)
_FUNCTION_PATTERNS: Final = _compiled(_FUNCTIONS)


def kind_of_layer(name: str) -> str:
    """The kind of a layer of torch by its class; "module" for any other class."""
    return next((kind for kind, pattern in _LAYER_PATTERNS if pattern.fullmatch(name)), "module")


def kind_of_function(name: str) -> str:
    """The kind of a torch function by its name."""
    return next((kind for kind, pattern in _FUNCTION_PATTERNS if pattern.fullmatch(name)), "function")


def sign_of(label: str) -> str:
    """The sign that stands for a function of arithmetic; empty for all others."""
    return _SIGNS.get(label, "")
