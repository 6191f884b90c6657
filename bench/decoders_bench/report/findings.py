"""What a view shows, in sentences: all of it follows from the numbers. Specs stand between backticks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from decoders_bench.quality.summary import Point, compare, holm
from decoders_bench.report.view import LEVEL, MARGIN, SAVING, Judged, View, index, saved

NAMED = 2
"""How many examples a sentence lists."""


def headline(v: View, names: Mapping[int, str]) -> str:
    """The one sentence of a view."""
    best = v.points[v.best]
    if len(v.compared) == 1:
        return f"`{names[v.best]}` is right in {percent(best.summary.accuracy)}, at {best.summary.nfe:.1f} forwards."
    if len(v.front) == 1:
        return f"`{names[v.best]}` is right most often, and in the fewest forwards."
    if v.thrifty is None:
        return f"`{names[v.best]}` is right most often, and nothing markedly cheaper is shown to be as good."
    i, c = v.thrifty
    lost = f"loses less than {-100 * c.low:.1f} points" if c.low < 0 else "loses nothing"
    return (
        f"`{names[i]}` takes {share(saved(v.points[i], best))} fewer forwards than the most accurate decoder and "
        f"{lost}."
    )


def findings(v: View, names: Mapping[int, str]) -> list[str]:
    """The front in words, who is behind it beyond chance, and who is not shown to be."""
    best = v.points[v.best]
    out = [f"Most accurate: `{names[v.best]}` with {level(best)}."]
    if v.thrifty:
        i, c = v.thrifty
        out.append(
            f"Fewest forwards with less than {100 * MARGIN:.0f} points lost: `{names[i]}` with {level(v.points[i])}; "
            f"{gain(c.difference)} points [{gain(c.low)} to {gain(c.high)}] against `{names[v.best]}`."
        )
    elif len(v.front) > 1:
        out.append(
            f"Nothing that saves {share(SAVING)} of its forwards is shown to lose less than {100 * MARGIN:.0f} "
            "points; more items would "
            "narrow this down."
        )
    slowest = max(v.compared, key=lambda p: p.summary.nfe)
    if saved(best, slowest) >= SAVING:
        c, most = compare(slowest.rows, best.rows), slowest.summary.nfe
        out.append(
            f"Against `{names[index(slowest, v.points)]}`, which takes the most forwards ({most:.1f}), "
            f"`{names[v.best]}` takes "
            f"{share(saved(best, slowest))} fewer: {gain(c.difference)} points [{gain(c.low)} to {gain(c.high)}]."
        )
    behind = [j for j in v.judged if j.status == "behind"]
    near = [j for j in v.judged if j.status == "near"]
    if behind:
        behind.sort(key=lambda j: j.against.difference if j.against else 0.0)
        out.append(
            f"{len(behind)} of {len(v.compared)} settings {'is' if len(behind) == 1 else 'are'} behind the front by "
            "more than chance "
            f"explains: {listed(behind, v, names)}."
        )
    if near:
        near.sort(key=lambda j: -j.point.summary.accuracy)
        out.append(f"{len(near)} off the front but not separated from it by these items: {listed(near, v, names)}.")
    if flips := flipped(v):
        a, b, up, down = flips[0]
        more = f" ({len(flips)} such pairs)" if len(flips) > 1 else ""
        out.append(
            f"The ranking depends on the wording: `{names[a]}` beats `{names[b]}` in template {up} and loses to it in "
            f"{down}{more}."
        )
    return out


def listed(some: Sequence[Judged], v: View, names: Mapping[int, str]) -> str:
    parts = [
        f"`{names[index(j.point, v.points)]}` ({gain(j.against.difference)} points against `{names[j.rival]}`)"
        for j in some[:NAMED] if j.against and j.rival is not None
    ]
    return ", ".join(parts) + (f" and {len(some) - NAMED} more" if len(some) > NAMED else "")


def flipped(v: View) -> list[tuple[int, int, int, int]]:
    """Pairs of points of the front and best points of curves whose order differs between two templates, beyond chance
    in both, and those templates: a beats b in the first and loses in the second."""
    chosen = sorted({*v.front, *representatives(v)})
    templates = sorted({t for i in chosen for t in v.points[i].templates})
    trials = [(a, b, t) for a, b in combinations(chosen, 2) for t in templates if len(templates) > 1]
    made = [
        compare([r for r in v.points[a].rows if r.template == t], [r for r in v.points[b].rows if r.template == t])
        for a, b, t in trials
    ]
    signs: dict[tuple[int, int], dict[int, int]] = {}
    for (a, b, t), c, p in zip(trials, made, holm([c.p for c in made]), strict=True):
        if p < LEVEL:
            signs.setdefault((a, b), {})[t] = 1 if c.lost > c.won else -1
    return [
        (a, b, next(t for t in own if own[t] > 0), next(t for t in own if own[t] < 0))
        for (a, b), own in signs.items() if len(set(own.values())) > 1
    ]


def representatives(v: View) -> list[int]:
    """Of every curve its most accurate point, and of equals the one of fewest forwards."""
    return [index(max(c.points, key=lambda p: (p.summary.accuracy, -p.summary.nfe)), v.points) for c in v.curves]


def level(p: Point) -> str:
    s = p.summary
    return f"{percent(s.accuracy)} [{100 * s.low:.1f} to {100 * s.high:.1f}] at {s.nfe:.1f} forwards"


def share(x: float) -> str:
    return f"{100 * x:.0f}\N{NO-BREAK SPACE}%"


def percent(x: float) -> str:
    return f"{100 * x:.1f}\N{NO-BREAK SPACE}%"


def gain(x: float) -> str:
    """Points of accuracy with their sign."""
    text = f"{100 * x:+.1f}".replace("-", "\N{MINUS SIGN}")
    return "±0.0" if text[1:] == "0.0" else text
