"""DAEDAL: the length of a text is chosen while decoding."""

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

    First the row has `initial` masked positions, and `grow` more after every forward, until the end is expected with at
    least `tau_eos` or the row has its full `length`. This expectation is a sum over the last `watched` positions whose
    likeliest token is a stop token, of the probability of that token, divided by `watched` even if there are fewer such
    positions. Then `watched` / 2 end tokens are added after the text, as far as there is room; if there is no room, the
    forward that found the length commits too. Then, in blocks, every prediction above `tau` is committed, and always
    the best one. If the end is expected with less than `tau_expand`, the block's least certain open position, if its
    confidence is below `tau_low`, becomes `grow` masks. The positions to its right move right, and those beyond the
    full length are dropped. Positions to which the row never grew become end tokens.

    The paper measures the confidence in the end where the text ends; the choice of these positions, and the end tokens
    after the text, follow the code. Blocks are counted over the present positions, so the last positions of a block
    that grows belong to the next block. A row with given tokens between the open ones (infilling) keeps its length
    after the first stage, because given tokens cannot be moved. In a block-causal model the row is the requested
    window. If the model has no stop tokens, a row has its full length at once.
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
        # all that can be edited is computed in every forward, so no cache reads a column whose token has moved
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
        """The state with so many end tokens after its present positions."""
        size = self.up_to(s, number)
        new = (s.place >= s.size[:, None]) & (s.place < size[:, None])
        return replace(s.commit(new, self.ends(s), torch.ones_like(s.confidence)), size=size)

    def ends(self, s: State) -> Tensor:
        """(B, W) long: end tokens; masks in a model without any, where none are needed."""
        return torch.full_like(s.tokens, s.stop_ids[0] if s.stop_ids else 0)

    def write(self, s: State, p: Pred, end: Tensor) -> State:
        """Commit in the block of the leftmost open position, expand in it, and fill positions that were never grown to
        with end tokens."""
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
        """The state with the one open position `where (B, W)` replaced by `grow` open ones; positions to its right move
        right."""
        at, more = where.long().argmax(-1, keepdim=True), self.grow - 1
        source = torch.where(s.place > at + more, s.place - more, torch.minimum(s.place, at))
        moved = {name: getattr(s, name).gather(1, source) for name in ("tokens", "open", "confidence", "committed_at")}
        return replace(s, **moved, size=self.up_to(s, more))

    def done(self, s: State) -> Tensor:
        return ~s.open.any(-1)
