"""`decoders bench golden`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("golden")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--reference", metavar="NAME", help="only the cases of this reference")
@click.option("--json", "as_json", is_flag=True, help="print the JSON line only")
def golden(directory: Path, reference: str | None, as_json: bool) -> None:
    """Replay recorded runs of official implementations through the public API.

    DIR holds models/ and cases/<reference>/*.json. A run passes if its tokens, its number of forward passes and the
    canvas after every one of them are those of the reference. The last line is a JSON object with the counts, failures
    and skips; the exit code is 1 if a case failed. A case in which the reference itself is wrong is neither passed nor
    failed.
    """
    import json

    import torch

    from decoders_bench.golden.cases import find

    find(directory, reference)  # an invalid directory is reported before the slow import of the models' library
    from decoders_bench.golden.runner import replay, summary, table

    torch.set_num_threads(1)  # the models are so small that several threads would wait for each other
    total = summary(replay(directory, reference))
    if not as_json:
        click.echo("\n".join(table(total)))
    click.echo(json.dumps(total))
    raise SystemExit(int(total["failed"] > 0))
