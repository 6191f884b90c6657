"""Prophet: commit all positions as soon as the model is sure of the answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from decoders.core import Around, Attested, Decoder, Pred, Query, State, Whole, Windows, choose, option
from decoders.strategies.llada import LLaDA


class Block(NamedTuple):
    """The block of the window that `base` works in."""

    number: Tensor  # (B,) long
    since: Tensor  # (B,) long  the window's step at which it was entered
    opened: Tensor  # (B,) long  positions that were open then


@dataclass(frozen=True)
class Prophet(Around):
    """Any rule, until the model is sure of the answer; then every open position takes its likeliest token of that
    forward. Li et al. 2025, 2508.19982 (early commit decoding).

    The model is sure if the gap between the logits of the two likeliest tokens, averaged over the answer's positions
    including decided ones, is at least `early` in the first third of the run (progress below 0.33), `mid` in the second
    (below 0.67) and `late` in the last. Progress is the share of `base`'s budget of forwards that is spent, including
    this one; if it has no budget, the share of decided positions. The answer is `answer_length` positions from the
    `answer_start`-th generated one on, as in the paper, whose prompts force the answer to a known place; without
    `answer_start`, which is ours, it is the whole row. A base that revises takes no further step once no position is
    open.

    The exit is for the whole row, so the row is one window, and `block` makes `base` work in blocks within it. In a
    block-causal model windows are as requested, and the exit ends the window.
    """

    source: ClassVar[str] = "Li et al. 2025, arXiv 2508.19982"
    attested: ClassVar[Attested] = "replayed"
    base: Decoder = option(LLaDA(), "the rule that commits before the exit")
    block: int | None = option(None, "positions of the blocks that base works in; none: one over the row", min=1)
    answer_start: int | None = option(
        None, "the first position of the answer, from 0; none: the answer is all of the row", min=0
    )
    answer_length: int = option(5, "positions of the answer, if it has a start", min=1)
    early: float = option(7.5, "logit gap, in the first third")
    mid: float = option(5.0, "logit gap, in the second third")
    late: float = option(2.5, "logit gap, in the last third")

    def windows(self, asked: Windows, block_causal: bool) -> Windows:
        return super().windows(asked, block_causal) if block_causal else Whole()

    def width(self, s: State) -> int:
        """Positions of a block."""
        return self.block or s.tokens.shape[1]

    def own(self, s: State) -> Block:
        return Block(torch.full_like(s.size, -1), s.step, s.opened)

    def begin(self, s: State) -> State:
        """The state in the block that contains the leftmost open position."""
        number = s.open.long().argmax(-1) // self.width(s)
        s = self.keeping(s, Block(number, s.step, (s.open & self.here(s, number)).sum(-1)))
        return self.begun(s, self.beneath(s))

    def here(self, s: State, number: Tensor) -> Tensor:
        """(B, W) bool: a block of the window."""
        return s.place // self.width(s) == number[:, None]

    def inner(self, s: State) -> State:
        """One block of several."""
        block: Block = s.memo.own
        part = s.within(self.here(s, block.number), block.opened, s.memo, since=block.since)
        return replace(part, windows=s.windows * ((s.size + self.width(s) - 1) // self.width(s)))

    def entered(self, s: State) -> State:
        """The state with the next block entered if the previous one has no open position."""
        over = ~(s.open & self.here(s, s.memo.own.number)).any(-1) & s.open.any(-1)
        return replace(s, memo=choose(over, self.begin(s).memo, s.memo))

    def answer(self, s: State) -> Tensor:
        """(B, W) bool"""
        if self.answer_start is None:
            return s.editable
        start = s.position.amin(-1) + self.answer_start  # a row's window begins at its first open position
        return s.editable & (s.position >= start[:, None]) & (s.position < start[:, None] + self.answer_length)

    def query(self, s: State) -> Query:
        asked = super().query(s)
        return replace(asked, want=asked.want | s.open | self.answer(s))

    def step(self, s: State, p: Pred) -> State:
        after = choose(self.sure(s, p), s.commit(s.open, *p.best()), super().step(s, p))
        return self.entered(replace(after, step=s.step + 1))

    def sure(self, s: State, p: Pred) -> Tensor:
        """(B,) bool"""
        answer = self.answer(s)
        first, second = p.top(2)[1].unbind(-1)
        gap = torch.where(answer, first.log() - second.log(), 0).sum(-1) / answer.sum(-1).clamp(min=1)
        steps = self.steps
        progress = 1 - s.open.sum(-1) / s.opened.clamp(min=1) if steps is None else (s.step + 1) / steps
        bar = torch.where(progress < 0.33, self.early, torch.where(progress < 0.67, self.mid, self.late))
        return (gap >= bar) & answer.any(-1)

    def done(self, s: State) -> Tensor:
        return ~s.open.any(-1)
