"""No cache: every forward recomputes every column."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from decoders.core.canvas import Canvas
from decoders.core.forward import Cache
from decoders.core.pred import Pred
from decoders.core.state import State


@dataclass(frozen=True)
class NoCache(Cache):
    """Recompute everything, always; what the exact cache is held against."""

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        return torch.ones_like(after.open)
