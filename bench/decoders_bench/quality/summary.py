"""All numbers that are computed from the rows of a quality run; the tables and the report show no others.

A point is all cells of a decoder, of all tasks, wordings and seeds; a curve joins the points that differ only in the
swept option. In every mean, problems have equal weight within a rung, however many wordings they have, and rungs have
equal weight. Definitions, with their sources, are in docs/benchmarking.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from math import exp

import numpy as np

from decoders import UsageError
from decoders_bench.common.statistics import Z, clustered, student, two_sided
from decoders_bench.quality.matched import differing, front, sample
from decoders_bench.quality.rows import Row, Setting, grouped

ALPHA, TOLERATED = 3.0, 5.0
"""Parameters of `area`: the weight of a loss of accuracy, and the points of accuracy that a curve may lose before it
ends."""


@dataclass(frozen=True)
class Summary:
    """The measurements over some rows."""

    n: int
    """Number of items; a problem counts once for each of its wordings."""
    right: int
    accuracy: float
    """It is not `right` / `n` if some rungs or problems have more items than others."""
    low: float
    high: float
    """Wilson's 95 % interval; a problem in several wordings counts as one problem (`statistics.clustered`)."""
    nfe: float
    """Mean number of forward passes of an item."""
    tokens: float
    """Mean number of generated tokens of an item."""
    tokens_per_forward: float
    """All generated tokens divided by all forward passes."""
    seconds: float
    positions: float


Nested = list[list[list[Row]]]


def nested(rows: Iterable[Row]) -> Nested:
    """Rows by rung and problem."""
    rungs = grouped(rows, lambda r: r.problem[:2]).values()
    return [list(grouped(own, lambda r: r.problem).values()) for own in rungs]


def mean(xs: Sequence[float]) -> float:
    return sum(xs) / len(xs)


def level(rows: Nested, value: Callable[[Row], float]) -> float:
    """The mean over rungs of the means over problems of the means over wordings."""
    return mean([mean([mean([value(r) for r in problem]) for problem in rung]) for rung in rows])


def summarise(rows: Sequence[Row]) -> Summary:
    """The summary of one row or more."""
    own = nested(rows)
    low, high = clustered(((r.problem, r.right) for r in rows), lambda problem: problem[:2])  # type: ignore[index]
    nfe, tokens = level(own, lambda r: r.nfe), level(own, lambda r: r.tokens)
    return Summary(
        len(rows), sum(r.right for r in rows), level(own, lambda r: r.right), low, high, nfe, tokens,
        tokens / nfe if nfe else 0.0, level(own, lambda r: r.seconds), level(own, lambda r: r.positions),
    )  # fmt: skip


def cells(rows: Iterable[Row]) -> dict[str, tuple[Row, Summary]]:
    """The first row of every cell, which identifies it, and the summary of the cell."""
    return {cell: (own[0], summarise(own)) for cell, own in grouped(rows, lambda r: r.cell).items()}


@dataclass(frozen=True)
class Point(Setting):
    """A decoder with its cache, over all rows that were given."""

    summary: Summary
    templates: dict[int, Summary]
    """By the wording of the prompt, for the same tasks in all wordings (`worded`)."""
    rows: tuple[Row, ...]

    @property
    def spread(self) -> float:
        """The difference in accuracy between the best and the worst wording."""
        own = [s.accuracy for s in self.templates.values()]
        return max(own) - min(own) if own else 0.0


def points(rows: Iterable[Row]) -> list[Point]:
    """All decoders, in the order of their first row. For the points of one task, pass only its rows."""
    out = []
    for setting, own in grouped(rows, lambda r: r.setting).items():
        templates = {t: summarise(part) for t, part in worded(own).items()}
        out.append(Point(**asdict(setting), summary=summarise(own), templates=templates, rows=tuple(own)))
    return out


def comparable(rows: Sequence[Row]) -> tuple[list[Point], list[bool]]:
    """The points over a common set of questions, and which of them have outcomes on all of these. The set is the one
    that most of the points were asked, or the largest of several such sets. A point without some of the questions keeps
    the ones it has."""
    everything = points(rows)
    asked = [frozenset(r.question for r in p.rows) for p in everything]
    most = max(asked, key=lambda own: (asked.count(own), len(own)))
    whole = [own >= most for own in asked]
    common = points(r for p, ok in zip(everything, whole, strict=True) for r in p.rows if not ok or r.question in most)
    return common, whole


def worded(rows: Iterable[Row]) -> dict[int, list[Row]]:
    """Rows by wording, for the same tasks in all wordings: the tasks that have several wordings, and those of their
    wordings in which all of these tasks were asked. Tasks with a single wording are omitted, unless all tasks have only
    one."""
    by_rung = grouped(rows, lambda r: r.problem[:2])
    asked = {rung: {r.template for r in own} for rung, own in by_rung.items()}
    several = {rung: ts for rung, ts in asked.items() if len(ts) > 1} or asked
    common = set.intersection(*several.values()) if several else set()
    kept_rows = [r for rung in several for r in by_rung[rung] if r.template in common]
    return dict(sorted(grouped(kept_rows, lambda r: r.template).items()))


@dataclass(frozen=True)
class Curve:
    """The points of a decoder that differ only in the swept option, from the fewest tokens per forward to the most."""

    model: str
    curve: str
    cache: str
    block: int | None
    swept: str | None
    points: tuple[Point, ...]
    aup: float
    """Its AUP (`area`), with accuracies in percent."""
    kept: int
    """The number of different points that the area covers: those that have not lost too much accuracy."""


