"""`decoders bench peers`."""

from __future__ import annotations

from pathlib import Path

import click

from decoders_bench.common.options import finish, json_option, output_option, repeats_option, tracked
from decoders_bench.peers.environments import PEERS


@click.command("peers")
@click.option(
    "-p", "--peer", "peers", multiple=True, type=click.Choice(tuple(PEERS)), help="repeat for more  [default: all]"
)
@click.option(
    "-n", "--prompts", default=8, show_default=True, type=click.IntRange(1, 64), help="prompts, decoded one by one"
)
@repeats_option(7, "runs of each side, in turns")
@click.option(
    "--environments",
    default=Path(".venv-peers"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="where the environments of the peers are made, and found again",
)
@output_option
@json_option
def peers(
    peers: tuple[str, ...], prompts: int, repeats: int, environments: Path, output: Path | None, as_json: bool
) -> None:
    """Other decoders beside this library's: the same machine, model and prompts, in turns. Whether tokens are the same,
    forwards, and tokens per second of one over the other. Each peer is installed from PyPI into an environment of its
    own, which sees this one's torch; one that cannot be installed or run is listed with the reason."""
    from tempfile import TemporaryDirectory

    import torch

    from decoders_bench.common.results import hardware, save
    from decoders_bench.peers.cases import CASES
    from decoders_bench.peers.measure import Compared, compare_all
    from decoders_bench.peers.settings import diffusion_gemma, nano
    from decoders_bench.peers.tables import ABOUT, peer_tables

    torch.set_num_threads(1)  # as in the processes, and what is recorded
    cases = [c for c in CASES if not peers or c.peer in peers]
    rows: list[Compared] = []
    with TemporaryDirectory() as made, tracked("comparisons", len(cases)) as advance:
        settings = {"nano": nano(prompts), "diffusion_gemma": diffusion_gemma(prompts, Path(made))}

        def keep(row: Compared) -> None:
            rows.append(row)
            advance()
            if output:  # what is measured stays, whatever becomes of the rest
                save(output, rows)

        compare_all(cases, settings, environments.absolute(), repeats, keep)
    finish("peers", rows, f"{hardware()}; {ABOUT}\n\n{peer_tables(rows)}", output, as_json)
