"""Asking for something else: each decided token without that token in sight."""

from dataclasses import dataclass
from typing import ClassVar

from decoders import Decoder, Pred, Query, State, above, only, option, top


@dataclass(frozen=True)
class Support(Decoder):
    """A threshold that takes back, in every second forward, the token which the others support least."""

    revises: ClassVar[bool] = True
    needs_mask: ClassVar[bool] = True
    tau: float = option(0.8, "probability from which a token is committed", min=0, max=1)
    least: float = option(0.2, "support below which a decided token is taken back", min=0, max=1)

    def query(self, s: State) -> Query:
        return Query(s.tokens, s.editable, left_out=s.decided)

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = p.best()
        score = only(s.open, confidence)
        chosen = above(score, score >= self.tau, at_least=2)  # at least two a forward, and at most one is taken back
        support = p.prob(s.tokens)  # as the others see it, without the token itself
        weak = s.decided & (support < self.least) & (s.step % 2 == 1)[:, None]
        back = top(only(weak, -support), 1) & (chosen.sum(-1) > 1)[:, None]
        return s.commit(chosen, tokens, confidence).reopen(back)
