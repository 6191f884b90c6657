"""Saber: commit what is surer than the average so far, and take back what has lost most in one forward."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, Query, State, above, only, option, top


class Sum(NamedTuple):
    """Of confidences."""

    total: Tensor  # (B,) double
    number: Tensor  # (B,) long

    def __add__(self, other: Sum) -> Sum:  # type: ignore[override]
        return Sum(self.total + other.total, self.number + other.number)


class Running(NamedTuple):
    """What a row has come to."""

    earlier: Sum  # of what the windows before this one decided
    here: Sum  # and of what is decided in this one
    before: Tensor  # (B, W) float  the confidence of every position in the forward before; 0 before a window's first


@dataclass(frozen=True)
class Saber(Decoder):
    """Commit every prediction above the mean confidence of the decided tokens, at least `at_least` of them; then reopen
    the decided positions whose confidence fell most, or rose least, since the forward before: half of `at_least`, or a
    `share` of the positions just committed, whichever is more. Dong et al. 2025, 2510.18165 (Saber);
    `generate_with_saber`.

    Decided tokens count in the mean with the confidence that they were committed with, and a position's confidence in a
    forward is that of the token predicted there now, whatever stands there. Taken back is without any other condition,
    and what was committed in the same forward can be: in a window's first forward, where nothing came before, that is
    the least sure. A window that has just been filled is left as it is. Fewer are taken back than were just committed,
    so every forward decides at least one position more.

    The paper's mean is over what is unmasked; the code goes on counting what it took back, which is not done here. The
    code takes back in earlier blocks too; here a window that is finished stays.
    """

    source: ClassVar[str] = "Dong et al. 2025, arXiv 2510.18165"
    attested: ClassVar[Attested] = "replayed"
    revises: ClassVar[bool] = True
    at_least: int = option(2, "commit this many a forward in any case", min=1)
    share: float = option(0.125, "reopened positions, as a share of those just committed", min=0, max=1)
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)

    def init(self, s: State) -> State:
        none = Sum(torch.zeros_like(s.size).double(), torch.zeros_like(s.size))
        return replace(s, memo=Running(none, none, torch.zeros_like(s.confidence)))

    def begin(self, s: State) -> State:
        memo: Running = s.memo
        none = Sum(torch.zeros_like(memo.here.total), torch.zeros_like(memo.here.number))
        return replace(s, memo=Running(memo.earlier + memo.here, none, torch.zeros_like(s.confidence)))

    def query(self, s: State) -> Query:
        return Query(s.tokens, s.editable)

    def step(self, s: State, p: Pred) -> State:
        memo: Running = s.memo
        tokens, confidence = p.draw(s, self.temperature)
        mean = memo.earlier + memo.here
        sure = (confidence.double() * mean.number[:, None] > mean.total[:, None]) & (mean.number > 0)[:, None]
        where = above(only(s.open, confidence), sure, self.at_least) & s.open
        after = s.commit(where, tokens, confidence)
        after = after.reopen(self.fallen(after, where.sum(-1), memo.before.to(confidence.dtype) - confidence))
        return replace(after, memo=Running(memo.earlier, self.counted(after), confidence.to(s.confidence.dtype)))

    def counted(self, s: State) -> Sum:
        """Of the decided positions of the window, given ones left out."""
        return Sum(torch.where(s.decided, s.confidence, 0.0).double().sum(-1), s.decided.sum(-1))

    def fallen(self, s: State, committed: Tensor, fall: Tensor) -> Tensor:
        """(B, W) bool: what is taken back once so many `committed (B,)` have come in, by how much each position's
        confidence fell."""
        count = torch.maximum((self.share * committed).ceil().long(), torch.full_like(committed, self.at_least // 2))
        count = torch.where(s.open.any(-1), torch.minimum(count, committed - 1), 0)
        return top(only(s.decided, fall), count)
