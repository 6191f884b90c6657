"""The parts of a run, in the order of their value, and how they are gone through until time is up."""

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
    """The device answers nothing any more in this process."""


def brief(row: dict[str, Any]) -> str:
    """The numbers of a row that stand at its top."""
    return ", ".join(
        f"{k} {x:.4g}" if isinstance(x, float) else f"{k} {x}"
        for k, x in row.items()
        if isinstance(x, int | float | str)
    )


@dataclass(frozen=True)
class Task:
    """One figure, or a few that come together."""

    key: str
    """`PART/...`"""
    run: Callable[[], dict[str, Any]]
    seconds: float = 5.0
    """Not begun if less is left."""
    brief: Callable[[dict[str, Any]], str] = brief
    """What the log says of it."""


@dataclass(frozen=True)
class Part:
    name: str
    share: float
    """Of the whole time, the most that it gets before the parts behind it have had theirs."""
    tasks: Sequence[Task]


@dataclass
class Clock:
    """Seconds until time is up."""

    deadline: float
    """As `time.monotonic` counts."""

    @property
    def left(self) -> float:
        return self.deadline - time.monotonic()


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def go(parts: Sequence[Part], ledger: Ledger, clock: Clock) -> None:
    """Every part within its share, then whatever is left. Raises `DeviceLostError` where only a new process can go
    on."""
    whole = clock.left
    for part in parts:
        until = time.monotonic() + part.share * whole
        through(part, ledger, clock, until)
    for part in parts:
        through(part, ledger, clock, clock.deadline)


def through(part: Part, ledger: Ledger, clock: Clock, until: float) -> None:
    """The tasks of a part that are missing; those that once took the process with them come last."""
    missing = [t for t in part.tasks if ledger.missing(t.key)]
    missing.sort(key=lambda t: ledger.failed.get(t.key, {}).get("why") == LOST)
    for task in missing:
        if time.monotonic() > until or clock.left < task.seconds:
            return
        attempt(task, ledger)


def attempt(task: Task, ledger: Ledger) -> None:
    """One task; whatever goes wrong in it is written down, and the run goes on."""
    began = time.monotonic()
    ledger.begin(task.key)
    try:
        row = task.run()
    except UsageError as e:
        ledger.fail(task.key, str(e), final=True)
        say(f"{task.key}: cannot be: {e}")
    except Exception as e:  # a kernel, a driver, a strategy: the others are measured all the same
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
    """After an illegal access, say, every call of CUDA fails until the process ends."""
    if not torch.cuda.is_available():
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False
