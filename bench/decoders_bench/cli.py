"""`decoders bench`: the commands that measure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from decoders_bench.common.options import emit, json_option, on_device, progress
from decoders_bench.constraints.cli import constraints
from decoders_bench.exactness.cli import exactness
from decoders_bench.golden.cli import golden
from decoders_bench.latency.cli import latency
from decoders_bench.nano.cli import train_roles
from decoders_bench.peers.cli import peers_command
from decoders_bench.peers.vllm import vllm_command
from decoders_bench.quality.areas_cli import areas
from decoders_bench.quality.cli import quality
from decoders_bench.report.cli import report

SIX = ("llada", "dream:by=entropy", "threshold:tau=0.9", "factor:f=1.0", "ancestral:temperature=0.0", "left_to_right")

STATISTICS = ("threshold", "factor", "llada", "llada:temperature=1.0", "dream:by=entropy", "dream:by=topk_margin", "left_to_right")
FLOATS = ("float32", "bfloat16")
SHOWN = ("left_to_right", "llada", "threshold:tau=0.9", "factor:f=1.0")
SHOWN_ON = ("chain/hard", "answer_first/hard", "extract/hard", "sudoku/easy", "shuffle/hard")

CAREFUL, CARELESS = "entropycache:tau=0.01", "entropycache:tau=0.5"  # the calibrated tau, and one that is not
POLICIES = ("none", "exact", "prefix", "dual", CAREFUL, CARELESS, "dkv", "interval", "elastic")
BLOCKWISE = ("none", "block")
CALIBRATED_ON = ("chain/hard", "ledger/easy", "answer_first/hard", "sudoku/hard", "extract/hard")
TIMED = ("none", "prefix", "dual", CAREFUL, CARELESS)


@click.group()
def bench() -> None:
    """Measure decoders: golden replay, accuracy on tasks, step time; and train the embedded model."""


bench.add_command(constraints)
bench.add_command(golden)
bench.add_command(exactness)
bench.add_command(latency)
bench.add_command(quality)
bench.add_command(areas)
bench.add_command(report)
bench.add_command(train_roles)
bench.add_command(peers_command)
bench.add_command(vllm_command)


@bench.command("tasks")
@click.option("-m", "--model", default="nano", show_default=True, help="model to decode with")
@click.option("-d", "--decoder", "decoders", multiple=True, default=SIX, show_default=True, help="decoder spec; repeat for more")
@click.option("-t", "--task", "tasks", multiple=True, help="task or task/rung; repeat for more  [default: all]")
@click.option("-n", "--items", "n", default=100, show_default=True, type=click.IntRange(1), help="test items per cell")
@click.option("--split", default="test", show_default=True, type=click.Choice(["train", "validation", "test"]))
@click.option("--seed", default=0, show_default=True)
@click.option("--block", type=click.IntRange(1), help="decode in blocks of this many positions")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="processes")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="write the results here as JSON")
@json_option
def tasks_command(model: str, decoders: tuple[str, ...], tasks: tuple[str, ...], n: int, split: Any, seed: int, block: int | None,
                  workers: int, output: Path | None, as_json: bool) -> None:
    """Accuracy of decoders on the generated tasks: a table of exact answers in percent with the 95 % Wilson interval, right and
    agreeing written work where there is some, forward passes, and tokens per forward."""
    from decoders import get
    from decoders_bench.common.evaluate import Job, run_all
    from decoders_bench.common.results import document, save, task_table

    for spec in decoders:
        get(spec)
    jobs = [Job(task, rung, spec, model, n, split, seed, block=block) for task, rung in chosen(tasks) for spec in decoders]
    with progress() as bar:
        line = bar.add_task("cells", total=len(jobs))
        cells = run_all(jobs, workers, lambda _: bar.advance(line))
    if output:
        save(output, cells)
    click.echo(task_table(cells))
    if as_json:
        emit(document("tasks", cells))


def chosen(names: tuple[str, ...]) -> list[tuple[str, str]]:
    """(task, rung) pairs that names like `sudoku` and `list/hard` stand for; all if there are none."""
    from decoders import UsageError
    from decoders.core import suggest
    from decoders_bench.tasks import TASKS

    out = []
    for name in names or tuple(TASKS):
        task, _, rung = name.partition("/")
        if task not in TASKS:
            raise UsageError(f"unknown task {task!r}{suggest(task, TASKS)}")
        if rung and rung not in TASKS[task].rungs:
            raise UsageError(f"task {task} has no rung {rung!r}{suggest(rung, TASKS[task].rungs)}")
        out += [(task, r) for r in ([rung] if rung else TASKS[task].rungs)]
    return out


@bench.command("step-time")
@click.option("-d", "--decoder", "decoders", multiple=True, default=STATISTICS, show_default=True, help="decoder spec; repeat for more")
@click.option("--batch", "batches", multiple=True, default=(1, 8), show_default=True, type=click.IntRange(1))
@click.option("--dtype", "dtypes", multiple=True, default=FLOATS, show_default=True, type=click.Choice(FLOATS))
@click.option("--block", default=32, show_default=True, type=click.IntRange(1))
@click.option("--vocab", default=126_464, show_default=True, type=click.IntRange(2))
@click.option("--repeats", default=21, show_default=True, type=click.IntRange(1))
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1))
@click.option("--clock", default="wall", show_default=True, type=click.Choice(("wall", "cpu")),
              help="cpu: time that one thread was given, for a machine that others use too")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="write the results here as JSON")
@json_option
def step_time(decoders: tuple[str, ...], batches: tuple[int, ...], dtypes: tuple[str, ...], block: int, vocab: int, repeats: int,
              threads: int, clock: Any, output: Path | None, as_json: bool) -> None:
    """The time of everything in a step that is not the model's forward, beside that of a bare `logits.max(-1)`."""
    import torch

    from decoders_bench.caches.tables import CLOCK_TEXT
    from decoders_bench.common.results import document, hardware, save, timing_table
    from decoders_bench.step_time import time_step

    torch.set_num_threads(threads)
    jobs = [(spec, getattr(torch, dtype), batch) for spec in decoders for dtype in dtypes for batch in batches]
    timings = []
    with progress() as bar:
        for job in bar.track(jobs, description="timing"):
            timings.append(time_step(*job, block, vocab, repeats, clock))
    if output:
        save(output, timings)
    click.echo(f"{hardware()}; block {block}, vocabulary {vocab}, medians of {repeats}, {CLOCK_TEXT[clock]}\n\n{timing_table(timings)}")
    if as_json:
        emit(document("step-time", timings))


