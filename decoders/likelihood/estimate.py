"""Likelihoods of token ids under any model, all of them in common batches."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from decoders.core import Model, UsageError, is_causal, only, top
from decoders.likelihood.bounds import Bound, Views, blanks, bound_of
from decoders.likelihood.pieces import Piece, Rows, pieces

Pair = tuple[Sequence[int], Sequence[int]]
"""Token ids: the condition, and the answer to it."""
DRAWS = 128
"""The default number of draws for a piece, from Nie et al. 2025, 2502.09992, appendix B.5."""
BATCH = 32
AT_ONCE = 256
"""The number of pieces whose views are laid out at a time."""
STAY = 16
"""A row keeps its keys and values of earlier blocks, if it can, for so many forwards."""


@dataclass(frozen=True)
class Likelihood:
    """The likelihood of an answer."""

    nats: float
    """The log-likelihood, or a lower bound of it."""
    error: float
    """Its standard error, from the spread of independent groups of draws; 0 if nothing was drawn, nan if there was one
    group."""
    exact: bool
    """It is the log-likelihood itself and not a bound: for a causal model, or for single masked tokens."""
    tokens: int
    """Tokens of the answer."""
    forwards: int
    """Rows that the model ran for it."""
    cut: int = 0
    """The number of tokens that were cut from the left of the condition, because the model has no room for them."""
    windows: int = 1
    """The number of windows in which the answer was evaluated, each after as much of the preceding text as the model
    has room for."""


@torch.inference_mode()
def likelihoods(
    model: Model, pairs: Sequence[Pair], *, draws: int = DRAWS, batch: int = BATCH, seed: int = 0,
    block: int | None = None, progress: Callable[[int], object] | None = None,
) -> list[Likelihood]:
    """log p(answer | given) of every pair, in nats.

    Causal models (a block of attention of one position) give it exactly, in one forward. For masked models it is the
    bound of LLaDA (`bounds.Masked`), averaged over all masks if a piece has no more of them than `draws`, else over
    `draws` of them; for models of uniform noise it is that of UDLM (`bounds.Uniform`), always drawn. Block-causal
    models evaluate block after block, each given those before it; `block` is its size if the model leaves it to the
    windows. `batch` rows, of any pairs, are run at a time; results do not depend on the batch except by the rounding of
    the model's own arithmetic. `progress` is called with the number of further pairs that are finished.

    Raises `UsageError` for answers that have no likelihood (`check_pair`), and for a model whose predictions are not
    finite."""
    for name, value in (("draws", draws), ("batch", batch)):
        if value < 1:
            raise UsageError(f"{name} must be at least 1, not {value}")
    for pair in pairs:
        check_pair(model, *pair)
    bound = bound_of(model)
    parts = in_order(model, pairs, block)
    waiting = Counter(i for i, _ in parts)
    tallies = [Tally() for _ in pairs]
    for first in range(0, len(parts), AT_ONCE):
        some = parts[first : first + AT_ONCE]
        views = [bound.views(piece, draws, seed) for _, piece in some]
        for (i, piece), view, found in zip(some, views, terms(model, bound, some, views, batch, block), strict=True):
            tallies[i].add(*view.total(found), len(found), bound.tight(piece))
            waiting[i] -= 1
            if progress and not waiting[i]:
                progress(1)
    return [tally.told(len(answer)) for tally, (_, answer) in zip(tallies, pairs, strict=True)]


@dataclass
class Tally:
    """A pair's sum over its pieces."""

    nats: float = 0.0
    variance: float = 0.0
    forwards: int = 0
    exact: bool = True

    def add(self, nats: float, error: float, forwards: int, exact: bool) -> None:
        self.nats, self.variance, self.forwards = self.nats + nats, self.variance + error**2, self.forwards + forwards
        self.exact = self.exact and exact

    def told(self, tokens: int) -> Likelihood:
        """Raises `UsageError` if it is not finite."""
        if math.isnan(self.nats):
            raise UsageError("the model's predictions are not finite numbers, so there is no likelihood")
        return Likelihood(self.nats, math.sqrt(self.variance), self.exact, tokens, self.forwards)


def check_pair(model: Model, given: Sequence[int], answer: Sequence[int]) -> None:
    """Raises `UsageError` if there is no likelihood of an answer: it is empty, it has a token outside the vocabulary or
    the mask token, or the model is causal and the condition is empty."""
    if not answer:
        raise UsageError("there is no likelihood of an empty answer")
    if any(not 0 <= t < model.vocab for t in (*given, *answer)):
        raise UsageError(f"a text holds token ids outside the vocabulary of {model.vocab}")
    if model.mask_id is not None and not is_causal(model) and model.mask_id in (*given, *answer):
        raise UsageError("a text holds the mask token, so its likelihood cannot be estimated by masking")
    if is_causal(model) and not given:
        raise UsageError("a causal model predicts a token from those to its left, and the first one has none")


