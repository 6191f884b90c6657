"""Everything that is computed from the rows of a quality run: the tables and the report show nothing else.

A point is all cells of a decoder, of all tasks, wordings and seeds; a curve joins the points that differ in the swept
option alone. Definitions, with their sources, are in docs/benchmarking.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import exp

from decoders import UsageError
from decoders_bench.common.statistics import clustered, mcnemar, paired_difference
from decoders_bench.quality.rows import Row, Setting, grouped

ALPHA, TOLERATED = 3.0, 5.0
"""Of `area`: how much a loss of accuracy weighs, and the points of accuracy that a curve may lose before it ends."""


@dataclass(frozen=True)
class Summary:
    """What was measured over some rows."""

    n: int
    right: int
    accuracy: float
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


def summarise(rows: Sequence[Row]) -> Summary:
    """Of at least one row."""
    n, right = len(rows), sum(r.right for r in rows)
    low, high = clustered([(r.problem, r.right) for r in rows])
    nfe, tokens = sum(r.nfe for r in rows), sum(r.tokens for r in rows)
    seconds, positions = sum(r.seconds for r in rows) / n, sum(r.positions for r in rows) / n
    return Summary(n, right, right / n, low, high, nfe / n, tokens / n, tokens / max(nfe, 1), seconds, positions)


def cells(rows: Iterable[Row]) -> dict[str, tuple[Row, Summary]]:
    """Of every cell its first row, which says what it is, and its summary."""
    return {cell: (own[0], summarise(own)) for cell, own in grouped(rows, lambda r: r.cell).items()}


@dataclass(frozen=True)
class Point(Setting):
    """A decoder with its cache, over all rows that were given."""

    summary: Summary
    templates: dict[int, Summary]
    """By the wording of the prompt."""
    rows: tuple[Row, ...]

    @property
    def spread(self) -> float:
        """The difference in accuracy between the best wording and the worst, of those in which every task was asked."""
        tasks = {(r.task, r.rung) for r in self.rows}
        asked = grouped(self.rows, lambda r: r.template)
        whole = [self.templates[t].accuracy for t, own in asked.items() if {(r.task, r.rung) for r in own} == tasks]
        return max(whole) - min(whole) if whole else 0.0


def points(rows: Iterable[Row]) -> list[Point]:
    """All decoders, in the order of their first row. Give the rows of one task for that task's points."""
    out = []
    for setting, own in grouped(rows, lambda r: r.setting).items():
        templates = {t: summarise(part) for t, part in sorted(grouped(own, lambda r: r.template).items())}
        out.append(Point(**asdict(setting), summary=summarise(own), templates=templates, rows=tuple(own)))
    return out


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
    """How many of the points the area is over: those that have not lost too much."""


def curves(own: Sequence[Point]) -> list[Curve]:
    """All curves of some points, in the order of their first point; the most accurate of all the points is what losses
    are measured against in their areas."""
    best = max((100 * p.summary.accuracy for p in own), default=0.0)
    out = []
    for key, part in grouped(own, lambda p: (p.model, p.curve, p.cache, p.block, p.swept)).items():
        ordered = tuple(sorted(part, key=lambda p: (p.summary.tokens_per_forward, -p.summary.accuracy)))
        where = [(p.summary.tokens_per_forward, 100 * p.summary.accuracy) for p in ordered]
        out.append(Curve(*key, ordered, area(where, best), len(kept(where))))
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
    """The points than which none is both cheaper and at least as accurate, nor as cheap and more accurate, from the
    cheapest on."""
    out: list[Point] = []
    for p in sorted(own, key=lambda p: (cost(p), -p.summary.accuracy)):
        if not out or p.summary.accuracy > out[-1].summary.accuracy:
            out.append(p)
    return out


@dataclass(frozen=True)
class Comparison:
    """Two decoders on the same items. A problem counts once, however many wordings it was asked in: the one that is
    right in more of them wins it. With one wording this is McNemar's exact test."""

    problems: int
    won: int
    """By the second."""
    lost: int
    difference: float
    """Accuracy of the second less that of the first."""
    low: float
    high: float
    p: float

    def verdict(self, level: float = 0.05) -> str:
        """`better`, `worse`, or `no difference shown`, of the second."""
        if self.p >= level:
            return "no difference shown"
        return "better" if self.won > self.lost else "worse"


def compare(a: Iterable[Row], b: Iterable[Row]) -> Comparison:
    """How the decoder of rows `b` differs from that of rows `a`, on the items that both have. Raises `UsageError` if
    those are none."""
    first = {r.question: r for r in a}
    gains: dict[tuple[str, str, int, int], list[int]] = {}
    for r in b:
        if other := first.get(r.question):
            gains.setdefault(r.problem, []).append(r.right - other.right)
    if not gains:
        raise UsageError("the two have no item in common, so they cannot be compared")
    shares = [sum(g) / len(g) for g in gains.values()]
    won, lost = sum(g > 0 for g in shares), sum(g < 0 for g in shares)
    low, high = paired_difference(shares)
    return Comparison(len(shares), won, lost, sum(shares) / len(shares), low, high, mcnemar(lost, won))


def holm(ps: Sequence[float]) -> list[float]:
    """p-values of several comparisons, adjusted so that the chance that any verdict is wrong stays below the level
    (Holm 1979, Scandinavian Journal of Statistics 6:65)."""
    out, highest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[i]))
        out[i] = highest
    return out


def rival(p: Point, others: Iterable[Point]) -> Point | None:
    """The most accurate of `others` that takes no more forwards; none if all take more."""
    return max((q for q in others if q.summary.nfe <= p.summary.nfe), key=lambda q: q.summary.accuracy, default=None)
