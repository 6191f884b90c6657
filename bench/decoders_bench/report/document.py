"""All data of the page as one JSON document: the page draws and sorts, and computes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from decoders_bench.common.attested import marked
from decoders_bench.quality.rows import Row, grouped
from decoders_bench.quality.settings import known
from decoders_bench.quality.summary import Curve, Point, ranked
from decoders_bench.quality.tables import verdict_records
from decoders_bench.quality.verdicts import Against, cells, cost_of, knob, sentence
from decoders_bench.report.deciding import Question, Replayed, counted, record, said
from decoders_bench.report.findings import findings, headline
from decoders_bench.report.gather import Gathered
from decoders_bench.report.view import View, baseline_of, mine_of, views

Identity = tuple[Any, ...]
CHOSEN = 10
"""The largest number of curves with which the page offers a choice of the baseline: with more, the document would
contain too many tables."""


def identity(x: Point | Row) -> Identity:
    """The fields that distinguish the decoders of a report."""
    return x.model, x.decoder, x.cache, x.block


def labels(own: Iterable[Point | Row]) -> dict[Identity, str]:
    """Names of the decoders: the spec, and those of model, cache and block that differ between decoders."""
    known = list(dict.fromkeys(identity(x) for x in own))
    model, cache, block = varied(known)
    return {k: label(k, model, cache, block) for k in known}


def varied(known: Iterable[Identity]) -> tuple[bool, bool, bool]:
    """Whether there are several models, caches and blocks."""
    models, caches, blocks = ({k[i] for k in known} for i in (0, 2, 3))
    return len(models) > 1, len(caches) > 1, len(blocks) > 1


def label(k: Identity, model: bool, cache: bool, block: bool) -> str:
    parts = [marked(k[1])]
    parts += [f"cache {k[2]}"] if cache else []
    parts += ["one window" if k[3] is None else f"block {k[3]}"] if block else []
    parts += [k[0]] if model else []
    return " · ".join(parts)


def document(g: Gathered, baseline: str | None = None, mine: str | None = None) -> dict[str, Any]:
    """The document. `settings` are the decoders; the other parts refer to them, to `series` (curves), to `questions`
    and to `strings` by index. `baseline`: None means that of the runs; `mine`: the decoder whose comparison with the
    baseline comes first. Raises `UsageError` if one of the two is not among the decoders."""
    names = labels(g.rows)
    at = {k: i for i, k in enumerate(names)}
    made = views(g.rows)
    baseline = baseline_of(made[0], baseline, g.baseline)
    first = mine_of(made[0], baseline, mine)
    series: dict[Identity, int] = {}
    settings = []
    model, cache, block = varied(names)
    for k, own in grouped(g.rows, identity).items():
        r = own[0]
        curve = (r.model, r.curve, r.cache, r.block, r.swept)
        settings.append({
            "label": names[k], "series": series.setdefault(curve, len(series)), "model": r.model, "decoder": r.decoder,
            "swept": r.swept, "value": r.value, "cache": r.cache, "block": r.block, "knob": knob(r).strip("`"),
        })
    curves = [label((c[0], c[1], c[2], c[3]), model, cache, block) for c in series]
    page = Shown(at, names, series, questions_of(g.rows), {(t["cell"], t["item"]) for t in g.traces})
    return {
        "settings": settings,
        "series": curves,
        "baseline": baseline,
        "mine": first and page.on(first.curve),
        "pair": first and pair(made[0], first, baseline),
        "views": [page.view(v, baseline) for v in made],
        "verdicts": {v.name: verdict_records(v.against(baseline)) for v in made},
        **results(g, at, page.questions),
        "runs": [{"path": str(run.path), **run.info} for run in g.runs],
        "clashes": g.clashes,
    }


def view_names(v: View, names: Mapping[Identity, str]) -> dict[int, str]:
    return {i: names[identity(p)] for i, p in enumerate(v.points)}


@dataclass(frozen=True)
class Shown:
    """The indices by which a view refers to decoders, curves and questions."""

    at: Mapping[Identity, int]
    names: Mapping[Identity, str]
    series: Mapping[Identity, int]
    questions: Mapping[Question, int]
    traced: Set[tuple[str, int]]

    def on(self, c: Curve) -> int:
        return self.series[c.model, c.curve, c.cache, c.block, c.swept]

    def view(self, v: View, baseline: str) -> dict[str, Any]:
        own, at = view_names(v, self.names), self.at
        setting = [at[identity(p)] for p in v.points]
        keys = {id(p): {r.question for r in p.rows if r.key in self.traced} for p in v.compared}
        bands = {id(c): b for c, b in zip(v.curves, v.bands, strict=True)}
        return {
            "name": v.name,
            "questions": v.questions,
            "headline": headline(v, own, baseline),
            "findings": findings(v, own, baseline),
            "points": [
                {"setting": at[identity(j.point)], **measured(j.point), "status": j.status, "verdict": j.verdict}
                for j in v.judged(baseline)
            ],
            "front": [setting[i] for i in v.front],
            "best": setting[v.best],
            "against": [
                {
                    "baseline": name,
                    "axes": {
                        axis: [self.held(v, a, name, lambda p, q: q in keys[id(p)]) for a in own]
                        for axis, own in v.against(name).items()
                    },
                }
                for name in baselines(v, baseline)
            ],
            "curves": [
                {
                    "series": self.on(c), "swept": c.swept, "aup": rounded(c.aup, 2), "kept": c.kept, "rank": rank,
                    "points": [at[identity(p)] for p in c.points],
                    "band": [[rounded(low), rounded(high)] for low, high in bands[id(c)]],
                }
                for c, rank in ranked(v.curves)
            ],
        }  # fmt: skip

    def held(self, v: View, a: Against, baseline: str, replayed: Replayed) -> dict[str, Any]:
        """A curve compared with the baseline's, with the texts of all outputs (`verdicts.cells`) and the deciding
        items."""
        found, at = v.decided(a, replayed), self.at
        return {
            "series": self.on(a.curve), "base": self.on(a.baseline), "verdict": a.word,
            "sentence": sentence([a], baseline), "counted": counted(found, a.curve.curve, baseline),
            "items": [
                [self.questions[d.question], rounded(d.gain), at[identity(d.mine)], at[identity(d.base)]]
                for d in found.items
            ],
            "lines": [
                {
                    "setting": at[identity(x.point)], "cells": cells(x, a.axis),
                    "difference": rounded(x.standing.difference),
                    "low": x.standing.low and rounded(x.standing.low),
                    "high": x.standing.high and rounded(x.standing.high),
                    "accuracy": rounded(x.standing.accuracy), "cost": rounded(x.standing.cost, 6),
                    "base": rounded(x.standing.base),
                }
                for x in a.lines
            ],
        }  # fmt: skip


def pair(v: View, a: Against, baseline: str) -> dict[str, Any]:
    """The first comparison of the page, for `--json` and Markdown: the verdict in words, on every axis, and the
    deciding items."""
    found = v.decided(a)
    words = {axis: x.word for axis, own in v.against(baseline).items() for x in own if x.curve is a.curve}
    return {
        "mine": a.curve.curve, "baseline": baseline, "sentence": sentence([a], baseline), "verdict": words,
        "decision": said(found, a.curve.curve, baseline), "deciding": record(found),
    }  # fmt: skip


def baselines(v: View, first: str) -> list[str]:
    """The baselines between which the page offers a choice: `first`, and every other curve if there are few."""
    names = list(dict.fromkeys(c.curve for c in v.curves if known(c.curve) != known(first)))
    return [first, *names] if len(names) < CHOSEN else [first]


def measured(p: Point) -> dict[str, Any]:
    s = p.summary
    return {
        "n": s.n,
        "right": s.right,
        "accuracy": rounded(s.accuracy),
        "low": rounded(s.low),
        "high": rounded(s.high),
        "nfe": rounded(s.nfe),
        "tokens": rounded(s.tokens),
        "tpf": rounded(s.tokens_per_forward),
        "seconds": rounded(s.seconds, 6),
        "positions": rounded(s.positions, 2),
        "flops": rounded(cost_of(p, "FLOPs"), 0),
        "spread": rounded(p.spread),
        "templates": [
            [t, x.right, x.n, rounded(x.accuracy), rounded(x.low), rounded(x.high)] for t, x in p.templates.items()
        ],
    }


def rounded(x: float, digits: int = 5) -> float:
    return round(x, digits)


def questions_of(rows: Iterable[Row]) -> dict[Question, int]:
    """All questions with their indices, in the order of the page."""
    return {q: i for i, q in enumerate(sorted({r.question for r in rows}, key=lambda q: (*q[:3], q[4], q[3])))}


def results(g: Gathered, at: Mapping[Identity, int], questions: Mapping[Question, int]) -> dict[str, Any]:
    """All outcomes, and the traces. `outcomes[setting][question]` is null or [right, output, answer, nfe, tokens,
    positions, milliseconds]."""
    strings: dict[str, int] = {}

    def intern(text: str | None) -> int | None:
        return None if text is None else strings.setdefault(text, len(strings))

    asked = {r.question: r for r in g.rows}
    outcomes: list[list[Any]] = [[None] * len(questions) for _ in at]
    where: dict[tuple[str, int], tuple[int, int]] = {}
    for r in g.rows:
        place = where[r.key] = at[identity(r)], questions[r.question]
        outcomes[place[0]][place[1]] = [
            int(r.right), intern(r.output), intern(r.answer), r.nfe, r.tokens, r.positions,
            rounded(1000 * r.seconds, 3),
        ]
    shown = [
        {
            "task": f"{r.task}/{r.rung}", "seed": r.seed, "template": r.template, "item": r.item, "prompt": r.prompt,
            "expected": r.expected,
        }
        for r in (asked[q] for q in questions)
    ]
    return {
        "questions": shown,
        "outcomes": outcomes,
        "traces": [trace(t, *where[t["cell"], t["item"]]) for t in g.traces],
        "strings": list(strings),
    }


def trace(t: Mapping[str, Any], setting: int, question: int) -> dict[str, Any]:
    """A trace whose frames are [step, changes, details, phase]. A change is [place, piece, kind, confidence], with
    places from 0 and pieces as indices into the list of the trace; the detail of each change is null or [way, entropy,
    rank, asked, [[piece, probability]]]."""
    pieces: dict[int, int] = {}

    def piece(token: int) -> int:
        return pieces.setdefault(token, len(pieces))

    def detail(x: Mapping[str, Any] | None) -> list[Any] | None:
        if x is None:
            return None
        return [x["way"], x["entropy"], x["rank"], x["asked"], [[piece(token), p] for token, p in x["likeliest"]]]

    initial = [piece(token) for token in t["initial"]]
    frames = [
        [
            frame["step"],
            [[place - t["start"], piece(token), kind, sure] for place, token, kind, sure in frame["changes"]],
            [detail(x) for x in frame["details"]], frame["phase"],
        ]
        for frame in t["frames"]
    ]  # fmt: skip
    mask = None if t["mask"] is None else piece(t["mask"])
    texts = [t["vocab"].get(str(token), f"#{token}") for token in pieces]
    return {
        "setting": setting, "question": question, "start": t["start"], "mask": mask, "pieces": texts,
        "initial": initial, "frames": frames,
    }


def brief(whole: Mapping[str, Any]) -> dict[str, Any]:
    """The document without single items, and only with the verdicts against the baseline: the output of `--json`."""
    own = [{name: x for name, x in v.items() if name != "against"} for v in whole["views"]]
    return {name: whole[name] for name in ("settings", "series", "baseline", "pair", "verdicts", "runs", "clashes")} | {
        "views": own
    }
