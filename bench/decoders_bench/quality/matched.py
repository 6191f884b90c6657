"""Comparison of two decoders at equal cost. A decoder with a knob is a curve: its settings, all asked the same
problems. The accuracies of both curves at the same cost are compared; where the settings of the baseline are too far
apart to tell, there is no verdict.

Between two neighbouring settings, the baseline's accuracy is taken to be at least that of the cheaper one, and at most
the best of all settings that cost no more than the dearer one. Verdicts rest on these bounds, not on an interpolation.
The interval of the difference comes from a bootstrap over problems, resampled within each rung, and holds
simultaneously along the whole axis and for all compared decoders (the distribution of the largest deviation: Romano and
Wolf 2005, Econometrica 73:1237). docs/benchmarking.md describes the method in detail.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from decoders_bench.common.statistics import Z, balanced, bonett_price, student

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
LEVEL = 0.05
RESAMPLES = 2000
SURE = 2.576
"""The number of standard errors by which a cost has to be larger to count as larger: 1 % two-sided."""
FINE = 0.5
"""A bracket is narrow if the accuracies at its ends differ by no more than this share of the interval's half-width."""
Word = Literal["better", "worse", "not distinguishable", "the baseline's settings are too far apart to tell",
               "outside the baseline's sweep", "better at some costs, worse at others"]  # fmt: skip
BETTER: Word = "better"
WORSE: Word = "worse"
EVEN: Word = "not distinguishable"
WIDE: Word = "the baseline's settings are too far apart to tell"
OUTSIDE: Word = "outside the baseline's sweep"
BOTH: Word = "better at some costs, worse at others"


@dataclass(frozen=True)
class Sweep:
    """The settings of a decoder on n problems: the share of each problem's wordings that is answered correctly, and the
    cost of each problem, both (S, n)."""

    right: Array
    cost: Array
    slack: float = 0.0
    """The relative error that the cost of all problems may have in common, as seconds have on a machine with other
    work; costs that differ by less count as equal."""


@dataclass(frozen=True)
class Sample:
    """The problems: the weight of each (n,), the problems of each rung, and the weight of each problem in every
    resample (R, n)."""

    weight: Array
    rungs: tuple[NDArray[np.intp], ...]
    draws: Array

    @property
    def size(self) -> float:
        """The effective number of problems: the number of equally weighted problems with the same variance."""
        return float(1 / (self.weight**2).sum())

    @property
    def freedom(self) -> float:
        """Degrees of freedom: one is used for the mean of each rung."""
        return max(self.size - len(self.rungs), 1.0)


def sample(rungs: Sequence[Hashable], seed: int = 0, resamples: int = RESAMPLES) -> Sample:
    """Problems have equal weight within a rung, and rungs have equal weight; a resample has as many problems of each
    rung as there are. `rungs`: the rung of every problem."""
    weight, rng = np.array(balanced(rungs)), np.random.default_rng(seed)
    draws = np.empty((resamples, len(rungs)))
    places: dict[Hashable, list[int]] = {}
    for i, rung in enumerate(rungs):
        places.setdefault(rung, []).append(i)
    for own in places.values():
        draws[:, own] = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), size=resamples)
    return Sample(weight, tuple(np.array(own) for own in places.values()), draws * weight)


def gains(a: Array, b: Array, over: Sample) -> tuple[Array, Array]:
    """(S, T) each: the mean of a - b over problems, for every row of `a` (S, n) with every row of `b` (T, n), and the
    variance of that mean, from the scatter within the rungs."""
    mean = (a @ over.weight)[:, None] - (b @ over.weight)[None, :]
    variance = np.zeros_like(mean)
    for own in over.rungs:
        x, y, weight, n = a[:, own], b[:, own], float(over.weight[own[0]]), len(own)
        if n > 1:  # one problem alone has no scatter within its rung: its deviation from 0 is taken instead
            x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
        squares = (x**2).sum(1)[:, None] + (y**2).sum(1)[None, :] - 2 * x @ y.T
        variance += weight**2 * np.maximum(squares, 0) * n / max(n - 1, 1)
    return mean, variance


