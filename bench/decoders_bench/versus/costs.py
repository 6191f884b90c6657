"""The cost of an answer and its accuracy, over the settings of the decoders of each kind."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from decoders import Generator
from decoders_bench.common.models import loaded
from decoders_bench.versus import asks
from decoders_bench.versus.asks import Ask
from decoders_bench.versus.measure import BATCH, marks
from decoders_bench.versus.plan import BLOCK, Kind

THRESHOLDS = (0.99, 0.9, 0.7, 0.5, 0.3)
STEPS = (8, 4)
"""Numbers of forward passes for a whole canvas."""
LATENT_STEPS = (32, 16, 8, 4, 2)
"""The same for latents, whatever the length of the canvas."""
BLOCK_STEPS = (2, 1)
"""Numbers of forward passes for a block."""
ALONE = 3
"""The number of items of each task that are also decoded one at a time."""


Row = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """A setting on the curve of a kind."""

    decoder: str
    cache: str
    block: int | None = None


def parallel(cache: str, block: int | None) -> list[Setting]:
    return [Setting("llada", cache, block), *(Setting(f"threshold:tau={x}", cache, block) for x in THRESHOLDS)]


SWEPT: dict[Kind, tuple[Setting, ...]] = {
    "ar": tuple(Setting(spec, "exact") for spec in ("left_to_right", "coupled:ahead=4", "coupled")),
    "mdm": tuple(
        setting for cache in ("exact", "dual") for setting in
        (*parallel(cache, None), *(Setting(f"llada:steps={steps}", cache) for steps in STEPS))
    ),
    "block": (
        *parallel("block", BLOCK),
        *(Setting(f"sdar:by=low_confidence_static,block_steps={n}", "block", BLOCK) for n in BLOCK_STEPS),
    ),
    "latent": (
        *(Setting(f"ddim:steps={n}", "exact") for n in LATENT_STEPS),
        *(Setting(spec, "exact") for spec in ("dpmpp_2m:steps=16", "renoise", "codar")),
    ),
}  # fmt: skip
"""Autoregression has its KV cache and makes one token per forward pass, or decodes by Jacobi iteration, which makes the
same tokens. Masked diffusion runs without a cache, as `exact` stores nothing of a bidirectional row, and with the dual
cache, which treats the keys and values of the prompt as final. Block diffusion has its block cache. Latent diffusion
reads its prompt causally, so `exact` stores its keys and values."""


def swept(kind: Kind) -> tuple[Setting, ...]:
    return SWEPT["ar" if kind == "again" else kind]


def timed(g: Generator, chosen: Sequence[Ask], block: int | None, batch: int) -> tuple[float, list[Any]]:
    """The processor time in seconds, and the results, of prompts of one task."""
    began = time.process_time()
    found = g([a.prompt for a in chosen], length=chosen[0].length, block=block, batch=batch)
    return time.process_time() - began, found


def costs(runs: dict[Kind, str], seed: int, n: int, repeats: int, told: Callable[[], object]) -> list[Row]:
    """A row for each setting of the twins of a seed, which are in `runs`: which of n items of each task are right, the
    forward passes of each item, and the mean positions, FLOPs and seconds of an answer. The seconds are processor time,
    for prompts one at a time and in batches of `BATCH`, measured once in each of the repeats, in which all settings
    take turns; `told` is called after every turn of a setting."""
    asked = list(asks.tasks("test", n, 100 + seed).values())
    entries: list[tuple[Generator, Setting, Row]] = [
        (Generator(loaded(where), x.decoder, cache=x.cache), x, {
            "kind": kind, "decoder": x.decoder, "cache": x.cache, "alone": [], "together": []
        })
        for kind, where in runs.items() for x in swept(kind)
    ]  # fmt: skip
    for g, x, _ in entries:
        timed(g, asked[0][:1], x.block, 1)  # so one-time initialisation is not timed
    for turn in range(repeats):
        for g, x, row in entries:
            alone = [timed(g, own[:ALONE], x.block, 1)[0] / len(own[:ALONE]) for own in asked]
            together = [timed(g, own, x.block, BATCH) for own in asked]
            row["alone"].append(round(sum(alone) / len(asked), 7))
            row["together"].append(round(sum(s for s, _ in together) / (len(asked) * n), 7))
            if turn == 0:
                row |= counted([a for own in asked for a in own], [y for _, own in together for y in own])
            told()
    return [row for *_, row in entries]


def counted(chosen: Sequence[Ask], found: Sequence[Any]) -> dict[str, Any]:
    """The numbers that are the same in every turn."""
    return {
        "right": marks([a.right(y.text) for a, y in zip(chosen, found, strict=True)]),
        "forwards": [y.nfe for y in found],
        "positions": round(sum(y.positions_computed for y in found) / len(found), 3),
        "flops": round(sum(y.flops for y in found) / len(found)),
    }