def curves(own: Sequence[Point]) -> list[Curve]:
    """All curves of some points, in the order of their first point; in their areas, losses are relative to the most
    accurate of all points."""
    best = max((100 * p.summary.accuracy for p in own), default=0.0)
    out = []
    for key, part in grouped(own, lambda p: (p.model, p.curve, p.cache, p.block, p.swept)).items():
        ordered = tuple(sorted(part, key=lambda p: (p.summary.tokens_per_forward, -p.summary.accuracy)))
        where = [(p.summary.tokens_per_forward, 100 * p.summary.accuracy) for p in ordered]
        out.append(Curve(*key, ordered, area(where, best), len(set(kept(where)))))
    return out


def kept(where: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (tokens per forward, accuracy in percent), ascending, that lose at most 5 points of accuracy against
    the first."""
    return [(x, y) for x, y in where if y >= where[0][1] - TOLERATED]


def area(where: Sequence[tuple[float, float]], best: float) -> float:
    """Accuracy under parallelism (AUP; d3LLM, 2601.07568) of a curve of (tokens per forward, accuracy in percent),
    ascending:

    x_1 y_1 + sum over i > 1 of (x_i - x_(i-1)) (y_i w(y_i) + y_(i-1) w(y_(i-1))) / 2, with w(y) = min(exp(-3 (1 - y /
    best)), 1),

    over the points with y >= y_1 - 5; `best` is the highest accuracy of all decoders compared. 0 if nothing is
    right."""
    own = kept(where)
    if not own or best <= 0:
        return 0.0
    weighted = [(x, y * min(exp(-ALPHA * (1 - y / best)), 1.0)) for x, y in own]
    return own[0][0] * own[0][1] + sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(weighted))


def pareto(own: Sequence[Point], cost: Callable[[Point], float]) -> list[Point]:
    """The points on the front (`matched.front`), from the cheapest on."""
    return [own[i] for i in front([cost(p) for p in own], [p.summary.accuracy for p in own])]


ENOUGH = 3
"""The least number of settings that an area has to cover to be ranked, provided that some curve has as many."""


def ranked(own: Sequence[Curve]) -> list[tuple[Curve, int | None]]:
    """Curves in descending order of area, with their ranks. The curves whose area covers too few settings for a
    comparison come last and have no rank. If only one curve could have a rank, none has."""
    enough = min(ENOUGH, max((c.kept for c in own), default=0))
    ordered = sorted(own, key=lambda c: (c.kept < enough, -c.aup))
    several = sum(c.kept >= enough for c in own) > 1
    return [(c, rank if several and c.kept >= enough else None) for rank, c in enumerate(ordered, 1)]


@dataclass(frozen=True)
class Comparison:
    """The comparison of two decoders on the same items. A problem counts once, however many wordings it has, and rungs
    have equal weight, so the difference is that of the accuracies."""

    problems: int
    won: int
    """The number of problems that the second decoder solves in more wordings than the first."""
    lost: int
    difference: float
    """The accuracy of the second decoder minus that of the first."""
    low: float
    high: float
    """The 95 % interval of Bonett and Price (`statistics.bonett_price`), with Student's t."""
    p: float
    """Two-sided p-value: below 5 % if the interval excludes 0."""
    gains: tuple[float, ...] = field(default=(), repr=False)
    """The gain on each problem; comparisons with equal gains count as one."""

    def verdict(self, level: float = 0.05) -> str:
        """The verdict on the second decoder: `better`, `worse` or `not distinguishable`."""
        if self.p >= level:
            return "not distinguishable"
        return "better" if self.difference > 0 else "worse"


def compare(a: Iterable[Row], b: Iterable[Row]) -> Comparison:
    """The comparison of the decoder of rows `b` with that of rows `a`, on their common items. Raises `UsageError` if
    there are none."""
    first = {r.question: r for r in a}
    found: dict[tuple[str, str, int, int], list[int]] = {}
    for r in b:
        if other := first.get(r.question):
            found.setdefault(r.problem, []).append(r.right - other.right)
    if not found:
        raise UsageError("the two have no item in common, so they cannot be compared")
    gains = [mean(g) for g in found.values()]
    over = sample([problem[:2] for problem in found], resamples=0)
    nothing = np.zeros((1, len(gains)))
    centre, error = (float(x[0, 0]) for x in differing(np.array([gains]), nothing, over))
    half = student(Z, over.freedom) * error
    won, lost = sum(g > 0 for g in gains), sum(g < 0 for g in gains)
    return Comparison(
        len(gains), won, lost, float(over.weight @ np.array(gains)), max(centre - half, -1.0), min(centre + half, 1.0),
        two_sided(centre / error, over.freedom), tuple(gains),
    )  # fmt: skip


def adjusted(found: Sequence[Comparison], beside: Sequence[Comparison] = ()) -> list[float]:
    """The p-values of several comparisons, adjusted with `holm`; comparisons with identical results count once. Those
    `beside` them, such as the rows of another table, share the correction: a pair then has one verdict in both
    tables."""
    once = list(dict.fromkeys([*found, *beside]))
    at = dict(zip(once, holm([c.p for c in once]), strict=True))
    return [at[c] for c in found]


def holm(ps: Sequence[float]) -> list[float]:
    """p-values of several comparisons, adjusted so that the probability of any wrong verdict is at most the level (Holm
    1979, Scandinavian Journal of Statistics 6:65)."""
    out, highest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[i]))
        out[i] = highest
    return out
