"""The catalog's documentation: read from torch, plain text, complete; examples that build; plugins' own docstrings."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator

import pytest
import torch

import confnet
from confnet.builder import introspect, introspect_docs
from confnet.catalog import docstrings, functions
from confnet.catalog.documentation import (
    Documentation,
    example_of,
    function_documentation,
    hook_documentation,
    initializer_documentation,
    layer_documentation,
    parametrization_documentation,
)
from confnet.catalog.hooks import BUILTIN_HOOKS, HOOK_KINDS
from confnet.catalog.initializers import initializer_names
from confnet.catalog.layers import torch_layers
from confnet.catalog.parametrizations import parametrization_names
from confnet.catalog.registry import DEFAULT_REGISTRY

SPELLED = {"torch": "torch", "functional": "F", "tensor": "Tensor"}


def everything() -> Iterator[tuple[str, Documentation]]:
    for names, find in (
        (torch_layers(), layer_documentation),
        ([f"{SPELLED[space]}.{name}" for space in SPELLED for name in functions.names(space)], function_documentation),
        (initializer_names(), initializer_documentation),
        (parametrization_names(), parametrization_documentation),
        ([*HOOK_KINDS, *BUILTIN_HOOKS], hook_documentation),
    ):
        for name in names:
            found = find(name)
            assert found is not None, name
            yield name, found


# --- the data -----------------------------------------------------------------------------------------------------


def test_shipped_data_is_what_the_installed_torch_says() -> None:
    pinned = json.loads(introspect_docs.DATA.read_text(encoding="utf-8"))["torch"]
    if torch.__version__.split("+")[0] != pinned:
        pytest.skip(f"the shipped documentation is of torch {pinned}")
    # What there is to tell of is the other files of data, of which test_catalog and test_functions say the same.
    layers = json.loads(introspect.DATA.read_text(encoding="utf-8"))
    listed = json.loads(functions.DATA_FILE.read_text(encoding="utf-8"))["functions"]
    found = introspect_docs.text_of(introspect_docs.collect(layers, listed))
    assert found == introspect_docs.DATA.read_text(encoding="utf-8"), "run `python -m confnet.builder.introspect_docs`"


def test_everything_that_a_file_may_name_is_documented_in_plain_text() -> None:
    seen = 0
    for name, found in everything():
        assert found.summary, name
        for text in (found.summary, *found.arguments.values()):
            seen += 1
            assert text == " ".join(text.split()), name
            assert not re.search(r":\w+:`|``|\.\. \w+::|\\", text), (name, text)
            assert text.count("`") % 2 == 0, (name, text)
    assert seen > 4000


def test_only_known_arguments_are_documented() -> None:
    for name, layer in torch_layers().items():
        found = layer_documentation(name)
        assert found is not None
        assert found.arguments.keys() == {argument.name for argument in layer.arguments}, name


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("torch.cat", "generated/torch.cat.html"),
        ("torch.linalg.norm", "generated/torch.linalg.norm.html"),
        ("torch.special.erf", "special.html#torch.special.erf"),
        ("torch.conv2d", "generated/torch.nn.functional.conv2d.html"),
        ("F.relu", "generated/torch.nn.functional.relu.html"),
        ("F.relu_", "generated/torch.nn.functional.relu.html"),
        ("torch.relu", "generated/torch.nn.functional.relu.html"),
        ("Tensor.view", "generated/torch.Tensor.view.html"),
    ],
)
def test_pages_of_functions(name: str, page: str) -> None:
    found = function_documentation(name)
    assert found is not None
    assert found.url == "https://docs.pytorch.org/docs/stable/" + page


def test_a_layer() -> None:
    found = layer_documentation("Conv2d")
    assert found is not None
    assert found.summary == "Applies a 2D convolution over an input signal composed of several input planes."
    assert found.url == "https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html"
    assert found.arguments["padding_mode"] == (
        "`'zeros'`, `'reflect'`, `'replicate'` or `'circular'`. Default: `'zeros'`"
    )
    assert found.arguments["kernel_size"] == "Size of the convolving kernel"


def test_a_pointer_to_another_function_is_followed() -> None:
    found = function_documentation("Tensor.mean")
    assert found is not None
    assert found.summary.startswith("Returns the mean value of all elements in the `self` tensor.")
    found = function_documentation("Tensor.add_")
    assert found is not None
    assert found.summary.startswith("In-place version of `add`: Add a scalar or tensor to `self` tensor.")
    assert found.arguments["alpha"] == "the multiplier for `other`."


def test_functions_by_their_longer_names() -> None:
    assert function_documentation("torch.nn.functional.relu") == function_documentation("F.relu")
    assert function_documentation("nn.functional.relu") == function_documentation("F.relu")
    assert function_documentation("torch.Tensor.view") == function_documentation("Tensor.view")


@pytest.mark.parametrize("name", ["Conv2", "torch.save", "Tensor.numpy", "relu", "", "layers", "conv2d"])
def test_unknown_names(name: str) -> None:
    assert layer_documentation(name) is None
    assert function_documentation(name) is None
    assert initializer_documentation(name) is None
    assert hook_documentation(name) is None


def test_initialisers_and_hooks() -> None:
    found = initializer_documentation("kaiming_normal_")
    assert found is not None
    assert found.url == "https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.kaiming_normal_"
    assert found.arguments.keys() == {"a", "mode", "nonlinearity"}
    found = hook_documentation("capture")
    assert found is not None
    assert found.arguments.keys() == {"key", "detach", "append"}
    found = hook_documentation("forward")
    assert found is not None
    assert found.url.endswith("/generated/torch.nn.Module.html#torch.nn.Module.register_forward_hook")
    assert list(found.arguments) == ["module", "args", "output", "kwargs", "prepend", "with_kwargs", "always_call"]


def test_every_kind_of_hook_names_a_method_of_torch() -> None:
    for kind in HOOK_KINDS.values():
        owner, _, method = kind.method.rpartition(".")
        assert callable(getattr(torch.nn.Module if owner == "torch.nn.Module" else torch.Tensor, method))
        assert hook_documentation(kind.name) is not None


def test_the_documentation_needs_no_torch() -> None:
    code = (
        "import sys; from confnet.catalog import documentation as d\n"
        "assert d.layer_documentation('Conv2d') and d.example_of('Conv2d') and d.function_documentation('F.relu')\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- examples -----------------------------------------------------------------------------------------------------


def test_every_layer_has_an_example_that_validates_and_builds() -> None:
    for name in torch_layers():
        line = example_of(name)
        assert line.startswith(f"{name}: "), line
        assert "\n" not in line
        spec = confnet.loads(f"confnet: 1\n{line}\n")
        assert confnet.validate(spec, shapes=False).ok, line
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # a deprecated layer is still one
            model = confnet.build(spec, device="meta")
        assert isinstance(model, getattr(torch.nn, name)), line


def test_examples_read_well() -> None:
    assert example_of("Conv2d") == "Conv2d: {in_channels: 3, out_channels: 64, kernel_size: 3}"
    assert example_of("Linear") == "Linear: {in_features: 512, out_features: 10}"
    assert example_of("ReLU") == "ReLU: {}"
    with pytest.raises(KeyError):
        example_of("Conv2")


# --- plugins ------------------------------------------------------------------------------------------------------


class Scaled(torch.nn.Module):
    """Scales its input by a constant.

    Args:
        width (int): how many features there are
        mode: one of ``'sum'``
            or ``'mean'``
    """

    def __init__(self, width: int, mode: str = "sum", *, deep: bool = False) -> None:
        """Make it.

        :param deep: whether it is deep
        """
        super().__init__()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class Bare(torch.nn.Module):
    def __init__(
        self, rate: float, kind: type[torch.nn.Module], inner: torch.nn.Module, sizes: tuple[int, int]
    ) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def halve(x: torch.Tensor) -> torch.Tensor:
    """Halves a tensor.

    Parameters
    ----------
    x : Tensor
        what to halve
    """
    return x / 2


@pytest.fixture(scope="module")
def plugin() -> Iterator[None]:
    confnet.register(Scaled, name="DocumentedScaled")
    confnet.register(Bare, name="DocumentedBare")
    confnet.register(halve, name="documented_halve")
    yield
    for name in ("DocumentedScaled", "DocumentedBare"):
        del DEFAULT_REGISTRY.layers[name]
    del DEFAULT_REGISTRY.functions["documented_halve"]


@pytest.mark.usefixtures("plugin")
def test_registered_layers_and_functions_answer_from_their_docstrings() -> None:
    assert layer_documentation("DocumentedScaled") == Documentation(
        "Scales its input by a constant.",
        "",
        {"width": "how many features there are", "mode": "one of `'sum'` or `'mean'`", "deep": "whether it is deep"},
    )
    assert function_documentation("documented_halve") == Documentation("Halves a tensor.", "", {"x": "what to halve"})
    assert layer_documentation("DocumentedBare") == Documentation("")


@pytest.mark.usefixtures("plugin")
def test_examples_of_registered_layers_build() -> None:
    for name in ("DocumentedScaled", "DocumentedBare"):
        confnet.build(confnet.loads(f"confnet: 1\n{example_of(name)}\n"), device="meta")


# --- docstrings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f(x, *, y=(1, 2)) -> Tensor\n\nDoes it.\n\nMore.", "Does it."),
        ("\n    f(a,\n        b) -> Tensor:\n\n    Does\n    it.\n", "Does it."),
        (".. note::\n    Beware.\n\n    Really.\n\nDoes it.", "Does it."),
        ("Note:\n    Beware.\n\nDoes it.", "Does it."),
        ("Does it. The formula is:\n\n.. math::\n    x", "Does it."),
        ("The formula is:\n\n.. math::\n    x", "The formula is."),
        ("Uses :class:`~torch.nn.ReLU` and :func:`torch.add`.", "Uses `ReLU` and `torch.add`."),
        ("See :ref:`the notes <notes>` or `this page <https://x.org>`__.", "See the notes or this page."),
        (r"If :attr:`dim`\ `= None`, ``x`` is **not** flat.", "If `dim = None`, `x` is not flat."),
        (r"Scales by :math:`\frac{1}{\sqrt{d_{k}}}`.", "Scales by `1 / (sqrt(d_k))`."),
        (r"Of :math:`(N, C_{\text{in}}, H \times W)`.", "Of `(N, C_in, H * W)`."),
        ("- If one.\n- If other.", "If one. If other."),
        ("", ""),
        ("Args:\n    x: only that", ""),
        ("Does it. See :class:`~torch.nn.ReLU` for more details.", "Does it."),
    ],
)
def test_summaries(text: str, expected: str) -> None:
    assert docstrings.summary(text) == expected


GOOGLE = """Does it.

    Args:
        x (Tensor): the input
            over two lines. Default: ``1``

            More about it.
        y, z (int, optional): both
        *rest: further ones
        w: choices:

            - one

    Keyword args:
        out (Tensor, optional) : where to

    Returns:
        nothing: at all
    """
NUMPY = """Does it.

    Parameters
    ----------
    x : Tensor
        the input
    y, z
        both

    Returns
    -------
    w : int
        nothing
    """
FIELDS = """Does it.

    :param int x: the input
        over two lines
    :param y: other
    :returns: nothing
    """


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            GOOGLE,
            {
                "x": "the input over two lines. Default: `1`",
                "y": "both",
                "z": "both",
                "rest": "further ones",
                "w": "choices.",
                "out": "where to",
            },
        ),
        (NUMPY, {"x": "the input", "y": "both", "z": "both"}),
        (FIELDS, {"x": "the input over two lines", "y": "other"}),
        ("Does it.", {}),
    ],
)
def test_arguments(text: str, expected: dict[str, str]) -> None:
    assert docstrings.arguments(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("See `torch.add`.", "torch.add"),
        ("In-place version of `add`", "add"),
        ("Alias for `torch.lt`.", "torch.lt"),
        ("See `torch.add` or not.", ""),
        ("Adds.", ""),
    ],
)
def test_references(text: str, expected: str) -> None:
    assert docstrings.reference(text) == expected
