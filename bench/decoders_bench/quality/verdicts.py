"""Every decoder of a run compared with the baseline at equal cost. The outputs in the terminal, on the page, in
Markdown and in JSON all use this module."""

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
"""The number of decoders that a sentence lists for each verdict."""
DIGITS = {"forwards": 1, "positions": 0, "seconds": 3, "FLOPs": 0}
"""The number of decimals of a cost."""


@dataclass(frozen=True)
class Line:
    """A setting compared with the baseline at equal cost."""

    point: Point
    standing: Standing
    cheaper: Point | None
    dearer: Point | None
    """The neighbouring settings of the baseline."""
    ends: tuple[Point, Point] | None
    """The ends of the bracket, if it is too wide."""


@dataclass(frozen=True)
class Against:
    """A curve compared with the baseline's curve on one axis."""

    axis: str
    curve: Curve
    baseline: Curve
    word: Word
    lines: tuple[Line, ...]
    """In order of cost."""


def axes(own: Iterable[Point]) -> list[str]:
    """The costs on which decoders can be compared: FLOPs only if all rows record them."""
    told = all(r.flops for p in own for r in p.rows)
    return [axis for axis in AXES if told or axis != "FLOPs"]


def found_curve(own: Sequence[Curve], spec: str, cache: str | None = None) -> Curve:
    """The curve with that name, or the one that contains that setting; `cache` restricts the choice. Raises
    `UsageError` if there is none."""
    able = [c for c in own if cache is None or known_cache(c.cache) == known_cache(cache)]
    named = [c for c in able if known(c.curve) == known(spec)]
    holding = [c for c in able if any(known(p.decoder) == known(spec) for p in c.points)]
    if found := named or holding:
        return max(found, key=lambda c: len(c.points))
    names = ", ".join(dict.fromkeys(c.curve for c in own))
    raise UsageError(f"{spec} is not among the decoders that were asked the same items; there are {names}")


def usual(decoders: Sequence[str]) -> str:
    """The default baseline: a plain threshold if there is one, else the first of the decoders."""
    return next((d for d in decoders if known(d).name == "threshold"), decoders[0])


def opponents(own: Sequence[Curve], baseline: Curve) -> list[tuple[Curve, Curve]]:
    """Every curve paired with the baseline's curve of the same model, cache and block. Settings of the baseline's own
    decoder that differ from it only in numbers are not compared with it."""

    def place(c: Curve) -> tuple[object, ...]:
        return c.model, known_cache(c.cache), c.block

    bases = {place(c): c for c in own if known(c.curve) == known(baseline.curve) and c.swept == baseline.swept}
    family = known(baseline.curve).family
    return [(c, bases[place(c)]) for c in own if place(c) in bases and known(c.curve).family != family]


def sweep(c: Curve, problems: dict[Any, int], axis: str) -> Sweep:
    """(S, n) each, by problem; the means over its wordings."""
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
    """The mean cost of an item under a setting."""
    return level(nested(p.rows), AXES[axis])


def drift(c: Curve) -> float:
    """The relative difference in seconds per forward pass between the settings of a curve, whose forward passes do the
    same work; it shows the influence of other work on the machine."""
    each = [sum(r.seconds for r in p.rows) / max(sum(r.nfe for r in p.rows), 1) for p in c.points]
    return max(each) / min(each) - 1 if min(each) > 0 else 0.0


@dataclass(frozen=True)
class Field:
    """The problems that were asked under all settings, with their resamples."""

    problems: dict[Any, int]
    drawn: Sample

    @classmethod
    def of(cls, own: Sequence[Curve]) -> Field:
        problems = {q: i for i, q in enumerate(grouped(own[0].points[0].rows, lambda r: r.problem))}
        return cls(problems, sample([q[:2] for q in problems]))


