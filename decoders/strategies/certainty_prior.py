"""d2Cache's certainty prior: confidence has more weight where many tokens nearby are known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, State, only, option, top

REACH = 6  # standard deviations beyond which a neighbour has no weight
UNIT = 1 << 20  # weights are whole numbers, so that their sum is the same in any batch


@dataclass(frozen=True)
class CertaintyPrior(Decoder):
    """Commit an even share a step, by confidence times the density of known tokens nearby, where a token at distance d
    counts exp(-d^2 / (2 `sigma`^2)). d2Cache, 2509.23094.

    Text grows from known tokens, mostly from the prompt to the right, but that order is not enforced. Given and decided
    positions are known, and so are all positions left of the window, even those before the start of a prompt that is
    shorter than the reach of a token's influence. Positions beyond the right end of the row are known as soon as the
    row's last position is, and unknown before. Both edges follow the official code (`certainty_density`), which cuts
    the left one off at the length of the answer and also divides by a constant. In the paper the prior chooses which
    positions to commit and which keys and values to recompute; here it only commits, one token a step as in the paper,
    or by `steps`.
    """

    source: ClassVar[str] = "d2Cache, 2025, arXiv 2509.23094"
    attested: ClassVar[Attested] = "code"
    steps: int | None = option(None, "forwards for the whole row; none: one per position", min=1)
    sigma: float = option(10.0, "standard deviation of a token's influence, in positions", min=0.1, max=1000)
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = p.draw(s, self.temperature)
        score = only(s.open, confidence.double() * self.density(s))
        return s.commit(top(score, s.quota(self.steps)), tokens, confidence)

    def density(self, s: State) -> Tensor:
        """(B, W) double: the sum of the weights of known tokens, in units of one neighbour's; at least a unit of
        rounding."""
        W, K = s.tokens.shape[1], math.ceil(REACH * self.sigma)
        column, around = s.place, torch.arange(-K, W + K, device=s.tokens.device)
        over = ((column == s.size[:, None] - 1) & ~s.open).any(-1)
        over = over if s.rest is None else over & (s.rest == 0)  # of the row, not of the window
        beyond = (around >= s.size[:, None]) & over[:, None]
        inside = torch.nn.functional.pad(~s.open & s.present, (K, K))
        known = (around < 0) | inside | beyond  # (B, K + W + K)
        distance = column[:, None] - around
        weight = (UNIT * (-(distance / self.sigma).square() / 2).exp()).long()
        return ((weight * known[:, None]).sum(-1) + 1).double() / UNIT
