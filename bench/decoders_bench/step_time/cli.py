"""`decoders bench step-time`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from decoders_bench.common.options import (
    clock_option,
    decoders_option,
    finish,
    json_option,
    output_option,
    repeats_option,
    threads_option,
    tracked,
)

DECODERS = (
    "threshold", "factor", "llada", "llada:temperature=1.0", "dream:by=entropy", "dream:by=topk_margin",
    "left_to_right",
)
FLOATS = ("float32", "bfloat16")


@click.command("step-time")
@decoders_option(DECODERS)
@click.option(
    "--batch", "batches", multiple=True, default=(1, 8), show_default=True, type=click.IntRange(1),
    help="rows; repeat for more",
)
@click.option(
    "--dtype", "dtypes", multiple=True, default=FLOATS, show_default=True, type=click.Choice(FLOATS),
    help="precision of the logits; repeat for more",
)
@click.option("--block", default=32, show_default=True, type=click.IntRange(1), help="positions of the window")
@click.option("--vocab", default=126_464, show_default=True, type=click.IntRange(2), help="columns of the logits")
@click.option(
    "--scaling", is_flag=True,
    help="canvases, batches and vocabularies that grow, one at a time, for the chart in the docs; not --batch, --vocab",
)
@repeats_option(21)
@threads_option
@clock_option
@output_option
@json_option
def step_time(
    decoders: tuple[str, ...], batches: tuple[int, ...], dtypes: tuple[str, ...], block: int, vocab: int, scaling: bool,
    repeats: int, threads: int, clock: Any, output: Path | None, as_json: bool,
) -> None:
    """Measure the time of everything in a step besides the model's forward, and of a bare `logits.max(-1)`."""
    import torch

    from decoders_bench.common.outcome import CLOCK_TEXT
    from decoders_bench.common.results import hardware
    from decoders_bench.step_time.measure import Timing, time_step
    from decoders_bench.step_time.scaling import scaling_table, shapes
    from decoders_bench.step_time.tables import timing_table

    torch.set_num_threads(threads)
    sizes = shapes() if scaling else [{"batch": batch, "vocab": vocab} for batch in batches]
    jobs = [(spec, getattr(torch, dtype), size) for spec in decoders for dtype in dtypes for size in sizes]
    timings: list[Timing] = []
    with tracked("timing", len(jobs)) as advance:
        for spec, dtype, size in jobs:
            timings.append(time_step(spec, dtype, block=block, repeats=repeats, clock=clock, **size))
            advance()
    vocabularies = "growing canvases, batches and vocabularies" if scaling else f"vocabulary {vocab}"
    about = f"{hardware()}; block {block}, {vocabularies}, medians of {repeats}, {CLOCK_TEXT[clock]}"
    finish("step-time", timings, f"{about}\n\n{(scaling_table if scaling else timing_table)(timings)}", output, as_json)
