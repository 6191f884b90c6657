"""`decoders bench row-time`."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import click

from decoders_bench.common.options import (
    clock_option,
    finish,
    json_option,
    output_option,
    repeats_option,
    threads_option,
    tracked,
)
from decoders_bench.step_time.cli import FLOATS


@click.command("row-time")
@click.option(
    "--batch", "batches", multiple=True, default=(1, 8, 32), show_default=True, type=click.IntRange(1),
    help="rows; repeat for more",
)
@click.option(
    "--dtype", "dtypes", multiple=True, default=FLOATS, show_default=True, type=click.Choice(FLOATS),
    help="precision of the logits; repeat for more",
)
@click.option(
    "--vocab", "vocabs", multiple=True, default=(756, 32_000, 126_464), show_default=True, type=click.IntRange(2),
    help="columns of the logits; repeat for more",
)
@repeats_option(11)
@threads_option
@clock_option
@output_option
@json_option
def row_time(
    batches: tuple[int, ...], dtypes: tuple[str, ...], vocabs: tuple[int, ...], repeats: int, threads: int, clock: Any,
    output: Path | None, as_json: bool,
) -> None:
    """Measure the time of each statistic of rows of logits on a CPU, and of a bare `logits.max(-1)`: in plain torch as
    one would write it, with the torch reference, and with the compiled kernel."""
    import torch

    from decoders_bench.common.outcome import CLOCK_TEXT
    from decoders_bench.common.results import hardware
    from decoders_bench.step_time.rows import ASKED, RowTime, rows_table, time_rows

    torch.set_num_threads(threads)
    jobs = list(product(vocabs, batches, dtypes, ASKED))
    found: list[RowTime] = []
    with tracked("timing", len(jobs)) as advance:
        for vocab, batch, dtype, asked in jobs:
            found.append(time_rows(asked, getattr(torch, dtype), batch, vocab, repeats, clock))
            advance()
    about = f"{hardware()}; medians of {repeats}, {CLOCK_TEXT[clock]}"
    finish("row-time", found, f"{about}\n\n{rows_table(found)}", output, as_json)
