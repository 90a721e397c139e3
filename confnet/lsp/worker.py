"""The process that checks files for the server, so that an editor never waits for torch.

It reads jobs from its standard input and writes answers to its standard output, one pickled message after another.
`python -m confnet.lsp.worker [plugin ...]`
"""

from __future__ import annotations

import os
import pickle
import struct
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from confnet import api
from confnet.catalog.registry import load_plugin
from confnet.checked import Checked, choices
from confnet.diagnostics import ConfnetError
from confnet.limits import DEFAULT_LIMITS
from confnet.loading import Spec, load_file, load_text, located
from confnet.lsp.answers import Answer, Job, Seen

if TYPE_CHECKING:
    from confnet.shapes import ShapeReport

__all__ = ["HEADER", "answer", "main"]

HEADER = struct.Struct(">Q")
"""The length of a message stands before it."""


def main() -> None:
    """Answer jobs until there are no more."""
    # Standard output belongs to the answers: whatever else prints goes where faults are logged.
    reading, writing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    for plugin in sys.argv[1:]:
        load_plugin(plugin)
    serve(reading, writing, answer)


def serve(reading: IO[bytes], writing: IO[bytes], run: Callable[[Job], Answer]) -> None:
    while True:
        header = reading.read(HEADER.size)
        if len(header) < HEADER.size:
            return
        job = pickle.loads(reading.read(HEADER.unpack(header)[0]))
        try:
            data = pickle.dumps(run(job))
        except Exception as error:  # a fault of confnet: the server logs it, and the file is checked again next time
            data = pickle.dumps(_told(error))
        writing.write(HEADER.pack(len(data)) + data)
        writing.flush()


def _told(error: Exception) -> str:
    return "".join(traceback.format_exception(error))


_last: tuple[Job, Spec] | None = None


def answer(job: Job) -> Answer:
    """Do a job."""
    try:
        spec = _spec(job)
    except ConfnetError as error:
        diagnostics = located(error.diagnostics, {})
        return Answer(diagnostics, error.sources, tuple(error.sources))
    files = tuple(spec.texts)
    if job.kind == "locals":
        return Answer(files=files, locals=_locals(spec))
    report = api.validate(spec, shapes=job.kind == "shapes")
    shown = next((shapes for shapes in report.shapes if shapes.checked), None)
    values = _values(shown) if shown is not None else ()
    summary = tuple(f"{_chosen(shapes)}{shapes}" for shapes in report.shapes)
    return Answer(report.diagnostics, report.sources, files, values, summary=summary)


def _spec(job: Job) -> Spec:
    """The spec of a job. Locals are asked for right after shapes, of the same reading; whatever else is asked, files
    on the disk may be others since. Raises ConfnetError."""
    global _last
    if job.kind == "locals" and _last is not None and replace(_last[0], kind="locals") == job:
        return _last[1]
    _last = None
    if job.path is None:
        spec = load_text(job.text, "<text>")
    else:
        path = Path(job.path)
        texts = {Path(name).resolve(): text for name, text in job.others.items()}
        texts[path.resolve()] = job.text
        spec = load_file(path, job.path, texts=texts)
    _last = job, spec
    return spec


def _chosen(report: ShapeReport) -> str:
    chosen = " ".join(filter(None, [report.variant, report.root]))
    return f"{chosen}: " if chosen else ""


def _values(report: ShapeReport) -> tuple[Seen, ...]:
    return tuple(
        Seen(each.name, each.name.partition("[")[0], each.span, each.text)
        for each in report.values
        if each.span is not None
    )


def _locals(spec: Spec) -> tuple[Seen, ...]:
    """The shapes of names in code, for the first way in which the spec can stand by itself."""
    from confnet.builder import without_compiler
    from confnet.shapes.locals import local_shapes

    chosen = choices(spec, None, None, {})
    if not chosen:
        return ()
    try:
        checked = Checked.make(spec, {}, *chosen[0], DEFAULT_LIMITS)
        trial = replace(checked, blueprint=replace(checked.blueprint, guarded=True))
        with without_compiler():
            found = local_shapes(trial.settled, trial.blueprint, lambda: trial.construct("meta", None))
    except ConfnetError:
        return ()
    return tuple(Seen(each.name, each.module, each.span, each.text) for each in found)


if __name__ == "__main__":
    main()
