"""Replay of whole runs of published decoders by their authors' code: AdaBlock, LocalLeap, DUS, PC-Sampler.

Each adapter names the options of ours that stand for the reference's constants; where those differ from our defaults, ours follow the
paper, and the strategy says so.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from safetensors.torch import save_file

from decoders import Decoder, Pred, get
from decoders_bench.golden.cases import Case
from decoders_bench.golden.models import Models
from decoders_bench.golden.trajectory import Setup, trajectory


def run(case: Case, models: Models, decoder: Decoder) -> str:
    """In blocks of the reference's length. Raises `MismatchError`."""
    return trajectory(case, models, Setup(decoder, Pred.best, case.params.get("block_length")))


def adablock(case: Case, models: Models) -> str:
    q = case.params
    return run(case, models, get(
        "ada_block", delimiters=tuple(q["delimiter_ids"]), tau=q["delimiter_threshold"], block=q["init_block_length"],
        look=int(0.25 * q["gen_length"]), base=get("threshold", tau=q["threshold"]),
    ))


def local_leap(case: Case, models: Models) -> str:
    q = case.params
    return run(case, models, get("local_leap", tau=q["threshold"], relaxed=q["relaxed_threshold"], radius=q["radius"]))


def dus(case: Case, models: Models) -> str:
    return run(case, models, get("dus", base=case.params["base"], merge=True))


def pc_sampler(case: Case, models: Models) -> str:
    """A token that the corpus lacks has 1e-9 in the reference, as in a corpus of 1e9 tokens, and 1e-9 is added to every frequency; only to
    that one it matters."""
    q = case.params
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus.safetensors"
        save_file({"frequency": case.tensors()["frequency"]}, corpus)
        decoder = get("pc_sampler", steps=q["steps"], decay=q["lambd"], cap=q["alpha"], corpus=str(corpus), absent=2e-9)
    return run(case, models, decoder)