def held(pairs: Sequence[tuple[Curve, Curve]], axis: str, field: Field) -> list[Against]:
    """Every first curve compared with its second, on the same questions."""
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
    """Simultaneous intervals of the accuracies of all settings of a curve: those of a `Summary`, but with the critical
    value of the largest deviation among the settings in 95 % of the resamples instead of that for a single one."""
    z = along(sweep(c, field.problems, "forwards"), field.drawn)
    return [clustered(((r.problem, r.right) for r in p.rows), lambda problem: problem[:2], z) for p in c.points]  # type: ignore[index]


def against(own: Sequence[Curve], baseline: str) -> dict[str, list[Against]]:
    """By axis, every curve compared with the baseline's. `own`: curves of points that were asked the same questions."""
    if not own:
        return {}
    pairs = opponents(own, found_curve(own, baseline))
    field = Field.of(own)
    return {axis: held(pairs, axis, field) for axis in axes(p for c in own for p in c.points)} if pairs else {}


def of_rows(rows: Sequence[Row], baseline: str) -> dict[str, list[Against]]:
    """`against` for the points that were asked the same questions."""
    own, whole = comparable(rows)
    return against(curves([p for p, ok in zip(own, whole, strict=True) if ok]), baseline)


def turned(own: Sequence[Curve], baseline: str) -> list[tuple[str, int, int]]:
    """Curves that are better than the baseline in one wording and worse in another, at equal forward passes, with one
    such wording each."""
    found: dict[str, dict[str, int]] = {}
    rows = [r for c in own for p in c.points for r in p.rows]
    for t, part in (own_worded := worded(rows)).items():
        if len(own_worded) > 1:
            there = curves(points(part))
            for a in held(opponents(there, found_curve(there, baseline)), "forwards", Field.of(there)):
                found.setdefault(a.curve.curve, {}).setdefault(a.word, t)
    return [(name, own[BETTER], own[WORSE]) for name, own in found.items() if BETTER in own and WORSE in own]


# The results in words, for all outputs.


def points_of(x: float) -> str:
    """A difference of shares, in percentage points."""
    text = f"{100 * x:+.1f}".replace("-", "\N{MINUS SIGN}")
    return "±0.0" if text[1:] == "0.0" else text


def reach(s: Standing) -> str:
    """The interval of a difference; it is open at an end where no setting of the baseline bounds it."""
    if s.low is not None and s.high is not None:
        return f"{points_of(s.low)} to {points_of(s.high)}"
    if s.low is None and s.high is None:
        return ""
    return f"up to {points_of(s.high)}" if s.high is not None else f"{points_of(s.low or 0.0)} or more"


def knob(p: Setting) -> str:
    """The name of a setting on its curve: the value of its knob, if it has one."""
    return f"`{p.decoder}`" if p.swept is None else f"`{p.swept}={p.value}`"


def beside(line: Line) -> str:
    """The settings of the baseline with which it is compared."""
    cheaper, dearer = line.cheaper, line.dearer
    if cheaper and dearer and cheaper is not dearer:
        return f"between {knob(cheaper)} and {knob(dearer)}"
    if cheaper and dearer:
        return knob(cheaper)
    one = cheaper or dearer
    return f"{'dearest' if cheaper else 'cheapest'}, {knob(one)}" if one else ""


def cells(line: Line, axis: str) -> list[str]:
    """Accuracy, cost, the baseline's accuracy at that cost, the difference, its interval, the baseline's settings that
    were used, the verdict."""
    s = line.standing
    return [
        f"{100 * s.accuracy:.1f}", f"{s.cost:,.{DIGITS[axis]}f}", f"{100 * s.base:.1f}", points_of(s.difference),
        reach(s), beside(line), s.verdict,
    ]  # fmt: skip


def sentence(found: Sequence[Against], baseline: str) -> str:
    """The verdicts on the curves at equal cost, in one sentence; specs are in backticks."""
    axis = found[0].axis
    if len(found) == 1:
        (a,) = found
        said: dict[str, str] = {
            EVEN: f"`{a.curve.curve}` is not distinguishable from `{baseline}` at equal {axis}.",
            WIDE: f"Whether `{a.curve.curve}` is better than `{baseline}` at equal {axis} is open: the baseline's "
            "settings are too far apart to tell.",
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
