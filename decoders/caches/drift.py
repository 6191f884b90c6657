"""Drift: the cache is out of date when the attention of the most attended token has changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from decoders.core import Attention, Attested, Cache, Canvas, Pred, State, just_decided, only, option, refresh


@dataclass(frozen=True)
class Watched:
    """The decided token that the open positions attend to most, and its own attention."""

    column: Tensor  # (B,) long
    attended: Tensor  # (B, L) float


@dataclass(frozen=True)
class Drift(Cache):
    """Watch the decided token that gets most attention from the open positions of the window, which changes least of
    all; once its own attention differs from that of the step before by a cosine similarity below `gamma`, recompute
    everything. Otherwise compute the open positions of the window, the tokens just decided, and the watched one. After
    Elastic-Cache, Nguyen-Tri et al. 2025, 2510.14973, without its layers.

    Elastic-Cache watches one token in every layer, and where one has drifted, it recomputes from the next layer on in
    the same forward, in a window that slides from the leftmost open position. Here one token is watched for all layers,
    with its attention averaged over heads and the layers that the decoder asks for, and the next forward recomputes
    everything; so a refresh costs more and comes later than in the paper.
    """

    source: ClassVar[str] = "after Nguyen-Tri et al. 2025, arXiv 2510.14973"
    attested: ClassVar[Attested] = "ours"
    needs_attention: ClassVar[bool] = True
    gamma: float = option(0.9, "cosine similarity below which everything is recomputed", min=0, max=1)

    def init(self, c: Canvas) -> Watched:
        return Watched(torch.zeros_like(c.start), torch.zeros_like(c.confidence))

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        memory: Watched = after.store.memory
        known = memory.attended.sum(-1) > 0
        now = attention(p).of(memory.column)
        drifted = known & (cosine_similarity(now, memory.attended, dim=-1) < self.gamma)
        watched = after.column == self.watched(after, before, p)[:, None]
        between = (after.open & after.window) | just_decided(after, before) | watched
        return torch.where(drifted[:, None], refresh(after), between)

    def remember(self, after: Canvas, before: State, p: Pred) -> Watched:
        column = self.watched(after, before, p)
        return Watched(column, attention(p).of(column).to(after.confidence.dtype))

    def watched(self, after: Canvas, before: State, p: Pred) -> Tensor:
        """(B,) long: the decided column that got most attention."""
        queries = torch.zeros_like(after.open).scatter(1, before.position, before.open)
        shown = (after.column < after.reach[:, None]) & ~after.open & ~just_decided(after, before)
        return only(shown, attention(p).onto(queries)).argmax(-1)


def attention(p: Pred) -> Attention:
    if p.attention is None:
        raise RuntimeError("the session was not asked for attention maps (SessionSpec.attention)")
    return p.attention
