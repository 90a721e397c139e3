"""Pretrained weights: what a checkpoint holds is what the model has, and whatever does not fit is told."""

from __future__ import annotations

import copy
import json
import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors import safe_open
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import Tensor, nn

import confnet
from confnet.builder import weight_files, weights
from confnet.cli import commands
from tests.references.gpt2 import gpt2

build: Any = confnet.build  # its models have the attributes that their files say
ROOT = Path(__file__).resolve().parent.parent
GPT2: dict[str, Any] = {"vocab_size": 61, "n_positions": 16, "n_embd": 24, "n_layer": 2, "n_head": 3}
GPT2_FILE = ROOT / "examples" / "gpt2.yaml"

NET = """\
confnet: 1
name: Net
modules:
  Block:
    children: {fc: {Linear: [4, 4]}, norm: {LayerNorm: 4}}
    forward: return norm(fc(x))
children:
  stem: {Linear: [3, 4]}
  blocks: {Sequential: [{repeat: 3, module: Block}]}
  head: {Linear: [4, 2]}
buffers: {scale: {shape: [4], fill: 1.0}, index: {value: torch.arange(4), persistent: false}}
forward: return head(blocks(stem(x)) * scale)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with `net.yaml`: so that the paths in messages are the same everywhere."""
    (tmp_path / "net.yaml").write_text(NET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def net_state() -> dict[str, Tensor]:
    """A state dict of `net.yaml` with values that no initialiser gives."""
    torch.manual_seed(1)
    return {name: torch.randn_like(tensor) for name, tensor in build("net.yaml").state_dict().items()}


def saved(state: dict[str, Tensor], name: str = "w.safetensors") -> str:
    save_file({key: tensor.clone().contiguous() for key, tensor in state.items()}, name)
    return name


def error_of(*arguments: Any, **options: Any) -> str:
    """The text of the error that a build with weights ends in."""
    with pytest.raises(confnet.ConfnetError) as caught:
        build(*(arguments or ("net.yaml",)), **options)
    return str(caught.value)


def codes_of(**options: Any) -> list[str]:
    with pytest.raises(confnet.ConfnetError) as caught:
        build("net.yaml", **options)
    return [diagnostic.code for diagnostic in caught.value.diagnostics]


def same_state(one: nn.Module, other: nn.Module) -> None:
    first, second = one.state_dict(), other.state_dict()
    assert list(first) == list(second)
    for name, tensor in first.items():
        assert tensor.dtype == second[name].dtype, name
        assert torch.equal(tensor, second[name]), name


# --- a published model ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shard", [None, "20KB"])
def test_what_transformers_saves_gives_its_logits(shard: str | None, tmp_path: Path) -> None:
    reference = gpt2(**GPT2).eval()
    reference.save_pretrained(tmp_path, **({"max_shard_size": shard} if shard else {}))
    shards = len(list(tmp_path.glob("*.safetensors")))
    assert (shards > 2) == (shard is not None)
    model = build(GPT2_FILE, weights=tmp_path, **GPT2).eval()
    by_hand = build(GPT2_FILE, **GPT2).eval()
    by_hand.load_state_dict(reference.state_dict())
    tokens = torch.randint(0, 61, (2, 11))
    assert torch.equal(model(tokens), by_hand(tokens))
    torch.testing.assert_close(model(tokens), reference(tokens))
    assert model.lm_head.weight is model.transformer.wte.weight  # the file holds one of the two names
    assert torch.equal(model.transformer.position_ids, torch.arange(16))
    assert len(confnet.load_report(model).files) == shards


def test_what_confnet_saves_is_what_transformers_loads(tmp_path: Path) -> None:
    model = build(GPT2_FILE, **GPT2).eval()
    confnet.save_weights(model, tmp_path / "gpt2.safetensors")
    reference = gpt2(**GPT2).eval()
    assert not any(load_model(reference, str(tmp_path / "gpt2.safetensors")))  # nothing missing, nothing left over
    tokens = torch.randint(0, 61, (2, 11))
    torch.testing.assert_close(model(tokens), reference(tokens))


def test_the_body_without_the_head_and_a_prefix(tmp_path: Path) -> None:
    """The checkpoints of bare GPT2Models: no `transformer.`, no head, and the masks of old versions."""
    body = gpt2(**GPT2).transformer
    masks = {f"h.{i}.attn.bias": torch.ones(1, 1, 16, 16) for i in range(2)}
    save_file({**body.state_dict(), **masks}, tmp_path / "body.safetensors")
    path = str(tmp_path / "body.safetensors")
    text = error_of(GPT2_FILE, weights=path, **GPT2)
    assert "rename={r'^(h|ln_f|wpe|wte)\\b': r'transformer.\\1'}" not in text  # the plain rule does no harm here
    assert "rename={r'^': 'transformer.'}" in text
    assert "rename={r'^h[.]\\d+[.]attn[.]bias$': None}" in text
    assert text.count("error[") == 2
    model = build(GPT2_FILE, weights=path, rename={r"^h[.]\d+[.]attn[.]bias$": None, r"^": "transformer."}, **GPT2)
    assert torch.equal(model.lm_head.weight, body.wte.weight)
    assert confnet.load_report(model).dropped == ("h.0.attn.bias", "h.1.attn.bias")


# --- as load_state_dict does ----------------------------------------------------------------------------------------


@confnet.register
class WeightsTable(nn.Module):
    """A layer that keeps tensors where torch does not look for them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.steps = torch.arange(width)
        self.register_buffer("hidden", torch.full((width,), 2.0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight + self.steps * self.get_buffer("hidden")


@confnet.applies(name="weights_mark")
def _mark(module: nn.Module, value: float = 1.0) -> None:
    module.register_buffer("mark", torch.tensor(value), persistent=False)


@dataclass(frozen=True)
class Case:
    """A document, an input, and whether the model must come without any initialisation."""

    text: str
    input: Callable[[], Tensor] = lambda: torch.randn(5, 4)
    untouched: bool = True


CASES = {
    "plain": Case("Sequential: [{Linear: [4, 4]}, ReLU, {Linear: [4, 2]}]"),
    "batch norm": Case(
        "Sequential: [{Linear: [4, 4]}, {BatchNorm1d: 4}, {BatchNorm1d: {num_features: 4, affine: false}}]"
    ),
    "recurrent": Case(
        "children: {rnn: {LSTM: {input_size: 4, hidden_size: 3, num_layers: 2, bidirectional: true}}}\n"
        "forward: return rnn(x)[0]"
    ),
    "attention": Case(
        "Sequential: [{TransformerEncoder: {encoder_layer: {TransformerEncoderLayer: {d_model: 4, nhead: 2, "
        "dropout: 0.0, batch_first: true}}, num_layers: 2, enable_nested_tensor: false}}]",
        lambda: torch.randn(2, 5, 4),
    ),
    "weight norm": Case("Sequential: [{Linear: [4, 4], parametrize: {weight: weight_norm}}]"),
    "spectral norm": Case("Sequential: [{Linear: [4, 4], parametrize: {weight: spectral_norm}}]"),
    "orthogonal": Case("Sequential: [{Linear: [4, 4], parametrize: {weight: orthogonal}}]"),
    "tie": Case(
        "children: {a: {Linear: [4, 4]}, b: {Linear: [4, 4]}}\ntie: {b.weight: a.weight}\nforward: return b(a(x))"
    ),
    "tie of ties": Case(
        "children: {a: {Linear: [4, 4]}, b: {Linear: [4, 4]}, c: {Linear: [4, 4]}}\n"
        "tie: {b.weight: a.weight, c.weight: b.weight}\nforward: return c(b(a(x)))"
    ),
    "share": Case("children: {a: {Linear: [4, 4]}, b: {share: a}}\nforward: return b(a(x))"),
    "buffers": Case(
        "buffers: {mean: {shape: [4]}, steps: {value: 7, dtype: int64}, "
        "mask: {value: 'torch.tril(torch.ones(4, 4))', persistent: false}}\n"
        "parameters: {scale: {shape: [4], init: {normal_: {}}}, wide: {shape: [4], dtype: float64}}\n"
        "forward: return (x - mean) @ mask * scale * wide.to(x.dtype) + steps"
    ),
    "frozen": Case("Sequential: [{Linear: [4, 4], requires_grad: false}, {Linear: [4, 4]}]"),
    "tensor hook": Case(
        "children: {fc: {Linear: [4, 4]}}\nforward: return fc(x)\n"
        "hooks: [{kind: tensor, where: {name: fc}, tensor: weight, do: return 0.5 * grad}]"
    ),
    "renaming hooks": Case(
        "children: {fc: {Linear: [4, 4]}}\nforward: return fc(x)\n"
        "hooks:\n"
        "  - {kind: load_state_dict_pre, call: {rename_keys: {pattern: '^dense[.]', to: fc.}}}\n"
        "  - {kind: state_dict_post, call: {rename_keys: {pattern: '^fc[.]', to: dense.}}}"
    ),
    "hook of values": Case(
        "children: {fc: {Linear: [4, 4]}}\nforward: return fc(x)\n"
        "hooks:\n  - kind: load_state_dict_pre\n    do: |\n"
        "      state_dict[prefix + 'fc.weight'] = 2 * state_dict[prefix + 'fc.weight']",
        untouched=False,
    ),
    "registered layer": Case("Sequential: [{Linear: [4, 4]}, {WeightsTable: 4}]", untouched=False),
    "rule that calls": Case(
        "children: {fc: {Linear: [4, 4]}}\nforward: return fc(x)\n"
        "apply: [{where: {name: fc}, call: {weights_mark: {value: 3.0}}}]",
        untouched=False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_as_if_it_had_been_loaded_into(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against `load_state_dict` of the whole state dict: values, outputs, gradients, and a step of training."""
    case = CASES[name]
    spec = confnet.loads(f"confnet: 1\n{case.text}\n")
    torch.manual_seed(3)
    donor, by_hand = build(spec), build(spec)
    with torch.no_grad():
        for tensor in donor.state_dict().values():
            tensor.add_(torch.rand_like(tensor) if tensor.is_floating_point() else 1)
    by_hand.load_state_dict(copy.deepcopy(donor.state_dict()))
    path = str(tmp_path / "w.safetensors")
    confnet.save_weights(donor, path)
    if case.untouched:
        for each in ("kaiming_uniform_", "xavier_uniform_", "uniform_", "normal_", "zeros_", "ones_", "orthogonal_"):
            monkeypatch.setattr(nn.init, each, _only_on_meta(getattr(nn.init, each)))
    before = torch.get_rng_state()
    model = build(spec, weights=path)
    assert torch.equal(before, torch.get_rng_state()) or not case.untouched
    monkeypatch.undo()
    _assert_alike(model, by_hand, case.input())
    confnet.save_weights(model, path, overwrite=True)  # and what is saved again is the same
    if name != "hook of values":
        _assert_alike(build(spec, weights=path), by_hand, case.input())


def _only_on_meta(function: Callable[..., Any]) -> Callable[..., Any]:
    def checked(tensor: Tensor, *arguments: Any, **keywords: Any) -> Any:
        assert tensor.is_meta, "initialised, to be overwritten"
        return function(tensor, *arguments, **keywords)

    return checked


def _assert_alike(model: nn.Module, by_hand: nn.Module, x: Tensor) -> None:
    model, by_hand = copy.deepcopy(model), copy.deepcopy(by_hand)
    same_state(model, by_hand)
    assert [n for n, _ in model.named_parameters()] == [n for n, _ in by_hand.named_parameters()]  # ties hold
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in by_hand.parameters()]
    for one, other in zip(model.buffers(), by_hand.buffers(), strict=True):
        assert torch.equal(one, other)
    for each in (model, by_hand):
        loss = each(x).square().sum()
        loss.backward()
        torch.optim.SGD((p for p in each.parameters() if p.requires_grad), lr=0.1).step()
    for one, other in zip(model.parameters(), by_hand.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        assert torch.equal(one, other)  # after the step
    same_state(model, by_hand)
    assert torch.equal(model.eval()(x), by_hand.eval()(x))


def test_a_model_with_weights_is_copied_pickled_and_loaded_into_as_any(folder: Path) -> None:
    state = net_state()
    model = build("net.yaml", weights=saved(state))
    for clone in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        same_state(clone, model)
        assert type(clone) is type(model)
        assert confnet.load_report(clone) == confnet.load_report(model)
    model.load_state_dict({name: tensor + 1 for name, tensor in state.items()}, assign=True)
    assert torch.equal(model.head.bias, state["head.bias"] + 1)


def test_counters_that_old_checkpoints_lack(folder: Path) -> None:
    """torch adds `num_batches_tracked` itself where no version says that it should be there."""
    spec = confnet.loads("confnet: 1\nSequential: [{BatchNorm1d: 4}]\n")
    state = build(spec).state_dict()
    del state["0.num_batches_tracked"]
    model = build(spec, weights=saved(state))
    assert model[0].num_batches_tracked == 0
    assert confnet.load_report(model).loaded["0.num_batches_tracked"] == confnet.WeightOrigin("w.safetensors", None)


def test_a_scalar_that_was_saved_as_a_vector(folder: Path) -> None:
    spec = confnet.loads("confnet: 1\nparameters: {a: {shape: []}}\nforward: return x * a\n")
    model = build(spec, weights={"a": torch.tensor([2.5])})
    assert model.a.shape == ()
    assert model.a == 2.5


# --- where values come from and where they go -----------------------------------------------------------------------


def test_a_mapping(folder: Path) -> None:
    state = net_state()
    model = build("net.yaml", weights=state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    with torch.no_grad():
        model.head.bias.zero_()  # the caller's tensors are not those of the model
    assert state["head.bias"].abs().sum() > 0
    assert confnet.load_report(model).files == ("<weights>",)


def test_a_file_that_is_written_over_later_does_not_change_the_model(folder: Path) -> None:
    state = net_state()
    model = build("net.yaml", weights=saved(state))
    size = Path("w.safetensors").stat().st_size
    with open("w.safetensors", "r+b") as stream:
        stream.write(b"\xff" * size)
        stream.truncate(0)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("dtype", [None, torch.float64, torch.bfloat16])
def test_values_take_the_dtype_of_the_model(dtype: torch.dtype | None, folder: Path) -> None:
    state = net_state()
    model = build("net.yaml", weights=saved({k: v.half() for k, v in state.items()}), dtype=dtype)
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == (dtype or torch.float32)
        assert torch.equal(tensor, state[name].half().to(tensor.dtype))
    assert model.index.dtype == torch.int64


def test_on_meta_only_names_and_shapes_are_compared(folder: Path) -> None:
    state = net_state()
    model = build("net.yaml", weights=saved(state), device="meta")
    assert all(tensor.is_meta for tensor in model.state_dict().values())
    with torch.device("meta"):
        assert build("net.yaml", weights=state).head.bias.is_meta
    del state["head.bias"]
    assert codes_of(weights=saved(state), device="meta") == ["missing-weights"]


def test_the_default_device_is_where_parameters_are_made(folder: Path) -> None:
    with torch.device("cpu"):
        assert build("net.yaml", weights=net_state()).head.bias.device.type == "cpu"


def test_the_reports(folder: Path) -> None:
    state = {f"model.{name}": tensor for name, tensor in net_state().items()}
    model = build("net.yaml", weights=saved(state), rename=[(r"^model[.]", "")])
    origin = confnet.WeightOrigin("w.safetensors", "model.head.bias")
    assert confnet.load_report(model).loaded["head.bias"] == origin
    assert confnet.init_report(model)["head.bias"] == origin
    assert set(confnet.init_report(model)) == {name for name, _ in model.named_parameters()}
    assert str(confnet.load_report(model)) == f"{len(state)} tensors loaded from w.safetensors"
    with pytest.raises(TypeError, match="`Net` is not the root of a model that was built with weights"):
        confnet.load_report(build("net.yaml"))


def test_what_is_missing_is_initialised_as_without_weights(folder: Path) -> None:
    state = {name: tensor for name, tensor in net_state().items() if not name.startswith("head.")}
    path = saved({**state, "extra": torch.zeros(2)})
    torch.manual_seed(7)
    plain = build("net.yaml")
    torch.manual_seed(7)
    model = build("net.yaml", weights=path, strict=False)
    assert torch.equal(model.head.weight, plain.head.weight)
    assert torch.equal(model.stem.weight, state["stem.weight"])
    report = confnet.load_report(model)
    assert report.missing == ("head.weight", "head.bias")
    assert report.unexpected == ("extra",)
    assert set(report.loaded) == set(state)
    assert str(report).splitlines()[1:] == ["missing: head.weight", "missing: head.bias", "unexpected: extra"]
    origins = confnet.init_report(model)
    assert origins["head.weight"] is None
    assert origins["stem.weight"] == confnet.WeightOrigin("w.safetensors", "stem.weight")


def test_a_new_head(folder: Path) -> None:
    """The recipe of the page: the old head is left out by name, not by its shape."""
    state = {**net_state(), "head.weight": torch.zeros(1000, 4), "head.bias": torch.zeros(1000)}
    path = saved(state)
    assert codes_of(weights=path, strict=False) == ["weight-shape"]  # both stand in one line of the file
    model = build("net.yaml", weights=path, rename={"^head[.]": None}, strict=False)
    assert confnet.load_report(model).missing == ("head.weight", "head.bias")


# --- what does not fit, in exact words ------------------------------------------------------------------------------


def test_a_missing_parameter(folder: Path) -> None:
    state = net_state()
    del state["head.bias"]
    assert (
        error_of(weights=saved(state))
        == """\
error[missing-weights]: the weights hold no `head.bias`
  --> net.yaml:10:3
   |
10 |   head: {Linear: [4, 2]}
   |   ^^^^
   = help: to initialise what is missing as without weights: `strict=False`, on the command line `--no-strict`"""
    )


def test_a_missing_child_of_every_instance(folder: Path) -> None:
    state = {name: tensor for name, tensor in net_state().items() if ".norm." not in name}
    assert (
        error_of(weights=saved(state))
        == """\
error[missing-weights]: the weights hold nothing of `blocks.0.norm`, nor of 2 others of this line
 --> net.yaml:5:38
  |
5 |     children: {fc: {Linear: [4, 4]}, norm: {LayerNorm: 4}}
  |                                      ^^^^
  = note: missing: `blocks.0.norm.weight`, `blocks.0.norm.bias`, `blocks.1.norm.weight`, `blocks.1.norm.bias`, \
`blocks.2.norm.weight`, `blocks.2.norm.bias`
  = note: in `Block`, instantiated at net.yaml:9:45
  = help: to initialise what is missing as without weights: `strict=False`, on the command line `--no-strict`"""
    )


def test_unexpected_keys_that_are_alike(folder: Path) -> None:
    state = {**net_state(), **{f"blocks.{i}.mask": torch.zeros(1) for i in range(3)}, "index": torch.arange(4)}
    assert (
        error_of(weights=saved(state))
        == """\
error[unexpected-weights]: the model has no `blocks.0.mask`, nor 2 others like it
  = note: unexpected: `blocks.0.mask`, `blocks.1.mask`, `blocks.2.mask`
  = help: leave out what matches: `rename={r'^blocks[.]\\d+[.]mask$': None}`, on the command line \
`--drop '^blocks[.]\\d+[.]mask$'`

error[unexpected-weights]: the model has no `index`
  = note: `index` is a buffer that is not persistent: the model computes it at net.yaml:11:43
  = help: leave out what matches: `rename={r'^index$': None}`, on the command line `--drop '^index$'`"""
    )


def test_layers_beyond_those_of_the_model(folder: Path) -> None:
    """A pattern with any number would leave out what the model has as well."""
    state = net_state()
    state |= {name.replace("blocks.2", "blocks.3"): tensor for name, tensor in state.items()}
    text = error_of(weights=saved(state))
    assert "the model has no `blocks.3.fc.bias`, nor 3 others like it" in text
    assert "`--drop '^blocks[.]3[.]'`" in text


def test_a_wrong_shape(folder: Path) -> None:
    state = {**net_state(), "head.weight": torch.zeros(5, 4)}
    assert (
        error_of(weights=saved(state))
        == """\
error[weight-shape]: `head.weight` has the shape [5, 4] in the weights and [2, 4] in the model
  --> net.yaml:10:3
   |
10 |   head: {Linear: [4, 2]}
   |   ^^^^
   = help: build with the args that the weights were made with; or initialise it: \
`rename={r'^head[.]weight$': None}, strict=False`, on the command line `--drop '^head[.]weight$' --no-strict`"""
    )


def test_a_transposed_weight(folder: Path) -> None:
    state = net_state()
    state["head.weight"] = state["head.weight"].t()
    assert error_of(weights=saved(state)).endswith(
        "= help: it is transposed in the weights: a `load_state_dict_pre` hook can transpose it"
    )


def test_tied_names_that_differ(folder: Path) -> None:
    Path("tied.yaml").write_text(
        "confnet: 1\nchildren: {a: {Linear: [2, 2]}, b: {Linear: [2, 2]}}\n"
        "tie:\n  b.weight: a.weight\nforward: return b(a(x))\n"
    )
    state = {"a.weight": torch.eye(2), "a.bias": torch.zeros(2), "b.bias": torch.zeros(2)}
    path = saved({**state, "b.weight": torch.ones(2, 2)})
    assert (
        error_of("tied.yaml", weights=path)
        == """\
error[tied-weights]: `a.weight` and `b.weight` are one parameter, and their values in the weights differ
 --> tied.yaml:4:3
  |
4 |   b.weight: a.weight
  |   ^^^^^^^^
  = help: untie them in the file; or leave one out: `rename={r'^b[.]weight$': None}`, on the command line \
`--drop '^b[.]weight$'`"""
    )
    nan = torch.full((2, 2), torch.nan)
    for tensors in ({"a.weight": nan, "b.weight": nan}, {"b.weight": torch.eye(2)}):
        rest = {name: tensor for name, tensor in state.items() if name != "a.weight"}
        model = build("tied.yaml", weights=saved({**rest, **tensors}))
        assert model.a.weight is model.b.weight
        assert torch.equal(model.a.weight.isnan(), tensors["b.weight"].isnan())


RENAMES: dict[str, tuple[Callable[[str], str], str, str]] = {
    "strip": (lambda name: f"model.{name}", r"^model[.]", ""),
    "strip two": (lambda name: f"module.model.{name}", r"^module[.]model[.]", ""),
    "add": (lambda name: name.removeprefix("blocks."), r"^(0|1|2)\b", r"blocks.\1"),
    "replace": (lambda name: name.replace("blocks.", "layers."), r"^layers[.]", "blocks."),
    "inside": (
        lambda name: name.replace(".norm.", ".ln."),
        r"^blocks[.]([0-9]+)[.]ln[.]",
        r"blocks.\1.norm.",
    ),
    "inside and around": (
        lambda name: name.replace("blocks.", "encoder.layer.").replace(".norm.", ".ln."),
        r"^blocks[.]([0-9]+)[.]ln[.]",
        r"blocks.\1.norm.",
    ),
}


@pytest.mark.parametrize("name", RENAMES)
def test_the_rename_that_is_proposed_is_right(name: str, folder: Path) -> None:
    change, pattern, to = RENAMES[name]
    state = net_state()
    path = saved({change(key): tensor for key, tensor in state.items()})
    with pytest.raises(confnet.ConfnetError) as caught:
        build("net.yaml", weights=path)
    rename: dict[str, str] = {}
    assert len(caught.value.diagnostics) == 1
    for diagnostic in caught.value.diagnostics:
        assert diagnostic.code == "missing-weights"
        assert diagnostic.span is not None
        python, line = diagnostic.help.removesuffix("`").split("`, on the command line `")
        rename = eval(python.partition("`rename=")[2])  # what a reader would paste
        assert line == " ".join(f"--rename '{one}={other}'" for one, other in rename.items())
    assert rename[pattern] == to
    model = build("net.yaml", weights=path, rename=rename)
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())


def test_a_missing_prefix_in_exact_words(folder: Path) -> None:
    path = saved({f"model.{name}": tensor for name, tensor in net_state().items()})
    assert (
        error_of(weights=path)
        == """\
error[missing-weights]: the weights call `model.blocks.0.fc.bias` what the model calls `blocks.0.fc.bias`, \
and 16 others likewise
 --> net.yaml:1:1
  |
1 | confnet: 1
  | ^^^^^^^^^^
  = help: rename: `rename={r'^model[.]': ''}`, on the command line `--rename '^model[.]='`"""
    )


def test_one_name_that_was_misspelt(folder: Path) -> None:
    state = net_state()
    state["head.bais"] = state.pop("head.bias")
    text = error_of(weights=saved(state))
    assert text.startswith(
        "error[missing-weights]: the weights hold no `head.bias`, but a `head.bais` of the same shape"
    )
    assert text.endswith("rename: `rename={r'^head[.]bais$': 'head.bias'}`, on the command line "
                         "`--rename '^head[.]bais$=head.bias'`")  # fmt: skip
    assert text.count("error[") == 1


@pytest.mark.parametrize("strict", [True, False])
def test_weights_of_another_model(strict: bool, folder: Path) -> None:
    path = saved({"a": torch.zeros(1), "b": torch.zeros(1)})
    assert (
        error_of(weights=path, strict=strict)
        == """\
error[missing-weights]: the weights hold none of the 17 names of the model
 --> net.yaml:1:1
  |
1 | confnet: 1
  | ^^^^^^^^^^
  = note: the model has `scale`, `stem.weight`, `stem.bias` and 14 more
  = note: the weights have `a`, `b`"""
    )


def test_everything_is_told_at_once(folder: Path) -> None:
    state = {**net_state(), "head.weight": torch.zeros(5, 4), "other": torch.zeros(9)}
    del state["stem.bias"]
    assert codes_of(weights=saved(state)) == ["unexpected-weights", "missing-weights", "weight-shape"]


def test_very_many_wrong_names_are_told_in_short(folder: Path) -> None:
    state = {f"n{i}.x{i}": torch.zeros(1) for i in range(3000)} | net_state()
    text = error_of(weights=state)
    assert text.count("error[") == 40
    assert len(text) < 40_000


# --- renaming -------------------------------------------------------------------------------------------------------


def test_rules_act_in_order(folder: Path) -> None:
    state = net_state()
    renamed = {f"a.{name}": tensor for name, tensor in state.items()}
    model = build("net.yaml", weights=renamed, rename=[("^a", "b"), ("^b[.]", "")])
    assert torch.equal(model.head.bias, state["head.bias"])


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        ({"(a+)+": "b"}, "`pattern` of `rename_keys` repeats what already varies, which may take exponential time"),
        ({"(": None},
         "`pattern` of `drop_keys` is no regular expression: missing ), unterminated subpattern at position 0"),
        ({"a": r"\1"}, "`to` of `rename_keys` is no replacement for `a`: invalid group reference 1 at position 1"),
    ],
)  # fmt: skip
def test_rules_are_checked_as_those_of_hooks(rename: dict[str, str | None], message: str, folder: Path) -> None:
    assert error_of(weights={}, rename=rename).splitlines()[0] == f"error[invalid-value]: {message}"


