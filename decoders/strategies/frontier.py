"""Parallel commitment roughly from left to right: only near the leftmost open position, or only a prefix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from decoders.core import Around, Attested, Decoder, Pred, State, leftmost, option, until_first
from decoders.strategies.fast_dllm import Threshold


@dataclass(frozen=True)
class Frontier(Around):
    """Frontier-gated commitment: any rule, but it may commit only among the `w` positions that begin with the leftmost
    open one. "Answer First, Reason Later", 2608.05687.

    Without a gate, a masked diffusion model commits a final answer long before its reasoning is written. With `w=1` it
    writes from left to right, one position a forward, while the model still sees both directions; with `w` as large as
    the window it is `base`. Only the paper's abstract was available. It is our reading that `base` sees no candidate
    beyond `w`, instead of losing some of its selected positions; so the likeliest candidate is always one that may be
    committed.
    """

    source: ClassVar[str] = "Answer First, Reason Later, 2026, arXiv 2608.05687"
    attested: ClassVar[Attested] = "abstract"
    keeps_law: ClassVar[bool] = True
    w: int = option(4, "positions from the leftmost open one on in which it may commit", min=1)
    base: Decoder = option(Threshold(), "the rule that commits")

    def inner(self, s: State) -> State:
        reached = (s.open.cumsum(-1) > 0).cumsum(-1)  # from the leftmost open position on: 1, 2, 3, ...
        return s.within(~s.open | (reached <= self.w), s.opened, s.memo)


@dataclass(frozen=True)
class Pard(Decoder):
    """Commit the open positions from the leftmost one on, as far as each prediction is at or above `tau`, and always
    the leftmost. PARD, 2607.24306: block diffusion is best decoded from left to right, so what is committed in parallel
    is a prefix. Only the paper's abstract was available; the test of a prediction by its confidence is that of
    `threshold`."""

    source: ClassVar[str] = "PARD, 2026, arXiv 2607.24306"
    attested: ClassVar[Attested] = "abstract"
    tau: float = option(0.9, "confidence from which a token is committed", min=0, max=1)
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = p.draw(s, self.temperature)
        prefix = until_first(s.open & (confidence < self.tau))
        return s.commit(prefix | leftmost(s.open), tokens, confidence)
