"""A chart of accuracy against forward passes: one decoder's settings compared with those of the threshold decoder."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from math import log2
from typing import NamedTuple

from decoders_bench.quality.summary import Point
from decoders_bench.site.drawing import image, line, words

WIDTH, HEIGHT, LEFT, TOP = 520, 240, 44, 14


class Mark(NamedTuple):
    """A setting: its forward passes and its accuracy as a share."""

    forwards: float
    right: float


def family(p: Point) -> str:
    """The decoder's name, without options."""
    return p.decoder.partition(":")[0]


def marks(own: Iterable[Point], name: str) -> list[Mark]:
    """The settings of one decoder that ran on `nano` without an approximate cache, the fewest forward passes first."""
    mine = [p for p in own if family(p) == name and p.cache in ("exact", "block") and p.model == "nano"]
    return sorted({Mark(p.summary.nfe, p.summary.accuracy) for p in mine})


def chart(mine: list[Mark], base: list[Mark], name: str, baseline: str = "threshold") -> str:
    """Both decoders' settings, joined by lines; the axis of forward passes is logarithmic."""
    largest = max(m.forwards for m in [*mine, *base])
    span = max(log2(max(largest, 2)), 1)

    def at(m: Mark) -> tuple[float, float]:
        return LEFT + (WIDTH - LEFT - 20) * log2(max(m.forwards, 1)) / span, TOP + (HEIGHT - TOP - 40) * (1 - m.right)

    parts = [line(at(Mark(1, y)), at(Mark(largest, y)), "axis") for y in (0, 0.5, 1)]
    parts += [words(LEFT - 6, at(Mark(1, y))[1] + 4, f"{100 * y:.0f} %", "s e") for y in (0, 0.5, 1)]
    ticks = [2**i for i in range(int(span) + 1)]
    parts += [words(at(Mark(t, 0))[0], HEIGHT - 22, str(t), "s m") for t in ticks]
    parts += [words(LEFT, HEIGHT - 4, f"forwards an answer; blue: {name}, grey: {baseline}")]
    for own, joined, dot in ((base, "base", "basedot"), (mine, "line", "dot")):
        spots = [at(m) for m in own]
        parts += [line(a, b, joined) for a, b in pairwise(spots)]
        parts += [f'<circle class="{dot}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in spots]
    return image(WIDTH, HEIGHT, f"Right answers against forwards: {name} and {baseline}", parts)
