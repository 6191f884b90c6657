"""Two decoders at equal cost. A decoder with a knob is a curve: its settings, asked the same problems. What is compared
is the accuracy that the curves reach at one cost, and where the grid of the other leaves that open, nothing is said.

Between two of its settings the baseline is taken to reach at least what the cheaper one does, and no more than the
better of all that are not dearer than the dearer one: that, and no interpolation, is what a verdict rests on. The
interval of the difference is over problems, drawn again within each rung, and holds along the whole axis at once, for
all decoders that are compared (the distribution of the largest deviation: Romano and Wolf 2005, Econometrica 73:1237).
docs/benchmarking.md says it at length.
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
"""Standard errors by which a cost has to be larger to count as larger: 1 % two-sided."""
FINE = 0.5
"""A bracket is narrow when its ends are no further apart than this share of the interval's half-width."""
Word = Literal["better", "worse", "not distinguishable", "the bracket is wider than the difference",
               "outside the baseline's sweep", "better at some costs, worse at others"]  # fmt: skip
BETTER: Word = "better"
WORSE: Word = "worse"
EVEN: Word = "not distinguishable"
WIDE: Word = "the bracket is wider than the difference"
OUTSIDE: Word = "outside the baseline's sweep"
BOTH: Word = "better at some costs, worse at others"


@dataclass(frozen=True)
class Sweep:
    """The settings of a decoder on n problems: the share of each problem's wordings that is right, and what it costs,
    both (S, n)."""

    right: Array
    cost: Array
    slack: float = 0.0
    """The share by which a cost may be off for all problems at once, as seconds are on a machine that has other work;
    costs that are closer are not told apart."""


@dataclass(frozen=True)
class Sample:
    """The problems: what each weighs (n,), those of each rung, and what each weighs in every draw (R, n)."""

    weight: Array
    rungs: tuple[NDArray[np.intp], ...]
    draws: Array

    @property
    def size(self) -> float:
        """The effective number of problems: that of as many of equal weight."""
        return float(1 / (self.weight**2).sum())

    @property
    def freedom(self) -> float:
        """Degrees of freedom: each rung has a mean of its own."""
        return max(self.size - len(self.rungs), 1.0)


def sample(rungs: Sequence[Hashable], seed: int = 0, resamples: int = RESAMPLES) -> Sample:
    """Problems weigh equally within a rung and rungs equally; a draw has as many of each rung as there are. `rungs`: of
    every problem."""
    weight, rng = np.array(balanced(rungs)), np.random.default_rng(seed)
    draws = np.empty((resamples, len(rungs)))
    places: dict[Hashable, list[int]] = {}
    for i, rung in enumerate(rungs):
        places.setdefault(rung, []).append(i)
    for own in places.values():
        draws[:, own] = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), size=resamples)
    return Sample(weight, tuple(np.array(own) for own in places.values()), draws * weight)


def gains(a: Array, b: Array, over: Sample) -> tuple[Array, Array]:
    """(S, T) each: the mean of a - b over problems, of every row of `a` (S, n) with every one of `b` (T, n), and the
    variance of that mean, from what scatters within the rungs."""
    mean = (a @ over.weight)[:, None] - (b @ over.weight)[None, :]
    variance = np.zeros_like(mean)
    for own in over.rungs:
        x, y, weight, n = a[:, own], b[:, own], float(over.weight[own[0]]), len(own)
        if n > 1:  # of a rung with one problem nothing says how it scatters: its own deviation from 0 is taken
            x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
        squares = (x**2).sum(1)[:, None] + (y**2).sum(1)[None, :] - 2 * x @ y.T
        variance += weight**2 * np.maximum(squares, 0) * n / max(n - 1, 1)
    return mean, variance


def differing(a: Array, b: Array, over: Sample) -> tuple[Array, Array]:
    """(S, T) each: centre and standard error of the difference of two accuracies (`bonett_price`)."""
    mean, variance = gains(a, b, over)
    return bonett_price(mean, mean**2 + variance * max(over.size - 1, 1.0), over.size)


