# ruff: noqa: T201 (a program that prints its progress)
"""The long run: thousands of random specs, half of them with a mistake, each held against what really becomes of it.

    python -m tests.soundness --specs 10000 --folder soundness-run

`FOLDER/tally.json` holds the counts, `FOLDER/violations` a text for each promise that did not hold, under its seed. Run
it again to go on where it stopped; `--seeds 17 2607` runs these alone.
"""

from __future__ import annotations

import argparse
import json
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from tests.soundness import Trial, trial
from tests.soundness.truth import Violation

SAVE_EVERY = 20.0


def attempt(seed: int) -> tuple[Trial | None, str, str]:
    """The trial of a seed; else the kind of what went wrong, and its text."""
    try:
        return trial(seed), "", ""
    except Violation as error:
        return None, error.kind, str(error)
    except Exception:
        return None, "the trial itself fails", traceback.format_exc()


class Run:
    """Seeds one after the other, counted into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "violations").mkdir(parents=True, exist_ok=True)
        self.tally = folder / "tally.json"
        state: dict[str, Any] = {"next": 0, "counts": {}}
        if self.tally.exists():
            state = json.loads(self.tally.read_text(encoding="utf-8"))
        self.next: int = state["next"]
        self.counts = Counter[str](state["counts"])

    def step(self) -> None:
        """Run the next seed."""
        found, kind, text = attempt(self.next)
        if found is None:
            self.counts.update(("specs", "violations", f"violation {kind}"))
            (self.folder / "violations" / f"{self.next}.txt").write_text(text, encoding="utf-8")
        else:
            fault = "with a fault" if found.fault else "without a fault"
            outcome = found.verdict.outcome
            self.counts.update(("specs", outcome, f"{fault}", f"{fault} {outcome}", f"grammar {found.grammar}"))
            self.counts.update((f"fault {found.fault} {outcome}",) if found.fault else ())
            self.counts.update(f"code {code}" for code in found.verdict.codes)
            self.counts["sizes run"] += found.verdict.points
            self.counts["right at no drawn size"] += outcome == "right" and not found.verdict.points
            if outcome == "wrong":
                self.counts[f"wrong by {found.verdict.stage}"] += 1
            self.counts.update(f"feature {feature}" for feature in found.features)
        self.next += 1

    def save(self) -> None:
        """Write the counts and the next seed."""
        state = {"next": self.next, "counts": dict(sorted(self.counts.items()))}
        self.tally.write_text(json.dumps(state, indent=1), encoding="utf-8")

    def line(self) -> str:
        """Where it stands."""
        shown = ("specs", "right", "wrong", "open", "violations")
        return ", ".join(f"{self.counts[name]:,} {name}" for name in shown)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soundness", description=__doc__.splitlines()[0])
    parser.add_argument("--specs", type=int, default=10_000, help="how many in all, those of earlier runs included")
    parser.add_argument("--folder", type=Path, help="for the tally and the violations")
    parser.add_argument("--seeds", type=int, nargs="*", help="run these seeds alone")
    options = parser.parse_args()
    if options.seeds:
        for seed in options.seeds:
            found, kind, text = attempt(seed)
            print(seed, found or f"{kind}\n{text}")
        return
    if options.folder is None:
        parser.error("--folder or --seeds is needed")
    run = Run(options.folder)
    saved = time.monotonic()
    while run.next < options.specs:
        run.step()
        if time.monotonic() - saved > SAVE_EVERY:
            saved = time.monotonic()
            run.save()
            print(run.line(), flush=True)
    run.save()
    print(run.line(), flush=True)


if __name__ == "__main__":
    main()
