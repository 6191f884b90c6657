"""dKV-Cache: keys and values settle one step after a token is decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from decoders.core import Attested, Cache, Canvas, Pred, State, just_decided, option, refresh


@dataclass(frozen=True)
class DKV(Cache):
    """Reuse decided positions, from one step after their commitment on; recompute open positions, anywhere on the row.
    Ma et al. 2025, dKV-Cache, 2505.15781, section 3.2 (dKV-Cache-Decode).

    A token's keys and values change most in the step that decides it, so those of the next forward, the first to show
    the token, are kept. For the same reason everything, including the prompt, is recomputed in a window's first two
    forwards, and then in every `refresh`-th one, as in the official code.
    """

    source: ClassVar[str] = "Ma et al. 2025, arXiv 2505.15781"
    attested: ClassVar[Attested] = "code"
    refresh: int = option(8, "forwards of a window from one refresh to the next", min=1)

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        due = (after.step < 2) | (after.step % self.refresh == 0)
        return torch.where(due[:, None], refresh(after), after.open | just_decided(after, before))