@bench.command("caches")
@click.option("-l", "--positions", "lengths", multiple=True, default=("64", "256", "1024"), show_default=True,
              type=click.Choice(("64", "256", "1024")), help="rows of about so many positions, prompt and canvas; repeat for more")
@click.option("-d", "--decoder", "decoders", multiple=True, help="repeat for more  [default: threshold:tau=0.9, llada with fixed steps]")
@click.option("-c", "--cache", "caches", multiple=True, default=POLICIES, show_default=True, help="cache spec on nano; repeat for more")
@click.option("-b", "--block-cache", "blocks", multiple=True, default=BLOCKWISE, show_default=True,
              help="cache spec on nano:attention=block; repeat for more")
@click.option("--alone", type=click.IntRange(1), help="items decoded one by one  [default: by length]")
@click.option("-n", "--items", "batched", type=click.IntRange(1), help="items decoded in batches of 8  [default: by length]")
@click.option("--seed", default=0, show_default=True)
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="processes of one thread; each measures one table")
@click.option("--clock", default="wall", show_default=True, type=click.Choice(("wall", "cpu")),
              help="cpu: time that one thread was given, for a machine that others use too")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="write the results here as JSON")
@json_option
def caches_command(lengths: tuple[str, ...], decoders: tuple[str, ...], caches: tuple[str, ...], blocks: tuple[str, ...], alone: int | None,
                   batched: int | None, seed: int, workers: int, clock: Any, output: Path | None, as_json: bool) -> None:
    """What caches save on nano, and what they cost in answers, against none side by side: seconds an item alone and in batches of
    8, as a multiple of none's; how much padding a batch adds; positions computed and the share read from the store; forwards;
    right answers with the 95 % Wilson interval; and the share of generated tokens that agree with none."""
    import torch

    from decoders import get, get_cache
    from decoders_bench.caches.measure import jobs_for, measure_all
    from decoders_bench.caches.tables import cache_tables
    from decoders_bench.common.results import document, hardware, save

    for spec in decoders:
        get(spec)
    for spec in (*caches, *blocks):
        get_cache(spec)
    torch.set_num_threads(1)  # as in the workers, and what is recorded
    jobs = jobs_for(map(int, lengths), decoders, caches, blocks, alone, batched, seed, clock)
    with progress() as bar:
        line = bar.add_task("tables", total=len(jobs))
        rows = measure_all(jobs, workers, lambda _: bar.advance(line))
    if output:
        save(output, rows)
    click.echo(f"{hardware()}\n\n{cache_tables(rows)}")
    if as_json:
        emit(document("caches", rows))


