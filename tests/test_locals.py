"""The shapes of named values in code, which an editor shows beside the names."""

from __future__ import annotations

from dataclasses import replace

import confnet
from confnet.checked import Checked
from confnet.limits import DEFAULT_LIMITS
from confnet.shapes.locals import local_shapes


def shapes(text: str) -> dict[tuple[str, int], str]:
    """The shape of each name, by the line where it is assigned."""
    checked = Checked.make(confnet.loads(text), {}, None, None, DEFAULT_LIMITS)
    trial = replace(checked, blueprint=replace(checked.blueprint, guarded=True))
    found = local_shapes(trial.settled, trial.blueprint, lambda: trial.construct("meta", None))
    return {(each.name, each.span.line): each.text for each in found}


def test_every_assignment_tells_its_shape() -> None:
    text = """\
confnet: 1
inputs: {x: [B, 6, 4]}
forward: |
  a = x.mean(1); b = x.flatten(1)
  first, rest = x[:, 0], (x[:, 1:], a)
  for row in rest: a = a + row.sum()
  b += 1
  return a, b
"""
    assert shapes(text) == {
        ("x", 4): "[B, 6, 4]",
        ("a", 4): "[B, 4]",
        ("b", 4): "[B, 24]",
        ("first", 5): "[B, 4]",
        ("rest[0]", 5): "[B, 5, 4]",
        ("rest[1]", 5): "[B, 4]",
        ("row", 6): "[B, 4]",
        ("a", 6): "[B, 4]",
        ("b", 7): "[B, 24]",
    }
