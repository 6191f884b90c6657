"""What the report says of some tasks: who is on the front, and how each decoder stands against the baseline.

Only decoders with outcomes on the same items are compared, and there is one verdict on each: that against the baseline
at equal cost (`quality.verdicts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from decoders import UsageError, get
from decoders_bench.quality.matched import Word
from decoders_bench.quality.rows import Row
from decoders_bench.quality.summary import (
    TOLERATED,
    Comparison,
    Curve,
    Point,
    comparable,
    compare,
    curves,
    pareto,
)  # fmt: skip
from decoders_bench.quality.verdicts import Against, Field, against, band, found_curve
from decoders_bench.report.deciding import Decision, Question, Replayed, Right, decision, right

MARGIN = TOLERATED / 100
"""A loss of accuracy that a saving is worth: what the area under a curve tolerates too."""
SAVING = 0.05
"""The share of forwards that has to be saved before a saving is spoken of."""
Status = Literal["front", "off the front", "other items"]


@dataclass(frozen=True)
class Judged:
    """A point and where it stands."""

    point: Point
    status: Status
    verdict: Word | None
    """Against the baseline at equal forwards; None of the baseline's own settings, and where nothing is compared."""


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

    def against(self, baseline: str) -> dict[str, list[Against]]:
        """By axis, every curve against the baseline's; nothing where the baseline was not asked the same items."""
        if baseline not in self.held:
            try:
                self.held[baseline] = against(self.curves, baseline)
            except UsageError:
                self.held[baseline] = {}
        return self.held[baseline]

    @cached_property
    def answers(self) -> tuple[list[Question], dict[int, Right]]:
        """Of all that are compared (`deciding.right`)."""
        return right(self.compared)

    def decided(self, a: Against, replayed: Replayed = lambda p, q: False) -> Decision:
        """The items that decide between two curves."""
        return decision(a, *self.answers, replayed)

    @cached_property
    def bands(self) -> list[list[tuple[float, float]]]:
        """Of every curve, at each of its points (`verdicts.band`)."""
        field = Field.of(self.curves)
        return [band(c, field) for c in self.curves]

    @cached_property
    def held(self) -> dict[str, dict[str, list[Against]]]:
        """What `against` has found."""
        return {}

    def judged(self, baseline: str) -> list[Judged]:
        """All points: which are on the front, and each against the baseline."""
        said = {id(x.point): x.standing.verdict for a in self.against(baseline).get("forwards", []) for x in a.lines}
        front = {id(p) for p in pareto(self.compared, lambda p: p.summary.nfe)}

        def status(p: Point, whole: bool) -> Status:
            return "other items" if not whole else "front" if id(p) in front else "off the front"

        return [Judged(p, status(p, ok), said.get(id(p))) for p, ok in zip(self.points, self.whole, strict=True)]

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


def baseline_of(v: View, asked: str | None, usual: str) -> str:
    """The baseline that was asked for, or the usual one where that has outcomes to be held against, else the first
    decoder that has. Raises `UsageError` if the one that was asked for has none."""
    if asked:
        found_curve(v.curves, asked)
        return asked
    try:
        found_curve(v.curves, usual)
    except UsageError:
        return v.curves[0].curve
    return usual


def mine_of(v: View, baseline: str, asked: str | None = None) -> Against | None:
    """The decoder that the page begins with, at equal forwards: the one that was asked for, else the first that is not
    built in, else the first; None where nothing is held against the baseline. Raises `UsageError` if the one that was
    asked for is not."""
    found = v.against(baseline).get("forwards", [])
    if asked:
        chosen = found_curve(v.curves, asked)
        if own := next((a for a in found if a.curve is chosen), None):
            return own
        raise UsageError(f"{asked} is not held against {baseline}: it is that, or has another model, cache or block")
    return next((a for a in found if not built_in(a.curve.curve)), found[0] if found else None)


def built_in(spec: str) -> bool:
    """Whether a decoder is of this library; one that cannot be made here is not."""
    try:
        return type(get(spec)).__module__.startswith("decoders.")
    except UsageError:
        return False


def saved(p: Point, other: Point) -> float:
    """The share of the other's forwards that a point does without."""
    return 1 - p.summary.nfe / other.summary.nfe


def index(p: Point, others: Sequence[Point]) -> int:
    return next(i for i, q in enumerate(others) if q is p)


def views(rows: Sequence[Row]) -> list[View]:
    """All tasks in one, then every task and rung alone; one view if there is one."""
    places = list(dict.fromkeys((r.task, r.rung) for r in rows))
    alone = [view("/".join(place), [r for r in rows if (r.task, r.rung) == place]) for place in places]
    return alone if len(alone) == 1 else [view("all tasks", rows), *alone]


def view(name: str, rows: Sequence[Row]) -> View:
    """The items are those that `comparable` finds."""
    own, whole = comparable(rows)
    return View(name, tuple(own), tuple(whole))
