"""LLaDA2.1: fill what is masked and edit what is decided, both from one forward."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from decoders.core.decoder import Decoder, Query
from decoders.core.options import option
from decoders.core.pred import Pred
from decoders.core.select import above, only, top
from decoders.core.state import State


class Edits(NamedTuple):
    """What a window has seen of editing."""

    post: Tensor  # (B,)   long  forwards that began with nothing open
    settled: Tensor  # (B,)   bool  the last of them changed nothing
    reopened: Tensor  # (B, W) long  how often each position was taken back


@dataclass(frozen=True)
class LLaDA2(Decoder):
    """Fill masks above `tau_mask`, change decided tokens where another one is above `tau_edit`. Bie et al. 2026, LLaDA2.1,
    2602.08676 (joint threshold decoding).

    Both comparisons are strict. If fewer than `at_least` masks are sure, the best ones are filled instead. Only what stood at the
    start of the forward is edited, and never the prompt. A window ends when a forward that began with nothing open has changed
    nothing, or after `max_post` such forwards; so it pays one forward for the finding that all is well, unless `max_post` is 0.

    `edit=remask` is T2M (Yao 2026, 2604.18738, Algorithm 1 with the trigger T2T-Remask): a suspect is masked again instead of
    overwritten, so that the next forward predicts it without itself in sight. Of the suspects the surest, at most a share
    `remask_share` of the decided positions but at least one, as in its code (by the paper's floor a short block could never take
    anything back). No position is taken back more than `max_remasks` times in a window. So it ends: a forward that begins with
    something open fills at least one, and a window of W positions takes at most (1 + max_remasks) W + max_post forwards.
    """

    source: ClassVar[str] = "Bie et al. 2026, arXiv 2602.08676; Yao 2026, arXiv 2604.18738"
    needs_mask: ClassVar[bool] = False
    revises: ClassVar[bool] = True
    tau_mask: float = option(0.95, "confidence above which a mask is filled", min=0)
    tau_edit: float = option(0.9, "confidence above which another token replaces a decided one; above 1: no editing", min=0)
    at_least: int = option(1, "fill this many a forward in any case", min=1)
    max_post: int = option(16, "forwards with nothing open, at most", min=0)
    edit: Literal["overwrite", "remask"] = option("overwrite", "what to do with a token that another one should replace")
    max_remasks: int = option(3, "remask only: how often a position may be taken back", min=0)
    remask_share: float = option(0.25, "remask only: share of the decided positions that one forward may take back", min=0, max=1)

    def begin(self, s: State) -> State:
        zero = torch.zeros_like(s.size)
        return replace(s, memo=Edits(zero, zero.bool(), torch.zeros_like(s.tokens)))

    def query(self, s: State) -> Query:
        return Query(s.tokens, s.editable, torch.zeros_like(s.key, dtype=torch.bool))

    def step(self, s: State, p: Pred) -> State:
        memo: Edits = s.memo
        tokens, confidence = p.best()
        fill = above(only(s.open, confidence), confidence > self.tau_mask, torch.full_like(s.step, self.at_least))
        suspect = s.editable & ~s.open & (tokens != s.tokens) & (confidence > self.tau_edit)
        if self.edit == "overwrite":
            after, reopened = s.edit(suspect, tokens, confidence), memo.reopened
        else:
            suspect = self.worst(s, suspect & (memo.reopened < self.max_remasks), confidence)
            after, reopened = s.reopen(suspect), memo.reopened + suspect
        full = ~s.open.any(-1)
        return replace(
            after.commit(fill, tokens, confidence),
            memo=Edits(memo.post + full, full & ~suspect.any(-1), reopened),
        )

    def worst(self, s: State, suspect: Tensor, confidence: Tensor) -> Tensor:
        """(B, W) bool: as many as may be taken back at once, those first whose other token is the surest."""
        allowed = (self.remask_share * (s.editable & ~s.open).sum(-1)).long().clamp(min=1)
        return top(only(suspect, confidence), allowed)

    def done(self, s: State) -> Tensor:
        memo: Edits = s.memo
        return ~s.open.any(-1) & (memo.settled | (memo.post >= self.max_post))
