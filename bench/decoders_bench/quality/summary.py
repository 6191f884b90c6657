"""A quality run on disk, read back, and everything that is computed from its rows: the tables and the report show nothing else.

A run is a directory: `run.json` says what was asked and on what it ran, `rows.jsonl` holds a line for every item, `traces.jsonl` how
the first items of every cell were decoded. A cell is one decoder with one cache on one rung of a task, in one wording, with one
seed; a point is all of its decoder's cells, of all tasks, wordings and seeds; a curve joins the points that differ in the swept
option alone.

Definitions, with their sources, are in docs/benchmarking.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from math import exp
from pathlib import Path
from typing import Any

from decoders import UsageError
from decoders_bench.common.statistics import clustered, mcnemar, paired_difference

FORMAT = 1
ALPHA, TOLERATED = 3.0, 5.0
"""Of `area`: how much a loss of accuracy weighs, and the points of accuracy that a curve may lose before it ends."""


@dataclass(frozen=True)
class Row:
    """What became of one item: a line of rows.jsonl."""

    cell: str
    item: int
    model: str
    decoder: str
    curve: str
    """The decoder without its swept option."""
    swept: str | None
    value: float | int | str | None
    cache: str
    task: str
    rung: str
    template: int
    seed: int
    block: int | None
    right: bool
    answer: str | None
    output: str
    prompt: str
    expected: str
    nfe: int
    tokens: int
    """Generated ones: neither prompt, nor padding, nor a stop token and what follows it."""
    positions: int
    seconds: float
    """The item's share of the wall time of the batch that it was decoded in."""

    @property
    def key(self) -> tuple[str, int]:
        return self.cell, self.item

    @property
    def problem(self) -> tuple[str, str, int, int]:
        """What was asked, whatever the wording."""
        return self.task, self.rung, self.seed, self.item

    @property
    def question(self) -> tuple[str, str, int, int, int]:
        """What was asked, and how."""
        return *self.problem, self.template


NAMES = tuple(f.name for f in fields(Row))


@dataclass(frozen=True)
class Run:
    """A run directory."""

    path: Path
    info: dict[str, Any]
    """run.json: `format`, `command`, `environment`, `grid`."""
    rows: list[Row]
    traces: list[dict[str, Any]]
    """`{"cell", "item", "start", "mask", "vocab": {id: text}, "initial": [ids], "frames": [{"step", "changes": [[position, id, kind,
    confidence]]}]}`. A position counts from the start of the row, prompt included, so it shows `initial[position - start]`. The id of a
    reopened position is what stands there afterwards (the mask, where there is one)."""


def lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file; one that was torn off at the end, by a run that was killed, is left out. Raises `UsageError` if
    another is damaged."""
    out = []
    text = path.read_bytes() if path.exists() else b""
    for number, line in enumerate(text[: text.rfind(b"\n") + 1].splitlines(), 1):
        try:
            out.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            raise UsageError(f"{path}, line {number}, is damaged: it is no JSON object") from None
    return out


def load(path: str | Path) -> Run:
    """A run, finished or not. Raises `UsageError` if the directory holds none, if a line is damaged, or if an item has two outcomes
    that differ in more than their seconds."""
    path = Path(path)
    info = load_info(path)
    rows: dict[tuple[str, int], Row] = {}
    for number, line in enumerate(lines(path / "rows.jsonl"), 1):
        try:
            row = Row(**{name: line[name] for name in NAMES})
        except KeyError as e:
            raise UsageError(f"{path / 'rows.jsonl'}, line {number}, has no {e.args[0]!r}") from None
        first = rows.setdefault(row.key, row)
        if any(getattr(first, name) != getattr(row, name) for name in NAMES if name != "seconds"):
            raise UsageError(f"{path / 'rows.jsonl'}, line {number}: item {row.item} of cell {row.cell} has two outcomes that differ")
    traces: dict[tuple[str, int], dict[str, Any]] = {}
    for line in lines(path / "traces.jsonl"):
        traces.setdefault((line["cell"], line["item"]), line)
    return Run(path, info, ordered(rows.values(), info["grid"]), list(traces.values()))


def ordered(rows: Iterable[Row], grid: dict[str, Any]) -> list[Row]:
    """The rows in the order of the grid, whatever order they were finished in."""
    places = {name: {x: i for i, x in enumerate(grid[name])} for name in ("decoders", "caches", "tasks")}
    values = {option: {x: i for i, x in enumerate(given)} for option, given in grid.get("sweeps", {}).items()}

    def place(r: Row) -> tuple[int | str, ...]:
        value = values.get(r.swept or "", {}).get(r.decoder.rpartition("=")[2], 0)
        asked = (("decoders", r.curve), ("caches", r.cache), ("tasks", f"{r.task}/{r.rung}"))
        decoder, cache, task = (places[name].get(x, len(places[name])) for name, x in asked)
        return decoder, value, cache, r.block or 0, task, r.template, r.seed, r.item

    return sorted(rows, key=place)


def load_info(path: Path) -> dict[str, Any]:
    """run.json. Raises `UsageError` if there is none that can be read."""
    try:
        info = dict(json.loads((path / "run.json").read_text()))
    except (OSError, ValueError) as e:
        raise UsageError(f"{path} holds no quality run: run.json cannot be read ({type(e).__name__})") from None
    if info.get("format") != FORMAT:
        raise UsageError(f"{path} is a run of format {info.get('format')!r}, and this version reads {FORMAT}")
    return info


@dataclass(frozen=True)
class Summary:
    """What was measured over some rows."""

    n: int
    right: int
    accuracy: float
    low: float
    high: float
    """Wilson's 95 % interval; a problem that was asked in several wordings is not counted as several (`statistics.clustered`)."""
    nfe: float
    """Forward passes of an item, in the mean."""
    tokens: float
    """Generated tokens of an item, in the mean."""
    tokens_per_forward: float
    """All generated tokens over all forward passes."""
    seconds: float
    positions: float


def summarise(rows: Sequence[Row]) -> Summary:
    """Of at least one row."""
    n, right = len(rows), sum(r.right for r in rows)
    low, high = clustered([(r.problem, r.right) for r in rows])
    nfe, tokens = sum(r.nfe for r in rows), sum(r.tokens for r in rows)
    seconds, positions = sum(r.seconds for r in rows) / n, sum(r.positions for r in rows) / n
    return Summary(n, right, right / n, low, high, nfe / n, tokens / n, tokens / max(nfe, 1), seconds, positions)


