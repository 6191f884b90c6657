"""Every decoder of a run against the baseline at equal cost: what the terminal, the page, the Markdown and the JSON of
a run show, each from here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from decoders import UsageError
from decoders_bench.common.statistics import clustered
from decoders_bench.quality.matched import (
    BETTER,
    BOTH,
    EVEN,
    OUTSIDE,
    WIDE,
    WORSE,
    Sample,
    Standing,
    Sweep,
    Word,
    along,
    sample,
    verdicts,
)  # fmt: skip
from decoders_bench.quality.rows import Row, Setting, grouped
from decoders_bench.quality.settings import known, known_cache
from decoders_bench.quality.summary import Curve, Point, comparable, curves, level, nested, points, worded

Cost = Callable[[Row], float]
AXES: dict[str, Cost] = {
    "forwards": lambda r: r.nfe, "positions": lambda r: r.positions, "seconds": lambda r: r.seconds,
    "FLOPs": lambda r: r.flops or 0.0,
}  # fmt: skip
NAMED = 4
"""How many decoders a sentence lists of each verdict."""
DIGITS = {"forwards": 1, "positions": 0, "seconds": 3, "FLOPs": 0}
"""Behind the point, where a cost is shown."""


@dataclass(frozen=True)
class Line:
    """A setting against the baseline at equal cost."""

    point: Point
    standing: Standing
    cheaper: Point | None
    dearer: Point | None
    """The baseline's settings next to it."""
    ends: tuple[Point, Point] | None
    """Where the bracket is too wide: its ends."""


@dataclass(frozen=True)
class Against:
    """A curve against the baseline's along one axis."""

    axis: str
    curve: Curve
    baseline: Curve
    word: Word
    lines: tuple[Line, ...]
    """By cost."""


def axes(own: Iterable[Point]) -> list[str]:
    """What costs can be compared at: FLOPs only where all rows have them."""
    told = all(r.flops for p in own for r in p.rows)
    return [axis for axis in AXES if told or axis != "FLOPs"]


def found_curve(own: Sequence[Curve], spec: str, cache: str | None = None) -> Curve:
    """The curve of that name, or the one on which the setting is; of those with that cache, if one is given. Raises
    `UsageError` if there is none."""
    able = [c for c in own if cache is None or known_cache(c.cache) == known_cache(cache)]
    named = [c for c in able if known(c.curve) == known(spec)]
    holding = [c for c in able if any(known(p.decoder) == known(spec) for p in c.points)]
    if found := named or holding:
        return max(found, key=lambda c: len(c.points))
    names = ", ".join(dict.fromkeys(c.curve for c in own))
    raise UsageError(f"{spec} is not among the decoders that were asked the same items; there are {names}")


def usual(decoders: Sequence[str]) -> str:
    """The baseline where none is asked for: a plain threshold if there is one, else the first of the decoders."""
    return next((d for d in decoders if known(d).name == "threshold"), decoders[0])


def opponents(own: Sequence[Curve], baseline: Curve) -> list[tuple[Curve, Curve]]:
    """Every curve with the baseline's of the same model, cache and block. Settings of the baseline's own that differ
    from it in numbers alone are no rivals of it."""

    def place(c: Curve) -> tuple[object, ...]:
        return c.model, known_cache(c.cache), c.block

    bases = {place(c): c for c in own if known(c.curve) == known(baseline.curve) and c.swept == baseline.swept}
    family = known(baseline.curve).family
    return [(c, bases[place(c)]) for c in own if place(c) in bases and known(c.curve).family != family]


def sweep(c: Curve, problems: dict[Any, int], axis: str) -> Sweep:
    """(S, n) each, by problem; the mean over its wordings."""
    cost = AXES[axis]
    right, spent = np.zeros((len(c.points), len(problems))), np.zeros((len(c.points), len(problems)))
    for j, p in enumerate(c.points):
        times = np.zeros(len(problems))
        for r in p.rows:
            i = problems[r.problem]
            right[j, i], spent[j, i], times[i] = right[j, i] + r.right, spent[j, i] + cost(r), times[i] + 1
        right[j] /= times
        spent[j] /= times
    return Sweep(right, spent, drift(c) if axis == "seconds" else 0.0)


def cost_of(p: Point, axis: str) -> float:
    """What a setting costs an item, in the mean."""
    return level(nested(p.rows), AXES[axis])


def drift(c: Curve) -> float:
    """By how much the seconds of a forward differ between the settings of a curve, which have the same work to do in
    it: what the machine did besides shows there."""
    each = [sum(r.seconds for r in p.rows) / max(sum(r.nfe for r in p.rows), 1) for p in c.points]
    return max(each) / min(each) - 1 if min(each) > 0 else 0.0


@dataclass(frozen=True)
class Field:
    """Problems that all were asked, with the draws of them."""

    problems: dict[Any, int]
    drawn: Sample

    @classmethod
    def of(cls, own: Sequence[Curve]) -> Field:
        problems = {q: i for i, q in enumerate(grouped(own[0].points[0].rows, lambda r: r.problem))}
        return cls(problems, sample([q[:2] for q in problems]))


