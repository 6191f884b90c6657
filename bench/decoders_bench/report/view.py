"""The results for some tasks: the Pareto front, and the comparison of each decoder with the baseline.

Only decoders with outcomes on the same items are compared, and each gets one verdict: that against the baseline at
equal cost (`quality.verdicts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from decoders import UsageError
from decoders_bench.common.recorded import recorded
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
"""A loss of accuracy that is acceptable for a saving; `area` tolerates the same loss."""
SAVING = 0.05
"""The least share of forward passes saved for which a saving is reported."""
Status = Literal["front", "off the front", "other items"]


@dataclass(frozen=True)
class Judged:
    """A point and its status."""

    point: Point
    status: Status
    verdict: Word | None
    """The verdict against the baseline at equal forward passes; None for the baseline's own settings, and if nothing is
    compared."""


@dataclass(frozen=True)
class View:
    """One rung of a task, or all tasks together."""

    name: str
    points: tuple[Point, ...]
    """The points over the items that most of them share; a point that lacks some of these keeps the items it has."""
    whole: tuple[bool, ...]
    """Which points have an outcome on all the items, and so are compared."""

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
        """By axis, every curve compared with the baseline's; empty if the baseline was not asked the same items."""
        if baseline not in self.held:
            try:
                self.held[baseline] = against(self.curves, baseline)
            except UsageError:
                self.held[baseline] = {}
        return self.held[baseline]

    @cached_property
    def answers(self) -> tuple[list[Question], dict[int, Right]]:
        """The answers of all compared points (`deciding.right`)."""
        return right(self.compared)

    def decided(self, a: Against, replayed: Replayed = lambda p, q: False) -> Decision:
        """The items that decide between two curves."""
        return decision(a, *self.answers, replayed)

    @cached_property
    def bands(self) -> list[list[tuple[float, float]]]:
        """For every curve, the interval at each of its points (`verdicts.band`)."""
        field = Field.of(self.curves)
        return [band(c, field) for c in self.curves]

    @cached_property
    def held(self) -> dict[str, dict[str, list[Against]]]:
        """The results of `against` so far, by baseline."""
        return {}

    def judged(self, baseline: str) -> list[Judged]:
        """All points, with their position relative to the front and their verdict against the baseline."""
        said = {id(x.point): x.standing.verdict for a in self.against(baseline).get("forwards", []) for x in a.lines}
        front = {id(p) for p in pareto(self.compared, lambda p: p.summary.nfe)}

        def status(p: Point, whole: bool) -> Status:
            return "other items" if not whole else "front" if id(p) in front else "off the front"

        return [Judged(p, status(p, ok), said.get(id(p))) for p, ok in zip(self.points, self.whole, strict=True)]

    @cached_property
    def front(self) -> list[int]:
        """Indices of the points of the front, from the fewest forward passes to the most."""
        return [index(p, self.points) for p in pareto(self.compared, lambda p: p.summary.nfe)]

    @cached_property
    def best(self) -> int:
        """The index of the most accurate point, or of the one with the fewest forward passes among several."""
        return self.front[-1]

    @cached_property
    def thrifty(self) -> tuple[int, Comparison] | None:
        """The point of the front with the fewest forward passes that significantly loses less than `MARGIN` against the
        best one, and the comparison of the two; None if there is none, or if it saves less than `SAVING`. The points
        are tested downwards from the best, up to the first that fails; tests in a fixed order need no adjustment
        (Maurer, Hothorn and Lehmacher 1995)."""
        last = None
        for i in self.front[-2::-1]:
            made = compare(self.points[self.best].rows, self.points[i].rows)
            if made.low < -MARGIN:
                break
            last = i, made
        return last if last and saved(self.points[last[0]], self.points[self.best]) >= SAVING else None


def baseline_of(v: View, asked: str | None, usual: str) -> str:
    """The requested baseline or, without a request, the usual one if it has outcomes that can be compared, else the
    first decoder with such outcomes. Raises `UsageError` if the requested one has none."""
    if asked:
        found_curve(v.curves, asked)
        return asked
    try:
        found_curve(v.curves, usual)
    except UsageError:
        return v.curves[0].curve
    return usual


def mine_of(v: View, baseline: str, asked: str | None = None) -> Against | None:
    """The first comparison of the page, at equal forward passes: that of the requested decoder, else of the first one
    that is not built in, else the first; None if nothing is compared with the baseline. Raises `UsageError` if the
    requested decoder is not compared."""
    found = v.against(baseline).get("forwards", [])
    if asked:
        chosen = found_curve(v.curves, asked)
        if own := next((a for a in found if a.curve is chosen), None):
            return own
        raise UsageError(f"{asked} is not held against {baseline}: it is that, or has another model, cache or block")
    return next((a for a in found if not built_in(a.curve.curve)), found[0] if found else None)


def built_in(spec: str) -> bool:
    """Whether a decoder belongs to this library; False for one that cannot be made here."""
    try:
        return type(recorded(spec)).__module__.startswith("decoders.")
    except UsageError:
        return False


def saved(p: Point, other: Point) -> float:
    """The share of the other's forward passes that a point saves."""
    return 1 - p.summary.nfe / other.summary.nfe


def index(p: Point, others: Sequence[Point]) -> int:
    return next(i for i, q in enumerate(others) if q is p)


def views(rows: Sequence[Row]) -> list[View]:
    """All tasks together, then every rung of every task; a single view if there is only one rung."""
    places = list(dict.fromkeys((r.task, r.rung) for r in rows))
    alone = [view("/".join(place), [r for r in rows if (r.task, r.rung) == place]) for place in places]
    return alone if len(alone) == 1 else [view("all tasks", rows), *alone]


def view(name: str, rows: Sequence[Row]) -> View:
    """The view over the items that `comparable` selects."""
    own, whole = comparable(rows)
    return View(name, tuple(own), tuple(whole))
