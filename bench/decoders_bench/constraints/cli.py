"""`decoders bench constraints`."""

from __future__ import annotations

from pathlib import Path

import click

from decoders_bench.common.options import decoders_option, emit, json_option, output_option, seed_option, tracked


@click.command("constraints")
@decoders_option(told="threshold:tau=0.5, llada, llada2")
@click.option("-n", "--schemas", "n", default=50, show_default=True, type=click.IntRange(1), help="random JSON schemas")
@click.option(
    "--timed", default=8, show_default=True, type=click.IntRange(0), help="schemas of which the time is taken, on nano"
)
@click.option(
    "--length", default=48, show_default=True, type=click.IntRange(8),
    help="positions of the canvas whose time is taken",
)
@seed_option
@output_option
@json_option
def constraints(
    decoders: tuple[str, ...], n: int, timed: int, length: int, seed: int, output: Path | None, as_json: bool
) -> None:
    """Measure, with random JSON schemas nested up to three deep, how many texts of a model with random predictions are
    valid, and how much time a constraint adds to a forward of nano. Exit code 1 if a text is not valid."""
    import torch

    from decoders import get
    from decoders_bench.common.results import document, hardware, save_tables
    from decoders_bench.constraints.measure import DECODERS, overhead, validity
    from decoders_bench.constraints.tables import overhead_table, validity_table

    torch.set_num_threads(1)
    specs = decoders or DECODERS
    for spec in specs:
        get(spec)
    with tracked("texts", len(specs) * (n + timed)) as advance:
        rows = validity(specs, n, seed, advance)
        times = overhead(specs, timed, length, seed, advance) if timed else []
    if output:
        save_tables(output, {"validity": rows, "overhead": times})
    click.echo(f"{hardware()}\n\n{validity_table(rows)}" + (f"\n\n{overhead_table(times)}" if times else ""))
    if as_json:
        emit({**document("constraints", rows), "overhead": document("constraints", times)["rows"]})
    if any(row.valid < row.schemas for row in rows):
        raise click.exceptions.Exit(1)
