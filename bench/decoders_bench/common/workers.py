"""Jobs on several processes, here or on the machines of a Ray cluster. If a worker dies its jobs are started again, and
every job has exactly one result."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from threading import Thread
from typing import Any, TypeVar

import torch

from decoders import UsageError

Job = TypeVar("Job")
Result = TypeVar("Result")
RETRIES = 3
"""So often in a row workers may die with no job finished between."""


def spread(
    work: Callable[[Job], Result], jobs: Iterable[Job], workers: int, notify: Callable[[Result], object]
) -> list[Result]:
    """The results of `work` for each job, in the order of the jobs, on `workers` processes of one thread each; they
    start in that order, and `notify` is called once with each result. The first error of a job is raised, and jobs that
    have not started are dropped. Raises `UsageError` if workers die again and again."""
    todo = list(jobs)
    results: dict[int, Result] = {}
    deaths = 0
    while len(results) < len(todo):
        before = len(results)
        try:
            attempt(work, todo, workers, notify, results)
        except BrokenProcessPool:
            deaths = 1 if len(results) > before else deaths + 1
            if deaths > RETRIES:
                raise UsageError(
                    f"a worker process died {deaths} times over the same jobs; is there too little memory?"
                ) from None
    return [results[i] for i in range(len(todo))]


def attempt(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int, notify: Callable[[Result], object],
    results: dict[int, Result]
) -> None:
    """Add the results that are missing. Raises `BrokenProcessPool` if a worker dies."""
    others = set(active_children())
    with ProcessPoolExecutor(workers, get_context("spawn"), begin) as pool:
        futures = {pool.submit(work, job): i for i, job in enumerate(jobs) if i not in results}
        try:
            for f in as_completed(futures):
                results[futures[f]] = f.result()
                notify(results[futures[f]])
        except BaseException:
            for process in set(active_children()) - others:
                process.terminate()
            pool.shutdown(cancel_futures=True)
            raise


class Teller:
    """What a job may carry to tell its parent something on the way: call it."""

    def __init__(self, queue: Any) -> None:
        self.queue = queue

    def __call__(self, *told: object) -> None:
        self.queue.put(told)


@contextmanager
def heard_from_others(heard: Callable[..., object]) -> Iterator[Teller]:
    """While this lasts, `heard` is called here, in a thread, with all that is told in other processes."""
    with get_context("spawn").Manager() as manager:
        queue = manager.Queue()

        def follow_all() -> None:
            while (told := queue.get()) is not None:
                heard(*told)

        thread = Thread(target=follow_all, daemon=True)
        thread.start()
        try:
            yield Teller(queue)
        finally:
            queue.put(None)
            thread.join()


def begin() -> None:
    """Of a worker: one thread; an interrupt is its parent's to handle, and it does not outlive its parent, however that
    ends."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=follow, daemon=True).start()


def follow() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def spread_on_ray(
    work: Callable[[Job], Result], jobs: Iterable[Job], workers: int, notify: Callable[[Result], object],
    address: str | None = None
) -> list[Result]:
    """`spread` on a Ray cluster: the one at `address`, or one of `workers` processes on this machine. A worker takes
    one core, has one thread and keeps what it has loaded for its next job; a job whose worker dies is begun again up to
    `RETRIES` times. Other machines need the same versions installed. Raises `UsageError` if there is no Ray, or no
    cluster at that address."""
    try:
        import ray
    except ImportError:
        raise UsageError("--ray needs ray: pip install 'dllm-decoders[ray]'") from None
    where: dict[str, Any] = (
        {"address": address} if address else {"address": "local", "num_cpus": workers, "include_dashboard": False}
    )
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **where)
    except (ConnectionError, ValueError, RuntimeError) as e:
        raise UsageError(f"no Ray cluster at {address or 'this machine'}: {str(e).splitlines()[0]}") from None
    try:
        remote: Any = ray.remote(num_cpus=1, max_retries=RETRIES)(on_one_thread)
        todo = list(jobs)
        waiting = {remote.remote(work, job): i for i, job in enumerate(todo)}
        results: dict[int, Result] = {}
        while waiting:
            (done, *_), _ = ray.wait(list(waiting), num_returns=1)
            i = waiting.pop(done)
            try:
                results[i] = ray.get(done)
            except ray.exceptions.RayTaskError as e:
                raise e.cause from None
            except ray.exceptions.WorkerCrashedError:
                raise UsageError(
                    f"a Ray worker died {RETRIES + 1} times over the same job; is there too little memory?"
                ) from None
            notify(results[i])
    finally:
        ray.shutdown()
    return [results[i] for i in range(len(todo))]


def on_one_thread(work: Callable[[Job], Result], job: Job) -> Result:
    torch.set_num_threads(1)
    return work(job)
