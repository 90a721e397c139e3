"""How long torch.compile takes with a module from a file, how many graphs it makes, and how fast what it makes is.

    python -m benchmarks.compile --repetitions 5
    python -m benchmarks.compile --backend inductor --case resnet50

What confnet could cost here is in what dynamo traces: the code of the forward. `aot_eager` takes the time of dynamo and
of AOTAutograd; `inductor` adds that of the C++ compiler for the same graphs. Each measurement begins with empty caches,
those on the disk included. The numbers of graphs, of operations in them and of graph breaks must be equal. Then the
compiled modules run, and their times are compared as in `benchmarks.forward`, which also tells about eager. The number
of threads is always one.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import forward, gpt2
from benchmarks.forward import BUILT, MLP, Case, DeepMLP, contenders
from benchmarks.measuring import BASE, TIMES, Row, Setting, Table, parser_of, ratio_row, rows_of, show, shuffled
from confnet.api import build, loads
from tests.references.resnet import VARIANTS, ResNet

__all__ = ["BACKENDS", "CASES", "Graphs", "main", "tables"]

BACKENDS = ("aot_eager", "inductor")


@dataclass(frozen=True)
class Graphs:
    """What dynamo made of a module."""

    graphs: int
    operations: int
    breaks: int


def cases(setting: Setting) -> dict[str, Case]:
    """Narrow and deep; narrow and less deep, for inductor, which is slow; realistic."""

    def mlp(depth: int) -> Case:
        return Case(
            setting.name(f"{depth} narrow layers"),
            lambda: build(loads(MLP), depth=depth),
            lambda: DeepMLP(depth),
            lambda: torch.randn(1, 16),
            forwards=50,
        )

    size = {**gpt2.SIZES["tiny" if setting.tiny else "small"], "n_layer": 2}
    args: dict[str, Any] = {"width": 4, "num_classes": 5} if setting.tiny else {}
    side = 32 if setting.tiny else 224
    return {
        "mlp": mlp(4 if setting.tiny else 100),
        "mlp20": mlp(3 if setting.tiny else 20),
        "resnet50": Case(
            setting.name("ResNet-50"),
            lambda: build("examples/resnet.yaml", variant="resnet50", args=args),
            lambda: ResNet(*VARIANTS["resnet50"], **args),
            lambda: torch.randn(1, 3, side, side),
            forwards=1,
        ),
        "gpt2": Case(
            setting.name("GPT-2 small, 2 layers"),
            lambda: build("examples/gpt2.yaml", args=size),
            lambda: gpt2.gpt2(size),
            lambda: torch.arange(16)[None],
            forwards=5,
        ),
    }


CASES = tuple(cases(Setting()))
CHOSEN = (("aot_eager", "mlp"), ("aot_eager", "resnet50"), ("aot_eager", "gpt2"), ("inductor", "mlp20"))
"""What is measured if nothing is named: what fits into a few minutes."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Forwards on one thread: the least noise, and nothing of confnet's is in the arithmetic."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def fresh() -> Iterator[None]:
    """Nothing compiled before is known, in memory or on the disk."""
    from torch._dynamo.utils import counters
    from torch._inductor.utils import fresh_cache

    torch._dynamo.reset()
    counters.clear()
    with fresh_cache():
        yield


def compile_once(module: nn.Module, x: Tensor, backend: str) -> tuple[float, Graphs, Callable[[Tensor], Any]]:
    """The time of `torch.compile` and the first forward, what dynamo made, and the compiled module."""
    from torch._dynamo.utils import counters

    gc.collect()
    with fresh():
        begin = time.perf_counter()
        compiled = torch.compile(module, backend=backend)
        compiled(x)
        taken = time.perf_counter() - begin
        stats, breaks = counters["stats"], counters["graph_break"]
        graphs = Graphs(stats["unique_graphs"], stats["calls_captured"], sum(breaks.values()))
    return taken, graphs, compiled


