"""Windows of one position while a row reasons, so that every rule in them is autoregression."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from decoders.core import Rows, Windows


@dataclass(frozen=True)
class OneByOne:
    """Windows of one open position while a row reasons, and of what is given right of it; then those of `blocks`, the
    first of them from where the answer begins. What was reasoned in the same block is not part of the answer's: it
    keeps seeing nothing to its right, and neither does what is given in between."""

    blocks: Windows

    @property
    def size(self) -> int:
        return self.blocks.size

    @property
    def block(self) -> int:
        return self.blocks.block

    def first(self, c: Rows) -> Tensor:
        return c.start

    def next(self, c: Rows) -> Tensor:
        later = c.open & (c.column > c.start[:, None])
        following = torch.where(later, c.column, c.limit[:, None]).amin(-1)
        return torch.where(answering(c), self.blocks.next(c), following - c.start)

    def span(self, c: Rows) -> tuple[Tensor, Tensor]:
        start, end = self.blocks.span(c)
        start = torch.where(answering(c), start.clamp(min=begun(c)), c.start)
        return start, torch.where(answering(c), end, c.start + 1)

    def count(self, c: Rows) -> Tensor:
        """As many as there would be without reasoning; how long that is, nobody knows beforehand."""
        return self.blocks.count(c)


def answering(c: Rows) -> Tensor:
    """(B,) bool, of a canvas that `Hybrid` decodes; before its first window, where there is no memo yet, nobody
    answers."""
    return torch.zeros_like(c.start, dtype=torch.bool) if c.memo is None else c.memo.answering


def begun(c: Rows) -> Tensor:
    """(B,) long: the column where the answer began."""
    return c.start if c.memo is None else c.memo.begun
