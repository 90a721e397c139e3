"""Every example against its oracle: hand-written PyTorch, or `transformers` for GPT-2.

Equal names under `load_state_dict(strict=True)`, equal classes, outputs and gradients in train and eval, and
everything a PyTorch user does with a module: compile, export, deepcopy, pickle, train/eval, to.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import confnet
from tests.oracle import assert_same_run, disturb, leaves
from tests.references.autoencoder import Autoencoder
from tests.references.blocks_vit import ViT
from tests.references.gpt2 import gpt2
from tests.references.inception_block import Inception
from tests.references.lenet5 import LeNet5
from tests.references.lstm_tagger import LSTMTagger
from tests.references.mlp import MLP
from tests.references.multi_head import MultiHead
from tests.references.resnet import VARIANTS, BasicBlock, Bottleneck, ResNet, resnet
from tests.references.resnet_cifar import CifarResNet
from tests.references.siamese import Siamese
from tests.references.unet import UNet
from tests.references.vit import VisionTransformer

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"

GPT2: dict[str, Any] = {"vocab_size": 61, "n_positions": 16, "n_embd": 24, "n_layer": 2, "n_head": 3}
BLOCKS_VIT: dict[str, Any] = {
    "image_size": 8,
    "patch_size": 4,
    "embed_dim": 8,
    "depth": 2,
    "num_heads": 2,
    "num_classes": 3,
    "drop_path": 0.5,
}
INCEPTION: dict[str, Any] = {
    "in_channels": 8,
    "ch1x1": 4,
    "ch3x3red": 5,
    "ch3x3": 6,
    "ch5x5red": 3,
    "ch5x5": 4,
    "pool_proj": 2,
}
RESNET: dict[str, Any] = {"width": 4, "num_classes": 5}


@dataclass(frozen=True)
class Case:
    """An example under some args, the module it must equal, and inputs for both."""

    file: str
    args: dict[str, Any]
    reference: Callable[[], nn.Module]
    inputs: Callable[[], tuple[Any, ...]]
    recurrent: bool = False
    same_classes: bool = True
    id: str = field(default="")

    @property
    def path(self) -> Path:
        return EXAMPLES / self.file

    def build(self) -> nn.Module:
        return confnet.build(self.path, seeding="torch", **self.args)

    def __str__(self) -> str:
        return self.id or self.file.removesuffix(".yaml")


def images(*shape: int, count: int = 1) -> Callable[[], tuple[Tensor, ...]]:
    return lambda: tuple(torch.randn(*shape) for _ in range(count))


def tokens(high: int, *shape: int) -> Tensor:
    return torch.randint(0, high, shape)


CASES = [
    Case(
        "mlp.yaml", {"in_features": 12, "hidden": [9, 7], "out_features": 4}, partial(MLP, 12, [9, 7], 4), images(5, 12)
    ),
    Case(
        "mlp.yaml",
        {"in_features": 12, "hidden": [9, 7, 8], "out_features": 4, "dropout": 0.3},
        partial(MLP, 12, [9, 7, 8], 4, 0.3),
        images(5, 12),
        id="mlp-dropout",
    ),
    Case("lenet5.yaml", {}, LeNet5, images(2, 1, 28, 28)),
    Case(
        "lenet5.yaml",
        {"image_size": 8, "padding": [2, 2], "in_channels": 3},
        partial(LeNet5, 3, 64, (2, 2)),
        images(2, 3, 8, 8),
        id="lenet5-8x8",
    ),
    Case(
        "resnet.yaml",
        {"layers": [1, 2, 1, 1], **RESNET},
        partial(ResNet, BasicBlock, (1, 2, 1, 1), 5, 4),
        images(2, 3, 64, 64),
        id="resnet-basic",
    ),
    Case(
        "resnet.yaml",
        {"block": "Bottleneck", "expansion": 4, "layers": [1, 1, 2, 1], **RESNET},
        partial(ResNet, Bottleneck, (1, 1, 2, 1), 5, 4),
        images(2, 3, 64, 64),
        id="resnet-bottleneck",
    ),
    Case(
        "resnet_cifar.yaml",
        {"layers": [1, 2, 1, 1], **RESNET},
        partial(CifarResNet, (1, 2, 1, 1), 5, 4, 0.1),
        images(2, 3, 16, 16),
    ),
    Case(
        "unet.yaml",
        {"in_channels": 2, "num_classes": 3, "width": 4, "depth": 2},
        partial(UNet, 2, 3, 4, 2),
        images(2, 2, 12, 20),
    ),
    Case(
        "vit.yaml",
        {
            "image_size": 12,
            "patch_size": 4,
            "embed_dim": 24,
            "depth": 2,
            "num_heads": 3,
            "num_classes": 5,
            "dropout": 0.2,
        },
        partial(VisionTransformer, 12, 4, 24, 2, 3, 5, 0.2),
        images(2, 3, 12, 12),
    ),
    Case("blocks_vit.yaml", BLOCKS_VIT, partial(ViT, **BLOCKS_VIT), images(4, 3, 8, 8), same_classes=False),
    Case("gpt2.yaml", GPT2, partial(gpt2, **GPT2), lambda: (tokens(61, 2, 11),), same_classes=False),
    Case(
        "lstm_tagger.yaml",
        {"vocab_size": 31, "num_tags": 4, "embed_dim": 6, "hidden_size": 5, "num_layers": 2},
        partial(LSTMTagger, 31, 4, 6, 5, 2),
        lambda: (tokens(31, 3, 7),),
        recurrent=True,
    ),
    Case(
        "lstm_tagger.yaml",
        {"vocab_size": 31, "num_tags": 4, "embed_dim": 6, "hidden_size": 5, "mlp_dim": 8, "bidirectional": False},
        partial(LSTMTagger, 31, 4, 6, 5, 1, False, 8),
        lambda: (tokens(31, 3, 7), torch.arange(7).expand(3, 7) < torch.tensor([[7], [4], [2]])),
        recurrent=True,
        id="lstm_tagger-mask",
    ),
    Case(
        "siamese.yaml",
        {"in_channels": 2, "channels": [4, 6], "embed_dim": 5},
        partial(Siamese, 2, [4, 6], 5),
        images(3, 2, 9, 11, count=2),
    ),
    Case(
        "siamese.yaml",
        {"in_channels": 2, "channels": [4, 6], "embed_dim": 5, "distance": "l2"},
        partial(Siamese, 2, [4, 6], 5, True),
        images(3, 2, 9, 11, count=2),
        id="siamese-l2",
    ),
    Case(
        "multi_head.yaml",
        {"in_features": 6, "hidden": 8, "tasks": {"digit": 4, "parity": 2, "size": 3}},
        partial(MultiHead, 6, 8, {"digit": 4, "parity": 2, "size": 3}),
        lambda: (torch.randn(5, 6), "parity"),
    ),
    Case("inception_block.yaml", INCEPTION, partial(Inception, **INCEPTION), images(2, 8, 7, 9)),
    Case(
        "autoencoder.yaml",
        {"in_features": 10, "hidden": [8, 6], "latent": 3, "mean": 0.25, "std": 1.5},
        partial(Autoencoder, 10, [8, 6], 3, 0.25, 1.5),
        images(4, 10),
    ),
]

every_case = pytest.mark.parametrize("case", CASES, ids=str)
both_modes = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


# --- what is compared ---------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def fresh(inputs: tuple[Any, ...], dtype: torch.dtype = torch.float32) -> tuple[Any, ...]:
    """Copies of the inputs, to be differentiated where that is possible."""
    return tuple(
        value.detach().to(dtype).clone().requires_grad_()
        if isinstance(value, Tensor) and value.is_floating_point()
        else value
        for value in inputs
    )


def shapes(model: nn.Module) -> list[tuple[str, tuple[int, ...], torch.dtype]]:
    return [(name, tuple(value.shape), value.dtype) for name, value in model.state_dict().items()]


def pair(build: Callable[[], nn.Module], reference: Callable[[], nn.Module]) -> tuple[nn.Module, nn.Module]:
    """A built module and its reference with the same weights, each having loaded the other's state dict."""
    built, other = build(), reference()
    assert shapes(built) == shapes(other)
    other.load_state_dict(built.state_dict(), strict=True)
    disturb(other)
    built.load_state_dict(other.state_dict(), strict=True)
    return built, other


