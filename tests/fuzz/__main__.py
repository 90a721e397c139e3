# ruff: noqa: T201 (a program that prints its progress)
"""The coverage-guided fuzzer: files that nobody wrote, and what confnet makes of them.

    pip install -e ".[fuzz]"
    python -m tests.fuzz --inputs 1000000 --folder fuzz-run

Inputs are raw bytes, and mutations of the examples, golden cases and docs by lines, tokens, values and bytes; atheris
keeps those that reach new code of confnet. Most go through everything before torch, one of a hundred through the whole
`validate`. No exception may come out but ConfnetError, and none may take longer than two seconds. `FOLDER/tally.json`
holds the counts, `FOLDER/found` an input for each finding; run it again to go on where it stopped.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import atheris

with atheris.instrument_imports(include=["confnet"]):
    import confnet.builder
    import confnet.check.code
    import confnet.render
    import confnet.shapes  # noqa: F401 (instrumented here, with what validate loads only late)
    from tests.fuzz.mutations import KINDS, Mutator, seeds
    from tests.fuzz.trial import Tally, warm

LONGEST = 2_500
SAVE_EVERY = 20.0


class Fuzzer:
    """Counts inputs, tells where it stands, and ends when there were enough."""

    def __init__(self, tally: Tally, wanted: int, corpus: list[bytes]) -> None:
        self.tally, self.wanted = tally, wanted
        self.mutator = Mutator(corpus)
        self.kind = "seed"
        self.saved = time.monotonic()

    def one(self, data: bytes) -> None:
        """Run one input."""
        self.tally.run(data, self.kind)
        self.kind = "seed"
        if time.monotonic() - self.saved > SAVE_EVERY or self.tally.inputs >= self.wanted:  # atheris never returns
            self.saved = time.monotonic()
            self.tally.save()
            print(self.line(), flush=True)

    def line(self) -> str:
        counts = self.tally.counts
        return (
            f"{self.tally.inputs:,} inputs, ok {counts['ok']:,}, refused {counts['refused']:,}, raised"
            f" {counts['raised']}, slow {counts['slow']}, slowest {self.tally.slowest:.2f} s"
        )

    def mutate(self, data: bytes, limit: int, seed: int) -> bytes:
        """The next input, made of one that is kept: a third by atheris' own mutations of bytes."""
        random = Random(seed)
        limit = min(limit, LONGEST)
        if random.random() < 1 / 3:
            self.kind = "bytes"
            return bytes(atheris.Mutate(data, limit))
        self.kind = random.choices(KINDS, (3, 3, 3, 1, 3))[0]
        return self.mutator.mutate(data, random, self.kind, limit)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz confnet with coverage.")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="how many in all, those of earlier runs included")
    parser.add_argument("--folder", type=Path, required=True, help="for the tally, the findings and the corpus")
    parser.add_argument("--seed", type=int, default=0, help="of atheris; 0 draws one")
    options = parser.parse_args()
    warm()
    gc.collect()
    gc.freeze()  # torch is half a million objects, and no input adds to them
    gc.set_threshold(50_000, 20, 100)
    tally = Tally.resumed(options.folder)
    left = options.inputs - tally.inputs
    if left <= 0:
        print(f"done: {tally.inputs:,} inputs")
        return
    texts = seeds()
    kept, given = options.folder / "corpus", options.folder / "seeds"
    for folder in (kept, given):
        folder.mkdir(exist_ok=True)
    for index, text in enumerate(texts):
        (given / f"{index:04}.yaml").write_bytes(text)
    fuzzer = Fuzzer(tally, options.inputs, texts)
    arguments = [
        sys.argv[0], f"-runs={left}", f"-seed={options.seed}", f"-max_len={LONGEST}", "-timeout=120",
        "-rss_limit_mb=4096", "-len_control=0", f"-artifact_prefix={options.folder}/", str(kept), str(given),
    ]  # fmt: skip
    run: Callable[..., Any] = atheris.Setup
    run(arguments, fuzzer.one, custom_mutator=fuzzer.mutate)
    atheris.Fuzz()  # ends the process


if __name__ == "__main__":
    main()
