"""One input of the fuzzer: run through confnet, timed, and whatever comes out that is no diagnostic is kept."""

from __future__ import annotations

import hashlib
import io
import json
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import confnet
from confnet.checked import choices
from confnet.pipeline import check_library, make_plan
from confnet.render import render_github, render_json, render_text

__all__ = ["SECONDS", "Tally", "stage_of", "trial", "warm"]

SECONDS = 2.0
WHOLE = 100
"""One of so many inputs goes through torch as well."""


def stage_of(data: bytes) -> str:
    """How far an input is taken: `plan` (all that is before torch), `torch` (a full validate), `file` (from a disk).

    It depends on the input alone, so that a finding is found again.
    """
    number = zlib.crc32(data)
    if number % WHOLE == 0:
        return "torch"
    return "file" if number % WHOLE < 5 else "plan"


def warm() -> None:
    """Import what torch loads only when a model is built or run: no input shall be charged with it."""
    layers = "[{Conv2d: [1, 2, 3]}, ReLU, {BatchNorm2d: 2}, Flatten, {LazyLinear: 4}, {LayerNorm: 4}, {Dropout: 0.1}]"
    text = f"confnet: 1\ninputs: {{x: [B, 1, H, W]}}\nSequential: {layers}\n"
    assert confnet.validate(io.StringIO(text)).ok
    attention = "confnet: 1\ninputs: {x: [B, 4]}\nforward: return F.scaled_dot_product_attention(x, x, x).softmax(-1)\n"
    assert confnet.validate(io.StringIO(attention)).ok


def trial(data: bytes, stage: str | None = None) -> str:
    """Take an input through its stage: `ok` or `refused`. Any exception is a finding, for a report never raises."""
    stage = stage or stage_of(data)
    if stage == "file":
        with TemporaryDirectory(prefix="confnet") as folder:
            path = Path(folder) / "model.yaml"
            path.write_bytes(data)
            return _planned(lambda: confnet.load(path))
    text = data.decode(errors="surrogateescape")
    if stage == "torch":
        report = confnet.validate(io.StringIO(text))
        shown = [str(report), *map(str, report.shapes)]
        return "ok" if report.ok and shown else "refused"
    return _planned(lambda: confnet.loads(text))


def _planned(load: Callable[[], confnet.Spec]) -> str:
    """Everything that `validate` does before torch, and every way to show what is wrong."""
    try:
        spec = load()
        ways = choices(spec, None, None, {})
        if not ways:
            check_library(spec)
    except confnet.ConfnetError as error:
        _shown(error)
        return "refused"
    refused = False
    for variant, root in ways[:4]:
        try:
            make_plan(spec, variant=variant, root=root)
        except confnet.ConfnetError as error:
            refused = True
            _shown(error)
    return "refused" if refused else "ok"


def _shown(error: confnet.ConfnetError) -> None:
    assert error.diagnostics, "an error that says nothing"
    diagnostics, sources = error.diagnostics, error.sources
    assert render_text(diagnostics, sources)
    assert render_json(diagnostics, ok=False)
    assert render_github(diagnostics)


@dataclass
class Tally:
    """What came of all inputs so far, kept in a folder: counts, and one file for each finding."""

    folder: Path
    counts: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    spent: float = 0.0

    @classmethod
    def resumed(cls, folder: Path) -> Tally:
        """The tally of a folder, as it was left."""
        (folder / "found").mkdir(parents=True, exist_ok=True)
        kept = folder / "tally.json"
        if not kept.exists():
            return cls(folder)
        known = json.loads(kept.read_text(encoding="utf-8"))
        return cls(folder, Counter(known["counts"]), known["slowest"], known["spent"])

    @property
    def inputs(self) -> int:
        """How many inputs were run."""
        return self.counts["inputs"]

    def run(self, data: bytes, kind: str) -> None:
        """Run an input and count it. A mistake of confnet is kept, and the fuzzing goes on."""
        stage = stage_of(data)
        start, clock = time.process_time(), time.perf_counter()
        try:
            outcome = trial(data, stage)
        except Exception as error:
            outcome = "raised"
            self.keep(data, stage, _place(error), traceback.format_exc())
        # Time of this process, not of the wall: others may share the machine.
        seconds, wall = time.process_time() - start, time.perf_counter() - clock
        if min(seconds, wall) > SECONDS:
            self.counts["slow"] += 1
            place = f"slow-{stage}-{self.counts['slow'] % 50}"
            self.keep(data, stage, place, f"took {seconds:.2f} s (wall {wall:.2f} s)\n")
        self.spent += seconds
        self.slowest = max(self.slowest, seconds)
        self.counts.update(("inputs", f"kind {kind}", f"stage {stage}", outcome, f"{outcome} at {stage}"))

    def keep(self, data: bytes, stage: str, place: str, text: str) -> None:
        """Keep one input for each place that a finding came from."""
        self.counts[f"found {place}"] += 1
        name = hashlib.sha256(place.encode()).hexdigest()[:12]
        if not (self.folder / "found" / f"{name}.txt").exists():
            (self.folder / "found" / f"{name}.yaml").write_bytes(data)
            (self.folder / "found" / f"{name}.txt").write_text(f"{stage} {place}\n{text}", encoding="utf-8")

    def save(self) -> None:
        """Write the counts, so that another run may go on from them."""
        state = {"counts": dict(sorted(self.counts.items())), "slowest": self.slowest, "spent": self.spent}
        (self.folder / "tally.json").write_text(json.dumps(state, indent=1), encoding="utf-8")


def _place(error: Exception) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "confnet" in frame.filename]
    last = frames[-1] if frames else None
    where = f"{Path(last.filename).name}:{last.name}" if last is not None else "?"
    return f"{type(error).__name__} in {where}"
