"""Train the embedded model of latents on a GPU, as many steps as the time holds, beside another training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from decoders_bench.gpu.nano import NEVER, trained
from decoders_bench.nano.train import Plan
from decoders_bench.nano.train_latents import LatentRun, recipe

POSITIONS, WIDEST = 24_000, 100_000
"""Of a step, and of its one batch with the padding."""
DRAWING = 7
"""Processes that draw: another training has its own."""
FITS = 0.0, 0.45
"""When the number of steps is fitted to the time; again before the rate begins to fall, as the other training may have
ended or begun."""


def plan_for(out: Path, rehearse: bool) -> Plan:
    """The recipe in steps eight times as large as a CPU's; or, to rehearse, a small one."""
    if rehearse:
        small: dict[str, Any] = {"hidden": 32, "layers": 1, "heads": 2, "inner": 32, "save_every": 50}
        return replace(recipe(Plan(str(out), workers=1, steps=NEVER, **small)), positions=300, widest=2000)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    plan = Plan(str(out), device=device, workers=1, save_every=1000, steps=NEVER)
    return replace(recipe(plan), positions=POSITIONS, widest=WIDEST, warmup=100)


def train_latents_for(out: Path, deadline: float, rehearse: bool) -> bool:
    """Begin, or go on from the checkpoint in `out`, until `time.monotonic` says `deadline`, and write the model;
    whether nothing is left."""
    out.mkdir(parents=True, exist_ok=True)
    return trained(LatentRun(plan_for(out, rehearse), 0), deadline, rehearse, DRAWING, FITS)
