"""One decoder's area under the accuracy-parallelism curve compared with those of others, on the same problems: the
results of `decoders bench areas`."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from decoders import UsageError
from decoders_bench.common.statistics import balanced
from decoders_bench.quality.rows import Row, Run, grouped
from decoders_bench.quality.settings import unified
from decoders_bench.quality.summary import Curve, Point, adjusted, area, compare, curves, level, nested, points

RESAMPLES = 2000


@dataclass(frozen=True)
class Spot:
    """A point of a curve."""

    decoder: str
    curve: str
    right: int
    n: int
    low: float
    high: float
    nfe: float
    tokens_per_forward: float
    positions: float
    accuracy: float | None = None
    """Problems have equal weight within a rung, and rungs have equal weight; None in older files, which have only
    `right` and `n`."""


@dataclass(frozen=True)
class Area:
    """The area of a curve over some rungs, and by how much that of the decoder in question is larger, with a 95 %
    interval over problems."""

    rungs: str
    curve: str
    aup: float
    more: float
    low: float
    high: float


@dataclass(frozen=True)
class Pair:
    """A point of another decoder compared with the most accurate one of ours that takes no more forward passes
    (`rival`), by problem (`summary.compare`)."""

    rungs: str
    other: str
    other_nfe: float
    verdict: str
    ours: str = ""
    ours_nfe: float = 0.0
    difference: float = 0.0
    low: float = 0.0
    high: float = 0.0
    won: int = 0
    lost: int = 0
    p: float | None = None
    """Holm's adjusted p-value over the whole table; None if none of our points can be compared."""


def place(r: Row) -> str:
    return f"{r.task}/{r.rung}"


def shared(runs: Sequence[Run]) -> list[Row]:
    """The rows of all runs on the questions that all of their decoders were asked. Raises `UsageError` if there are
    none, or if there are several models, caches or blocks."""
    rows = {(r.decoder, *r.question): r for r in unified(r for run in runs for r in run.rows)}
    if len({(r.model, r.cache, r.block) for run in runs for r in run.rows}) > 1:
        raise UsageError("the runs have several models, caches or blocks; give those of one setting")
    asked = [{r.question for r in own} for own in grouped(rows.values(), lambda r: r.decoder).values()]
    common = set.intersection(*asked) if asked else set()
    if not common:
        raise UsageError("the runs have no question that all of their decoders were asked")
    return [r for r in rows.values() if r.question in common]


def spot(p: Point) -> Spot:
    s = p.summary
    return Spot(p.decoder, p.curve, s.right, s.n, s.low, s.high, s.nfe, s.tokens_per_forward, s.positions, s.accuracy)


def areas(rungs: str, rows: Sequence[Row], ours: str, seed: int = 0) -> list[Area]:
    """The areas of all curves. The interval is that of the percentile bootstrap (Efron and Tibshirani 1993, chapter
    13): problems are resampled within each rung, with all of their measurements."""
    own = curves(points(rows))
    names = [c.curve if [d.curve for d in own].count(c.curve) == 1 else f"{c.curve}, by {c.swept}" for c in own]
    if ours not in names:
        raise UsageError(f"{ours} is not among the decoders; there are {', '.join(names)}")
    draws = resampled(rows, seed)
    order = {problem: i for i, problem in enumerate(grouped(rows, lambda r: r.problem))}
    means = {p.decoder: averaged(p, order, draws) for c in own for p in c.points}
    best = torch.stack([100 * x[:, 0] for x in means.values()]).amax(0).tolist()

    def drawn(c: Curve) -> Tensor:
        parts = [means[p.decoder] for p in c.points]
        where = [zip((x[:, 2] / x[:, 1]).tolist(), (100 * x[:, 0]).tolist(), strict=True) for x in parts]
        spots = (sorted(found, key=lambda xy: (xy[0], -xy[1])) for found in zip(*where, strict=True))
        return torch.tensor([area(found, b) for found, b in zip(spots, best, strict=True)], dtype=torch.double)

    mine, its = own[names.index(ours)].aup, drawn(own[names.index(ours)])
    out = []
    for name, c in zip(names, own, strict=True):
        more = (its - drawn(c)).sort().values
        low, high = (float(more[round(q * (RESAMPLES - 1))]) for q in (0.025, 0.975))
        out.append(Area(rungs, name, c.aup, mine - c.aup, low, high))
    return out


def resampled(rows: Sequence[Row], seed: int) -> Tensor:
    """(R, problems): the number of times that each problem is in a resample."""
    g = torch.Generator().manual_seed(seed)
    problems = grouped(grouped(rows, lambda r: r.problem), lambda problem: problem[:2])
    index = {problem: i for i, problem in enumerate(grouped(rows, lambda r: r.problem))}
    out = torch.zeros(RESAMPLES, len(index), dtype=torch.double)
    for own in problems.values():
        chosen = torch.tensor([index[problem] for problem in own])[
            torch.randint(len(own), (RESAMPLES, len(own)), generator=g)
        ]
        out.scatter_add_(1, chosen, torch.ones_like(chosen, dtype=torch.double))
    return out


