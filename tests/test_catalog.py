"""The catalog of layers against torch itself: names, signatures, types, bounds and rules."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import typing
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from confnet.builder import introspect
from confnet.catalog import constraints, layers
from confnet.catalog.arguments import Argument, Bound, Callee, bind
from confnet.catalog.initializers import initializer, initializer_names
from confnet.catalog.layers import NOT_LAYERS, WITHHELD, torch_layers
from confnet.catalog.parametrizations import parametrization, parametrization_names
from confnet.catalog.registry import Registry, load_plugin, lookup
from confnet.catalog.types import DTYPES, MISMATCH, UNKNOWN_VALUE, TensorLiteral, Type
from confnet.diagnostics import Span
from confnet.language.kinds import TENSOR
from confnet.plan import DTypeName, LayerName, ModulePlan

LAYERS = torch_layers()
MODULE = ModulePlan("ReLU", Span("f.yaml", 1, 1, 1, 2))


def problems(name: str, *positional: object, **keywords: object) -> list[tuple[object, str, str, str]]:
    layer = lookup(name)
    assert layer is not None
    return [(p.where, p.code, p.message, p.help) for p in bind(layer, positional, keywords).problems]


# --- the data -----------------------------------------------------------------------------------------------------


def test_the_shipped_file_is_what_introspection_gives() -> None:
    pinned = json.loads(introspect.DATA.read_text())["torch"]
    if torch.__version__.split("+")[0] != pinned:
        pytest.skip(f"the shipped catalog is of torch {pinned}")
    assert introspect.DATA.read_text() == introspect.text_of(introspect.collect())


def test_writing_replaces_the_file_whole(tmp_path: Path) -> None:
    target = tmp_path / "layers.json"
    target.write_text("old")
    introspect.write(target)
    assert json.loads(target.read_text())["layers"].keys() == LAYERS.keys()
    assert [path.name for path in tmp_path.iterdir()] == ["layers.json"]


def test_other_data_can_be_installed() -> None:
    try:
        layers.install({**layers.shipped(), "torch": "1.0.0", "layers": {}})
        assert lookup("Linear") is None
        assert layers.torch_version() == "1.0.0"
    finally:
        layers.install(None)
    assert lookup("Linear") == LAYERS["Linear"]


def test_every_public_class_is_a_layer_or_has_a_reason_not_to_be() -> None:
    public = introspect.public_classes().keys()
    assert set(public) == set(LAYERS) | set(NOT_LAYERS)
    assert not set(LAYERS) & set(NOT_LAYERS)
    assert len(LAYERS) > 150


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_names_and_defaults_are_those_of_the_signature(name: str) -> None:
    layer = LAYERS[name]
    visible = inspect.signature(getattr(nn, name).__init__).parameters
    if name in ("RNN", "LSTM", "GRU", *introspect.CONTAINERS) or "args" in visible:
        return
    expected = [p for p in list(visible.values())[1:] if p.name not in WITHHELD]
    assert [argument.name for argument in layer.arguments] == [p.name for p in expected]
    for argument, parameter in zip(layer.arguments, expected, strict=True):
        assert argument.required == (parameter.default is inspect.Parameter.empty)
        if isinstance(parameter.default, bool | int | float | str):
            assert argument.default == parameter.default
            assert type(argument.default) is type(parameter.default)
        if argument.positional:
            assert parameter.kind is parameter.POSITIONAL_OR_KEYWORD
            before = list(visible)[1 : list(visible).index(argument.name)]
            assert not [earlier for earlier in before if earlier in WITHHELD]


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_defaults_and_types_belong_together(name: str) -> None:
    for argument in LAYERS[name].arguments:
        assert str(Type.parse(argument.type)) == argument.type
        if not argument.required:
            assert bind(Callee(name, (argument,)), (), {argument.name: argument.default}).problems == ()


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_forward_is_that_of_torch(name: str) -> None:
    layer, forward = LAYERS[name], getattr(nn, name).forward
    assert layer.has_forward == (forward is not nn.Module.forward)
    if not layer.has_forward:
        return
    signature = inspect.signature(forward)
    taken = list(signature.parameters.values())[1:]
    assert [(p.name, p.required) for p in layer.forward.parameters] == [(p.name, p.default is p.empty) for p in taken]
    assert (layer.forward.result == TENSOR) == (typing.get_type_hints(forward).get("return") is torch.Tensor)


@pytest.mark.parametrize("name", sorted(set(LAYERS) - set(introspect.CONTAINERS)))
def test_samples_are_accepted_and_torch_makes_them(name: str) -> None:
    layer = LAYERS[name]
    for sample in introspect.sample_arguments(name):
        modules = {a.name: MODULE for a in layer.arguments if a.takes_module and a.required}
        bound = bind(layer, (), {**sample, **modules})
        assert bound.problems == ()
        module = introspect.make(name, {**bound.keywords, **dict.fromkeys(modules)})
        registered = [*module._parameters, *module._buffers]
        assert all(layer.registers(own) for own in registered)
        assert {child for child, _ in module.named_children()} <= set(layer.children)
        for argument in layer.arguments:
            assert not argument.settable or argument.name in module.__dict__


def test_hidden_signatures_are_known() -> None:
    names = ["input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional"]
    assert [a.name for a in LAYERS["LSTM"].arguments] == [*names, "proj_size", "dtype"]
    assert [a.name for a in LAYERS["GRU"].arguments] == [*names, "dtype"]
    assert [a.name for a in LAYERS["RNN"].arguments] == [*names[:3], "nonlinearity", *names[3:], "dtype"]
    assert LAYERS["MultiheadAttention"].argument("embed_dim") == Argument("embed_dim", "int", ge=1)
    assert LAYERS["LSTM"].registers("weight_hh_l10_reverse")
    assert not LAYERS["LSTM"].registers("weight")
    assert LAYERS["Tanh"].arguments == ()
    assert problems("Tanh", 1)[0][1] == "too-many-arguments"
    assert problems("Identity", 1, anything="goes") == []
    assert LAYERS["ReLU6"].bases == ("Hardtanh",)


def test_the_catalog_is_read_without_torch() -> None:
    code = "import sys, confnet.catalog.registry as r; r.lookup('Conv2d'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- types --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        ("int", 3, 3),
        ("int", True, MISMATCH),
        ("int", 3.0, MISMATCH),
        ("int", "3", MISMATCH),
        ("float", 3, 3.0),
        ("float", False, MISMATCH),
        ("float", "1e-3", MISMATCH),
        ("int | float", 3, 3),
        ("bool", 1, MISMATCH),
        ("str", 1, MISMATCH),
        ("int | tuple[int, int]", [1, 2], (1, 2)),
        ("int | tuple[int, int]", [1, 2, 3], MISMATCH),
        ("int | tuple[int, int]", [1, 2.0], MISMATCH),
        ("tuple[float, ...]", [1, 2], (1.0, 2.0)),
        ("tuple[int | None, int | None]", [None, 7], (None, 7)),
        ("list[int]", (1, 2), [1, 2]),
        ("list[list[int]]", [[1], []], [[1], []]),
        ("list[str]", ["a", 1], MISMATCH),
        ("dtype | None", "float16", DTypeName("float16")),
        ("dtype", "torch.half", DTypeName("float16")),
        ("dtype", "float17", MISMATCH),
        ("layer", "BatchNorm2d", LayerName("BatchNorm2d")),
        ("layer", "relu", MISMATCH),
        ("module", MODULE, MODULE),
        ("module", "ReLU", MISMATCH),
        ("'same' | 'valid'", "same", "same"),
        ("'same' | 'valid'", "sam", MISMATCH),
        ("tensor", [1, 2.5], TensorLiteral((1, 2.5), (2,))),
        ("tensor", [[1, 2], [3, 4]], TensorLiteral(((1, 2), (3, 4)), (2, 2))),
        ("tensor", [[1, 2], [3]], MISMATCH),
        ("tensor", [True], MISMATCH),
        ("tensor", 1.0, MISMATCH),
        ("dict", {"a": 1}, {"a": 1}),
        ("any", "x", "x"),
        ("int | tuple[int, int]", UNKNOWN_VALUE, UNKNOWN_VALUE),
        ("tuple[int, int]", [UNKNOWN_VALUE, 1], (UNKNOWN_VALUE, 1)),
        ("tensor", [UNKNOWN_VALUE, 1], TensorLiteral((UNKNOWN_VALUE, 1), (2,))),
    ],
)
def test_coerce(type_: str, value: object, expected: object) -> None:
    found = Type.parse(type_).coerce(value)
    assert found == expected
    assert type(found) is type(expected)
    assert Type.parse(type_).accepts(value) == (expected is not MISMATCH)


@pytest.mark.parametrize(
    "text", ["", "integer", "int |", "tuple", "tuple[]", "list[int, int]", "tuple[int", "int]", "a-b"]
)
def test_what_is_no_type(text: str) -> None:
    with pytest.raises(ValueError, match="is not a type"):
        Type.parse(text)


@pytest.mark.parametrize(
    ("type_", "words"),
    [
        ("int | tuple[int, int]", "an integer or a pair of integers"),
        ("int | tuple[int, int, int] | 'valid' | 'same'", "an integer, a list of three integers, `valid` or `same`"),
        ("float | None", "a number or null"),
        ("tuple[int, ...]", "a list of integers"),
        ("list[int | None]", "a list of integers or null"),
        ("module | None", "a module or null"),
    ],
)
def test_types_in_words(type_: str, words: str) -> None:
    assert Type.parse(type_).describe() == words


def test_every_dtype_named_is_one_of_torch() -> None:
    for name, canonical in DTYPES.items():
        assert getattr(torch, name) == getattr(torch, canonical)
        assert str(getattr(torch, name)) == f"torch.{canonical}"


# --- names and counts ---------------------------------------------------------------------------------------------


def test_a_near_miss_explains_what_is_missing() -> None:
    assert problems("Conv2d", in_channels=1, out_channels=6, kernal_size=5) == [
        ("kernal_size", "unknown-argument", "`Conv2d` has no argument `kernal_size`", "did you mean `kernel_size`?")
    ]


def test_an_unknown_name_far_from_any_lists_the_arguments() -> None:
    assert problems("Dropout", zebra=1) == [
        ("zebra", "unknown-argument", "`Dropout` has no argument `zebra`", "`Dropout` takes `p` and `inplace`")
    ]


def test_missing_and_doubled_arguments() -> None:
    assert problems("Linear", 3) == [(None, "missing-argument", "`Linear` is missing its argument `out_features`", "")]
    assert problems("Linear", 3, 4, in_features=3)[0][:3] == (
        "in_features",
        "duplicate-argument",
        "`in_features` of `Linear` is given by position and by name",
    )


@pytest.mark.parametrize(
    ("name", "positional", "where", "help_"),
    [
        ("AdaptiveAvgPool2d", [7, 7], 1, "write `[[7, 7]]` to give one list as `output_size`"),
        ("ZeroPad2d", [1, 1, 2, 2], 1, "write `[[1, 1, 2, 2]]` to give one list as `padding`"),
        ("Unflatten", [1, 2, 3], 2, "write `[1, [2, 3]]` to give one list as `unflattened_size`"),
        ("L1Loss", ["sum"], 0, "give `reduction` by name"),
        ("ReLU", [True, 3], 1, ""),
    ],
)
def test_too_many(name: str, positional: list[object], where: int, help_: str) -> None:
    found = problems(name, *positional)
    assert [(p[0], p[1]) for p in found] == [(where, "too-many-arguments")]
    assert found[0][3].endswith(help_)


def test_withheld_arguments_say_why() -> None:
    assert problems("Linear", 1, 2, device="cpu")[0][1:] == (
        "unknown-argument",
        "`Linear` has no argument `device`",
        "the caller of `build` chooses the device; remove it",
    )
    assert "reduction" in problems("MSELoss", size_average=True)[0][3]


# --- values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "keywords", "code", "message", "help_"),
    [
        ("Conv2d", {"kernel_size": "abc"}, "invalid-type", "takes an integer or a pair of integers, not the text `abc`",
         ""),
        ("Conv2d", {"kernel_size": "3"}, "invalid-type", "takes an integer or a pair of integers, not the text `3`",
         "remove the quotes"),
        ("Conv2d", {"kernel_size": 3.0}, "invalid-type", "takes an integer or a pair of integers, not the number `3.0`",
         "write `3`"),
        ("Conv2d", {"bias": "no"}, "invalid-type", "takes true or false, not the text `no`", "write `false`"),
        ("Conv2d", {"bias": "on"}, "invalid-type", "takes true or false, not the text `on`", "write `true`"),
        ("Conv2d", {"bias": 0}, "invalid-type", "takes true or false, not the number `0`", "write `false`"),
        ("Conv2d", {"padding": "sam"}, "invalid-value",
         "takes an integer, a pair of integers, `valid` or `same`, not the text `sam`", "did you mean `same`?"),
        ("Conv2d", {"padding_mode": "zero"}, "invalid-value",
         "takes `zeros`, `reflect`, `replicate` or `circular`, not the text `zero`", "did you mean `zeros`?"),
        ("Conv2d", {"stride": 0}, "invalid-value", "must be at least 1, not `0`", ""),
        ("Conv2d", {"stride": [1, 0]}, "invalid-value", "must be at least 1, not `[1, 0]`", ""),
        ("Conv2d", {"dtype": "flaot16"}, "invalid-value", "takes a dtype or null, not `flaot16`",
         "did you mean `float16`?"),
        ("Dropout", {"p": 1.5}, "invalid-value", "must be between 0 and 1, not `1.5`", ""),
        ("Dropout", {"p": float("nan")}, "invalid-value", "must be between 0 and 1, not `.nan`", ""),
        ("Dropout", {"p": "none"}, "invalid-type", "takes a number, not the text `none`", ""),
        ("Upsample", {"size": "none"}, "invalid-type",
         "takes an integer, a list of integers or null, not the text `none`", "write `null`"),
        ("MultiMarginLoss", {"p": 3}, "invalid-value", "takes `1` or `2`, not the number `3`", ""),
        ("CrossEntropyLoss", {"weight": [1, "a"]}, "invalid-type",
         "takes a list of numbers or null, not the list `[1, a]`", ""),
        ("GELU", {"approximate": "Tanh"}, "invalid-value", "takes `none` or `tanh`, not the text `Tanh`",
         "did you mean `tanh`?"),
    ],
)  # fmt: skip
def test_wrong_values(name: str, keywords: dict[str, object], code: str, message: str, help_: str) -> None:
    argument = next(iter(keywords))
    sample = introspect.sample_arguments(name)[0]
    assert problems(name, **{**sample, **keywords}) == [(argument, code, f"`{argument}` of `{name}` {message}", help_)]


def test_a_list_that_spreads_by_mistake() -> None:
    assert problems("LayerNorm", 8, 16) == [
        (
            1,
            "invalid-value",
            "`eps` of `LayerNorm` would be `16`: a list spreads into arguments",
            "write `[[8, 16]]` to give one list as `normalized_shape`",
        )
    ]
    assert len(problems("RMSNorm", 8, 16, 4)) == 1
    assert len(problems("LayerNorm", 8, 16, 4, 2, 1, 1)) == 1
    assert problems("LayerNorm", [8, 16]) == []
    assert problems("LayerNorm", 8, 1e-6) == []
    assert problems("LayerNorm", 8, eps=1) == []
    assert problems("ConstantPad1d", 1, 2) == []
    spread = problems("CrossEntropyLoss", 0.1, 0.9)
    assert len(spread) == 1
    assert "[[0.1, 0.9]]" in spread[0][3]


def test_modules_stand_where_modules_are_taken() -> None:
    assert problems("TransformerEncoder", encoder_layer=MODULE, num_layers=2) == []
    assert problems("TransformerEncoder", "ReLU", 2)[0][1] == "invalid-type"
    assert problems("Linear", MODULE, 2)[0][1] == "invalid-type"
    assert problems("TransformerEncoderLayer", 4, 2, activation="tanh")[0][1] == "invalid-value"


def test_values_come_back_converted_in_the_form_given() -> None:
    found = bind(LAYERS["Conv2d"], [1, 2, [3, 3]], {"stride": [1, 2], "dtype": "half"})
    assert found == Bound((), (1, 2, (3, 3)), {"stride": (1, 2), "dtype": DTypeName("float16")})


def test_what_was_reported_elsewhere_is_not_reported_again() -> None:
    unknown = UNKNOWN_VALUE
    assert problems("Conv2d", unknown, unknown, [unknown, 3], groups=7, padding=unknown) == []
    assert problems("MultiheadAttention", unknown, 3) == []
    assert [p[0] for p in problems("Conv2d", unknown, 2, -1)] == [2]


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_no_argument_takes_just_anything(name: str) -> None:
    for argument in LAYERS[name].arguments:
        stranger = Callee(name, (argument,))
        for value in ({"a": 1}, "no such text", [[["x"]]]):
            assert bind(
                stranger, (value,) if argument.positional else (), {} if argument.positional else {argument.name: value}
            ).problems


def test_definitions_are_served_too() -> None:
    stride = Argument("stride", "int", False, 1, choices=(1, 2))
    rate = Argument("rate", "float | None", False, None, gt=0, lt=1)
    block = Callee(
        "Block",
        (
            Argument("channels", "int", ge=1),
            stride,
            rate,
            Argument("act", "module"),
            Argument("sizes", "list[int]", False, [], le=9),
        ),
    )
    assert bind(block, [4], {"act": MODULE, "rate": None, "sizes": [9]}).problems == ()
    found = bind(block, [0, 3], {"act": "ReLU", "rate": 1, "sizes": [1, 10]}).problems
    assert [(p.where, p.code) for p in found] == [
        (0, "invalid-value"),
        (1, "invalid-value"),
        ("act", "invalid-type"),
        ("rate", "invalid-value"),
        ("sizes", "invalid-value"),
    ]
    assert found[3].message == "`rate` of `Block` must be greater than 0 and less than 1, not `1`"


# --- bounds and rules against torch -------------------------------------------------------------------------------


def _images(name: str) -> torch.Tensor:
    digits = [int(c) for c in name if c.isdigit() and name.endswith(f"{c}d")]
    return torch.rand(2, 4, *[8] * (digits[0] if digits else 2))


def _inputs(name: str) -> tuple[torch.Tensor, ...]:
    """Inputs for which the layer's sample works."""
    sequence, row = torch.rand(3, 2, 4), torch.rand(2, 4)
    ids = torch.zeros(2, 3, dtype=torch.long)
    known: dict[str, tuple[torch.Tensor, ...]] = {
        **dict.fromkeys(("Linear", "LazyLinear", "RNNCell", "LSTMCell", "GRUCell", "LayerNorm", "RMSNorm"), (row,)),
        **dict.fromkeys(("RNN", "LSTM", "GRU", "TransformerEncoder", "TransformerEncoderLayer"), (sequence,)),
        **dict.fromkeys(("Transformer", "TransformerDecoder", "TransformerDecoderLayer"), (sequence, sequence)),
        **dict.fromkeys(("Embedding", "EmbeddingBag"), (ids,)),
        **dict.fromkeys(("SmoothL1Loss", "HuberLoss"), (row, row)),
        **dict.fromkeys(("TripletMarginLoss", "TripletMarginWithDistanceLoss"), (row, row, row)),
        **dict.fromkeys(("CrossEntropyLoss", "LinearCrossEntropyLoss", "MultiMarginLoss"), (row, torch.tensor([0, 1]))),
        "CosineEmbeddingLoss": (row, row, torch.ones(2)),
        "MultiheadAttention": (sequence, sequence, sequence),
        "Bilinear": (row, row),
        "Fold": (torch.rand(1, 9, 4),),
        "Unflatten": (row,),
        "CTCLoss": (sequence.log_softmax(2), ids[:, :2] + 1, torch.tensor([3, 3]), torch.tensor([1, 1])),
        "AdaptiveLogSoftmaxWithLoss": (row, torch.tensor([0, 7])),
    }
    if name.startswith("MaxUnpool"):
        pool = getattr(nn, name.replace("Unpool", "Pool"))
        return tuple(pool(2, return_indices=True)(_images(name)))
    return known.get(name) or (_images(name),)


