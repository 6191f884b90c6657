"""Steps of whole models, decoder by decoder and cache by cache."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from decoders import UsageError
from decoders.registry import entries
from decoders_bench.common.shapes import scaled
from decoders_bench.gpu import card
from decoders_bench.gpu.ledger import Ledger
from decoders_bench.gpu.parts import Part, Task
from decoders_bench.gpu.scale import BLOCK, LENGTH, PROMPT, Scale
from decoders_bench.latency.measure import Bench, wanted
from decoders_bench.latency.peers import FOLLOWED, PEERS, followed, measure_peer
from decoders_bench.latency.recordings import Recordings, Wanted
from decoders_bench.latency.rows import Case
from decoders_bench.latency.tables import latency_of

LLADA, SDAR = "llada-8b", "sdar-8b"
THRESHOLD = "threshold:tau=0.9"
OURS = "decoders"


@dataclass(frozen=True)
class Cell:
    shape: str
    decoder: str = ""
    cache: str = ""
    graph: bool = False
    batch: int = 1
    way: str = OURS
    fused: bool = False

    @property
    def key(self) -> str:
        how = "fused" if self.fused else "graph" if self.graph else "loop"
        who = f"{self.decoder}/{self.cache}/{how}" if self.way == OURS else self.way
        return f"{self.shape}/{self.batch}/{who}"


def both(shape: str, decoder: str, *caches: str) -> list[Cell]:
    """The cells with steps launched by the host, and with captured graphs."""
    return [Cell(shape, decoder, cache, graph) for cache in caches for graph in (False, True)]


BESIDE = [Cell(LLADA, way="autoregression"), Cell(LLADA, way="autoregression, captured")]
ONE = [
    Cell(LLADA, way="plain loop"), *both(LLADA, THRESHOLD, "none", "dual"), *both(LLADA, "llada", "none"), *BESIDE,
    *both(LLADA, THRESHOLD, "prefix", "entropycache"), *both(LLADA, "llada", "dual", "prefix", "entropycache"),
    Cell(LLADA, THRESHOLD, "none", True, fused=True), Cell(LLADA, THRESHOLD, "dual", True, fused=True),
    *both(SDAR, "s2d2", "block", "none"),
]  # fmt: skip
SIX = [
    Cell(LLADA, THRESHOLD, "none", True), Cell(LLADA, THRESHOLD, "dual", True),
    Cell(LLADA, THRESHOLD, "entropycache", True),
    Cell(LLADA, "llada", "none", True), Cell(LLADA, "llada", "dual", True), Cell(SDAR, "s2d2", "block", True),
]  # fmt: skip
"""The cells that are measured at larger batches."""


def many(batches: Sequence[int]) -> list[Cell]:
    """The six and autoregression, shape by shape, since only one model is in memory at a time."""
    made = [replace(cell, batch=n) for n in batches for cell in (*SIX, *BESIDE)]
    return sorted(made, key=lambda cell: cell.shape != LLADA)


def others() -> list[Cell]:
    """Every other installed strategy once: with graphs if they can be captured (`Models.row`)."""
    named = {"threshold", "llada", "s2d2"}
    names = [e.name for e in entries("strategies") if not (e.problem or e.special)]
    return [Cell(LLADA, name, "dual", True) for name in names if name not in named]


def case_of(cell: Cell, scale: Scale) -> Case:
    name = cell.shape + scale.suffix
    own = scaled(name)
    block = own.of.block if own.block_causal else BLOCK
    decoder = cell.decoder if cell.way == OURS else "" if PEERS[cell.way].causal else FOLLOWED[0]
    return Case(
        name, scale.device, scale.dtype, cell.batch, PROMPT, LENGTH, block, decoder, cell.cache, graph=cell.graph,
        fused=cell.fused,
    )


def needed(cell: Cell, scale: Scale) -> Wanted | None:
    """The recording that a cell replays; None if it commits one token per forward pass."""
    case = case_of(cell, scale)
    if cell.way == OURS:
        return wanted(case)
    return followed(case) if case.decoder else None


def every(scale: Scale) -> Iterator[Cell]:
    yield from (*ONE, *many(scale.batches), *others())


class Models:
    """One model at a time, built on first use."""

    def __init__(self, scale: Scale, ledger: Ledger, recordings: Recordings) -> None:
        self.scale, self.ledger, self.recordings = scale, ledger, recordings
        self.shape = ""
        self.held: Bench | None = None

    def bench(self, case: Case) -> Bench:
        if self.held is None or self.shape != case.model:
            self.held = None
            self.forget()
            self.held = Bench(case, self.recordings, steps=self.scale.steps)
            self.shape = case.model
        self.held.ceilings = card.known(self.ledger.rows)
        return self.held

    def row(self, cell: Cell) -> dict[str, Any]:
        """Measure a cell; steps that cannot be captured are launched by the host."""
        try:
            return self.measure(cell)
        except UsageError as e:
            if not cell.graph or not str(e).startswith("no graph"):
                raise
            return self.measure(replace(cell, graph=False, fused=False))

    def measure(self, cell: Cell) -> dict[str, Any]:
        case = case_of(cell, self.scale)
        bench = self.bench(case)
        try:
            if cell.way == OURS:
                return asdict(bench.measure(case, self.scale.repeats))
            return asdict(measure_peer(bench, case, cell.way, self.scale.repeats))
        finally:
            vars(bench).pop("graph", None)  # to free its buffers and its memory
            self.forget()

    def forget(self) -> None:
        gc.collect()
        if self.scale.device == "cuda":
            torch.cuda.empty_cache()


def brief(row: dict[str, Any]) -> str:
    """The log's summary of a cell."""
    r = latency_of(row)
    said = {"network": r.network, "outside the network": r.beside, "idle": r.idle, "tokens/s": r.tokens_per_second}
    return f"p50 {r.p50:.3g} ms" + "".join(f", {name} {x:.3g}" for name, x in said.items() if x is not None)


def part(name: str, share: float, cells: Sequence[Cell], models: Models) -> Part:
    def task(cell: Cell) -> Task:
        return Task(f"{name}/{cell.key}", lambda: models.row(cell), models.scale.reserve, brief)

    return Part(name, share, [task(cell) for cell in cells])
