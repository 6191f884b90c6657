"""Decoding and grading the items of a grid: a job is a batch, and runs in this process, in a worker process or on a
cluster."""

from __future__ import annotations

import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import transformers

from decoders import Generator, get
from decoders.tree import version
from decoders_bench.common.models import loaded
from decoders_bench.common.results import hardware, weights
from decoders_bench.common.workers import spread, spread_on_ray
from decoders_bench.quality.frames import Frames
from decoders_bench.quality.grid import Grid, budgeted
from decoders_bench.quality.journal import Journal
from decoders_bench.quality.rows import Cell, Row
from decoders_bench.tasks import Gradable, Item, Split, task_of
from decoders_bench.tasks.sandbox import unsafely


@dataclass(frozen=True)
class Job:
    """Some items of a cell, decoded in one batch."""

    cell: Cell
    task: str
    """The spec of the task."""
    items: tuple[int, ...]
    n: int
    split: Split
    length: int
    traced: int
    """The number of the cell's first items whose traces are recorded."""
    unsafe: bool = False
    """Whether code that a model wrote is run even if no sandbox is available."""

    @property
    def weight(self) -> int:
        """Positions to decode, from which the time left is estimated."""
        return self.length * len(self.items)


@dataclass(frozen=True)
class Done:
    """The outcome of a job: lines of rows.jsonl and of traces.jsonl."""

    job: Job
    rows: list[dict[str, Any]]
    traces: list[dict[str, Any]]


task_named: Callable[[str], Gradable] = cache(lambda spec: task_of(spec)[0])  # so each process reads a file only once


@cache
def drawn(spec: str, rung: str, split: Split, n: int, seed: int, template: int) -> list[Item]:
    return task_named(spec).items(rung, split, n, seed, template)


def generator(cell: Cell, length: int) -> Generator:
    return Generator(loaded(cell.model), budgeted(get(cell.decoder), length), cell.cache)


def key(seed: int, item: int) -> int:
    """The random seed of an item: items have independent random numbers, and all decoders have the same."""
    return seed << 32 | item


def decode(job: Job) -> Done:
    """Decode and grade a job's items. The tokens of an item depend only on its cell and its index. If the decoder has a
    reasoner, each token of the reasoner counts as a token and as a forward pass."""
    cell, task = job.cell, task_named(job.task)
    run = generator(cell, job.length)
    all_items = drawn(job.task, cell.rung, job.split, job.n, cell.seed, cell.template)
    chosen = [all_items[i] for i in job.items]
    keys = {row: {"cell": cell.id, "item": i} for row, i in enumerate(job.items) if i < job.traced}
    frames = Frames(keys, run.model.mask_id, run.loaded.tokenizer, run.decoder) if keys else None
    began = time.perf_counter()
    made = run(
        [x.prompt for x in chosen], length=job.length, block=cell.block, seeds=[key(cell.seed, i) for i in job.items],
        watch=frames
    )
    watched = frames.seconds if frames else 0.0
    seconds = (time.perf_counter() - began - watched) / len(chosen)
    rows = []
    for i, item, g in zip(job.items, chosen, made, strict=True):
        text = (g.reasoning.text + run.boundary if g.reasoning else "") + g.text
        reasoned = (g.reasoning.tokens or 0) if g.reasoning else 0
        row = Row(
            **asdict(cell), cell=cell.id, item=i, right=graded(task, item, text, job.unsafe), answer=task.said(text),
            output=text, prompt=item.prompt, expected=item.answer, nfe=g.nfe + reasoned,
            tokens=g.generated_tokens + reasoned, positions=g.positions_computed, seconds=seconds,
            flops=g.flops or None,
        )
        rows.append(asdict(row))
    return Done(job, rows, frames.traces() if frames else [])


def graded(task: Gradable, item: Item, text: str, unsafe: bool) -> bool:
    with unsafely(unsafe):
        return task.grade(item.problem, text).exact


