"""`decoders bench latents`."""

from __future__ import annotations

from pathlib import Path

import click

from decoders_bench.common.options import finish, json_option, output_option, tasks_option, tracked, workers_option

TASKS = "extract/easy", "list/easy", "shuffle/easy", "chain/easy", "answer_first/easy", "sudoku/easy"


@click.command("latents")
@click.option("-m", "--model", default="nano-latent", show_default=True, help="a model of latents that has a rounder")
@tasks_option(TASKS)
@click.option("-n", "--items", "n", default=50, show_default=True, type=click.IntRange(1), help="test items per cell")
@click.option(
    "--forwards", multiple=True, type=click.IntRange(2), help="how many; repeat for more  [default: 2, 4, 8, 16]"
)
@workers_option
@output_option
@json_option
def latents(
    model: str, tasks: tuple[str, ...], n: int, forwards: tuple[int, ...], workers: int, output: Path | None,
    as_json: bool,
) -> None:
    """Compare the samplers of latents in 2 to 16 forwards, with and without clamping to embeddings; rounding by argmax
    with the rounder, one token at a time and verified; and the masked nano in as many forwards: exact answers in
    percent with the 95 % Wilson interval, on the same items."""
    from decoders_bench.latents.measure import FORWARDS, masked, rounded, run_all, sampled
    from decoders_bench.latents.tables import latents_tables
    from decoders_bench.tasks import chosen

    places, counts = chosen(tasks), forwards or FORWARDS
    trials = sampled(model, places, n, counts) + rounded(model, places, n) + masked(places, n, counts)
    with tracked("cells", len(trials)) as advance:
        made = run_all(trials, workers, advance)
    finish("latents", made, latents_tables(made), output, as_json)
