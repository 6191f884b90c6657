"""An example plugin: a strategy, a wrapper and a cache policy."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from decoders import Around, Cache, Decoder, Pred, State, get, just_decided, only, option, refresh, share, top
from decoders.core import Canvas


@dataclass(frozen=True)
class ZigZag(Decoder):
    """Commit even positions before odd ones, the most confident first, an even share in each step."""

    block_steps: int = option(8, "forwards per block", min=1)

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = p.best()
        score = only(s.open, confidence - s.position % 2)
        quota = share(s.opened, self.block_steps, s.step).clamp(min=1)
        return s.commit(top(score, quota), tokens, confidence)


@dataclass(frozen=True)
class LeftHalf(Around):
    """Let the rule `base` commit only in the left half of the open positions."""

    base: Decoder = option(get("threshold"), "the rule that commits")

    def inner(self, s: State) -> State:
        number = s.open.cumsum(-1)
        return replace(s, open=s.open & (2 * number <= number[:, -1:] + 1))


@dataclass(frozen=True)
class Beat(Cache):
    """Recompute everything in every `every`-th forward of a row, and else the open and the just decided columns."""

    every: int = option(4, "forwards from one refresh to the next", min=1)

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        due = after.clock % self.every == 0
        return torch.where(due[:, None], refresh(after), after.open | just_decided(after, before))