def held(pairs: Sequence[tuple[Curve, Curve]], axis: str, field: Field) -> list[Against]:
    """Every first curve against its second, on the same questions."""
    made: dict[int, Sweep] = {}
    for c in (c for pair in pairs for c in pair):
        if id(c) not in made:
            made[id(c)] = sweep(c, field.problems, axis)
    found = verdicts([(made[id(mine)], made[id(base)]) for mine, base in pairs], field.drawn)

    def line(s: Standing, mine: Curve, base: Curve) -> Line:
        cheaper, dearer = (None if k is None else base.points[k] for k in (s.cheaper, s.dearer))
        ends = None if s.ends is None else (base.points[s.ends[0]], base.points[s.ends[1]])
        return Line(mine.points[s.setting], s, cheaper, dearer, ends)

    return [
        Against(axis, mine, base, v.word, tuple(line(s, mine, base) for s in v.standings))
        for (mine, base), v in zip(pairs, found, strict=True)
    ]


def band(c: Curve, field: Field) -> list[tuple[float, float]]:
    """Of every setting of a curve the interval of its accuracy, all of which hold at once: that of a `Summary`, out to
    the largest deviation among the settings in 95 % of the draws instead of what holds for one alone."""
    z = along(sweep(c, field.problems, "forwards"), field.drawn)
    return [clustered(((r.problem, r.right) for r in p.rows), lambda problem: problem[:2], z) for p in c.points]  # type: ignore[index]


def against(own: Sequence[Curve], baseline: str) -> dict[str, list[Against]]:
    """By axis, every curve against the baseline's. `own`: curves of points that were asked the same questions."""
    if not own:
        return {}
    pairs = opponents(own, found_curve(own, baseline))
    field = Field.of(own)
    return {axis: held(pairs, axis, field) for axis in axes(p for c in own for p in c.points)} if pairs else {}


def of_rows(rows: Sequence[Row], baseline: str) -> dict[str, list[Against]]:
    """`against` of the points that were asked the same questions."""
    own, whole = comparable(rows)
    return against(curves([p for p, ok in zip(own, whole, strict=True) if ok]), baseline)


def turned(own: Sequence[Curve], baseline: str) -> list[tuple[str, int, int]]:
    """Curves that are better than the baseline in one wording and worse in another, at equal forwards: with a wording
    of each."""
    found: dict[str, dict[str, int]] = {}
    rows = [r for c in own for p in c.points for r in p.rows]
    for t, part in (own_worded := worded(rows)).items():
        if len(own_worded) > 1:
            there = curves(points(part))
            for a in held(opponents(there, found_curve(there, baseline)), "forwards", Field.of(there)):
                found.setdefault(a.curve.curve, {}).setdefault(a.word, t)
    return [(name, own[BETTER], own[WORSE]) for name, own in found.items() if BETTER in own and WORSE in own]


# In words: every output shows these.


def points_of(x: float) -> str:
    """A difference of shares, in points."""
    text = f"{100 * x:+.1f}".replace("-", "\N{MINUS SIGN}")
    return "±0.0" if text[1:] == "0.0" else text


def reach(s: Standing) -> str:
    """The interval of a difference; open where the baseline has no setting that bounds it."""
    if s.low is not None and s.high is not None:
        return f"{points_of(s.low)} to {points_of(s.high)}"
    if s.low is None and s.high is None:
        return ""
    return f"up to {points_of(s.high)}" if s.high is not None else f"{points_of(s.low or 0.0)} or more"


def knob(p: Setting) -> str:
    """A setting of a curve, by its knob if it has one."""
    return f"`{p.decoder}`" if p.swept is None else f"`{p.swept}={p.value}`"


def beside(line: Line) -> str:
    """The baseline's settings that it is held against."""
    cheaper, dearer = line.cheaper, line.dearer
    if cheaper and dearer and cheaper is not dearer:
        return f"between {knob(cheaper)} and {knob(dearer)}"
    if cheaper and dearer:
        return knob(cheaper)
    one = cheaper or dearer
    return f"{'dearest' if cheaper else 'cheapest'}, {knob(one)}" if one else ""


def cells(line: Line, axis: str) -> list[str]:
    """Accuracy, cost, the baseline's accuracy at it, the difference, the interval, what it rests on, the verdict."""
    s = line.standing
    return [
        f"{100 * s.accuracy:.1f}", f"{s.cost:,.{DIGITS[axis]}f}", f"{100 * s.base:.1f}", points_of(s.difference),
        reach(s), beside(line), s.verdict,
    ]  # fmt: skip


def sentence(found: Sequence[Against], baseline: str) -> str:
    """The verdicts on the curves at one cost, in one sentence; specs stand between backticks."""
    axis = found[0].axis
    if len(found) == 1:
        (a,) = found
        said: dict[str, str] = {
            EVEN: f"`{a.curve.curve}` is not distinguishable from `{baseline}` at equal {axis}.",
            WIDE: f"Whether `{a.curve.curve}` is better than `{baseline}` at equal {axis} is open: the bracket is "
            "wider than the difference.",
            BOTH: f"`{a.curve.curve}` is better than `{baseline}` at some {axis} and worse at others.",
            OUTSIDE: f"`{a.curve.curve}` and `{baseline}` share no {axis}: its settings are outside the baseline's "
            "sweep.",
        }
        return said.get(a.word, f"`{a.curve.curve}` is {a.word} than `{baseline}` at equal {axis}.")
    parts = []
    for word, own in grouped(found, lambda a: a.word).items():
        names = [f"`{a.curve.curve}`" for a in own]
        listed = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        parts.append(f"{word}: {listed}")
    return f"At equal {axis} against `{baseline}`, {'; '.join(parts)}."
