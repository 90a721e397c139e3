"""The definitions that ship with the package: each against hand-written PyTorch, and how files include them."""

from __future__ import annotations

import copy
import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import nn

import confnet
from confnet.api import Report
from confnet.blocks import block_names, block_text
from confnet.cli import commands
from confnet.diagnostics import ConfnetError
from confnet.loading import load_texts
from confnet.source import parse, plain
from tests.block_cases import BLOCKS, CASES, Case, Model, document
from tests.blocks_page import PAGE, definitions, facts, read_facts, write_facts
from tests.oracle import assert_same_run, disturb, run
from tests.references import blocks as by_hand

ROOT = Path(__file__).resolve().parent.parent


every_case = pytest.mark.parametrize("case", CASES, ids=[f"{case.block}-{n}" for n, case in enumerate(CASES)])


# --- against the references -----------------------------------------------------------------------------------------


def test_every_definition_has_a_reference() -> None:
    assert sorted(definitions()) == BLOCKS


@every_case
def test_equal_to_the_reference(case: Case) -> None:
    """The same keys, and constants to begin with; the same results and gradients, with weights of no pattern."""
    torch.manual_seed(0)
    reference = Model(case.reference(), listed="[" in case.call)
    built = case.build()
    wanted = reference.state_dict()
    assert list(built.state_dict()) == list(wanted)
    for name, tensor in built.state_dict().items():
        if tensor.numel() > 1 and len(wanted[name].unique()) == 1:
            assert torch.equal(tensor, wanted[name]), f"{name} begins with other values"
        else:
            assert tensor.shape == wanted[name].shape
    disturb(reference)
    built.load_state_dict(reference.state_dict())
    for training in (True, False):
        inputs = case.values()
        torch.manual_seed(1)
        ran = run(built.train(training), inputs)
        torch.manual_seed(1)
        assert_same_run(ran, run(reference.train(training), inputs))
        torch.testing.assert_close(built.state_dict(), reference.state_dict())


@every_case
def test_valid_with_shapes(case: Case) -> None:
    report = confnet.validate(confnet.loads(case.text))
    assert report.ok, str(report)
    assert not report.diagnostics, str(report)
    assert all(shapes.checked for shapes in report.shapes)


# One of each, the one with the most parts.
richest = pytest.mark.parametrize(
    "case", [max((c for c in CASES if c.block == block), key=lambda c: len(c.text)) for block in BLOCKS], ids=BLOCKS
)


@richest
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_compiles_to_one_graph(case: Case, training: bool) -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    model, inputs = case.build().train(training), case.values()
    compiled: Any = torch.compile(model, backend="eager", fullgraph=True)
    torch.manual_seed(1)
    result = compiled(*inputs)
    torch.manual_seed(1)
    torch.testing.assert_close(result, model(*inputs))


@richest
def test_exports(case: Case) -> None:
    torch.manual_seed(0)
    model, inputs = case.build().eval(), case.values()
    exported = torch.export.export(model, inputs)
    torch.testing.assert_close(exported.module()(*inputs), model(*inputs))


# --- what a comparison does not show --------------------------------------------------------------------------------


def child(files: str, written: str) -> Any:
    return confnet.build(confnet.loads(document(files, written, call="a"))).get_submodule("block")


def test_drop_path_drops_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    drop = child("residual", "{DropPath: 0.3}")
    x = torch.rand(20_000, 3) + 1
    y = drop(x)
    dropped = (y == 0).all(dim=1)
    torch.testing.assert_close(y[~dropped], x[~dropped] / 0.7)
    assert 0.28 < float(dropped.float().mean()) < 0.32
    torch.testing.assert_close(y.mean(0), x.mean(0), rtol=0.03, atol=0)
    assert drop.eval()(x) is x
    assert repr(drop) == "DropPath(p=0.3)"


