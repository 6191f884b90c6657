"""Everything in a step that is not the model's forward, for every strategy that is installed."""

from __future__ import annotations

import pytest
import torch

from decoders.registry import entries
from decoders_bench.step_time.measure import prepared

BATCH, BLOCK, VOCAB = 4, 32, 8192
MORE = {"candidates", "attention", "hidden_states", "latents", "expand"}
ABLE = [e.name for e in entries("strategies") if not e.problem and not MORE & set(e.capabilities)]
"""All but those that read more of a prediction than logits of one canvas, or latents, or are for models with tokens of
their own: what is made up here has no more."""


@pytest.mark.parametrize("spec", ABLE)
def bench_step(timed, device, spec):
    step, _ = prepared(spec, torch.float32, BATCH, BLOCK, VOCAB, device)
    timed(step)


def bench_bare_maximum(timed, device):
    """What they are held against."""
    _, bare = prepared("threshold", torch.float32, BATCH, BLOCK, VOCAB, device)
    timed(bare)
