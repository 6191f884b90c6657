"""LLaDA2.1: fill masked positions and edit decided ones, both from one forward."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, Query, State, above, only, option
from decoders.strategies.sdar import block_share


class Edits(NamedTuple):
    """The record of editing in a window."""

    post: Tensor  # (B,)   long  forwards that began with nothing open
    settled: Tensor  # (B,)   bool  the last of them changed nothing
    own: Any  # the memo of a subclass

    def after(self, s: State, revised: Tensor, own: Any) -> Edits:
        """After a forward on `s`, by which positions were `revised (B, W)`."""
        full = ~s.open.any(-1)
        return Edits(self.post + full, full & ~revised.any(-1), own)


@dataclass(frozen=True)
class FillAndRevise(Decoder):
    """Fill masks above `tau_mask` and, from the same forward, revise decided positions; a subclass defines how, in
    `revise`.

    If fewer than `at_least` masks are sure, the best ones are filled instead; with `block_steps`, at least as many as
    fall to this step if the block's positions, given ones counted, are spread over so many steps, the remainder over
    the first ones: the schedule of diffusers' `BlockRefinementScheduler`, also where the steps do not divide the block.
    Only tokens that were decided before the forward are revised, and never the prompt. A window ends when a forward
    that began with no open position has changed nothing, or after `max_post` such forwards; so it spends one forward to
    confirm its tokens, unless `max_post` is 0.
    """

    revises: ClassVar[bool] = True
    tau_mask: float = option(0.95, "confidence above which a mask is filled", min=0)
    at_least: int = option(1, "fill this many a forward in any case", min=1)
    block_steps: int | None = option(None, "in place of at_least: this step's share if so many fill a block", min=1)
    max_post: int = option(16, "forwards with nothing open, at most", min=0)

    def fresh(self, s: State) -> Any:
        """`Edits.own` at the beginning of a window."""
        return ()

    @abstractmethod
    def revise(self, s: State, p: Pred, own: Any) -> tuple[State, Tensor, Any]:
        """The state with some decided positions changed or taken back, which ones they are (B, W), and `Edits.own`
        after it."""
        raise NotImplementedError

    def begin(self, s: State) -> State:
        zero = torch.zeros_like(s.size)
        return replace(s, memo=Edits(zero, zero.bool(), self.fresh(s)))

    def query(self, s: State) -> Query:
        return Query(s.tokens, s.editable)

    def step(self, s: State, p: Pred) -> State:
        memo: Edits = s.memo
        tokens, confidence = p.best()
        due = self.at_least if self.block_steps is None else block_share(s, self.block_steps, s.step)
        fill = above(only(s.open, confidence), confidence > self.tau_mask, due)
        after, revised, own = self.revise(s, p, memo.own)
        return replace(after.commit(fill, tokens, confidence), memo=memo.after(s, revised, own))

    def done(self, s: State) -> Tensor:
        memo: Edits = s.memo
        return ~s.open.any(-1) & (memo.settled | (memo.post >= self.max_post))


@dataclass(frozen=True)
class LLaDA2(FillAndRevise):
    """Commit at masks above `tau_mask`, and replace a decided token where another one is above `tau_edit`. Bie et al.
    2026, LLaDA2.1, 2602.08676 (joint threshold decoding). Both comparisons are strict."""

    source: ClassVar[str] = "Bie et al. 2026, arXiv 2602.08676"
    attested: ClassVar[Attested] = "replayed"
    tau_edit: float = option(
        0.9, "confidence above which another token replaces a decided one; above 1: no editing", min=0
    )

    def revise(self, s: State, p: Pred, own: Any) -> tuple[State, Tensor, Any]:
        tokens, confidence = p.best()
        where = s.decided & (tokens != s.tokens) & (confidence > self.tau_edit)
        return s.edit(where, tokens, confidence), where, own
