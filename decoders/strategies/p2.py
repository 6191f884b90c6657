"""P2, path planning: which positions show a token is planned anew at every step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from decoders.core import Decoder, Pred, Query, State, choose, either, only, option, top
from decoders.strategies.llada import per_window


class Draft(NamedTuple):
    """What the denoiser has drawn, between its forward and the planner's."""

    tokens: Tensor  # (B, W) long
    confidence: Tensor  # (B, W) float
    planning: Tensor  # (B,)   bool  the next forward is the planner's


@dataclass(frozen=True)
class P2(Decoder):
    """Keep the best-scored share kappa of the window, whether drawn just now or decided long ago, and mask the rest. Peng et al. 2025,
    2502.03540, Algorithm 1; kappa at step i of T is i / T.

    Open positions are scored by the log-probability of the token that is drawn for them, decided ones by that of the token that
    stands there, times `eta`: 0 never takes a token back (LLaDA's schedule), 1 is the paper's self-planning, more takes back more.
    `score=drawn` scores a decided position by the token that would be drawn there now, as the official code does; a token that the
    model would replace by a likelier one then counts as good.

    `planner=forward` has the decided tokens scored by a second forward, over the text with its blanks filled in: by the model itself, or
    by another one (`decoders.models.planner.WithPlanner`; the paper takes a BERT). So a step is two forwards.
    At a temperature the official code scores with its Gumbel noise; here probabilities are the raw ones.
    """

    source: ClassVar[str] = "Peng et al. 2025, arXiv 2502.03540"
    needs_mask: ClassVar[bool] = True
    revises: ClassVar[bool] = True
    phases: ClassVar[tuple[str, ...]] = ("denoise", "plan")
    steps: int | None = option(None, "steps for the whole row; none: one per position", min=1)
    eta: float = option(1.0, "weight of the score of decided tokens: 0 takes none back, more takes back more", min=0)
    planner: Literal["self", "forward"] = option("self", "who scores decided tokens: the denoiser's own forward or another one")
    score: Literal["standing", "drawn"] = option("standing", "which token of a decided position is scored")
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)

    def begin(self, s: State) -> State:
        return replace(s, memo=Draft(s.tokens, torch.zeros_like(s.confidence), torch.zeros_like(s.key, dtype=torch.bool)))

    def query(self, s: State) -> Query:
        draft: Draft = s.memo
        decided = s.editable & ~s.open
        return either(draft.planning, Query(draft.tokens, decided), Query(s.tokens, s.editable))

    def phase(self, s: State) -> Tensor:
        draft: Draft = s.memo
        return draft.planning.long()

    def step(self, s: State, p: Pred) -> State:
        draft: Draft = s.memo
        drawn, confidence = p.draw(s, self.temperature)
        confidence = confidence.to(s.confidence.dtype)
        shown = drawn if self.score == "drawn" else torch.where(s.open, drawn, s.tokens)
        if self.planner == "self":
            support = p.prob(shown).to(confidence.dtype)
            return self.planned(s, drawn, confidence, torch.where(s.open, confidence, support))
        denoised = replace(s, memo=Draft(shown, confidence, ~draft.planning))
        support = torch.where(s.open, draft.confidence, p.prob(draft.tokens).to(confidence.dtype))
        planned = self.planned(replace(s, memo=draft._replace(planning=~draft.planning)), draft.tokens, draft.confidence, support)
        return choose(draft.planning, planned, denoised)

    def planned(self, s: State, tokens: Tensor, confidence: Tensor, support: Tensor) -> State:
        """Show the best positions; `support (B, W)` is the probability that a position is scored by."""
        score = support.clamp(min=torch.finfo(support.dtype).tiny).log() * torch.where(s.open, 1.0, self.eta)
        count, i = s.editable.sum(-1), s.step // (2 if self.planner == "forward" else 1) + 1
        masked = (count.float() * (1 - i.double() / per_window(self.steps, s)).float()).long()  # truncated as the official code does
        keep = top(only(s.editable, score), count - masked)
        return s.commit(keep, tokens, confidence).reopen(~keep)
