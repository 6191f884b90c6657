"""Fast-dLLM's two caches: everything is computed when a window is entered, and less in its later forwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from decoders.core import Attested, Cache, Canvas, Pred, State, refresh


@dataclass(frozen=True)
class Prefix(Cache):
    """Reuse the positions to the left of the window; recompute the window and everything to its right. Wu et al. 2025,
    Fast-dLLM, 2505.22618, section 3.2 (`generate_with_prefix_cache`).

    The first forward in a window refreshes everything, and its predictions count like any other's.
    """

    source: ClassVar[str] = "Wu et al. 2025, arXiv 2505.22618"
    attested: ClassVar[Attested] = "replayed"

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        return torch.where(after.fresh[:, None], refresh(after), after.column >= after.start[:, None])


@dataclass(frozen=True)
class Dual(Cache):
    """Reuse the positions to the left and to the right of the window, mask tokens included; recompute the window. Wu et
    al. 2025, Fast-dLLM, 2505.22618, section 3.2 (`generate_with_dual_cache`).

    The first forward in a window refreshes everything, and its predictions count like any other's. The June 2025 code
    always runs one more forward after that, even if nothing is left to decide; this does not. On a model with blocks
    larger than the windows this is the sub-block cache of Fast-dLLM v2 (2509.26328).
    """

    source: ClassVar[str] = "Wu et al. 2025, arXiv 2505.22618"
    attested: ClassVar[Attested] = "replayed"

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        return torch.where(after.fresh[:, None], refresh(after), after.window)