def jobs_of(grid: Grid, done: set[tuple[str, int]], batch: int, traced: int, unsafe: bool = False) -> list[Job]:
    """The remaining jobs, the longest canvases first, so that no worker is left with a long one at the end."""
    out = []
    for cell, place in grid.cells():
        left = iter([i for i in range(grid.items) if (cell.id, i) not in done])
        while part := tuple(islice(left, batch)):
            out.append(Job(cell, place.spec, part, grid.items, grid.split, grid.canvas(place), traced, unsafe))
    return sorted(out, key=lambda job: -job.length)


def preflight(grid: Grid) -> None:
    """Raises `UsageError` for errors that a run would otherwise meet later: a decoder that does not fit the model, a
    budget that is not divisible by the number of blocks, a prompt that is too long, a file with too few problems."""
    seen: set[tuple[str, str, int | None]] = set()
    asked: set[tuple[str, str, int, int]] = set()
    for cell, place in grid.cells():
        length = grid.canvas(place)
        run = generator(cell, length)
        question = (place.spec, cell.rung, cell.seed, cell.template)
        chosen = drawn(place.spec, cell.rung, grid.split, grid.items, cell.seed, cell.template)
        if question not in asked:
            for item in chosen:
                run.encode(item.prompt, length)
        divides = getattr(run.decoder, "steps", None) is not None and cell.block is not None
        if (cell.decoder, cell.cache, cell.block) not in seen or (
            divides and (cell.template, cell.seed) == (0, grid.seeds[0])
        ):
            run([chosen[0].prompt], length=length, block=cell.block, max_steps=1)
        asked.add(question)
        seen.add((cell.decoder, cell.cache, cell.block))


def environment() -> dict[str, Any]:
    """The environment of the measurements: software versions and hardware."""
    return {
        "hardware": hardware(), "nano": weights(), "python": platform.python_version(), "torch": torch.__version__,
        "transformers": transformers.__version__, "decoders": version(), "commit": commit(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"), "threads": 1,
    }


def commit() -> str | None:
    """The commit of the checkout from which this package is imported, with a + if files differ from it; None if the
    package is installed."""
    here = Path(__file__).parent
    try:
        git = ("git", "-C", str(here))
        found = subprocess.run(
            [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            [*git, "diff", "--quiet", "HEAD", "--", here.parents[1]], capture_output=True
        ).returncode
    except (OSError, subprocess.CalledProcessError):
        return None
    return found + "+" * (changed == 1)


def measure(
    grid: Grid, path: Path, *, command: str, workers: int = 1, ray: str | None = None, batch: int = 25, traced: int = 1,
    unsafe: bool = False, notify: Callable[[int, int], object] = lambda items, weight: None,
    baseline: str | None = None,
) -> None:
    """Complete the run in `path`: decode the items that it lacks, and write each job's rows when the job finishes. With
    one worker, this process does the work; `ray`: the address of a cluster, or `local`. `notify` is called with numbers
    of finished items and their weight in the time left, first for those of earlier runs. `unsafe`: as in `Job`.
    `baseline`: the decoder with which reports of the run compare the others, for run.json. Raises `UsageError` for
    inconsistent arguments, before anything is written."""

    def everywhere(work: Callable[[Any], Any], jobs: Sequence[Any], heard: Callable[[Any], object]) -> None:
        if ray:
            spread_on_ray(work, jobs, workers, heard, None if ray == "local" else ray)
        elif workers > 1:
            spread(work, jobs, workers, heard)
        else:
            for job in jobs:
                heard(work(job))

    everything = jobs_of(grid, set(), batch, traced)
    preflight(grid)
    info = {"command": command, "environment": environment(), "grid": grid.record(), "baseline": baseline}
    with Journal(path, info) as journal:

        def keep(done: Done) -> None:
            journal.add(done.rows, done.traces)
            notify(len(done.rows), done.job.weight)

        left = jobs_of(grid, journal.rows, batch, traced, unsafe)
        there = [
            sum(map(size, everything)) - sum(map(size, left))
            for size in (lambda job: len(job.items), lambda job: job.weight)
        ]
        notify(*there)
        everywhere(decode, left, keep)