def test_two_keys_of_one_name(folder: Path) -> None:
    assert (
        error_of(weights=net_state(), rename={r"^(stem|head)[.]": "head."})
        == """\
error[duplicate-weights]: `stem.weight` and `head.weight` of the weights would both be called `head.weight`
  = help: make the patterns of `rename` match one of them, or leave one out"""
    )


# --- wrong calls ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": 3}, "weights are a path or a mapping of tensors by name, not int"),
        ({"weights": b"w.safetensors"}, "weights are a path or a mapping of tensors by name, not bytes"),
        ({"weights": {"a": 1}}, "`weights` maps names to tensors, not str to int"),
        ({"weights": {1: torch.zeros(1)}}, "`weights` maps names to tensors, not int to Tensor"),
        ({"weights": {"a": torch.zeros(1, device="meta")}}, "`a` of `weights` must be a dense tensor with values"),
        ({"weights": {"a": torch.eye(2).to_sparse()}}, "`a` of `weights` must be a dense tensor with values"),
        ({"weights": {}, "rename": "a"}, "`rename` maps patterns to texts or None, not str"),
        ({"weights": {}, "rename": {"a": 1}}, "`rename` maps patterns to texts or None"),
        ({"weights": {}, "weights_format": "gguf"}, "`weights_format` is one of 'safetensors', 'torch', not 'gguf'"),
    ],
)
def test_wrong_calls(options: dict[str, Any], message: str, folder: Path) -> None:
    with pytest.raises(TypeError) as caught:
        build("net.yaml", **options)
    assert str(caught.value) == message


