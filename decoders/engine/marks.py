"""Marks: what is kept of every commitment, where somebody asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from decoders.core import Canvas, Forward, Plan, Pred, ruled, view


@dataclass(frozen=True)
class Marks:
    """Of a canvas of B rows and L columns."""

    logprob: Tensor  # (B, L) float  of the token at its commitment; NaN where it was not predicted then
    revised: Tensor  # (B,)   long   how often a decided position was changed or taken back

    @classmethod
    def blank(cls, c: Canvas) -> Self:
        return cls(torch.full_like(c.confidence, torch.nan), torch.zeros_like(c.key))

    def after(self, plan: Plan, before: Canvas, f: Forward, p: Pred, after: Canvas) -> Marks:
        """The marks with those of a forward: its canvas, what it predicted, and what became of it."""
        s = view(before)
        tokens, open_ = after.tokens.gather(1, f.at), after.open.gather(1, f.at)
        new = (after.committed_at.gather(1, f.at) == s.clock[:, None]) & s.editable & ~open_
        said = ruled(plan, s, f, p).prob(tokens).log().to(self.logprob.dtype)
        said = torch.where(f.want, said, torch.nan)
        kept = torch.where(new, said, self.logprob.gather(1, f.at))
        changed = s.decided & (open_ | (tokens != s.tokens)) & before.live[:, None]
        # past the last column of a row all places are the bin, whose mark nobody reads
        return Marks(self.logprob.scatter(1, f.at, kept), self.revised + changed.sum(-1))
