"""Pred: what one forward predicts at the wanted positions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from decoders import stats
from decoders.errors import UsageError
from decoders.stats import reference
from decoders.stats.constants import but, counting, number

if TYPE_CHECKING:
    from decoders.core.state import State

SAMPLE, RACE = 0x51, 0x52  # salts


@dataclass(frozen=True)
class Attention:
    """The attention maps of the computed columns, averaged over heads and over the layers that were asked for."""

    weights: Tensor  # (B, M, L) float
    index: Tensor  # (B, M) long  the computed columns; the canvas's last one, the bin, where it is padding

    def of(self, column: Tensor) -> Tensor:
        """(B, L): how `column (B,)` attends to every column; 0 everywhere if it was not computed."""
        return (self.weights * (self.index == column[:, None])[..., None]).sum(1)

    def rows(self, columns: Tensor) -> Tensor:
        """(B, W, L): how each of `columns (B, W)` attends to every column; 0 where it was not computed."""
        _, M, L = self.weights.shape
        place = counting(M, self.index.device).expand_as(self.index)
        slot = self.index.new_full((len(place), L), M).scatter_(1, self.index, place).gather(1, columns)
        found = self.weights.gather(1, slot.clamp(max=M - 1)[..., None].expand(-1, -1, L))
        there = (slot < M) & (columns < L - 1)
        return torch.where(there[..., None], found, number(0, found))

    def onto(self, queries: Tensor) -> Tensor:
        """(B, L): how much the columns `queries (B, L)` attend to every column, in sum."""
        return (self.weights * queries.gather(1, self.index)[..., None]).sum(1)


@dataclass(frozen=True)
class Pred:
    """The logits of the wanted positions; row i predicts position i, also for checkpoints with shifted outputs.

    `logits` are the model's; strategies read `rows`, in which the tokens `banned` are impossible. The methods return
    tensors (B, W), or (B, W, ...), which are 0 at positions that were not wanted. Probabilities are those of the raw
    distribution unless an argument says otherwise, in float32 (float64 for float64 logits). Ties go to the left.
    """

    logits: Tensor  # (B, N, V)    N is at most `width`
    at: Tensor  # (B, N) long  the window position of each logit row; W where the row is padding
    width: int  # W
    cost: tuple[Tensor, Tensor] | None = None
    """(B,) long positions that the model computed for each row, and (B,) double floating point operations; None if the
    model does not report them."""
    attention: Attention | None = None
    """Attention maps, if a strategy or a cache policy needs them (`SessionSpec.attention`)."""
    hidden_states: Tensor | None = None
    """(B, N, D) the last hidden states, from which the logits were computed; None without that capability."""
    table: Tensor | None = None
    """(V, D) the latent of each token, for a model of latents. None if latents are as wide as the vocabulary."""
    point: Tensor | None = None
    """(B, N, D) the clean latent, if such a model predicts it directly; None: it is the mean over the `table`."""
    offset: Tensor | None = None
    """(V,) added to the product of a latent with the `table` when it is read as a token; None: nothing is added."""
    banned: tuple[int, ...] = ()
    """Tokens that are impossible, whatever their logits."""
    beside: tuple[Pred, ...] = ()
    """The predictions of the same forward for each candidate content of the window (`Query.beside`)."""
    _once: dict[str, stats.Statistics] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Statistics that were computed from these logits. `dataclasses.replace` empties it, so it never belongs to other
    logits."""

    def spread(self, x: Tensor) -> Tensor:
        """(B * N, ...) -> (B, W, ...): one answer per logit row, at its window position."""
        x = x.unflatten(0, self.at.shape)
        at = self.at.view(*self.at.shape, *[1] * (x.dim() - 2)).expand_as(x)
        return x.new_zeros(x.shape[0], self.width + 1, *x.shape[2:]).scatter_(1, at, x)[:, : self.width]

    def gather(self, x: Tensor) -> Tensor:
        """(B, W) -> (B * N,): the entries at the wanted positions."""
        return x.gather(1, self.at.clamp(max=self.width - 1)).flatten()

    @property
    def statistics(self) -> stats.Statistics:
        """The statistics of the (B * N, V) rows; each is computed once."""
        if "statistics" not in self._once:
            self._once["statistics"] = stats.of(self.logits.flatten(0, 1), self.banned)
        return self._once["statistics"]

    @property
    def rows(self) -> Tensor:
        """(B * N, V) logits, -inf at banned tokens."""
        return self.statistics.allowed

    def undefined(self) -> Tensor:
        """(B,) bool: rows without a usable prediction: at a wanted position, here or in a candidate, the largest logit
        is not finite. NaN counts as the largest. It costs a pass over the logits, unless a statistic that shows it has
        been computed before."""
        known = self._once["statistics"].defined if "statistics" in self._once else None
        finite = self.logits.amax(-1).isfinite() if known is None else known.view_as(self.at)
        own = but(self.at < self.width, finite).any(-1)
        return torch.stack([own, *(p.undefined() for p in self.beside)]).any(0) if self.beside else own

    def best(self) -> tuple[Tensor, Tensor]:
        """(B, W) long and (B, W): the likeliest token and its probability."""
        token, p = self.statistics.best()
        return self.spread(token), self.spread(p)

    def prob(self, tokens: Tensor) -> Tensor:
        """(B, W): the probability of given `tokens (B, W)`."""
        return self.spread(self.statistics.prob(self.gather(tokens)))

    def entropy(self) -> Tensor:
        """(B, W): Shannon entropy in nats."""
        return self.spread(self.statistics.entropy())

    def margin(self) -> Tensor:
        """(B, W): probability of the likeliest token less that of the second."""
        return self.spread(self.statistics.margin())

    def top(self, k: int) -> tuple[Tensor, Tensor]:
        """(B, W, k) long and (B, W, k): the k likeliest tokens, likeliest first, and their renormalised
        probabilities."""
        logit, token = self.rows.topk(min(k, self.logits.shape[-1]), -1)
        return self.spread(token), self.spread(logit.to(reference.accumulator(logit)).softmax(-1))

    def draw(self, s: State, temperature: float = 1.0, salt: int = SAMPLE) -> tuple[Tensor, Tensor]:
        """(B, W) long and (B, W): a token sampled from softmax(logits / temperature), the likeliest one at temperature
        0, and its probability in the raw distribution. The random number is a hash of row key, clock, position and
        salt."""
        if temperature == 0:
            return self.best()
        token, p = self.statistics.sample(self.gather(s.uniform(salt)), temperature)
        return self.spread(token), self.spread(p)

    def race(self, s: State, temperature: float = 1.0, salt: int = RACE) -> Tensor:
        """(B, W) long: a sample by the Gumbel race with timeless noise. Two distributions that race at one position are
        maximally likely to agree, and a re-drawn sample of the same distribution is the same."""
        return self.spread(self.statistics.race(self.gather(s.hash(salt, timeless=True)), temperature))

    def denoised(self) -> Tensor:
        """(B, W, D): the expected clean latent, after all rules. Raises `UsageError` for a model without latents."""
        if self.point is not None:
            return self.spread(self.point.flatten(0, 1))
        if self.table is None:
            raise UsageError("a prediction of tokens has no latents")
        rows = self.rows
        return self.spread(rows.to(reference.accumulator(rows)).softmax(-1).to(self.table.dtype) @ self.table)

    def probs_at(self, where: Tensor) -> Tensor:
        """(B, V): the whole distribution at one wanted position a row, the one where `where (B, W)`."""
        here = where.gather(1, self.at.clamp(max=self.width - 1)) & (self.at < self.width)
        row = here.long().argmax(1)[:, None, None].expand(-1, 1, self.logits.shape[-1])
        picked = stats.of(self.logits.gather(1, row)[:, 0], self.banned).allowed
        return picked.to(reference.accumulator(picked)).softmax(-1)

    def filtered(self, temperature: float = 0.0, top_k: int | None = None, top_p: float | None = None) -> Pred:
        """The prediction at a temperature (0 leaves it as it is), cut to `top_k` and then to the nucleus `top_p`."""
        if temperature <= 0 and top_k is None and (top_p is None or top_p >= 1):
            return self
        rows = self.rows
        rows = rows.to(reference.accumulator(rows)) / temperature if temperature > 0 else rows
        return replace(self, logits=reference.filtered(rows, top_k, top_p).view_as(self.logits), banned=())

    def sample(
        self, s: State, temperature: float = 0.0, top_k: int | None = None, top_p: float | None = None
    ) -> tuple[Pred, Tensor, Tensor]:
        """The prediction as `filtered`; (B, W) long: a token sampled from it, the likeliest one at temperature 0; and
        (B, W): that token's probability in it."""
        p = self.filtered(temperature, top_k, top_p)
        return p, *p.draw(s, 1.0 if temperature > 0 else 0.0)

    def cooled(self, temperature: Tensor) -> Pred:
        """The prediction at a temperature above 0 for each row, (B,)."""
        return replace(self, logits=self.logits / temperature[:, None, None].to(self.logits.dtype))

    def without(self, tokens: tuple[int, ...]) -> Pred:
        """The prediction with some token ids made impossible."""
        more = tuple(t for t in tokens if t not in self.banned)
        return replace(self, banned=(*self.banned, *more)) if more else self
