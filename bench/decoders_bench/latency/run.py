"""The measurement of many cases on one model, one after the other; an interrupted run can be continued."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from decoders import UsageError, get, get_cache
from decoders.models.loaded import Loaded
from decoders.registry import entries
from decoders_bench.common.results import save
from decoders_bench.latency.measure import Bench, guarded
from decoders_bench.latency.peers import FOLLOWED, PEERS, measure_peer
from decoders_bench.latency.recordings import Recordings
from decoders_bench.latency.roofline import ceilings
from decoders_bench.latency.rows import Absent, Case, Latency
from decoders_bench.latency.tables import load_latencies

Asked = tuple[Case, str]
"""A case, and the way of decoding: `decoders` or a peer."""


def cases(
    first: Case, decoders: Sequence[str], caches: Sequence[str], batches: Sequence[int], every: bool = False,
    peers: bool = False,
) -> list[Asked]:
    """For every batch, the peers, then every decoder with every cache. Raises `UsageError` for an invalid spec."""
    specs = [e.name for e in entries("strategies") if not (e.problem or e.special)] if every else list(decoders)
    for spec in specs:
        get(spec)
    for spec in caches:
        get_cache(spec)
    out: list[Asked] = []
    for batch in batches:
        one = replace(first, batch=batch)
        beside = {way: p for way, p in PEERS.items() if peers and (first.graph or not p.captured)}
        out += [(replace(one, decoder="" if p.causal else FOLLOWED[0]), way) for way, p in beside.items()]
        out += [(replace(one, decoder=d, cache=c), "decoders") for c in caches for d in specs]
    return out


@dataclass(frozen=True)
class Run:
    """How the cases are measured. `output` is written after each case; results that it already contains are not
    measured again."""

    recordings: Recordings
    output: Path | None = None
    steps: int = 16
    repeats: int = 3
    roofline: bool = True
    loaded: Loaded | None = None
    """The model, unless a shape is measured."""

    def __call__(
        self, asked: Sequence[Asked], notify: Callable[[], None] = lambda: None
    ) -> tuple[list[Latency], list[Absent]]:
        """The results, and the cases that could not be measured."""
        kept = {(r.case, r.way): r for r in self.there()}
        rows: list[Latency] = []
        absent: list[Absent] = []
        bench: Bench | None = None
        for case, way in asked:
            if (case, way) not in kept:
                bench = bench or self.bench(case)
                found = guarded(case, way, partial(self.one, bench, case, way))
                if isinstance(found, Absent):
                    absent.append(found)
                    notify()
                    continue
                kept[case, way] = found
                if self.output:
                    save(self.output, list(kept.values()), case.device)
            rows.append(kept[case, way])
            notify()
        return rows, absent

    def bench(self, case: Case) -> Bench:
        known = ceilings(case.device, getattr(torch, case.dtype), case.clock) if self.roofline else None
        return Bench(case, self.recordings, known, self.steps, self.loaded)

    def one(self, bench: Bench, case: Case, way: str) -> Latency:
        return bench.measure(case, self.repeats) if way == "decoders" else measure_peer(bench, case, way, self.repeats)

    def there(self) -> list[Latency]:
        """The results in the file. Raises `UsageError` if the file contains something else."""
        if not self.output or not self.output.exists():
            return []
        try:
            return load_latencies(self.output)
        except (KeyError, TypeError, ValueError):
            raise UsageError(
                f"{self.output} holds no results of this command; give another -o, or move it away"
            ) from None