def test_a_hook_that_fails_is_told(folder: Path) -> None:
    spec = confnet.loads(
        "confnet: 1\nchildren: {fc: {Linear: [2, 2]}}\nforward: return fc(x)\n"
        "hooks: [{kind: load_state_dict_pre, do: \"assert 'x' in state_dict, 'no x'\"}]\n"
    )
    text = error_of(spec, weights=build(spec).state_dict())
    assert text.startswith("error[refused-by-torch]: the weights cannot be loaded: no x")


# --- files that are none --------------------------------------------------------------------------------------------


def _header(text: bytes, size: int | None = None) -> bytes:
    return (len(text) if size is None else size).to_bytes(8, "little") + text


DAMAGED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "`w.safetensors` is no safetensors file: it has 0 bytes"),
    "short": (b"abc", "`w.safetensors` is no safetensors file: it has 3 bytes"),
    "text": (b"confnet: 1\nSequential: [ReLU]\n", "`w.safetensors` is no safetensors file"),
    "huge header": (_header(b"{}", 2**62), "`w.safetensors` is cut off within its header"),
    "header beyond the end": (_header(b'{"a":', 500), "`w.safetensors` is cut off within its header"),
    "no JSON": (_header(b"{nope}"), "`w.safetensors` is damaged: "),
    "deep JSON": (_header(b'{"a":' * 50_000), "`w.safetensors` is damaged: "),
    "values cut off": (
        _header(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}') + b"\0" * 7,
        "`w.safetensors` is damaged: ",
    ),
    "offsets that overlap": (
        _header(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}')
        + b"\0" * 8,
        "`w.safetensors` is damaged: ",
    ),
    "a dtype that is none": (
        _header(b'{"a":{"dtype":"X32","shape":[1],"data_offsets":[0,4]}}') + b"\0" * 4,
        "`w.safetensors` is damaged: ",
    ),
    "a pointer of Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "`w.safetensors` is a pointer of Git LFS, not the file itself",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files(name: str, folder: Path) -> None:
    data, message = DAMAGED[name]
    Path("w.safetensors").write_bytes(data)
    first = error_of(weights="w.safetensors").splitlines()[0]
    assert first.startswith(f"error[unreadable-weights]: {message}")
    assert first.endswith(message) or message.endswith(": ")