def averaged(p: Point, order: dict[Any, int], draws: Tensor) -> Tensor:
    """(R, 3): accuracy, forward passes and tokens of a point in every resample; problems have equal weight within a
    rung, and rungs have equal weight."""
    per_problem = torch.zeros(len(order), 3, dtype=torch.double)
    weights = balanced([problem[:2] for problem in order])
    for problem, rows in grouped(p.rows, lambda r: r.problem).items():
        told = torch.tensor([[r.right, r.nfe, r.tokens] for r in rows], dtype=torch.double)
        per_problem[order[problem]] = weights[order[problem]] * told.mean(0)
    return draws @ per_problem


@dataclass(frozen=True)
class Halved:
    """A point with its rows, accuracy and forward passes on each half of the problems: every second one of each rung,
    and the others."""

    point: Point
    rows: tuple[list[Row], list[Row]]
    accuracy: tuple[float, float]
    nfe: tuple[float, float]

    @classmethod
    def of(cls, p: Point) -> Halved:
        rungs = [sorted(grouped(own, lambda r: r.problem).items()) for own in grouped(p.rows, place).values()]
        first, second = ([r for rung in rungs for _, own in rung[i::2] for r in own] for i in (0, 1))
        if not second:  # there is only one problem
            second = first
        either = (nested(first), nested(second))
        right, forwards = (lambda r: r.right), (lambda r: r.nfe)
        return cls(
            p, (first, second), (level(either[0], right), level(either[1], right)),
            (level(either[0], forwards), level(either[1], forwards)),
        )  # fmt: skip


@dataclass(frozen=True)
class Rival:
    """The opponent of a point: on each half of the problems, a point that was chosen on the other half."""

    decoder: str
    rows: list[Row]


def rival(p: Halved, others: Sequence[Halved]) -> Rival | None:
    """The most accurate of `others` that takes no more forward passes than `p`. For each half of the problems it is
    chosen on the other half, so that no result influences the choice of its opponent; None if on one half all take
    more."""
    taken = []
    for i in (1, 0):
        fast = [q for q in others if q.nfe[i] <= p.nfe[i]]
        if not fast:
            return None
        taken.append(max(fast, key=lambda q: q.accuracy[i]))
    names = dict.fromkeys(q.point.decoder for q in taken)
    return Rival(" or ".join(names), [r for i, q in enumerate(taken) for r in q.rows[i]])


def pairs(rungs: str, rows: Sequence[Row], ours: str) -> list[Pair]:
    """Every point of the other curves compared with the most accurate one of ours that takes no more forward passes, on
    the same problems: if ours is called better, it is so with no more forward passes."""
    halved = [Halved.of(p) for p in points(rows)]
    mine = [h for h in halved if h.point.curve == ours]
    held = [(h.point, rival(h, mine)) for h in halved if h.point.curve != ours]
    found = [compare(p.rows, taken.rows) for p, taken in held if taken]
    compared = iter(zip(found, adjusted(found), strict=True))

    def pair(p: Point, taken: Rival | None) -> Pair:
        if taken is None:
            return Pair(rungs, p.decoder, p.summary.nfe, "fewer forwards than ours")
        c, holm = next(compared)
        return Pair(
            rungs, p.decoder, p.summary.nfe, replace(c, p=holm).verdict(), taken.decoder,
            level(nested(taken.rows), lambda r: r.nfe), c.difference, c.low, c.high, c.won, c.lost, holm,
        )  # fmt: skip

    return [pair(p, q) for p, q in held]


def measured(runs: Sequence[Run], ours: str, seen: Collection[str]) -> dict[str, Any]:
    """All results as plain data. `seen`: the rungs on which the decoder was chosen; the others are held out."""
    rows = shared(runs)
    held_out = [r for r in rows if place(r) not in seen]
    parts = {"all": rows} | ({"held out": held_out} if held_out and len(held_out) < len(rows) else {})
    by_rung = grouped(rows, place)
    return {
        "ours": ours, "seen": sorted(seen), "rungs": list(by_rung), "rivals": "by halves",
        "splits": sorted({run.info["grid"]["split"] for run in runs}), "wordings": len({r.template for r in rows}),
        "problems": len({r.problem for r in rows}), "questions": len({r.question for r in rows}),
        "commands": [run.info["command"] for run in runs], "environment": runs[0].info["environment"],
        "points": [asdict(spot(p)) for p in points(rows)],
        "areas": [asdict(x) for name, part in (parts | by_rung).items() for x in areas(name, part, ours)],
        "pairs": [asdict(x) for name, part in parts.items() for x in pairs(name, part, ours)],
    }  # fmt: skip


def save(path: Path, found: dict[str, Any]) -> None:
    """Write one line for each entry of a list, so that a changed entry is a changed line."""

    def lined(x: Any) -> str:
        listed = isinstance(x, list) and x and isinstance(x[0], dict)
        return "[\n" + ",\n".join(map(json.dumps, x)) + "\n]" if listed else json.dumps(x)

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {lined(x)}" for k, x in found.items()) + "\n}\n")