def grouped(rows: Iterable[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    """The rows by a key, keys and rows in the order of their first appearance."""
    out: dict[Any, list[Row]] = {}
    for row in rows:
        out.setdefault(key(row), []).append(row)
    return out


def cells(rows: Iterable[Row]) -> dict[str, tuple[Row, Summary]]:
    """Of every cell its first row, which says what it is, and its summary."""
    return {cell: (own[0], summarise(own)) for cell, own in grouped(rows, lambda r: r.cell).items()}


@dataclass(frozen=True)
class Point:
    """A decoder with its cache, over all rows that were given."""

    model: str
    decoder: str
    curve: str
    swept: str | None
    value: float | int | str | None
    cache: str
    block: int | None
    summary: Summary
    templates: dict[int, Summary]
    """By the wording of the prompt."""
    rows: tuple[Row, ...]

    @property
    def spread(self) -> float:
        """The difference in accuracy between the best wording and the worst, of those in which every task was asked."""
        tasks = {(r.task, r.rung) for r in self.rows}
        asked = grouped(self.rows, lambda r: r.template)
        whole = [self.templates[t].accuracy for t, own in asked.items() if {(r.task, r.rung) for r in own} == tasks]
        return max(whole) - min(whole) if whole else 0.0


def points(rows: Iterable[Row]) -> list[Point]:
    """All decoders, in the order of their first row. Give the rows of one task for that task's points."""
    out = []
    for key, own in grouped(rows, lambda r: (r.model, r.decoder, r.curve, r.swept, r.value, r.cache, r.block)).items():
        templates = {t: summarise(part) for t, part in sorted(grouped(own, lambda r: r.template).items())}
        out.append(Point(*key, summarise(own), templates, tuple(own)))
    return out


@dataclass(frozen=True)
class Curve:
    """The points of a decoder that differ in the swept option alone, from the fewest tokens per forward to the most."""

    model: str
    curve: str
    cache: str
    block: int | None
    swept: str | None
    points: tuple[Point, ...]
    aup: float
    """Its area (`area`); accuracy in percent."""
    kept: int
    """How many of the points the area is over: those that have not lost too much."""


def curves(own: Sequence[Point]) -> list[Curve]:
    """All curves of some points, in the order of their first point; the most accurate of all the points is what losses are
    measured against in their areas."""
    best = max((100 * p.summary.accuracy for p in own), default=0.0)
    joined: dict[Any, list[Point]] = {}
    for p in own:
        joined.setdefault((p.model, p.curve, p.cache, p.block, p.swept), []).append(p)
    out = []
    for key, part in joined.items():
        ordered = tuple(sorted(part, key=lambda p: (p.summary.tokens_per_forward, -p.summary.accuracy)))
        where = [(p.summary.tokens_per_forward, 100 * p.summary.accuracy) for p in ordered]
        out.append(Curve(*key, ordered, area(where, best), len(kept(where))))
    return out


def kept(where: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those of (tokens per forward, accuracy in percent), ascending, that lose at most 5 points against the first."""
    return [(x, y) for x, y in where if y >= where[0][1] - TOLERATED]


def area(where: Sequence[tuple[float, float]], best: float) -> float:
    """Accuracy under parallelism (AUP; d3LLM, 2601.07568) of a curve of (tokens per forward, accuracy in percent), ascending:

    x_1 y_1 + sum over i > 1 of (x_i - x_(i-1)) (y_i w(y_i) + y_(i-1) w(y_(i-1))) / 2, with w(y) = min(exp(-3 (1 - y / best)), 1),

    over the points with y >= y_1 - 5; `best` is the highest accuracy of all decoders compared. 0 if nothing is right."""
    own = kept(where)
    if not own or best <= 0:
        return 0.0
    weighted = [(x, y * min(exp(-ALPHA * (1 - y / best)), 1.0)) for x, y in own]
    return own[0][0] * own[0][1] + sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(weighted))


def pareto(own: Sequence[Point], cost: Callable[[Point], float]) -> list[Point]:
    """The points than which none is both cheaper and at least as accurate, nor as cheap and more accurate, from the cheapest on."""
    out: list[Point] = []
    for p in sorted(own, key=lambda p: (cost(p), -p.summary.accuracy)):
        if not out or p.summary.accuracy > out[-1].summary.accuracy:
            out.append(p)
    return out


@dataclass(frozen=True)
class Comparison:
    """Two decoders on the same items. A problem counts once, however many wordings it was asked in: the one that is right in more of
    them wins it. With one wording this is McNemar's exact test."""

    problems: int
    won: int
    """By the second."""
    lost: int
    difference: float
    """Accuracy of the second less that of the first."""
    low: float
    high: float
    p: float

    def verdict(self, level: float = 0.05) -> str:
        """`better`, `worse`, or `no difference shown`, of the second."""
        if self.p >= level:
            return "no difference shown"
        return "better" if self.won > self.lost else "worse"


def compare(a: Iterable[Row], b: Iterable[Row]) -> Comparison:
    """How the decoder of rows `b` differs from that of rows `a`, on the items that both have. Raises `UsageError` if those are none."""
    first = {r.question: r for r in a}
    gains: dict[tuple[str, str, int, int], list[int]] = {}
    for r in b:
        if other := first.get(r.question):
            gains.setdefault(r.problem, []).append(r.right - other.right)
    if not gains:
        raise UsageError("the two have no item in common, so they cannot be compared")
    shares = [sum(g) / len(g) for g in gains.values()]
    won, lost = sum(g > 0 for g in shares), sum(g < 0 for g in shares)
    low, high = paired_difference(shares)
    return Comparison(len(shares), won, lost, sum(shares) / len(shares), low, high, mcnemar(lost, won))


def holm(ps: Sequence[float]) -> list[float]:
    """p-values of several comparisons, adjusted so that the chance that any verdict is wrong stays below the level (Holm 1979,
    Scandinavian Journal of Statistics 6:65)."""
    out, highest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[i]))
        out[i] = highest
    return out


def rival(p: Point, others: Iterable[Point]) -> Point | None:
    """The most accurate of `others` that takes no more forwards; none if all take more."""
    return max((q for q in others if q.summary.nfe <= p.summary.nfe), key=lambda q: q.summary.accuracy, default=None)
