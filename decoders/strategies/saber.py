"""Saber: commit what is surer than the average so far, and take back what has lost most since."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from decoders.core import Decoder, Pred, Query, State, above, only, option, top


class Running(NamedTuple):
    """The confidences of all that the row has committed so far."""

    total: Tensor  # (B,) double
    number: Tensor  # (B,) long


@dataclass(frozen=True)
class Saber(Decoder):
    """Commit every prediction above the mean confidence of all commitments so far, at least `at_least` of them; then open those decided
    tokens again whose probability has fallen most since they were committed, half of `at_least` or a `share` of what was just
    committed, whichever is more. Saber, 2510.18165.

    It was available in a summary. That the mean runs over the whole row, that only a fall counts, that a token can be taken back no
    sooner than one forward after it was committed, and that fewer are taken back than were just committed, is our reading. The last
    makes it end: every forward decides at least one position more than it opens.
    """

    source: ClassVar[str] = "Saber, 2025, arXiv 2510.18165"
    revises: ClassVar[bool] = True
    at_least: int = option(2, "commit this many a forward in any case", min=1)
    share: float = option(0.125, "how many are taken back, of what was just committed", min=0, max=1)
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)

    def init(self, s: State) -> State:
        zero = torch.zeros_like(s.size)
        return replace(s, memo=Running(zero.double(), zero))

    def query(self, s: State) -> Query:
        return Query(s.tokens, s.editable)

    def step(self, s: State, p: Pred) -> State:
        memo: Running = s.memo
        tokens, confidence = p.draw(s, self.temperature)
        mean = memo.total / memo.number.clamp(min=1)
        score = only(s.open, confidence)
        sure = (confidence.double() > mean[:, None]) & (memo.number > 0)[:, None]
        where = above(score, sure, torch.full_like(s.step, self.at_least)) & s.open
        memo = Running(memo.total + torch.where(where, confidence, 0.0).double().sum(-1), memo.number + where.sum(-1))
        back = self.fallen(s, p, where.sum(-1))
        return replace(s.reopen(back).commit(where, tokens, confidence), memo=memo)

    def fallen(self, s: State, p: Pred, committed: Tensor) -> Tensor:
        """(B, W) bool: what is taken back where so many `committed (B,)` come in."""
        fall = s.confidence - p.prob(s.tokens)
        count = torch.maximum((self.share * committed).ceil().long(), torch.full_like(committed, self.at_least // 2))
        count = torch.minimum(count, committed - 1)
        return top(only(s.editable & ~s.open & (fall > 0), fall), count)
