"""`decoders bench duel`."""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from decoders_bench.common.options import emit, json_option, split_option
from decoders_bench.quality.cli import FACTORS, ITEMS, NANO, STEPS, THRESHOLDS, listed, sizes, sweep, watched, wordings

if TYPE_CHECKING:
    from decoders_bench.duel.outcome import Outcome
    from decoders_bench.quality.grid import Grid

ROUNDS = 4


@click.command("duel")
@click.argument("mine", metavar="MINE")
@click.argument("baseline", metavar="BASELINE")
@click.option("-m", "--model", default="nano", show_default=True, metavar="SPEC", help="model to decode with")
@click.option("-c", "--cache", "caches", multiple=True, metavar="SPEC",
              help="cache policy  [default: exact, or the preset's]")
@click.option("-t", "--tasks", multiple=True, metavar="TASKS",
              help="as for `bench quality`; separate several by commas  [default: nano's]")
@click.option("--sweep", "sweeps", multiple=True, callback=sweep, metavar="OPTION=X,X",
              help="values of an option, for each of the two that has it; may be repeated  "
              f"[default: steps={STEPS}, tau={THRESHOLDS}, f={FACTORS}]")
@click.option("--block", "blocks", multiple=True, callback=sizes, metavar="N",
              help="block size in positions  [default: the model's, or full]")
@click.option("--templates", default="all", show_default=True, callback=wordings, metavar="all|N,N",
              help="wordings of the prompts")
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1), metavar="N",
              help="number of seeds; each has its own items and sampling")
@click.option("-n", "--items", default=ITEMS, show_default=True, type=click.IntRange(1),
              help="items per rung, wording and seed")
@split_option
@click.option("--rounds", default=ROUNDS, show_default=True, type=click.IntRange(0),
              help="how often a setting of the baseline may be added where its settings are too far apart to tell")
@click.option("--batch", default=25, show_default=True, type=click.IntRange(1), help="items decoded together")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1),
              help="processes of one thread; 1: only this one")
@click.option("--in", "runs", multiple=True, type=click.Path(path_type=Path), metavar="RUN",
              help="compare the results of these runs and measure nothing; may be repeated")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR",
              help="directory for the runs, one per round  [default: duel-...]")
@json_option
def duel(
    mine: str, baseline: str, model: str, caches: tuple[str, ...], tasks: tuple[str, ...],
    sweeps: dict[str, tuple[str, ...]], blocks: tuple[int | None, ...], templates: tuple[int, ...] | None, seeds: int,
    items: int, split: Any, rounds: int, batch: int, workers: int, runs: tuple[Path, ...], output: Path | None,
    as_json: bool,
) -> None:
    """Is MINE better than BASELINE? Both decode the same items with several values of their options. Their accuracy at
    equal forwards, positions, seconds and FLOPs is compared along the whole curve, with simultaneous intervals over
    problems. If two settings of the baseline are too far apart to tell, the sweep is refined between them.
    docs/benchmarking.md says how it is computed, `decoders bench report DIR` makes a page of it, and the same command
    continues an interrupted run."""
    import torch

    from decoders_bench.duel.outcome import check, outcome, text
    from decoders_bench.quality.grid import Grid

    check(mine, baseline, caches)
    torch.set_num_threads(1)  # the worker processes use one thread, too, and run.json records the number
    if runs:
        found = outcome(runs, mine, baseline, caches)
        click.echo(text(found))
    else:
        given = {"steps": listed(STEPS), "tau": listed(THRESHOLDS), "block_steps": listed(STEPS), "f": listed(FACTORS)}
        names = tuple(x for part in tasks for x in listed(part)) or NANO
        grid = Grid(
            model, (mine, baseline), caches, names, blocks, templates, tuple(range(seeds)), items, split,
            {**sweeps, **{name: values for name, values in given.items() if name not in sweeps}},
        )  # fmt: skip
        path = output or Path(f"duel-{mark(grid)}")
        found = fought(grid, path, rounds, workers=workers, batch=batch)
        click.echo(text(found))
        page = f"decoders bench report {shlex.quote(str(path))} --replays 4 -o report.html"
        click.echo(f"\n{path}: {found.rounds} runs; {page} makes a page of it")
    if as_json:
        emit(found.document())


def mark(grid: Grid) -> str:
    """A name that depends on the grid alone, so that the same command continues the same runs."""
    return hashlib.sha256(json.dumps(grid.record(), sort_keys=True).encode()).hexdigest()[:8]


def fought(grid: Grid, path: Path, rounds: int, **how: Any) -> Outcome:
    """Measure, compare, and refine the baseline's sweep until a finer one could decide nothing more. Every round is a
    run of its own in `path`, so that the same command continues where an interrupted one ended."""
    from dataclasses import replace

    from decoders_bench.duel.outcome import outcome

    mine, baseline = grid.decoders
    watched(grid, path / "0", baseline=baseline, **how)
    for number in range(rounds + 1):
        found = outcome([path / str(i) for i in range(number + 1)], mine, baseline, grid.caches)
        if number == rounds or not found.wanted:
            break
        click.echo(f"round {number + 1}: {', '.join(found.wanted)}", err=True)
        finer = replace(grid, decoders=tuple(found.wanted), sweeps={})
        watched(finer, path / str(number + 1), baseline=baseline, **how)
    return found
