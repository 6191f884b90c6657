"""Rules: functions that change a prediction before the strategy reads it."""

from __future__ import annotations

from dataclasses import dataclass

from decoders.core.pred import Pred
from decoders.core.state import State


@dataclass(frozen=True)
class Suppress:
    """Make some tokens impossible for every strategy. LLaDA calls this `logits_eos_inf` for the end token."""

    tokens: tuple[int, ...]

    def __call__(self, s: State, p: Pred) -> Pred:
        return p.without(self.tokens)
