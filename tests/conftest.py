"""What many tests stand on: one thread, and a small random transformer. What is imported rather than asked for is in
`support`."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is first imported, which transformers does

from transformers import Qwen3ForCausalLM

from support.networks import network

torch.set_num_threads(1)


@pytest.fixture
def frozen() -> Iterator[None]:
    """For what collects garbage again and again: it need not look through all that is imported."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def net() -> Qwen3ForCausalLM:
    return network()