def test_every_cut_of_a_file_is_told(folder: Path) -> None:
    data = Path(saved(net_state())).read_bytes()
    for size in [*range(0, len(data), 97), len(data) - 1]:
        Path("w.safetensors").write_bytes(data[:size])
        assert codes_of(weights="w.safetensors") == ["unreadable-weights"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("absent.safetensors", "`absent.safetensors` does not exist"),
        ("bad\0name", "`bad\\x00name` does not exist"),
        ("empty", "the folder `empty` holds no `model.safetensors`, nor another file of weights"),
        ("two", "the folder `two` holds 2 files of weights"),
        ("pickles", "the folder `pickles` holds weights as pickles only, and a pickle can run code when it is loaded"),
    ],
)
def test_paths_that_lead_to_no_weights(path: str, message: str, folder: Path) -> None:
    for name in ("empty", "two", "pickles"):
        Path(name).mkdir()
    for name in ("two/a.safetensors", "two/b.safetensors", "pickles/pytorch_model.bin"):
        Path(name).touch()
    assert error_of(weights=path).splitlines()[0].partition("]: ")[2] == message


def test_a_pipe_is_no_file(folder: Path) -> None:
    os.mkfifo("pipe")
    assert "`pipe` is not a file" in error_of(weights="pipe")


def test_a_folder_with_one_file(folder: Path) -> None:
    Path("some").mkdir()
    model = build("net.yaml", weights="some" if saved(net_state(), "some/any.safetensors") else "")
    assert confnet.load_report(model).files == (os.path.join("some", "any.safetensors"),)


