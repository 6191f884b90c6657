"""Dream: a noise schedule says how many tokens to commit, a score says which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, State, above, only, option, top
from decoders.stats.random import gumbel

ORDER = 0x21  # salt


@dataclass(frozen=True)
class Dream(Decoder):
    """Dream's noise schedule says how many positions a step commits, and one of its scores says which. Ye et al. 2025,
    2508.15487; `diffusion_generate`, parameter `alg`.

    Time runs from 1 to `eps` in equal steps; from t to s a share 1 - s/t of the open positions is committed, rounded
    down, so that a step may commit nothing, and the last step commits all. `by=origin` unmasks each position by chance
    instead. Temperature, top-k and top-p act before the confidence is taken, unlike in LLaDA. The reference averages
    the number of open positions over the batch, which can take committed tokens back; here each row has its own.
    `confidence_threshold` is Fast-dLLM's addition (2505.22618): of the best n, it commits those at or above `tau`, and
    always the best one. n is the number that an even share per step would have committed by now; without `steps` it is
    all. After the last step it continues until no position is open.
    """

    source: ClassVar[str] = "Ye et al. 2025, arXiv 2508.15487"
    attested: ClassVar[Attested] = "replayed"
    by: Literal["origin", "maskgit_plus", "topk_margin", "entropy", "confidence_threshold"] = option(
        "entropy", "how to choose"
    )
    steps: int | None = option(None, "forwards for the whole row; none: one per position", min=1)
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)
    top_p: float | None = option(None, "keep the smallest set of tokens with this probability", min=0, max=1)
    top_k: int | None = option(None, "keep this many tokens", min=1)
    alg_temp: float = option(0.0, "randomness of the order; 0 takes the best scores", min=0)
    eps: float = option(1e-3, "the time at which the schedule ends", min=0, max=1)
    tau: float = option(0.9, "confidence_threshold only", min=0, max=1)

    def step(self, s: State, p: Pred) -> State:
        # the nucleus first, as in the reference
        p = p.filtered(self.temperature, top_p=self.top_p).filtered(top_k=self.top_k)
        tokens, confidence = p.draw(s, 1.0 if self.temperature > 0 else 0.0)
        return s.commit(self.chosen(s, p, confidence), tokens, confidence)

    def chosen(self, s: State, p: Pred, confidence: Tensor) -> Tensor:
        if self.by == "confidence_threshold":
            best = top(only(s.open, confidence), self.allowance(s))
            return above(only(best, confidence), confidence >= self.tau)
        ratio, last = self.schedule(s)
        if self.by == "origin":
            return s.open & ((s.uniform(ORDER) < ratio[:, None]) | last[:, None])
        score = confidence if self.by == "maskgit_plus" else p.margin() if self.by == "topk_margin" else -p.entropy()
        if self.alg_temp > 0:  # the best k of Gumbel-perturbed scores are k draws without replacement
            score = score.double() / self.alg_temp + gumbel(s.uniform(ORDER))
        masks = s.open.sum(-1)
        quota = torch.where(last, masks, (masks.float() * ratio).long())
        return top(only(s.open, score), quota)

    def allowance(self, s: State) -> Tensor:
        """(B,) the number of further positions that an even share per step would have committed after this step; at
        least one."""
        each = s.opened if self.steps is None else s.opened // s.window_steps(self.steps)
        late = s.step >= s.window_steps(self.steps) - 1
        due = torch.where(late, s.opened, torch.minimum((s.step + 1) * each, s.opened))
        return (due - s.opened + s.open.sum(-1)).clamp(min=1)

    def schedule(self, s: State) -> tuple[Tensor, Tensor]:
        """(B,) float32 1 - s/t, and (B,) bool whether this is the last step, in the arithmetic of the reference."""
        steps = s.window_steps(self.steps)
        width = torch.full_like(steps, self.eps - 1, dtype=torch.float32) / steps.float()

        def time(i: Tensor) -> Tensor:  # the i-th of linspace(1, eps, steps + 1)
            return torch.where(i < (steps + 1) // 2, 1 + width * i, self.eps - width * (steps - i))

        return 1 - time(s.step + 1) / time(s.step), s.step >= steps - 1
