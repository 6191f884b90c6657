"""Asking for something else: the leftmost open position from what stands left of it alone."""

from dataclasses import dataclass

import torch

from decoders import Decoder, Pred, Query, State, leftmost, option


@dataclass(frozen=True)
class Edge(Decoder):
    """Autoregression on any model that can be asked causally: one token a forward, from the left."""

    temperature: float = option(0.0, "0 takes the likeliest token", min=0)

    def query(self, s: State) -> Query:
        causal = torch.ones_like(s.key, dtype=torch.bool)  # (B,): all rows
        return Query(s.tokens, leftmost(s.open), causal)

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = p.draw(s, self.temperature)
        return s.commit(leftmost(s.open), tokens, confidence)
