"""DAEDAL: a text as long as it needs to be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, Query, State, Whole, Windows, above, choose, only, option, top


@dataclass(frozen=True)
class Daedal(Decoder):
    """Begin with a short canvas, lengthen it until the model predicts that the text ends within it, then insert mask
    tokens where the model is least confident. Li et al. 2025, 2508.00819 (DAEDAL); `LLaDA_DAEDAL.generate`.

    First the row has `initial` positions, all masked, and `grow` more after every forward, until the end is expected
    with at least `tau_eos` or the row has its full `length`. How much the end is expected is summed from the right over
    the last `watched` positions whose likeliest token is a stop token, as its probability, and divided by `watched`,
    however few there are. Then half of `watched` end tokens are given behind the text, as far as there is room; where
    there is none, the forward that found the length commits too. Then, in blocks, whatever is above `tau` is committed
    and always the best; and where the end is expected with less than `tau_expand`, the block's least certain open
    position, if its confidence is below `tau_low`, becomes `grow` masks. What lies right of it moves up, and beyond the
    full length it falls off. What the row never grew to ends up as end tokens.

    The paper says that the confidence in the end is looked at where the text ends; which positions those are, and the
    end tokens behind the text, are the code's. Blocks are counted over the positions as they stand, so one that grows
    hands its last positions on to the next. A row with given tokens between the open ones (infilling) keeps its length
    after the first stage, for they cannot be moved. In a block-causal model the row is the window that was asked for.
    Without stop tokens in the model a row has its full length at once.
    """

    source: ClassVar[str] = "Li et al. 2025, arXiv 2508.00819"
    attested: ClassVar[Attested] = "replayed"
    needs_mask: ClassVar[bool] = True
    revises: ClassVar[bool] = True
    initial: int = option(64, "positions to begin with", min=1)
    grow: int = option(8, "positions to grow by, and masks that an uncertain one becomes", min=1)
    watched: int = option(32, "positions over which the end is looked for", min=1)
    tau_eos: float = option(0.5, "probability of the end from which the length will do", min=0, max=1)
    tau: float = option(0.9, "confidence above which a token is committed", min=0, max=1)
    tau_low: float = option(0.1, "confidence below which a position is expanded", min=0, max=1)
    tau_expand: float = option(0.9, "probability of the end from which nothing is expanded any more", min=0, max=1)
    block: int = option(32, "positions of a block", min=1)

    def windows(self, asked: Windows, block_causal: bool) -> Windows:
        return asked if block_causal else Whole()

    def begin(self, s: State) -> State:
        size = s.room.clamp(max=self.initial) if s.stop_ids else s.room
        return replace(s, size=size, memo=torch.zeros_like(size).bool())

    def query(self, s: State) -> Query:
        return Query(s.tokens, s.editable)

    def step(self, s: State, p: Pred) -> State:
        end, behind = self.expected_end(s, p), self.watched // 2
        found: Tensor = s.memo | (end >= self.tau_eos) | (s.size >= s.room)
        writing = s.memo | found & ((s.size >= s.room) | (behind == 0))
        longer = choose(found, self.closed(s, behind), replace(s, size=self.up_to(s, self.grow)))
        return replace(choose(writing, self.write(s, p, end), longer), memo=found)

    def expected_end(self, s: State, p: Pred) -> Tensor:
        """(B,) the probability of a stop token, over the last `watched` positions where one is the likeliest."""
        tokens, confidence = p.best()
        ends = s.editable & s.present & s.is_stop(tokens)
        last = ends & (ends.flip(-1).cumsum(-1).flip(-1) <= self.watched)
        return torch.where(last, confidence, 0).sum(-1) / self.watched

    def up_to(self, s: State, more: int) -> Tensor:
        """(B,) long: the size with so many positions more, or as many as there is room for."""
        return torch.minimum(s.size + more, s.room)

    def closed(self, s: State, number: int) -> State:
        """With so many end tokens behind what there is."""
        size = self.up_to(s, number)
        new = (s.place >= s.size[:, None]) & (s.place < size[:, None])
        return replace(s.commit(new, self.ends(s), torch.ones_like(s.confidence)), size=size)

    def ends(self, s: State) -> Tensor:
        """(B, W) long: end tokens; masks in a model without any, where none are needed."""
        return torch.full_like(s.tokens, s.stop_ids[0] if s.stop_ids else 0)

    def write(self, s: State, p: Pred, end: Tensor) -> State:
        """Commit in the block of the leftmost open position, expand in it, and close what was never grown to."""
        tokens, confidence = p.best()
        open = s.open & s.present
        here = s.place // self.block == (open.long().argmax(-1) // self.block)[:, None]
        candidates = only(open & here, confidence)
        sure = above(candidates, confidence > self.tau)
        after = s.commit(sure, tokens, confidence)
        least = top(only(open & here & ~sure, -confidence), 1) & (confidence < self.tau_low)
        movable = (s.editable == (s.place < s.room[:, None])).all(-1)
        expands = (s.size < s.room) & (end < self.tau_expand) & movable
        after = choose(expands & least.any(-1), self.expanded(after, least), after)
        full = ~(after.open & after.present).any(-1)
        tail = after.open & full[:, None]
        if s.stop_ids:
            after = after.commit(tail, self.ends(s), torch.zeros_like(confidence))
        return replace(after, size=torch.where(full, s.room, after.size))

    def expanded(self, s: State, where: Tensor) -> State:
        """With the one open position `where (B, W)` made `grow` open ones, and what lies right of it moved up."""
        at, more = where.long().argmax(-1, keepdim=True), self.grow - 1
        source = torch.where(s.place > at + more, s.place - more, torch.minimum(s.place, at))
        moved = {name: getattr(s, name).gather(1, source) for name in ("tokens", "open", "confidence", "committed_at")}
        return replace(s, **moved, size=self.up_to(s, more))

    def done(self, s: State) -> Tensor:
        return ~s.open.any(-1)
