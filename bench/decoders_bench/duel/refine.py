"""Settings of a baseline that would decide the comparisons that its sweep leaves open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from decoders import get, specs
from decoders.core import Option, options
from decoders_bench.quality.matched import OUTSIDE, WIDE, counting
from decoders_bench.quality.settings import known
from decoders_bench.quality.summary import Curve, Point
from decoders_bench.quality.verdicts import Against, Line

INSIDE = 0.15
"""The least share of a bracket on either side of a new setting, so that every round narrows the bracket."""


def wanted(a: Against) -> list[str]:
    """Specs of new settings of the baseline: within brackets that are too wide, at the deciding cost, and beyond the
    ends of the sweep. Empty if the baseline has no numeric knob."""
    base, first = a.baseline, a.baseline.points[0]
    if base.swept is None or not all(isinstance(p.value, int | float) for p in base.points):
        return []
    cls: Any = type(get(first.decoder))
    knob = options(cls)[base.swept]
    matter = {id(s) for s in counting([x.standing for x in a.lines])}
    found = [value for x in a.lines if id(x.standing) in matter and (value := new_value(x, base, knob)) is not None]
    there = {known(p.decoder) for p in base.points}
    specs = dict.fromkeys(with_value(first.decoder, base.swept, v) for v in found)
    return [spec for spec in specs if known(spec) not in there]


def with_value(spec: str, option: str, value: float) -> str:
    name, given = specs.split("strategies", spec)
    return specs.joined(name, {**given, option: f"{value:g}"})


def new_value(line: Line, base: Curve, knob: Option) -> float | None:
    if line.standing.verdict == WIDE and line.ends and line.standing.aim is not None:
        low, high = (number(p) for p in line.ends)
        share = min(max(line.standing.aim, INSIDE), 1 - INSIDE)
        return rounded(low + share * (high - low), low, high, knob)
    if line.standing.verdict == OUTSIDE:
        ordered = sorted(base.points, key=lambda p: p.summary.nfe, reverse=line.dearer is not None)
        return beyond([number(p) for p in ordered], knob)
    return None


def number(p: Point) -> float:
    assert isinstance(p.value, int | float)  # `wanted` has checked this
    return p.value


def beyond(values: Sequence[float], knob: Option) -> float | None:
    """The value one step beyond the last one or, if the range of the option ends before it, halfway to the end of the
    range."""
    last, step = values[-1], values[-1] - values[-2] if len(values) > 1 else values[-1] / 2
    end = knob.max if step > 0 else knob.min
    over = end is not None and (last + step - end) * step >= 0
    target = (last + end) / 2 if over and end is not None else last + step
    return rounded(target, last, target + (target - last), knob)


def rounded(value: float, low: float, high: float, knob: Option) -> float | None:
    """The value rounded to as few digits as keep it between `low` and `high`; None if there is no such value."""

    def inside(x: float) -> bool:
        return min(low, high) < x < max(low, high)

    if float not in knob.types:
        return next((float(x) for x in (round(value), round(value) + 1, round(value) - 1) if inside(x)), None)
    tight = [x for digits in range(1, 6) if inside(x := float(f"{value:.{digits}g}"))]
    near = [x for x in tight if abs(x - value) <= 0.1 * abs(high - low)]
    return near[0] if near else None
