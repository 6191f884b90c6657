"""KLASS: commit predictions that are confident and stable."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, State, only, option, top
from decoders.stats.reference import accumulator

UNKNOWN = -1


class History(NamedTuple):
    """Earlier predictions of the window's positions."""

    log_p: Tensor  # (B, W, V) float32  the last prediction
    # (B, W) long  successive forwards that changed it by less than eps; UNKNOWN if there is no last prediction
    stable: Tensor


@dataclass(frozen=True)
class KLASS(Decoder):
    """Commit every prediction with a confidence above `tau` whose distribution changed by less than `eps`, KL(now ||
    before), in each of the last `history` forwards; if there is none, commit an even share of the window by confidence.
    KLASS, 2511.05664.

    `unmask=max_conf` commits only the surest of those, and `min_kl` the one that moved least in this forward. Both
    comparisons are strict, and the share is LLaDA's for this step, at least one. The reference takes that share even if
    fewer positions are open, and then overwrites decided ones; here decided positions are never changed. It keeps
    predictions of the whole answer across blocks; here only the window is predicted, so the history starts with each
    window, which costs a block its first `history` forwards. The published settings for LLaDA are 0.6/0.015 (GSM8K),
    0.6/0.01 (MATH), 0.9/0.01 (HumanEval) and 0.7/0.01 (MBPP).

    It keeps the last distribution of every position of the window, 4 bytes for each token of the vocabulary.
    """

    source: ClassVar[str] = "KLASS, 2025, arXiv 2511.05664"
    attested: ClassVar[Attested] = "replayed"
    tau: float = option(0.6, "confidence above which a token may be committed", min=0, max=1)
    eps: float = option(0.015, "nats below which a prediction has not moved", min=0)
    history: int = option(2, "forwards in which it must not have moved", min=1)
    unmask: Literal["all", "max_conf", "min_kl"] = option("all", "which of the predictions that may be committed are")
    steps: int | None = option(None, "forwards for the whole row that the share is of; none: one per position", min=1)
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)

    def begin(self, s: State) -> State:
        nothing = torch.zeros(*s.tokens.shape, s.vocab, device=s.tokens.device)
        return replace(s, memo=History(nothing, torch.full_like(s.tokens, UNKNOWN)))

    def step(self, s: State, p: Pred) -> State:
        memo, moved = self.moved(s.memo, p)
        tokens, confidence = p.draw(s, self.temperature)
        sure = self.picked(s.open & (confidence > self.tau) & (memo.stable >= self.history), confidence, moved)
        quota = s.quota(self.steps).clamp(min=1)
        where = torch.where(sure.any(-1, keepdim=True), sure, top(only(s.open, confidence), quota))
        return replace(s, memo=memo).commit(where, tokens, confidence)

    def picked(self, sure: Tensor, confidence: Tensor, moved: Tensor) -> Tensor:
        """(B, W) bool: the positions that are committed, of those that are `sure (B, W)`."""
        if self.unmask == "all":
            return sure
        score = confidence if self.unmask == "max_conf" else -moved
        return top(only(sure, score), 1)

    def moved(self, memo: History, p: Pred) -> tuple[History, Tensor]:
        """The history with this prediction added, and (B, W) float32, the change of each prediction in nats; infinite
        if there was none before."""
        rows = p.rows
        log_p = p.spread(rows.log_softmax(-1, dtype=accumulator(rows)).float())
        here = p.spread(torch.ones_like(rows[:, 0], dtype=torch.bool))
        terms = torch.where(log_p > -torch.inf, log_p.exp() * (log_p - memo.log_p), 0.0)
        moved = torch.where(memo.stable >= 0, terms.sum(-1), torch.inf)
        stable = torch.where(moved < self.eps, memo.stable + 1, 0)
        return History(log_p, torch.where(here, stable, UNKNOWN)), moved
