"""The curated list of the forward language: which functions of torch code may call, by exact name.

The list is written by hand and grows by hand. What torch says about each name (its arguments, what it returns) is
added by `python -m confnet.builder.introspect_functions`, which writes functions.json; `confnet.catalog.functions`
reads that. Only pure tensor functions belong here: nothing that takes a callable, a file or an object, nothing that
reads or changes the state of the process, nothing that turns a tensor into a Python value, and no memory that was
never written (`empty`, `resize_`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["CORRECTED_FORMS", "CORRECTED_RESULTS", "GROUPS", "MAY_SHARE", "MUTATES", "Group"]


@dataclass(frozen=True, slots=True)
class Group:
    """Functions of one purpose. `both` are functions of `torch` that are tensor methods too."""

    title: str
    torch: str = ""
    both: str = ""
    tensor: str = ""
    functional: str = ""

    def names(self) -> list[tuple[str, str]]:
        """Every (namespace, name) of the group."""
        found = [("torch", name) for name in f"{self.torch} {self.both}".split()]
        found += [("tensor", name) for name in f"{self.tensor} {self.both}".split()]
        return found + [("functional", name) for name in self.functional.split()]


GROUPS: Final[tuple[Group, ...]] = (
    Group(
        "creation",
        torch="""
        arange as_tensor bartlett_window blackman_window cartesian_prod complex eye full full_like hamming_window
        hann_window kaiser_window linspace logspace meshgrid ones ones_like polar range scalar_tensor tensor
        tril_indices triu_indices vander zeros zeros_like
        """,
        tensor="new_full new_ones new_tensor new_zeros",
    ),
    Group(
        "random",
        torch="binomial normal poisson rand rand_like randint randint_like randn randn_like randperm",
        both="bernoulli multinomial",
    ),
    Group(
        "shape",
        torch="""
        atleast_1d atleast_2d atleast_3d broadcast_shapes broadcast_tensors channel_shuffle pixel_shuffle
        pixel_unshuffle unravel_index view_as_complex view_as_real
        """,
        both="""
        adjoint as_strided as_strided_scatter broadcast_to diagonal diagonal_scatter flatten flip fliplr flipud moveaxis
        movedim narrow narrow_copy permute ravel reshape roll rot90 select select_scatter slice_scatter squeeze
        swapaxes swapdims t tile transpose unflatten unsqueeze
        """,
        tensor="expand expand_as repeat reshape_as sum_to_size unfold view view_as",
    ),
    Group(
        "joining and splitting",
        torch="block_diag cat column_stack concat concatenate dstack hstack row_stack stack vstack",
        both="""
        chunk dsplit hsplit repeat_interleave split split_with_sizes tensor_split unbind unsafe_chunk unsafe_split
        unsafe_split_with_sizes vsplit
        """,
    ),
    Group(
        "indexing",
        torch="combinations",
        both="""
        argwhere diag diag_embed diagflat gather index_add index_copy index_fill index_put index_reduce index_select
        masked_fill masked_scatter masked_select nonzero put scatter scatter_add scatter_reduce take take_along_dim
        tril triu where
        """,
    ),
    Group(
        "pointwise",
        torch="fill rsub",
        both="""
        abs absolute acos acosh add addcdiv addcmul angle arccos arccosh arcsin arcsinh arctan arctan2 arctanh asin
        asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor
        ceil clamp clamp_max clamp_min clip conj conj_physical copysign cos cosh deg2rad digamma div divide erf erfc
        erfinv exp exp2 expm1 fix float_power floor floor_divide fmax fmin fmod frac frexp gcd heaviside hypot i0
        igamma igammac lcm ldexp lerp lgamma log log10 log1p log2 logaddexp logaddexp2 logical_and logical_not
        logical_or logical_xor logit maximum minimum mul multiply mvlgamma nan_to_num neg negative nextafter polygamma
        positive pow rad2deg reciprocal remainder renorm resolve_conj resolve_neg round rsqrt sgn sigmoid sign signbit
        sin sinc sinh sqrt square sub subtract tan tanh true_divide trunc xlogy
        """,
    ),
    Group(
        "reductions",
        torch="cumulative_trapezoid gradient segment_reduce std_mean trapezoid trapz var_mean",
        both="""
        all amax amin aminmax any argmax argmin bincount corrcoef count_nonzero cov cummax cummin cumprod cumsum diff
        dist histc histogram kthvalue logcumsumexp logsumexp max mean median min mode nanmean nanmedian nanquantile
        nansum norm prod quantile std sum trace unique unique_consecutive var
        """,
    ),
    Group(
        "comparison and sorting",
        torch="bucketize isin searchsorted",
        both="""
        allclose argsort eq equal ge greater greater_equal gt isclose isfinite isinf isnan isneginf isposinf isreal le
        less less_equal lt msort ne not_equal sort topk
        """,
    ),
    Group(
        "linear algebra",
        torch="""
        bilinear chain_matmul cdist einsum linalg.cholesky linalg.cholesky_ex linalg.cond linalg.cross linalg.det
        linalg.diagonal linalg.eig linalg.eigh linalg.eigvals linalg.eigvalsh linalg.householder_product linalg.inv
        linalg.inv_ex linalg.ldl_factor linalg.ldl_factor_ex linalg.ldl_solve linalg.lstsq linalg.lu linalg.lu_factor
        linalg.lu_factor_ex linalg.lu_solve linalg.matmul linalg.matrix_exp linalg.matrix_norm linalg.matrix_power
        linalg.matrix_rank linalg.multi_dot linalg.norm linalg.pinv linalg.qr linalg.slogdet linalg.solve
        linalg.solve_ex linalg.solve_triangular linalg.svd linalg.svdvals linalg.tensorinv linalg.tensorsolve
        linalg.vander linalg.vecdot linalg.vector_norm lu_unpack norm_except_dim pca_lowrank pdist svd_lowrank
        tensordot
        """,
        both="""
        addbmm addmm addmv addr baddbmm bmm cholesky cholesky_inverse cholesky_solve cross det dot geqrf ger inner
        inverse kron logdet lu_solve matmul matrix_exp matrix_power mm mv orgqr ormqr outer pinverse qr slogdet svd
        triangular_solve vdot
        """,
    ),
    Group(
        "fft and spectra",
        torch="""
        fft.fft fft.fft2 fft.fftfreq fft.fftn fft.fftshift fft.hfft fft.hfft2 fft.hfftn fft.ifft fft.ifft2 fft.ifftn
        fft.ifftshift fft.ihfft fft.ihfft2 fft.ihfftn fft.irfft fft.irfft2 fft.irfftn fft.rfft fft.rfft2 fft.rfftfreq
        fft.rfftn
        """,
        both="istft stft",
    ),
    Group(
        "special functions",
        torch="""
        special.airy_ai special.bessel_j0 special.bessel_j1 special.bessel_y0 special.bessel_y1
        special.chebyshev_polynomial_t special.chebyshev_polynomial_u special.chebyshev_polynomial_v
        special.chebyshev_polynomial_w special.digamma special.entr special.erf special.erfc special.erfcx
        special.erfinv special.exp2 special.expit special.expm1 special.gammainc special.gammaincc special.gammaln
        special.hermite_polynomial_h special.hermite_polynomial_he special.i0 special.i0e special.i1 special.i1e
        special.laguerre_polynomial_l special.legendre_polynomial_p special.log1p special.log_ndtr special.log_softmax
        special.logit special.logsumexp special.modified_bessel_i0 special.modified_bessel_i1
        special.modified_bessel_k0 special.modified_bessel_k1 special.multigammaln special.ndtr special.ndtri
        special.polygamma special.psi special.round special.scaled_modified_bessel_k0 special.scaled_modified_bessel_k1
        special.shifted_chebyshev_polynomial_t special.shifted_chebyshev_polynomial_u
        special.shifted_chebyshev_polynomial_v special.shifted_chebyshev_polynomial_w special.sinc special.softmax
        special.spherical_bessel_j0 special.xlog1py special.xlogy special.zeta
        """,
    ),
    Group(
        "linear layers and convolution",
        torch="""
        conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d gru_cell lstm_cell
        rnn_relu_cell rnn_tanh_cell
        """,
        functional="""
        bilinear conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d fold grouped_mm linear
        unfold
        """,
    ),
    Group("attention", functional="scaled_dot_product_attention"),
    Group(
        "pooling",
        torch="adaptive_avg_pool1d adaptive_max_pool1d avg_pool1d max_pool1d max_pool2d max_pool3d",
        functional="""
        adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
        adaptive_max_pool1d_with_indices adaptive_max_pool2d adaptive_max_pool2d_with_indices adaptive_max_pool3d
        adaptive_max_pool3d_with_indices avg_pool1d avg_pool2d avg_pool3d fractional_max_pool2d
        fractional_max_pool2d_with_indices fractional_max_pool3d fractional_max_pool3d_with_indices lp_pool1d lp_pool2d
        lp_pool3d max_pool1d max_pool1d_with_indices max_pool2d max_pool2d_with_indices max_pool3d
        max_pool3d_with_indices max_unpool1d max_unpool2d max_unpool3d
        """,
    ),
    Group(
        "normalisation",
        torch="group_norm layer_norm rms_norm",
        functional="""
        batch_norm group_norm instance_norm layer_norm local_response_norm normalize rms_norm
        """,
    ),
    Group(
        "activation",
        torch="celu rrelu selu threshold",
        both="hardshrink log_softmax prelu relu softmax",
        functional="""
        celu celu_ elu elu_ gelu glu gumbel_softmax hardshrink hardsigmoid hardswish hardtanh hardtanh_ leaky_relu
        leaky_relu_ log_softmax logsigmoid mish prelu relu relu6 relu_ rrelu rrelu_ selu selu_ sigmoid silu softmax
        softmin softplus softshrink softsign tanh tanhshrink threshold threshold_
        """,
    ),
    Group(
        "dropout",
        torch="alpha_dropout dropout feature_alpha_dropout feature_dropout",
        functional="alpha_dropout dropout dropout1d dropout2d dropout3d feature_alpha_dropout",
    ),
    Group(
        "distances and losses",
        torch="""
        binary_cross_entropy_with_logits cosine_embedding_loss cosine_similarity ctc_loss hinge_embedding_loss kl_div
        margin_ranking_loss pairwise_distance poisson_nll_loss triplet_margin_loss
        """,
        functional="""
        binary_cross_entropy binary_cross_entropy_with_logits cosine_embedding_loss cosine_similarity cross_entropy
        ctc_loss gaussian_nll_loss hinge_embedding_loss huber_loss kl_div l1_loss margin_ranking_loss mse_loss
        multi_margin_loss multilabel_margin_loss multilabel_soft_margin_loss nll_loss pairwise_distance pdist
        poisson_nll_loss smooth_l1_loss soft_margin_loss triplet_margin_loss
        """,
    ),
    Group(
        "padding and vision",
        torch="affine_grid_generator constant_pad_nd grid_sampler grid_sampler_2d grid_sampler_3d",
        functional="""
        affine_grid channel_shuffle grid_sample interpolate pad pixel_shuffle pixel_unshuffle upsample
        upsample_bilinear upsample_nearest
        """,
    ),
    Group("embedding", functional="embedding embedding_bag one_hot"),
    Group(
        "dtype, device and memory",
        both="clone detach",
        tensor="""
        bfloat16 bool byte cdouble cfloat chalf char contiguous cpu cuda double float half int long short to type
        type_as
        """,
    ),
    Group(
        "questions",
        torch="can_cast is_tensor numel promote_types result_type",
        both="is_complex is_floating_point is_same_size is_signed",
        tensor="dim element_size get_device is_contiguous ndimension nelement numel size stride",
    ),
    Group(
        "in place",
        tensor="""
        abs_ absolute_ acos_ acosh_ add_ addbmm_ addcdiv_ addcmul_ addmm_ addmv_ addr_ arccos_ arccosh_ arcsin_
        arcsinh_ arctan2_ arctan_ arctanh_ asin_ asinh_ atan2_ atan_ atanh_ baddbmm_ bernoulli_ bitwise_and_
        bitwise_left_shift_ bitwise_not_ bitwise_or_ bitwise_right_shift_ bitwise_xor_ cauchy_ ceil_ clamp_ clamp_max_
        clamp_min_ clip_ conj_physical_ copy_ copysign_ cos_ cosh_ cumprod_ cumsum_ deg2rad_ digamma_ div_ divide_ eq_
        erf_ erfc_ erfinv_ exp2_ exp_ expm1_ exponential_ fill_ fill_diagonal_ fix_ float_power_ floor_ floor_divide_
        fmod_ frac_ gcd_ ge_ geometric_ greater_ greater_equal_ gt_ heaviside_ hypot_ i0_ igamma_ igammac_ index_add_
        index_copy_ index_fill_ index_put_ index_reduce_ lcm_ ldexp_ le_ lerp_ less_ less_equal_ lgamma_ log10_ log1p_
        log2_ log_ log_normal_ logical_and_ logical_not_ logical_or_ logical_xor_ logit_ lt_ masked_fill_
        masked_scatter_ mul_ multiply_ mvlgamma_ nan_to_num_ ne_ neg_ negative_ nextafter_ normal_ not_equal_
        polygamma_ pow_ put_ rad2deg_ random_ reciprocal_ relu_ remainder_ renorm_ round_ rsqrt_ scatter_ scatter_add_
        scatter_reduce_ sgn_ sigmoid_ sign_ sin_ sinc_ sinh_ sqrt_ square_ sub_ subtract_ tan_ tanh_ tril_ triu_
        true_divide_ trunc_ uniform_ xlogy_ zero_
        """,
    ),
)

# --- reviewed corrections -------------------------------------------------------------------------------------------

# Ways to call what torch does not describe, or describes too loosely; several forms are separated by `|`. `name=` may
# be left out, `name*` takes any number of values by position, and what follows `*` is given by name.
CORRECTED_FORMS: Final[dict[str, str]] = {
    "torch.arange": (
        "start, end=, step=, *, dtype=, device=, requires_grad= | "
        "*, end, start=, step=, dtype=, device=, requires_grad="
    ),
    "torch.as_tensor": "data, dtype=, device=",
    "torch.atleast_1d": "tensors*",
    "torch.atleast_2d": "tensors*",
    "torch.atleast_3d": "tensors*",
    "torch.block_diag": "tensors*",
    "torch.broadcast_shapes": "shapes*",
    "torch.broadcast_tensors": "tensors*",
    "torch.cartesian_prod": "tensors*",
    "torch.chain_matmul": "matrices*",
    "torch.einsum": "equation, operands*",
    "torch.is_tensor": "obj",
    "torch.meshgrid": "tensors*, *, indexing=",
    "torch.nonzero": "input, *, as_tuple=",
    "torch.normal": "mean, std=, size=, *, dtype=, device=, requires_grad=",
    "torch.numel": "input",
    "torch.range": "start, end=, step=, *, dtype=, device=, requires_grad=",
    "torch.tensor": "data, *, dtype=, device=, requires_grad=",
    "torch.unique": "input, sorted=, return_inverse=, return_counts=, dim=",
    "torch.unique_consecutive": "input, return_inverse=, return_counts=, dim=",
    "functional.adaptive_max_pool1d": "input, output_size, return_indices=",
    "functional.adaptive_max_pool2d": "input, output_size, return_indices=",
    "functional.adaptive_max_pool3d": "input, output_size, return_indices=",
    "functional.fractional_max_pool2d": "input, kernel_size, output_size=, output_ratio=, return_indices=",
    "functional.fractional_max_pool3d": "input, kernel_size, output_size=, output_ratio=, return_indices=",
    "functional.max_pool1d": "input, kernel_size, stride=, padding=, dilation=, ceil_mode=, return_indices=",
    "functional.max_pool2d": "input, kernel_size, stride=, padding=, dilation=, ceil_mode=, return_indices=",
    "functional.max_pool3d": "input, kernel_size, stride=, padding=, dilation=, ceil_mode=, return_indices=",
    "tensor.bfloat16": "",
    "tensor.bool": "",
    "tensor.byte": "",
    "tensor.cdouble": "",
    "tensor.cfloat": "",
    "tensor.chalf": "",
    "tensor.char": "",
    "tensor.copy_": "src, non_blocking=",
    "tensor.cpu": "",
    "tensor.cuda": "device=, non_blocking=",
    "tensor.double": "",
    "tensor.element_size": "",
    "tensor.float": "",
    "tensor.get_device": "",
    "tensor.half": "",
    "tensor.int": "",
    "tensor.is_contiguous": "",
    "tensor.long": "",
    "tensor.ndimension": "",
    "tensor.new_tensor": "data, *, dtype=, device=, requires_grad=",
    "tensor.nonzero": "*, as_tuple=",
    "tensor.numel": "",
    "tensor.nelement": "",
    "tensor.short": "",
    "tensor.to": "device=, dtype=, non_blocking=, copy= | dtype, non_blocking=, copy= | tensor, non_blocking=, copy=",
    "tensor.type": "dtype, non_blocking=",
}

# What comes back, where torch's schema does not tell or where it depends on the values of the arguments.
CORRECTED_RESULTS: Final[dict[str, str]] = {
    "tensor.bfloat16": "tensor",
    "tensor.bool": "tensor",
    "tensor.byte": "tensor",
    "tensor.cdouble": "tensor",
    "tensor.cfloat": "tensor",
    "tensor.char": "tensor",
    "tensor.double": "tensor",
    "tensor.element_size": "number",
    "tensor.float": "tensor",
    "tensor.get_device": "number",
    "tensor.half": "tensor",
    "tensor.int": "tensor",
    "tensor.is_contiguous": "flag",
    "tensor.long": "tensor",
    "tensor.ndimension": "number",
    "tensor.nelement": "number",
    "tensor.new_tensor": "tensor",
    "tensor.nonzero": "unknown",
    "tensor.numel": "number",
    "tensor.short": "tensor",
    "tensor.size": "unknown",
    "tensor.stride": "unknown",
    "tensor.type": "tensor",
    "tensor.unique_consecutive": "unknown",
    "torch.broadcast_shapes": "unknown",
    "torch.broadcast_tensors": "tensors",
    "torch.can_cast": "flag",
    "torch.gradient": "tensors",
    "torch.is_tensor": "flag",
    "torch.meshgrid": "tensors",
    "torch.nonzero": "unknown",
    "torch.numel": "number",
    "torch.pca_lowrank": "tensor*3",
    "torch.promote_types": "dtype",
    "torch.result_type": "dtype",
    "torch.svd_lowrank": "tensor*3",
    "torch.unique_consecutive": "unknown",
    "torch.unravel_index": "tensors",
    "torch.where": "unknown",
}

# Functions whose result may be (a view of) an argument although the schema promises nothing: `dropout` in evaluation,
# `type_as` of the same dtype, `einsum` that only permutes, what goes through Python.
MAY_SHARE: Final[frozenset[str]] = frozenset(
    """
    adjoint alpha_dropout as_strided as_tensor atleast_1d atleast_2d atleast_3d bfloat16 block_diag bool
    broadcast_tensors broadcast_to byte cartesian_prod cdouble cfloat chain_matmul chalf channel_shuffle char
    combinations conj conj_physical contiguous cpu cuda detach diagonal double dropout dropout1d dropout2d dropout3d
    einsum expand_as feature_alpha_dropout feature_dropout flatten float half int istft linalg.diagonal
    linalg.matrix_power linalg.multi_dot long matrix_power meshgrid pad pixel_shuffle pixel_unshuffle positive ravel
    reshape_as resolve_conj resolve_neg short split_with_sizes sum_to_size tensordot to type type_as unflatten unfold
    unsafe_chunk unsafe_split unsafe_split_with_sizes view_as
    """.split()  # noqa: SIM905
)

# Arguments that a call may change in place, other than `input` under `inplace=True` (which the generator sees).
MUTATES: Final[dict[str, tuple[str, ...]]] = {
    "functional.batch_norm": ("running_mean", "running_var"),
    "functional.instance_norm": ("running_mean", "running_var"),
}
