"""Slow-Fast sampling: explore until the span in which the model is sure is stable, then fill that span quickly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, State, above, choose, only, option, top

EXPLORE, FAST = 0, 1


class Cycle(NamedTuple):
    """The phase of a row in its cycle of exploring and filling. Columns of the window count from 0."""

    fast: Tensor  # (B,) bool
    explored: Tensor  # (B,) long  forwards spent on exploring in this cycle
    ends: Tensor  # (B, history) long  the end of the span in the last of them; the newest is last
    end: Tensor  # (B,) long  the last column of the span that is being filled


@dataclass(frozen=True)
class SlowFast(Decoder):
    """Two phases in turns. In the exploring phase, each forward commits the most confident prediction and records the
    last position whose confidence is above `low`. Once this end has a standard deviation below `spread` over `history`
    forwards, the span reaches up to it (equation 8); after `explore` forwards without that, the span reaches up to its
    mean over the last `history` of them (equation 9). The filling phase commits every prediction in the span above
    `tau`, or else the most confident one, until the span is full. Wei et al. 2025, 2506.10848 (Slow-Fast Sampling).

    The defaults are the paper's (section 4); the official code has `tau=0.9,low=0.3,explore=6`. That code departs from
    the paper in ways that are not followed here: it always explores six forwards, even if the end is stable or nothing
    is left to decide; it commits all predictions at or above `tau` while exploring too, if there is more than one; it
    measures the span from the start of the block; and from the second filling forward on it cuts the canvas off after
    the span, so that later positions are not seen. Two details are our reading: if no position is above `low`, the end
    is the leftmost open position, and a cycle whose span is already full is followed by the next one. The paper's reuse
    of positions outside the span is left to the cache policy.
    """

    source: ClassVar[str] = "Wei et al. 2025, arXiv 2506.10848"
    attested: ClassVar[Attested] = "replayed"
    phases: ClassVar[tuple[str, ...]] = ("explore", "fast")
    tau: float = option(0.85, "confidence above which a token of the span is committed", min=0, max=1)
    low: float = option(0.1, "confidence above which a position may be the end of the span", min=0, max=1)
    spread: float = option(1.0, "positions by which the end may still vary", min=0)
    history: int = option(2, "forwards over which it may", min=1)
    explore: int = option(8, "forwards of exploring in one cycle, at most", min=1)
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)

    def begin(self, s: State) -> State:
        zero = torch.zeros_like(s.size)
        return replace(s, memo=Cycle(zero.bool(), zero, zero[:, None].expand(-1, self.history), zero))

    def phase(self, s: State) -> Tensor:
        return torch.where(s.memo.fast, FAST, EXPLORE)

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = p.draw(s, self.temperature)
        return choose(s.memo.fast, self.filled(s, tokens, confidence), self.explored(s, tokens, confidence))

    def explored(self, s: State, tokens: Tensor, confidence: Tensor) -> State:
        """A step of the slow phase, and whether it was the last one."""
        memo: Cycle = s.memo
        end = torch.where(s.open & (confidence > self.low), s.place, s.open.long().argmax(-1, keepdim=True)).amax(-1)
        s = s.commit(top(only(s.open, confidence), 1), tokens, confidence)
        count, ends = memo.explored + 1, torch.cat([memo.ends[:, 1:], end[:, None]], 1)
        settled = (count >= self.history) & (ends.double().std(-1, correction=0) < self.spread)
        over = settled | (count >= self.explore)
        end = torch.where(settled, end, self.mean(ends, count))
        return replace(s, memo=Cycle(over & span(s, end).any(-1), torch.where(over, 0, count), ends, end))

    def mean(self, ends: Tensor, count: Tensor) -> Tensor:
        """(B,) long: the mean of the last `history` of `ends (B, history)`, or of all if there were only `count (B,)`
        forwards; rounded down."""
        recorded = torch.arange(self.history, 0, -1, device=ends.device) <= count[:, None]
        return torch.where(recorded, ends, 0).sum(-1) // recorded.sum(-1)

    def filled(self, s: State, tokens: Tensor, confidence: Tensor) -> State:
        """A step of the fast phase, and whether the span is full."""
        memo: Cycle = s.memo
        score = only(span(s, memo.end), confidence)
        s = s.commit(above(score, confidence > self.tau), tokens, confidence)
        return replace(s, memo=memo._replace(fast=span(s, memo.end).any(-1)))


def span(s: State, end: Tensor) -> Tensor:
    """(B, W) bool: what is open up to column `end (B,)` of the window."""
    return s.open & (s.place <= end[:, None])
