"""Mamba, with the plain scan."""

from __future__ import annotations

from typing import Any

from transformers import MambaConfig, MambaForCausalLM
from transformers.models.mamba import modeling_mamba as mamba

from tests.zoo.harness import Architecture, Config, tokens

# With the published ones so small a model hardly depends on its recurrence.
_LARGE_STEPS = {"initializer_range": 0.5, "time_step_min": 0.3, "time_step_max": 1.0}
_TIED = {**_LARGE_STEPS, "vocab_size": 30, "hidden_size": 8, "state_size": 3, "num_hidden_layers": 2}
_UNTIED = {
    **_LARGE_STEPS,
    "vocab_size": 30,
    "hidden_size": 6,
    "state_size": 4,
    "num_hidden_layers": 1,
    "expand": 3,
    "conv_kernel": 2,
    "time_step_rank": 2,
    "layer_norm_epsilon": 1e-3,
    "use_bias": True,
    "use_conv_bias": False,
    "residual_in_fp32": False,
    "tie_word_embeddings": False,
}


def _reference(**args: Any) -> MambaForCausalLM:
    return MambaForCausalLM(MambaConfig(**args, use_cache=False))


ARCHITECTURE = Architecture(
    title="Mamba",
    file="mamba.yaml",
    reference="transformers MambaForCausalLM",
    python=(
        mamba.causal_conv1d_fn,
        mamba.mamba_selective_scan,
        mamba.MambaMixer,
        mamba.MambaRMSNorm,
        mamba.MambaBlock,
        mamba.MambaPreTrainedModel,
        mamba.MambaModel,
        mamba.MambaForCausalLM,
    ),
    configs=(
        Config(args=_TIED, reference=lambda: _reference(**_TIED), inputs=lambda: tokens(6)),
        Config(args=_UNTIED, reference=lambda: _reference(**_UNTIED), inputs=lambda: tokens(6)),
    ),
    answer=lambda result: result.logits,
)
