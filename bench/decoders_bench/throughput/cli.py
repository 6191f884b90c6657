"""`decoders bench throughput`."""

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
    seed_option,
    threads_option,
    tracked,
)


@click.command()
@click.option("-m", "--model", default="nano", show_default=True, metavar="SPEC", help="model to decode with")
@decoders_option(("threshold", "llada"))
@click.option(
    "--batch", "batches", multiple=True, default=(8, 32), show_default=True, type=click.IntRange(1),
    help="rows at a time; repeat for more",
)
@click.option(
    "--clients", type=click.IntRange(1),
    help="measure how long so many clients at a time wait for their first settled token instead; not --batch",
)
@click.option(
    "--lines", "files", multiple=True, type=click.IntRange(1),
    help="measure `decoders generate --input` on a file of so many prompts instead: processor time and memory; repeat "
    "for more; not --prompts, --repeats, --clock",
)
@click.option("-n", "--prompts", default=2000, show_default=True, type=click.IntRange(1), help="prompts to decode")
@click.option("--length", default=48, show_default=True, type=click.IntRange(1), help="positions after each prompt")
@repeats_option(3)
@threads_option
@seed_option
@clock_option
@output_option
@json_option
def throughput(
    model: str, decoders: tuple[str, ...], batches: tuple[int, ...], clients: int | None, files: tuple[int, ...],
    prompts: int, length: int, repeats: int, threads: int, seed: int, clock: Any, output: Path | None, as_json: bool,
) -> None:
    """Measure tokens per second for many prompts of mixed length and difficulty: with the engine, where a new row takes
    the place of one that has ended, and in fixed batches, alternating in one run. Exits with 1 if a text differs."""
    import torch

    from decoders_bench.common.outcome import CLOCK_TEXT
    from decoders_bench.common.results import hardware, save
    from decoders_bench.throughput.first import First, measure_first
    from decoders_bench.throughput.lines import Lines, lines_table, measure_lines
    from decoders_bench.throughput.measure import Throughput, measure
    from decoders_bench.throughput.tables import first_table, throughput_table

    torch.set_num_threads(threads)
    if files:
        found: list[Lines] = []
        pairs = [(spec, batch, count) for spec in decoders for batch in batches for count in files]
        with tracked("measuring", len(pairs)) as advance:
            for spec, batch, count in pairs:
                found.append(measure_lines(spec, model, batch, count, length, seed))
                advance()
                if output:  # so results survive a later failure
                    save(output, found)
        about = f"{hardware()}; processor time of a process of one thread, from its start to its end"
        finish("throughput", found, f"{about}\n\n{lines_table(found)}", output, as_json)
        return
    common = (prompts, length, seed, repeats, clock)
    rows: list[Throughput] = []
    waits: list[First] = []
    jobs = [(spec, batch) for spec in decoders for batch in ([clients] if clients else batches)]
    with tracked("measuring", len(jobs)) as advance:
        for spec, batch in jobs:
            if clients:
                waits.append(measure_first(spec, model, clients, *common))
            else:
                rows.append(measure(spec, model, batch, *common))
            advance()
    about = f"{hardware()}; {threads} thread(s), medians of {repeats}, {CLOCK_TEXT[clock]}"
    table = first_table(waits) if clients else throughput_table(rows)
    finish("throughput", waits or rows, f"{about}\n\n{table}", output, as_json)
    if not all(r.same for r in waits or rows):
        raise click.exceptions.Exit(1)
