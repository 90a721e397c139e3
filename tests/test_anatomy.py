"""Every example of `examples/anatomy` against its hand-written twin.

Equal keys, equal bits after construction under one seed, equal results and gradients in train and eval; and for each
example, what it is there to show.
"""

from __future__ import annotations

import copy
import math
import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

import confnet
from tests.oracle import assert_equal, assert_same_state, disturb, leaves, run
from tests.references.anatomy.buffers import (
    ALiBiAttention,
    CausalSelfAttention,
    NormalisedCNN,
    Quantize,
    RotaryAttention,
)
from tests.references.anatomy.composition import VGG, MixtureOfExperts, PixelCNN, ResidualMLP, SequenceClassifier
from tests.references.anatomy.hooks import DANN, DenseBlock, DiscriminativeMLP, GuardedMLP, PerceptualFeatures
from tests.references.anatomy.rules import GPT, Discriminator, Expression, FineTuned, RNNModel, Siren, SmallResNet

ANATOMY = Path(__file__).resolve().parent.parent / "examples" / "anatomy"


@dataclass(frozen=True)
class Case:
    """An example under some args, the module it must equal, and inputs for both.

    `limit` is why torch cannot compile the model into one graph, if it cannot.
    """

    name: str
    reference: Callable[[], nn.Module]
    inputs: Callable[[], tuple[Tensor, ...]]
    args: dict[str, Any] = field(default_factory=dict)
    limit: str = ""
    recurrent: bool = False

    @property
    def path(self) -> Path:
        return ANATOMY / f"{self.name}.yaml"

    def build(self, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return confnet.build(self.path, args=self.args, seeding="torch")

    def twin(self, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return self.reference()

    def __str__(self) -> str:
        return "-".join([self.name, *self.args])


def normal(*shape: int) -> Callable[[], tuple[Tensor, ...]]:
    return lambda: (torch.randn(*shape),)


def integers(high: int, *shape: int) -> Callable[[], tuple[Tensor, ...]]:
    return lambda: (torch.randint(0, high, shape),)


CASES = [
    Case("module", ResidualMLP, normal(5, 8)),
    Case("module", partial(ResidualMLP, 3, 6, 2), normal(4, 3), {"in_features": 3, "width": 6, "out_features": 2}),
    Case("containers", MixtureOfExperts, normal(5, 8)),
    Case("containers", partial(MixtureOfExperts, experts=5), normal(5, 8), {"experts": 5}),
    Case("auto_sizes", VGG, normal(3, 1, 16, 16)),
    Case(
        "auto_sizes",
        partial(VGG, 3, 20, [4, 6, 5], 4),
        normal(2, 3, 20, 20),
        {"channels": 3, "image_size": 20, "widths": [4, 6, 5], "num_classes": 4},
    ),
    Case("cls_token", SequenceClassifier, normal(3, 7, 32)),
    Case("masked_conv", PixelCNN, normal(2, 1, 9, 11)),
    Case("masked_conv", partial(PixelCNN, 3, 5, 1), normal(2, 3, 8, 8), {"channels": 3, "hidden": 5, "layers": 1}),
    Case("normalised_input", NormalisedCNN, normal(2, 3, 9, 9)),
    Case("causal_mask", CausalSelfAttention, normal(2, 11, 32)),
    Case("rotary", RotaryAttention, normal(2, 11, 32)),
    Case(
        "rotary",
        partial(RotaryAttention, 24, 2, 16, 500.0),
        normal(2, 16, 24),
        {"dim": 24, "heads": 2, "max_length": 16, "base": 500.0},
    ),
    Case("alibi", ALiBiAttention, normal(2, 11, 32)),
    Case("alibi", partial(ALiBiAttention, 32, 8, 12), normal(2, 12, 32), {"heads": 8, "max_length": 12}),
    Case("vq_ema", Quantize, normal(3, 7, 8)),
    Case("vq_ema", partial(Quantize, 4, 6, 0.5), normal(30, 3, 4), {"dim": 4, "n_embed": 6, "decay": 0.5}),
    Case("gradient_scaling", DiscriminativeMLP, normal(5, 8)),
    Case(
        "gradient_scaling",
        partial(DiscriminativeMLP, [4, 3, 3, 3, 2], 0.5),
        normal(5, 4),
        {"widths": [4, 3, 3, 3, 2], "decay": 0.5},
    ),
    Case(
        "dann",
        partial(DANN, 12, 8, 3),
        normal(5, 12),
        {"in_features": 12, "hidden": 8, "num_classes": 3},
        limit="backward hooks",
    ),
    Case("feature_extraction", PerceptualFeatures, normal(2, 3, 16, 16), limit="a hook stores what passes"),
    Case("nan_guard", GuardedMLP, normal(5, 4), limit="a hook looks at values"),
    Case("renamed_checkpoint", DenseBlock, normal(2, 8, 5, 5)),
    Case("frozen_backbone", FineTuned, normal(2, 3, 16, 16)),
    Case("tied_language_model", RNNModel, integers(100, 7, 3), recurrent=True),
    Case("zero_init_residual", SmallResNet, normal(2, 3, 8, 8)),
    Case(
        "zero_init_residual",
        partial(SmallResNet, zero_init_residual=False),
        normal(2, 3, 8, 8),
        {"zero_init_residual": False},
    ),
    Case("gpt2_init", GPT, integers(65, 2, 11)),
    Case("spectral_norm", Discriminator, normal(2, 3, 16, 16)),
    Case("siren", Siren, normal(20, 2)),
    Case(
        "siren",
        partial(Siren, 16, 1, 10.0),
        normal(20, 2),
        {"hidden_features": 16, "hidden_layers": 1, "omega_0": 10.0},
    ),
    Case("function_repr", Expression, normal(3, 4)),
]

every_case = pytest.mark.parametrize("case", CASES, ids=str)
both_modes = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def build(name: str, seeding: str = "parameter", **args: Any) -> nn.Module:
    return confnet.build(ANATOMY / f"{name}.yaml", args=args, seeding=seeding)


def linear(model: nn.Module, name: str) -> nn.Linear:
    module = model.get_submodule(name)
    assert isinstance(module, nn.Linear)
    return module


# --- the oracles --------------------------------------------------------------------------------------------------


def test_every_example_has_a_case() -> None:
    files = {path.stem for path in ANATOMY.glob("*.yaml")}
    assert files
    assert files == {case.name for case in CASES}


@every_case
def test_validate_accepts(case: Case) -> None:
    report = confnet.validate(case.path, args=case.args)
    assert report.ok, report
    assert not report.diagnostics, report


@every_case
def test_constructs_the_same_bits(case: Case) -> None:
    assert_same_state(case.build(), case.twin())
    if list(case.twin().parameters()):
        with pytest.raises(AssertionError):  # the seed matters, so that equality means something
            assert_same_state(case.build(1), case.twin())


@every_case
@both_modes
def test_equals_its_twin(case: Case, training: bool) -> None:
    built, reference = case.build(), case.twin()
    disturb(reference)
    built.load_state_dict(reference.state_dict(), strict=True)
    assert_equal(built.train(training), reference.train(training), case.inputs())


@every_case
def test_has_the_classes_of_its_twin(case: Case) -> None:
    built = [(name, type(module).__name__) for name, module in case.build().named_modules()]
    assert built == [(name, type(module).__name__) for name, module in case.twin().named_modules()]


@every_case
def test_a_deepcopy_behaves_alike(case: Case) -> None:
    model, inputs = case.build().train(), case.inputs()
    twin = copy.deepcopy(model)
    assert list(confnet.hooks(twin)) == list(confnet.hooks(model))
    assert_equal(twin, model, inputs)


@every_case
def test_a_pickled_copy_behaves_alike(case: Case) -> None:
    model = case.build().train()
    if any(parametrize.is_parametrized(module) for module in model.modules()):
        with pytest.raises(RuntimeError, match="only supported through state_dict"):  # torch's own refusal
            pickle.dumps(model)
        return
    loaded = pickle.loads(pickle.dumps(model))
    assert list(confnet.hooks(loaded)) == list(confnet.hooks(model))
    assert_same_state(loaded, model)
    assert str(loaded) == str(model)
    assert_equal(loaded, model, case.inputs())


@pytest.mark.parametrize("case", {case.name: case for case in reversed(CASES)}.values(), ids=str)
def test_compiles_to_one_graph(case: Case) -> None:
    if case.limit:
        pytest.skip(case.limit)
    torch._dynamo.reset()
    model, other, inputs = case.build(), case.build(), case.inputs()
    with torch._dynamo.config.patch(allow_rnn=case.recurrent):
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        torch.testing.assert_close(list(leaves(compiled(*inputs))), list(leaves(other(*inputs))))
        torch.testing.assert_close(model.state_dict(), other.state_dict())
    torch._dynamo.reset()


def test_the_page_shows_the_files_and_names_them_all() -> None:
    page = (ANATOMY.parent.parent / "docs" / "anatomy.md").read_text(encoding="utf-8")
    # Less their first line, which is for editors.
    files = {path.name: path.read_text(encoding="utf-8").partition("\n")[2] for path in ANATOMY.glob("*.yaml")}
    shown = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(shown) == 7
    assert set(shown) <= set(files.values())
    assert {name for name in files if f"`{name}`" not in page} == set()


# --- modules, parameters, buffers ---------------------------------------------------------------------------------


def test_masked_conv_has_the_keys_of_the_usual_class() -> None:
    model = build("masked_conv")
    assert list(model[0].state_dict()) == ["weight", "bias", "mask"]  # type: ignore[index]


def test_no_pixel_sees_itself_or_later_ones() -> None:
    model = build("masked_conv").eval()
    image = torch.randn(1, 1, 5, 5, requires_grad=True)
    for place in range(25):
        (gradient,) = torch.autograd.grad(model(image).flatten(2)[..., place].sum(), image)
        assert not gradient.flatten()[place:].any()
        assert gradient.flatten()[:place].any() == (place > 0)


def test_normalisation_stays_out_of_checkpoints_and_moves_with_the_model() -> None:
    model = build("normalised_input")
    assert not {"mean", "std"} & set(model.state_dict())
    assert model.double().get_buffer("mean").dtype == torch.float64
    image = torch.rand(2, 3, 9, 9, dtype=torch.float64)
    normalised = model(image)
    with confnet.hooks_disabled(model):
        plain = model(image)
        by_hand = (image - model.get_buffer("mean")) / model.get_buffer("std")
        torch.testing.assert_close(model(by_hand), normalised)
    assert not torch.allclose(plain, normalised)


@pytest.mark.parametrize("name", ["causal_mask", "rotary", "alibi"])
def test_attention_is_causal(name: str) -> None:
    model = build(name)
    x = torch.randn(1, 8, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(x)[0, 3].sum(), x)
    assert gradient[0, :4].abs().sum(-1).all()
    assert not gradient[0, 4:].any()


def test_rotary_scores_depend_on_distance_alone() -> None:
    rotary = build("rotary").get_submodule("rotary_emb")
    q, k = (torch.randn(8).expand(1, 1, 64, 8) for _ in range(2))
    scores = (rotary(q) @ rotary(k).transpose(-2, -1))[0, 0]
    torch.testing.assert_close(scores[5, 2], scores[45, 42], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(scores[5, 2], scores[5, 3])


def test_codebook_learns_without_an_optimiser() -> None:
    torch.manual_seed(0)
    model = build("vq_ema", dim=2, n_embed=4, decay=0.8)
    assert not list(model.parameters())
    centres = torch.tensor([[4.0, 4.0], [-4.0, 4.0], [4.0, -4.0], [-4.0, -4.0]])
    model.get_buffer("embed").copy_(centres / 8)
    losses = []
    for _ in range(40):
        x = centres.repeat(8, 1)[None] + 0.1 * torch.randn(1, 32, 2)
        losses.append(model(x)[1].item())
    assert losses[-1] < 0.1 < losses[0]
    torch.testing.assert_close(model.get_buffer("embed"), centres, rtol=0, atol=0.2)
    before = copy.deepcopy(model.state_dict())
    model.eval()(x)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_codebook_passes_the_gradient_straight_through() -> None:
    x = torch.randn(2, 3, 8, requires_grad=True)
    quantized, _, _ = build("vq_ema").eval()(x)
    (gradient,) = torch.autograd.grad(quantized.sum(), x)
    assert torch.equal(gradient, torch.ones_like(x))


# --- hooks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_alpha_of_the_gradient_reversal_can_change(alpha: float) -> None:
    model, reference = build("dann", in_features=6, hidden=5), DANN(6, 5)
    reference.load_state_dict(model.state_dict())
    model.get_buffer("alpha").fill_(alpha)
    reference.alpha.fill_(alpha)
    assert_equal(model, reference, (torch.randn(4, 6),))


def test_gradient_reversal_turns_only_what_lies_below_it() -> None:
    model, x = build("dann", in_features=6, hidden=5), torch.randn(4, 6)

    def gradients() -> dict[str, Tensor]:
        model.zero_grad()
        model(x)[1].square().sum().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    reversed_ = gradients()
    with confnet.hooks_disabled(model):
        plain = gradients()
    assert plain["feature_extractor.0.weight"].any()
    for name, gradient in plain.items():
        sign = -1 if name.startswith("feature_extractor.") else 1
        torch.testing.assert_close(reversed_[name], sign * gradient)


def test_features_are_captured_by_layer_and_carry_gradients() -> None:
    model, reference = build("feature_extraction"), PerceptualFeatures()
    reference.load_state_dict(model.state_dict())
    image = torch.randn(2, 3, 16, 16)

    def loss(net: nn.Module, features: Callable[[], dict[str, Tensor]]) -> tuple[dict[str, Tensor], Tensor]:
        x = image.clone().requires_grad_()
        net(x)
        kept = features()
        sum(value.square().mean() for value in kept.values()).backward()  # type: ignore[union-attr]
        assert x.grad is not None
        return kept, x.grad

    built, gradient = loss(model, lambda: confnet.captured(model)["features"])
    wanted, wanted_gradient = loss(reference, lambda: reference.features)
    assert list(built) == ["relu1", "relu2", "relu3"]
    torch.testing.assert_close(built, wanted)
    torch.testing.assert_close(gradient, wanted_gradient)


def test_gradients_of_lower_layers_are_smaller_by_the_decay() -> None:
    model, x = build("gradient_scaling"), torch.randn(5, 8)
    _, scaled = run(model, (x,))
    places = [name for handle in confnet.hooks(model).values() for name in handle.modules]
    assert sorted(places) == ["0", "0", "2", "2", "4", "4"]
    with confnet.hooks_disabled(model):
        _, plain = run(model, (x,))
    for name, layer in zip(("0", "2", "4"), (2, 1, 0), strict=True):
        for leaf in ("weight", "bias"):
            wanted = plain[f"{name}.{leaf}"]
            assert wanted is not None
            torch.testing.assert_close(scaled[f"{name}.{leaf}"], wanted * 0.385**layer)


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_guard_names_the_layer_that_broke(layer: int, value: float) -> None:
    model = build("nan_guard", seeding="torch")  # under other weights, no infinity may reach the end
    culprit = f"layers.{layer}.fc"
    with torch.no_grad():
        linear(model, culprit).bias[0] = value
    line = (ANATOMY / "nan_guard.yaml").read_text(encoding="utf-8").split("hooks:\n")[0].count("\n") + 2
    with pytest.raises(FloatingPointError) as caught:
        model(torch.randn(3, 4))
    assert f"`{culprit}`" in str(caught.value)
    assert f"nan_guard.yaml:{line}:" in str(caught.value)
    confnet.hooks(model)["guard"].disable()
    assert not model(torch.randn(3, 4)).isfinite().all()


def test_old_and_new_checkpoints_load_strictly() -> None:
    model, reference = build("renamed_checkpoint"), DenseBlock()
    disturb(reference)
    new = reference.state_dict()
    old = {key.replace("norm", "norm.").replace("conv", "conv."): value for key, value in new.items()}
    assert "denselayer2.norm.1.running_mean" in old
    with pytest.raises(RuntimeError, match="Missing key"):
        reference.load_state_dict(old)
    for state in (old, new):
        model.load_state_dict({key: value.clone() for key, value in state.items()}, strict=True)
        assert_same_state(model, reference)
        model.load_state_dict(DenseBlock().state_dict())
    assert "denselayer2.norm.1.running_mean" in old  # the caller's own dict is left as it was
    with pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict({key: value for key, value in old.items() if "layer3" not in key})


# --- apply --------------------------------------------------------------------------------------------------------


def test_only_the_last_stage_and_the_head_are_trained() -> None:
    model = build("frozen_backbone")
    before = copy.deepcopy(model.state_dict())
    optimiser = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=0.1)
    model(torch.randn(2, 3, 16, 16)).square().sum().backward()
    optimiser.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"backbone.stage3.weight", "backbone.stage3.bias", "head.weight", "head.bias"}


def test_tie_survives_training_and_loading() -> None:
    model = build("tied_language_model")
    assert linear(model, "decoder").weight is model.get_parameter("encoder.weight")
    state = {key: value.clone() for key, value in model.state_dict().items()}
    assert {"decoder.weight", "encoder.weight"} <= set(state)
    model.load_state_dict(state, assign=True)
    assert linear(model, "decoder").weight is model.get_parameter("encoder.weight")


def test_blocks_begin_as_identities() -> None:
    model = build("zero_init_residual")
    x = torch.rand(2, 8, 5, 5)
    assert torch.equal(model.get_submodule("layer1")(x), x)
    assert not torch.equal(build("zero_init_residual", zero_init_residual=False).get_submodule("layer1")(x), x)


def test_residual_branches_end_in_smaller_weights() -> None:
    model = build("gpt2_init", n_embd=64, n_layer=8)
    for name, parameter in model.named_parameters():
        if name.endswith("c_proj.weight"):
            assert parameter.std().item() == pytest.approx(0.02 / 4, rel=0.05), name
        elif parameter.ndim == 2:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.05), name
    report = confnet.init_report(model)
    lines = (ANATOMY / "gpt2_init.yaml").read_text(encoding="utf-8").splitlines()
    places = {name: origin for name, origin in report.items() if isinstance(origin, confnet.InitOrigin)}
    assert "n_layer" in lines[places["h.0.mlp.c_proj.weight"].line - 1]
    assert "std: 0.02" in lines[places["h.0.mlp.c_fc.weight"].line - 1]
    assert report["ln_f.weight"] is None


def test_spectral_norm_tends_to_one() -> None:
    model = build("spectral_norm")
    for layer in (0, 2, 5):
        module = model.get_submodule(str(layer))
        assert parametrize.is_parametrized(module, "weight")
    for _ in range(100):
        model(torch.randn(2, 3, 16, 16))
    model.eval()
    for layer in (0, 2, 5):
        weight = model.get_submodule(str(layer)).weight
        assert isinstance(weight, Tensor)
        assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


def test_siren_keeps_its_activations_alike_at_every_depth() -> None:
    model = build("siren", hidden_features=256, hidden_layers=4)
    x = 2 * torch.rand(500, 2) - 1
    deviations = []
    for layer in list(model.get_submodule("net").children())[:-1]:
        x = layer(x)
        deviations.append(x.std().item())
    # An arcsine distribution on [-1, 1], whose deviation is 1 / sqrt(2).
    assert deviations[1:] == pytest.approx([math.sqrt(0.5)] * 4, abs=0.05)


def test_only_functions_tell_their_source() -> None:
    assert str(build("function_repr")) == str(Expression())
    assert str(build("function_repr", source="the book")) == str(Expression("the book"))
    assert "SineFunction(from=calculus)" in str(build("function_repr"))
