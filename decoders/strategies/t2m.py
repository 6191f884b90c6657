"""T2M, token to mask: tokens that look wrong are masked again instead of overwritten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from decoders.core import Attested, Pred, State, only, option, top
from decoders.strategies.llada2 import FillAndRevise

TAU = {"low_prob": 0.5, "t2t_remask": 0.9, "logit_diff": 0.3}


class Suspicion(NamedTuple):
    """The history of a window's positions."""

    reopened: Tensor  # (B, W) long  how often each was taken back
    # (B, W) float  the probability of the present token in the forward before; 0 in the first
    support: Tensor


@dataclass(frozen=True)
class T2M(FillAndRevise):
    """Fill as `llada2` does, and mask suspect tokens again, so that the next forward predicts them without seeing them.
    Yao 2026, 2604.18738, Algorithm 1.

    A trigger chooses the suspect tokens:

    - `low_prob` (equation 3): the model gives the present token less than `tau`. It is the best in the paper, and
      takes the most forwards.
    - `t2t_remask` (4): it gives another token more than `tau`; LLaDA2.1 would overwrite there. It is the cheapest.
    - `logit_diff` (5): it gives the token less than in the forward before, by more than `tau`. As in the paper this
      is a fall; the code also counts a rise.

    All comparisons are strict. The most suspect tokens are taken back, at most a share `share` of the decided positions
    but at least one, as in the code (with the paper's floor a short block could never take anything back). No position
    is taken back more than `max_remasks` times in a window. So decoding ends: a forward that begins with something open
    fills at least one, and a window of W positions takes at most (1 + max_remasks) W + max_post forwards.
    """

    source: ClassVar[str] = "Yao 2026, arXiv 2604.18738"
    attested: ClassVar[Attested] = "code"
    needs_mask: ClassVar[bool] = True
    trigger: Literal["low_prob", "t2t_remask", "logit_diff"] = option("t2t_remask", "what makes a token suspect")
    tau: float | None = option(
        None, "its threshold; none: 0.5 for low_prob, 0.9 for t2t_remask, 0.3 for logit_diff", min=0
    )
    max_remasks: int = option(3, "how often a position may be taken back", min=0)
    share: float = option(0.25, "share of the decided positions that one forward may take back", min=0, max=1)

    def fresh(self, s: State) -> Suspicion:
        return Suspicion(torch.zeros_like(s.tokens), torch.zeros_like(s.confidence))

    def revise(self, s: State, p: Pred, own: Any) -> tuple[State, Tensor, Any]:
        memory: Suspicion = own
        tokens, confidence = p.best()
        standing = torch.where(s.open, tokens, s.tokens)  # tokens filled now are present in the next forward
        support, decided = p.prob(standing).to(s.confidence.dtype), s.decided
        tau = TAU[self.trigger] if self.tau is None else self.tau
        score, suspect = {
            "low_prob": (-support, support < tau),
            "t2t_remask": (confidence, (tokens != s.tokens) & (confidence > tau)),
            "logit_diff": (memory.support - support, memory.support - support > tau),
        }[self.trigger]
        allowed = (self.share * decided.sum(-1)).long().clamp(min=1)
        where = top(only(decided & suspect & (memory.reopened < self.max_remasks), score), allowed)
        return s.reopen(where), where, Suspicion(memory.reopened + where, support)
