"""Fast-dLLM's two rules for committing several tokens at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, State, best, only, option, top


@dataclass(frozen=True)
class Threshold(Decoder):
    """Commit every prediction at or above `tau`, and always the best one. Wu et al. 2025, 2505.22618, Algorithm 1."""

    source: ClassVar[str] = "Wu et al. 2025, arXiv 2505.22618"
    attested: ClassVar[Attested] = "replayed"
    outcomes: ClassVar[tuple[str, ...]] = ("threshold passed", "forced minimum")
    tau: float = option(0.9, "confidence from which a token is committed", min=0, max=1)
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = p.draw(s, self.temperature)
        score = only(s.open, confidence)
        return s.commit((score >= self.tau) | best(score), tokens, confidence)

    def outcome(self, s: State) -> Tensor:
        return (s.confidence < self.tau).long()


@dataclass(frozen=True)
class Factor(Decoder):
    """Commit the n most confident predictions, for the largest n such that the i-th confidence is at least 1 - f / (i +
    1) for every i up to n; always at least one. Wu et al. 2025, 2505.22618, section 3.3 (Theorem 1: greedy parallel
    decoding is right while (n + 1)(1 - c) < f, where c is the n-th confidence).

    The published code commits every candidate if only the last one fails its bound; this implementation does not.
    """

    source: ClassVar[str] = "Wu et al. 2025, arXiv 2505.22618"
    attested: ClassVar[Attested] = "replayed"
    outcomes: ClassVar[tuple[str, ...]] = ("bound passed", "forced minimum")
    f: float = option(1.0, "larger commits more", min=0)
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = p.draw(s, self.temperature)
        score = only(s.open, confidence)
        ordered = score.sort(dim=-1, descending=True, stable=True).values
        n = torch.arange(1, score.shape[-1] + 1, device=score.device)
        passes = (ordered >= 1 - self.f / (n + 1)) & (ordered > -torch.inf)
        count = passes.long().cumprod(-1).sum(-1).clamp(min=1)
        return s.commit(top(score, count), tokens, confidence)

    def outcome(self, s: State) -> Tensor:
        return (s.confidence < 1 - self.f / 2).long()  # the bound for more than one is higher
