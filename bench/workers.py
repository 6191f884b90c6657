"""Jobs on several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

import torch

Job = TypeVar("Job")
Result = TypeVar("Result")


def spread(work: Callable[[Job], Result], jobs: Iterable[Job], workers: int, notify: Callable[[object], None]) -> list[Result]:
    """What `work` makes of each job, in the order of the jobs, on `workers` processes of one thread each; they begin in that order, and
    `notify` hears of each result. The first error of a job is raised, and what has not begun is left."""
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        futures = [pool.submit(work, job) for job in jobs]
        try:
            for f in as_completed(futures):
                notify(f.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [f.result() for f in futures]
