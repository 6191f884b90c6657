"""The parts of a run, in order of importance, and the loop that works on them until the time is up."""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from decoders import UsageError
from decoders_bench.gpu.ledger import LOST, Ledger


class DeviceLostError(RuntimeError):
    """The device no longer responds in this process."""


def brief(row: dict[str, Any]) -> str:
    """The numbers at the top level of a row."""
    return ", ".join(
        f"{k} {x:.4g}" if isinstance(x, float) else f"{k} {x}"
        for k, x in row.items()
        if isinstance(x, int | float | str)
    )


@dataclass(frozen=True)
class Task:
    """One figure, or a few that are measured together."""

    key: str
    """`PART/...`"""
    run: Callable[[], dict[str, Any]]
    seconds: float = 5.0
    """The task is not begun with less time left."""
    brief: Callable[[dict[str, Any]], str] = brief
    """The log's summary of a result."""


@dataclass(frozen=True)
class Part:
    name: str
    share: float
    """The largest share of the whole time that the part gets before the following parts have had theirs."""
    tasks: Sequence[Task]


@dataclass
class Clock:
    """The seconds left."""

    deadline: float
    """In the time of `time.monotonic()`."""

    @property
    def left(self) -> float:
        return self.deadline - time.monotonic()


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def go(parts: Sequence[Part], ledger: Ledger, clock: Clock) -> None:
    """Run every part within its share, then whatever is left. Raises `DeviceLostError` if only a new process can
    continue."""
    whole = clock.left
    for part in parts:
        until = time.monotonic() + part.share * whole
        through(part, ledger, clock, until)
    for part in parts:
        through(part, ledger, clock, clock.deadline)


def through(part: Part, ledger: Ledger, clock: Clock, until: float) -> None:
    """The missing tasks of a part; those that ended an earlier process come last."""
    missing = [t for t in part.tasks if ledger.missing(t.key)]
    missing.sort(key=lambda t: ledger.failed.get(t.key, {}).get("why") == LOST)
    for task in missing:
        if time.monotonic() > until or clock.left < task.seconds:
            return
        attempt(task, ledger)


def attempt(task: Task, ledger: Ledger) -> None:
    """Run one task; any error in it is recorded, and the run continues."""
    began = time.monotonic()
    ledger.begin(task.key)
    try:
        row = task.run()
    except UsageError as e:
        ledger.fail(task.key, str(e), final=True)
        say(f"{task.key}: cannot be: {e}")
    except Exception as e:  # whatever failed (a kernel, a driver, a strategy), the other tasks are still measured
        why = f"{type(e).__name__}: {next(iter(str(e).splitlines()), '')}"
        ledger.tell(task.key, traceback.format_exc())
        ledger.fail(task.key, why)
        say(f"{task.key}: FAILED, {why}")
        if lost():
            raise DeviceLostError(task.key) from e
    else:
        ledger.found(task.key, row)
        say(f"{task.key}: {task.brief(row)} ({time.monotonic() - began:.1f} s)")
    finally:
        gc.collect()
        if torch.cuda.is_available() and not lost():
            torch.cuda.empty_cache()


def lost() -> bool:
    """Whether the device is lost: after an illegal access, for example, every CUDA call fails until the process
    ends."""
    if not torch.cuda.is_available():
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False