@dataclass(frozen=True)
class Table:
    """Every setting of a decoder (S of them) against every one of a baseline (T)."""

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
        """(S, T) each: what the baseline's setting costs more, and the standard error of that."""
        saved, variance = gains(self.mine.cost, self.base.cost, self.sample)
        return -saved, np.where(variance < 1e-16 * np.abs(self.cost[1]).max() ** 2, 0, variance) ** 0.5

    @cached_property
    def margin(self) -> Array:
        """(S, T): by how much two costs have to differ to be told apart."""
        a, b = self.cost
        slack = max(self.mine.slack, self.base.slack) * np.maximum(a[:, None], b[None, :])
        return np.asarray(SURE * self.more[1] + slack - 1e-12 * np.abs(b).max())

    @cached_property
    def dearer(self) -> Flags:
        """The baseline's setting costs at least as much, beyond chance."""
        return np.asarray(self.more[0] >= self.margin)

    @cached_property
    def cheaper(self) -> Flags:
        return np.asarray(-self.more[0] >= self.margin)

    @cached_property
    def below(self) -> list[int | None]:
        """Of every setting the baseline's nearest that is cheaper or costs the same, of equals the most accurate."""
        return [self.nearest(self.cheaper[j], 1) for j in range(len(self.cheaper))]

    @cached_property
    def above(self) -> list[int | None]:
        return [self.nearest(self.dearer[j], -1) for j in range(len(self.dearer))]

    def nearest(self, allowed: Flags, sign: int) -> int | None:
        accuracy, cost = self.accuracy[1], self.cost[1]
        found = [int(k) for k in np.flatnonzero(allowed)]
        return max(found, key=lambda k: (round(sign * float(cost[k]), 9), accuracy[k]), default=None)

    def near(self, j: int) -> Flags:
        """(T,): what cannot be told from setting `j` by its cost."""
        return np.asarray(~self.dearer[j] & ~self.cheaper[j])

    def bracket(self, j: int) -> list[int]:
        """What setting `j` is held against: its two neighbours, and what is between them."""
        ends = [k for k in (self.below[j], self.above[j]) if k is not None]
        return sorted({*ends, *np.flatnonzero(self.near(j)).tolist()})

    def deviations(self) -> Array:
        """(R, C): by how many standard deviations each difference of a bracket is off, in every draw."""
        draws, (a, b) = self.sample.draws, self.accuracy
        mine, base = draws @ self.mine.right.T - a, draws @ self.base.right.T - b
        pairs = [(j, k) for j in range(len(a)) for k in self.bracket(j)]
        off = np.stack([mine[:, j] - base[:, k] for j, k in pairs], 1) if pairs else np.empty((len(draws), 0))
        return scaled(off)


def scaled(off: Array) -> Array:
    """(R, C) deviations by their standard deviations, without those that never differ."""
    scale = off.std(0)
    return np.asarray(off[:, scale > 1e-12] / scale[scale > 1e-12])


def along(own: Sweep, over: Sample, level: float = LEVEL) -> float:
    """The number of standard errors within which the accuracies of all settings of a decoder are at once."""
    off = scaled(over.draws @ own.right.T - own.right @ over.weight)
    return student(within([off], level), over.freedom)


def critical(tables: Sequence[Table], level: float = LEVEL) -> float:
    """The number of standard errors within which all differences of all tables are at once. Differences that always are
    the same count once."""
    return within([t.deviations() for t in tables], level)


def within(deviations: Sequence[Array], level: float) -> float:
    """The number of standard deviations within which all of the `deviations`, (R, C) each, are at once, in all but
    `level` of the draws; no fewer than of one alone."""
    largest = [np.abs(x).max(1) for x in deviations if x.shape[1]]
    if not largest:
        return Z
    return max(float(np.quantile(np.max(largest, 0), 1 - level, method="higher")), Z)


@dataclass(frozen=True)
class Standing:
    """A setting of a decoder against the baseline at the same cost. All accuracies are shares, not points."""

    setting: int
    accuracy: float
    cost: float
    cheaper: int | None
    """The baseline's setting next to it that costs less or the same, or cannot be told from it; None if there is
    none."""
    dearer: int | None
    base: float
    """What the baseline reaches at that cost: between the two by their costs, as a mixture of both does; next to one
    end, that."""
    difference: float
    low: float | None
    """The interval: down to the difference from the better of what is not dearer than the bracket's upper end; None
    where the bracket has no upper end, so that nothing says how good the baseline is there."""
    high: float | None
    """Up to the difference from the bracket's lower end."""
    verdict: Word
    aim: float | None = None
    """Where the bracket is too wide: how far between its ends, in cost, a setting of the baseline would decide."""
    ends: tuple[int, int] | None = None
    """Those ends."""
    share: float = 0.0
    """Of the dearer one in the mixture that costs as much; 0 where there is one end alone."""