@bench.command("calibrate-entropycache")
@click.option("-t", "--task", "tasks", multiple=True, default=CALIBRATED_ON, show_default=True, help="task or task/rung; repeat for more")
@click.option("-n", "--items", "n", default=100, show_default=True, type=click.IntRange(1), help="validation items per task")
@click.option("--block", "blocks", multiple=True, default=(16, 32), show_default=True, type=click.IntRange(1))
@click.option("-k", "ks", multiple=True, default=(64, 8), show_default=True, type=click.IntRange(0), help="EntropyCache's k")
@click.option("--tau", "taus", multiple=True, type=click.FloatRange(0), help="repeat for more  [default: ten, from 0 to never]")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="processes")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="write the results here as JSON")
@json_option
def calibrate_command(tasks: tuple[str, ...], n: int, blocks: tuple[int, ...], ks: tuple[int, ...], taus: tuple[float, ...], workers: int,
                      output: Path | None, as_json: bool) -> None:
    """The default of EntropyCache's tau: nano's validation items under threshold:tau=0.9 with every tau, against none. A tau passes
    if it and every smaller one loses at most 1 answer in 100 and 99 % of the tokens agree; of those, the smallest whose positions
    computed are within 5 % of the fewest."""
    import torch

    from decoders_bench.caches.calibrate import TAUS, Sweep, calibrate
    from decoders_bench.caches.tables import calibration_table
    from decoders_bench.common.results import document, save

    torch.set_num_threads(1)  # as in the workers, and what is recorded
    jobs = [Sweep(task, rung, block, ks, taus or TAUS, n=n) for task, rung in chosen(tasks) for block in blocks]
    with progress() as bar:
        line = bar.add_task("sweeps", total=len(jobs))
        rows = calibrate(jobs, workers, lambda _: bar.advance(line))
    if output:
        save(output, rows)
    click.echo(calibration_table(rows))
    if as_json:
        emit(document("calibrate-entropycache", rows))


@bench.command("cache-time")
@click.option("--shape", default="llada-1b", show_default=True, type=click.Choice(("llada-8b", "llada-1b", "tiny")))
@click.option("-c", "--cache", "caches", multiple=True, default=TIMED, show_default=True, help="cache spec; repeat for more")
@click.option("--device", default="cpu", show_default=True, callback=on_device)
@click.option("--dtype", default="bfloat16", show_default=True, type=click.Choice(FLOATS))
@click.option("--batch", default=1, show_default=True, type=click.IntRange(1))
@click.option("--prompt", default=128, show_default=True, type=click.IntRange(1), help="positions of the prompt")
@click.option("--length", default=128, show_default=True, type=click.IntRange(1), help="positions of the canvas")
@click.option("--block", default=32, show_default=True, type=click.IntRange(1))
@click.option("--repeats", default=3, show_default=True, type=click.IntRange(1))
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1))
@click.option("--clock", default="wall", show_default=True, type=click.Choice(("wall", "cpu")),
              help="cpu: time that one thread was given, for a machine that others use too")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="write the results here as JSON")
@json_option
def cache_time(shape: str, caches: tuple[str, ...], device: str, dtype: str, batch: int, prompt: int, length: int, block: int,
               repeats: int, threads: int, clock: Any, output: Path | None, as_json: bool) -> None:
    """What caches save on a model of LLaDA's shape: milliseconds a step and tokens a second, against a plain loop that computes the
    full canvas and its logits in every step. The weights are random; how many tokens a forward commits under threshold:tau=0.9,
    and when entropycache refreshes, is recorded on nano under each cache."""
    import torch

    from decoders import get_cache
    from decoders_bench.caches.tables import cache_time_table
    from decoders_bench.caches.timing import Run, time_caches
    from decoders_bench.common.results import document, hardware, save

    for spec in caches:
        get_cache(spec)
    torch.set_num_threads(threads)
    run = Run(shape, device, dtype, batch, prompt, length, block, clock=clock)
    with progress() as bar:
        line = bar.add_task("runs", total=(1 + repeats) * (1 + len(caches)))
        rows = time_caches(run, caches, repeats, lambda: bar.advance(line))
    if output:
        save(output, rows, device)
    click.echo(f"{hardware(device)}\n\n{cache_time_table(rows)}")
    if as_json:
        emit(document("cache-time", rows, device))


