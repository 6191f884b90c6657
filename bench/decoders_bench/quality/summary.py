"""Everything that is computed from the rows of a quality run: the tables and the report show nothing else.

A point is all cells of a decoder, of all tasks, wordings and seeds; a curve joins the points that differ in the swept
option alone. Every mean weighs problems equally within a rung and rungs equally, however many wordings a problem was
asked in. Definitions, with their sources, are in docs/benchmarking.md.
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
"""Of `area`: how much a loss of accuracy weighs, and the points of accuracy that a curve may lose before it ends."""


@dataclass(frozen=True)
class Summary:
    """What was measured over some rows."""

    n: int
    """Items: problems, each as often as it was worded."""
    right: int
    accuracy: float
    """Not `right` over `n` where some rungs or problems have more items than others."""
    low: float
    high: float
    """Wilson's 95 % interval; a problem that was asked in several wordings is not counted as several
    (`statistics.clustered`)."""
    nfe: float
    """Forward passes of an item, in the mean."""
    tokens: float
    """Generated tokens of an item, in the mean."""
    tokens_per_forward: float
    """All generated tokens over all forward passes."""
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
    """Of at least one row."""
    own = nested(rows)
    low, high = clustered(((r.problem, r.right) for r in rows), lambda problem: problem[:2])  # type: ignore[index]
    nfe, tokens = level(own, lambda r: r.nfe), level(own, lambda r: r.tokens)
    return Summary(
        len(rows), sum(r.right for r in rows), level(own, lambda r: r.right), low, high, nfe, tokens,
        tokens / nfe if nfe else 0.0, level(own, lambda r: r.seconds), level(own, lambda r: r.positions),
    )  # fmt: skip


def cells(rows: Iterable[Row]) -> dict[str, tuple[Row, Summary]]:
    """Of every cell its first row, which says what it is, and its summary."""
    return {cell: (own[0], summarise(own)) for cell, own in grouped(rows, lambda r: r.cell).items()}


@dataclass(frozen=True)
class Point(Setting):
    """A decoder with its cache, over all rows that were given."""

    summary: Summary
    templates: dict[int, Summary]
    """By the wording of the prompt, on the same tasks (`worded`)."""
    rows: tuple[Row, ...]

    @property
    def spread(self) -> float:
        """The difference in accuracy between the best wording and the worst."""
        own = [s.accuracy for s in self.templates.values()]
        return max(own) - min(own) if own else 0.0


def points(rows: Iterable[Row]) -> list[Point]:
    """All decoders, in the order of their first row. Give the rows of one task for that task's points."""
    out = []
    for setting, own in grouped(rows, lambda r: r.setting).items():
        templates = {t: summarise(part) for t, part in worded(own).items()}
        out.append(Point(**asdict(setting), summary=summarise(own), templates=templates, rows=tuple(own)))
    return out


def comparable(rows: Sequence[Row]) -> tuple[list[Point], list[bool]]:
    """The points over the questions of the set that most of them were asked, of sets that equally many were asked the
    largest; and which of them have all of these. One that lacks some stands here with what it has."""
    everything = points(rows)
    asked = [frozenset(r.question for r in p.rows) for p in everything]
    most = max(asked, key=lambda own: (asked.count(own), len(own)))
    whole = [own >= most for own in asked]
    common = points(r for p, ok in zip(everything, whole, strict=True) for r in p.rows if not ok or r.question in most)
    return common, whole


def worded(rows: Iterable[Row]) -> dict[int, list[Row]]:
    """Rows by wording, on the same tasks: those that were asked in several wordings, and of the wordings those in which
    all of these were asked. Tasks that have one wording alone are left out, unless all do."""
    by_rung = grouped(rows, lambda r: r.problem[:2])
    asked = {rung: {r.template for r in own} for rung, own in by_rung.items()}
    several = {rung: ts for rung, ts in asked.items() if len(ts) > 1} or asked
    common = set.intersection(*several.values()) if several else set()
    kept_rows = [r for rung in several for r in by_rung[rung] if r.template in common]
    return dict(sorted(grouped(kept_rows, lambda r: r.template).items()))


@dataclass(frozen=True)
class Curve:
    """The points of a decoder that differ in the swept option alone, from the fewest tokens per forward to the most."""

    model: str
    curve: str
    cache: str
    block: int | None
    swept: str | None
    points: tuple[Point, ...]
    aup: float
    """Its area (`area`); accuracy in percent."""
    kept: int
    """How many different points the area is over: those that have not lost too much."""


def curves(own: Sequence[Point]) -> list[Curve]:
    """All curves of some points, in the order of their first point; the most accurate of all the points is what losses
    are measured against in their areas."""
    best = max((100 * p.summary.accuracy for p in own), default=0.0)
    out = []
    for key, part in grouped(own, lambda p: (p.model, p.curve, p.cache, p.block, p.swept)).items():
        ordered = tuple(sorted(part, key=lambda p: (p.summary.tokens_per_forward, -p.summary.accuracy)))
        where = [(p.summary.tokens_per_forward, 100 * p.summary.accuracy) for p in ordered]
        out.append(Curve(*key, ordered, area(where, best), len(set(kept(where)))))
    return out


def kept(where: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those of (tokens per forward, accuracy in percent), ascending, that lose at most 5 points against the first."""
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
"""Settings that an area needs under it to be ranked, where some curve has as many."""


def ranked(own: Sequence[Curve]) -> list[tuple[Curve, int | None]]:
    """Curves from the largest area on, with their ranks; behind them, without one, those whose area is over fewer
    settings than a comparison needs. No curve has a rank where there is nothing to be ranked beside it."""
    enough = min(ENOUGH, max((c.kept for c in own), default=0))
    ordered = sorted(own, key=lambda c: (c.kept < enough, -c.aup))
    several = sum(c.kept >= enough for c in own) > 1
    return [(c, rank if several and c.kept >= enough else None) for rank, c in enumerate(ordered, 1)]


@dataclass(frozen=True)
class Comparison:
    """Two decoders on the same items. A problem counts once, however many wordings it was asked in, and rungs count
    equally: the difference is that of the accuracies."""

    problems: int
    won: int
    """Problems of which the second is right in more wordings."""
    lost: int
    difference: float
    """Accuracy of the second less that of the first."""
    low: float
    high: float
    """95 %: Bonett and Price's (`statistics.bonett_price`), by Student's t."""
    p: float
    """Two-sided: below 5 % where the interval leaves 0 out."""
    gains: tuple[float, ...] = field(default=(), repr=False)
    """What each problem gained: comparisons in which these are equal are one."""

    def verdict(self, level: float = 0.05) -> str:
        """`better`, `worse`, or `not distinguishable`, of the second."""
        if self.p >= level:
            return "not distinguishable"
        return "better" if self.difference > 0 else "worse"


def compare(a: Iterable[Row], b: Iterable[Row]) -> Comparison:
    """How the decoder of rows `b` differs from that of rows `a`, on the items that both have. Raises `UsageError` if
    those are none."""
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


def adjusted(found: Sequence[Comparison]) -> list[float]:
    """The p-values of comparisons that stand beside one another (`holm`); those of identical results count once."""
    once = list(dict.fromkeys(found))
    at = dict(zip(once, holm([c.p for c in once]), strict=True))
    return [at[c] for c in found]


def holm(ps: Sequence[float]) -> list[float]:
    """p-values of several comparisons, adjusted so that the chance that any verdict is wrong stays below the level
    (Holm 1979, Scandinavian Journal of Statistics 6:65)."""
    out, highest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[i]))
        out[i] = highest
    return out
