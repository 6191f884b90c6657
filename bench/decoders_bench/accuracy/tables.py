"""The tables of decoders on the generated tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from decoders_bench.accuracy.measure import Cell, Job
from decoders_bench.common.results import markdown, percent, rows_of


def load_cells(path: Path) -> list[Cell]:
    return [Cell(**{**row, "job": Job(**row["job"])}) for row in rows_of(path)]


def task_table(cells: Sequence[Cell]) -> str:
    """One row per task and rung, one column per decoder: accuracy with its interval, forward passes, tokens per
    forward."""
    decoders = list(dict.fromkeys(c.job.decoder for c in cells))
    places = list(dict.fromkeys((c.job.task, c.job.rung) for c in cells))
    found = {(c.job.task, c.job.rung, c.job.decoder): c for c in cells}

    def show(c: Cell | None) -> str:
        if c is None:
            return ""
        low, high = c.interval
        work = "" if c.work is None else f", work {percent(c.work / c.job.n)}"
        return (
            f"**{percent(c.accuracy)}** ({percent(low)}-{percent(high)}){work}<br>{c.nfe:.1f} / "
            f"{c.tokens_per_forward:.1f}"
        )

    sizes = {(c.job.task, c.job.rung): c.job.n for c in cells}
    rows = [
        [f"{task}/{rung} (n={sizes[task, rung]})", *(show(found.get((task, rung, d))) for d in decoders)]
        for task, rung in places
    ]
    return markdown(["task", *(f"`{d}`" for d in decoders)], rows)


def spread_table(cells: Sequence[Cell]) -> str:
    """One row per task and rung, the largest difference first: the lowest and the highest accuracy, and the decoders
    that reach them."""
    places = dict.fromkeys((c.job.task, c.job.rung, c.job.n) for c in cells)
    found = []
    for task, rung, n in places:
        own = sorted((c for c in cells if (c.job.task, c.job.rung) == (task, rung)), key=lambda c: c.accuracy)
        low, high = own[0], own[-1]
        row = [
            f"{task}/{rung} (n={n})", percent(high.accuracy - low.accuracy), named(own, low.right),
            named(own, high.right),
        ]
        found.append((low.accuracy - high.accuracy, row))
    rows = [row for _, row in sorted(found, key=lambda x: x[0])]
    return markdown(["task", "apart, points", "lowest", "highest"], rows)


def named(cells: Sequence[Cell], right: int) -> str:
    """An accuracy, and the decoders that reach it."""
    own = [c for c in cells if c.right == right]
    who = f"{len(own)} of {len(cells)}" if len(own) > 3 else ", ".join(f"`{c.job.decoder}`" for c in own)
    return f"**{percent(own[0].accuracy)}** {who}"
