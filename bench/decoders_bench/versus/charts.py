"""Line charts as SVG, for a page without scripts."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from math import log10

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 560, 300, 46, 40, 12, 12


@dataclass(frozen=True)
class Series:
    """Points (x, y), y from 0 to 1."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int
    dashed: bool = False
    line: bool = True


def chart(series: Sequence[Series], across: str, up: str, logarithmic: bool = False) -> str:
    """An SVG with a legend below it."""
    xs = [x for s in series for x, _ in s.points]
    low, high = (min(xs), max(xs)) if logarithmic else (0.0, max(xs))

    def place(x: float) -> float:
        a, b, c = (log10(v) if logarithmic else v for v in (x, low, high))
        return LEFT + (a - b) / ((c - b) or 1.0) * (WIDTH - LEFT - RIGHT)

    def height(y: float) -> float:
        return TOP + (1 - y) * (HEIGHT - TOP - BOTTOM)

    said = html.escape(f"{up} against {across}")
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{said}"><g class="axes">']
    for y in (0, 0.25, 0.5, 0.75, 1):
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height(y):.1f}" y2="{height(y):.1f}"/>'
            f'<text x="{LEFT - 8}" y="{height(y) + 4:.1f}" text-anchor="end">{100 * y:.0f}</text>'
        )
    for x in ticks(low, high, logarithmic):
        parts.append(f'<text x="{place(x):.1f}" y="{HEIGHT - 22}" text-anchor="middle">{x:g}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">{html.escape(across)}</text></g>')
    for s in series:
        spots = [(place(x), height(y)) for x, y in s.points]
        if s.line:
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
            parts.append(f'<polyline class="curve" style="stroke:var(--c{s.colour})"{dash(s)} points="{line}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" style="fill:var(--c{s.colour})"/>' for x, y in spots]
    return f'<div class="plot">{"".join(parts)}</svg></div><div class="legend">{"".join(map(key, series))}</div>'


def dash(s: Series) -> str:
    return ' stroke-dasharray="5 4"' if s.dashed else ""


def key(s: Series) -> str:
    """The legend entry of a series."""
    line = f'<line x1="1" x2="25" y1="5" y2="5" style="stroke:var(--c{s.colour});stroke-width:2"{dash(s)}/>'
    return f'<span><svg width="26" height="10">{line}</svg> {html.escape(s.name)}</span>'


def ticks(low: float, high: float, logarithmic: bool) -> list[float]:
    """About five round tick values."""
    if logarithmic:
        powers = [x for x in (2.0**i for i in range(-10, 31)) if low <= x <= high]
        between = [x for x in (3 * 2.0**i for i in range(-10, 29)) if low <= x <= high]
        return powers if len(powers) > 3 else sorted(powers + between)
    step = 10 ** (len(str(int(high))) - 1)
    step = step if high / step >= 3 else step / 2
    return [i * step for i in range(int(high / step) + 1)]