def standing(t: Table, j: int, c: float) -> Standing:
    """`c`: standard errors that the interval reaches to."""
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
    """How far from one end of a bracket to the other, in cost, a setting of the baseline would be certain to be dearer
    than setting `j` (where that is `ahead` of what is cheaper), or to be cheaper, and no further off than it must."""
    cost, costs = float(t.cost[0][j]), t.cost[1]
    margin = 1.5 * float(t.margin[j, above if ahead else below])
    width = max(float(costs[above] - costs[below]), 1e-12)
    return (cost + (margin if ahead else -margin) - float(costs[below])) / width


def between(costs: Array, accuracy: Array, cost: float) -> tuple[float, int | None, int | None]:
    """What a baseline reaches at a cost by its settings' costs (T,) and accuracies (T,), and its settings next to it on
    both sides."""
    order = sorted(range(len(costs)), key=lambda k: (costs[k], accuracy[k]))
    cheap = next((k for k in reversed(order) if costs[k] <= cost + 1e-12), None)
    dear = next((k for k in order if costs[k] >= cost - 1e-12), None)
    if cheap is None or dear is None or costs[dear] <= costs[cheap]:
        end = cheap if cheap is not None else dear
        assert end is not None  # a baseline has a setting
        return float(accuracy[end]), cheap, dear
    share = mixed(costs, cheap, dear, cost)
    return float((1 - share) * accuracy[cheap] + share * accuracy[dear]), cheap, dear


def mixed(costs: Array, cheap: int, dear: int, cost: float) -> float:
    """The share of the dearer of two settings in a mixture of them that costs so much."""
    width = float(costs[dear] - costs[cheap])
    return (cost - float(costs[cheap])) / width if width > 0 else 0.0


def front(costs: Sequence[float] | Array, accuracy: Sequence[float] | Array) -> list[int]:
    """The settings than which none is both cheaper and at least as accurate, nor as cheap and more accurate, from the
    cheapest on."""
    out: list[int] = []
    for i in sorted(range(len(costs)), key=lambda i: (costs[i], -accuracy[i])):
        if not out or accuracy[i] > accuracy[out[-1]]:
            out.append(i)
    return out


def cost_at(costs: Array, accuracy: Array, wanted: float) -> float:
    """What an accuracy costs a decoder by its settings' costs (S,) and accuracies (S,): `between`, the other way. It is
    the cost of a mixture of the two settings of the front next to that accuracy; beyond an end of the front, that of
    the end."""
    own = front(costs, accuracy)
    return -between(accuracy[own], -costs[own], wanted)[0]


@dataclass(frozen=True)
class Verdict:
    """A decoder against the baseline along the whole axis."""

    standings: tuple[Standing, ...]
    """By cost."""
    word: Word


def verdicts(pairs: Sequence[tuple[Sweep, Sweep]], over: Sample, level: float = LEVEL) -> list[Verdict]:
    """Of every decoder and its baseline, with intervals that hold at once over all of them."""
    tables = [Table(mine, base, over) for mine, base in pairs]
    if not tables:
        return []
    c = student(critical(tables, level), over.freedom)
    return [concluded([standing(t, j, c) for j in range(len(t.mine.right))]) for t in tables]


def counting(ordered: Sequence[Standing]) -> list[Standing]:
    """The settings that a verdict on the curve rests on, of all by their cost."""
    out, best = [], -1.0
    for s in ordered:
        if s.accuracy > best or s.verdict == BETTER:
            out.append(s)
        best = max(best, s.accuracy)
    return out


def concluded(found: Sequence[Standing]) -> Verdict:
    """The verdict on a curve is that on its settings, without those that cost more than another of it and are not more
    accurate."""
    ordered = tuple(sorted(found, key=lambda s: (s.cost, -s.accuracy, s.setting)))
    said = {s.verdict for s in counting(ordered)}
    if {BETTER, WORSE} <= said:
        return Verdict(ordered, BOTH)
    word = next((w for w in (BETTER, WORSE, WIDE) if w in said), OUTSIDE if said == {OUTSIDE} else EVEN)
    return Verdict(ordered, word)
