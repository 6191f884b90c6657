"""`decoders bench calibration`."""

from __future__ import annotations

from pathlib import Path

import click

from decoders_bench.common.options import (
    finish,
    json_option,
    output_option,
    seed_option,
    tasks_option,
    threads_option,
    tracked,
)


@click.command()
@click.option("-m", "--model", default="nano", show_default=True, metavar="SPEC", help="model to decode with")
@tasks_option(told="sudoku, list, shuffle, chain and answer_first")
@click.option("-n", "--items", "count", default=200, show_default=True, type=click.IntRange(1), help="of each rung")
@threads_option
@seed_option
@output_option
@json_option
def calibration(
    model: str, tasks: tuple[str, ...], count: int, threads: int, seed: int, output: Path | None, as_json: bool
) -> None:
    """Measure whether the probabilities of `Generator.read` and `Generator.decide` are calibrated: reliability curve,
    expected calibration error (ECE) and Brier score of labels that are masked in answers of test items, with the whole
    answer masked, and with half of its labels given."""
    from dataclasses import replace

    import torch

    from decoders import Generator
    from decoders_bench.calibration.cases import TASKS, Case, cases
    from decoders_bench.calibration.measure import Calibration, measured
    from decoders_bench.calibration.tables import ALL, curve_table, task_table
    from decoders_bench.common.results import hardware
    from decoders_bench.tasks import GENERATED, chosen, items

    torch.set_num_threads(threads)
    generator, rungs = Generator(model), chosen(tasks or TASKS)
    rows = list[Calibration]()
    with tracked("reading", 2 * len(rungs)) as advance:
        for half, open_ in ((False, "all"), (True, "half")):
            every = list[Case]()
            for name, rung in rungs:
                found = list(cases(generator, items(GENERATED[name], rung, "test", count, seed), half, seed))
                rows.append(measured(f"{name}/{rung}", open_, model, found, seed))
                start = 1 + max((c.item for c in every), default=-1)
                every += [replace(c, item=start + c.item) for c in found]
                advance()
            if len(rungs) > 1:
                rows.append(measured(ALL, open_, model, every, seed))
    generator.service.close()
    text = f"{hardware()}\n\n{task_table(rows)}\n\n{curve_table(rows)}"
    finish("calibration", rows, text, output, as_json)
