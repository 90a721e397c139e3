"""Every definition that ships with the package as it may be written, and the module by hand that it must equal."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import confnet
from tests.references import blocks as by_hand

__all__ = ["BLOCKS", "CASES", "Case", "Model", "document"]

Hand = Callable[[], nn.Module]


@dataclass(frozen=True)
class Case:
    """A module written with shipped definitions, what it takes, and the module that it must equal."""

    block: str
    files: str
    written: str
    reference: Callable[[], nn.Module]
    inputs: dict[str, str]
    shapes: tuple[tuple[int, ...], ...]
    call: str = "block(a)"
    id: str = ""

    @property
    def text(self) -> str:
        return document(self.files, self.written, self.inputs, self.call)

    def build(self) -> nn.Module:
        return confnet.build(confnet.loads(self.text))

    def values(self) -> tuple[Tensor, ...]:
        made = []
        for name, shape in zip(self.inputs, self.shapes, strict=True):
            if name == "mask":  # each query looks at the key of its own place, and at some others
                made.append((torch.rand(shape) < 0.6) | torch.eye(*shape[2:], dtype=torch.bool))
            else:
                made.append(torch.randn(shape))
        return tuple(made)


def document(files: str, written: str, inputs: dict[str, str] | None = None, call: str = "block(a)") -> str:
    """The text of a model with one child, `block`."""
    includes = ", ".join(f"confnet:{name}.yaml" for name in files.split())
    taken = "".join(f"  {name}: {shape}\n" for name, shape in (inputs or {"a": "any"}).items())
    return f"confnet: 1\ninclude: [{includes}]\ninputs:\n{taken}children:\n  block: {written}\nforward: return {call}\n"


class Model(nn.Module):
    """A reference under the name `block`; with `listed`, it takes one list."""

    def __init__(self, block: nn.Module, listed: bool = False) -> None:
        super().__init__()
        self.block, self.listed = block, listed

    def forward(self, *inputs: Tensor) -> Any:
        return self.block(list(inputs)) if self.listed else self.block(*inputs)


TOKENS = {"a": "[B, T, 8]"}
IMAGES = {"a": "[B, 8, H, W]"}
MASK = "{shape: [B, 1, T, T], dtype: bool}"
T5, T9 = (2, 5, 8), (2, 9, 8)
IMAGE = (2, 8, 6, 7)


def residual(written: str, *fn: Any) -> Case:
    return Case("Residual", "residual", written, lambda: by_hand.Residual(*[make() for make in fn]), TOKENS, (T5,))


def pre_norm(norm: Callable[[int], nn.Module]) -> nn.Module:
    return by_hand.PreNorm(norm(8), nn.Linear(8, 3))


def drop_path(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 4), by_hand.DropPath(0.4))


def cases() -> Iterator[Case]:
    linear = partial(nn.Linear, 8, 8)
    yield residual("{Residual: {fn: {Linear: [8, 8]}}}", linear)
    yield residual("{Residual: {fn: {Linear: [8, 3]}, shortcut: {Linear: [8, 3]}}}", *[partial(nn.Linear, 8, 3)] * 2)
    for name, norm in (("LayerNorm", nn.LayerNorm), ("RMSNorm", nn.RMSNorm)):
        yield Case(
            "PreNorm",
            "residual",
            f"{{PreNorm: {{dim: 8, fn: {{Linear: [8, 3]}}, norm: {name}}}}}",
            partial(pre_norm, norm),
            TOKENS,
            (T5,),
            id=name,
        )
    for inputs, shape in ((TOKENS, T5), (IMAGES, IMAGE)):
        written = f"{{Sequential: [{{Linear: [{shape[-1]}, 4]}}, {{DropPath: 0.4}}]}}"
        inputs = {"a": inputs["a"].replace("W", "7")}
        yield Case("DropPath", "residual", written, partial(drop_path, shape[-1]), inputs, ((16, *shape[1:]),))
    yield Case("LayerScale", "residual", "{LayerScale: 8}", partial(by_hand.LayerScale, 8), TOKENS, (T5,))
    written = "{LayerScale: {dim: 8, init_value: 0.1, channels_first: true}}"
    yield Case("LayerScale", "residual", written, partial(by_hand.LayerScale, 8, 0.1, True), IMAGES, (IMAGE,))
    yield Case("LayerNorm2d", "norm", "{LayerNorm2d: 8}", partial(by_hand.LayerNorm2d, 8), IMAGES, (IMAGE,))
    yield Case("LayerNorm2d", "norm", "{LayerNorm2d: [8, 0.1]}", partial(by_hand.LayerNorm2d, 8, 0.1), IMAGES, (IMAGE,))
    yield from convolutions()
    yield from networks()
    yield from positions()
    yield from attentions()


def convolutions() -> Iterator[Case]:
    def conv(written: str, *parts: Callable[[], nn.Module] | None, files: str = "conv") -> Case:
        hand: Hand = lambda: by_hand.ConvNormAct(*[make and make() for make in parts])  # type: ignore[arg-type]  # noqa: E731
        return Case("ConvNormAct", files, f"{{ConvNormAct: {written}}}", hand, IMAGES, (IMAGE,))

    plain = partial(nn.Conv2d, 8, 6, 3, padding=1, bias=False)
    yield conv("[8, 6]", plain, partial(nn.BatchNorm2d, 6), nn.ReLU)
    yield conv(
        "{in_channels: 8, out_channels: 6, norm: LayerNorm2d, act: GELU}",
        plain,
        partial(by_hand.LayerNorm2d, 6),
        nn.GELU,
        files="conv norm",
    )
    strided = partial(nn.Conv2d, 8, 6, 5, stride=2, padding=4, dilation=2, groups=2)
    written = "kernel_size: 5, stride: 2, dilation: 2, groups: 2, norm: null, act: null"
    yield conv(f"{{in_channels: 8, out_channels: 6, {written}}}", strided, None, None)
    written = "kernel_size: 2, padding: 0, bias: true, act: {LeakyReLU: 0.2}"
    even = partial(nn.Conv2d, 8, 6, 2)
    yield conv(
        f"{{in_channels: 8, out_channels: 6, {written}}}", even, partial(nn.BatchNorm2d, 6), partial(nn.LeakyReLU, 0.2)
    )
    hand: Hand = lambda: by_hand.SqueezeExcite(8, 1, nn.ReLU(), nn.Sigmoid())  # noqa: E731
    yield Case("SqueezeExcite", "conv", "{SqueezeExcite: 8}", hand, IMAGES, (IMAGE,))
    hand = lambda: by_hand.SqueezeExcite(8, 3, nn.SiLU(), nn.Hardsigmoid())  # noqa: E731
    written = "{SqueezeExcite: {in_channels: 8, squeeze_channels: 3, act: SiLU, gate: Hardsigmoid}}"
    yield Case("SqueezeExcite", "conv", written, hand, IMAGES, (IMAGE,))
    patches = {"a": '[B, 3, "4 * H", "4 * W"]'}
    written = "{PatchEmbed: {embed_dim: 8, patch_size: 4, norm: LayerNorm}}"
    hand = lambda: by_hand.PatchEmbed(8, 4, 3, nn.LayerNorm(8), True)  # noqa: E731
    yield Case("PatchEmbed", "conv", written, hand, patches, ((2, 3, 8, 12),))
    written = "{PatchEmbed: {embed_dim: 8, patch_size: 3, in_channels: 2, bias: false}}"
    hand = lambda: by_hand.PatchEmbed(8, 3, 2, None, False)  # noqa: E731
    yield Case("PatchEmbed", "conv", written, hand, {"a": '[B, 2, "3 * H", "3 * W"]'}, ((2, 2, 9, 6),))
    for extra in (False, True):
        written = f"{{FeaturePyramid: {{in_channels: [4, 8, 6], out_channels: 5, extra_level: {str(extra).lower()}}}}}"
        yield Case(
            "FeaturePyramid",
            "conv",
            written,
            partial(by_hand.FeaturePyramid, [4, 8, 6], 5, extra),
            {"a": '[B, 4, "4 * H", "4 * W"]', "b": '[B, 8, "2 * H", "2 * W"]', "c": "[B, 6, H, W]"},
            ((2, 4, 12, 16), (2, 8, 6, 8), (2, 6, 3, 4)),
            "block([a, b, c])",
        )


def networks() -> Iterator[Case]:
    yield Case("MLP", "mlp", "{MLP: 8}", lambda: by_hand.MLP((8, 32, 8), nn.GELU()), TOKENS, (T5,))
    written = "{MLP: {in_features: 8, hidden_features: 5, out_features: 3, act: ReLU, bias: false, dropout: 0.3}}"
    hand: Hand = lambda: by_hand.MLP((8, 5, 3), nn.ReLU(), False, 0.3)  # noqa: E731
    yield Case("MLP", "mlp", written, hand, {"a": "[B, 8]"}, ((4, 8),))
    silu, gelu = nn.functional.silu, nn.functional.gelu
    yield Case("SwiGLU", "mlp", "{SwiGLU: 8}", lambda: by_hand.SwiGLU((8, 21, 8), silu), TOKENS, (T5,))
    written = "{SwiGLU: {in_features: 8, hidden_features: 5, out_features: 3, act: GELU, bias: true}}"
    yield Case("SwiGLU", "mlp", written, lambda: by_hand.SwiGLU((8, 5, 3), gelu, True), {"a": "[B, 8]"}, ((4, 8),))
    times = {"a": "[B]"}
    hand = lambda: by_hand.TimeEmbedding(8, 32, nn.SiLU())  # noqa: E731
    yield Case("TimeEmbedding", "diffusion", "{TimeEmbedding: 8}", hand, times, ((5,),))
    written = "{TimeEmbedding: {dim: 8, embed_dim: 6, max_period: 100.0, act: GELU}}"
    hand = lambda: by_hand.TimeEmbedding(8, 6, nn.GELU(), 100.0)  # noqa: E731
    yield Case("TimeEmbedding", "diffusion", written, hand, times, ((5,),))


def positions() -> Iterator[Case]:
    for written, kept in (("8", ()), ("[8, 50.0]", (50.0,))):
        hand: Hand = partial(by_hand.SinusoidalPositions, 8, *kept)
        yield Case("SinusoidalPositions", "position", f"{{SinusoidalPositions: {written}}}", hand, TOKENS, (T9,))
    hand = partial(by_hand.LearnedPositions, 8, 9)
    yield Case("LearnedPositions", "position", "{LearnedPositions: [8, 9]}", hand, TOKENS, (T9,))
    hand = partial(by_hand.LearnedPositions, 8, 12, 0.5)
    yield Case("LearnedPositions", "position", "{LearnedPositions: [8, 12, 0.5]}", hand, TOKENS, (T9,))
    for interleaved in (False, True):
        written = f"{{Rotary: {{head_dim: 8, base: 500.0, interleaved: {str(interleaved).lower()}}}}}"
        hand = partial(by_hand.Rotary, 8, 500.0, interleaved)
        yield Case("Rotary", "position", written, hand, {"a": "[B, 3, T, 8]"}, ((2, 3, 9, 8),))


def attentions() -> Iterator[Case]:
    heads = {"a": "[B, 6, T, 4]", "b": "[B, 2, S, 4]", "c": "[B, 2, S, 4]"}
    shapes = (2, 6, 5, 4), (2, 2, 7, 4), (2, 2, 7, 4)
    for causal in ("false", "true"):
        written = f"{{ScaledDotProduct: {{causal: {causal}}}}}"
        hand: Hand = partial(by_hand.ScaledDotProduct, causal == "true")
        yield Case("ScaledDotProduct", "attention", written, hand, heads, shapes, "block(a, b, c)")
    for n in (4, 6):
        queries = {"a": f"[B, {n}, T, 4]", "b": f"[B, {n}, S, 4]"}
        # Of no parameters: a factor makes its result depend on the inputs.
        call = "block(a, b) * a.mean()"
        hand = partial(Times, by_hand.Alibi(n))
        yield Case("Alibi", "attention", f"{{Alibi: {n}}}", hand, queries, ((2, n, 5, 4), (2, n, 7, 4)), call)

    def attention(block: str, written: str, files: str = "attention", mask: bool = False, **given: Any) -> Case:
        made = {"embed_dim": 8, "num_heads": 4, **given}
        parts = {k: v() if k in ("positions", "score_bias") else v for k, v in made.items()}
        inputs, call = TOKENS, "block(a)"
        shapes: tuple[tuple[int, ...], ...] = (T5,)
        if "kdim" in given:
            inputs, shapes = {"a": "[B, T, 8]", "b": f"[B, S, {given['kdim']}]"}, (T5, (2, 7, given["kdim"]))
            call = "block(a, b)"
        if mask:
            size = "S" if "kdim" in given else "T"
            inputs = inputs | {"mask": MASK.replace("T]", f"{size}]")}
            shapes, call = (*shapes, (2, 1, 5, shapes[-1][1])), call[:-1] + ", mask)"
        text = f"{{{block}: {{embed_dim: 8, num_heads: {made['num_heads']}, {written}}}}}"
        return Case(block, files, text, lambda: by_hand.Attention(**copy.deepcopy(parts)), inputs, shapes, call)

    both = "attention position"
    rotary, alibi = partial(by_hand.Rotary, 2), partial(by_hand.Alibi, 4)
    yield attention("SelfAttention", "")
    yield attention("SelfAttention", "bias: false", mask=True, bias=False)
    yield attention("SelfAttention", "causal: true", mask=True, causal=True)
    yield attention(
        "SelfAttention",
        "causal: true, positions: {Rotary: 2}, qk_norm: RMSNorm",
        both,
        causal=True,
        positions=rotary,
        norm=nn.RMSNorm,
    )
    yield attention("SelfAttention", "score_bias: {Alibi: 4}", score_bias=alibi)
    yield attention("SelfAttention", "score_bias: {Alibi: 4}", mask=True, score_bias=alibi)
    yield attention("SelfAttention", "causal: true, score_bias: {Alibi: 4}", mask=True, causal=True, score_bias=alibi)
    yield attention("CrossAttention", "", kdim=8)
    yield attention(
        "CrossAttention",
        "kdim: 6, bias: false, qk_norm: LayerNorm",
        mask=True,
        num_heads=2,  # of two features, a LayerNorm leaves the signs only
        kdim=6,
        bias=False,
        norm=nn.LayerNorm,
    )
    yield attention("GroupedQueryAttention", "num_kv_heads: 2", num_kv_heads=2, bias=False)
    yield attention(
        "GroupedQueryAttention",
        "num_kv_heads: 1, head_dim: 6, bias: true, causal: true, positions: {Rotary: 6}, qk_norm: RMSNorm",
        both,
        num_kv_heads=1,
        head_dim=6,
        causal=True,
        positions=partial(by_hand.Rotary, 6),
        norm=nn.RMSNorm,
    )
    yield attention(
        "GroupedQueryAttention",
        "num_kv_heads: 2, causal: true, score_bias: {Alibi: 4}",
        mask=True,
        num_kv_heads=2,
        bias=False,
        causal=True,
        score_bias=alibi,
    )


class Times(nn.Module):
    """The result of a block times the mean of its first input."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.inner = [block]

    def forward(self, *inputs: Tensor) -> Any:
        return self.inner[0](*inputs) * inputs[0].mean()


CASES = list(cases())
BLOCKS = sorted({case.block for case in CASES})
