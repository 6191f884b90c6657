"""Bounds for each kind of model: which views of a piece it is shown, and how their predictions are combined."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Protocol

import torch
from torch import Tensor

from decoders.core import Model, Pred, is_causal
from decoders.likelihood.pieces import Piece
from decoders.stats.random import scramble, unit

GROUPS = 8
"""The largest number of independent groups of draws; their spread is the standard error."""
CLEANER = 8
"""The number of draws in which noise replaces tokens, for each draw in which it replaces none."""
CHUNK = 1 << 24
"""The largest number of logits that are processed together."""
ORDER, SHARE, NOISE, CLEAN, TIME = range(0x61, 0x66)  # salts


@dataclass(frozen=True)
class Views:
    """m different views of a piece of L tokens, with the positions that each wants predicted, and the n draws that they
    stand for."""

    shown: Tensor  # (m, L) long
    want: Tensor  # (m, L) bool
    level: Tensor  # (m,) double  the time of the noise, for models that are conditioned on it
    which: Tensor  # (n,) long  the view of each draw
    weight: Tensor  # (n,) double  they need not sum to 1
    group: Tensor | None = None  # (n,) long; None: nothing was drawn, and the sum is exact

    def total(self, terms: Tensor) -> tuple[float, float]:
        """The estimate from the views' `terms (m,)` double, and its standard error: nan if there is only one group of
        draws."""
        parts = self.weight * terms[self.which]
        if self.group is None:
            return float(parts.sum()), 0.0
        n = int(self.group.max()) + 1
        means = n * torch.zeros(n, dtype=torch.double).index_add(0, self.group, parts)
        return float(means.mean()), float(means.std()) / math.sqrt(n) if n > 1 else math.nan


class Bound(Protocol):
    """How the log-likelihood of a piece is computed from its views."""

    def views(self, piece: Piece, draws: int, seed: int) -> Views: ...

    def tight(self, piece: Piece) -> bool:
        """Whether the result is the log-likelihood itself, and not a lower bound."""

    def terms(self, p: Pred, truth: Tensor, shown: Tensor, level: Tensor) -> Tensor:
        """(B,) double: the terms of rows of views. `truth` and `shown` are (B, W) long, `level (B,)` double."""


def bound_of(model: Model) -> Bound:
    """The bound for a model: exact for a causal model, and the bound of masked or of uniform diffusion for the
    others."""
    if is_causal(model):
        return Causal()
    return Uniform(model.vocab) if model.mask_id is None else Masked(model.mask_id)


@dataclass(frozen=True)
class Causal:
    """The chain rule: each token is predicted from those to its left, all in one forward."""

    def views(self, piece: Piece, draws: int, seed: int) -> Views:
        truth = torch.tensor([piece.tokens[piece.start :]])
        one = torch.ones(1, dtype=torch.double)
        return Views(truth, torch.ones_like(truth, dtype=torch.bool), one, torch.zeros(1, dtype=torch.long), one)

    def tight(self, piece: Piece) -> bool:
        return True

    def terms(self, p: Pred, truth: Tensor, shown: Tensor, level: Tensor) -> Tensor:
        return summed(p, log_probability, truth)


@dataclass(frozen=True)
class Masked:
    """The bound of absorbing diffusion in the form of Nie et al. 2025, 2502.09992, Algorithm 3 (Ou et al. 2024,
    2406.03736): of L tokens l are masked, l being uniform in 1 to L, and L / l times the log-probability of those is
    averaged. If there are no more masks than draws, all of them are used, and the average is exact."""

    mask_id: int

    def views(self, piece: Piece, draws: int, seed: int) -> Views:
        L = piece.size
        if draws >= 2**L - 1:
            hidden = torch.tensor(list(product((False, True), repeat=L))[1:])
            weight = torch.tensor([1 / (n * math.comb(L, n)) for n in hidden.sum(-1).tolist()], dtype=torch.double)
            return self.masked(piece, hidden, torch.arange(len(hidden)), weight, None)
        share, u, group = ladder(piece, draws, seed)
        count = counts(share, L)
        hidden = ranks(u) < count[:, None]
        once, which = hidden.unique(dim=0, return_inverse=True)
        return self.masked(piece, once, which, L / count.double() / len(count), group)

    def tight(self, piece: Piece) -> bool:
        return piece.size == 1

    def masked(self, piece: Piece, hidden: Tensor, which: Tensor, weight: Tensor, group: Tensor | None) -> Views:
        truth = torch.tensor(piece.tokens[piece.start :])
        shown = torch.where(hidden, self.mask_id, truth)
        return Views(shown, hidden, torch.ones(len(hidden), dtype=torch.double), which, weight, group)

    def terms(self, p: Pred, truth: Tensor, shown: Tensor, level: Tensor) -> Tensor:
        return summed(p, log_probability, truth)


@dataclass(frozen=True)
class Uniform:
    """The bound of uniform diffusion in continuous time, Schiff et al. 2024, 2412.10193, Equation 18: at a time t,
    uniform in 0 to 1, each of L tokens is replaced by one of all V with probability t, and the rates at which the true
    and the predicted reverse process leave each token are compared. It is the same for every schedule of the noise.

    At small times a token is seldom replaced, and then the term is of the order of 1 / t. So the number n of replaced
    tokens is drawn instead, uniform in 1 to L, and t given n from the density that includes this factor, the n-th of L
    uniform numbers in order, and t L / n times the rates is averaged. The term in which nothing is replaced is added
    with the weight 1 / (L + 1)."""

    vocab: int

    def views(self, piece: Piece, draws: int, seed: int) -> Views:
        share, u, group = ladder(piece, draws, seed)
        (n, L), truth = u.shape, torch.tensor(piece.tokens[piece.start :])
        count, key, groups = counts(share, L), key_of(piece, seed), int(group.max()) + 1
        shown = torch.where(ranks(u) < count[:, None], noise(piece, n, seed, self.vocab), truth)
        level = in_order_of(share * L - count + 1, unit(table(key + TIME, n, L)), count)
        weight = L / count.double() / n * level
        each = max(n // groups // CLEANER, 1)
        early = 1 - (1 - evenly(key + CLEAN, groups, each).flatten()) ** (1 / (L + 1))
        shown = torch.cat([shown, truth.expand(groups * each, L)])
        return Views(
            shown, torch.ones_like(shown, dtype=torch.bool), torch.cat([level, early]), torch.arange(len(shown)),
            torch.cat([weight, torch.full_like(early, 1 / (L + 1) / len(early))]),
            torch.cat([group, torch.arange(groups).repeat_interleave(each)]),
        )

    def tight(self, piece: Piece) -> bool:
        return False

    def terms(self, p: Pred, truth: Tensor, shown: Tensor, level: Tensor) -> Tensor:
        return -summed(p, rate_divergence, truth, shown, level[:, None].expand(truth.shape))


def log_probability(logits: Tensor, token: Tensor) -> Tensor:
    """(R,) double: the log-probability of `token (R,)` in rows of `logits (R, V)`."""
    wide = logits if logits.dtype == torch.double else logits.float()
    return wide.gather(1, token[:, None])[:, 0].double() - wide.logsumexp(-1).double()


def rate_divergence(logits: Tensor, truth: Tensor, shown: Tensor, t: Tensor) -> Tensor:
    """(R,) double: the integrand of the bound at time `t (R,)` for rows of `logits (R, V)`: the sum over the V - 1
    other tokens y of q(y) - r(y) + r(y) log(r(y) / q(y)), by 1 / (V (1 - t)). r and q are the ratios, of y to the token
    that is `shown`, of V (1 - t) x + t for the true token's one-hot x and for the predicted x."""
    V, kept = logits.shape[-1], (1 - t).clamp(min=1e-9)
    noise = t.clamp(min=1e-12)
    k = V * kept / noise  # all terms below are divided by the noise
    x = logits.double().softmax(-1)
    grown = (k[:, None] * x).log1p()  # (R, V)
    there, here = (grown.gather(1, token[:, None])[:, 0] for token in (truth, shown))
    same, top = truth == shown, k.log1p()
    rest = grown.sum(-1) - here
    ratio = torch.where(
        same,
        ((V - 1) * (here - top) - rest) / (1 + k),
        (1 + k) * (top - there + here) + (V - 2) * here - (rest - there),
    )
    outflow = V / noise * ((-here).exp() - torch.where(same, 1 / (1 + k), 1.0))
    return (outflow + ratio) / (V * kept)


