"""Random specs, and the promise of `validate` held against what really becomes of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import torch

from tests.shape_specs import random_spec
from tests.soundness.faults import with_fault
from tests.soundness.structured import structured_spec
from tests.soundness.truth import Verdict, verdict

__all__ = ["FEATURES", "Trial", "drawn", "trial"]

FEATURES: Mapping[str, str] = {
    "container": '"Sequential"', "module list": '"ModuleList"', "module dict": '"ModuleDict"',
    "definition": '"modules"', "composite in place": '{"children"', "repeat": '"repeat"', "when": '"when"',
    "else": '"else"', "module arg": '"module", "default"', "layer arg": '"layer", "default"', "let": '"let"',
    "parameters": '"parameters"', "buffers": '"buffers"', "methods": '"methods"', "share": '"share"',
    "several inputs": '"y": ', "list input": '"item"', "optional input": '"default": null', "flag": '"bool"',
    "contract of outputs": '"outputs"', "dtype": "torch.", "integers": '"int64"', "loop": "for layer in",
    "recurrent": '"LSTM"', "attention": "Multihead",
}  # fmt: skip
"""What of the language a spec uses, by a piece of its JSON."""


@dataclass(frozen=True)
class Trial:
    """One spec: the grammar it came from, the fault that was put in ("" for none), and the verdict."""

    grammar: str
    fault: str
    verdict: Verdict
    features: tuple[str, ...]


def drawn(seed: int) -> tuple[dict[str, Any], str, str, Random]:
    """The spec of a seed, its grammar and fault, and the random numbers to go on with."""
    random = Random(seed)
    grammar = "lines" if random.random() < 0.3 else "structures"
    spec = random_spec(random) if grammar == "lines" else structured_spec(random)
    fault = ""
    if random.random() < 0.5:
        spec, fault = with_fault(spec, random)
    return spec, grammar, fault, random


def trial(seed: int) -> Trial:
    """The trial of a seed. Raises Violation where a promise does not hold."""
    spec, grammar, fault, random = drawn(seed)
    torch.manual_seed(seed)
    text = json.dumps(spec)
    features = tuple(name for name, piece in FEATURES.items() if piece in text)
    return Trial(grammar, fault, verdict(spec, random), features)
