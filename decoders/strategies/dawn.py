"""DAWN: what to commit together, from what attends to what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from decoders.core import Attention, Decoder, Pred, State, above, only, option, rank

ROUNDS = 8
"""Rounds of the independent set; a chain of conflicts longer than that is cut short, and fewer positions are committed."""


@dataclass(frozen=True)
class DAWN(Decoder):
    """Dependency-aware commitment. DAWN, 2602.06953 (`get_transfer_index_dawn`).

    Two positions are coupled if one attends to the other with at least `tau_edge`, averaged over layers and heads, leaving out sinks:
    positions that draw more than `tau_sink` of all attention. Committed are, if they are open,

    1. what is at or above `tau`;
    2. what attends to a position that was decided with at least `tau`, from `tau_induce` on: its evidence is there;
    3. of what is at or above `tau_low` and coupled to nothing in 1 and 2, the best, then the next that is coupled to none taken before,
       and so on: a greedy independent set.

    If that is nothing, the best one. Prompt positions count as undecided here, as they were not predicted. The set is found in a fixed
    number of rounds that settle all positions without a better undecided neighbour at once, which is the same set.
    """

    source: ClassVar[str] = "DAWN, 2026, arXiv 2602.06953"
    tau: float = option(0.9, "confidence from which a token is committed whatever it is coupled to", min=0, max=1)
    tau_induce: float = option(0.7, "and if it attends to a sure decided one", min=0, max=1)
    tau_low: float = option(0.7, "and if it is coupled to nothing else that is committed", min=0, max=1)
    tau_edge: float = option(0.07, "attention from which two positions are coupled", min=0, max=1)
    tau_sink: float = option(0.01, "mean attention above which a position is a sink", min=0, max=1)

    def step(self, s: State, p: Pred) -> State:
        assert p.attention is not None
        tokens, confidence = p.best()
        depends = self.depends(p.attention, s.position)
        sure = s.open & (confidence >= self.tau)
        anchors = s.editable & ~s.open & (s.confidence >= self.tau)
        induced = s.open & (confidence >= self.tau_induce) & (depends & anchors[:, None]).any(-1)
        taken = sure | induced
        coupled = depends | depends.mT
        free = s.open & (confidence >= self.tau_low) & ~taken & ~(coupled & taken[:, None]).any(-1)
        chosen = taken | independent(free, only(free, confidence), coupled)
        return s.commit(above(only(s.open, confidence), chosen, torch.ones_like(s.step)), tokens, confidence)

    def depends(self, attention: Attention, columns: Tensor) -> Tensor:
        """(B, W, W) bool: whether the first position attends to the second."""
        bin_ = attention.weights.shape[-1] - 1
        rows = (attention.index < bin_).sum(-1, keepdim=True).clamp(min=1)
        drawn = attention.weights.sum(1) / rows  # (B, L)
        sink = drawn.gather(1, columns) > self.tau_sink
        edge = attention.among(columns) >= self.tau_edge
        itself = torch.eye(columns.shape[1], dtype=torch.bool, device=columns.device)
        return edge & ~sink[:, None] & ~itself


def independent(where: Tensor, score: Tensor, coupled: Tensor) -> Tensor:
    """(B, W) bool: of `where (B, W)`, in the order of `score (B, W)`, each that is `coupled (B, W, W)` to none taken before it."""
    order = rank(score)
    ahead = coupled & (order[:, None] < order[..., None])  # the second one comes before the first
    taken = torch.zeros_like(where)
    undecided = where
    for _ in range(ROUNDS):
        now = undecided & ~(ahead & undecided[:, None]).any(-1)
        taken = taken | now
        undecided = undecided & ~now & ~(coupled & now[:, None]).any(-1)
    return taken