def differing(a: Array, b: Array, over: Sample) -> tuple[Array, Array]:
    """(S, T) each: centre and standard error of the difference between two accuracies (`bonett_price`)."""
    mean, variance = gains(a, b, over)
    return bonett_price(mean, mean**2 + variance * max(over.size - 1, 1.0), over.size)


@dataclass(frozen=True)
class Table:
    """Every setting of a decoder (S of them) against every setting of a baseline (T of them)."""

    mine: Sweep
    base: Sweep
    sample: Sample

    @cached_property
    def accuracy(self) -> tuple[Array, Array]:
        return self.mine.right @ self.sample.weight, self.base.right @ self.sample.weight

    @cached_property
    def cost(self) -> tuple[Array, Array]:
        return self.mine.cost @ self.sample.weight, self.base.cost @ self.sample.weight

    @cached_property
    def gain(self) -> tuple[Array, Array]:
        return differing(self.mine.right, self.base.right, self.sample)

    @cached_property
    def more(self) -> tuple[Array, Array]:
        """(S, T) each: by how much the baseline's setting costs more, and the standard error of this difference."""
        saved, variance = gains(self.mine.cost, self.base.cost, self.sample)
        return -saved, np.where(variance < 1e-16 * np.abs(self.cost[1]).max() ** 2, 0, variance) ** 0.5

    @cached_property
    def margin(self) -> Array:
        """(S, T): the least difference at which two costs count as different."""
        a, b = self.cost
        slack = max(self.mine.slack, self.base.slack) * np.maximum(a[:, None], b[None, :])
        return np.asarray(SURE * self.more[1] + slack - 1e-12 * np.abs(b).max())

    @cached_property
    def dearer(self) -> Flags:
        """Whether the baseline's setting is dearer or costs the same, by more than chance explains."""
        return np.asarray(self.more[0] >= self.margin)

    @cached_property
    def cheaper(self) -> Flags:
        return np.asarray(-self.more[0] >= self.margin)

    @cached_property
    def below(self) -> list[int | None]:
        """For every setting, the nearest setting of the baseline that is cheaper or costs the same; of several with
        equal costs, the most accurate one."""
        return [self.nearest(self.cheaper[j], 1) for j in range(len(self.cheaper))]

    @cached_property
    def above(self) -> list[int | None]:
        return [self.nearest(self.dearer[j], -1) for j in range(len(self.dearer))]

    def nearest(self, allowed: Flags, sign: int) -> int | None:
        accuracy, cost = self.accuracy[1], self.cost[1]
        found = [int(k) for k in np.flatnonzero(allowed)]
        return max(found, key=lambda k: (round(sign * float(cost[k]), 9), accuracy[k]), default=None)

    def near(self, j: int) -> Flags:
        """(T,): the settings of the baseline whose cost cannot be distinguished from that of setting `j`."""
        return np.asarray(~self.dearer[j] & ~self.cheaper[j])

    def bracket(self, j: int) -> list[int]:
        """The settings of the baseline with which setting `j` is compared: its two neighbours, and all between them."""
        ends = [k for k in (self.below[j], self.above[j]) if k is not None]
        return sorted({*ends, *np.flatnonzero(self.near(j)).tolist()})

    def deviations(self) -> Array:
        """(R, C): the deviation of each difference of a bracket in every resample, in standard deviations."""
        draws, (a, b) = self.sample.draws, self.accuracy
        mine, base = draws @ self.mine.right.T - a, draws @ self.base.right.T - b
        pairs = [(j, k) for j in range(len(a)) for k in self.bracket(j)]
        off = np.stack([mine[:, j] - base[:, k] for j, k in pairs], 1) if pairs else np.empty((len(draws), 0))
        return scaled(off)


def scaled(off: Array) -> Array:
    """(R, C) deviations divided by their standard deviations, without the columns that are constant."""
    scale = off.std(0)
    return np.asarray(off[:, scale > 1e-12] / scale[scale > 1e-12])


