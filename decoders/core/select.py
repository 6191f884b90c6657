"""Selections on (B, W) scores: the words that strategies are written in."""

from __future__ import annotations

import torch
from torch import Tensor

INF = float("inf")


def only(where: Tensor, score: Tensor) -> Tensor:
    """(B, W) the scores where `where`, elsewhere -inf, which no selection ever takes."""
    return torch.where(where, score, -INF)


def rank(score: Tensor) -> Tensor:
    """(B, W) long: 0 for the best of the row; of equal scores the left one is better."""
    order = score.argsort(dim=-1, descending=True, stable=True)
    return order.argsort(dim=-1, stable=True)


def top(score: Tensor, k: Tensor) -> Tensor:
    """(B, W) bool: the `k (B,)` best of each row; ties go to the left; -inf is never taken."""
    return (rank(score) < k[:, None]) & (score > -INF)


def above(score: Tensor, sure: Tensor, at_least: Tensor) -> Tensor:
    """(B, W) bool: what is `sure (B, W)`; in rows where that is fewer than `at_least (B,)`, the best ones instead."""
    sure = sure & (score > -INF)
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


def share(total: Tensor, steps: Tensor | int, i: Tensor) -> Tensor:
    """(B,) long: how many of `total (B,)` fall to step `i (B,)` of `steps`; the remainder goes to the first steps."""
    return total // steps + (i < total % steps).long()
