"""Pred: what one forward says of the wanted positions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from decoders.stats import reference as stats

if TYPE_CHECKING:
    from decoders.core.state import State

SAMPLE, RACE = 0x51, 0x52  # salts


@dataclass(frozen=True)
class Attention:
    """What the computed columns attended to, averaged over layers and heads."""

    weights: Tensor  # (B, M, L) float
    index: Tensor  # (B, M) long  the computed columns; the canvas's last one, the bin, where it is padding

    def of(self, column: Tensor) -> Tensor:
        """(B, L): how `column (B,)` attends to every column; 0 everywhere if it was not computed."""
        return (self.weights * (self.index == column[:, None])[..., None]).sum(1)

    def onto(self, queries: Tensor) -> Tensor:
        """(B, L): how much the columns `queries (B, L)` attend to every column, in sum."""
        return (self.weights * queries.gather(1, self.index)[..., None]).sum(1)


@dataclass(frozen=True)
class Pred:
    """Logits of the wanted positions, position i predicting position i, whatever shift the checkpoint has.

    The methods answer (B, W), or (B, W, ...); where a position was not wanted they answer 0. Probabilities are of the raw
    distribution unless an argument says otherwise, float32 (float64 for float64 logits). Ties go to the left.
    """

    logits: Tensor  # (B, N, V)    N is at most W
    at: Tensor  # (B, N) long  the window position of each logit row; W where the row is padding
    width: int  # W
    cost: tuple[Tensor, Tensor] | None = None
    """(B,) long positions that the model ran for each row, and (B,) double floating point operations; none: it does not tell."""
    attention: Attention | None = None
    """There where a cache policy needs it (`Need.attention`)."""
    _once: dict[str, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict, repr=False, compare=False)

    def spread(self, x: Tensor) -> Tensor:
        """(B * N, ...) -> (B, W, ...): one answer per logit row, at its window position."""
        x = x.unflatten(0, self.at.shape)
        at = self.at.view(*self.at.shape, *[1] * (x.dim() - 2)).expand_as(x)
        return x.new_zeros(x.shape[0], self.width + 1, *x.shape[2:]).scatter(1, at, x)[:, : self.width]

    def gather(self, x: Tensor) -> Tensor:
        """(B, W) -> (B * N,): the entries of the wanted positions."""
        return x.gather(1, self.at.clamp(max=self.width - 1)).flatten()

    @property
    def rows(self) -> Tensor:
        """(B * N, V)"""
        return self.logits.flatten(0, 1)

    def _best(self) -> tuple[Tensor, Tensor, Tensor]:
        """(B * N,) each: the likeliest token, its logit and the normaliser of its row, computed once."""
        if "best" not in self._once:
            self._once["best"] = stats.best(self.rows)
        return self._once["best"]

    def best(self) -> tuple[Tensor, Tensor]:
        """(B, W) long and (B, W): the likeliest token and its probability."""
        token, logit, log_z = self._best()
        return self.spread(token), self.spread(stats.probability(logit, log_z))

    def prob(self, tokens: Tensor) -> Tensor:
        """(B, W): the probability of given `tokens (B, W)`."""
        logit = self.rows.gather(1, self.gather(tokens)[:, None])[:, 0]
        return self.spread(stats.probability(logit, self._best()[2]))

    def entropy(self) -> Tensor:
        """(B, W): Shannon entropy in nats."""
        return self.spread(stats.entropy(self.rows))

    def margin(self) -> Tensor:
        """(B, W): probability of the likeliest token less that of the second."""
        return self.spread(stats.margin(self.rows))

    def top(self, k: int) -> tuple[Tensor, Tensor]:
        """(B, W, k) long and (B, W, k): the k likeliest tokens, likeliest first, and their renormalised probabilities."""
        logit, token = self.rows.topk(min(k, self.logits.shape[-1]), -1)
        return self.spread(token), self.spread(logit.to(stats.accumulator(logit)).softmax(-1))

    def draw(self, s: State, temperature: float = 1.0, salt: int = SAMPLE) -> tuple[Tensor, Tensor]:
        """(B, W) long and (B, W): a token sampled from softmax(logits / temperature), the likeliest one at temperature 0, and
        its probability in the raw distribution. The random number is a hash of row key, clock, position and salt."""
        if temperature == 0:
            return self.best()
        tokens = self.spread(stats.sample(self.rows, self.gather(s.uniform(salt)), temperature))
        return tokens, self.prob(tokens)

    def race(self, s: State, temperature: float = 1.0, salt: int = RACE) -> Tensor:
        """(B, W) long: a sample by the Gumbel race with timeless noise. Two distributions that race at one position are maximally
        likely to agree, and a re-drawn sample of the same distribution is the same."""
        return self.spread(stats.race(self.rows, self.gather(s.hash(salt, timeless=True)), temperature))

    def probs_at(self, where: Tensor) -> Tensor:
        """(B, V): the whole distribution at one wanted position a row, the one where `where (B, W)`."""
        here = where.gather(1, self.at.clamp(max=self.width - 1)) & (self.at < self.width)
        row = here.long().argmax(1)[:, None, None].expand(-1, 1, self.logits.shape[-1])
        picked = self.logits.gather(1, row)[:, 0]
        return picked.to(stats.accumulator(picked)).softmax(-1)

    def filtered(self, temperature: float = 0.0, top_k: int | None = None, top_p: float | None = None) -> Pred:
        """The prediction at a temperature (0 leaves it as it is), cut to `top_k` and then to the nucleus `top_p`."""
        rows = self.rows
        rows = rows.to(stats.accumulator(rows)) / temperature if temperature > 0 else rows
        return replace(self, logits=stats.filtered(rows, top_k, top_p).view_as(self.logits), _once={})

    def without(self, tokens: tuple[int, ...]) -> Pred:
        """The prediction with some token ids made impossible."""
        if not tokens:
            return self
        banned = torch.tensor(tokens, device=self.logits.device)
        return replace(self, logits=self.logits.index_fill(-1, banned, -torch.inf), _once={})
