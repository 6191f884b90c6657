"""Dilated unmasking: positions that are far apart are committed together, independently of the predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, State, option

LEVELS = 64


@dataclass(frozen=True)
class DUS(Decoder):
    """In step t of a block of B positions, commit every position whose place in the block is a multiple of floor(B /
    `base`^t), at least 1; the block is full after at most ceil(log B) steps to that base. Dilated Unmasking Scheduler,
    2506.19037, equations 8 and 9.

    The set does not depend on predictions, so the number of forwards is known in advance. Given positions are counted,
    and a step whose positions are all given is skipped. `merge` is in the official code and not in the paper: a last
    step with fewer positions than the one before is merged with it, which saves a forward for some B that are no power
    of the base; a block of five positions is then decided at once. The code's option to postpone positions below a
    threshold is left out: it masks them and never returns to them, so that masks are left in the text.
    """

    source: ClassVar[str] = "DUS, 2025, arXiv 2506.19037"
    attested: ClassVar[Attested] = "replayed"
    base: int = option(2, "divisor of the stride from one step to the next", min=2)
    merge: bool = option(False, "a last step smaller than the one before joins it, as in the official code")
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = p.draw(s, self.temperature)
        level = torch.where(s.open, self.levels(s), LEVELS)
        return s.commit(level == level.amin(-1, keepdim=True), tokens, confidence)

    def levels(self, s: State) -> Tensor:
        """(B, W) long: the step in which each position is committed, counted from 0."""
        t = torch.arange(1, LEVELS + 1, device=s.size.device)
        stride = (s.size[:, None] / float(self.base) ** t).long().clamp(min=1)  # (B, LEVELS)
        level = (s.place[:, None] % stride[:, None] == 0).to(torch.uint8).argmax(-1)
        return self.merged(level, s.present) if self.merge else level

    def merged(self, level: Tensor, inside: Tensor) -> Tensor:
        """`level (B, W)` with the last one joined to the one before where it holds fewer of the positions that are
        `inside (B, W)`."""
        size = torch.zeros_like(level[:, :1]).expand(-1, LEVELS).scatter_add(1, level, inside.long())
        last = torch.where(inside, level, -1).amax(-1, keepdim=True)
        before = torch.where(inside & (level < last), level, -1).amax(-1, keepdim=True)
        smaller = (before >= 0) & (size.gather(1, last.clamp(min=0)) < size.gather(1, before.clamp(min=0)))
        return torch.where(smaller & (level == last), before, level)
