"""Refreshes at fixed intervals: the prompt rarely, the response often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from decoders.core import Attested, Cache, Canvas, Pred, State, just_decided, option, refresh


@dataclass(frozen=True)
class Interval(Cache):
    """Recompute the given tokens every `prompt` forwards of a row and the others every `response` forwards; between,
    only the open positions of the window and the tokens decided last. After dLLM-Cache, Liu et al. 2025, 2506.06295,
    section 3.2, without its value similarity.

    The part that gives dLLM-Cache its accuracy is left out: between two refreshes it recomputes the quarter of the
    response whose values changed most, which it finds layer by layer inside the model, and it stores the outputs of
    attention and MLP. Here a policy decides for all layers before the forward, and keys and values are stored; only its
    schedule of refreshes is the same. For this reason the default `response` is short: the paper's scripts take 1 to 8
    with a quarter recomputed in between.
    """

    source: ClassVar[str] = "after Liu et al. 2025, arXiv 2506.06295"
    attested: ClassVar[Attested] = "ours"
    prompt: int = option(50, "forwards from one refresh of the given tokens to the next (K_p)", min=1)
    response: int = option(2, "forwards from one refresh of the others to the next (K_r)", min=1)

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        due = torch.where(after.editable, self.response, self.prompt)
        between = (after.open & after.window) | just_decided(after, before)
        return torch.where(after.clock[:, None] % due == 0, refresh(after), between)
