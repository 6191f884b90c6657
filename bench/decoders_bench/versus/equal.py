"""The cost of an answer of two kinds of twins at equal accuracy.

The settings of a twin's decoders are a curve of accuracy over cost. The cost of an accuracy is that of a mixture of the
two settings of the curve's front next to it (`decoders_bench.quality.matched.cost_at`), so each seed gives a ratio of
two costs. If the least accurate setting of one kind is more accurate than the best setting of the other, the curves
have no accuracy in common, and nothing is compared. That is a statement about these twins only, so it is tested against
the scatter of the items alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from decoders_bench.common.statistics import bonett_price
from decoders_bench.quality.matched import SURE, Array, cost_at, sample
from decoders_bench.versus.costs import Row
from decoders_bench.versus.plan import TASKS, Kind

AXES = {
    "forwards": "forwards of an answer", "flops": "operations of an answer (MFLOP)",
    "alone": "processor time of an answer, one prompt at a time (ms)",
    "together": "processor time of an answer, 32 prompts at a time (ms)",
}
ENOUGH = 0.1
"""The least accuracy of the weaker twin, as a share, for which costs are compared."""
DRAWS = 200
"""The number of resamples of the items, from which the error of a ratio is estimated."""


def cost_of(row: Row, axis: str) -> list[float]:
    """The cost of an answer, in the unit of the axis: one number, or one for each turn."""
    if axis == "forwards":
        return [fmean(row["forwards"])]
    return [row["flops"] / 1e6] if axis == "flops" else [1e3 * x for x in row[axis]]


@dataclass(frozen=True)
class Curve:
    """The S settings of a twin on n items."""

    rows: Sequence[Row]

    @property
    def right(self) -> Array:
        """(S, n) whether each item is right."""
        return np.array([[float(x == "1") for x in row["right"]] for row in self.rows])

    @property
    def forwards(self) -> Array:
        """(S, n) forward passes of each item."""
        return np.array([row["forwards"] for row in self.rows], dtype=float)

    def costs(self, axis: str) -> Array:
        """(R, S): the costs in each of R turns."""
        return np.array([cost_of(row, axis) for row in self.rows]).T

    def end(self, best: bool) -> NDArray[np.float64]:
        """(n,): whether each item is right under the most or the least accurate setting."""
        right = self.right
        means = right.mean(1)
        return np.asarray(right[means.argmax() if best else means.argmin()])


Open = Literal["no common accuracy", "seldom right"]


@dataclass(frozen=True)
class Apart:
    """Why two kinds are not compared, and the accuracies of their nearest settings."""

    reason: Open
    means: tuple[float, float]


@dataclass(frozen=True)
class Ratio:
    """The ratio of two costs at equal accuracy for each seed: the means of both costs over seeds, the ratios in
    doublings, and the standard error of their mean due to the items alone."""

    means: tuple[float, float]
    doublings: tuple[float, ...]
    noise: float


def apart(pairs: Sequence[tuple[Curve, Curve]]) -> Apart | None:
    """Why the curves of two kinds, a pair for each seed, are not compared; None if they are."""
    best = [(a.end(True), b.end(True)) for a, b in pairs]
    means = fmean(float(a.mean()) for a, _ in best), fmean(float(b.mean()) for _, b in best)
    ahead = means[0] >= means[1]
    most = [b if ahead else a for a, b in best]
    least = [(a if ahead else b).end(False) for a, b in pairs]
    gains = np.concatenate([x - y for x, y in zip(least, most, strict=True)])
    centre, error = bonett_price(float(gains.mean()), float((gains**2).mean()), len(gains))
    if centre > SURE * error:
        ends = fmean(float(x.mean()) for x in least), fmean(float(x.mean()) for x in most)
        return Apart("no common accuracy", ends if ahead else (ends[1], ends[0]))
    return Apart("seldom right", means) if min(means) < ENOUGH else None


def at_equal(own: tuple[Array, Array], accuracy: tuple[Array, Array]) -> tuple[float, float]:
    """The two costs, (S,) each, at the accuracy of the weaker twin's best setting."""
    wanted = min(float(x.max()) for x in accuracy)
    return cost_at(own[0], accuracy[0], wanted), cost_at(own[1], accuracy[1], wanted)


def doublings(x: float, y: float) -> float:
    return float(np.log2(x / y))


def scatter(pair: tuple[Curve, Curve], axis: str, draws: Array) -> float:
    """The variance of a seed's ratio over resamples of its items, `draws (R, n)`. FLOPs and seconds are divided among
    the items in proportion to their forward passes."""
    drawn = []
    for c in pair:
        forwards = c.forwards
        spent = np.median(c.costs(axis), 0) * (draws @ forwards.T) / forwards.mean(1)
        drawn.append((draws @ c.right.T, spent))
    (right, spent), (other, price) = drawn
    made = [
        doublings(*at_equal((spent[i], price[i]), (right[i], other[i]))) for i in range(len(draws))
    ]
    return float(np.var(made))


def ratio(pairs: Sequence[tuple[Curve, Curve]], axis: str) -> Ratio:
    """The ratio of the costs of two kinds, given a pair of curves for each seed; for seconds, it is the median over the
    turns, as both were measured in each turn."""
    means, own, variances = [], [], []
    for a, b in pairs:
        accuracy = a.right.mean(1), b.right.mean(1)
        turns = [at_equal((x, y), accuracy) for x, y in zip(a.costs(axis), b.costs(axis), strict=True)]
        means.append((median(x for x, _ in turns), median(y for _, y in turns)))
        own.append(median(doublings(x, y) for x, y in turns))
        rungs = [name for name in TASKS for _ in range(a.right.shape[1] // len(TASKS))]
        variances.append(scatter((a, b), axis, sample(rungs, resamples=DRAWS).draws))
    noise = sum(variances) ** 0.5 / len(pairs)
    return Ratio((fmean(x for x, _ in means), fmean(y for _, y in means)), tuple(own), noise)


def curves(costs: Sequence[Sequence[Row]], kind: Kind) -> list[Curve]:
    """The curves of a kind, one for each seed."""
    return [Curve([row for row in own if row["kind"] == kind]) for own in costs]
