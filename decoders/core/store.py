"""Store: what the keys and values of a batch were computed from, what of them is out of date, and what it all cost."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

NOTHING, APPROXIMATE = -1, -2
"""What `Store.tokens` holds where nothing is stored, and where what is stored saw keys and values that were out of
date."""


@dataclass(frozen=True)
class Store:
    """The books of a cache, column by column; the keys and values themselves belong to the model's session."""

    # (B, L) long  the tokens that the stored keys and values were computed from, NOTHING, or APPROXIMATE
    tokens: Tensor
    until: Tensor  # (B, L) long  and what they saw: the columns left of it,
    # (B, L, 2) long  less those from the first of these up to the second; all 0 unless queries say what positions see
    unseen: Tensor
    rank: Tensor  # (B, L) long  the order that "left of" goes by: that of the last forward (`Forward.rank`)
    stale: Tensor  # (B, L) bool  what a cache policy wants recomputed in the next forward
    computed: Tensor  # (B,)   long  positions that the model ran for this row
    reused: Tensor  # (B,)   long  positions whose keys and values it read from the store instead
    flops: Tensor  # (B,)   double  floating point operations that it spent; 0 where it does not tell
    kinds: Tensor  # (B, K) long  forwards of each of the decoder's `phases`; 0 where it has none
    memory: Any = None  # a cache policy's own tensors, leading dimension B; structure never changes

    @cached_property
    def nothing(self) -> Tensor:
        """(B, L) bool: columns of which nothing is stored."""
        return self.tokens == NOTHING
