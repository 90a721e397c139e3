"""How long `confnet lsp` takes to answer, on files of 64, 1,024 and 5,000 layers.

    python -m benchmarks.language_server --repetitions 20

A process of the server is asked over standard input and output, as an editor asks. Requests come one after another, in
an order drawn anew for each repetition; a time is from the request to its answer, read and parsed. `mistake` is from a
change of the text to the diagnostic of it. Each figure is the median with the slowest of the repetitions behind it.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.lsp.client import Client, marked

__all__ = ["document", "main", "measure"]

SIZES = (64, 1024, 5000)
MISTAKES = 3
"""So often a whole file is checked for the time of a mistake."""


def document(layers: int) -> str:
    """A file of so many layers: a container of small blocks, each written out, and a forward."""
    lines = [
        "confnet: 1",
        "args: {width: 8, rate: 0.1}",
        "inputs: {x: [B, width]}",
        "children:",
        "  body:",
        "    Sequential:",
    ]
    for place in range(layers // 4):
        lines += [
            f"      block{place}:",
            "        Sequential:",
            "          fc: {Linear: {in_features: $width, out_features: $(4 * width), bias: false}}",
            "          act: GELU",
            "          drop: {Dropout: {p: $rate}}",
            "          out: {Linear: {in_features: $(4 * width), out_features: $width}}",
        ]
    return "\n".join([*lines, "  head: {Linear: [$width, 10]}", "forward: |", "  y = body(x)", "  return head(y)", ""])


def measure(client: Client, layers: int, repetitions: int) -> dict[str, list[float]]:
    """Seconds of each kind of request."""
    text = document(layers)
    lines = text.split("\n")
    client.open("model.yaml", text)
    assert client.diagnostics("model.yaml", seconds=300) == []
    middle = next(n for n, line in enumerate(lines) if line.startswith("          fc:") and n >= len(lines) // 2)
    code = lines.index("  y = body(x)")
    line = lines[middle]
    times: dict[str, list[float]] = {}

    def timed(name: str, run: Callable[[], object]) -> None:
        begin = time.perf_counter()
        found = run()
        times.setdefault(name, []).append(time.perf_counter() - begin)
        assert found, f"{name} has no answer"

    def typed(name: str, number: int, written: str) -> None:
        """Complete what is typed in a line; an edit of the line comes first, and counts."""
        new, _, character = marked(written)
        old = lines[number]
        whole = {"start": {"line": number, "character": 0}, "end": {"line": number, "character": len(old)}}

        def run() -> object:
            client.edit("model.yaml", [{"range": whole, "text": new}])
            return client.at("completion", "model.yaml", number, character)["items"]

        timed(name, run)
        back = {"start": {"line": number, "character": 0}, "end": {"line": number, "character": len(new)}}
        client.edit("model.yaml", [{"range": back, "text": old}])

    document_of = {"textDocument": {"uri": client.uri("model.yaml")}}
    shown = {"start": {"line": middle, "character": 0}, "end": {"line": middle + 60, "character": 0}}
    requests: dict[str, Callable[[], None]] = {
        "complete a layer": lambda: typed("complete a layer", middle, "          fc: {Lin@|@"),
        "complete an argument": lambda: typed(
            "complete an argument", middle, "          fc: {Linear: {in_features: 3, @|@}}"
        ),
        "complete in code": lambda: typed("complete in code", code, "  y = torch.@|@"),
        "hover": lambda: timed("hover", lambda: client.at("hover", "model.yaml", middle, line.index("Linear"))),
        "definition": lambda: timed(
            "definition", lambda: client.at("definition", "model.yaml", middle, line.index("width"))
        ),
        "symbols": lambda: timed("symbols", lambda: client.request("textDocument/documentSymbol", document_of)),
        "hints": lambda: timed(
            "hints", lambda: client.request("textDocument/inlayHint", {**document_of, "range": shown}) == []
        ),
    }
    for _ in range(repetitions):
        for name in random.sample(list(requests), len(requests)):
            requests[name]()
    for number in range(MISTAKES):
        client.change("model.yaml", text.replace("Linear", f"Linaer{number}", 1))
        begin = time.perf_counter()
        while not any(f"`Linaer{number}`" in d["message"] for d in client.diagnostics("model.yaml", seconds=300)):
            pass
        times.setdefault("mistake", []).append(time.perf_counter() - begin)
    client.notify("textDocument/didClose", document_of)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    chosen = parser.parse_args()
    tables = {}
    for layers in chosen.sizes:
        with tempfile.TemporaryDirectory() as folder:
            client = Client(Path(folder), "--no-shapes")
            tables[layers] = measure(client, layers, chosen.repetitions)
            client.close()
    print("| request | " + " | ".join(f"{layers:,} layers" for layers in tables) + " |")
    print("|---|" + "---|" * len(tables))
    for name in next(iter(tables.values())):
        cells = [f"{1000 * statistics.median(t[name]):.0f} ms ({1000 * max(t[name]):.0f})" for t in tables.values()]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
