"""Estimates of the probability that a verifier accepts a draft, from the draft's own distribution. Han et al. 2026,
2603.25702.

Each is (B, W) in [0, 1] from its one parameter, the state, the prediction and the drafts' confidence (B, W).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from decoders.core import Pred, State
from decoders.stats.reference import accumulator

Estimator = Literal["soft_entropy", "hard_margin", "hard_entropy", "confidence_power", "clipped_margin", "renyi2"]


def disorder(s: State, p: Pred) -> Tensor:
    """(B, W) in [0, 1]: the entropy over that of the uniform distribution."""
    return p.entropy() / math.log(s.vocab)


def collision(p: Pred) -> Tensor:
    """(B, W): the probability that two samples are the same, exp of the negative Renyi entropy of order 2."""
    return p.spread(p.rows.to(accumulator(p.rows)).softmax(-1).square().sum(-1))


ESTIMATORS: dict[str, tuple[Callable[[float, State, Pred, Tensor], Tensor], float]] = {
    "soft_entropy": (lambda c, s, p, confidence: (-c * disorder(s, p)).exp(), 1.0),
    "hard_margin": (lambda c, s, p, confidence: (p.margin() > c).to(confidence.dtype), 0.05),
    "hard_entropy": (lambda c, s, p, confidence: (disorder(s, p) < c).to(confidence.dtype), 0.5),
    "confidence_power": (lambda c, s, p, confidence: confidence**c, 0.8),
    "clipped_margin": (lambda c, s, p, confidence: (c * p.margin()).clamp(0, 1), 1.0),
    "renyi2": (lambda c, s, p, confidence: collision(p) ** c, 1.0),
}
"""Each with the reference's value of its parameter."""


def acceptance(kind: Estimator, c: float | None, s: State, p: Pred, confidence: Tensor) -> Tensor:
    """(B, W) by the estimator of that name, with its parameter `c`; None: the reference's value."""
    estimate, default = ESTIMATORS[kind]
    return estimate(default if c is None else c, s, p, confidence)


def expected_length(alpha: Tensor, span: Tensor) -> Tensor:
    """(B,): the expected number of accepted drafts of the span, the sum over k of the product of the first k of
    `alpha`."""
    return (torch.where(span, alpha, 1.0).cumprod(-1) * span).sum(-1)
