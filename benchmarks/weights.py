"""How long it takes to build GPT-2 small with pretrained weights, against the usual three lines by hand.

    python -m benchmarks.weights --repetitions 10

By hand: construct a plain PyTorch module, whose layers initialise each parameter once, read the safetensors file,
`load_state_dict`. The lean one knows that the output projection is tied and does not initialise it in vain. All read
the same file, which is in the system's cache after the first run; before anything is timed their logits are compared.
"""

from __future__ import annotations

import argparse
import gc
import platform
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_model
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.measuring import quartiles
from confnet.api import build

BUILT, HAND, LEAN = "confnet", "by hand", "by hand, lean"
EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "gpt2.yaml"
SIZES = {
    "gpt2": {"vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12},
    "tiny": {"vocab_size": 61, "n_positions": 16, "n_embd": 24, "n_layer": 2, "n_head": 3},
}


class Conv1D(nn.Module):
    """A Linear whose weight is stored transposed."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(nx, nf)), nn.Parameter(torch.zeros(nf))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


class Block(nn.Module):
    """One layer, with the names of transformers."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.ModuleDict({"c_attn": Conv1D(3 * width, width), "c_proj": Conv1D(width, width)})
        self.mlp = nn.ModuleDict({"c_fc": Conv1D(4 * width, width), "c_proj": Conv1D(width, 4 * width)})

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.attn["c_attn"](self.ln_1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + self.attn["c_proj"](mixed)
        inner = F.gelu(self.mlp["c_fc"](self.ln_2(x)), approximate="tanh")
        result: Tensor = x + self.mlp["c_proj"](inner)
        return result


class GPT2(nn.Module):
    """GPT-2 in plain PyTorch; its output projection is the token embedding. A `lean` one does not make a matrix for
    the projection that is thrown away at once."""

    def __init__(
        self, vocab_size: int, n_positions: int, n_embd: int, n_layer: int, n_head: int, lean: bool = False
    ) -> None:
        super().__init__()
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(vocab_size, n_embd),
                "wpe": nn.Embedding(n_positions, n_embd),
                "h": nn.ModuleList(Block(n_embd, n_head) for _ in range(n_layer)),
                "ln_f": nn.LayerNorm(n_embd),
            }
        )
        self.lm_head = nn.Linear(n_embd, vocab_size, bias=False, device="meta" if lean else None)
        self.lm_head.weight = self.transformer["wte"].weight  # type: ignore[assignment]

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.transformer["wte"](tokens) + self.transformer["wpe"].weight[: tokens.shape[1]]  # type: ignore[index]
        for block in self.transformer["h"]:  # type: ignore[attr-defined]
            x = block(x)
        logits: Tensor = self.lm_head(self.transformer["ln_f"](x))
        return logits


def contenders(size: dict[str, int], path: Path) -> dict[str, Callable[[], nn.Module]]:
    """All ways to a model with the weights of `path`. Raises AssertionError if their logits differ."""

    def by_hand(lean: bool = False) -> nn.Module:
        model = GPT2(**size, lean=lean)
        model.load_state_dict(load_file(path), strict=False)  # the file holds one of the tied names
        return model

    ways: dict[str, Callable[[], nn.Module]] = {
        BUILT: lambda: build(EXAMPLE, weights=path, args=size),
        HAND: by_hand,
        LEAN: lambda: by_hand(lean=True),
    }
    tokens = torch.arange(8)[None]
    with torch.inference_mode():
        logits = [make().eval()(tokens) for make in ways.values()]
    for each in logits[1:]:
        torch.testing.assert_close(each, logits[0], rtol=1e-4, atol=1e-4)
    return ways


def seconds(make: Callable[[], nn.Module]) -> float:
    """The time of one build; what it made is thrown away outside of it."""
    gc.collect()
    begin = time.perf_counter()
    model = make()
    taken = time.perf_counter() - begin
    del model
    return taken


def measure(size: dict[str, int], repetitions: int, order: random.Random) -> dict[str, list[float]]:
    """The times of all: in each repetition each runs once, in an order drawn anew."""
    times: dict[str, list[float]] = {BUILT: [], HAND: [], LEAN: []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_model(GPT2(**size, lean=False), str(path))
        ways = contenders(size, path)
        for _ in range(repetitions):
            for name in order.sample(list(ways), len(ways)):
                times[name].append(seconds(ways[name]))
    return times


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--repetitions", type=int, default=10, help="measurements of each contender (default 10)")
    parser.add_argument("--threads", type=int, default=2, help="torch.set_num_threads (default 2)")
    parser.add_argument("--seed", type=int, default=0, help="of the order and of the weights (default 0)")
    parser.add_argument("--size", choices=sorted(SIZES), default="gpt2", help="of the model (default gpt2)")
    options = parser.parse_args(arguments)
    if options.repetitions < 2:
        parser.error("a spread takes at least 2 repetitions")
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    print(
        f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}, "
        f"{options.threads} thread(s), {options.repetitions} repetitions"
    )
    print(f"{'model':<6} {'way':<14} {'build':>10}  {'[quartiles]':<16} ratio of confnet to it  [quartiles]")
    times = measure(SIZES[options.size], options.repetitions, random.Random(options.seed))
    for name, values in times.items():
        low, middle, high = quartiles(values)
        row = f"{options.size:<6} {name:<14} {middle:8.3f} s  [{low:.3f}, {high:.3f}]"
        if name != BUILT:
            low, middle, high = quartiles([a / b for a, b in zip(times[BUILT], values, strict=True)])
            row = f"{row:<51} {middle:.3f}  [{low:.3f}, {high:.3f}]"
        print(row)


if __name__ == "__main__":
    main()
