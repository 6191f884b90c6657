"""Small random transformers."""

from __future__ import annotations

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM


def network() -> Qwen3ForCausalLM:
    """Two layers, a vocabulary of 24, in float64, with predictions far from even."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=24, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=4096, initializer_range=0.5,
    )
    return Qwen3ForCausalLM(config).double().eval()
