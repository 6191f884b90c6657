"""`decoders bench areas`."""

from __future__ import annotations

from pathlib import Path

import click

from decoders_bench.common.options import emit, json_option


@click.command("areas")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option("--of", "ours", required=True, metavar="SPEC", help="the decoder in question, one of those of the runs")
@click.option(
    "--seen", default="", metavar="TASK/RUNG,...",
    help="rungs that were used to choose the decoder; the others are reported as held out",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="write the data of the tables here as JSON"
)
@json_option
def areas(runs: tuple[Path, ...], ours: str, seen: str, output: Path | None, as_json: bool) -> None:
    """Compare one decoder's area under the accuracy-parallelism curve (AUP) with those of all other decoders in runs of
    `decoders bench quality`, on the questions that all of them were asked: the difference with its interval over
    problems, and a paired test of every setting of the others against the decoder's own with no more forwards."""
    from tempfile import TemporaryDirectory

    from decoders_bench.areas.measure import measured, save
    from decoders_bench.areas.tables import section
    from decoders_bench.quality.rows import load

    found = measured([load(path) for path in runs], ours, {x.strip() for x in seen.split(",") if x.strip()})
    with TemporaryDirectory() as scratch:
        path = output or Path(scratch) / "areas.json"
        save(path, found)
        click.echo(section(path))
    if as_json:
        emit({"command": "areas", **found})
