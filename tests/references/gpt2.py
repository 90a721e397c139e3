"""The reference of `examples/gpt2.yaml`: `transformers`' own GPT2LMHeadModel, reduced to its logits."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

__all__ = ["GPT2", "gpt2"]


class GPT2(GPT2LMHeadModel):  # type: ignore[misc]  # transformers' base classes are untyped
    """A GPT2LMHeadModel that returns its logits alone."""

    def forward(self, input_ids: Tensor) -> Tensor:
        logits: Tensor = super().forward(input_ids, use_cache=False).logits
        return logits


def gpt2(**config: Any) -> GPT2:
    """A GPT2LMHeadModel with random weights and torch's own attention."""
    return GPT2(GPT2Config(bos_token_id=0, eos_token_id=0, attn_implementation="sdpa", **config))
