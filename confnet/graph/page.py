"""A picture as one page: no network, no other file. Layout by dagre in the browser, everything else our own."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from html import escape
from importlib.resources import files
from typing import Any

from confnet.graph.boxes import Graph
from confnet.graph.details import Detail
from confnet.graph.kinds import WORDS
from confnet.graph.steps import Box
from confnet.graph.wording import gist_of, name_of, short_count

__all__ = ["page"]


def page(graph: Graph, open_boxes: set[int], sources: Mapping[str, str]) -> str:
    """The text of the page. `open_boxes` stand open at first; `sources` are the files whose lines it shows.

    Whatever comes from a file is data of the page, never markup or code: the policy in the page's head lets nothing
    run but the two scripts of confnet itself, known by their digests.
    """
    script, style = _script(), _read("page.css")
    policy = (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; script-src 'sha256-{_digest(script)}'; "
        f"style-src 'sha256-{_digest(style)}'"
    )
    data = json.dumps(_data(graph, open_boxes, sources), ensure_ascii=False, separators=(",", ":"))
    parts = {
        "policy": policy,
        "title": escape(_clean(graph.title)),
        "style": style,
        # Neither an end tag nor a comment can be written without it.
        "data": _clean(data).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"),
        "script": script,
    }
    template = _read("page.html")
    pieces = [template]
    for name, text in parts.items():  # each place once, so that no text of a file is looked at for places
        head, _, tail = pieces.pop().partition(f"{{{{{name}}}}}")
        pieces += [head, text, tail]
    return "".join(pieces)


def _data(graph: Graph, open_boxes: set[int], sources: Mapping[str, str]) -> dict[str, Any]:
    boxes = list(graph.boxes())
    numbers = {id(box): number for number, box in enumerate(boxes)}
    details: dict[str, int] = {}
    texts: dict[str, int] = {}
    rows = [_row(box, numbers, details, open_boxes) for box in boxes]
    arrows = []
    for arrow in graph.arrows:
        row = [numbers[id(arrow.source)], numbers[id(arrow.target)], texts.setdefault(arrow.shape, len(texts))]
        if arrow.via:
            row.append(texts.setdefault(" → ".join(arrow.via), len(texts)))
        arrows.append(row)
    runs = [[numbers[id(b)], len(b.run.copies)] for b in boxes if b.run is not None and b.run.copies[0] is b]
    total = graph.root.detail.parameters
    return {
        "title": graph.title,
        "subtitle": f"{short_count(total)} parameters" if total else "",
        "wired": graph.is_wired,
        "notes": graph.notes,
        "words": WORDS,
        "files": dict(sources),
        "details": [json.loads(text) for text in details],
        "texts": list(texts),
        "boxes": rows,
        "runs": runs,
        "arrows": arrows,
    }


def _row(box: Box, numbers: Mapping[int, int], details: dict[str, int], open_boxes: set[int]) -> dict[str, Any]:
    """One box, without what is empty; equal details stand once for all boxes."""
    row: dict[str, Any] = {
        "p": numbers[id(box.parent)] if box.parent is not None else None,
        "k": box.kind,
        "n": name_of(box),
        "g": gist_of(box),
        "l": box.label,
        "f": box.fqn,
        "c": box.colour if box.colour != "module" else "",
        "s": list(box.shapes),
        "t": box.times if box.times > 1 else 0,
        "at": list(box.place) if box.place[1] else None,
        "j": [[inner.fqn, inner.label] for inner in box.joined],
        "open": 1 if id(box) in open_boxes else 0,
    }
    if box.kind == "module":
        text = json.dumps(_detail(box.detail), ensure_ascii=False)
        row["d"] = details.setdefault(text, len(details))
    return {key: value for key, value in row.items() if value or (key in ("p", "d") and value is not None)}


def _detail(detail: Detail) -> dict[str, Any]:
    return {
        "layer": detail.layer,
        "description": detail.description,
        "arguments": dict(detail.arguments),
        "parameters": detail.parameters,
        "frozen": detail.frozen,
        "state": [[item.name, item.shape, item.remark] for item in detail.state],
        "marks": detail.marks,
        "place": detail.place,
        "defined": detail.defined,
    }


@lru_cache(maxsize=1)
def _script() -> str:
    licence = _read("vendor/LICENSE.dagre.txt")
    library = _read("vendor/dagre.min.js").partition("\n//# sourceMappingURL=")[0]
    return f"/*\n{licence}*/\n{library}\n{_read('layout.js')}\n{_read('page.js')}"


@lru_cache(maxsize=8)
def _read(name: str) -> str:
    return files("confnet.graph").joinpath(*name.split("/")).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _clean(text: str) -> str:
    """A text that UTF-8 can hold: what a file has of lone surrogates is shown as such."""
    return text.encode("utf-8", "replace").decode("utf-8")