def test_dropout_of_attention_is_of_the_weights() -> None:
    torch.manual_seed(0)
    attend = child("attention", "{ScaledDotProduct: {dropout: 0.25}}")
    q, k = torch.randn(64, 2, 8, 4), torch.randn(64, 2, 8, 4)
    weights = attend.eval()(q, k, torch.eye(8).expand(64, 2, 8, 8))
    dropped = attend.train()(q, k, torch.eye(8).expand(64, 2, 8, 8))
    zero = dropped == 0
    assert 0.22 < float(zero.float().mean()) < 0.28
    torch.testing.assert_close(dropped[~zero], (weights / 0.75)[~zero])


@pytest.mark.parametrize(
    "written",
    [
        "{SelfAttention: {embed_dim: 8, num_heads: 2, dropout: 0.5}}",
        "{GroupedQueryAttention: {embed_dim: 8, num_heads: 2, num_kv_heads: 1, dropout: 0.5}}",
        "{CrossAttention: {embed_dim: 8, num_heads: 2, dropout: 0.5}}",
    ],
)
def test_attentions_pass_their_dropout_on(written: str) -> None:
    block = child("attention", written)
    assert block.attend.dropout == 0.5


@pytest.mark.parametrize("bias", [True, False])
def test_self_attention_is_that_of_torch(bias: bool) -> None:
    torch.manual_seed(0)
    torchs = nn.MultiheadAttention(8, 2, bias=bias, batch_first=True)
    block = child("attention", f"{{SelfAttention: {{embed_dim: 8, num_heads: 2, bias: {str(bias).lower()}}}}}")
    packed = dict(torchs.state_dict())
    state = {name: tensor for name, tensor in packed.items() if name.startswith("out_proj")}
    for kind in ("weight", "bias")[: 1 + bias]:
        parts = packed[f"in_proj_{kind}"].chunk(3)
        state |= {f"{name}_proj.{kind}": part for name, part in zip("qkv", parts, strict=True)}
    block.load_state_dict(state)
    x = torch.randn(3, 6, 8)
    padding = torch.arange(6).expand(3, 6) >= torch.tensor([[6], [4], [1]])
    expected, _ = torchs(x, x, x, key_padding_mask=padding)
    torch.testing.assert_close(block(x, ~padding[:, None, None, :]), expected)


@pytest.mark.parametrize("heads", range(1, 21))
def test_slopes_of_alibi_are_the_published_ones(heads: int) -> None:
    slope = child("attention", f"{{Alibi: {heads}}}").slope
    torch.testing.assert_close(slope.flatten(), torch.tensor(by_hand.published_slopes(heads)))


@pytest.mark.parametrize("interleaved", ["true", "false"])
def test_rotary_scores_depend_on_the_distance_alone(interleaved: str) -> None:
    torch.manual_seed(0)
    rotary = child("position", f"{{Rotary: {{head_dim: 8, interleaved: {interleaved}}}}}")
    q, k = torch.randn(8).expand(1, 1, 12, 8), torch.randn(8).expand(1, 1, 12, 8)
    scores = (rotary(q) @ rotary(k).mT)[0, 0]
    for distance in range(-11, 12):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))
    assert not torch.allclose(scores[0, :-1], scores[0, 1:])


def test_values_to_begin_with() -> None:
    torch.manual_seed(0)
    weight = child("position", "{LearnedPositions: {embed_dim: 64, max_len: 200, std: 0.5}}").weight
    assert 0.48 < float(weight.detach().std()) < 0.52
    pyramid = child("conv", "{FeaturePyramid: {in_channels: [64], out_channels: 32}}")
    assert (
        0.21 < float(pyramid.inner_blocks[0].weight.detach().abs().max()) <= (3 / 64) ** 0.5
    )  # kaiming_uniform_ with a = 1


def test_bfloat16_stays_bfloat16() -> None:
    for case in CASES:
        model = case.build().bfloat16()
        inputs = [v.bfloat16() if v.is_floating_point() else v for v in case.values()]
        result = model(*inputs)
        for tensor in result if isinstance(result, list) else [result]:
            assert tensor.dtype == torch.bfloat16, case.text


# --- wrong use ------------------------------------------------------------------------------------------------------