def summed(p: Pred, f: Callable[..., Tensor], *of: Tensor) -> Tensor:
    """(B,) double: `f(logits, *of)` of every logit row that was wanted, summed over its piece. All of `of` are (B,
    W)."""
    rows = p.logits.flatten(0, 1)
    n = max(CHUNK // rows.shape[-1], 1)
    parts = zip(*(x.split(n) for x in (rows, *map(p.gather, of))), strict=True)
    found = torch.cat([f(*part) for part in parts]).view_as(p.at)
    return torch.where(p.at < p.width, found, 0.0).sum(-1)


def ladder(piece: Piece, draws: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """(n,) double, the share of the piece that each draw hides; (n, L) double, uniform: tokens with the smallest
    numbers are hidden first; (n,) long, the group of each draw. n is at least `draws`, and even.

    Within a group the shares are evenly spaced from a random start on, and each draw has an opposite, which hides the
    rest of the share in the reverse order, so that between them they hide every position about equally often. All
    numbers are hashes of the seed, the text before the piece and its start: answers to one question are compared under
    the same masks, and the batch has no effect."""
    pairs = max((draws + 1) // 2, 1)
    groups = min(GROUPS, pairs)
    each = -(-pairs // groups)
    key, group = key_of(piece, seed), torch.arange(groups)
    share = evenly(key + SHARE, groups, each).flatten()
    u = unit(table(key + ORDER, groups * each, piece.size))
    return torch.cat([share, 1 - share]), torch.cat([u, 1 - u]), group.repeat_interleave(each).repeat(2)


def evenly(key: Tensor, n: int, size: int) -> Tensor:
    """(n, size) double: rows of numbers in 0 to 1, evenly spaced from a random start on."""
    return (torch.arange(size) + unit(table(key, n, 1))) / size


def counts(share: Tensor, size: int) -> Tensor:
    """(n,) long: the number of positions in a share of so many, at least 1."""
    return (share * size).long().clamp(max=size - 1) + 1


def ranks(u: Tensor) -> Tensor:
    """(n, L) long: the place of each number in its row's ascending order."""
    return u.argsort(-1).argsort(-1)


def in_order_of(first: Tensor, u: Tensor, which: Tensor) -> Tensor:
    """(n,) double: of L uniform numbers the `which (n,)`th in order, counted from 1. It is the product over j from
    `which` to L of the j-th root of a uniform number; the first factor, which has the largest effect, uses `first
    (n,)`, the others `u (n, L)`."""
    j, tiny = torch.arange(1, u.shape[1] + 1), torch.finfo(torch.double).tiny
    chosen = torch.where(j == which[:, None], first[:, None], torch.where(j > which[:, None], u, 1.0))
    return (chosen.clamp(min=tiny).log() / j).sum(-1).exp()


def key_of(piece: Piece, seed: int) -> Tensor:
    """() long: the key of the text before a piece. If there is almost none, as in a text that is measured as a whole,
    the piece's own tokens are used."""
    told = torch.tensor(piece.tokens[: piece.given] if piece.given > 1 else piece.tokens)
    place = scramble(torch.arange(len(told)) + piece.start)
    return scramble(scramble(told ^ place).sum() + seed)


def table(key: Tensor, n: int, size: int) -> Tensor:
    """(n, size) long: hashes of a key, a draw and a position."""
    row = scramble(scramble(key) + torch.arange(n))
    return scramble(row[:, None] ^ torch.arange(size) * 0x2545F4914F6CDD1D)


def blanks(model: Model, of: Sequence[Piece], seed: int) -> Tensor:
    """(B, W) long: the tokens shown at undecided positions of pieces side by side: the mask token, or noise."""
    shape = len(of), max(piece.size for piece in of)
    if model.mask_id is not None:
        return torch.full(shape, model.mask_id)
    blank = torch.zeros(shape, dtype=torch.long)
    for b, piece in enumerate(of):
        blank[b, : piece.size] = noise(piece, 1, seed, model.vocab)[0]
    return blank


def noise(piece: Piece, n: int, seed: int, vocab: int) -> Tensor:
    """(n, L) long: uniformly random tokens."""
    return (unit(table(key_of(piece, seed) + NOISE, n, piece.size)) * vocab).long()
