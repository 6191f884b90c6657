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
"""Forwards without a commitment after which a decoder without a budget of steps will never make one."""

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
    """End a row at its first stop token, as soon as nothing left of that is open."""
    max_steps: int | None = None
    """End a row after this many forwards."""


def patience(decoder: Decoder) -> int:
    """After how many forwards without a commitment a row is given up. A budget of steps ends by itself, and may leave
    long pauses before it does."""
    steps: int = getattr(decoder, "steps", None) or 0
    return max(PATIENCE, 2 * steps)
