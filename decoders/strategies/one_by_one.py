"""Windows of one position while a row reasons, so that every rule in them is autoregression."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from decoders.core import Rows, Windows


@dataclass(frozen=True)
class OneByOne:
    """Windows of one open position, and the given positions right of it, while a row reasons; then those of `blocks`,
    the first of them where the answer begins. Reasoning in the same block, and given positions in between, are not part
    of the answer's window: they keep seeing nothing to their right."""

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
        """The number of windows without reasoning, because the length of the reasoning is not known in advance."""
        return self.blocks.count(c)


def answering(c: Rows) -> Tensor:
    """(B,) bool: the rows of a canvas of `Hybrid` that have begun their answer; none before the first window, when
    there is no memo."""
    return torch.zeros_like(c.start, dtype=torch.bool) if c.memo is None else c.memo.answering


def begun(c: Rows) -> Tensor:
    """(B,) long: the column where the answer began."""
    return c.start if c.memo is None else c.memo.begun