def compile_times(
    case: Case, modules: Mapping[str, nn.Module], backend: str, setting: Setting
) -> tuple[dict[str, list[float]], dict[str, Graphs]]:
    """The times of every contender, and what dynamo made of it. Raises AssertionError if the graphs are not equal."""
    order, x = setting.order(), case.input()
    times: dict[str, list[float]] = {name: [] for name in modules}
    graphs: dict[str, Graphs] = {}
    compile_once(modules[BASE], x, backend)  # what torch imports late
    gc.freeze()
    try:
        for _ in range(setting.repetitions):
            for name in order.sample(list(modules), len(modules)):
                taken, graphs[name], _compiled = compile_once(modules[name], x, backend)
                times[name].append(taken)
    finally:
        gc.unfreeze()
    assert graphs[BUILT] == graphs[BASE], f"{case.name}: {graphs[BUILT]} instead of {graphs[BASE]}"
    return times, graphs


def forward_times(
    case: Case, modules: Mapping[str, nn.Module], backend: str, setting: Setting
) -> dict[str, list[float]]:
    """The times of the compiled modules: of `forwards` forwards each."""
    x = case.input()
    torch._dynamo.reset()
    compiled = {name: torch.compile(module, backend=backend) for name, module in modules.items()}

    def way(name: str) -> Callable[[], object]:
        def run() -> object:
            for _ in range(case.forwards):
                compiled[name](x)
            return None

        return run

    times = shuffled({name: way(name) for name in compiled}, setting)
    return {name: [value / case.forwards for value in values] for name, values in times.items()}


def tables(setting: Setting, chosen: Sequence[tuple[str, str]] = CHOSEN) -> list[Table]:
    """Times of compiling, and of what was compiled."""
    known = cases(setting)
    compiling: list[Row] = []
    running: list[Row] = []
    repeated = Setting(max(5 * setting.repetitions, 2), setting.threads, setting.seed, setting.tiny)
    with torch.inference_mode(), one_thread():
        for backend, name in chosen:
            case = known[name]
            modules = contenders(case)
            times, graphs = compile_times(case, modules, backend, setting)
            for way, values in times.items():
                row = ratio_row(f"{case.name}, {backend}", way, values, times[BASE], None)
                told = graphs[way]
                counts = (str(told.graphs), str(told.operations), str(told.breaks))
                target = setting.target(1.05) if way == BUILT else None
                compiling.append(Row((*row.cells, *counts), row.ratio, target))
            title = f"{case.name}, {backend}"
            running += rows_of(title, forward_times(case, modules, backend, repeated), {BUILT: setting.target(1.02)})
    torch._dynamo.reset()
    return [
        Table(
            "torch.compile and the first forward, one thread",
            (*TIMES, "graphs", "operations", "graph breaks"),
            compiling,
        ),
        Table("Forward, compiled, one thread", TIMES, running),
    ]


def eager(setting: Setting) -> list[Table]:
    """The times of `benchmarks.forward`: the forward without a compiler."""
    titles = {"resnet50": "ResNet-50", "mlp": "100 narrow layers"}
    found: list[Row] = []
    with torch.inference_mode(), one_thread():
        for name, case in forward.CASES.items():
            if setting.tiny and name != "mlp":
                continue
            times = forward.measure(case, max(3 * setting.repetitions, 2), setting.order())
            found += rows_of(setting.name(titles[name]), times, {BUILT: setting.target(1.02)})
    return [Table("Forward, eager, one thread", TIMES, found)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = parser_of(__doc__, repetitions=5)
    parser.add_argument("--backend", choices=BACKENDS, help="of torch.compile (default: both, for what is quick)")
    parser.add_argument("--case", choices=CASES, action="append", help="only this one (repeatable; default: all)")
    options = parser.parse_args(arguments)
    chosen: Sequence[tuple[str, str]] = CHOSEN
    if options.backend or options.case:
        chosen = tuple((options.backend or "aot_eager", name) for name in options.case or CASES)
    show(lambda setting: tables(setting, chosen), Setting.of(options))


if __name__ == "__main__":
    main()