@bench.command("modes")
@click.option("-d", "--decoder", "decoders", multiple=True, help="decoder spec; repeat for more  [default: all of the comparison]")
@click.option("-t", "--task", "tasks", multiple=True, help="task or task/rung; repeat for more  [default: all but ledger/hard]")
@click.option("--block", "blocks", multiple=True, type=click.Choice(["4", "8", "16", "full"]), help="repeat for more  [default: all]")
@click.option("-n", "--items", "n", default=50, show_default=True, type=click.IntRange(1), help="test items per cell")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="processes")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="write the results here as JSON")
@json_option
def modes(decoders: tuple[str, ...], tasks: tuple[str, ...], blocks: tuple[str, ...], n: int, workers: int, output: Path | None,
          as_json: bool) -> None:
    """Autoregression, thresholds, self-speculation and hybrids on nano's tasks, at several block sizes, on the same items: exact answers in
    percent with the 95 % interval, forward passes, tokens per forward; and on the scratchpad task each against the best threshold
    and against autoregression."""
    from decoders import get
    from decoders_bench.common.results import document, save
    from decoders_bench.modes.measure import BLOCKS, DECODERS, Trial, run_all
    from decoders_bench.modes.tables import mode_pairs, mode_reading, mode_tables

    for spec in decoders:
        get(spec)
    places = chosen(tasks) if tasks else [p for p in chosen(()) if p != ("ledger", "hard")]
    sizes = [None if b == "full" else int(b) for b in blocks] or list(BLOCKS)
    trials = [Trial(task, rung, spec, size, n) for size in sizes for task, rung in places for spec in decoders or DECODERS]
    with progress() as bar:
        line = bar.add_task("cells", total=len(trials))
        made = run_all(trials, workers, lambda _: bar.advance(line))
    if output:
        save(output, made)
    click.echo(mode_tables(made))
    if pairs := mode_pairs(made):
        click.echo(f"\n{pairs}\n\n{mode_reading(made)}")
    if as_json:
        emit(document("modes", made))


@bench.command("train-nano")
@click.option("-o", "--out", required=True, type=click.Path(file_okay=False), help="directory of the run, and of its checkpoint")
@click.option("--steps", default=3500, show_default=True, type=click.IntRange(1), help="optimiser steps")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="processes of one thread")
@click.option("--seed", default=0, show_default=True)
@json_option
def train_nano(out: str, steps: int, workers: int, seed: int, as_json: bool) -> None:
    """Train the embedded model; the directory for `-m` is OUT/model. About 1.6 s a step on two cores. An interrupted run goes on
    from its last checkpoint when the same command is given again."""
    from decoders_bench.nano.train import Plan, train

    plan, last = Plan(out, workers=workers, seed=seed), {}
    with progress() as bar:
        line = bar.add_task("training", total=steps)

        def notify(row: dict[str, Any]) -> None:
            loss = ", ".join(f"{mode} {x:.2f}" for mode, x in sorted(row["loss"].items()))
            bar.update(line, completed=row["step"])
            last.update(row)
            if row["step"] % 25 == 0:
                click.echo(f"step {row['step']}, {row['minutes']:.1f} min, {row['examples']} examples, loss: {loss}")

        train(replace(plan, steps=steps), notify)
    click.echo(f"wrote {out}/model")
    if as_json:
        emit({"command": "train-nano", "model": f"{out}/model", **last})


@bench.command("demo")
@click.option("-d", "--decoder", "decoders", multiple=True, default=SHOWN, show_default=True, help="decoder spec; repeat for more")
@click.option("-t", "--task", "tasks", multiple=True, default=SHOWN_ON, show_default=True, help="task or task/rung; repeat for more")
@click.option("-m", "--model", default="nano", show_default=True)
@click.option("--seed", default=0, show_default=True, help="another seed takes other test prompts")
@json_option
def demo(decoders: tuple[str, ...], tasks: tuple[str, ...], model: str, seed: int, as_json: bool) -> None:
    """One test prompt of each task under several decoders: the answers, whether they are right, and the forward passes."""
    from decoders.models.source import load_model
    from decoders_bench.demo import show

    loaded = load_model(model)
    rows = [row for task, rung in chosen(tasks) for row in show(task, rung, decoders, loaded, seed)]
    if as_json:
        emit({"command": "demo", "rows": rows})
