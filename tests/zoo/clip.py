"""CLIP against transformers: two towers, with and without a mask of the padding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import CLIPConfig, CLIPModel
from transformers.models.clip import modeling_clip as clip

from tests.zoo.harness import Architecture, Config

SMALL: dict[str, Any] = {
    "embed_dim": 6,
    "image_resolution": 8,
    "vision_patch_size": 4,
    "vision_width": 8,
    "vision_layers": 2,
    "vision_heads": 2,
    "context_length": 7,
    "vocab_size": 20,
    "transformer_width": 12,
    "transformer_layers": 1,
    "transformer_heads": 3,
    "eos_token_id": 19,
}
OTHER: dict[str, Any] = SMALL | {
    "image_resolution": 9,
    "vision_patch_size": 3,
    "vision_layers": 1,
    "vision_heads": 4,
    "transformer_layers": 3,
    "transformer_heads": 2,
    "eos_token_id": 5,
    "layer_norm_eps": 1e-3,
    "logit_scale_init_value": 1.5,
}


def _reference(args: dict[str, Any], hidden_act: str) -> CLIPModel:
    shared = {"hidden_act": hidden_act, "layer_norm_eps": args.get("layer_norm_eps", 1e-5)}
    text = shared | {
        "vocab_size": args["vocab_size"],
        "hidden_size": args["transformer_width"],
        "intermediate_size": 4 * args["transformer_width"],
        "num_hidden_layers": args["transformer_layers"],
        "num_attention_heads": args["transformer_heads"],
        "max_position_embeddings": args["context_length"],
        "eos_token_id": args["eos_token_id"],
        "bos_token_id": 0,
    }
    vision = shared | {
        "image_size": args["image_resolution"],
        "patch_size": args["vision_patch_size"],
        "hidden_size": args["vision_width"],
        "intermediate_size": 4 * args["vision_width"],
        "num_hidden_layers": args["vision_layers"],
        "num_attention_heads": args["vision_heads"],
    }
    return CLIPModel(
        CLIPConfig(
            text_config=text,
            vision_config=vision,
            projection_dim=args["embed_dim"],
            logit_scale_init_value=args.get("logit_scale_init_value", 2.6592),
            attn_implementation="eager",
        )
    )


def _inputs(args: dict[str, Any], length: int) -> dict[str, Tensor]:
    """Three texts that end at different places, and two images."""
    tokens = torch.randint(6, args["vocab_size"] - 1, (3, length))
    for row, end in enumerate((length - 1, 1, 2)):
        tokens[row, end] = args["eos_token_id"]
    size = args["image_resolution"]
    return {"input_ids": tokens, "pixel_values": torch.randn(2, 3, size, size)}


def _padded(args: dict[str, Any], length: int) -> dict[str, Tensor]:
    mask = torch.ones(3, length, dtype=torch.int64)
    mask[1, 2:] = mask[2, 3:] = 0
    return _inputs(args, length) | {"attention_mask": mask}


ARCHITECTURE = Architecture(
    title="CLIP",
    file="clip.yaml",
    reference="transformers CLIPModel",
    python=(
        clip._get_vector_norm,
        clip.CLIPVisionEmbeddings,
        clip.CLIPTextEmbeddings,
        clip.eager_attention_forward,
        clip.CLIPAttention,
        clip.CLIPMLP,
        clip.CLIPEncoderLayer,
        clip._init_child_weight,
        clip.CLIPPreTrainedModel,
        clip.CLIPEncoder,
        clip.CLIPTextModel,
        clip.CLIPVisionModel,
        clip.CLIPModel,
    ),
    configs=(
        Config(SMALL, lambda: _reference(SMALL, "quick_gelu"), lambda: _inputs(SMALL, 7)),
        Config(OTHER | {"hidden_act": "GELU"}, lambda: _reference(OTHER, "gelu"), lambda: _padded(OTHER, 5)),
    ),
    answer=lambda found: [found.logits_per_image, found.logits_per_text, found.text_embeds, found.image_embeds],
)
