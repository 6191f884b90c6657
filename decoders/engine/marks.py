"""Marks: a record of every commitment, if it is requested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from decoders.core import Canvas, Forward, Plan, Pred, ruled, view
from decoders.stats import reference


@dataclass(frozen=True)
class Marks:
    """Of a canvas of B rows and L columns, with the K likeliest tokens of each; NaN where a position was not predicted
    in the forward that committed it."""

    logprob: Tensor  # (B, L) float  of the token at its commitment
    revised: Tensor  # (B,)   long   the number of times that a decided position was changed or reopened
    token: Tensor  # (B, L, K) long  the likeliest tokens of that forward, likeliest first
    likely: Tensor  # (B, L, K) float  and their log probabilities

    @classmethod
    def blank(cls, c: Canvas, top: int) -> Self:
        unknown = torch.full_like(c.confidence, torch.nan)
        likely = unknown[..., None].repeat(1, 1, top)
        return cls(unknown, torch.zeros_like(c.key), torch.zeros_like(likely, dtype=torch.long), likely)

    def after(self, plan: Plan, before: Canvas, f: Forward, p: Pred, after: Canvas) -> Marks:
        """The marks after a forward, from its canvas, its prediction, and the canvas after it."""
        s = view(before)
        tokens, open_ = after.tokens.gather(1, f.at), after.open.gather(1, f.at)
        new = (after.committed_at.gather(1, f.at) == s.clock[:, None]) & s.editable & ~open_
        p = ruled(plan, s, f, p)
        said = p.prob(tokens).log().to(self.logprob.dtype)
        said = torch.where(f.want, said, torch.nan)
        changed = s.decided & (open_ | (tokens != s.tokens)) & before.live[:, None]
        token, likely = self.token, self.likely
        if likely.shape[-1]:
            others, worth = likeliest(p, likely.shape[-1])
            worth = torch.where(f.want[..., None], worth.to(likely.dtype), torch.nan)
            token, likely = kept(token, f.at, new, others), kept(likely, f.at, new, worth)
        # past the last column of a row all places are the bin, whose mark is not read
        return Marks(kept(self.logprob, f.at, new, said), self.revised + changed.sum(-1), token, likely)

    def of(self, row: int, here: Tensor) -> tuple[tuple[float | None, ...], tuple[tuple[tuple[int, float], ...], ...]]:
        """Of the columns `here (L,)` of a row: each one's log probability, and its likeliest tokens with theirs."""
        said, token, likely = (x[row][here].tolist() for x in (self.logprob, self.token, self.likely))
        pairs = (zip(*x, strict=True) for x in zip(token, likely, strict=True))
        top = tuple(tuple((t, v) for t, v in x if -torch.inf < v) for x in pairs)
        return tuple(None if x != x else x for x in said), top


def likeliest(p: Pred, most: int) -> tuple[Tensor, Tensor]:
    """(B, W, K) long and (B, W, K): the likeliest tokens, the likeliest first, and their log probabilities."""
    rows = p.rows
    worth, token = rows.to(reference.accumulator(rows)).log_softmax(-1).topk(most, -1)
    return p.spread(token), p.spread(worth)


def kept(old: Tensor, at: Tensor, new: Tensor, x: Tensor) -> Tensor:
    """The marks `old (B, L, ...)` with `x (B, W, ...)` in those of the columns `at (B, W)` that are `new`."""
    beyond = (*at.shape, *[1] * (old.dim() - 2))
    at, new = at.view(beyond).expand_as(x), new.view(beyond)
    return old.scatter(1, at, torch.where(new, x, old.gather(1, at)))
