"""The results of a run as tables in text and as one JSON document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from decoders_bench.common.attested import marked
from decoders_bench.common.results import markdown
from decoders_bench.quality.rows import Row, Run, Setting, grouped
from decoders_bench.quality.summary import (
    Comparison,
    Curve,
    Point,
    cells,
    comparable,
    curves,
    pareto,
    points,
    ranked,
    summarise,
)
from decoders_bench.quality.verdicts import Against, Line, against, turned
from decoders_bench.quality.verdicts import cells as verdict_cells
from decoders_bench.quality.wordings import representatives, sentences


def percent(x: float) -> str:
    """A share in percent, formatted as in all outputs of a run."""
    return f"{100 * x:.1f}"


def in_points(c: Comparison) -> str:
    """A difference in accuracy with its interval, in points."""
    return f"{100 * c.difference:+.0f} ({100 * c.low:+.0f} to {100 * c.high:+.0f})"


def named(p: Point | Curve, own: Sequence[Point]) -> str:
    """The name of a decoder, with whatever distinguishes it from the others: its cache, its blocks, its model."""
    spec = marked(p.decoder if isinstance(p, Point) else p.curve, "`")
    more = [f"cache {p.cache}"] if len({q.cache for q in own}) > 1 else []
    more += [f"block {p.block or 'full'}"] if len({q.block for q in own}) > 1 else []
    more += [p.model] if len({q.model for q in own}) > 1 else []
    return ", ".join([spec, *more])


def point_table(own: Sequence[Point]) -> str:
    """One row per decoder; a star marks the Pareto front of accuracy and forward passes."""
    front = pareto(own, lambda p: p.summary.nfe)
    body = []
    for p in own:
        s = p.summary
        body.append([
            named(p, own) + (" *" if p in front else ""), str(s.n),
            f"**{percent(s.accuracy)}** ({percent(s.low)}-{percent(s.high)})", f"{s.nfe:.1f}",
            f"{s.tokens_per_forward:.2f}", f"{s.seconds:.3f}", f"{s.positions:.0f}",
            percent(p.spread) if len(p.templates) > 1 else "",
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
        [
            str(rank) if rank else "not ranked: too few settings", named(c, all_points), c.swept or "",
            f"{c.kept} of {len(c.points)}", f"{c.aup:.1f}",
        ]
        for c, rank in ranked(own)
    ]  # fmt: skip
    return markdown(["rank", "curve", "swept", "settings in the area", "AUP"], body)


def place_table(rows: Sequence[Row]) -> str:
    """Accuracy by task, one row per decoder."""
    places = list(grouped(rows, lambda r: f"{r.task}/{r.rung}"))
    own = points(rows)
    body = []
    for p in own:
        found = {
            place: summarise(part).accuracy for place, part in grouped(p.rows, lambda r: f"{r.task}/{r.rung}").items()
        }
        body.append([named(p, own), *(percent(found[x]) if x in found else "" for x in places)])
    return markdown(["right, %", *places], body)


def verdict_table(found: Mapping[str, Sequence[Against]], own: Sequence[Point]) -> str:
    """One row per decoder: its verdict against the baseline at equal cost, for every cost."""
    body = [
        [named(first.curve, own), *(same[i].word for same in found.values())]
        for i, first in enumerate(next(iter(found.values())))
    ]
    return markdown(["decoder", *(f"at equal {axis}" for axis in found)], body)


def line_table(found: Sequence[Against], own: Sequence[Point]) -> str:
    """One row per setting, compared with the baseline at equal forward passes, or at another equal cost."""
    axis = found[0].axis
    body = [row_of(line, axis, own) for a in found for line in a.lines]
    header = [
        "decoder", "right, %", axis, f"baseline at as many {axis}", "difference in points", "interval", "held against",
        "verdict",
    ]  # fmt: skip
    return markdown(header, body)


def row_of(line: Line, axis: str, own: Sequence[Point]) -> list[str]:
    return [named(line.point, own), *verdict_cells(line, axis)]


def verdict_text(found: Mapping[str, Sequence[Against]], own: Sequence[Point], baseline: str) -> list[str]:
    """The verdicts at equal cost, and the comparisons at equal forward passes on which they rest."""
    if not found:
        return []
    return [
        f"Each against `{baseline}` at equal cost, along the whole curve:",
        verdict_table(found, own),
        f"Its settings against `{baseline}` at as many forwards (the intervals hold all at once):",
        line_table(found["forwards"], own),
    ]


def wording_text(own: Sequence[Curve], baseline: str | None, all_points: Sequence[Point]) -> list[str]:
    names = {id(p): named(p, all_points).replace("`", "") for p in all_points}
    return sentences(representatives(own), turned(own, baseline) if baseline else [], names, baseline or "")


def summary_text(run: Run, baseline: str | None) -> str:
    """All tables of a run."""
    own, whole = comparable(run.rows)
    same = curves([p for p, ok in zip(own, whole, strict=True) if ok])
    grid = run.info["grid"]
    parts = [
        f"{run.info['environment']['hardware']}; {len(run.rows)} outcomes; {grid['items']} items of "
        f"{len(grid['tasks'])} rungs, "
        f"{len(grid['templates'])} wordings, {len(grid['seeds'])} seed(s).",
        point_table(own), curve_table(same, own), place_table(run.rows),
        *(verdict_text(against(same, baseline), own, baseline) if baseline else []),
        *wording_text(same, baseline, own),
    ]  # fmt: skip
    return "\n\n".join(parts)


IDENTITY = tuple(f.name for f in fields(Setting))


def identity(p: Point) -> dict[str, Any]:
    return {name: getattr(p, name) for name in IDENTITY}


def verdict_records(found: Mapping[str, Sequence[Against]]) -> list[dict[str, Any]]:
    """Every curve on every axis, with every setting: the numbers, and the texts of the tables."""

    def line(x: Line, axis: str) -> dict[str, Any]:
        s = x.standing
        return {
            **identity(x.point), "accuracy": s.accuracy, "cost": s.cost, "base": s.base, "difference": s.difference,
            "low": s.low, "high": s.high, "cheaper": x.cheaper and x.cheaper.decoder,
            "dearer": x.dearer and x.dearer.decoder, "verdict": s.verdict, "cells": verdict_cells(x, axis),
        }  # fmt: skip

    return [
        {
            "axis": axis, **curve_identity(a.curve), "baseline": a.baseline.curve, "verdict": a.word,
            "lines": [line(x, axis) for x in a.lines],
        }
        for axis, own in found.items() for a in own
    ]  # fmt: skip


def curve_identity(c: Curve) -> dict[str, Any]:
    return {"model": c.model, "curve": c.curve, "cache": c.cache, "block": c.block, "swept": c.swept}


def document(run: Run, baseline: str | None, finished: bool) -> dict[str, Any]:
    """What `--json` prints: everything that the tables show, and every cell."""
    own, whole = comparable(run.rows)
    same = curves([p for p, ok in zip(own, whole, strict=True) if ok])
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
            {**curve_identity(c), "aup": c.aup, "kept": c.kept, "rank": rank, "points": [p.decoder for p in c.points]}
            for c, rank in ranked(same)
        ],
        "baseline": baseline,
        "verdicts": verdict_records(against(same, baseline)) if baseline else [],
        "wordings": wording_text(same, baseline, own),
    }  # fmt: skip
