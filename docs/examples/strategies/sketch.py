"""Two modes in one decoder."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from decoders import Decoder, Pred, Query, State, above, choose, either, leftmost, only, option


@dataclass(frozen=True)
class Sketch(Decoder):
    """The first `start` tokens of a window from left to right; then a threshold over all that is open."""

    phases: ClassVar[tuple[str, ...]] = ("causal", "parallel")
    start: int = option(4, "positions that are written from left to right", min=0)
    tau: float = option(0.9, "then: probability from which a token is committed", min=0, max=1)

    def begin(self, s: State) -> State:
        return replace(s, memo=torch.zeros_like(s.key))  # (B,) long: tokens written from left to right so far

    def parallel(self, s: State) -> Tensor:
        """(B,) bool: each row is in a mode of its own."""
        return s.memo >= self.start

    def phase(self, s: State) -> Tensor:
        return self.parallel(s).long()

    def query(self, s: State) -> Query:
        one = Query(s.tokens, leftmost(s.open), torch.ones_like(s.key, dtype=torch.bool))
        return either(self.parallel(s), Query(s.tokens, s.open), one)

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = p.best()
        score = only(s.open, confidence)
        wide = s.commit(above(score, score >= self.tau), tokens, confidence)
        one = replace(s, memo=s.memo + 1).commit(leftmost(s.open), tokens, confidence)
        return choose(self.parallel(s), wide, one)