def in_order(model: Model, pairs: Sequence[Pair], block: int | None) -> list[tuple[int, Piece]]:
    """The pieces of all pairs, each with its pair's number, the shortest rows first."""
    parts = [(i, piece) for i, pair in enumerate(pairs) for piece in pieces(model, *pair, block)]
    return sorted(parts, key=lambda part: len(part[1].tokens))


def terms(
    model: Model, bound: Bound, parts: Sequence[tuple[int, Piece]], views: Sequence[Views], batch: int,
    block: int | None,
) -> list[Tensor]:
    """(m,) double for each piece: the terms of its m views."""
    stay = STAY if model.block_causal and "store" in model.capabilities else 1
    lanes = [(k, v) for k, view in enumerate(views) for v in torch.arange(len(view.shown)).split(stay)]
    lanes.sort(key=lambda lane: (len(parts[lane[0]][1].tokens), len(lane[1])))
    found = [torch.zeros(len(view.shown), dtype=torch.double) for view in views]
    for first in range(0, len(lanes), batch):
        some = lanes[first : first + batch]
        rows = Rows(model, [parts[k][1] for k, _ in some], block)
        for step in range(max(len(v) for _, v in some)):
            shown, want, level = laid_out(rows, [(views[k], v, step) for k, v in some])
            p = rows(shown, want)
            sums = bound.terms(p, rows.truth, shown, level).cpu()
            for (k, v), total in zip(some, sums, strict=True):
                if step < len(v):
                    found[k][v[step]] = total
    return found


def laid_out(rows: Rows, of: Sequence[tuple[Views, Tensor, int]]) -> tuple[Tensor, Tensor, Tensor]:
    """(B, W) long, (B, W) bool and (B,) double: the shown tokens, the wanted positions and the levels of the rows in
    this `step`; rows without further views want nothing."""
    shown, want = rows.truth.cpu().clone(), torch.zeros(rows.at.shape, dtype=torch.bool)
    level = torch.ones(len(want), dtype=torch.double)
    for b, (views, numbers, step) in enumerate(of):
        if step < len(numbers):
            v, size = numbers[step], views.shown.shape[1]
            shown[b, :size], want[b, :size], level[b] = views.shown[v], views.want[v], views.level[v]
    return shown.to(rows.at.device), want.to(rows.at.device), level.to(rows.at.device)


@torch.inference_mode()
def greedy(
    model: Model, pairs: Sequence[Pair], *, batch: int = BATCH, seed: int = 0, block: int | None = None,
    never: tuple[int, ...] = (), progress: Callable[[int], object] | None = None,
) -> list[bool]:
    """Whether each answer is the model's own greedy answer in as many positions. A causal model takes the likeliest
    token after the true prefix; all others commit the surest token in each forward (as `llada` does; block after block
    if they are block-causal). A row is evaluated up to its first difference. `never`: tokens that are never generated.

    Raises `UsageError` for answers that have no likelihood (`check_pair`)."""
    for pair in pairs:
        check_pair(model, *pair)
    parts = in_order(model, pairs, block)
    said = [True] * len(pairs)
    for first in range(0, len(parts), batch):
        some = parts[first : first + batch]
        of = [piece for _, piece in some]
        right = agrees(Rows(model, of, block), blanks(model, of, seed), never)
        for (i, _), agreed in zip(some, right.tolist(), strict=True):
            said[i] = said[i] and agreed
        if progress:
            progress(len(some))
    return said


def agrees(rows: Rows, blank: Tensor, never: tuple[int, ...]) -> Tensor:
    """(B,) bool: whether the rows' pieces are the model's greedy ones. `blank (B, W)` long are the tokens shown at
    undecided positions."""
    truth, hidden = rows.truth, rows.inside
    right = hidden.any(-1)
    if rows.causal:
        best, _ = rows(truth, hidden).without(never).best()
        return ((best == truth) | ~hidden).all(-1)
    blank = blank.to(truth.device)
    while True:
        want = hidden & right[:, None]
        if not bool(want.any()):
            return right
        best, sure = rows(torch.where(hidden, blank, truth), want).without(never).best()
        now = top(only(want, sure), 1)
        right = right & ((best == truth) | ~now).all(-1)
        hidden = hidden & ~now