def run(model: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, dict[str, Tensor | None]]:
    """The result, and the gradients of parameters and inputs for one fixed weighting of it."""
    torch.manual_seed(1)  # dropout draws the same bits in both models
    values = fresh(inputs)
    result = model(*values)
    generator = torch.Generator().manual_seed(2)
    loss = sum((leaf * torch.randn(leaf.shape, generator=generator)).sum() for leaf in leaves(result))
    assert isinstance(loss, Tensor)
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    gradients |= {f"input {k}": v.grad for k, v in enumerate(values) if isinstance(v, Tensor) and v.requires_grad}
    return result, gradients


def assert_equal(built: nn.Module, reference: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Equal results, gradients, and buffers after the call (the running statistics)."""
    assert_same_run(run(built, inputs), run(reference, inputs))
    torch.testing.assert_close(built.state_dict(), reference.state_dict(), rtol=1e-5, atol=1e-5)


# --- the oracles --------------------------------------------------------------------------------------------------


def test_every_example_has_a_case() -> None:
    files = {path.name for path in EXAMPLES.glob("*.yaml")}
    assert files
    assert files == {case.file for case in CASES}


@every_case
def test_validate_accepts(case: Case) -> None:
    for args in ({}, case.args):
        report = confnet.validate(case.path, **args)
        assert report.ok, report.diagnostics
        assert not report.diagnostics


@every_case
def test_default_build_has_the_name_of_the_file(case: Case) -> None:
    model = confnet.build(case.path, device="meta")
    assert f"name: {type(model).__name__}\n" in case.path.read_text(encoding="utf-8")
    assert {value.device.type for value in model.state_dict().values()} == {"meta"}


@every_case
@both_modes
def test_equals_its_reference(case: Case, training: bool) -> None:
    built, reference = pair(case.build, case.reference)
    built.train(training)
    reference.train(training)
    assert_equal(built, reference, case.inputs())


@every_case
def test_has_the_classes_of_its_reference(case: Case) -> None:
    if not case.same_classes:
        pytest.skip("transformers has classes of its own for what torch offers")
    built, reference = case.build(), case.reference()
    names = [(name, type(module).__name__) for name, module in built.named_modules()]
    assert names == [(name, type(module).__name__) for name, module in reference.named_modules()]
    definitions = [type(module) for module in built.modules() if not type(module).__module__.startswith("torch.")]
    assert len(set(definitions)) == len({kind.__name__ for kind in definitions})  # one class per definition


@pytest.mark.parametrize("variant", VARIANTS)
def test_resnet_variants_have_torchvisions_state(variant: str) -> None:
    built = confnet.build(EXAMPLES / "resnet.yaml", variant=variant, device="meta")
    with torch.device("meta"):
        reference = resnet(variant)
    assert shapes(built) == shapes(reference)
    assert [name for name, _ in built.named_modules()] == [name for name, _ in reference.named_modules()]


def test_resnet_parameter_counts_are_the_published_ones() -> None:
    counts = {"resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032, "resnet101": 44_549_160}
    for variant, count in {**counts, "resnet152": 60_192_808}.items():
        model = confnet.build(EXAMPLES / "resnet.yaml", variant=variant, device="meta")
        assert sum(parameter.numel() for parameter in model.parameters()) == count, variant


@pytest.mark.parametrize("variant", ["resnet18", "resnet50"])
@both_modes
def test_resnet_equals_torchvisions(variant: str, training: bool) -> None:
    # In double precision: 50 layers of batch norm over a few values amplify the last bits of a float.
    built, reference = pair(
        lambda: confnet.build(EXAMPLES / "resnet.yaml", variant=variant, num_classes=10), lambda: resnet(variant, 10)
    )
    built.double().train(training)
    reference.double().train(training)
    inputs = torch.randn(2, 3, 40, 40, dtype=torch.float64, requires_grad=True)
    other = inputs.detach().clone().requires_grad_()
    result, wanted = built(inputs), reference(other)
    torch.testing.assert_close(result, wanted)
    result.square().sum().backward()
    wanted.square().sum().backward()
    torch.testing.assert_close(inputs.grad, other.grad)
    for (name, value), expected in zip(built.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(value.grad, expected.grad, msg=partial("{}: {}".format, name))
    torch.testing.assert_close(built.state_dict(), reference.state_dict())


@pytest.mark.parametrize(
    ("file", "variant", "count"),
    [
        ("gpt2.yaml", "gpt2", 124_439_808),
        ("gpt2.yaml", "gpt2-medium", 354_823_168),
        ("gpt2.yaml", "gpt2-large", 774_030_080),
        ("gpt2.yaml", "gpt2-xl", 1_557_611_200),
        ("vit.yaml", "vit_tiny_patch16_224", 5_717_416),
        ("vit.yaml", "vit_small_patch16_224", 22_050_664),
        ("vit.yaml", "vit_base_patch16_224", 86_567_656),
        ("vit.yaml", "vit_large_patch16_224", 304_326_632),
    ],
)
def test_variants_have_the_published_size(file: str, variant: str, count: int) -> None:
    assert confnet.validate(EXAMPLES / file, variant=variant).ok
    model = confnet.build(EXAMPLES / file, variant=variant, device="meta")
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_inception_variants_fit_one_another() -> None:
    """The blocks of GoogLeNet in a row: each takes as many channels as those before it give (pooling keeps them)."""
    channels = 192
    for variant in ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]:
        block = confnet.build(EXAMPLES / "inception_block.yaml", variant=f"inception{variant}", device="meta")
        channels = block(torch.empty(1, channels, 7, 7, device="meta")).shape[1]
    assert channels == 1024


def test_gpt2_ties_its_head() -> None:
    model = confnet.build(EXAMPLES / "gpt2.yaml", **GPT2)
    assert model.lm_head.weight is model.transformer.wte.weight  # type: ignore[union-attr]
    assert "lm_head.weight" in model.state_dict()
    assert "lm_head.weight" not in dict(model.named_parameters())
    assert not [name for name in model.state_dict() if "position_ids" in name]
    weights = model.transformer.h[0].mlp.c_fc  # type: ignore[union-attr, index]
    assert weights.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not weights.bias.any()


def test_autoencoder_methods_are_its_halves() -> None:
    case = next(case for case in CASES if case.file == "autoencoder.yaml")
    built, reference = pair(case.build, case.reference)
    (x,) = case.inputs()
    code = built.encode(x)  # type: ignore[operator]
    torch.testing.assert_close(code, reference.encode(x))  # type: ignore[operator]
    assert code.shape == (4, 3)
    torch.testing.assert_close(built.decode(code), reference.decode(code))  # type: ignore[operator]


def test_siamese_embeds_alike_whichever_side_an_image_is_on() -> None:
    case = next(case for case in CASES if case.file == "siamese.yaml")
    built, reference = pair(case.build, case.reference)
    a, b = case.inputs()
    torch.testing.assert_close(built(a, b), built(b, a))
    torch.testing.assert_close(built.embed(a), reference.embed(a))  # type: ignore[operator]


def test_unet_lstm_and_multi_head_take_the_inputs_their_contracts_name() -> None:
    multi = confnet.build(EXAMPLES / "multi_head.yaml").eval()
    x = torch.randn(3, 64)
    assert multi(x, "digit")["logits"].shape == (3, 10)
    assert multi(x, task="parity")["logits"].shape == (3, 2)
    with pytest.raises(KeyError):
        multi(x, "colour")
    tagger = confnet.build(EXAMPLES / "lstm_tagger.yaml", vocab_size=11).eval()
    words = tokens(11, 2, 5)
    mask = torch.tensor([[True] * 5, [True] * 2 + [False] * 3])
    assert torch.equal(tagger(words, mask=mask)[1, 2:], torch.zeros(3, 17))
    torch.testing.assert_close(tagger(words, mask)[0], tagger(words)[0])


@pytest.mark.parametrize(
    ("file", "args", "message"),
    [
        ("gpt2.yaml", {"n_head": 7}, "n_embd (768) must be a multiple of n_head (7)"),
        ("vit.yaml", {"patch_size": 15}, "image_size (224) must be a multiple of patch_size (15)"),
        (
            "lenet5.yaml",
            {"image_size": 8},
            "the image of 8 pixels is too small; give it more padding or a smaller kernel",
        ),
        ("resnet.yaml", {"layers": [2, 2, 2]}, "layers takes four numbers of blocks, each at least 1"),
    ],
)
def test_requirements_are_told_to_the_user(file: str, args: dict[str, Any], message: str) -> None:
    report = confnet.validate(EXAMPLES / file, **args)
    assert not report.ok
    assert any(message in diagnostic.message for diagnostic in report.diagnostics), report.diagnostics


# --- what PyTorch users do with a module --------------------------------------------------------------------------


@every_case
def test_compiles_to_one_graph(case: Case) -> None:
    torch._dynamo.reset()
    model, inputs = case.build().eval(), case.inputs()
    with torch._dynamo.config.patch(allow_rnn=case.recurrent):
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(*inputs), model(*inputs))
        model.train()
        list(leaves(compiled(*inputs)))
    torch._dynamo.reset()


@every_case
@pytest.mark.filterwarnings("ignore:The tensor attributes self.lstm._flat_weights")  # torch's own, about any LSTM
def test_exports(case: Case) -> None:
    model, inputs = case.build().eval(), case.inputs()
    program = torch.export.export(model, inputs)
    torch.testing.assert_close(program.module()(*inputs), model(*inputs))
    assert set(program.state_dict) == set(model.state_dict())


@every_case
def test_deepcopy_is_a_module_of_its_own(case: Case) -> None:
    model, inputs = case.build().eval(), case.inputs()
    twin = copy.deepcopy(model)
    assert [type(module) for module in twin.modules()] == [type(module) for module in model.modules()]
    assert [name for name, _ in twin.named_parameters()] == [name for name, _ in model.named_parameters()]
    torch.testing.assert_close(twin(*inputs), model(*inputs))
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    torch.testing.assert_close(model.state_dict(), before)


@every_case
def test_train_and_eval_reach_every_module(case: Case) -> None:
    model = case.build()
    assert all(module.training for module in model.modules())
    assert model.eval() is model
    assert not any(module.training for module in model.modules())
    assert model.train() is model
    assert all(module.training for module in model.modules())


@every_case
def test_moves_to_another_dtype(case: Case) -> None:
    model, inputs = case.build().eval(), case.inputs()
    wanted = list(leaves(model(*inputs)))
    kinds = [(name, value.is_floating_point(), value.dtype) for name, value in model.state_dict().items()]
    assert model.to(torch.float64) is model
    assert [(name, value.dtype) for name, value in model.state_dict().items()] == [
        (name, torch.float64 if floating else dtype) for name, floating, dtype in kinds
    ]
    results = list(leaves(model(*fresh(inputs, torch.float64))))
    assert {result.dtype for result in results} == {torch.float64}
    torch.testing.assert_close([result.float() for result in results], wanted, rtol=1e-3, atol=1e-4)


@every_case
def test_builds_in_another_dtype(case: Case) -> None:
    model = confnet.build(case.path, dtype=torch.float64, **case.args)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}


@every_case
def test_pickles_in_this_process(case: Case) -> None:
    model, inputs = case.build().eval(), case.inputs()
    loaded = pickle.loads(pickle.dumps(model))
    assert [type(module) for module in loaded.modules()] == [type(module) for module in model.modules()]
    assert type(loaded) is type(case.build())
    assert [name for name, _ in loaded.named_parameters()] == [name for name, _ in model.named_parameters()]
    assert not any(module.training for module in loaded.modules())
    torch.testing.assert_close(loaded(*inputs), model(*inputs))


# One fresh process loads every pickle. It imports confnet only through the pickles, then builds a second time.
_FRESH_PROCESS = """
import json, pickle, sys, traceback
from pathlib import Path
import torch

report = {}
for file in sorted(Path(sys.argv[1]).glob("*.pkl")):
    try:
        with open(file, "rb") as stream:
            copy = pickle.load(stream)
        rest = torch.load(file.with_suffix(".pt"), weights_only=False)
        problems = []
        with torch.no_grad():
            result = copy(*rest["inputs"])
        torch.testing.assert_close(result, rest["result"])
        if [name for name, _ in copy.named_parameters()] != rest["parameters"]:
            problems.append("the parameters differ: a tie is lost")
        import confnet
        again = confnet.build(rest["path"], **rest["args"])
        for (name, one), other in zip(copy.named_modules(), again.modules(), strict=True):
            if type(one) is not type(other):
                problems.append(f"`{name}` is of another class than that of a second build: {type(one)}, {type(other)}")
        report[file.stem] = "; ".join(problems)
    except Exception:
        report[file.stem] = traceback.format_exc()
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def loaded_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a fresh process found wrong with the pickle of each case; empty texts are good news."""
    folder = tmp_path_factory.mktemp("pickles")
    report = {}
    for case in CASES:
        torch.manual_seed(0)
        model, inputs = case.build().eval(), case.inputs()
        try:
            data = pickle.dumps(model)
        except Exception as error:  # one case that does not pickle shall not hide the others
            report[str(case)] = f"does not pickle: {error!r}"
            continue
        (folder / f"{case}.pkl").write_bytes(data)
        with torch.no_grad():
            rest = {"inputs": inputs, "result": model(*inputs), "path": str(case.path), "args": case.args}
        torch.save({**rest, "parameters": [name for name, _ in model.named_parameters()]}, folder / f"{case}.pt")
    # The package is found where this process found it, and nothing of this process is inherited but that.
    path = os.pathsep.join([str(Path(confnet.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    process = subprocess.run(
        [sys.executable, "-c", _FRESH_PROCESS, str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert process.returncode == 0, process.stderr
    report.update(json.loads(process.stdout.splitlines()[-1]))
    return report


@every_case
def test_pickles_into_a_fresh_process(case: Case, loaded_elsewhere: dict[str, str]) -> None:
    assert loaded_elsewhere[str(case)] == ""


# --- training -----------------------------------------------------------------------------------------------------


def test_train_digits_reaches_97_percent() -> None:
    spec = importlib.util.spec_from_file_location("train_digits", EXAMPLES / "train_digits.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    begin = time.perf_counter()
    assert script.train() >= 0.97
    assert time.perf_counter() - begin < 120
