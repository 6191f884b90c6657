"""How well probabilities of labels are calibrated: the reliability curve, ECE and the Brier score, with intervals over
items, as the holes of one are not independent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decoders_bench.calibration.cases import Case
from decoders_bench.common.statistics import wilson

BINS = 10
"""Of equal width, in the probability of the likeliest label."""
DRAWS = 1000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bin:
    """Holes whose likeliest label is about as probable."""

    holes: int
    probability: float
    """Its mean."""
    right: float
    """The share of them where it stands there, and its interval of 95 %."""
    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """One task, or all of them, with all of an answer open or about half of its labels."""

    task: str
    open: str
    model: str
    items: int
    holes: int
    labels: float
    """To choose from, on average."""
    right: float
    mass: float
    """The probability of all labels together, before they are made to sum to 1, on average."""
    probability: float
    """Of the likeliest label, on average: what the share of right ones should be."""
    ece: float
    """Expected calibration error (Naeini et al. 2015, AAAI; Guo et al. 2017, 1706.04599): the mean distance between the
    two in a bin, by its holes."""
    ece_interval: tuple[float, float]
    """Of 95 %, over resampled items, moved so that their mean is the value itself: a resample's ECE is too large."""
    ece_calibrated: float
    """What it would be on average if every probability were right: with so many holes it is not 0."""
    brier: float
    """The mean squared distance of a distribution from what stands there, summed over labels (Brier 1950, Monthly
    Weather Review 78:1): from 0 to 2."""
    brier_interval: tuple[float, float]
    brier_uniform: float
    """That of a uniform distribution over the labels."""
    curve: tuple[Bin, ...]


def measured(task: str, open_: str, model: str, found: Sequence[Case], seed: int = 0) -> Calibration:
    """The figures of some holes."""
    p = np.array([max(c.probabilities) for c in found])
    right = np.array([c.probabilities.index(max(c.probabilities)) == c.truth for c in found], dtype=float)
    squares = np.array([brier(c) for c in found])
    item = np.unique([c.item for c in found], return_inverse=True)[1]
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    size = int(item.max()) + 1
    per = [summed(x, item, bins, size) for x in (np.ones_like(p), p, right)]
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(size, np.full(size, 1 / size), DRAWS).astype(float)
    own, again = float(ece(*(x.sum(0) for x in per))), ece(*(weights @ x for x in per))
    lucky = np.array([
        ece(per[0].sum(0), per[1].sum(0), summed(rng.random(len(p)) < p, item, bins, size).sum(0)) for _ in range(DRAWS)
    ])
    each, holes = np.bincount(item, squares), np.bincount(item).astype(float)
    briers = (weights @ each) / (weights @ holes)
    return Calibration(
        task, open_, model, size, len(found), float(np.mean([len(c.probabilities) for c in found])),
        float(right.mean()), float(np.mean([c.mass for c in found])), float(p.mean()), own,
        interval((again - again.mean() + own).clip(min=0)), float(lucky.mean()), float(squares.mean()),
        interval(briers), float(np.mean([1 - 1 / len(c.probabilities) for c in found])),
        curve(per[0], per[1], per[2], weights),
    )


def brier(c: Case) -> float:
    return float(sum((x - (i == c.truth)) ** 2 for i, x in enumerate(c.probabilities)))


def summed(x: NDArray[np.generic], item: NDArray[np.intp], bins: NDArray[np.intp], size: int) -> Floats:
    """(size, BINS): the sum over the holes of each item in each bin."""
    return np.asarray(np.bincount(item * BINS + bins, x, size * BINS), dtype=float).reshape(size, BINS)


def ece(holes: Floats, p: Floats, right: Floats) -> Floats:
    """(...,): from sums over the holes of each bin, (..., BINS)."""
    return np.asarray(np.abs(p - right).sum(-1) / holes.sum(-1))


def interval(of: Floats) -> tuple[float, float]:
    """The middle 95 % of draws."""
    low, high = np.quantile(of, [0.025, 0.975])
    return float(low), float(high)


def curve(holes: Floats, p: Floats, right: Floats, weights: Floats) -> tuple[Bin, ...]:
    """Bins that hold something, from the least probable on, from sums (items, BINS) and how often each item is in each
    of many resamples (DRAWS, items). An interval is Wilson's over the number of independent holes that would scatter as
    much as resamples do; where they do not scatter at all, over the items."""
    found = []
    for b in np.flatnonzero(holes.sum(0)):
        n, hit = float(holes[:, b].sum()), float(right[:, b].sum())
        drawn = weights @ holes[:, b]
        shares = (weights @ right[:, b])[drawn > 0] / drawn[drawn > 0]
        share, scatter = hit / n, float(shares.var())
        size = min(n, share * (1 - share) / scatter) if scatter else float((holes[:, b] > 0).sum())
        found.append(Bin(int(n), float(p[:, b].sum()) / n, share, *wilson(share * size, size)))
    return tuple(found)
