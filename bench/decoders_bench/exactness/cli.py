"""`decoders bench exactness`."""

from __future__ import annotations

from pathlib import Path

import click

from decoders_bench.common.options import (
    decoders_option,
    finish,
    json_option,
    output_option,
    seed_option,
    tracked,
    workers_option,
)


@click.command("exactness")
@decoders_option(told="every strategy that is installed, at temperature 1, and sweeps over forwards")
@click.option("--oracle", "oracles", multiple=True, metavar="letters=N,length=N,sharp=X,seed=N",
              help="the truth; repeat for more  [default: three]")
@click.option(
    "-n", "--samples", default=2000, show_default=True, type=click.IntRange(2), help="samples of each decoder"
)
@seed_option
@workers_option
@output_option
@json_option
def exactness(
    decoders: tuple[str, ...],
    oracles: tuple[str, ...],
    samples: int,
    seed: int,
    workers: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Compare the samples of decoders with the true distribution: a joint distribution over short texts that is known
    by enumeration. Measures the total variation distance, and the forwards per sample. The model returns exact
    conditionals, so all error is the decoder's. A decoder is marked exact if its samples cannot be distinguished from
    perfect ones."""
    import torch

    from decoders import UsageError
    from decoders_bench.common.results import hardware, record
    from decoders_bench.exactness.measure import SWEEPS, TRUTHS, Trial, hosted, measure_all, registered, truth
    from decoders_bench.exactness.tables import exactness_table

    truths = [truth(text) for text in oracles] or TRUTHS
    found, broken = (list(decoders), []) if decoders else registered()
    specs, unable = hosted(dict.fromkeys((*found, *(() if decoders else SWEEPS))))
    if decoders and unable:
        raise UsageError(f"{unable[0].decoder}: {unable[0].reason}")
    torch.set_num_threads(1)  # the worker processes use one thread, too, and the environment records it
    trials = [Trial(spec, t, samples, seed) for t in truths for spec in specs]
    with tracked("samples", len(trials)) as advance:
        rows = measure_all(trials, workers, advance)
    skipped = [*broken, *unable]
    text = f"{hardware()}\n\n{exactness_table(rows, skipped)}"
    finish("exactness", rows, text, output, as_json, skipped=[record(s) for s in skipped])
