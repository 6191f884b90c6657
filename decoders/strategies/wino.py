"""WINO: decide many tokens at once, and check each decided token against all others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, Query, State, above, only, option, top

FIRST = 30
"""The official code's initial value for the number of tokens decided in the forward before."""


@dataclass(frozen=True)
class WINO(Decoder):
    """Wide in, narrow out: commit every prediction above a low `tau`, and reopen decided tokens that the other
    positions no longer support. Hong et al. 2025, 2507.18578 (ICLR 2026); this follows its official code, because the
    paper's text was not available.

    Each forward decides the open positions with a confidence above `tau` (strict), at most a `share` of the open
    positions but no fewer than `fewest` and no more than `most`, and always the best one. In the same forward every
    decided position is predicted without seeing its own token, by a shadow copy of the block (`Query.left_out`). If
    this gives the token less than `tau_back`, it is reopened: the worst first, at most one fewer than the forward
    before has decided, and none in a forward that decides only one token. So at least one of the tokens that two
    forwards decide stays, and a window of W positions takes at most W forwards.

    The shadow has a mask token for every position of the block. Each sees what the block sees, except for its own
    position, and the other mask tokens of the shadow. The hidden states of other positions still depend on the left-out
    token, so one forward is only approximately leave-one-out. There is no shadow in a forward before which no position
    is decided.
    """

    source: ClassVar[str] = "Hong et al. 2025, arXiv 2507.18578"
    attested: ClassVar[Attested] = "replayed"
    needs_mask: ClassVar[bool] = True
    revises: ClassVar[bool] = True
    outcomes: ClassVar[tuple[str, ...]] = ("threshold passed", "forced minimum")
    tau: float = option(0.6, "confidence above which a token is decided", min=0, max=1)
    tau_back: float = option(0.9, "confidence below which a decided token is taken back", min=0, max=1)
    share: float = option(0.7, "share of the open positions that one forward may decide", min=0, max=1)
    fewest: int = option(5, "positions that one forward may decide, however few are open", min=1)
    most: int = option(20, "most positions that one forward may decide, however many are open", min=1)
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)

    def begin(self, s: State) -> State:
        return replace(s, memo=torch.full_like(s.size, FIRST))

    def query(self, s: State) -> Query:
        return Query(s.tokens, s.editable, left_out=s.decided)

    def step(self, s: State, p: Pred) -> State:
        before: Tensor = s.memo  # (B,) the number of positions that the forward before has decided
        tokens, confidence = p.draw(s, self.temperature)
        score = only(s.open, confidence)
        allowed = (self.share * s.open.sum(-1)).long().clamp(self.fewest, max(self.most, self.fewest))
        sure = above(score, confidence > self.tau)
        fill = sure & top(score, allowed)
        count = fill.sum(-1)
        support = p.prob(s.tokens)
        doubtful = s.decided & (support < self.tau_back) & (count > 1)[:, None]
        after = s.commit(fill, tokens, confidence).reopen(top(only(doubtful, -support), before - 1))
        return replace(after, memo=count)

    def outcome(self, s: State) -> Tensor:
        return (s.confidence <= self.tau).long()
