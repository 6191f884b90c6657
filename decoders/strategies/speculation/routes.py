"""Which drafts are verified. Han et al. 2026, 2603.25702.

The bandit's bound is inferred from recorded decisions of the official code, which has no licence and was not consulted
for it; see `Bandit.verifies`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from decoders.core import Part, Pred, State, choose, first_run, option
from decoders.strategies.speculation.draft import Draft
from decoders.strategies.speculation.estimators import Estimator, acceptance, disorder, expected_length


@dataclass(frozen=True)
class Route(Part):
    """Decides whether each draft is verified. Its memo lasts as long as the row."""

    def init(self, s: State) -> Any:
        """The memo when a row joins."""
        return ()

    @abstractmethod
    def __call__(self, s: State, p: Pred, draft: Draft, memo: Any) -> tuple[Tensor, Any]:
        """(B,) whether to verify the draft, and the new memo. For rows without open positions only the memo is used."""
        raise NotImplementedError

    def learned(self, before: State, after: State, verified: Tensor, memo: Any) -> Any:
        """The memo after a round that changed `before` to `after`, in which a draft was `verified (B,)` or not."""
        return memo


@dataclass(frozen=True)
class Always(Route):
    """Every draft."""

    name: ClassVar[str] = "always"

    def __call__(self, s: State, p: Pred, draft: Draft, memo: Any) -> tuple[Tensor, Any]:
        return torch.ones_like(s.key, dtype=torch.bool), memo


@dataclass(frozen=True)
class Never(Route):
    """No draft; only the base rule commits."""

    name: ClassVar[str] = "never"

    def __call__(self, s: State, p: Pred, draft: Draft, memo: Any) -> tuple[Tensor, Any]:
        return torch.zeros_like(s.key, dtype=torch.bool), memo


@dataclass(frozen=True)
class MinSpan(Route):
    """Drafts whose leftmost open run has at least `span` positions."""

    name: ClassVar[str] = "min_span"
    span: int = option(1, "length of the run from which it is verified", min=0)

    def __call__(self, s: State, p: Pred, draft: Draft, memo: Any) -> tuple[Tensor, Any]:
        return first_run(s.open).sum(-1) >= self.span, memo


@dataclass(frozen=True)
class Score(Route):
    """Drafts whose expected number of accepted tokens, less the `cost` of a verification, is at least `on`."""

    name: ClassVar[str] = "score"
    on: float = option(0.0, "score from which a draft is verified")
    cost: float = option(1.0, "subtracted from the expected number of accepted tokens", min=0)
    dynamic: bool = option(False, "the cost is per draft above tau")
    estimator: Estimator = option("soft_entropy", "how acceptance is estimated")
    parameter: float | None = option(None, "of the estimator; none: the reference's", min=0)

    def score(self, s: State, p: Pred, draft: Draft) -> Tensor:
        """(B,): the expected number of accepted drafts of the leftmost open run, less the cost."""
        return self.worth(s, p, draft, first_run(s.open))

    def worth(self, s: State, p: Pred, draft: Draft, span: Tensor) -> Tensor:
        """(B,): the score of the drafts of `span (B, W)`."""
        alpha = acceptance(self.estimator, self.parameter, s, p, draft.confidence)
        cost = self.cost * (s.open & draft.sure).sum(-1) if self.dynamic else self.cost
        return expected_length(alpha, span) - cost

    def __call__(self, s: State, p: Pred, draft: Draft, memo: Any) -> tuple[Tensor, Any]:
        return self.score(s, p, draft) >= self.on, memo


@dataclass(frozen=True)
class Hysteresis(Score):
    """All drafts from when the score is above `on` until it is below `off`."""

    name: ClassVar[str] = "hysteresis"
    off: float = option(0.0, "score below which to stop")

    def init(self, s: State) -> Tensor:
        """(B,) bool: whether verification is on."""
        return torch.zeros_like(s.key, dtype=torch.bool)

    def __call__(self, s: State, p: Pred, draft: Draft, memo: Tensor) -> tuple[Tensor, Tensor]:
        score = self.score(s, p, draft)
        on = torch.where(s.open.any(-1), (score > self.on) | memo & ~(score < self.off), memo)
        return on, on


def bucket(s: State, p: Pred) -> Tensor:
    """(B,) long in 0..7, the bandit's context: 4 for a span of more than half the window, 2 once half the window has
    been decided, 1 for a mean entropy of the span of at least half the largest."""
    span = first_run(s.open)
    n = span.sum(-1)
    mean = (disorder(s, p) * span).sum(-1) / n.clamp(min=1)
    decided = s.opened - s.open.sum(-1)
    return 4 * (2 * n > s.size).long() + 2 * (2 * decided >= s.size).long() + (mean >= 0.5).long()


class Bandit(NamedTuple):
    """The history of the UCB bandit, for the two arms in each of eight buckets: 0 leaves a draft to the base rule, 1
    verifies it."""

    bucket: Tensor  # (B,) long             the context of this draft
    pulls: Tensor  # (B, 8, 2) long
    reward: Tensor  # (B, 8, 2) double      tokens per forward, summed over pulls

    @classmethod
    def new(cls, rows: int, device: torch.device) -> Bandit:
        zero = torch.zeros(rows, 8, 2, dtype=torch.long, device=device)
        return cls(zero[:, 0, 0], zero, zero.double())

    def verifies(self, beta: float) -> Tensor:
        """(B,) bool: the arm with the larger upper bound, mean reward + beta sqrt(log t / n), n being the pulls of the
        arm and t the number of this decision; an arm that was never pulled comes first, and in a tie the draft is
        verified.

        The recorded decisions also fit sqrt(2 log t / n) with t counted separately in each bucket.
        """
        here = self.bucket[:, None, None].expand(-1, 1, 2)
        n, total = self.pulls.gather(1, here)[:, 0], self.reward.gather(1, here)[:, 0]
        t = 1 + self.pulls.sum((1, 2))
        bound = total / n.clamp(min=1) + beta * (t.double().log()[:, None] / n.clamp(min=1)).sqrt()
        bound = torch.where(n > 0, bound, torch.inf)
        return bound[:, 1] >= bound[:, 0]

    def learn(self, verified: Tensor, tokens: Tensor) -> Bandit:
        """The bandit after a draft that was `verified (B,)` or not and gave so many `tokens (B,)`; verifying costs two
        forwards."""
        arms, buckets = torch.arange(2, device=tokens.device), torch.arange(8, device=tokens.device)
        pull = (buckets == self.bucket[:, None])[..., None] & (arms == verified[:, None].long())[:, None]
        reward = tokens.double() / (1 + verified.double())
        return Bandit(self.bucket, self.pulls + pull.long(), self.reward + pull * reward[:, None, None])


@dataclass(frozen=True)
class UCB(Route):
    """A bandit learns in which contexts verifying pays; its reward is tokens per forward."""

    name: ClassVar[str] = "ucb"
    beta: float = option(1.0, "weight of the exploration bonus", min=0)

    def init(self, s: State) -> Bandit:
        return Bandit.new(len(s.key), s.key.device)

    def __call__(self, s: State, p: Pred, draft: Draft, memo: Bandit) -> tuple[Tensor, Bandit]:
        memo = memo._replace(bucket=bucket(s, p))
        return memo.verifies(self.beta), memo

    def learned(self, before: State, after: State, verified: Tensor, memo: Bandit) -> Bandit:
        made = (before.open & ~after.open).sum(-1)
        return choose(before.open.any(-1), memo.learn(verified, made), memo)
