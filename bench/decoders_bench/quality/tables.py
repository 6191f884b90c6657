"""What a run shows, as text and as one document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from decoders_bench.common.attested import marked
from decoders_bench.common.results import markdown, percent
from decoders_bench.quality.rows import Row, Run, Setting, grouped
from decoders_bench.quality.summary import Comparison, Curve, Point, cells, compare, curves, holm, pareto, points, rival


def named(p: Point | Curve, own: Sequence[Point]) -> str:
    """A decoder with what tells it from the others: its cache, its blocks, its model."""
    spec = marked(p.decoder if isinstance(p, Point) else p.curve, "`")
    more = [f"cache {p.cache}"] if len({q.cache for q in own}) > 1 else []
    more += [f"block {p.block or 'full'}"] if len({q.block for q in own}) > 1 else []
    more += [p.model] if len({q.model for q in own}) > 1 else []
    return ", ".join([spec, *more])


def point_table(own: Sequence[Point]) -> str:
    """One row per decoder; a star where none is both as accurate and takes fewer forwards."""
    front = pareto(own, lambda p: p.summary.nfe)
    body = []
    for p in own:
        s = p.summary
        body.append([
            named(p, own) + (" *" if p in front else ""), str(s.n),
            f"**{percent(s.accuracy)}** ({percent(s.low)}-{percent(s.high)})", f"{s.nfe:.1f}",
            f"{s.tokens_per_forward:.2f}", f"{s.seconds:.3f}", f"{s.positions:.0f}",
            f"{100 * p.spread:.1f}" if len(p.templates) > 1 else "",
        ])  # fmt: skip
    header = [
        "decoder",
        "items",
        "right, %",
        "forwards",
        "tokens per forward",
        "seconds",
        "positions",
        "template spread",
    ]
    return markdown(header, body)


def curve_table(own: Sequence[Curve], all_points: Sequence[Point]) -> str:
    body = [
        [named(c, all_points), c.swept or "", f"{c.kept} of {len(c.points)}", f"{c.aup:.1f}"]
        for c in sorted(own, key=lambda c: -c.aup)
    ]
    return markdown(["curve", "swept", "points in the area", "AUP"], body)


def place_table(rows: Sequence[Row]) -> str:
    """Accuracy by task, one row per decoder."""
    places = list(grouped(rows, lambda r: f"{r.task}/{r.rung}"))
    own = points(rows)
    body = []
    for p in own:
        found = {
            place: sum(r.right for r in part) / len(part)
            for place, part in grouped(p.rows, lambda r: f"{r.task}/{r.rung}").items()
        }
        body.append([named(p, own), *(percent(found[x]) if x in found else "" for x in places)])
    return markdown(["right, %", *places], body)


@dataclass(frozen=True)
class Against:
    """A point against the most accurate one of the baseline that takes no more forwards; none if all take more."""

    point: Point
    rival: Point | None
    compared: Comparison | None
    adjusted: float | None
    """Holm's p-value among all comparisons of the table."""

    @property
    def verdict(self) -> str:
        if self.compared is None or self.adjusted is None:
            return "fewer forwards than any"
        return (
            "no difference shown"
            if self.adjusted >= 0.05
            else "better"
            if self.compared.won > self.compared.lost
            else "worse"
        )


def against(own: Sequence[Point], baseline: str) -> list[Against]:
    """Every point of the other curves against the baseline's, which is a curve of the same model, cache and block."""
    pairs = []
    for p in own:
        if p.curve != baseline:
            rivals = [q for q in own if (q.curve, q.model, q.cache, q.block) == (baseline, p.model, p.cache, p.block)]
            if rivals:
                pairs.append((p, rival(p, rivals)))
    found = [compare(q.rows, p.rows) if q else None for p, q in pairs]
    adjusted = iter(holm([c.p for c in found if c]))
    return [Against(p, q, c, next(adjusted) if c else None) for (p, q), c in zip(pairs, found, strict=True)]


def against_table(found: Sequence[Against], own: Sequence[Point]) -> str:
    body = []
    for a in found:
        if a.rival is None or a.compared is None or a.adjusted is None:
            body.append([named(a.point, own), "", "", "", "", a.verdict])
            continue
        c = a.compared
        change = f"{100 * c.difference:+.1f} ({100 * c.low:+.1f} to {100 * c.high:+.1f})"
        body.append(
            [named(a.point, own), f"`{a.rival.decoder}`", change, f"{c.won} / {c.lost}", f"{a.adjusted:.3f}", a.verdict]
        )
    return markdown(["decoder", "against", "difference in points", "won / lost", "p (Holm)", "verdict"], body)


def summary_text(run: Run, baseline: str | None) -> str:
    """All tables of a run."""
    own = points(run.rows)
    grid = run.info["grid"]
    parts = [
        f"{run.info['environment']['hardware']}; {len(run.rows)} outcomes; {grid['items']} items of "
        f"{len(grid['tasks'])} rungs, "
        f"{len(grid['templates'])} wordings, {len(grid['seeds'])} seed(s).",
        point_table(own), curve_table(curves(own), own), place_table(run.rows),
    ]  # fmt: skip
    if baseline and (found := against(own, baseline)):
        parts.append(f"Each against the most accurate `{baseline}` that takes no more forwards, on the same items:")
        parts.append(against_table(found, own))
    return "\n\n".join(parts)


IDENTITY = tuple(f.name for f in fields(Setting))


def identity(p: Point) -> dict[str, Any]:
    return {name: getattr(p, name) for name in IDENTITY}


def document(run: Run, baseline: str | None, finished: bool) -> dict[str, Any]:
    """What `--json` prints: everything that the tables show, and every cell."""
    own = points(run.rows)
    place = ("task", "rung", "template", "seed")
    return {
        "command": "quality", "run": str(run.path), "finished": finished, "outcomes": len(run.rows),
        "environment": run.info["environment"], "grid": run.info["grid"],
        "cells": [
            {"cell": id, **{name: getattr(row, name) for name in (*IDENTITY, *place)}, **asdict(s)}
            for id, (row, s) in cells(run.rows).items()
        ],
        "points": [
            {
                **identity(p), **asdict(p.summary), "spread": p.spread,
                "templates": {t: s.accuracy for t, s in p.templates.items()},
            }
            for p in own
        ],
        "curves": [
            {"model": c.model, "curve": c.curve, "cache": c.cache, "block": c.block, "swept": c.swept,
            "aup": c.aup, "kept": c.kept,
             "points": [p.decoder for p in c.points]}
            for c in curves(own)
        ],
        "comparisons": [
            {"point": identity(a.point), "rival": identity(a.rival) if a.rival else None,
             **(asdict(a.compared) if a.compared else {}), "adjusted": a.adjusted, "verdict": a.verdict}
            for a in (against(own, baseline) if baseline else ())
        ],
    }  # fmt: skip
