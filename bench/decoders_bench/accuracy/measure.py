"""Accuracy, forward passes and tokens per forward of decoders on the generated tasks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from decoders import Generator
from decoders_bench.common.models import loaded
from decoders_bench.common.statistics import wilson
from decoders_bench.common.workers import spread
from decoders_bench.tasks import GENERATED, Split, items


@dataclass(frozen=True)
class Job:
    """One cell of a table: a decoder on a task."""

    task: str
    rung: str
    decoder: str
    model: str = "nano"
    n: int = 100
    split: Split = "test"
    seed: int = 0
    batch: int = 25
    block: int | None = None


@dataclass(frozen=True)
class Cell:
    """The measurements of a cell. Only generated tokens before the stop token count; the prompt and padding do not."""

    job: Job
    right: int
    work: int | None
    """Number of answers whose written steps are right and agree with the answer; None if the task has no written
    steps."""
    nfe: float
    tokens: float
    seconds: float

    @property
    def accuracy(self) -> float:
        return self.right / self.job.n

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.right, self.job.n)

    @property
    def tokens_per_forward(self) -> float:
        return self.tokens / self.nfe


def evaluate(job: Job) -> Cell:
    """Decode the first `n` items of a split, with the wordings mixed, and grade them."""
    task = GENERATED[job.task]
    chosen = items(task, job.rung, job.split, job.n, job.seed)
    generate = Generator(loaded(job.model), job.decoder)
    began = time.perf_counter()
    prompts, length = [x.prompt for x in chosen], task.length[job.rung]
    made = generate(prompts, length=length, block=job.block, seed=job.seed, batch=job.batch)
    grades = [task.grade(x.problem, g.text) for x, g in zip(chosen, made, strict=True)]
    work = [g.work for g in grades if g.work is not None]
    return Cell(
        job,
        sum(g.exact for g in grades),
        sum(work) if work else None,
        sum(g.nfe for g in made) / job.n,
        sum(g.generated_tokens for g in made) / job.n,
        time.perf_counter() - began,
    )


def run_all(jobs: Iterable[Job], workers: int, notify: Callable[[object], None]) -> list[Cell]:
    """The results of all jobs, in their order, computed by `workers` processes of one thread each."""
    return spread(evaluate, jobs, workers, notify)
