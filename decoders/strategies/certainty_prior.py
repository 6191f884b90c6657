"""d2Cache's certainty prior: confidence counts for more where much is known nearby."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from decoders.core import Decoder, Pred, State, only, option, share, top
from decoders.strategies.llada import per_window

REACH = 6  # standard deviations beyond which a neighbour counts for nothing
UNIT = 1 << 20  # weights are whole numbers, so that their sum is the same in any batch


@dataclass(frozen=True)
class CertaintyPrior(Decoder):
    """Commit an even share a step by confidence times the density of known tokens, each of them counting exp(-d^2 / (2 `sigma`^2))
    at distance d. d2Cache, 2509.23094.

    Text grows from what is known, mostly from the prompt to the right, without being held to that order. Whatever stands left of the
    window is known, and so are given and decided positions in it; what is right of it is not. The paper has this choose both what
    to commit and which keys and values to renew; here it commits, one token a step as there, or by `steps`. Its text was not
    available: that the density is a plain sum, larger in the middle of known text than at its edge, is our reading.
    """

    source: ClassVar[str] = "d2Cache, 2025, arXiv 2509.23094"
    steps: int | None = option(None, "forwards for the whole row; none: one per position", min=1)
    sigma: float = option(10.0, "standard deviation of a token's influence, in positions", min=0.1, max=1000)
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = p.draw(s, self.temperature)
        quota = share(s.opened, per_window(self.steps, s), s.step)
        return s.commit(top(only(s.open, confidence.double() * self.density(s)), quota), tokens, confidence)

    def density(self, s: State) -> Tensor:
        """(B, W) double: the sum of the weights of what is known, in units of one neighbour's; at least a unit of rounding."""
        W, K = s.tokens.shape[1], math.ceil(REACH * self.sigma)
        column = torch.arange(W, device=s.tokens.device)
        before = torch.arange(-K, 0, device=s.tokens.device)
        inside = ~s.open & (column < s.size[:, None])
        known = torch.cat([s.position[:, :1] + before >= 0, inside], 1)  # (B, K + W)
        distance = column[:, None] - torch.cat([before, column])  # (W, K + W)
        weight = (UNIT * (-(distance / self.sigma).square() / 2).exp()).long()
        return ((weight * known[:, None]).sum(-1) + 1).double() / UNIT
