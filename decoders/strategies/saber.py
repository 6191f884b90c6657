"""Saber: commit predictions that are surer than the average so far, and reopen tokens whose confidence fell most in one
forward."""

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
    """Sums of confidences of a row."""

    earlier: Sum  # over tokens decided in earlier windows
    here: Sum  # over tokens decided in this window
    before: Tensor  # (B, W) float  the confidence of every position in the forward before; 0 before a window's first


@dataclass(frozen=True)
class Saber(Decoder):
    """Commit every prediction above the mean confidence of the decided tokens, at least `at_least` of them; then reopen
    the decided positions whose confidence fell most, or rose least, since the forward before: half of `at_least`, or a
    `share` of the positions just committed, whichever is more. Dong et al. 2025, 2510.18165 (Saber);
    `generate_with_saber`.

    Decided tokens count in the mean with the confidence that they were committed with, and a position's confidence in a
    forward is that of the token predicted there now, whatever its present token is. There is no other condition, and a
    token committed in the same forward can be reopened: in a window's first forward, which has no forward before it,
    these are the least sure ones. A window that has just been filled is left unchanged. Fewer positions are reopened
    than were just committed, so every forward decides at least one more position.

    The paper's mean is over unmasked tokens; the code also counts tokens that it took back, which is not done here. The
    code also reopens positions in earlier blocks; here a finished window stays unchanged.
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
        """The sum over the decided positions of the window, without given ones."""
        return Sum(torch.where(s.decided, s.confidence, 0.0).double().sum(-1), s.decided.sum(-1))

    def fallen(self, s: State, committed: Tensor, fall: Tensor) -> Tensor:
        """(B, W) bool: the positions to reopen after so many were `committed (B,)`, by the fall of each position's
        confidence."""
        count = torch.maximum((self.share * committed).ceil().long(), torch.full_like(committed, self.at_least // 2))
        count = torch.where(s.open.any(-1), torch.minimum(count, committed - 1), 0)
        return top(only(s.decided, fall), count)
