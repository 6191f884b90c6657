"""`decoders bench exactness`."""

from __future__ import annotations

from pathlib import Path

import click

from decoders_bench.common.options import emit, json_option, progress


@click.command("exactness")
@click.option("-d", "--decoder", "decoders", multiple=True,
              help="decoder spec; repeat for more  [default: every strategy that is installed, at temperature 1, and sweeps over forwards]")
@click.option("--oracle", "oracles", multiple=True, metavar="letters=N,length=N,sharp=X,seed=N",
              help="the truth; repeat for more  [default: three]")
@click.option("-n", "--samples", default=2000, show_default=True, type=click.IntRange(2), help="samples of each decoder")
@click.option("--seed", default=0, show_default=True)
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="processes")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="write the results here as JSON")
@json_option
def exactness(decoders: tuple[str, ...], oracles: tuple[str, ...], samples: int, seed: int, workers: int, output: Path | None,
              as_json: bool) -> None:
    """What decoders sample, against the truth: the total variation between their samples and a joint distribution over short texts that
    is known by enumeration, and the forwards that a sample takes. The model's answers are exact conditionals, so the error is all the
    decoder's. A decoder is marked exact where its samples are not told apart from perfect ones."""
    import torch

    from decoders import UsageError
    from decoders_bench.common.results import document, hardware, record, save
    from decoders_bench.exactness.measure import SWEEPS, TRUTHS, Trial, hosted, measure_all, registered, truth
    from decoders_bench.exactness.tables import exactness_table

    truths = [truth(text) for text in oracles] or TRUTHS
    found, broken = (list(decoders), []) if decoders else registered()
    specs, unable = hosted(dict.fromkeys((*found, *(() if decoders else SWEEPS))))
    if decoders and unable:
        raise UsageError(f"{unable[0].decoder}: {unable[0].reason}")
    torch.set_num_threads(1)  # as in the workers, and what is recorded
    trials = [Trial(spec, t, samples, seed) for t in truths for spec in specs]
    with progress() as bar:
        step = bar.add_task("samples", total=len(trials))
        rows = measure_all(trials, workers, lambda _: bar.advance(step))
    skipped = [*broken, *unable]
    if output:
        save(output, rows)
    click.echo(f"{hardware()}\n\n{exactness_table(rows, skipped)}")
    if as_json:
        emit(document("exactness", rows, skipped=[record(s) for s in skipped]))
