"""Samplers of latents at several numbers of forward passes, with the clamp and without; three ways of rounding; and a
masked model: all on the same items, so that any two can be compared item by item.

Ways of rounding are compared on the same latents: `argmax` takes the most likely tokens of the last forward pass, and
the rounder decodes the tokens one by one, or verifies that draft.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256

from decoders import Generator
from decoders_bench.common.models import loaded
from decoders_bench.common.workers import spread
from decoders_bench.tasks import GENERATED, items

FORWARDS = (2, 4, 8, 16)
SAMPLERS = ("ddim", "ddpm", "dpmpp_2m", "dpmpp_3m", "heun", "renoise", "bridge")
UNCLAMPED = ("bridge",)
"""The samplers that round in their own way, with or without the clamp."""
LEAST = {"heun": 3}
"""It needs two forward passes per step and one at the end: for an even number it makes one fewer, and for 2 it makes
3."""
ROUNDED = (2, 8)
"""Forward passes of the denoiser before the ways of rounding that are compared."""
ROUNDINGS = {"one by one": "verify=false", "verified": "verify=true"}
ARGMAX = "argmax"
MASKED = "llada:steps={}"
"""The decoder of nano with the same number of forward passes."""


@dataclass(frozen=True)
class Trial:
    """A decoder on a task. `kind` is the sampler, or the way of rounding; `forwards` counts those of the denoiser, or
    all of a masked model."""

    model: str
    kind: str
    decoder: str
    forwards: int
    clamp: bool
    task: str
    rung: str
    n: int = 100
    seed: int = 0
    batch: int = 50


@dataclass(frozen=True)
class Outcome:
    """The results of a trial, item by item. `rounds`: all forward passes of the rounder."""

    trial: Trial
    right: list[bool]
    texts: str
    """The first digits of a hash of all answers: two trials with equal digits gave the same answers."""
    nfe: float
    rounds: float
    positions: float
    seconds: float


def sampler(name: str, forwards: int, clamp: bool) -> str:
    """The spec of a sampler."""
    return f"{name}:steps={max(forwards, LEAST.get(name, 2))}" + (",clamp=1.0" if clamp else "")


def sampled(model: str, places: Iterable[tuple[str, str]], n: int, forwards: Iterable[int]) -> list[Trial]:
    """Every sampler, with the clamp and without."""
    made = []
    for name in SAMPLERS:
        for clamp in (False,) if name in UNCLAMPED else (False, True):
            for steps in forwards:
                spec = sampler(name, steps, clamp)
                made += [Trial(model, name, spec, steps, clamp, *place, n) for place in places]
    return made


def rounded(model: str, places: Iterable[tuple[str, str]], n: int) -> list[Trial]:
    """Both ways of the rounder after `ddim`; the argmax is the sampler alone."""
    return [
        Trial(model, how, f"codar:denoiser=({sampler('ddim', steps, clamp)}),{option}", steps, clamp, *place, n)
        for steps in ROUNDED for clamp in (False, True) for how, option in ROUNDINGS.items() for place in places
    ]


def masked(places: Iterable[tuple[str, str]], n: int, forwards: Iterable[int]) -> list[Trial]:
    return [Trial("nano", "nano", MASKED.format(k), k, False, *place, n) for k in forwards for place in places]


def run(trial: Trial) -> Outcome:
    """Decode and grade the items of a trial."""
    task = GENERATED[trial.task]
    chosen = items(task, trial.rung, "test", trial.n, trial.seed)
    generate, began = Generator(loaded(trial.model), trial.decoder), time.perf_counter()
    made = generate(
        [x.prompt for x in chosen], length=task.length[trial.rung], seed=trial.seed, batch=trial.batch
    )
    return Outcome(
        trial,
        [task.grade(x.problem, g.text).exact for x, g in zip(chosen, made, strict=True)],
        sha256("\0".join(g.text for g in made).encode()).hexdigest()[:12],
        sum(g.nfe for g in made) / trial.n,
        sum((g.forwards or {}).get("round", 0) for g in made) / trial.n,
        sum(g.positions_computed for g in made) / trial.n,
        time.perf_counter() - began,
    )


def run_all(trials: Iterable[Trial], workers: int, notify: Callable[[object], None]) -> list[Outcome]:
    """The results of all trials, in their order, from `workers` processes of one thread each."""
    return spread(run, trials, workers, notify)
