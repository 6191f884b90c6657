"""`decoders bench tasks`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from decoders_bench.common.options import (
    decoders_option,
    finish,
    json_option,
    output_option,
    seed_option,
    split_option,
    tasks_option,
    tracked,
    workers_option,
)

SIX = ("llada", "dream:by=entropy", "threshold:tau=0.9", "factor:f=1.0", "ancestral:temperature=0.0", "left_to_right")


@click.command("tasks")
@click.option("-m", "--model", default="nano", show_default=True, help="model to decode with")
@decoders_option(SIX)
@tasks_option(told="all")
@click.option("-n", "--items", "n", default=100, show_default=True, type=click.IntRange(1), help="test items per cell")
@split_option
@seed_option
@click.option("--block", type=click.IntRange(1), help="decode in blocks of this many positions")
@workers_option
@output_option
@json_option
def tasks(
    model: str, decoders: tuple[str, ...], tasks: tuple[str, ...], n: int, split: Any, seed: int, block: int | None,
    workers: int, output: Path | None, as_json: bool,
) -> None:
    """Measure the accuracy of decoders on the generated tasks: a table of exact answers in percent with the 95 % Wilson
    interval, the shares of right and of consistent intermediate steps for tasks that have them, forward passes, and
    tokens per forward."""
    from decoders import get
    from decoders_bench.accuracy.measure import Job, run_all
    from decoders_bench.accuracy.tables import task_table
    from decoders_bench.tasks import chosen

    for spec in decoders:
        get(spec)
    jobs = [
        Job(task, rung, spec, model, n, split, seed, block=block) for task, rung in chosen(tasks) for spec in decoders
    ]
    with tracked("cells", len(jobs)) as advance:
        cells = run_all(jobs, workers, advance)
    finish("tasks", cells, task_table(cells), output, as_json)
