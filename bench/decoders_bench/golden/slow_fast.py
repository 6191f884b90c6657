"""Replay of Slow-Fast Sampling, whose code differs from its paper.

A case passes if this library, with the code's constants, gives the recorded run. Otherwise the case is repeated with
the code's own rule, which is written here: if that gives the recorded run, the differences are the known ones, and the
case is the reference's bug; if not, it fails.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from decoders import Decoder, Pred, Query, State, above, choose, get, only
from decoders_bench.golden.cases import Case, MismatchError, WrongReferenceError
from decoders_bench.golden.models import Models
from decoders_bench.golden.trajectory import Setup, free, job_of, trajectory

TAU, LOW, FORWARDS = 0.9, 0.3, 6
WHY = (
    "the code always explores six forwards and commits all above its threshold meanwhile, and fills on a canvas that "
    "is cut "
    "off; the paper commits the top k_slow and ends exploring once the end has settled (2506.10848, section 3.3, "
    "equation 8)"
)


class Cycle(NamedTuple):
    """The state of a block. Columns count from its start."""

    start: Tensor  # (B,) long  the length that the previous spans have filled
    explored: Tensor  # (B,) long  forward passes of exploration in this cycle
    ends: Tensor  # (B, 2) long  the lengths found by the last two of them
    end: Tensor  # (B,) long  the length that is being filled
    fixed: Tensor  # (B,) bool  `end` is final


@dataclass(frozen=True)
class AsCoded(Decoder):
    """`generate_slow_fast_sampling`."""

    def begin(self, s: State) -> State:
        zero = torch.zeros_like(s.size)
        return replace(s, memo=Cycle(zero, zero, zero[:, None].expand(-1, 2), s.room, zero.bool()))

    def query(self, s: State) -> Query:
        return Query(s.tokens, s.open)

    def step(self, s: State, p: Pred) -> State:
        m: Cycle = s.memo
        exploring, (tokens, confidence) = m.explored < FORWARDS, p.best()
        column = torch.arange(s.tokens.shape[1])
        far = torch.where(s.open & (confidence >= LOW), column + 1, 0).amax(-1)
        m = choose(exploring, self.measured(m, torch.where(far > m.start, far, m.start + 1)), m)
        last = torch.where(exploring, s.room, m.end)
        score = only(s.open & (column >= m.start[:, None]) & (column < last[:, None]), confidence)
        sure = (confidence >= TAU) & (score > -torch.inf)
        sure = sure & (sure.sum(-1, keepdim=True) > 1)
        after = s.commit(above(score, sure), tokens, confidence)
        left = (after.open & (column < m.end[:, None])).any(-1)
        over = (m.explored >= FORWARDS) & ~left
        zero = torch.zeros_like(m.explored)
        new = Cycle(m.end, zero, m.ends, m.end, zero.bool())
        size = torch.where(~exploring & left, m.end, s.room)
        return replace(after, memo=choose(over, new, m), size=size)

    def measured(self, m: Cycle, length: Tensor) -> Cycle:
        """The cycle after one more forward pass of exploration, which found `length (B,)`."""
        n, ends = m.explored + 1, torch.cat([m.ends[:, 1:], length[:, None]], 1)
        settled = (n >= 2) & (ends.double().std(-1, correction=0) < 1)
        end = torch.where(settled, length, torch.where(n >= 2, ends.sum(-1) // 2, m.end))
        return m._replace(explored=n, ends=ends, end=torch.where(m.fixed, m.end, end), fixed=m.fixed | settled)

    def done(self, s: State) -> Tensor:
        m: Cycle = s.memo
        return ~s.open.any(-1) & (m.explored == 0)


def slow_fast(case: Case, models: Models) -> str:
    """Raises `MismatchError`, or `WrongReferenceError` if only the known deviations of the reference differ."""
    block = case.params["block_length"]
    try:
        return trajectory(case, models, Setup(get("slow_fast", tau=TAU, low=LOW, explore=FORWARDS), Pred.best, block))
    except MismatchError as e:
        free(job_of(case, models, Setup(AsCoded(), Pred.best, block)))
        raise WrongReferenceError(f"from forward {e.step} on: {WHY}") from e
