"""The calibration of probabilities of labels: the reliability curve, ECE and the Brier score, with intervals over
items, as the holes of an item are not independent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decoders_bench.calibration.cases import Case
from decoders_bench.common.statistics import wilson

BINS = 10
"""The bins have equal width in the probability of the most likely label."""
DRAWS = 1000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bin:
    """Holes whose most likely labels have similar probabilities."""

    holes: int
    probability: float
    """The mean probability of the most likely label."""
    right: float
    """The share of these holes at which the most likely label is right, and its 95 % interval."""
    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """The calibration on one task, or on all of them, with the whole answer open or about half of its labels."""

    task: str
    open: str
    model: str
    items: int
    holes: int
    labels: float
    """The mean number of labels of a question."""
    right: float
    mass: float
    """The mean total probability of all labels, before normalisation."""
    probability: float
    """The mean probability of the most likely label; with perfect calibration it equals the share of right ones."""
    ece: float
    """Expected calibration error (Naeini et al. 2015, AAAI; Guo et al. 2017, 1706.04599): the mean distance between the
    probability and the share of right labels in a bin, weighted by its holes."""
    ece_interval: tuple[float, float]
    """The 95 % interval over resampled items, shifted so that their mean is the value itself: the ECE of a resample is
    biased upwards."""
    ece_calibrated: float
    """The expected ECE if every probability were right: with a finite number of holes it is not 0."""
    brier: float
    """The mean squared distance between the predicted distribution and the right label, summed over labels (Brier 1950,
    Monthly Weather Review 78:1): from 0 to 2."""
    brier_interval: tuple[float, float]
    brier_uniform: float
    """The Brier score of a uniform distribution over the labels."""
    curve: tuple[Bin, ...]


def measured(task: str, open_: str, model: str, found: Sequence[Case], seed: int = 0) -> Calibration:
    """The results for some holes."""
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
    """(...,): the ECE from sums over the holes of each bin, (..., BINS)."""
    return np.asarray(np.abs(p - right).sum(-1) / holes.sum(-1))


def interval(of: Floats) -> tuple[float, float]:
    """The middle 95 % of resampled values."""
    low, high = np.quantile(of, [0.025, 0.975])
    return float(low), float(high)


def curve(holes: Floats, p: Floats, right: Floats, weights: Floats) -> tuple[Bin, ...]:
    """The non-empty bins in ascending order of probability, from sums (items, BINS) and the number of times that each
    item is in each resample (DRAWS, items). An interval is Wilson's with the number of independent holes whose variance
    equals that of the resamples; if these have no variance, with the number of items."""
    found = []
    for b in np.flatnonzero(holes.sum(0)):
        n, hit = float(holes[:, b].sum()), float(right[:, b].sum())
        drawn = weights @ holes[:, b]
        shares = (weights @ right[:, b])[drawn > 0] / drawn[drawn > 0]
        share, scatter = hit / n, float(shares.var())
        size = min(n, share * (1 - share) / scatter) if scatter else float((holes[:, b] > 0).sum())
        found.append(Bin(int(n), float(p[:, b].sum()) / n, share, *wilson(share * size, size)))
    return tuple(found)
