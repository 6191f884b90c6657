"""`decoders bench quantised`."""

from __future__ import annotations

from pathlib import Path

import click

from decoders_bench.common.options import finish, json_option, output_option, seed_option, tasks_option, tracked


@click.command("quantised")
@click.option("-m", "--model", default="nano", show_default=True, help="the model that answers")
@tasks_option(told="chain, extract, shuffle and list, the easy rung of each")
@click.option("-n", "--items", "n", default=50, show_default=True, type=click.IntRange(1), help="test items of a task")
@click.option("-d", "--decoder", default="threshold", show_default=True, help="what decodes them")
@click.option(
    "--layers", default=2, show_default=True, type=click.IntRange(0),
    help="layers of LLaDA-8B's size with random weights; 0: none",
)
@seed_option
@output_option
@json_option
def quantised(
    model: str, tasks: tuple[str, ...], n: int, decoder: str, layers: int, seed: int, output: Path | None,
    as_json: bool,
) -> None:
    """Measure what `--quantize` does to a model: the size of its weights, the error of its logits, how often the
    likeliest token stays the same, and right answers; and the first three for random layers of LLaDA-8B's size."""
    import torch

    from decoders import get
    from decoders_bench.common.results import hardware
    from decoders_bench.quantised.measure import METHODS, answered, random_layers
    from decoders_bench.quantised.tables import quantised_table
    from decoders_bench.tasks import chosen

    get(decoder)
    torch.set_num_threads(1)
    cells = chosen(tasks or ("chain/easy", "extract/easy", "shuffle/easy", "list/easy"))
    rows = []
    with tracked("settings", len(METHODS) * (2 if layers else 1)) as advance:
        for method in METHODS:
            rows.append(answered(model, method, cells, n, decoder, seed))
            advance(rows[-1])
        for method in METHODS if layers else ():
            rows.append(random_layers(layers, method, seed))
            advance(rows[-1])
    finish("quantised", rows, f"{hardware()}\n\n{quantised_table(rows)}", output, as_json)