WRONG = [
    ("conv", "{ConvNormAct: {in_channels: 8, out_channels: 4, kernel_size: 2}}", "requirement", "even kernel_size (2)"),
    ("conv", "{ConvNormAct: {in_channels: 8, out_channels: 6, groups: 3}}", "requirement", "in_channels (8) must be"),
    ("conv", "{ConvNormAct: {in_channels: 9, out_channels: 4, groups: 3}}", "requirement", "out_channels (4) must be"),
    ("conv", "{FeaturePyramid: {in_channels: [], out_channels: 4}}", "requirement", "at least one feature map"),
    ("conv", "{SqueezeExcite: 0}", "invalid-value", "in_channels"),
    ("conv", "{PatchEmbed: {patch_size: 4}}", "missing-argument", "embed_dim"),
    ("position", "{Rotary: 7}", "requirement", "head_dim (7) must be even"),
    ("position", "{SinusoidalPositions: 7}", "requirement", "embed_dim (7) must be even"),
    ("position", "{LearnedPositions: 8}", "missing-argument", "max_len"),
    ("diffusion", "{TimeEmbedding: 7}", "requirement", "dim (7) must be even"),
    ("attention", "{SelfAttention: [8, 3]}", "requirement", "embed_dim (8) must be a multiple of num_heads (3)"),
    ("attention", "{CrossAttention: [8, 3]}", "requirement", "embed_dim (8) must be a multiple of num_heads (3)"),
    ("attention", "{GroupedQueryAttention: [8, 4, 3]}", "requirement", "must be a multiple of num_kv_heads (3)"),
    ("attention", "{SelfAttention: {embed_dim: 8, num_heads: 2, casual: true}}", "unknown-argument", "casual"),
    ("attention", "{SelfAttention: {embed_dim: 8, num_heads: 2, dropout: 1.0}}", "invalid-value", "dropout"),
    ("attention", "{SelfAttention: {embed_dim: 8, num_heads: 2, positions: Rotary}}", "unknown-layer", "Rotary"),
    ("residual", "{Residual: 8}", "invalid-type", "fn"),
    ("residual", "{PreNorm: {dim: 8, fn: ReLU, norm: LayerNrom}}", "unknown-layer", "LayerNrom"),
    ("residual", "{DropPath: 1.0}", "invalid-value", "p"),
    ("mlp", "{MLP: {in_features: 8, act: GLEU}}", "unknown-layer", "GLEU"),
]  # fmt: skip


def check(files: str, written: str, **inputs: str) -> Report:
    return confnet.validate(confnet.loads(document(files, written, inputs or None)))


@pytest.mark.parametrize(("files", "written", "code", "message"), WRONG, ids=[f"{w[1]}" for w in WRONG])
def test_wrong_arguments(files: str, written: str, code: str, message: str) -> None:
    report = check(files, written)
    assert [d.code for d in report.diagnostics] == [code], str(report)
    assert message in str(report)
    assert "<text>:6" in str(report), "the place where the definition is used"


@pytest.mark.parametrize(
    ("files", "written", "shape", "code", "message"),
    [
        ("residual", "{Residual: {fn: {Linear: [8, 1]}}}", "[B, 8]", "forward-fails", "give it a `shortcut`"),
        ("position", "{LearnedPositions: [8, 5]}", "[B, 6, 8]", "forward-fails", "longer than `max_len`"),
        ("attention", "{SelfAttention: [8, 2]}", "[B, T, 6]", "contract-mismatch", "`embed_dim` (8) for dimension 2"),
        (
            "attention position",
            "{SelfAttention: {embed_dim: 8, num_heads: 2, positions: {Rotary: 8}}}",
            "[B, T, 8]",
            "contract-mismatch",
            "`head_dim` (8) for dimension 3",
        ),
        ("conv", "{ConvNormAct: [8, 4]}", "[B, 3, H, W]", "contract-mismatch", "`in_channels` (8) for dimension 1"),
        ("norm", "{LayerNorm2d: 8}", "[B, 5, 6, 8]", "contract-mismatch", "`num_channels` (8) for dimension 1"),
        ("conv", "{PatchEmbed: {embed_dim: 8, patch_size: 4}}", "[B, 3, 10, 8]", "contract-mismatch", "patch_size * H"),
        ("diffusion", "{TimeEmbedding: 8}", "[B, 1]", "contract-mismatch", "the contract of `TimeEmbedding`"),
    ],
)
def test_wrong_shapes(files: str, written: str, shape: str, code: str, message: str) -> None:
    report = check(files, written, a=shape)
    assert [d.code for d in report.diagnostics] == [code], str(report)
    assert message in str(report)


