"""Whether a state dict fits a model, as torch itself tells it, without any values."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

__all__ = ["LoadOutcome", "load_outcome"]

_SIZE = r"torch\.Size\(\[([\d, ]*)\]\)"
_MISMATCH = re.compile(
    rf"size mismatch for (.*): copying a param with shape {_SIZE} from checkpoint, "
    rf"the shape in current model is {_SIZE}\."
)


@dataclass(slots=True)
class LoadOutcome:
    """What loading reports: its two lists, the keys of other shapes with both of these, and any further error."""

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def load_outcome(state: Mapping[str, Any], model: nn.Module) -> LoadOutcome:
    """What `model.load_state_dict(state, strict=False)` reports and raises, in torch's order; both are on meta.

    torch is asked, so that hooks that rename or drop keys have their say. The model is not to be used afterwards.
    """
    outcome = LoadOutcome()

    def listen(_: nn.Module, found: Any) -> None:
        # The lists of the whole model: torch loses them where it raises.
        outcome.missing, outcome.unexpected = list(found.missing_keys), list(found.unexpected_keys)

    model.register_load_state_dict_post_hook(listen)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that meta tensors have no values to copy
            model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        for message in str(error).split("\n\t")[1:] or [str(error)]:
            _add(outcome, message)
    except Exception as error:  # of a hook on it
        outcome.errors.append(str(error))
    return outcome


def _add(outcome: LoadOutcome, message: str) -> None:
    match = _MISMATCH.fullmatch(message)
    if match is None:
        outcome.errors.append(message)
    else:
        outcome.mismatched.append((match[1], _shape(match[2]), _shape(match[3])))


def _shape(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split(",") if size.strip())