def test_without_the_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(net_state())
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    expected = """\
error[missing-package]: safetensors files need the package `safetensors`, which is not installed
  = help: pip install 'torch-confnet[weights]'"""
    assert error_of(weights=path) == expected
    with pytest.raises(confnet.ConfnetError, match="missing-package"):
        confnet.save_weights(build("net.yaml"), "out.safetensors")
    assert build("net.yaml", weights={**build("net.yaml").state_dict()})  # a mapping needs none


# --- shards ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def shards(folder: Path) -> dict[str, Any]:
    """A sharded checkpoint of `net.yaml` in the folder `s`; its index, to be written again."""
    state = net_state()
    Path("s").mkdir()
    names = list(state)
    parts = {"one.safetensors": names[:7], "two.safetensors": names[7:]}
    for file, keys in parts.items():
        saved({key: state[key] for key in keys}, f"s/{file}")
    index = {"metadata": {}, "weight_map": {key: file for file, keys in parts.items() for key in keys}}
    write_index(index)
    return index


def write_index(index: object) -> str:
    Path("s/model.safetensors.index.json").write_text(index if isinstance(index, str) else json.dumps(index))
    return "s/model.safetensors.index.json"


def index_error() -> str:
    return error_of(weights="s").splitlines()[0].removeprefix("error[unreadable-weights]: ")


