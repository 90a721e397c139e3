"""The words on a picture."""

from __future__ import annotations

from collections.abc import Sequence

from confnet.graph.kinds import sign_of
from confnet.graph.steps import Box

__all__ = ["count_text", "gist_of", "lines_of", "marks_text", "name_of", "short_count", "times_text"]


def lines_of(box: Box) -> list[str]:
    """The lines on a box: what it is called and how often it repeats, then the gist of it."""
    name = name_of(box)
    if box.run is not None and box.run.copies[-1].name != box.name:
        name = f"{name} … {name_of(box.run.copies[-1])}"
    head = " ".join(filter(None, [name, times_text(box)]))
    return [line for line in (head, gist_of(box)) if line]


def name_of(box: Box) -> str:
    """What a box is called, empty for what has no name."""
    if box.kind == "function":
        word = sign_of(box.label) or box.label
        return word if box.times == 1 else f"{word}  ×{box.times}"
    return box.name


def gist_of(box: Box) -> str:
    """What a box is, in a few words."""
    if box.kind == "function":
        return ""
    if box.kind in ("input", "output", "state"):
        return box.shapes[0] if box.shapes else ""
    size = short_count(box.detail.parameters) if box.children and box.detail.parameters else ""
    return " · ".join(filter(None, [box.label, box.note, box.detail.summary, size]))


def times_text(box: Box) -> str:
    """How often a box stands one after the other: `×12`."""
    if box.run is None:
        return ""
    copies = box.run.copies
    same = len({copy.fqn for copy in copies}) == 1 and copies[0].kind == "module"
    return f"×{len(copies)}, the same module" if same else f"×{len(copies)}"


def marks_text(box: Box) -> str:
    """The marks of a box in brief: `hook`, `tied`."""
    words = dict.fromkeys(mark.partition(":")[0].partition(" ")[0] for mark in box.detail.marks)
    return " ".join(f"[{word}]" for word in words)


def count_text(labels: Sequence[str], most: int = 2) -> str:
    """Some labels as one: the first few, and how many more there are."""
    if len(labels) <= most:
        return "\n".join(labels)
    return f"{labels[0]}\n+{len(labels) - 1} more"


def short_count(number: int) -> str:
    """A count in three digits: `11.7M`."""
    for unit, size in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            digits = f"{number / size:.3g}"
            return f"{digits}{unit}" if "e" not in digits else f"{number / size:.0f}{unit}"
    return str(number)