def along(own: Sweep, over: Sample, level: float = LEVEL) -> float:
    """The number of standard errors of an interval that covers the accuracies of all settings of a decoder
    simultaneously."""
    off = scaled(over.draws @ own.right.T - own.right @ over.weight)
    return student(within([off], level), over.freedom)


def critical(tables: Sequence[Table], level: float = LEVEL) -> float:
    """The number of standard errors of an interval that covers all differences of all tables simultaneously. Identical
    differences do not make it larger."""
    return within([t.deviations() for t in tables], level)


def within(deviations: Sequence[Array], level: float) -> float:
    """The number of standard deviations within which all of the `deviations`, (R, C) each, lie simultaneously in a
    share of 1 - `level` of the resamples; at least the number for a single one."""
    largest = [np.abs(x).max(1) for x in deviations if x.shape[1]]
    if not largest:
        return Z
    return max(float(np.quantile(np.max(largest, 0), 1 - level, method="higher")), Z)


@dataclass(frozen=True)
class Standing:
    """A setting of a decoder compared with the baseline at the same cost. All accuracies are shares from 0 to 1."""

    setting: int
    accuracy: float
    cost: float
    cheaper: int | None
    """The neighbouring setting of the baseline whose cost is lower, equal or indistinguishable; None if there is
    none."""
    dearer: int | None
    base: float
    """The baseline's accuracy at that cost: that of a mixture of its two neighbouring settings with this cost; if there
    is only one neighbour, the accuracy of that one."""
    difference: float
    low: float | None
    """The lower end of the interval: the difference from the best setting that is not dearer than the bracket's upper
    end. None if the bracket has no upper end, as the baseline's accuracy is then unbounded."""
    high: float | None
    """The upper end of the interval: the difference from the bracket's lower end."""
    verdict: Word
    aim: float | None = None
    """If the bracket is too wide: the cost of a new baseline setting that would decide, as a fraction of the way
    between the bracket's ends."""
    ends: tuple[int, int] | None = None
    """The ends of that bracket."""
    share: float = 0.0
    """The share of the dearer setting in the mixture with the same cost; 0 if there is only one neighbour."""


def standing(t: Table, j: int, c: float) -> Standing:
    """Compare setting `j`; `c` is the half-width of the interval in standard errors."""
    (a, b), (cost, costs), (centre, error) = t.accuracy, t.cost, t.gain
    below, above, near = t.below[j], t.above[j], t.near(j)
    lower, upper = centre[j] - c * error[j], centre[j] + c * error[j]
    rest = ~t.dearer[j]
    held = rest | (np.arange(len(b)) == above)
    lost = near | (np.arange(len(b)) == below)
    base, cheap, dear = between(costs, b, float(cost[j]))
    difference = float(a[j]) - base
    low = None if above is None else max(-1.0, min(float(lower[held].min()), difference))
    high = None if below is None else min(1.0, max(float(upper[lost].max()), difference))
    ahead = bool(rest.any()) and bool((lower[rest] > 0).all())
    most = near | (np.arange(len(b)) == above)
    behind = bool(most.any()) and bool((upper[most] < 0).all())
    verdict, aim, ends = EVEN, None, None
    if low is not None and low > 0:
        verdict = BETTER
    elif high is not None and high < 0:
        verdict = WORSE
    elif (above is None and ahead) or (below is None and behind):
        verdict = OUTSIDE
    elif above is not None and below is not None and (ahead or behind):
        wide = abs(float(b[above] - b[below])) > FINE * c * float(error[j, above])
        verdict, ends = (WIDE, (below, above)) if wide else (EVEN, None)
        aim = aimed(t, j, below, above, ahead) if wide else None
    share = 0.0 if cheap is None or dear is None else mixed(costs, cheap, dear, float(cost[j]))
    return Standing(j, float(a[j]), float(cost[j]), cheap, dear, base, difference, low, high, verdict, aim, ends, share)


