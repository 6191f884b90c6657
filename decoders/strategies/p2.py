"""P2, path planning: every step chooses again which positions show a token."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, Query, State, choose, either, only, option, top


class Draft(NamedTuple):
    """The tokens that the denoiser has drawn, between its forward and the planner's."""

    tokens: Tensor  # (B, W) long
    confidence: Tensor  # (B, W) float
    worth: Tensor  # (B, W) float  the scores of the open positions
    planning: Tensor  # (B,)   bool  the next forward is the planner's


@dataclass(frozen=True)
class P2(Decoder):
    """Keep the best-scored share kappa of the window, whether its tokens were drawn just now or decided earlier, and
    mask the rest. Peng et al. 2025, 2502.03540, Algorithm 1; kappa at step i of T is i / T.

    Open positions are scored by the log-probability of the token that is drawn for them, decided ones by that of their
    present token, times `eta`: 0 never takes a token back (LLaDA's schedule), 1 is the paper's self-planning, more
    takes back more. `score=drawn` scores a decided position by the token that would be drawn there now, as the official
    code does; a token that the model would replace by a likelier one then has a good score. `score=diff_top2` scores
    every position by the difference between the logits of the two likeliest tokens, whatever its present token is: this
    is never negative, so with it a larger `eta` takes back less, and 0 takes all back first.

    `planner=forward` has the decided tokens scored by a second forward, over the text with its blanks filled in: by the
    model itself, or by another one (`decoders.models.planner.WithPlanner`; the paper takes a BERT). A step is then two
    forwards. At a temperature the official code scores with its Gumbel noise; here scores use the raw probabilities.
    """

    source: ClassVar[str] = "Peng et al. 2025, arXiv 2502.03540"
    attested: ClassVar[Attested] = "replayed"
    needs_mask: ClassVar[bool] = True
    revises: ClassVar[bool] = True
    phases: ClassVar[tuple[str, ...]] = ("denoise", "plan")
    steps: int | None = option(None, "steps for the whole row; none: one per position", min=1)
    eta: float = option(1.0, "weight of the score of decided tokens: 0 takes none back, more takes back more", min=0)
    planner: Literal["self", "forward"] = option(
        "self", "who scores decided tokens: the denoiser's own forward or another one"
    )
    score: Literal["standing", "drawn", "diff_top2"] = option(
        "standing", "which token of a decided position is scored, or the gap between the two likeliest everywhere"
    )
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)

    def begin(self, s: State) -> State:
        zero = torch.zeros_like(s.confidence)
        return replace(s, memo=Draft(s.tokens, zero, zero, torch.zeros_like(s.key, dtype=torch.bool)))

    def query(self, s: State) -> Query:
        draft: Draft = s.memo
        return either(draft.planning, Query(draft.tokens, s.decided), Query(s.tokens, s.editable))

    def phase(self, s: State) -> Tensor:
        draft: Draft = s.memo
        return draft.planning.long()

    def step(self, s: State, p: Pred) -> State:
        draft: Draft = s.memo
        drawn, confidence = p.draw(s, self.temperature)
        confidence = confidence.to(s.confidence.dtype)
        shown = torch.where(s.open, drawn, s.tokens) if self.score == "standing" else drawn
        if self.planner == "self":
            return self.planned(s, drawn, confidence, self.worth(p, shown))
        denoised = replace(s, memo=Draft(shown, confidence, self.worth(p, shown), ~draft.planning))
        worth = torch.where(s.open, draft.worth, self.worth(p, draft.tokens))
        planning = replace(s, memo=draft._replace(planning=~draft.planning))
        return choose(draft.planning, self.planned(planning, draft.tokens, draft.confidence, worth), denoised)

    def worth(self, p: Pred, tokens: Tensor) -> Tensor:
        """(B, W) float: the scores of positions that show `tokens (B, W)`."""
        if self.score == "diff_top2":
            two = p.rows.topk(2, -1).values
            return p.spread((two[:, 0] - two[:, 1]).float().clamp(max=torch.finfo(torch.float).max))
        return p.prob(tokens).float().clamp(min=torch.finfo(torch.float).tiny).log()

    def planned(self, s: State, tokens: Tensor, confidence: Tensor, worth: Tensor) -> State:
        """Show the best positions, by their `worth (B, W)`."""
        score = worth * torch.where(s.open, 1.0, self.eta)
        count, i = s.editable.sum(-1), s.step // (2 if self.planner == "forward" else 1) + 1
        # truncated as the official code does
        masked = (count.float() * (1 - i.double() / s.window_steps(self.steps)).float()).long()
        keep = top(only(s.editable, score), count - masked)
        return s.commit(keep, tokens, confidence).reopen(~keep)
