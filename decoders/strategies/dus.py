"""Dilated unmasking: what is far apart is committed together, whatever was predicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from decoders.core import Decoder, Pred, State, option

LEVELS = 64


@dataclass(frozen=True)
class DUS(Decoder):
    """In step t of a block of B positions commit those on the stride of floor(B / `base`^t), at least 1; all is decided after
    ceil(log B) steps to that base. Dilated Unmasking Scheduler, 2506.19037.

    The set depends on nothing that the model says, so the number of forwards is known beforehand. The paper's text was not available:
    that strides start at the left end of the block, given positions counted, is our reading, and its optional threshold, below which
    a position is put off, is left out. A step of the schedule that would find all its positions given is skipped.
    """

    source: ClassVar[str] = "DUS, 2025, arXiv 2506.19037"
    base: int = option(2, "by what the stride is divided from one step to the next", min=2)
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = p.draw(s, self.temperature)
        level = torch.where(s.open, self.levels(s), LEVELS)
        return s.commit(level == level.amin(-1, keepdim=True), tokens, confidence)

    def levels(self, s: State) -> Tensor:
        """(B, W) long: the step in which each position's turn is, from 0."""
        t = torch.arange(1, LEVELS + 1, device=s.size.device)
        stride = (s.size[:, None] / float(self.base) ** t).long().clamp(min=1)  # (B, LEVELS)
        i = torch.arange(s.tokens.shape[1], device=s.size.device)
        return (i[:, None] % stride[:, None] == 0).to(torch.uint8).argmax(-1)
