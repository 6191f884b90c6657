"""Forwards of whole rows that store nothing, for plans that recompute everything in every forward.

The used columns of a row are at its left, so the columns up to the last one that any row needs are run. If all rows are
equally long and attention is bidirectional, one mask of zeros is enough for all of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from decoders.core import Forward, Pred, SessionSpec
from decoders.models.columns import gathered, parted, seen, size_of, widths
from decoders.models.work import Work
from decoders.stats.constants import counting


class Owner(Protocol):
    """The model whose rows are run."""

    shifted: bool
    block_causal: bool
    work: Work

    def states(self, tokens: Tensor, position: Tensor, sees: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(B, M, D) the last hidden states, and no attention."""

    def head(self, hidden: Tensor) -> Tensor:
        """(..., V) logits of hidden states."""


class WholeSession:
    """A session without probes and attention maps; otherwise it is like `TransformersSession`."""

    def __init__(self, owner: Owner, spec: SessionSpec) -> None:
        self.owner, self.spec = owner, spec
        self.sizes = spec.sizes or (spec.columns,)
        self.plain = not (owner.block_causal or spec.causal or spec.sight or spec.order)
        """Whether everything sees everything."""
        self.shapes: set[tuple[int, int, int]] = set()
        """(rows, columns, logit rows) of every part of a forward so far."""

    def take(self, rows: Tensor) -> None:
        self.spec = replace(self.spec, rows=len(rows))

    @property
    def buckets(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.sizes, widths(self.spec.width)

    def needs(self, f: Forward) -> Tensor:
        return torch.stack([f.compute.sum(-1), f.want.sum(-1)], 1)

    @torch.inference_mode()
    def __call__(self, f: Forward) -> Pred:
        counts = self.owner.work.counts(f.compute, f.until, f.want, f.unseen if self.spec.sight else None)
        columns, _, wanted = counts.tolist()
        at = gathered(f.want, f.want.shape[1], size_of(max(wanted), widths(f.want.shape[1])))
        bound = parted(columns) if len(columns) > 1 else None
        if bound is None:
            states = self.run(f, at, columns)
        else:
            few = [n <= bound for n in columns]
            parts = [[i for i, x in enumerate(few) if x is kind] for kind in (True, False)]
            rows = [torch.tensor(part, device=at.device) for part in parts]
            done = [
                self.run(part_of(f, r), at[r], [columns[i] for i in part])
                for part, r in zip(parts, rows, strict=True)
            ]
            states = torch.cat(done)[torch.cat(rows).argsort()]
        return self.pred(f, at, states, counts)

    @torch.inference_mode()
    def fixed(self, f: Forward, columns: int, rows: int) -> Pred:
        """A forward in which no row needs more than so many columns and logit rows, without a look at the host."""
        counts = self.owner.work.counts(f.compute, f.until, f.want, f.unseen if self.spec.sight else None)
        at = gathered(f.want, f.want.shape[1], rows)
        return self.pred(f, at, self.ran(f, at, columns, self.sight(f, columns, counts[0])), counts)

    def pred(self, f: Forward, at: Tensor, states: Tensor, counts: Tensor) -> Pred:
        cost = counts[0], self.owner.work.flops(counts)
        return Pred(self.owner.head(states), at, f.want.shape[1], cost, None, states)

    def run(self, f: Forward, at: Tensor, columns: list[int]) -> Tensor:
        """(B, N, D) the hidden states that predict the window positions `at (B, N)`, of rows that need so many
        columns."""
        M = size_of(max(*columns, 1), self.sizes)
        if self.plain and min(columns) == M:
            return self.ran(f, at, M, None)
        return self.ran(f, at, M, self.sight(f, M, torch.tensor(columns, device=at.device) if self.plain else None))

    def sight(self, f: Forward, M: int, count: Tensor | None) -> Tensor:
        """(B, 1 or M, M) bool: which of the first M columns those see; rows have `count (B,)`."""
        if self.plain and count is not None:
            return (counting(M, count.device) < count[:, None])[:, None]
        index = counting(M, f.at.device).expand(len(f.at), M)
        rank = None if f.rank is None else f.rank[:, :M]
        return seen(f.until, index, M, f.unseen if self.spec.sight else None, rank=rank)

    def ran(self, f: Forward, at: Tensor, M: int, sees: Tensor | None) -> Tensor:
        tokens = f.tokens[:, :M]
        states, _ = self.owner.states(tokens, counting(M, at.device).expand_as(tokens), sees)
        self.shapes.add((*tokens.shape, at.shape[1]))
        source = f.at.gather(1, at.clamp(max=f.at.shape[1] - 1))
        if self.owner.shifted and not self.spec.order:
            source = source - 1
        return states.gather(1, source.clamp(min=0, max=M - 1)[..., None].expand(-1, -1, states.shape[-1]))


def part_of(f: Forward, rows: Tensor) -> Forward:
    """What some of the rows (R,) show and see in a forward, and where their windows are."""
    rank = None if f.rank is None else f.rank[rows]
    return replace(f, tokens=f.tokens[rows], until=f.until[rows], unseen=f.unseen[rows], at=f.at[rows], rank=rank)
