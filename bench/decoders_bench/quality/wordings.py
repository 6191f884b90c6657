"""Rankings that depend on the wording of a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from decoders_bench.quality.rows import Row
from decoders_bench.quality.summary import Curve, Point, adjusted, compare, pareto, worded

LEVEL = 0.05


def representatives(own: Sequence[Curve]) -> list[Point]:
    """The Pareto front of accuracy and forward passes, and the most accurate point of every curve; of several equally
    accurate ones, the point with the fewest forward passes."""
    front = pareto([p for c in own for p in c.points], lambda p: p.summary.nfe)
    best = [max(c.points, key=lambda p: (p.summary.accuracy, -p.summary.nfe)) for c in own]
    return list({id(p): p for p in [*front, *best]}.values())


def flipped(chosen: Sequence[Point]) -> list[tuple[Point, Point, int, int]]:
    """Pairs of points whose order differs significantly between two wordings of the same tasks, and these wordings: a
    beats b in the first and loses in the second."""
    own: list[dict[int, list[Row]]] = [worded(p.rows) for p in chosen]
    trials = [(i, j, t) for i, j in combinations(range(len(chosen)), 2) for t in own[i] if t in own[j]]
    trials = [x for x in trials if len(own[x[0]]) > 1]
    made = [compare(own[i][t], own[j][t]) for i, j, t in trials]
    signs: dict[tuple[int, int], dict[int, int]] = {}
    for (i, j, t), c, p in zip(trials, made, adjusted(made), strict=True):
        if p < LEVEL:
            signs.setdefault((i, j), {})[t] = -1 if c.difference > 0 else 1
    return [
        (chosen[i], chosen[j], next(t for t in s if s[t] > 0), next(t for t in s if s[t] < 0))
        for (i, j), s in signs.items() if len(set(s.values())) > 1
    ]


def sentences(
    chosen: Sequence[Point], turned: Sequence[tuple[str, int, int]], names: Mapping[int, str], baseline: str
) -> list[str]:
    """One sentence for the accuracy of settings and one for the verdicts at equal forward passes; none if no order
    differs. `names`: names of the points, by their `id`."""
    out = []
    if flips := flipped(chosen):
        a, b, up, down = flips[0]
        more = f" ({len(flips)} such pairs)" if len(flips) > 1 else ""
        out.append(
            f"The ranking depends on the wording: `{names[id(a)]}` beats `{names[id(b)]}` in template {up} and loses "
            f"to it in {down}{more}."
        )
    if turned:
        name, up, down = turned[0]
        more = f" ({len(turned)} such decoders)" if len(turned) > 1 else ""
        out.append(
            f"The verdict depends on the wording: at equal forwards `{name}` is better than `{baseline}` in template "
            f"{up} and worse in {down}{more}."
        )
    return out
