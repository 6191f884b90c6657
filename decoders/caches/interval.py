"""dLLM-Cache: the prompt is refreshed rarely, the response often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from decoders.core import Cache, Canvas, Pred, State, just_decided, option, refresh


@dataclass(frozen=True)
class Interval(Cache):
    """Recompute the given tokens every `prompt` forwards of a row and the others every `response` forwards; between, only the open
    positions of the window and the tokens decided last. Liu et al. 2025, dLLM-Cache, 2506.06295, section 3.2.

    The paper also renews, between two refreshes, the quarter of the response whose values drifted most, which it finds out layer
    by layer inside the model. That part is left out here: a policy decides for all layers before the forward.
    """

    source: ClassVar[str] = "Liu et al. 2025, arXiv 2506.06295"
    prompt: int = option(50, "forwards from one refresh of the given tokens to the next (K_p)", min=1)
    response: int = option(2, "forwards from one refresh of the others to the next (K_r)", min=1)

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        due = torch.where(after.editable, self.response, self.prompt)
        between = (after.open & after.window) | just_decided(after, before)
        return torch.where(after.clock[:, None] % due == 0, refresh(after), between)
