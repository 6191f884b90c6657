"""What the report says of some tasks: who is on the front, who is behind it beyond chance, and in which words.

Only decoders with outcomes on the same items are compared. Every comparison is paired (`quality.summary.compare`), and
its p-value is adjusted by Holm's method over the comparisons that stand beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from decoders_bench.quality.rows import Row
from decoders_bench.quality.summary import (
    TOLERATED,
    Comparison,
    Curve,
    Point,
    compare,
    curves,
    holm,
    pareto,
    points,
    rival,
)

LEVEL = 0.05
MARGIN = TOLERATED / 100
"""A loss of accuracy that a saving is worth: what the area under a curve tolerates too."""
SAVING = 0.05
"""The share of forwards that has to be saved before a saving is spoken of."""
Status = Literal["front", "behind", "near", "other items"]
"""`behind`: a point of the front is right more often in no more forwards, beyond chance; `near`: not shown to be."""


@dataclass(frozen=True)
class Judged:
    """A point and where it stands."""

    point: Point
    status: Status
    rival: int | None = None
    """Of a point off the front: the point of the front that it is held against, an index into `View.judged`."""
    against: Comparison | None = None
    """That point, the rival, as the first and this one as the second; its p is adjusted."""


@dataclass(frozen=True)
class View:
    """A task on a rung, or all of them."""

    name: str
    points: tuple[Point, ...]
    """Over the items that most of them share; a point that lacks some of those stands here with what it has."""
    whole: tuple[bool, ...]
    """Which points have an outcome on all the items, and are compared."""

    @property
    def questions(self) -> int:
        return next(p.summary.n for p, whole in zip(self.points, self.whole, strict=True) if whole)

    @property
    def compared(self) -> list[Point]:
        return [p for p, whole in zip(self.points, self.whole, strict=True) if whole]

    @cached_property
    def curves(self) -> list[Curve]:
        return curves(self.compared)

    @cached_property
    def pairs(self) -> dict[tuple[int, int], Comparison]:
        """Of points `a` and `b`, indices: `b` against `a`; p is adjusted over all that are held against `a`."""
        out: dict[tuple[int, int], Comparison] = {}
        chosen = [i for i, whole in enumerate(self.whole) if whole]
        for n, a in enumerate(chosen):
            for b in chosen[n + 1 :]:
                made = compare(self.points[a].rows, self.points[b].rows)
                out[a, b], out[b, a] = made, turned(made)
        for a in chosen:
            others = [b for b in chosen if b != a]
            for b, p in zip(others, holm([out[a, b].p for b in others]), strict=True):
                out[a, b] = replace(out[a, b], p=p)
        return out

    @cached_property
    def judged(self) -> list[Judged]:
        """All points, each against the front at its number of forwards."""
        front = pareto(self.compared, lambda p: p.summary.nfe)
        held: dict[int, tuple[int, Comparison]] = {}
        for i, p in enumerate(self.points):
            if self.whole[i] and not among(p, front):
                other = rival(p, front)
                assert other is not None  # the cheapest point is on the front
                held[i] = index(other, self.points), compare(other.rows, p.rows)
        adjusted = dict(zip(held, holm([c.p for _, c in held.values()]), strict=True))
        out = []
        for i, p in enumerate(self.points):
            if i in held:
                other_index, made = held[i]
                made = replace(made, p=adjusted[i])
                out.append(Judged(p, "behind" if made.verdict(LEVEL) == "worse" else "near", other_index, made))
            else:
                out.append(Judged(p, "front" if self.whole[i] else "other items"))
        return out

    @cached_property
    def front(self) -> list[int]:
        """Indices of the points of the front, from the fewest forwards on."""
        return [index(p, self.points) for p in pareto(self.compared, lambda p: p.summary.nfe)]

    @cached_property
    def best(self) -> int:
        """The most accurate, and of equals the one of fewest forwards."""
        return self.front[-1]

    @cached_property
    def thrifty(self) -> tuple[int, Comparison] | None:
        """The point of the front of fewest forwards that is shown to lose less than `MARGIN` against the best, and how
        it differs from it; None if there is none, or if it saves less than `SAVING`. Down from the best, and no further
        than the first that is not shown to: in this order, no adjustment is due (Maurer, Hothorn and Lehmacher
        1995)."""
        last = None
        for i in self.front[-2::-1]:
            made = compare(self.points[self.best].rows, self.points[i].rows)
            if made.low < -MARGIN:
                break
            last = i, made
        return last if last and saved(self.points[last[0]], self.points[self.best]) >= SAVING else None


def saved(p: Point, other: Point) -> float:
    """The share of the other's forwards that a point does without."""
    return 1 - p.summary.nfe / other.summary.nfe


def turned(c: Comparison) -> Comparison:
    """The same comparison with the two decoders exchanged."""
    return replace(c, won=c.lost, lost=c.won, difference=-c.difference, low=-c.high, high=-c.low)


def among(p: Point, others: Iterable[Point]) -> bool:
    return any(p is q for q in others)  # points of equal rows are not one point


def index(p: Point, others: Sequence[Point]) -> int:
    return next(i for i, q in enumerate(others) if q is p)


def views(rows: Sequence[Row]) -> list[View]:
    """All tasks in one, then every task and rung alone; one view if there is one."""
    places = list(dict.fromkeys((r.task, r.rung) for r in rows))
    alone = [view("/".join(place), [r for r in rows if (r.task, r.rung) == place]) for place in places]
    return alone if len(alone) == 1 else [view("all tasks", rows), *alone]


def view(name: str, rows: Sequence[Row]) -> View:
    """The items are those of the set that most points were asked; of sets that equally many were asked, the largest."""
    everything = points(rows)
    asked = [frozenset(r.question for r in p.rows) for p in everything]
    most = max(asked, key=lambda own: (asked.count(own), len(own)))
    whole = tuple(own >= most for own in asked)
    common = points(r for p, ok in zip(everything, whole, strict=True) for r in p.rows if not ok or r.question in most)
    return View(name, tuple(common), whole)
