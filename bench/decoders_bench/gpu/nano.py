"""Train the embedded model on a GPU: the same data and the same steps as on a CPU, drawn by other processes ahead of
their time."""

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
from decoders_bench.nano.train import PAGES, Draw, Notify, Plan, Run, steps, warmed

AHEAD = 4
"""Steps that are drawn beforehand, for each process that draws."""
POSITIONS, WIDEST = 24_000, 48_000
"""Of a step, and of a batch with its padding: on a GPU a small batch takes as long as a large one."""
TOLD = 100
"""A line of the log every so many steps."""
BEFORE, PACE = 20, 80
"""After so many steps, so many say how many the time holds; the rate is constant until then."""
PLANNED = 0.93
"""The share of the time that is left then, for the steps that are planned."""
NEVER = 10**9
"""Steps of a run that does not know yet how many it has."""
EMBEDDED = Path(decoders.models.nano.__file__).parent
ALL = PAGES | {
    "chain/easy": 0.5, "chain/hard": 1.5, "answer_first/easy": 0.4, "answer_first/hard": 1.0, "list/easy": 2.0,
    "list/hard": 3.5, "ledger/hard": 0.9, "cycle/easy": 0.8, "table/easy": 1.0, "table/hard": 0.5, "nest/easy": 1.0,
    "nest/hard": 0.5, "edit/easy": 1.2, "edit/hard": 0.6, "records/easy": 1.0, "records/hard": 0.4,
    "program/easy": 1.0, "program/hard": 0.5,
}
"""Every task of the shelf. The embedded model was trained so for 1,000 steps, after 600 with `LINES`."""
REST = {task: weight / 3 for task, weight in ALL.items()} | {
    "list/easy": 1.0, "list/hard": 2.0, "table/hard": 2.0, "nest/hard": 1.5, "records/hard": 1.5,
    "edit/easy": 4.0, "edit/hard": 2.5, "program/easy": 4.0, "program/hard": 2.5,
}
"""Mostly what the embedded model does not know, with a third of the rest so that it is not forgotten."""


def packed(kind: type[Run], plan: Plan, step: int) -> bytes:
    """What all workers of the plan would draw; as bytes, so that nothing of it is shared memory."""
    torch.set_num_threads(1)
    return pickle.dumps(kind.drawn(plan, step, range(plan.workers)))


def in_order(pool: Pool, processes: int, work: Callable[[int], bytes], last: int) -> Callable[[int], Any]:
    """A function of steps that are asked for one after the other: what other processes have pickled of each, ahead of
    its time, up to the one before `last`."""
    waiting: deque[Any] = deque()

    def draw(step: int) -> Any:
        while len(waiting) < AHEAD * processes and step + len(waiting) < last:
            waiting.append(pool.apply_async(work, (step + len(waiting),)))
        return pickle.loads(waiting.popleft().get())

    return draw


@contextmanager
def ahead(run: Run, processes: int) -> Iterator[Draw]:
    """Draws steps of a run one after the other, from the first that it is asked for."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield in_order(pool, processes, partial(packed, type(run), run.plan), run.plan.steps)


def tell(row: dict[str, Any], every: int) -> None:
    if row["step"] % every == 0:
        loss = ", ".join(f"{mode} {x:.2f}" for mode, x in sorted(row["loss"].items()))
        say(f"step {row['step']}, {row['minutes']:.1f} min, {row['examples']} examples, loss: {loss}")


def planned(out: Path, rehearse: bool) -> Plan:
    """What is trained: the embedded model goes on, mostly with what it does not know, in steps four times as large as
    a CPU's; or, to rehearse, a few steps of a small one."""
    small: dict[str, Any] = {
        "positions": 300, "widest": 300, "hidden": 32, "layers": 1, "heads": 2, "inner": 32, "save_every": 4,
        "steps": 8,
    }  # fmt: skip
    if rehearse:
        return Plan(str(out), device="cpu", **small)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    plan = Plan(str(out), device=device, workers=1, save_every=1000, steps=NEVER)
    return replace(warmed(plan, str(EMBEDDED)), positions=POSITIONS, widest=WIDEST, stages=((0, REST),))


def fitted(run: Run, draw: Draw, told: Notify, deadline: float) -> None:
    """Choose how many steps the whole run has, by the pace of the first: the rate falls to 0 with the last."""
    steps(run, draw, told, deadline, until=run.step + BEFORE)
    began, first = time.monotonic(), run.step
    steps(run, draw, told, deadline, until=first + PACE)
    if run.step < first + PACE:  # the time is up, and the pace unknown
        return
    left, each = deadline - time.monotonic(), (time.monotonic() - began) / PACE
    run.plan = replace(run.plan, steps=run.step + max(int(left * PLANNED / each), 1))
    say(f"{1000 * each:.1f} ms a step: {run.plan.steps} steps")


def train_for(out: Path, earlier: Path, deadline: float, rehearse: bool) -> bool:
    """Go on from the checkpoint in `out`, or from that in `earlier`, until `time.monotonic` says `deadline`, and write
    the model; whether nothing is left."""
    if not (out / "checkpoint.json").exists() and (earlier / "checkpoint.json").exists():
        shutil.copytree(earlier, out, dirs_exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    return trained(Run(planned(out, rehearse), 0), deadline, rehearse)


def trained(run: Run, deadline: float, rehearse: bool, most: int = 12, fits: tuple[float, ...] = (0.0,)) -> bool:
    """Train until the steps are done or `time.monotonic` says `deadline`, with at most `most` processes that draw, and
    write the model as it is then; whether nothing is left. A run that does not know its steps yet fits them to the time
    when such shares of them are done."""
    torch.backends.cuda.enable_cudnn_sdp(False)  # it makes a plan for every new shape, and every batch has another
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
