"""Training of the embedded model of latents on a GPU, as many steps as the time allows, while another training may
run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from decoders_bench.gpu.nano import NEVER, trained
from decoders_bench.nano.train import Plan
from decoders_bench.nano.train_latents import LatentRun, recipe

POSITIONS, WIDEST = 24_000, 100_000
"""Positions of a step, and of its one batch with the padding."""
DRAWING = 7
"""Number of processes that draw examples: another training has its own."""
FITS = 0.0, 0.45
"""The fractions of the steps after which their number is fitted to the time; the second is just before the learning
rate begins to fall, as the other training may have ended or begun."""


def plan_for(out: Path, rehearse: bool) -> Plan:
    """The recipe with steps eight times as large as on a CPU; for a rehearsal, a small one."""
    if rehearse:
        small: dict[str, Any] = {"hidden": 32, "layers": 1, "heads": 2, "inner": 32, "save_every": 50}
        return replace(recipe(Plan(str(out), workers=1, steps=NEVER, **small)), positions=300, widest=2000)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    plan = Plan(str(out), device=device, workers=1, save_every=1000, steps=NEVER)
    return replace(recipe(plan), positions=POSITIONS, widest=WIDEST, warmup=100)


def train_latents_for(out: Path, deadline: float, rehearse: bool) -> bool:
    """Begin, or continue from the checkpoint in `out`, until `time.monotonic()` reaches `deadline`, and write the
    model; whether the training is complete."""
    out.mkdir(parents=True, exist_ok=True)
    return trained(LatentRun(plan_for(out, rehearse), 0), deadline, rehearse, DRAWING, FITS)
