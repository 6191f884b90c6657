"""Training of the embedded model on a GPU: the same data and the same steps as on a CPU, drawn in advance by other
processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import torch

import decoders.models.nano
from decoders_bench.gpu.parts import say
from decoders_bench.nano.mixes import ALL_LISTS
from decoders_bench.nano.train import Draw, Notify, Plan, Run, steps, warmed

AHEAD = 4
"""The number of steps that each drawing process draws in advance."""
POSITIONS, WIDEST = 24_000, 48_000
"""Positions of a step, and of a batch with its padding: on a GPU a small batch takes as long as a large one."""
TOLD = 100
"""The number of steps between lines of the log."""
BEFORE, PACE = 20, 80
"""After the first number of steps, the time of the second number determines how many steps fit into the time left; the
learning rate is constant until then."""
PLANNED = 0.93
"""The share of the time then left that is used for the planned steps."""
NEVER = 10**9
"""The number of steps of a run before its real number is known."""
EMBEDDED = Path(decoders.models.nano.__file__).parent


def packed(kind: type[Run], plan: Plan, step: int) -> bytes:
    """The examples of a step that all workers of the plan would draw; as bytes, so that no shared memory is used."""
    torch.set_num_threads(1)
    return pickle.dumps(kind.drawn(plan, step, range(plan.workers)))


def in_order(pool: Pool, processes: int, work: Callable[[int], bytes], last: int) -> Callable[[int], Any]:
    """A function of consecutive steps: the objects that other processes have pickled for each in advance, up to the
    step before `last`."""
    waiting: deque[Any] = deque()

    def draw(step: int) -> Any:
        while len(waiting) < AHEAD * processes and step + len(waiting) < last:
            waiting.append(pool.apply_async(work, (step + len(waiting),)))
        return pickle.loads(waiting.popleft().get())

    return draw


@contextmanager
def ahead(run: Run, processes: int) -> Iterator[Draw]:
    """Draws the steps of a run in order, from the first requested one."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield in_order(pool, processes, partial(packed, type(run), run.plan), run.plan.steps)


def tell(row: dict[str, Any], every: int) -> None:
    if row["step"] % every == 0:
        loss = ", ".join(f"{mode} {x:.2f}" for mode, x in sorted(row["loss"].items()))
        say(f"step {row['step']}, {row['minutes']:.1f} min, {row['examples']} examples, loss: {loss}")


def planned(out: Path, rehearse: bool) -> Plan:
    """The plan: the embedded model is trained further on every task, with steps four times as large as on a CPU; for a
    rehearsal, a few steps of a small model."""
    small: dict[str, Any] = {
        "positions": 300, "widest": 300, "hidden": 32, "layers": 1, "heads": 2, "inner": 32, "save_every": 4,
        "steps": 8,
    }  # fmt: skip
    if rehearse:
        return Plan(str(out), device="cpu", **small)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    plan = Plan(str(out), device=device, workers=1, save_every=1000, steps=NEVER)
    return replace(warmed(plan, str(EMBEDDED)), positions=POSITIONS, widest=WIDEST, stages=((0, ALL_LISTS),))


def fitted(run: Run, draw: Draw, told: Notify, deadline: float) -> None:
    """Choose the number of steps of the whole run from the pace of the first ones: the learning rate falls to 0 with
    the last."""
    steps(run, draw, told, deadline, until=run.step + BEFORE)
    began, first = time.monotonic(), run.step
    steps(run, draw, told, deadline, until=first + PACE)
    if run.step < first + PACE:  # the time is up before the pace is known
        return
    left, each = deadline - time.monotonic(), (time.monotonic() - began) / PACE
    run.plan = replace(run.plan, steps=run.step + max(int(left * PLANNED / each), 1))
    say(f"{1000 * each:.1f} ms a step: {run.plan.steps} steps")


def train_for(out: Path, earlier: Path, deadline: float, rehearse: bool) -> bool:
    """Continue from the checkpoint in `out`, or from that in `earlier`, until `time.monotonic()` reaches `deadline`,
    and write the model; whether the training is complete."""
    if not (out / "checkpoint.json").exists() and (earlier / "checkpoint.json").exists():
        shutil.copytree(earlier, out, dirs_exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    return trained(Run(planned(out, rehearse), 0), deadline, rehearse)


def trained(run: Run, deadline: float, rehearse: bool, most: int = 12, fits: tuple[float, ...] = (0.0,)) -> bool:
    """Train until the steps are done or `time.monotonic()` reaches `deadline`, with at most `most` processes that draw
    examples, and write the current model; whether the training is complete. A run whose number of steps is not known
    yet fits it to the time when the shares `fits` of the steps are done."""
    torch.backends.cuda.enable_cudnn_sdp(False)  # it makes a plan for every new shape, and every batch has a new one
    if run.step:
        run.plan = replace(run.plan, steps=json.loads((run.out / "checkpoint.json").read_text())["plan"]["steps"])
    say(f"{run.step} steps are done; {deadline - time.monotonic():.0f} s")
    processes = 1 if rehearse else max(1, min((os.cpu_count() or 2) - 2, most))
    if run.step < run.plan.steps:
        with ahead(run, processes) as draw:
            told = partial(tell, every=4 if run.plan.steps < TOLD else TOLD)
            if run.plan.steps == NEVER:
                for share in fits:
                    steps(run, draw, told, deadline, until=int(share * run.plan.steps))
                    fitted(run, draw, told, deadline)
            steps(run, draw, told, deadline)
    say(f"{run.step} of {run.plan.steps} steps are done, in {run.log['minutes']:.1f} minutes in all")
    run.export()
    return run.step == run.plan.steps
