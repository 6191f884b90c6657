"""Statistics of rows of logits, as strategies ask for them: LLaDA's vocabulary, one window of 32."""

from __future__ import annotations

import pytest
import torch

from decoders import stats

ROWS, VOCAB = 32, 126_464
ASKED = {
    "best": lambda x, r: x.best(),
    "prob": lambda x, r: x.prob(r["tokens"]),
    "entropy": lambda x, r: x.entropy(),
    "margin": lambda x, r: x.margin(),
    "sample": lambda x, r: x.sample(r["u"], 1.0),
    "race": lambda x, r: x.race(r["h"], 1.0),
}


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def logits(request, device):
    random = torch.Generator().manual_seed(0)
    return (3 * torch.randn(ROWS, VOCAB, generator=random)).to(getattr(torch, request.param)).to(device)


@pytest.fixture(scope="module")
def given(device):
    """What some of them take besides the logits."""
    random = torch.Generator().manual_seed(1)
    u = torch.rand(ROWS, dtype=torch.float64, generator=random)
    return {"tokens": (u * VOCAB).long().to(device), "u": u.to(device), "h": (u * 2**62).long().to(device)}


@pytest.mark.parametrize("asked", ASKED)
def bench_statistic(timed, logits, given, asked):
    timed(lambda: ASKED[asked](stats.of(logits), given))


def bench_bare_maximum(timed, logits):
    """What they are held against."""
    timed(lambda: logits.max(-1))
