"""Changing what was decided, and taking it back."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from decoders import Decoder, Pred, Query, State, above, only, option


@dataclass(frozen=True)
class Regret(Decoder):
    """A threshold that looks at each token once more, `after` forwards after it was committed."""

    revises: ClassVar[bool] = True
    tau: float = option(0.7, "probability from which a token is committed", min=0, max=1)
    doubt: float = option(0.3, "probability below which a decided token is taken back", min=0, max=1)
    after: int = option(2, "forwards between a commitment and the second look", min=1)

    def begin(self, s: State) -> State:
        return replace(s, memo=torch.zeros_like(s.open))  # (B, W) bool: had its second look, and gets no other

    def query(self, s: State) -> Query:
        return Query(s.tokens, s.editable)  # decided positions are predicted too, not only open ones

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = p.best()
        look = s.decided & ~s.memo & (s.clock[:, None] - s.committed_at >= self.after)
        swap = look & (tokens != s.tokens) & (confidence >= self.tau)
        drop = look & ~swap & (p.prob(s.tokens) < self.doubt)
        score = only(s.open, confidence)
        t = s.commit(above(score, score >= self.tau), tokens, confidence)
        return replace(t.edit(swap, tokens, confidence).reopen(drop), memo=s.memo | look)