@pytest.mark.parametrize("path", ["s", "s/", "s/model.safetensors.index.json"])
def test_shards(path: str, shards: dict[str, Any]) -> None:
    model = build("net.yaml", weights=path)
    expected = net_state()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())
    files = confnet.load_report(model).files
    assert [os.path.basename(file) for file in files] == ["one.safetensors", "two.safetensors"]
    assert confnet.init_report(model)["head.bias"] == confnet.WeightOrigin(files[1], "head.bias")


@pytest.mark.parametrize(
    "shard", ["../w.safetensors", "/etc/passwd", "..", ".", "", "a/b", "a\\b", "C:x", "a\0b", "//host/x"]
)
def test_a_shard_is_a_file_beside_its_index(shard: str, shards: dict[str, Any]) -> None:
    saved(net_state())
    shards["weight_map"]["head.bias"] = shard
    write_index(shards)
    assert "and a shard is a file beside its index" in index_error()


def test_a_link_out_of_the_folder(shards: dict[str, Any]) -> None:
    os.replace("s/two.safetensors", "two.safetensors")
    os.symlink("../two.safetensors", "s/two.safetensors")
    assert (
        index_error() == "`two.safetensors`, which `s/model.safetensors.index.json` names, is a link out of the folder"
    )
    os.unlink("s/two.safetensors")
    os.symlink("two.safetensors", "s/two.safetensors")
    assert index_error() in (
        "`two.safetensors`, which `s/model.safetensors.index.json` names, is a link that leads nowhere",
        "the shard `two.safetensors`, which `s/model.safetensors.index.json` names, is not there",
    )


def test_the_cache_of_the_hub(shards: dict[str, Any]) -> None:
    """`snapshots/REVISION/` holds links to the files of `blobs/`, the index among them."""
    Path("hub/blobs").mkdir(parents=True)
    Path("hub/snapshots/abc").mkdir(parents=True)
    for number, path in enumerate(sorted(Path("s").iterdir())):
        path.rename(f"hub/blobs/{number}")
        os.symlink(f"../../blobs/{number}", f"hub/snapshots/abc/{path.name}")
    assert build("net.yaml", weights="hub/snapshots/abc")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("nope", "the index `s/model.safetensors.index.json` cannot be read: it is not JSON"),
        ("[" * 100_000, "the index `s/model.safetensors.index.json` cannot be read: it is not JSON"),
        ("[]", "the index `s/model.safetensors.index.json` has no `weight_map` from names to files"),
        ('{"weight_map": {"a": 1}}',
         "the index `s/model.safetensors.index.json` has no `weight_map` from names to files"),
        ('{"weight_map": {"a": "x.safetensors"}}',
         "the shard `x.safetensors`, which `s/model.safetensors.index.json` names, is not there"),
        ('{"weight_map": {"a": "one.safetensors"}}',
         "`s/one.safetensors` holds no `a`, which `s/model.safetensors.index.json` says it does"),
    ],
)  # fmt: skip
def test_wrong_indices(index: str, message: str, shards: dict[str, Any]) -> None:
    write_index(index)
    assert index_error() == message