# --- the files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", block_names())
def test_each_file_is_valid_and_described(file: str) -> None:
    report = confnet.validate(confnet.loads(block_text(file), name=file))
    assert not report.diagnostics, str(report)
    written = plain(parse(block_text(file), file).root)
    assert written["description"].strip()
    for name, body in written["modules"].items():
        assert re.search(r", 20\d\d,\s+https://arxiv.org/abs/\d{4}\.\d{5}", body["description"]), (
            f"{name} cites no paper"
        )
        assert {"inputs", "outputs"} <= body.keys(), f"{name} has no contract"
    assert file.removeprefix("confnet:") in {path.name for path in (ROOT / "confnet/blocks").glob("*.yaml")}


def test_all_files_may_be_included_together() -> None:
    files = " ".join(name.removeprefix("confnet:").removesuffix(".yaml") for name in block_names())
    report = check(files, "{MLP: 8}", a="[B, 8]")
    assert not report.diagnostics, str(report)


def test_the_page_tells_the_facts() -> None:
    """`CONFNET_UPDATE_BLOCKS=1 pytest -n 0 tests/test_blocks.py -k page` writes them anew."""
    if os.environ.get("CONFNET_UPDATE_BLOCKS"):
        write_facts()
    text = PAGE.read_text(encoding="utf-8")
    told, known = read_facts(text), definitions()
    assert sorted(told) == sorted(known), "a definition without a section"
    for name, section in told.items():
        assert section == facts(known[name]), f"{name} is out of date"
        example = text.split(f"<!-- {name}: written")[1].split("\n## ")[0].split("\n### ")[0]
        assert re.search(rf"^```yaml$.*?\b{name}:\s.*?^```$", example, re.MULTILINE | re.DOTALL), f"{name} is not shown"


# --- includes -------------------------------------------------------------------------------------------------------

TEXT = document("mlp", "{MLP: 4}", {"a": "[B, 4]"})


def test_a_text_a_mapping_and_a_file_include_them(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/part.yaml").write_text(
        "confnet: 1\ninclude: [confnet:mlp.yaml]\nmodules: {Part: {Sequential: [{MLP: 4}]}}\n", encoding="utf-8"
    )
    (tmp_path / "main.yaml").write_text("confnet: 1\ninclude: [sub/part.yaml]\nSequential: [Part]\n", encoding="utf-8")
    mapping = {"confnet": 1, "include": ["confnet:mlp.yaml"], "Sequential": [{"MLP": 4}]}
    expected = ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    for source in (confnet.loads(TEXT), mapping, tmp_path / "main.yaml"):
        assert [name.split(".", name.count(".") - 1)[-1] for name in confnet.build(source).state_dict()] == expected
    # What is included by an included file is its own.
    (tmp_path / "other.yaml").write_text("confnet: 1\ninclude: [sub/part.yaml]\nMLP: 4\n", encoding="utf-8")
    assert [d.code for d in confnet.validate(tmp_path / "other.yaml").diagnostics] == ["unknown-layer"]


def test_the_standard_input_includes_them() -> None:
    result = CliRunner().invoke(commands, ["validate", "-"], input=TEXT)
    assert result.exit_code == 0, result.output


