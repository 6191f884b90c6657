"""Selections on (B, W) scores: the operations that strategies are written with."""

from __future__ import annotations

import torch
from torch import Tensor

from decoders.stats.constants import counting, number

INF = float("inf")


def only(where: Tensor, score: Tensor) -> Tensor:
    """(B, W): the score where `where`, and -inf elsewhere, which no selection ever takes."""
    return torch.where(where, score, number(-INF, score))


def rank(score: Tensor) -> Tensor:
    """(B, W) long: 0 for the best of the row; of equal scores the left one is better."""
    order = score.argsort(dim=-1, descending=True, stable=True)
    return torch.empty_like(order).scatter_(-1, order, counting(score.shape[-1], score.device).expand_as(order))


def top(score: Tensor, k: Tensor | int) -> Tensor:
    """(B, W) bool: the `k (B,)` best of each row, or of all rows the same number; ties go to the left; -inf is never
    taken."""
    taken = score > -INF
    if isinstance(k, int) and k == 1:
        return taken & best(score)
    return taken & (rank(score) < (k if isinstance(k, int) else k[:, None]))


def best(score: Tensor) -> Tensor:
    """(B, W) bool: the best position of each row; ties go to the left. In a row in which all scores are -inf it is the
    first position, which is not open, so that nothing is ever committed there."""
    return counting(score.shape[-1], score.device) == score.argmax(-1, keepdim=True)


def above(score: Tensor, sure: Tensor, at_least: Tensor | int = 1) -> Tensor:
    """(B, W) bool: the positions that are `sure (B, W)`; in rows where they are fewer than `at_least (B,)`, the
    `at_least` best ones instead."""
    taken = score > -INF
    sure = sure & taken
    if isinstance(at_least, int) and at_least == 1:
        return torch.where(sure.any(-1, keepdim=True), sure, taken & best(score))
    return torch.where((sure.sum(-1) >= at_least)[:, None], sure, top(score, at_least))


def leftmost(where: Tensor) -> Tensor:
    """(B, W) bool: the first true position of each row."""
    return where & (where.cumsum(-1) == 1)


def first_run(where: Tensor) -> Tensor:
    """(B, W) bool: the leftmost contiguous run of true positions."""
    started = where.cumsum(-1) > 0
    return where & ((~where & started).cumsum(-1) == 0)


def until_first(bad: Tensor) -> Tensor:
    """(B, W) bool: everything left of the first bad position."""
    return bad.cumsum(-1) == 0


def best_of_runs(where: Tensor, score: Tensor) -> Tensor:
    """(B, W) bool: the position of the highest score in each contiguous run of true positions; ties go to the left."""
    # the number of the run that contains each true position
    run = (where & ~torch.nn.functional.pad(where, (1, -1))).cumsum(-1)
    order = rank(only(where, score))
    last = torch.full_like(torch.nn.functional.pad(order, (0, 1)), where.shape[-1])
    best = last.scatter_reduce(1, torch.where(where, run, 0), torch.where(where, order, where.shape[-1]), "amin")
    return where & (order == best.gather(1, run))


def near(where: Tensor, radius: int) -> Tensor:
    """(B, W) bool: the positions that are at most `radius` positions from a true position, true ones included."""
    total = torch.nn.functional.pad(where.cumsum(-1), (1, 0))  # how many are to the left of each
    i = torch.arange(where.shape[-1], device=where.device)
    to, since = (i + radius + 1).clamp(max=where.shape[-1]), (i - radius).clamp(min=0)
    return total[:, to] > total[:, since]


def within_bound(open: Tensor, entropy: Tensor, bound: float, order: Tensor | None = None) -> Tensor:
    """(B, W) bool: of the `open` positions, in ascending `order (B, W)`, the longest prefix whose entropies, without
    the largest of them, add up to at most `bound`; so the first is always taken. Without `order`, in order of entropy.
    Ben-Hamu et al. 2025, 2505.24857 (EB-Sampler): that sum bounds the mutual information of the tokens, which is lost
    when they are committed together.

    Each position adds the smaller of its own entropy and the largest entropy before it; if entropies ascend, that is
    the entropy before it."""
    lost = torch.where(open, entropy, number(INF, entropy))
    if order is None:
        ordered, place = lost.sort(dim=-1, stable=True)
        added = torch.nn.functional.pad(ordered[:, :-1], (1, 0))
    else:
        place = only(open, -order).argsort(dim=-1, descending=True, stable=True)
        ordered = lost.gather(1, place)
        added = torch.minimum(ordered, torch.nn.functional.pad(ordered.cummax(-1).values[:, :-1], (1, 0)))
    # no entropy is negative, so the positions within the bound are the first ones in that order
    return open & torch.empty_like(open).scatter_(-1, place, added.cumsum(-1) <= bound)


def share(total: Tensor, steps: Tensor | int, i: Tensor) -> Tensor:
    """(B,) long: how many of `total (B,)` belong to step `i (B,)` of `steps`; the remainder goes to the first steps."""
    return total // steps + (i < total % steps)
