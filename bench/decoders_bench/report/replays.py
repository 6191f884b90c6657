"""Replays of the items that decide between two decoders: items without a trace in the run are decoded again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any

import torch

from decoders import UsageError
from decoders_bench.quality.rows import Cell, Row, Run
from decoders_bench.quality.runner import Job, decode
from decoders_bench.report.gather import Gathered
from decoders_bench.report.view import baseline_of, mine_of, views
from decoders_bench.tasks import task_of


def with_replays(g: Gathered, count: int, baseline: str | None, mine: str | None) -> Gathered:
    """The runs with replays of the `count` items that contribute most to the difference between the first decoder of
    the report and the baseline, under both. The tokens of an item depend only on its cell and its index, so a replay
    whose output differs from the run's is omitted, and a sentence among the clashes says so."""
    first = views(g.rows)[0]
    chosen = mine_of(first, baseline := baseline_of(first, baseline, g.baseline), mine)
    if chosen is None or not count:
        return g
    found = first.decided(chosen).items[:count]
    wanted = {r.key for d in found for p in (d.mine, d.base) for r in p.rows if r.question == d.question}
    there = {(t["cell"], t["item"]) for t in g.traces if any(any(f["details"]) for f in t["frames"])}
    torch.set_num_threads(1)  # as in the run
    made, clashes = {}, []
    for run, row in originals(g.runs, wanted - there):
        try:
            made[row.key] = replayed(run, row)
        except UsageError as e:
            clashes.append(f"There is no replay of item {row.item} of {row.task}/{row.rung} under {row.decoder}: {e}")
    kept = [t for t in g.traces if (t["cell"], t["item"]) not in made]
    return replace(g, traces=[*kept, *made.values()], clashes=[*g.clashes, *clashes])


def originals(runs: Iterable[Run], keys: set[tuple[str, int]]) -> list[tuple[Run, Row]]:
    """The rows as they were measured, each with its run."""
    return list({row.key: (run, row) for run in runs for row in run.rows if row.key in keys}.values())


def replayed(run: Run, row: Row) -> dict[str, Any]:
    """The trace of an item. Raises `UsageError` if it cannot be decoded here, or if its output differs from the
    run's."""
    grid, spec = run.info["grid"], f"{row.task}/{row.rung}"
    task, _ = task_of(spec)
    if task.runs_code:
        raise UsageError("its task runs code that a model wrote")
    cell = Cell(**{f.name: getattr(row, f.name) for f in fields(Cell)})
    length = grid.get("length") or task.length[row.rung]
    job = Job(cell, spec, (row.item,), grid["items"], grid.get("split", "test"), length, row.item + 1)
    done = decode(job)
    if done.rows[0]["output"] != row.output or done.rows[0]["nfe"] != row.nfe:
        raise UsageError("it is decoded to something else than in the run, so the model or the decoder has changed")
    return {**done.traces[0], "cell": row.cell}