def test_audit_lists_them(tmp_path: Path) -> None:
    (tmp_path / "main.yaml").write_text(TEXT, encoding="utf-8")
    found = confnet.audit(tmp_path / "main.yaml")
    assert found.of("include") == ("confnet:mlp.yaml",)
    assert set(found.of("layer")) == {"Dropout", "GELU", "Linear", "SiLU"}
    assert found.of("unknown layer") == ()
    result = CliRunner().invoke(commands, ["audit", str(tmp_path / "main.yaml")])
    assert f"includes\n  confnet:mlp.yaml  {tmp_path}/main.yaml:2:11\n" in result.output


def test_a_kept_model_does_not_need_the_package_to_stay_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = confnet.build(confnet.loads(TEXT))
    data, x = pickle.dumps(model), torch.randn(2, 4)
    assert b"confnet:mlp.yaml" in data

    def gone(name: str) -> str:
        raise KeyError(name)

    monkeypatch.setattr("confnet.loading.block_text", gone)
    monkeypatch.setattr("confnet.loading.block_names", lambda: ())
    for kept in (pickle.loads(data), copy.deepcopy(model)):
        assert torch.equal(kept(x), model(x))
    spec = confnet.spec_of(model).spec
    assert list(spec.texts) == ["<text>", "confnet:mlp.yaml"]
    assert list(confnet.build(spec).state_dict()) == list(model.state_dict())
    with pytest.raises(ConfnetError, match=r"`confnet:mlp\.yaml` does not come with confnet"):
        confnet.loads(TEXT)
    # What a pickle says was shipped is checked like any other file.
    texts = {**spec.texts, "confnet:mlp.yaml": spec.texts["confnet:mlp.yaml"].replace("fc2(drop", "open(drop")}
    assert [d.code for d in confnet.validate(load_texts(texts)).diagnostics][:1] == ["undefined-name"]


def test_a_shipped_file_includes_shipped_files_only() -> None:
    texts = {
        "main.yaml": "confnet: 1\ninclude: [confnet:mlp.yaml]\nReLU:\n",
        "confnet:mlp.yaml": "confnet: 1\ninclude: [other.yaml, 'confnet:norm.yaml']\nmodules: {A: {ReLU: }}\n",
        "confnet:norm.yaml": "confnet: 1\nmodules: {B: {ReLU: }}\n",
        "other.yaml": "confnet: 1\nmodules: {C: {ReLU: }}\n",
    }
    with pytest.raises(ConfnetError) as caught:
        load_texts(texts)
    assert [(d.code, str(d.span)) for d in caught.value.diagnostics] == [("include-escapes", "confnet:mlp.yaml:2:11")]
    texts["confnet:mlp.yaml"] = texts["confnet:mlp.yaml"].replace("other.yaml, ", "")
    assert list(load_texts(texts).texts) == ["main.yaml", "confnet:mlp.yaml", "confnet:norm.yaml"]


def test_a_file_on_disk_does_not_pass_for_a_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = "confnet: 1\nmodules: {Mine: {Sequential: [ReLU]}}\n"
    for name in ("confnet:mlp.yaml", "confnet:mine.yaml"):
        Path(name).write_text(own, encoding="utf-8")
    Path("main.yaml").write_text(TEXT, encoding="utf-8")
    assert confnet.load("main.yaml").texts["confnet:mlp.yaml"] == block_text("confnet:mlp.yaml")
    for include, code in (("confnet:mine.yaml", "unknown-include"), ("./confnet:mine.yaml", "unreadable-file")):
        Path("main.yaml").write_text(f"confnet: 1\ninclude: ['{include}']\nSequential: [Mine]\n", encoding="utf-8")
        report = confnet.validate("main.yaml")
        assert [d.code for d in report.diagnostics] == [code], str(report)


def test_a_traceback_shows_the_line_of_a_shipped_file() -> None:
    model = confnet.build(confnet.loads(document("position", "{LearnedPositions: [4, 2]}")))
    with pytest.raises(AssertionError, match="longer than `max_len`") as caught:
        model(torch.zeros(1, 3, 4))
    entry = caught.traceback[-1]
    assert str(entry.path).endswith("confnet:position.yaml")
    lines = block_text("confnet:position.yaml").splitlines()
    assert "assert x.shape[1] <= max_len" in lines[entry.lineno]
