"""A tiny random DiffusionGemma."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion, DiffusionGemmaTextConfig
from transformers.models.diffusion_gemma import modeling_diffusion_gemma as modeling
from transformers.models.gemma4.configuration_gemma4 import Gemma4VisionConfig

V, CANVAS, SLIDING = 48, 5, 6
PROMPTS = [[2, 7, 9, 11, 5, 6, 40, 13, 21], [2, 8], [2, 30, 31, 32, 33, 34]]


class Precise:
    """torch, with double precision where single precision is written: transformers' norms, rotations, router and head
    are in single precision whatever the model's is, which would hide all errors below 1e-6."""

    float32 = float = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


def tiny_gemma() -> DiffusionGemmaForBlockDiffusion:
    """Three layers, in single precision; no token ends a text."""
    text = DiffusionGemmaTextConfig(
        vocab_size=V, hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=2, head_dim=8, global_head_dim=16, num_global_key_value_heads=1, sliding_window=SLIDING,
        num_experts=4, top_k_experts=2, moe_intermediate_size=8,
        layer_types=["sliding_attention", "full_attention", "full_attention"], max_position_embeddings=64,
        initializer_range=0.3, final_logit_softcapping=5.0,
    )
    vision = Gemma4VisionConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1,
        head_dim=8,
    )
    config = DiffusionGemmaConfig(text_config=text, vision_config=vision, canvas_length=CANVAS, initializer_range=0.3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = DiffusionGemmaForBlockDiffusion(config).eval()
    model.generation_config.eos_token_id = model.generation_config.pad_token_id = None
    return model


def precise(
    tiny: DiffusionGemmaForBlockDiffusion, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DiffusionGemmaForBlockDiffusion]:
    """In double precision throughout, for as long as a test goes on."""
    monkeypatch.setattr(modeling, "torch", Precise())
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    tiny.set_experts_implementation("eager")  # the grouped one has no double precision
    yield tiny.double()
    tiny.set_experts_implementation("grouped_mm")
    tiny.to(torch.float32)
