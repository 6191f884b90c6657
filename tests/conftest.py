"""What many tests stand on: one thread, and a small random transformer."""

from __future__ import annotations

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is first imported, which transformers does

from transformers import Qwen3Config, Qwen3ForCausalLM

from decoders.testing import LAWS

torch.set_num_threads(1)


DEAR = {"compiles", "engine_agrees", "replays", "packing", "pure", "rests"}
BY_COST = [pytest.param(law, id=law.__name__, marks=pytest.mark.slow if law.__name__ in DEAR else ()) for law in LAWS]
"""The laws, for further options of a strategy: those that take long are held in the slow run alone. At its defaults every strategy
is held to all of them but the first."""


def network() -> Qwen3ForCausalLM:
    """Two layers, a vocabulary of 24, in float64, with predictions far from even."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=24, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
        max_position_embeddings=4096, initializer_range=0.5,
    )
    return Qwen3ForCausalLM(config).double().eval()


@pytest.fixture(scope="module")
def net() -> Qwen3ForCausalLM:
    return network()