def aimed(t: Table, j: int, below: int, above: int, ahead: bool) -> float:
    """The cost of a new baseline setting that would decide, as a fraction of the way from the lower to the upper end of
    a bracket. It is just far enough from the cost of setting `j` to be certainly dearer (if setting `j` is `ahead` of
    the cheaper ones) or certainly cheaper."""
    cost, costs = float(t.cost[0][j]), t.cost[1]
    margin = 1.5 * float(t.margin[j, above if ahead else below])
    width = max(float(costs[above] - costs[below]), 1e-12)
    return (cost + (margin if ahead else -margin) - float(costs[below])) / width


def between(costs: Array, accuracy: Array, cost: float) -> tuple[float, int | None, int | None]:
    """The accuracy of a baseline at a cost, from its settings' costs (T,) and accuracies (T,), and its neighbouring
    settings on both sides."""
    order = sorted(range(len(costs)), key=lambda k: (costs[k], accuracy[k]))
    cheap = next((k for k in reversed(order) if costs[k] <= cost + 1e-12), None)
    dear = next((k for k in order if costs[k] >= cost - 1e-12), None)
    if cheap is None or dear is None or costs[dear] <= costs[cheap]:
        end = cheap if cheap is not None else dear
        assert end is not None  # a baseline has at least one setting
        return float(accuracy[end]), cheap, dear
    share = mixed(costs, cheap, dear, cost)
    return float((1 - share) * accuracy[cheap] + share * accuracy[dear]), cheap, dear


def mixed(costs: Array, cheap: int, dear: int, cost: float) -> float:
    """The share of the dearer one in a mixture of two settings whose cost is `cost`."""
    width = float(costs[dear] - costs[cheap])
    return (cost - float(costs[cheap])) / width if width > 0 else 0.0


def front(costs: Sequence[float] | Array, accuracy: Sequence[float] | Array) -> list[int]:
    """The Pareto front from the cheapest setting on: no other setting is cheaper and at least as accurate, or as cheap
    and more accurate."""
    out: list[int] = []
    for i in sorted(range(len(costs)), key=lambda i: (costs[i], -accuracy[i])):
        if not out or accuracy[i] > accuracy[out[-1]]:
            out.append(i)
    return out


def cost_at(costs: Array, accuracy: Array, wanted: float) -> float:
    """The cost at which a decoder reaches an accuracy, from its settings' costs (S,) and accuracies (S,): the inverse
    of `between`. It is the cost of a mixture of the two settings of the front next to that accuracy; beyond an end of
    the front, the cost of that end."""
    own = front(costs, accuracy)
    return -between(accuracy[own], -costs[own], wanted)[0]


@dataclass(frozen=True)
class Verdict:
    """The verdict on a decoder against the baseline along the whole axis."""

    standings: tuple[Standing, ...]
    """In order of cost."""
    word: Word


def verdicts(pairs: Sequence[tuple[Sweep, Sweep]], over: Sample, level: float = LEVEL) -> list[Verdict]:
    """The verdict on each decoder against its baseline, with intervals that hold simultaneously over all of them."""
    tables = [Table(mine, base, over) for mine, base in pairs]
    if not tables:
        return []
    c = student(critical(tables, level), over.freedom)
    return [concluded([standing(t, j, c) for j in range(len(t.mine.right))]) for t in tables]


def counting(ordered: Sequence[Standing]) -> list[Standing]:
    """Of all settings in order of cost, those on which the verdict on the curve rests."""
    out, best = [], -1.0
    for s in ordered:
        if s.accuracy > best or s.verdict == BETTER:
            out.append(s)
        best = max(best, s.accuracy)
    return out


def concluded(found: Sequence[Standing]) -> Verdict:
    """The verdict on a curve, from those on its settings. Settings that cost more than another of the same curve
    without being more accurate do not count."""
    ordered = tuple(sorted(found, key=lambda s: (s.cost, -s.accuracy, s.setting)))
    said = {s.verdict for s in counting(ordered)}
    if {BETTER, WORSE} <= said:
        return Verdict(ordered, BOTH)
    word = next((w for w in (BETTER, WORSE, WIDE) if w in said), OUTSIDE if said == {OUTSIDE} else EVEN)
    return Verdict(ordered, word)
