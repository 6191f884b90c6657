"""A draft: tokens for every open position from one forward, and the distribution that they were drawn from."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor

from decoders.core import Pred, State
from decoders.stats import reference as stats

DRAW = 0x41  # salt


class Draft(NamedTuple):
    """The drafts of one forward, which the next forward verifies or the base rule commits. Entries at positions that
    were not open have no meaning."""

    tokens: Tensor  # (B, W) long
    confidence: Tensor  # (B, W) float32     their probability
    sure: Tensor  # (B, W) bool              it is above `tau`
    kept: Tensor  # (B, W, K) long           the distribution that they are drawn from: its K likeliest tokens
    probs: Tensor  # (B, W, K) float32       and their probabilities, renormalised

    @classmethod
    def none(cls, s: State, keep: int) -> Self:
        """Before the first forward."""
        zero = torch.zeros_like(s.tokens)
        kept = zero[..., None].expand(-1, -1, keep)
        return cls(zero, zero.float(), zero.bool(), kept, kept.float())

    @classmethod
    def of(cls, s: State, p: Pred, keep: int, greedy: bool, tau: float) -> Self:
        """The likeliest tokens where `greedy`, else samples from the `keep` likeliest."""
        kept, probs = p.top(keep)
        tokens = kept[..., 0]
        if not greedy:
            index = stats.sample(probs.log().flatten(0, 1), s.uniform(DRAW).flatten(), 1.0).view_as(s.tokens)
            index = index.clamp(max=kept.shape[-1] - 1)  # unwanted positions have no distribution to draw from
            tokens = kept.gather(-1, index[..., None])[..., 0]
        confidence = p.prob(tokens).float()
        return cls(tokens, confidence, confidence > tau, kept, probs.float())

    @property
    def chance(self) -> Tensor:
        """(B, W) the probability that each token had when it was drawn."""
        return (self.probs * (self.kept == self.tokens[..., None])).sum(-1)

    def rest(self, p: Pred, where: Tensor) -> Tensor:
        """(B, V) what is drawn from instead of the draft at the one position of each row that is `where (B, W)`: the
        `residual` of the verifier's prediction; not normalised."""
        row = where.long().argmax(-1)[:, None, None].expand(-1, 1, self.kept.shape[-1])
        q, kept, probs = p.probs_at(where), self.kept.gather(1, row)[:, 0], self.probs.gather(1, row)[:, 0]
        return residual(q, kept, probs.to(q.dtype))


def residual(q: Tensor, kept: Tensor, probs: Tensor) -> Tensor:
    """(B, V) the distribution from which a rejected draft is drawn again, not normalised: the positive part of `q (B,
    V)` less the draft distribution on its tokens `kept (B, K)`, or q itself if that is 0 everywhere. Leviathan et al.
    2023, 2211.17192, section 2.3."""
    rest = q.scatter_add(1, kept, -probs).clamp(min=0)
    return torch.where(rest.sum(-1, keepdim=True) > 0, rest, q)
