"""Which torch functions may return memory of an argument, and which may change an argument in place.

Everything else on the allowlist returns fresh memory. tests/test_deny.py compares these tables with torch's own
schemas and with what the functions do.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["INPLACE_POSITION", "changed_arguments", "may_alias"]

# Views, and functions that return their argument itself where there is nothing to do (`to`, `contiguous`, `dropout`
# in evaluation, `einsum` that only permutes). The same names serve as functions and as tensor methods.
MAY_ALIAS: frozenset[str] = frozenset(
    """
    H T adjoint alias align_as align_tensors align_to alpha_dropout as_strided as_tensor asarray atleast_1d atleast_2d
    atleast_3d bfloat16 block_diag bool broadcast_tensors broadcast_to byte cartesian_prod cdouble cfloat chain_matmul
    chalf channel_shuffle char chunk coalesce combinations conj conj_physical contiguous cpu cuda data detach diagonal
    double dropout dropout1d dropout2d dropout3d dsplit einsum expand expand_as feature_alpha_dropout feature_dropout
    flatten float half hsplit imag indices int linalg.diagonal linalg.matrix_power linalg.multi_dot long mH mT matrix_H
    matrix_power meshgrid moveaxis movedim narrow native_channel_shuffle native_dropout pad permute pin_memory
    pixel_shuffle pixel_unshuffle positive ravel real refine_names rename reshape reshape_as resolve_conj resolve_neg
    select short split split_with_sizes squeeze sum_to_size swapaxes swapdims t tensor_split to to_dense to_sparse
    transpose type type_as unbind unflatten unfold unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze values
    view view_as view_as_complex view_as_real vsplit
    """.split()
)

# `F.relu(x, True)` changes `x`: where the flag `inplace` stands among the positional arguments.
INPLACE_POSITION: dict[str, int] = {
    "alpha_dropout": 3,
    "celu": 2,
    "dropout": 3,
    "dropout1d": 3,
    "dropout2d": 3,
    "dropout3d": 3,
    "elu": 2,
    "feature_alpha_dropout": 3,
    "hardsigmoid": 1,
    "hardswish": 1,
    "hardtanh": 3,
    "leaky_relu": 2,
    "mish": 1,
    "relu": 1,
    "relu6": 1,
    "rrelu": 4,
    "selu": 1,
    "silu": 1,
    "threshold": 3,
}

# Functions that change arguments without a flag called `inplace`: name -> (parameter, position).
CHANGES: dict[str, tuple[tuple[str, int], ...]] = {
    "F.batch_norm": (("running_mean", 1), ("running_var", 2)),
    "F.instance_norm": (("running_mean", 1), ("running_var", 2)),
    "F.embedding": (("weight", 1),),
    "F.embedding_bag": (("weight", 1),),
    "torch.batch_norm": (("running_mean", 3), ("running_var", 4)),
    "torch.instance_norm": (("running_mean", 3), ("running_var", 4)),
    "torch.native_batch_norm": (("running_mean", 3), ("running_var", 4)),
    "torch.fused_moving_avg_obs_fake_quant": (("running_min", 3), ("running_max", 4), ("scale", 5), ("zero_point", 6)),
    "torch.rrelu_with_noise": (("noise", 1),),
}

# Without these arguments the functions above change nothing.
ONLY_WITH: dict[str, tuple[str, int]] = {
    "F.batch_norm": ("training", 5),
    "F.embedding": ("max_norm", 3),
    "F.embedding_bag": ("max_norm", 3),
}


def may_alias(name: str) -> bool:
    """Whether the result of the function or method called `name` may share memory with an argument."""
    return name in MAY_ALIAS or name.endswith("_")


def changed_arguments(
    namespace: Literal["torch", "F"], name: str, positional: int, keywords: frozenset[str]
) -> tuple[tuple[str, int], ...]:
    """The arguments, by keyword and position, that a call of `namespace.name` may change in place.

    `positional` is how many positional arguments the call has, `keywords` are the names of its keyword arguments.
    A flag that is written is taken to be set, whatever its value: the caller looks at literals first.
    """
    if name.endswith("_"):
        return (("input", 0),)
    if name in INPLACE_POSITION and ("inplace" in keywords or positional > INPLACE_POSITION[name]):
        return (("input", 0),)
    full = f"{namespace}.{name}"
    flag = ONLY_WITH.get(full)
    if flag is not None and flag[0] not in keywords and positional <= flag[1]:
        return ()
    return CHANGES.get(full, ())
