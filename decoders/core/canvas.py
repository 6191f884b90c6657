"""Canvas: all rows of a batch, what each of their columns sees, and the record of what is stored.

Column = position: prompts start at column 0 and there is no left padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from decoders.core.rows import LIVE, Rows
from decoders.core.store import Store


@dataclass(frozen=True, kw_only=True)
class Canvas(Rows):
    """Everything about a batch of rows, as tensors; never changed in place."""

    until: Tensor  # (B, L) long  position i sees the columns left of until[i]: its block's end, or the row's
    given: Tensor  # (B, L) bool  the prompt and other given positions
    reason: Tensor  # (B,)   long  LIVE, or why the row ended
    store: Store
    candidates: int = 0  # A, of the forwards

    @cached_property
    def reach(self) -> Tensor:
        """(B,) the first column that no row uses yet."""
        return torch.minimum(self.block_end, self.limit) if self.block_causal else self.limit

    @cached_property
    def live(self) -> Tensor:
        """(B,) bool"""
        return self.reason == LIVE
