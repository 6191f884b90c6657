"""`decoders bench caches`, `calibrate-entropycache` and `cache-time`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from decoders_bench.common.options import (
    clock_option,
    decoders_option,
    device_option,
    finish,
    json_option,
    length_option,
    output_option,
    repeats_option,
    seed_option,
    tasks_option,
    threads_option,
    tracked,
    workers_option,
)

CAREFUL, CARELESS = "entropycache:tau=0.01", "entropycache:tau=0.5"  # the calibrated tau, and one that is too large
POLICIES = ("none", "exact", "prefix", "dual", CAREFUL, CARELESS, "dkv", "interval", "drift")
BLOCKWISE = ("none", "block")
LENGTHS = ("64", "256", "1024")
CALIBRATED_ON = ("chain/hard", "ledger/easy", "answer_first/hard", "sudoku/hard", "extract/hard")
TIMED = ("none", "prefix", "dual", CAREFUL, CARELESS)


@click.command("caches")
@click.option(
    "-l",
    "--positions",
    "lengths",
    multiple=True,
    default=LENGTHS,
    show_default=True,
    type=click.Choice(LENGTHS),
    help="rows of about so many positions, prompt and canvas; repeat for more",
)
@decoders_option(told="threshold:tau=0.9, llada with fixed steps")
@click.option(
    "-c", "--cache", "policies", multiple=True, default=POLICIES, show_default=True,
    help="cache spec on nano; repeat for more",
)
@click.option("-b", "--block-cache", "blocks", multiple=True, default=BLOCKWISE, show_default=True,
              help="cache spec on nano:attention=block; repeat for more")
@click.option("--alone", type=click.IntRange(1), help="items decoded one by one  [default: by length]")
@click.option(
    "-n", "--items", "batched", type=click.IntRange(1), help="items decoded in batches of 8  [default: by length]"
)
@seed_option
@workers_option
@clock_option
@output_option
@json_option
def caches(
    lengths: tuple[str, ...], decoders: tuple[str, ...], policies: tuple[str, ...], blocks: tuple[str, ...],
    alone: int | None, batched: int | None, seed: int, workers: int, clock: Any, output: Path | None, as_json: bool,
) -> None:
    """Measure what caches save on nano, and how many answers they change, compared with no cache: seconds per item,
    alone and in batches of 8, relative to no cache; the padding in a batch; positions computed, and the share read from
    the store; forwards; right answers with the 95 % Wilson interval; and the share of generated tokens that are the
    same as without a cache. Each worker measures one table."""
    import torch

    from decoders import get, get_cache
    from decoders_bench.caches.measure import jobs_for, measure_all
    from decoders_bench.caches.tables import cache_tables
    from decoders_bench.common.results import hardware

    for spec in decoders:
        get(spec)
    for spec in (*policies, *blocks):
        get_cache(spec)
    torch.set_num_threads(1)  # the worker processes use one thread, too, and the environment records it
    jobs = jobs_for(map(int, lengths), decoders, policies, blocks, alone, batched, seed, clock)
    with tracked("tables", len(jobs)) as advance:
        rows = measure_all(jobs, workers, advance)
    finish("caches", rows, f"{hardware()}\n\n{cache_tables(rows)}", output, as_json)


@click.command("calibrate-entropycache")
@tasks_option(CALIBRATED_ON)
@click.option(
    "-n", "--items", "n", default=100, show_default=True, type=click.IntRange(1), help="validation items per task"
)
@click.option(
    "--block", "blocks", multiple=True, default=(16, 32), show_default=True, type=click.IntRange(1),
    help="positions of a block; repeat for more",
)
@click.option(
    "-k", "ks", multiple=True, default=(64, 8), show_default=True, type=click.IntRange(0), help="EntropyCache's k"
)
@click.option(
    "--tau", "taus", multiple=True, type=click.FloatRange(0), help="repeat for more  [default: ten, from 0 to never]"
)
@workers_option
@output_option
@json_option
def calibrate_entropycache(
    tasks: tuple[str, ...], n: int, blocks: tuple[int, ...], ks: tuple[int, ...], taus: tuple[float, ...], workers: int,
    output: Path | None, as_json: bool,
) -> None:
    """Choose the default of EntropyCache's tau on nano's validation items, under threshold:tau=0.9, compared with no
    cache. A tau passes if it and every smaller one loses at most 1 answer in 100, and 99 % of the tokens are the same.
    Of those, the smallest is chosen whose number of computed positions is within 5 % of the lowest."""
    import torch

    from decoders_bench.caches.calibrate import TAUS, Sweep, calibrate
    from decoders_bench.caches.tables import calibration_table
    from decoders_bench.tasks import chosen

    torch.set_num_threads(1)  # the worker processes use one thread, too, and the environment records it
    jobs = [Sweep(task, rung, block, ks, taus or TAUS, n=n) for task, rung in chosen(tasks) for block in blocks]
    with tracked("sweeps", len(jobs)) as advance:
        rows = calibrate(jobs, workers, advance)
    finish("calibrate-entropycache", rows, calibration_table(rows), output, as_json)


@click.command("cache-time")
@click.option(
    "--shape", default="llada-1b", show_default=True, type=click.Choice(("llada-8b", "llada-1b", "tiny")),
    help="the shape of the random model",
)
@click.option(
    "-c", "--cache", "policies", multiple=True, default=TIMED, show_default=True, help="cache spec; repeat for more"
)
@device_option
@click.option(
    "--dtype", default="bfloat16", show_default=True, type=click.Choice(("float32", "bfloat16")),
    help="precision of the weights",
)
@click.option("--batch", default=1, show_default=True, type=click.IntRange(1), help="rows")
@click.option("--prompt", default=128, show_default=True, type=click.IntRange(1), help="positions of the prompt")
@length_option(128)
@click.option("--block", default=32, show_default=True, type=click.IntRange(1), help="positions of a block")
@repeats_option(3)
@threads_option
@clock_option
@output_option
@json_option
def cache_time(
    shape: str, policies: tuple[str, ...], device: str, dtype: str, batch: int, prompt: int, length: int, block: int,
    repeats: int, threads: int, clock: Any, output: Path | None, as_json: bool,
) -> None:
    """Measure what caches save on a model of LLaDA's shape: milliseconds per step and tokens per second, compared with
    a plain loop that computes the full canvas and its logits in every step. The weights are random; the number of
    tokens that a forward commits under threshold:tau=0.9, and when entropycache refreshes, are recorded on nano under
    each cache."""
    import torch

    from decoders import get_cache
    from decoders_bench.caches.tables import cache_time_table
    from decoders_bench.caches.timing import Run, time_caches
    from decoders_bench.common.results import hardware

    for spec in policies:
        get_cache(spec)
    torch.set_num_threads(threads)
    run = Run(shape, device, dtype, batch, prompt, length, block, clock=clock)
    with tracked("runs", (1 + repeats) * (1 + len(policies))) as advance:
        rows = time_caches(run, policies, repeats, advance)
    finish("cache-time", rows, f"{hardware(device)}\n\n{cache_time_table(rows)}", output, as_json, device)
