"""What several rows of results say in the same words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rates:
    """Forwards, tokens and time of a run."""

    nfe: int
    """Forwards, one prompt or request after the other."""
    tokens: int
    """Generated ones: neither the prompt, nor a stop token, nor what stands right of it."""
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds

    @property
    def tokens_per_forward(self) -> float:
        return self.tokens / self.nfe
