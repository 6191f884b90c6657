"""Plan: how rows are decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from decoders.core.cache import Cache
from decoders.core.decoder import Decoder
from decoders.core.pred import Pred
from decoders.core.state import State
from decoders.core.windows import Windows

PATIENCE = 512
"""A decoder without a budget of steps is given up after so many forwards without a commitment."""

Rule = Callable[[State, Pred], Pred]
"""Changes a prediction before the strategy reads it: `(state, pred) -> pred`, pure and batched."""


@dataclass(frozen=True)
class Plan:
    """How rows are decoded; hashable, so that an engine can group rows by it."""

    decoder: Decoder
    windows: Windows
    cache: Cache
    rules: tuple[Rule, ...] = ()
    stop: bool = True
    """End a row at its first stop token, as soon as no position to its left is open."""
    max_steps: int | None = None
    """End a row after this many forwards."""


def patience(decoder: Decoder) -> int:
    """A row is given up after so many forwards without a commitment. A budget of steps ends by itself and may have long
    pauses before."""
    steps: int = getattr(decoder, "steps", None) or 0
    return max(PATIENCE, 2 * steps)
