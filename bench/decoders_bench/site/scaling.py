"""The chart of how the time of a step grows with the canvas, the batch and the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import log10
from pathlib import Path

from decoders_bench.site.drawing import image, line, words
from decoders_bench.step_time.measure import Timing
from decoders_bench.step_time.scaling import BASE, SWEPT, alike, swept
from decoders_bench.step_time.tables import load_timings

KEPT = Path(__file__).parents[2] / "results" / "step-scaling.json"
PANEL, HEIGHT, LEFT, TOP, BOTTOM = 250, 256, 46, 60, 44
NAMES = {"length": "canvas, positions", "batch": "batch, rows", "vocab": "vocabulary"}


def short(x: int) -> str:
    """A number in the short form of an axis label."""
    return f"{x // 1000}k" if x >= 1000 else str(x)


def decades(timings: Sequence[Timing]) -> tuple[int, int]:
    """The powers of ten that bound all times, in milliseconds."""
    times = [x for t in timings for x in (t.step_ms, t.bare_max_ms)]
    low, high = log10(min(times)), log10(max(times))
    return int(low // 1), int(-(-high // 1))


def panel(timings: Sequence[Timing], axis: str, left: float) -> list[str]:
    """The panel of one axis; both scales are logarithmic, and all panels have the same scale of time."""
    low, high = decades(timings)
    values = SWEPT[axis]
    width, height = PANEL - LEFT - 16, HEIGHT - TOP - BOTTOM

    def across(x: float) -> float:
        return left + LEFT + width * log10(x / values[0]) / log10(values[-1] / values[0])

    def up(ms: float) -> float:
        return TOP + height * (high - log10(ms)) / (high - low)

    parts = []
    for ms in (10.0**i for i in range(low, high + 1)):
        parts += [line((left + LEFT, up(ms)), (left + LEFT + width, up(ms)), "axis")]
        parts += [words(left + LEFT - 6, up(ms) + 4, f"{ms:g}", "s e")]
    parts += [words(across(x), HEIGHT - BOTTOM + 18, short(x), "s m") for x in values]
    parts += [words(left + LEFT + width / 2, HEIGHT - BOTTOM + 36, NAMES[axis], "m")]
    own = swept(timings, axis)
    for joined, dot, times in (
        ("base", "basedot", [(x, t.bare_max_ms) for x, t in own]), ("line", "dot", [(x, t.step_ms) for x, t in own])
    ):
        spots = [(across(x), up(ms)) for x, ms in times]
        parts += [line(a, b, joined) for a, b in pairwise(spots)]
        parts += [f'<circle class="{dot}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in spots]
    return parts


def chart(timings: Sequence[Timing]) -> str:
    """Three panels; in each, the other two axes have their base values."""
    one = alike(timings)
    held = f"canvas {BASE['length']}, batch {BASE['batch']}, vocabulary {BASE['vocab']:,}"
    parts = [words(0, 14, f"milliseconds a step without the network: {one.decoder}, {one.dtype}", "")]
    parts += [words(0, 30, "blue: the step; grey: a bare logits.max(-1) on its logits")]
    parts += [words(0, 45, f"block {one.block}; in the other two panels: {held}")]
    for i, axis in enumerate(SWEPT):
        parts += panel(timings, axis, i * PANEL)
    return image(3 * PANEL, HEIGHT, "Time of a step against canvas, batch and vocabulary", parts)


def scaling() -> str:
    """The chart of the run in the repository."""
    return chart(load_timings(KEPT))
