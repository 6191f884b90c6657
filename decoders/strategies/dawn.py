"""DAWN: attention maps decide which positions are committed together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from decoders.core import Attention, Attested, Decoder, Pred, Query, State, above, only, option, rank

ROUNDS = 8
"""Rounds of the independent set; a chain of conflicts longer than that is cut short, and fewer positions are
committed."""


@dataclass(frozen=True)
class DAWN(Decoder):
    """Dependency-aware commitment by attention: a position that depends on a certain token needs less confidence, and
    positions that depend on each other are not committed together. Luo et al. 2026, 2602.06953 (DAWN);
    `get_transfer_index_dawn`.

    A position depends on another if it attends to it with at least `tau_edge`, averaged over heads and the layers from
    the share `depth` of them on, except for sinks: positions that draw more than `tau_sink` of all attention, and more
    than `sink_times` an even share of it. These open positions are committed:

    1. those at or above `tau`;
    2. those at or above `tau_induce` that depend on an anchor: a decided position of the window where some token is
       predicted with at least `tau` now, or anything given or left of the window;
    3. of those at or above `tau_low` that depend on nothing in 1 and 2, the best one, then the next that has no
       dependency in either direction on one taken before, and so on: a greedy independent set.

    If there is none, the best one is committed. The set is found in a fixed number of rounds; each settles all
    positions without a better undecided neighbour at once, which gives the same set.

    The thresholds are the code's for LLaDA, and so is `depth`, 28 of 32 layers. `sink_times` is ours: a position that
    draws an even share of the attention draws more than 0.01 of it on any canvas below a hundred columns, where the
    code finds nothing but sinks and is `threshold:tau=0.7`; from 400 columns on the two are the same, and 0 is the
    code. The code also demands 0.9 of the predictions at prompt positions and in earlier blocks, which are not
    predicted here. In 3 it only excludes positions that depend on one that is in both 1 and 2, against the paper's
    words ("avoiding strongly coupled positions"), and it overwrites the first token of the prompt when its set runs out
    of positions.
    """

    source: ClassVar[str] = "Luo et al. 2026, arXiv 2602.06953"
    attested: ClassVar[Attested] = "replayed"
    tau: float = option(0.9, "confidence from which a token is committed whatever it depends on", min=0, max=1)
    tau_induce: float = option(0.7, "threshold for a position that depends on an anchor", min=0, max=1)
    tau_low: float = option(0.7, "threshold for a position that depends on nothing else committed", min=0, max=1)
    tau_edge: float = option(0.07, "attention from which a position depends on another", min=0, max=1)
    tau_sink: float = option(0.01, "mean attention above which a position is a sink", min=0, max=1)
    sink_times: float = option(4.0, "even shares of the attention that a sink must also exceed", min=0)
    depth: float = option(0.875, "share of the layers whose attention is left out, from the first on", min=0, max=0.999)

    @property
    def attention_from(self) -> float:
        return self.depth

    def query(self, s: State) -> Query:
        return Query(s.tokens, s.editable)

    def step(self, s: State, p: Pred) -> State:
        assert p.attention is not None
        tokens, confidence = p.best()
        edges = self.edges(p.attention, s.position)
        at = s.position[:, None].expand(-1, s.tokens.shape[1], -1)
        depends = edges.gather(2, at) & ~torch.eye(at.shape[-1], dtype=torch.bool, device=at.device)
        sure = s.open & (confidence >= self.tau)
        anchored = (edges & self.anchors(s, confidence, edges.shape[-1])[:, None]).any(-1)
        induced = s.open & (confidence >= self.tau_induce) & anchored
        free = s.open & (confidence >= self.tau_low) & ~(sure | induced) & ~self.excluded(depends, sure, induced)
        chosen = sure | induced | independent(free, only(free, confidence), depends | depends.mT)
        return s.commit(above(only(s.open, confidence), chosen), tokens, confidence)

    def edges(self, attention: Attention, columns: Tensor) -> Tensor:
        """(B, W, L) bool: the columns that the positions at `columns (B, W)` depend on."""
        bin_ = attention.weights.shape[-1] - 1
        rows = (attention.index < bin_).sum(-1, keepdim=True).clamp(min=1)
        drawn = attention.weights.sum(1) / rows  # (B, L)
        even = 1 / (drawn > 0).sum(-1, keepdim=True).clamp(min=1)
        sink = drawn > (self.sink_times * even).clamp(min=self.tau_sink)
        return (attention.rows(columns) >= self.tau_edge) & ~sink[:, None]

    def anchors(self, s: State, confidence: Tensor, columns: int) -> Tensor:
        """(B, L) bool: the anchors among so many `columns`, from the present predictions of the window's positions."""
        known = s.present & ~s.open & (~s.editable | (confidence >= self.tau))
        left = torch.arange(columns, device=s.tokens.device) < s.position[:, :1]
        return left.scatter(1, s.position, known)

    def excluded(self, depends: Tensor, sure: Tensor, induced: Tensor) -> Tensor:
        """(B, W) bool: the positions that depend on one that is committed in any case."""
        return (depends & (sure | induced)[:, None]).any(-1)


def independent(where: Tensor, score: Tensor, coupled: Tensor) -> Tensor:
    """(B, W) bool: of `where (B, W)`, in the order of `score (B, W)`, each that is `coupled (B, W, W)` to none taken
    before it."""
    order = rank(score)
    ahead = coupled & (order[:, None] < order[..., None])  # the second one comes before the first
    taken = torch.zeros_like(where)
    undecided = where
    for _ in range(ROUNDS):
        now = undecided & ~(ahead & undecided[:, None]).any(-1)
        taken = taken | now
        undecided = undecided & ~now & ~(coupled & now[:, None]).any(-1)
    return taken
