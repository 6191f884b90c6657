"""The results of a view in sentences, which follow from the numbers alone. Specs are in backticks."""

from __future__ import annotations

from collections.abc import Mapping

from decoders_bench.quality.summary import Point, compare
from decoders_bench.quality.verdicts import points_of, sentence, turned
from decoders_bench.quality.wordings import representatives, sentences
from decoders_bench.report.view import MARGIN, SAVING, View, index, saved


def headline(v: View, names: Mapping[int, str], baseline: str | None = None) -> str:
    """The summary of a view in one sentence: the verdict, if there are two decoders."""
    if baseline and len(found := v.against(baseline).get("forwards", [])) == 1:
        return sentence(found, baseline)
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


def findings(v: View, names: Mapping[int, str], baseline: str | None = None) -> list[str]:
    """The comparisons with the baseline, the Pareto front in words, and rankings that depend on the wording."""
    best = v.points[v.best]
    found = v.against(baseline).get("forwards", []) if baseline else []
    out = [sentence(found, baseline)] if baseline and len(found) > 1 else []
    out += [f"Most accurate: `{names[v.best]}` with {level(best)}."]
    if v.thrifty:
        i, c = v.thrifty
        out.append(
            f"Fewest forwards with less than {100 * MARGIN:.0f} points lost: `{names[i]}` with {level(v.points[i])}; "
            f"{points_of(c.difference)} points [{points_of(c.low)} to {points_of(c.high)}] against `{names[v.best]}`."
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
            f"`{names[v.best]}` takes {share(saved(best, slowest))} fewer: {points_of(c.difference)} points "
            f"[{points_of(c.low)} to {points_of(c.high)}]."
        )
    told = {id(p): names[i] for i, p in enumerate(v.points)}
    flips = turned(v.curves, baseline) if baseline else []
    return out + sentences(representatives(v.curves), flips, told, baseline or "")


def level(p: Point) -> str:
    s = p.summary
    return f"{percent(s.accuracy)} [{100 * s.low:.1f} to {100 * s.high:.1f}] at {s.nfe:.1f} forwards"


def share(x: float) -> str:
    return f"{100 * x:.0f}\N{NO-BREAK SPACE}%"


def percent(x: float) -> str:
    return f"{100 * x:.1f}\N{NO-BREAK SPACE}%"
