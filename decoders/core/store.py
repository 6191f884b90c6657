"""Store: what the keys and values of a batch were computed from, which of them are out of date, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

NOTHING, APPROXIMATE = -1, -2
"""Values of `Store.tokens` for a column that is not stored, and for one that was computed from keys and values that
were out of date."""


@dataclass(frozen=True)
class Store:
    """The record of a cache, column by column; the keys and values themselves belong to the model's session."""

    # (B, L) long  the tokens that the stored keys and values were computed from, NOTHING, or APPROXIMATE
    tokens: Tensor
    until: Tensor  # (B, L) long  and the columns they saw: those left of this one,
    # (B, L, 2) long  except those from the first of these up to the second; all 0 unless queries set a sight
    unseen: Tensor
    rank: Tensor  # (B, L) long  the order that defines "left of": that of the last forward (`Forward.rank`)
    stale: Tensor  # (B, L) bool  columns that the cache policy wants recomputed in the next forward
    computed: Tensor  # (B,)   long  positions that the model ran for this row
    reused: Tensor  # (B,)   long  positions whose keys and values it read from the store instead
    flops: Tensor  # (B,)   double  floating point operations that it spent; 0 if it does not report them
    kinds: Tensor  # (B, K) long  forwards of each of the decoder's `phases`; 0 if it has none
    memory: Any = None  # a cache policy's own tensors, leading dimension B; structure never changes

    @cached_property
    def nothing(self) -> Tensor:
        """(B, L) bool: columns that are not stored."""
        return self.tokens == NOTHING
