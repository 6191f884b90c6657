"""`decoders bench peers`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from decoders import UsageError
from decoders_bench.common.options import finish, json_option, output_option, repeats_option, tracked
from decoders_bench.peers.cases import VOCABULARIES
from decoders_bench.peers.environments import FETCHED, PEERS, checked_code

if TYPE_CHECKING:
    from decoders_bench.peers.cases import Case
    from decoders_bench.peers.measure import Compared, Setting

CHECKOUT = click.Path(file_okay=False, path_type=Path)


@click.command("peers")
@click.option(
    "-p", "--peer", "peers", multiple=True, type=click.Choice(tuple(PEERS)), help="repeat for more  [default: all]"
)
@click.option("--realistic", is_flag=True, help="on models of LLaDA's shape, 4 layers of 512, instead of nano")
@click.option(
    "--vocab", "vocabs", multiple=True, default=VOCABULARIES, show_default=True, type=click.IntRange(1024),
    help="of the realistic models; repeat for more",
)
@click.option(
    "--length", default=64, show_default=True, type=click.IntRange(32),
    help="canvas of the realistic models, a multiple of 32",
)
@click.option("--llada", type=CHECKOUT, help=f"a checkout of {FETCHED['llada'][0]}, whose code is run")
@click.option("--fast-dllm", type=CHECKOUT, help=f"a checkout of {FETCHED['fast-dllm'][0]}, whose code is run")
@click.option(
    "-n", "--prompts", type=click.IntRange(1, 64), help="prompts, decoded one by one  [default: 8; realistic: 1]"
)
@repeats_option(7, "alternating runs of each library")
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
    peers: tuple[str, ...], realistic: bool, vocabs: tuple[int, ...], length: int, llada: Path | None,
    fast_dllm: Path | None, prompts: int | None, repeats: int, environments: Path, output: Path | None, as_json: bool,
) -> None:
    """Compare other libraries with this one, alternating between them on the same machine, model and prompts: whether
    the tokens are the same, the forwards, the ratio of tokens per second, and the memory that each takes. Each library
    is installed from PyPI into an environment of its own, which shares this one's torch, or is in a directory that you
    name. One that cannot be installed or run is listed with the reason."""
    import torch

    from decoders_bench.common.results import hardware, save
    from decoders_bench.peers.measure import compare_all
    from decoders_bench.peers.tables import ABOUT, REALISTIC, peer_tables, realistic_tables

    if length % 32:
        raise UsageError(f"--length {length}: give a multiple of 32, which is two blocks")
    given = {"llada": llada, "fast-dllm": fast_dllm}
    code = {name: checked_code(name, where) for name, where in given.items() if where}
    parts = [(v, chosen(peers, v, length)) for v in vocabs] if realistic else [(0, chosen(peers))]
    torch.set_num_threads(1)  # as in the processes of the peers, and in the recorded environment
    rows: list[Compared] = []
    with tracked("comparisons", sum(len(cases) for _, cases in parts)) as advance:

        def keep(row: Compared) -> None:
            rows.append(row)
            advance()
            if output:  # so results survive a later failure
                save(output, rows)

        for vocab, cases in parts:
            with models(vocab, prompts) as settings:
                compare_all(cases, settings, environments.absolute(), repeats, keep, code)
    about, table = (REALISTIC, realistic_tables(rows)) if realistic else (ABOUT, peer_tables(rows))
    finish("peers", rows, f"{hardware()}; {about}\n\n{table}", output, as_json)


def chosen(peers: Sequence[str], vocab: int = 0, length: int = 0) -> list[Case]:
    """The cases of some peers, or of all: those on a realistic model if a vocabulary size is given. Raises `UsageError`
    for a peer that has none."""
    from decoders_bench.peers import cases

    every = cases.realistic(vocab, length) if vocab else cases.CASES
    known = dict.fromkeys(c.peer for c in every)
    if odd := next((name for name in peers if name not in known), None):
        wrong = "is not compared with --realistic" if vocab else "is compared with --realistic only"
        raise UsageError(f"{odd} {wrong}; here are {', '.join(known)}")
    return [c for c in every if not peers or c.peer in peers]


@contextmanager
def models(vocab: int, prompts: int | None) -> Iterator[dict[str, Setting]]:
    """The models by their names in the cases: a realistic one if a vocabulary size is given, otherwise the small ones.
    Their files on disk exist until the context ends."""
    from tempfile import TemporaryDirectory

    from decoders_bench.peers import settings

    with TemporaryDirectory() as made:
        if vocab:
            yield {"realistic": settings.realistic(prompts or 1, vocab, Path(made))}
        else:
            count = prompts or 8
            yield {"nano": settings.nano(count), "diffusion_gemma": settings.diffusion_gemma(count, Path(made))}
