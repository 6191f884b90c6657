"""Windows: which part of the canvas a row works on next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from decoders.core.rows import Rows
from decoders.errors import UsageError
from decoders.stats.constants import everywhere


class Windows(Protocol):
    """The sequence of windows of each row: the start of the first one, the size of the next one, and their number."""

    @property
    def size(self) -> int:
        """W: the largest size of a window."""

    @property
    def block(self) -> int:
        """In block-causal models, the block size of the attention; the size of the windows divides it, unless it is
        1."""

    def first(self, c: Rows) -> Tensor:
        """(B,) the column where each row's first window starts, from `start`, its first open column."""

    def next(self, c: Rows) -> Tensor:
        """(B,) the size of the window that starts at `start`, before it is cut at the row's end."""

    def span(self, c: Rows) -> tuple[Tensor, Tensor]:
        """(B,) and (B,): in block-causal models, the first column of the attention block that contains the window at
        `start`, and the column after its last, before it is cut at the row's end. The columns between see each
        other."""

    def count(self, c: Rows) -> Tensor:
        """(B,) the number of windows of each row, from its first one at `start`."""


@dataclass(frozen=True)
class Whole:
    """One window, from a row's first open column to its end."""

    @property
    def size(self) -> int:
        return 1 << 40  # larger than any row, without overflow

    @property
    def block(self) -> int:
        return self.size

    def first(self, c: Rows) -> Tensor:
        return c.start

    def next(self, c: Rows) -> Tensor:
        return c.limit - c.start

    def span(self, c: Rows) -> tuple[Tensor, Tensor]:
        return c.start, c.limit

    def count(self, c: Rows) -> Tensor:
        return torch.ones_like(c.start)


@dataclass(frozen=True)
class Blocks:
    """Windows of one size. In block-causal models they are cut at absolute multiples of it, so that the tail of a
    prompt joins the first one (SDAR, 2510.06303); elsewhere they are counted from the first open column (LLaDA,
    2502.09992).

    `within`: the block size of a block-causal model's attention, if it is larger than a window (the sub-blocks of
    Fast-dLLM v2, 2509.26328, section 3.3), or 1 for a causal model, where windows may have any size. Raises
    `UsageError` for sizes below one, and if windows do not divide the block."""

    size: int
    within: int | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UsageError(f"a block needs at least one position, not {self.size}")
        if self.block > 1 and self.block % self.size:
            raise UsageError(f"blocks of {self.size} do not divide this model's attention blocks of {self.within}")

    @property
    def block(self) -> int:
        return self.within or self.size

    def first(self, c: Rows) -> Tensor:
        return c.start - self.lead(c) if self.cut(c) else c.start

    def next(self, c: Rows) -> Tensor:
        return self.size - self.lead(c) if self.cut(c) else everywhere(self.size, c.start)

    def span(self, c: Rows) -> tuple[Tensor, Tensor]:
        start = c.start // self.block * self.block
        return start, start + self.block

    @staticmethod
    def cut(c: Rows) -> bool:
        """Whether windows are cut at multiples of their size."""
        return c.block_causal and not c.causal_context

    def lead(self, c: Rows) -> Tensor:
        """(B,) the distance of `start` from the left end of its window."""
        return c.start % self.size

    def count(self, c: Rows) -> Tensor:
        return (c.limit - c.start + self.size - 1) // self.size


@dataclass(frozen=True)
class Sliding(Blocks):
    """Windows of one size that slide along the row: each begins at the first open column, and none is cut."""

    @staticmethod
    def cut(c: Rows) -> bool:
        return False


def one_by_one(windows: Windows) -> bool:
    """Whether they are the default windows of a causal model: blocks and windows of one position."""
    return windows.block == windows.size == 1
