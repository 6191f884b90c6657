"""Train the embedded model on a GPU: the same data and the same steps as on a CPU, drawn by other processes ahead of
their time."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from decoders_bench.gpu.parts import say
from decoders_bench.nano.batches import Batch, Mode
from decoders_bench.nano.train import Draw, Plan, Run, drawn, steps

AHEAD = 4
"""Steps that are drawn beforehand, for each process that draws."""
WIDEST = 24_000
"""Positions of a batch, padding included: on a GPU a small batch takes as long as a large one."""
TOLD = 100
"""A line of the log every so many steps."""


def packed(plan: Plan, step: int) -> bytes:
    """What all workers of the plan would draw; as bytes, so that nothing of it is shared memory."""
    torch.set_num_threads(1)
    return pickle.dumps(drawn(plan, step, range(plan.workers)))


@contextmanager
def ahead(plan: Plan, processes: int) -> Iterator[Draw]:
    """Draws steps one after the other, from the first that it is asked for."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        waiting: deque[Any] = deque()

        def draw(step: int) -> tuple[Mode, list[Batch]]:
            while len(waiting) < AHEAD * processes and step + len(waiting) < plan.steps:
                waiting.append(pool.apply_async(packed, (plan, step + len(waiting))))
            mode, made = pickle.loads(waiting.popleft().get())
            return mode, made

        yield draw


def tell(row: dict[str, Any], every: int) -> None:
    if row["step"] % every == 0:
        loss = ", ".join(f"{mode} {x:.2f}" for mode, x in sorted(row["loss"].items()))
        say(f"step {row['step']}, {row['minutes']:.1f} min, {row['examples']} examples, loss: {loss}")


def train_for(out: Path, earlier: Path, deadline: float, rehearse: bool) -> bool:
    """Go on from the checkpoint in `out`, or from that in `earlier`, until `time.monotonic` says `deadline`; whether
    nothing is left."""
    if not (out / "checkpoint.json").exists() and (earlier / "checkpoint.json").exists():
        shutil.copytree(earlier, out, dirs_exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    small: dict[str, Any] = {
        "positions": 300,
        "widest": 300,
        "hidden": 32,
        "layers": 1,
        "heads": 2,
        "inner": 32,
        "save_every": 4,
        "steps": 8,
    }
    plan = Plan(str(out), device="cpu", **small) if rehearse else Plan(str(out), device="cuda", widest=WIDEST)
    run = Run(plan, 0)
    say(f"{run.step} of {plan.steps} steps are done; {deadline - time.monotonic():.0f} s")
    processes = 1 if rehearse else max(1, min((os.cpu_count() or 2) - 2, 12))
    with ahead(plan, processes) as draw:
        steps(run, draw, lambda row: tell(row, 4 if rehearse else TOLD), deadline)
    say(f"{run.step} of {plan.steps} steps are done, in {run.log['minutes']:.1f} minutes in all")
    return run.step == plan.steps
