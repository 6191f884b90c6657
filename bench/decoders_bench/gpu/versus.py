"""Training of the twins of `bench versus` on a GPU, all of them together; other processes draw the examples in
advance."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from decoders_bench.common.results import hardware
from decoders_bench.gpu.nano import in_order
from decoders_bench.gpu.parts import say
from decoders_bench.versus.plan import STACKED, Plan
from decoders_bench.versus.train import Draw, Run, drawn, export, go

LARGE = Plan(
    seeds=6, kinds=STACKED, regimes=("fresh", "repeat:2000"), examples=128, hidden=96, layers=4, inner=256, looks=12,
    items=24,
)
"""Six seeds: with three, a difference has to be twice as large to be distinguished from noise. Diffusion of latents is
not among the kinds, as its network is not one of the stack that a step trains: `decoders bench versus -o OUT/versus
--kind latent --device cuda` adds it."""
SMALL = Plan(
    seeds=2, kinds=STACKED, regimes=("fresh", "repeat:50"), examples=12, hidden=32, layers=1, heads=2, inner=32,
    looks=3, items=2,
)
BEFORE, PACE = 10, 30
"""After the first number of steps, the time of the second number determines how many steps fit into the time left."""
PLANNED = 0.88
"""The share of the time then left that is used for the planned steps."""
MOST = 8000
TOLD = 100
"""The number of steps between lines of the log."""
SAVE = 1000


def packed(plan: Plan, step: int) -> bytes:
    """A step of every twin; as bytes, so that no shared memory is used."""
    torch.set_num_threads(1)
    return pickle.dumps(drawn(plan, step).small())


def tell(run: Run, every: int) -> None:
    if run.step % every == 0:
        lost = {t.name: round(x, 2) for t, x in zip(run.twins, run.smooth.tolist(), strict=True)}
        say(f"step {run.step} of {run.plan.steps}, {run.seconds:.0f} s, loss: {lost}")
    if run.curve and run.curve[-1]["step"] == run.step:
        right = run.curve[-1]["right"]
        say(f"right: { {t.name: list(own.values()) for t, own in zip(run.twins, right, strict=True)} }")


def fitted(plan: Plan, state: Path, device: str, draw: Draw, deadline: float, until: float) -> int:
    """The number of steps that fit into the time, from the pace of a few trial steps; 0 if there is no time for
    those."""
    run = Run(plan, state, device)
    go(run, draw, lambda run: None, SAVE, deadline, until=BEFORE)
    began = time.monotonic()
    go(run, draw, lambda run: None, SAVE, deadline, until=until)
    float(run.smooth.sum())  # waits until the device has finished them
    if run.step < until:
        return 0
    each = (time.monotonic() - began) / max(run.step - BEFORE, 1)
    steps = max(min(int((deadline - time.monotonic()) * PLANNED / each), MOST), plan.looks)
    say(f"{1000 * each:.1f} ms a step: {steps} steps")
    return steps


def train_for(out: Path, state: Path, deadline: float, rehearse: bool) -> bool:
    """Continue from the state in `state` until `time.monotonic()` reaches `deadline`; whether the training is complete,
    in which case weights and curves are in `out`."""
    state.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() and not rehearse else "cpu"
    torch.set_float32_matmul_precision("high")
    processes = 1 if rehearse else max(1, min((os.cpu_count() or 2) - 4, 10))
    chosen = state / "steps.json"
    with multiprocessing.get_context("spawn").Pool(processes) as pool:

        def ahead(plan: Plan, last: int) -> Draw:
            return in_order(pool, processes, partial(packed, plan), last)

        plan = SMALL if rehearse else LARGE
        if not chosen.exists():
            last = 12 if rehearse else BEFORE + PACE
            steps = fitted(plan, state, device, ahead(plan, last), deadline, last)
            if not steps:
                say("there is no time to begin")
                return False
            chosen.write_text(json.dumps(min(steps, 9) if rehearse else steps))
        plan = replace(plan, steps=json.loads(chosen.read_text()))
        run = Run(plan, state, device)
        say(f"{run.step} of {plan.steps} steps are done; {deadline - time.monotonic():.0f} s")
        go(run, ahead(plan, plan.steps), partial(tell, every=3 if rehearse else TOLD), SAVE, deadline)
    say(f"{run.step} of {plan.steps} steps are done, in {run.seconds:.0f} s in all")
    if run.step == plan.steps:
        export([run], out, {"hardware": hardware(device)})
    return run.step == plan.steps
