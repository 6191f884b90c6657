"""What many tests stand on: one thread, and a small random transformer. What is imported rather than asked for is in
`support`."""

from __future__ import annotations

import gc
import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is first imported, which transformers does

from transformers import Qwen3ForCausalLM

from support.networks import network

torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    """What is imported stays, so that the collections of garbage which some tests ask for need not look through it."""
    gc.freeze()


@pytest.fixture(scope="module")
def net() -> Qwen3ForCausalLM:
    return network()