def test_a_key_that_the_index_forgets(shards: dict[str, Any]) -> None:
    del shards["weight_map"]["head.bias"]
    write_index(shards)
    expected = "`s/two.safetensors` holds `head.bias`, which `s/model.safetensors.index.json` does not place there"
    assert index_error() == expected


def test_an_index_is_bounded(shards: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_files, "MAX_INDEX", 100)
    assert index_error() == "the index `s/model.safetensors.index.json` is larger than 100 bytes"


# --- pickles --------------------------------------------------------------------------------------------------------


class Evil:
    """A pickle that leaves a mark where it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


def test_nothing_is_ever_unpickled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = net_state()
    torch.save(state, "w.pt")
    path = saved(state)

    def fail(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("something was unpickled")

    for owner, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(owner, name, fail)
    assert build("net.yaml", weights=path)
    assert (
        error_of(weights="w.pt")
        == """\
error[unsafe-weights]: `w.pt` is a pickle, which can run code when it is loaded
  = help: convert it to safetensors where you trust it; or read it with `torch.load(weights_only=True)`, which \
refuses code: `weights_format="torch"`, on the command line `--weights-format torch`"""
    )
    assert "something was unpickled" in error_of(weights="w.pt", weights_format="torch")


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors", "w"])
def test_pickles_are_known_by_what_is_in_them(name: str, new: bool, folder: Path) -> None:
    torch.save(net_state(), name, _use_new_zipfile_serialization=new)
    assert codes_of(weights=name) == ["unsafe-weights"]
    model = build("net.yaml", weights=name, weights_format="torch")
    assert all(torch.equal(tensor, net_state()[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("form", ["safetensors", "torch"])
def test_a_pickle_with_code_never_runs(new: bool, form: str, folder: Path) -> None:
    torch.save({**net_state(), "evil": Evil()}, "w.pt", _use_new_zipfile_serialization=new)
    assert codes_of(weights="w.pt", weights_format=form) == ["unsafe-weights"]
    Path("w.pt").write_bytes(pickle.dumps(Evil()))
    assert set(codes_of(weights="w.pt", weights_format=form)) <= {"unsafe-weights", "unreadable-weights"}
    assert not Path("ran").exists()


def test_a_whole_checkpoint_is_no_state_dict(folder: Path) -> None:
    torch.save({"model": net_state(), "epoch": 3}, "w.pt")
    assert error_of(weights="w.pt", weights_format="torch").splitlines()[0] == (
        "error[unreadable-weights]: `w.pt` holds more than a state dict: `model`, `epoch` are no tensor"
    )
    torch.save([torch.zeros(1)], "w.pt")
    assert "holds no state dict but a value of type `list`" in error_of(weights="w.pt", weights_format="torch")
    Path("w.pt").write_bytes(b"nothing")
    assert codes_of(weights="w.pt", weights_format="torch") == ["unreadable-weights"]


# --- saving ---------------------------------------------------------------------------------------------------------


def test_what_is_saved(folder: Path) -> None:
    spec = confnet.loads(
        "confnet: 1\nchildren: {a: {Linear: [2, 2]}, b: {Linear: [2, 2]}}\ntie: {b.weight: a.weight}\n"
        "forward: return b(a(x))\n"
    )
    model = build(spec)
    confnet.save_weights(model, "out.safetensors")
    assert sorted(load_file("out.safetensors")) == ["a.bias", "a.weight", "b.bias"]
    with safe_open("out.safetensors", "pt") as opened:
        metadata = opened.metadata()
    assert metadata.pop("confnet.spec").startswith("sha256:")
    assert metadata == {"format": "pt", "b.weight": "a.weight"}
    same_state(build(spec, weights="out.safetensors"), model)
    assert sorted(os.listdir()) == ["net.yaml", "out.safetensors"]


def test_the_digest_is_that_of_the_spec_wherever_it_lies(folder: Path) -> None:
    def digest(source: Any, **options: Any) -> str:
        confnet.save_weights(build(source, **options), "d.safetensors", overwrite=True)
        with safe_open("d.safetensors", "pt") as opened:
            return str(opened.metadata()["confnet.spec"])

    Path("copy.yaml").write_text(NET)
    Path("other.yaml").write_text(NET.replace("fill: 1.0", "fill: 2.0"))
    first = digest("net.yaml")
    assert digest("copy.yaml") == digest(folder / "net.yaml") == first
    assert digest("other.yaml") != first
    assert digest("net.yaml", root="Block") != first


def test_views_of_one_tensor_are_saved_apart(folder: Path) -> None:
    model = nn.Module()
    whole = torch.arange(6.0)
    model.register_buffer("whole", whole)
    model.register_buffer("end", whole[3:])
    model.register_buffer("turned", whole.view(2, 3).t())
    confnet.save_weights(model, "out.safetensors")
    found = load_file("out.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in model.state_dict().items())


def test_an_existing_file_is_kept(folder: Path) -> None:
    Path("out.safetensors").write_text("mine")
    model = build("net.yaml")
    with pytest.raises(confnet.ConfnetError) as caught:
        confnet.save_weights(model, "out.safetensors")
    assert [d.message for d in caught.value.diagnostics] == ["`out.safetensors` exists"]
    assert Path("out.safetensors").read_text() == "mine"
    confnet.save_weights(model, "out.safetensors", overwrite=True)
    assert build("net.yaml", weights="out.safetensors")


@pytest.mark.parametrize(
    ("path", "device", "message"),
    [
        ("absent/out.safetensors", None, "`absent/out.safetensors` cannot be written: its folder does not exist"),
        (".", None, "`.` is a folder"),
        ("out.safetensors", "meta", "`scale` has no values, and a safetensors file holds the values of tensors"),
    ],
)
def test_what_cannot_be_saved(path: str, device: str | None, message: str, folder: Path) -> None:
    with pytest.raises(confnet.ConfnetError) as caught:
        confnet.save_weights(build("net.yaml", device=device), path)
    assert [(d.code, d.message) for d in caught.value.diagnostics] == [("unwritable-weights", message)]
    assert os.listdir() == ["net.yaml"]


def test_a_write_that_fails_leaves_what_was_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(tensors: Any, path: Path, metadata: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    Path("out.safetensors").write_text("mine")
    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(confnet.ConfnetError, match="unwritable-weights"):
        confnet.save_weights(build("net.yaml"), "out.safetensors", overwrite=True)
    assert Path("out.safetensors").read_text() == "mine"
    assert sorted(os.listdir()) == ["net.yaml", "out.safetensors"]


# --- the command ----------------------------------------------------------------------------------------------------


def run(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["build", *arguments], prog_name="confnet")


def test_the_command_builds(folder: Path) -> None:
    result = run("net.yaml", "--seed", "5", "-o", "out.safetensors")
    assert (result.exit_code, result.output) == (0, "Net has 110 parameters\nsaved to out.safetensors\n")
    same_state(build("net.yaml", weights="out.safetensors"), build("net.yaml", seed=5))


def test_the_command_loads_and_saves(folder: Path) -> None:
    state = net_state()
    saved({"model." + name: tensor for name, tensor in state.items() if name != "head.bias"} | {"x": torch.zeros(1)})
    arguments = ["--weights", "w.safetensors", "--rename", "^model[.]=", "--drop", "^x$", "--no-strict"]
    result = run("net.yaml", *arguments, "--output", "out.safetensors")
    assert result.exit_code == 0, result.output
    assert result.output == (
        "16 tensors loaded from w.safetensors\nmissing: head.bias\ndropped: x\n"
        "Net has 110 parameters\nsaved to out.safetensors\n"
    )
    assert torch.equal(load_file("out.safetensors")["stem.bias"], state["stem.bias"])
    assert run("net.yaml", "-o", "out.safetensors", "--force").exit_code == 0


def test_the_command_tells_what_is_wrong(folder: Path) -> None:
    state = net_state()
    del state["head.bias"]
    result = run("net.yaml", "--weights", saved(state), "-o", "out.safetensors")
    assert result.exit_code == 1
    assert result.output.startswith("error[missing-weights]: the weights hold no `head.bias`\n  --> net.yaml:10:3\n")
    assert not Path("out.safetensors").exists()
    Path("bad.yaml").write_text(NET.replace("Linear", "Linaer"))
    assert "error[unknown-layer]" in run("bad.yaml", "--weights", "w.safetensors").output
    torch.save(state, "w.pt")
    assert run("net.yaml", "--weights", "w.pt", "--no-strict").exit_code == 1
    assert run("net.yaml", "--weights", "w.pt", "--no-strict", "--weights-format", "torch").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rename", "a=b"], "'--rename', '--drop', '--no-strict' and '--weights-format' need '--weights'"),
        (["--weights", "w", "--rename", "a"], "'a' has no '='; write PATTERN=TO"),
        (["--weights", "w", "--rename", "a=b", "--rename", "a=c"], "'a' is renamed twice"),
        (["--force"], "'--force' needs '--output'"),
        (["-o", "net.yaml"], "'net.yaml' exists; '--force' replaces it"),
        (["-o", "absent/out.safetensors"], "the folder of 'absent/out.safetensors' does not exist"),
        (["--weights-format", "gguf"], "'gguf' is not one of 'safetensors', 'torch'"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, folder: Path) -> None:
    result = run("net.yaml", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_an_equals_sign_in_a_pattern(folder: Path) -> None:
    saved({f"a.{name}": tensor for name, tensor in net_state().items()})
    assert run("net.yaml", "--weights", "w.safetensors", "--rename", "^a[.](?=.)=").exit_code == 0


# --- inside ---------------------------------------------------------------------------------------------------------


def test_a_model_that_keeps_a_tensor_on_meta_is_made_as_usual(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the short way leaves without values is found, and the long way taken."""
    monkeypatch.setattr(weights, "_is_torch_or_ours", lambda cls: True)
    spec = confnet.loads("confnet: 1\nSequential: [{WeightsTable: 4}]\n")
    model = build(spec, weights={"0.weight": torch.ones(4)})
    assert torch.equal(model(torch.zeros(4)), torch.arange(4) * 2.0)


