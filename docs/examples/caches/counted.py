"""A cache policy that remembers."""

from dataclasses import dataclass

import torch
from torch import Tensor

from decoders import Cache, Canvas, Pred, State, just_decided, option, refresh


@dataclass(frozen=True)
class Counted(Cache):
    """Refresh a row when `tokens` tokens were decided since the last refresh, and when it enters a window. Between
    those, recompute what is open in the window and what was just decided."""

    tokens: int = option(4, "tokens decided between two refreshes", min=1)

    def init(self, c: Canvas) -> Tensor:
        return torch.zeros_like(c.clock)  # (B,) long: tokens decided since the last refresh

    def counted(self, after: Canvas, before: State) -> Tensor:
        """(B,) long: that number with the last step's tokens."""
        memory: Tensor = after.store.memory
        return memory + just_decided(after, before).sum(-1)

    def due(self, after: Canvas, before: State) -> Tensor:
        """(B,) bool"""
        return (after.step == 0) | (self.counted(after, before) >= self.tokens)

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        between = (after.open & after.window) | just_decided(after, before)  # (B, L)
        return torch.where(self.due(after, before)[:, None], refresh(after), between)

    def remember(self, after: Canvas, before: State, p: Pred) -> Tensor:
        return torch.where(self.due(after, before), 0, self.counted(after, before))
