"""Autoregression as a decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, Query, State, leftmost, option


def drawn_in_a_race(s: State, p: Pred, temperature: float) -> Tensor:
    """(B, W) long: a sample of a prediction that is already at `temperature`, with timeless noise; at 0 the likeliest
    token."""
    return p.race(s) if temperature > 0 else p.best()[0]


@dataclass(frozen=True)
class LeftToRight(Decoder):
    """Autoregression: predict the leftmost open position from the positions to its left, one a forward. It is block
    diffusion with blocks of one position (Arriola et al. 2025, 2503.09573, section 3.1). The model sees no later
    column, so its keys and values are reused exactly."""

    source: ClassVar[str] = "Arriola et al. 2025, arXiv 2503.09573"
    attested: ClassVar[Attested] = "paper"
    unbiased: ClassVar[bool] = True
    leftward: ClassVar[bool] = True
    maskless: ClassVar[bool] = True
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)
    top_p: float | None = option(None, "keep the smallest set of tokens with this probability", min=0, max=1)
    top_k: int | None = option(None, "keep this many tokens", min=1)
    race: bool = option(False, "draw by a race with timeless noise, so that `coupled` draws the same")

    def query(self, s: State) -> Query:
        return Query(s.tokens, leftmost(s.open), torch.ones_like(s.key, dtype=torch.bool))

    def step(self, s: State, p: Pred) -> State:
        if self.race:
            p = p.filtered(self.temperature, self.top_k, self.top_p)
            tokens = drawn_in_a_race(s, p, self.temperature)
            return s.commit(leftmost(s.open), tokens, p.prob(tokens))
        _, tokens, confidence = p.sample(s, self.temperature, self.top_k, self.top_p)
        return s.commit(leftmost(s.open), tokens, confidence)