def _torch_fails(name: str, keywords: dict[str, object]) -> bool:
    """Whether torch refuses the layer at construction or at its first forward in training."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            introspect.make(name, keywords, "cpu")(*_inputs(name))
        except Exception:
            return True
    return False


def _sample(name: str) -> dict[str, object]:
    """A small sample that runs."""
    found = dict(introspect.sample_arguments(name)[-1 if name == "Transformer" else 0])
    if name == "Fold":
        found.update(output_size=4, kernel_size=3, padding=0)
    if name.startswith("MaxUnpool"):
        found.update(kernel_size=2)
    if name.startswith(("ConvTranspose", "LazyConvTranspose")):
        found.update(stride=2)
    return found


def _violations(bounds: constraints.Bounds) -> list[object]:
    if bounds.choices:
        return [3]
    found: list[object] = []
    for bound, step in ((bounds.ge, -1), (bounds.le, 1)):
        found += [bound + step] if bound is not None else []
    return found + [bound for bound in (bounds.gt, bounds.lt) if bound is not None]


_CASES = [
    pytest.param(name, argument.name, value, bounds.source, id=f"{name}.{argument.name}={value}")
    for name, layer in LAYERS.items()
    for argument in layer.arguments
    if (bounds := constraints.bounds_of(name, argument.name)) is not None
    for value in _violations(bounds)
]


@pytest.mark.parametrize("name", sorted({str(case.values[0]) for case in _CASES}))
def test_the_samples_of_bounded_layers_run(name: str) -> None:
    assert not _torch_fails(name, _sample(name))


@pytest.mark.parametrize(("name", "argument", "value", "source"), _CASES)
def test_torch_refuses_what_a_bound_refuses(name: str, argument: str, value: object, source: str) -> None:
    keywords = {**_sample(name), argument: [value] * 2 if argument in ("unflattened_size", "cutoffs") else value}
    if argument == "scale_factor":
        keywords["size"] = None
    modules = {a.name: MODULE for a in LAYERS[name].arguments if a.takes_module and a.required}
    found = problems(name, **{**keywords, **modules})
    assert argument in [p[0] for p in found]
    assert all(p[1] == "invalid-value" for p in found)
    if "doc:" not in source and (argument, value) != ("dropout", -1):  # attention skips a negative dropout
        torch_keywords = {**keywords, **dict.fromkeys(modules)}
        assert _torch_fails(name, torch_keywords)


def test_every_bound_is_of_some_argument() -> None:
    owners = {
        **LAYERS,
        **{n: initializer(n) for n in initializer_names()},
        **{n: parametrization(n) for n in parametrization_names()},
    }
    used = {
        id(constraints.bounds_of(name, argument.name))
        for name, owner in owners.items()
        if owner is not None
        for argument in owner.arguments
    }
    assert all(id(bounds) in used for bounds in constraints.BOUNDS)


_RULE_CASES: list[tuple[str, dict[str, object], dict[str, object]]] = [
    ("Conv2d", {"groups": 2}, {"groups": 3}),
    ("LazyConv2d", {"groups": 2}, {"groups": 3}),
    ("Conv2d", {"padding": "same"}, {"padding": "same", "stride": 2}),
    ("Conv1d", {"padding": "same", "stride": [1]}, {"padding": "same", "stride": [2]}),
    ("ConvTranspose2d", {"stride": 2, "output_padding": 1}, {"stride": 1, "output_padding": 1}),
    ("ConvTranspose2d", {"stride": 1, "dilation": 2, "output_padding": 1}, {"stride": [2, 1], "output_padding": 1}),
    ("MaxPool2d", {"kernel_size": 3, "padding": 1}, {"kernel_size": 3, "padding": 2}),
    ("MaxPool1d", {"kernel_size": 4, "padding": 2}, {"kernel_size": 3, "padding": 2, "dilation": 2}),
    ("AvgPool2d", {"kernel_size": [2, 4], "padding": [0, 2]}, {"kernel_size": [2, 4], "padding": 2}),
    ("AvgPool3d", {"divisor_override": -1}, {"divisor_override": 0}),
    ("LPPool2d", {"norm_type": 1.0}, {"norm_type": 0.0}),
    ("FractionalMaxPool2d", {"output_size": None, "output_ratio": 0.5}, {"output_size": 3, "output_ratio": 0.5}),
    ("FractionalMaxPool2d", {}, {"output_size": None}),
    ("Embedding", {"padding_idx": -8}, {"padding_idx": 8}),
    ("Embedding", {"padding_idx": 7}, {"padding_idx": -9}),
    ("EmbeddingBag", {"mode": "sum", "sparse": True}, {"mode": "max", "sparse": True}),
    ("EmbeddingBag", {"scale_grad_by_freq": True}, {"mode": "max", "scale_grad_by_freq": True}),
    ("BatchNorm2d", {"affine": False}, {"num_features": 0}),
    ("BatchNorm2d", {}, {"num_features": 0, "affine": False}),
    ("BatchNorm2d", {}, {"num_features": 0, "track_running_stats": False}),
    ("GroupNorm", {"num_groups": 4}, {"num_groups": 3}),
    ("LayerNorm", {"normalized_shape": [4]}, {"normalized_shape": []}),
    ("LSTM", {"proj_size": 3}, {"proj_size": 4}),
    ("MultiheadAttention", {"num_heads": 4}, {"num_heads": 3}),
    ("TransformerEncoderLayer", {"nhead": 1}, {"nhead": 3}),
    ("Upsample", {"size": None, "scale_factor": 2.0}, {"scale_factor": 2.0}),
    ("UpsamplingNearest2d", {}, {"size": None}),
    ("Upsample", {"mode": "bilinear", "align_corners": True}, {"align_corners": True}),
    ("Upsample", {"recompute_scale_factor": False}, {"recompute_scale_factor": True}),
    ("Hardtanh", {"min_val": 0.0}, {"min_val": 1.0}),
    ("RReLU", {"lower": 0.1, "upper": 0.1}, {"lower": 0.5, "upper": 0.1}),
    ("RReLU", {}, {"lower": float("-inf")}),
    ("RReLU", {}, {"upper": float("inf")}),
    ("CELU", {"alpha": -1.0}, {"alpha": 0.0}),
    ("Unflatten", {"unflattened_size": [2, -1]}, {"unflattened_size": []}),
    ("Unflatten", {}, {"unflattened_size": [-1, -1]}),
    ("AdaptiveLogSoftmaxWithLoss", {"cutoffs": [7]}, {"cutoffs": [8]}),
    ("AdaptiveLogSoftmaxWithLoss", {}, {"cutoffs": []}),
    ("AdaptiveLogSoftmaxWithLoss", {}, {"cutoffs": [3, 3]}),
    ("AdaptiveLogSoftmaxWithLoss", {}, {"cutoffs": [4, 2]}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "good", "bad"), _RULE_CASES)
def test_rules_are_those_of_torch(name: str, good: dict[str, object], bad: dict[str, object]) -> None:
    sample = _sample(name)
    assert problems(name, **{**sample, **good}) == []
    assert not _torch_fails(name, {**sample, **good})
    assert [p[1] for p in problems(name, **{**sample, **bad})] == ["invalid-value"]
    assert _torch_fails(name, {**sample, **bad})


def test_every_rule_of_a_layer_has_a_case() -> None:
    broken: set[int] = set()
    for name, _, bad in _RULE_CASES:
        values = {a.name: a.default for a in LAYERS[name].arguments} | _sample(name) | bad
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        broken |= {id(r) for r in LAYERS[name].rules if r.broken(*(values[read] for read in r.reads)) is not None}
    for entry in constraints.RULES:
        assert entry.layers == ("uniform_", "trunc_normal_") or id(entry.rule) in broken, entry


# --- initialisers and parametrizations ----------------------------------------------------------------------------


def test_every_initialiser_is_known() -> None:
    assert set(initializer_names()) == {n for n in dir(nn.init) if n.endswith("_") and not n.startswith("_")}
    for name in initializer_names():
        found = initializer(name)
        assert found is not None
        signature = inspect.signature(getattr(nn.init, name)).parameters
        assert [a.name for a in found.arguments] == [n for n in signature if n not in ("tensor", "generator")]
        assert all(a.required or a.default == signature[a.name].default for a in found.arguments)
    assert initializer("calculate_gain") is None
    assert initializer("zero_") is None


@pytest.mark.parametrize("name", initializer_names())
def test_dimensions_are_those_of_torch(name: str) -> None:
    found = initializer(name)
    assert found is not None
    given = {a.name: 0.5 for a in found.arguments if a.required}
    for count in range(1, 7):
        shape = (2,) * count
        try:
            getattr(nn.init, name)(torch.empty(shape), **given)
            works = True
        except (ValueError, RuntimeError):
            works = False
        assert found.takes_shape(shape) == works


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("normal_", {"std": -1.0}),
        ("trunc_normal_", {"std": 0.0}),
        ("trunc_normal_", {"a": 2.0, "b": 1.0}),
        ("uniform_", {"a": 1.0, "b": 0.0}),
        ("xavier_uniform_", {"gain": -1.0}),
        ("xavier_normal_", {"gain": -1.0}),
        ("kaiming_normal_", {"mode": "fan"}),
        ("kaiming_uniform_", {"nonlinearity": "gelu"}),
        ("sparse_", {"sparsity": 0.5, "std": -1.0}),
        ("dirac_", {"groups": 0}),
    ],
)
def test_initialisers_refuse_what_torch_refuses(name: str, bad: dict[str, object]) -> None:
    found = initializer(name)
    assert found is not None
    assert [p.code for p in bind(found, (), bad).problems] == ["invalid-value"]
    with pytest.raises((ValueError, RuntimeError, ZeroDivisionError)):
        getattr(nn.init, name)(torch.empty(4, 4, 3) if name == "dirac_" else torch.empty(4, 4), **bad)


def test_initialiser_calls() -> None:
    constant = initializer("constant_")
    assert constant is not None
    assert bind(constant, (1,), {}).positional == (1.0,)
    assert [p.code for p in bind(constant, (), {}).problems] == ["missing-argument"]
    assert bind(constant, (1,), {"generator": 1}).problems[0].help.startswith("the caller")


def test_parametrizations() -> None:
    assert set(parametrization_names()) == set(nn.utils.parametrizations.__all__)
    norm, orthogonal, spectral = (parametrization(n) for n in ("weight_norm", "orthogonal", "spectral_norm"))
    assert norm
    assert orthogonal
    assert spectral
    assert bind(norm, (), {"dim": 2}).problems == ()
    assert bind(norm, (None,), {}).problems == ()
    assert bind(orthogonal, (), {"orthogonal_map": "caley"}).problems[0].help == "did you mean `cayley`?"
    assert bind(spectral, (), {"n_power_iterations": 0}).problems[0].code == "invalid-value"
    assert bind(norm, (), {"name": "weight"}).problems[0].code == "unknown-argument"
    assert parametrization("cayley") is None


# --- registration -------------------------------------------------------------------------------------------------


class Gate(nn.Module):
    """Gates its input.

    Not shown.
    """

    def __init__(  # type: ignore[no-untyped-def]  # `extra` has no annotation
        self,
        channels: int,
        mode: typing.Literal["soft", "hard"] = "soft",
        rate: float = None,  # type: ignore[assignment]  # noqa: RUF013
        sizes: list[int] | None = None,
        pair: tuple[int, int] = (1, 2),
        act: nn.Module | None = None,
        norm: type[nn.Module] = nn.BatchNorm2d,
        dtype: torch.dtype = torch.float32,
        extra=None,
        *,
        device: str | None = None,
        flag: "bool" = False,  # noqa: UP037
    ) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return x * scale


def test_a_registered_layer_is_checked_by_its_signature() -> None:
    registry = Registry()
    assert registry.register(Gate) is Gate
    gate = registry.lookup("Gate")
    assert gate is not None
    assert gate.cls is Gate
    assert gate.opaque
    assert gate.summary == "Gates its input."
    assert [(a.name, a.type, a.required, a.positional) for a in gate.arguments] == [
        ("channels", "int", True, True),
        ("mode", "'soft' | 'hard'", False, True),
        ("rate", "float | None", False, True),
        ("sizes", "list[int] | None", False, True),
        ("pair", "tuple[int, int]", False, True),
        ("act", "module | None", False, True),
        ("norm", "layer", False, True),
        ("dtype", "dtype", False, True),
        ("extra", "any", False, True),
        ("flag", "bool", False, False),
    ]
    assert [(p.name, p.required) for p in gate.forward.parameters] == [("x", True), ("scale", False)]
    assert gate.argument("norm") == Argument("norm", "layer", False, LayerName("BatchNorm2d"))
    assert bind(gate, [3], {"pair": [1, 2], "flag": True, "act": MODULE}).problems == ()
    wrong = bind(gate, ["3"], {"mode": "sof", "chanels": 1}).problems
    assert [(p.where, p.code) for p in wrong] == [
        (0, "invalid-type"),
        ("mode", "invalid-value"),
        ("chanels", "unknown-argument"),
    ]


def test_subclasses_of_layers_keep_their_signatures() -> None:
    registry = Registry()

    @registry.register(name="Special")
    class Local(nn.Conv2d):
        pass

    special = registry.lookup("Special")
    assert special is not None
    assert special.bases == ("Conv2d",)
    assert [a.name for a in special.arguments] == [a.name for a in LAYERS["Conv2d"].arguments]
    assert special.has_forward

    @registry.register
    class Bare(nn.Module):
        pass

    bare = registry.lookup("Bare")
    assert bare is not None
    assert not bare.has_forward
    assert bare.arguments == ()
    assert [p.code for p in bind(bare, [1], {}).problems] == ["too-many-arguments"]


def test_functions_are_registered_too() -> None:
    registry = Registry()

    @registry.register
    def halve(tensor, factor: float = 0.5, *more):  # type: ignore[no-untyped-def]
        return tensor * factor

    registry.register(lambda x: x, name="same")
    found = registry.function("halve")
    assert found is not None
    assert found.call is halve
    assert [(p.name, p.required) for p in found.signature.parameters] == [("tensor", True), ("factor", False)]
    assert found.signature.variadic
    assert registry.function("same") is not None
    assert [a.name for a in found.after(1).arguments] == ["factor"]
    assert registry.function("torch") is None


@pytest.mark.parametrize(
    ("obj", "name", "message"),
    [
        (Gate, "Linear", "is a name of torch.nn"),
        (Gate, "Module", "is a name of torch.nn"),
        (Gate, "gate", "cannot name a layer"),
        (Gate, "Ga-te", "cannot name a layer"),
        (len, "two words", "cannot name a function"),
        (lambda x: x, None, "cannot name a function"),
        (len, "lambda", "cannot name a function"),
        (len, "normal_", "has a meaning in files already"),
        (len, "torch", "has a meaning in files already"),
    ],
)
def test_names_that_cannot_be_registered(obj: object, name: str | None, message: str) -> None:
    registry = Registry()
    with pytest.raises(ValueError, match=message):
        registry.register(obj, name=name)
    assert registry == Registry()


def test_nothing_is_overridden() -> None:
    registry = Registry()
    registry.register(Gate)
    registry.register(Gate)
    with pytest.raises(ValueError, match="registered already"):
        registry.register(nn.Linear, name="Gate")
    with pytest.raises(TypeError, match="neither a subclass"):
        registry.register(int)
    with pytest.raises(TypeError, match="neither a subclass"):
        registry.register(3)


def test_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_plugin_of_tests.py").write_text("LOADED = True\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_plugin("a_plugin_of_tests").LOADED
    with pytest.raises(ImportError):
        load_plugin("no_such_plugin_at_all")
    with pytest.raises(ValueError, match="not the dotted name"):
        load_plugin("../a_plugin")
