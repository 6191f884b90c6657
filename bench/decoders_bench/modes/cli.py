"""`decoders bench modes`."""

from __future__ import annotations

from pathlib import Path

import click

from decoders_bench.common.options import (
    decoders_option,
    finish,
    json_option,
    output_option,
    tasks_option,
    tracked,
    workers_option,
)


@click.command("modes")
@decoders_option(told="all of the comparison")
@tasks_option(told="chain, answer_first, extract, sudoku, list, shuffle, ledger/easy")
@click.option(
    "--block", "blocks", multiple=True, type=click.Choice(["4", "8", "16", "full"]),
    help="repeat for more  [default: all]",
)
@click.option("-n", "--items", "n", default=50, show_default=True, type=click.IntRange(1), help="test items per cell")
@workers_option
@output_option
@json_option
def modes(
    decoders: tuple[str, ...], tasks: tuple[str, ...], blocks: tuple[str, ...], n: int, workers: int,
    output: Path | None, as_json: bool
) -> None:
    """Compare autoregression, thresholds, self-speculation and hybrids on nano's tasks, at several block sizes, on the
    same items: exact answers in percent with the 95 % interval, forward passes, tokens per forward. On the scratchpad
    task, each is also compared with the best threshold and with autoregression."""
    from decoders import get
    from decoders_bench.modes.measure import BLOCKS, DECODERS, Trial, run_all
    from decoders_bench.modes.tables import mode_pairs, mode_reading, mode_tables
    from decoders_bench.tasks import chosen

    for spec in decoders:
        get(spec)
    places = chosen(tasks) if tasks else [p for p in chosen(()) if p != ("ledger", "hard")]
    sizes = [None if b == "full" else int(b) for b in blocks] or list(BLOCKS)
    trials = [
        Trial(task, rung, spec, size, n) for size in sizes for task, rung in places for spec in decoders or DECODERS
    ]
    with tracked("cells", len(trials)) as advance:
        made = run_all(trials, workers, advance)
    pairs = mode_pairs(made)
    finish(
        "modes", made, "\n\n".join([mode_tables(made), *([pairs, mode_reading(made)] if pairs else [])]), output,
        as_json,
    )