def test_save_model_of_safetensors_and_ours_agree(folder: Path) -> None:
    model = build(GPT2_FILE, **GPT2)
    save_model(model, "theirs.safetensors")
    confnet.save_weights(model, "ours.safetensors")
    for path in ("theirs.safetensors", "ours.safetensors"):
        same_state(build(GPT2_FILE, weights=path, **GPT2), model)


PLAIN = "Sequential: [{Conv1d: [2, 4, 1]}, {BatchNorm1d: 4}, {LSTM: [4, 3]}]"
TIED = (
    "children: {a: {Embedding: [5, 4]}, b: {Linear: [4, 5, false]}}\ntie: {b.weight: a.weight}\nforward: return b(a(x))"
)


@pytest.mark.parametrize(
    ("text", "left_out", "by_torch"),
    [
        (PLAIN, (), False),
        (PLAIN, ("1.num_batches_tracked",), True),  # which torch makes
        (PLAIN + "\nhooks: [{kind: load_state_dict_pre, call: {drop_keys: '^never'}}]", (), True),
        (TIED, (), True),  # it ties again afterwards
        (TIED, ("b.weight",), True),
    ],
)
def test_names_alone_match_where_torch_would_do_no_more(
    text: str, left_out: tuple[str, ...], by_torch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = confnet.loads(f"confnet: 1\n{text}\n")
    state = {name: tensor for name, tensor in build(spec, seed=1).state_dict().items() if name not in left_out}
    runs: list[nn.Module] = []
    load = nn.Module.load_state_dict

    def watched(module: nn.Module, *arguments: Any, **keywords: Any) -> Any:
        runs.append(module)
        return load(module, *arguments, **keywords)

    monkeypatch.setattr(nn.Module, "load_state_dict", watched)
    found = build(spec, weights=state, device="cpu")
    assert bool(runs) is by_torch
    monkeypatch.setattr(weights, "loads_plainly", lambda module: False)
    expected = build(spec, weights=state, device="cpu")
    assert confnet.load_report(found) == confnet.load_report(expected)
    assert [*found.state_dict()] == [*expected.state_dict()]
    for name, tensor in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name
        assert torch.equal(tensor, state.get(name, tensor)), name
