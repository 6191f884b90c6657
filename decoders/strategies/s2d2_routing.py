"""When S2D2 verifies: how long a draft is likely to stand, and what is made of that. Han et al. 2026, 2603.25702.

The bandit's buckets and bound are inferred from recorded decisions of the official code, which has no licence and was not consulted
for this; see `bucket` and `Bandit.verifies`.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from decoders.core import Pred, State, first_run
from decoders.stats.reference import accumulator

Route = Literal["always", "never", "min_span", "score", "hysteresis", "ucb"]
Estimator = Literal["soft_entropy", "hard_margin", "hard_entropy", "confidence_power", "clipped_margin", "renyi2"]
PARAMETER: dict[str, float] = {
    "soft_entropy": 1.0, "hard_margin": 0.05, "hard_entropy": 0.5, "confidence_power": 0.8, "clipped_margin": 1.0, "renyi2": 1.0,
}
"""The one parameter of each estimator, as the reference has it."""


def disorder(s: State, p: Pred) -> Tensor:
    """(B, W) in [0, 1]: the entropy over that of the uniform distribution."""
    return p.entropy() / math.log(s.vocab)


def collision(p: Pred) -> Tensor:
    """(B, W): the probability that two samples are the same, exp of the negative Renyi entropy of order 2."""
    return p.spread(p.rows.to(accumulator(p.rows)).softmax(-1).square().sum(-1))


def acceptance(kind: Estimator, c: float, s: State, p: Pred, confidence: Tensor) -> Tensor:
    """(B, W) in [0, 1]: how likely the verifier is thought to accept each draft, from the draft's own distribution."""
    match kind:
        case "soft_entropy":
            return (-c * disorder(s, p)).exp()
        case "hard_margin":
            return (p.margin() > c).to(confidence.dtype)
        case "hard_entropy":
            return (disorder(s, p) < c).to(confidence.dtype)
        case "confidence_power":
            return confidence**c
        case "clipped_margin":
            return (c * p.margin()).clamp(0, 1)
        case "renyi2":
            return collision(p) ** c


def expected_length(alpha: Tensor, span: Tensor) -> Tensor:
    """(B,): how many drafts of the span are likely to be accepted, the sum over k of the product of the first k of `alpha`."""
    return (torch.where(span, alpha, 1.0).cumprod(-1) * span).sum(-1)


def bucket(s: State, p: Pred) -> Tensor:
    """(B,) long in 0..7, the bandit's context: 4 for a span of more than half the window, 2 once half of what was open at its start
    is decided, 1 for a mean entropy of the span of at least half the largest."""
    span = first_run(s.open)
    n = span.sum(-1)
    mean = (disorder(s, p) * span).sum(-1) / n.clamp(min=1)
    return 4 * (2 * n > s.size).long() + 2 * (2 * s.open.sum(-1) <= s.opened).long() + (mean >= 0.5).long()


class Bandit(NamedTuple):
    """What the UCB bandit has seen, for the two arms in each of eight buckets: 0 leaves a draft to the base rule, 1 verifies it."""

    pulls: Tensor  # (B, 8, 2) long
    reward: Tensor  # (B, 8, 2) double  tokens per forward, summed over pulls

    @classmethod
    def new(cls, rows: int, device: torch.device) -> Bandit:
        zero = torch.zeros(rows, 8, 2, dtype=torch.long, device=device)
        return cls(zero, zero.double())

    def verifies(self, bucket: Tensor, beta: float) -> Tensor:
        """(B,) bool: the arm with the larger upper bound, mean reward + beta sqrt(log t / n), n being the pulls of the arm and t the
        number of this decision; an arm that was never pulled comes first, and of equal ones verifying.

        The recorded decisions also fit sqrt(2 log t / n) with t counted in each bucket of its own.
        """
        here = bucket[:, None, None].expand(-1, 1, 2)
        n, total = self.pulls.gather(1, here)[:, 0], self.reward.gather(1, here)[:, 0]
        t = 1 + self.pulls.sum((1, 2))
        bound = total / n.clamp(min=1) + beta * (t.double().log()[:, None] / n.clamp(min=1)).sqrt()
        bound = torch.where(n > 0, bound, torch.inf)
        return bound[:, 1] >= bound[:, 0]

    def learn(self, bucket: Tensor, verified: Tensor, tokens: Tensor) -> Bandit:
        """After a draft of `bucket (B,)` that was `verified (B,)` or not, and made so many `tokens (B,)`; verifying costs two forwards."""
        arms = torch.arange(2, device=bucket.device)
        pull = (torch.arange(8, device=bucket.device) == bucket[:, None])[..., None] & (arms == verified[:, None].long())[:, None]
        reward = tokens.double() / (1 + verified.double())
        return Bandit(self.pulls + pull.long(), self.reward + pull * reward[:, None, None])
