"""Cache policies on `nano`: wall time, positions computed, accuracy and agreement, each held against `none` side by
side.

One job is one table: a length, a decoder, a model. Within it every batch of items is decoded by all caches in turn, the
first one rotating, so that whatever else the machine does meets them all alike; ratios are taken batch by batch, and
their median is reported. nano was trained on canvases of 24 to 64 positions. On longer ones it is often or always
wrong, whatever the cache, so the share of generated tokens that agree with `none` stands beside the accuracy.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from decoders import Generator, get
from decoders.core import options
from decoders_bench.common.models import loaded
from decoders_bench.common.outcome import Batch, Clock, agreeing, decode_items, hit_rate, lost_and_won
from decoders_bench.common.workers import spread
from decoders_bench.tasks import GENERATED, Item, items

TOGETHER = 8
"""Rows of a batch."""


@dataclass(frozen=True)
class Rows:
    """Rows of one length, and what is decoded on them."""

    positions: int
    """About so many in a row, prompt and canvas."""
    length: int
    """Of the canvas."""
    block: int
    tasks: tuple[str, ...]
    budget: str
    """A decoder that spends the same number of forwards under every cache, if no row ends early."""
    alone: int
    """Items decoded one by one."""
    batched: int
    """Items decoded in batches; those are graded, unless they are cut."""
    forwards: int | None = None
    """Batches are cut after so many forwards, which is enough to time them."""
    ignore_eos: bool = False


LENGTHS = {
    64: Rows(64, 32, 16, ("chain/easy", "extract/hard"), "llada:steps=8", alone=16, batched=96),
    256: Rows(256, 224, 32, ("chain/hard", "ledger/easy"), "llada:steps=56", alone=8, batched=48),
    1024: Rows(
        1024, 960, 32, ("chain/hard", "ledger/easy"), "llada:steps=120,eos=suppress", alone=2, batched=16, forwards=8,
        ignore_eos=True
    ),
}
"""On 1024 positions nano predicts the end token everywhere at once, so rows are decoded past it; with the threshold its
canvas fills a block a forward, and with the budget it may not write it at all."""


@dataclass(frozen=True)
class Job:
    """One table."""

    rows: Rows
    decoder: str
    caches: tuple[str, ...]
    model: str = "nano"
    seed: int = 0
    clock: Clock = "wall"


@dataclass(frozen=True)
class Measured:
    """One cache in one table. Shares, forwards and positions are of the `n` graded items."""

    positions: int
    length: int
    block: int
    tasks: tuple[str, ...]
    ignore_eos: bool
    clock: Clock
    model: str
    decoder: str
    cache: str
    n: int
    right: int
    lost: int
    """Items that only `none` has right."""
    won: int
    """Items that only this cache has right."""
    agreement: float
    """With `none`, in generated tokens place by place: of the text before the first stop token, or with `ignore_eos` of
    the canvas."""
    tokens: float
    """An item, before the first stop token."""
    nfe: float
    computed: float
    """An item."""
    hit_rate: float
    alone: int
    seconds_alone: float
    """An item, the median."""
    ratio_alone: float
    """Of the seconds under `none`, the median over items."""
    batched: int
    forwards: int | None
    seconds_batched: float
    ratio_batched: float
    padded: float
    """Positions that the model ran in batches, padding included, as a multiple of those asked for."""

    @property
    def place(self) -> tuple[int, str, str]:
        """The table that it belongs to."""
        return self.positions, self.model, self.decoder


def measure(job: Job) -> list[Measured]:
    """A table: every cache of a job, `none` first."""
    rows, model = job.rows, loaded(job.model)
    caches = tuple(dict.fromkeys(("none", *job.caches)))
    runs = {spec: Generator(model, job.decoder, spec) for spec in caches}
    one = in_turn(runs, [[x] for x in mixed(rows.tasks, rows.alone, job.seed)], job, None)
    chosen = mixed(rows.tasks, rows.batched, job.seed)
    many = in_turn(runs, [chosen[i : i + TOGETHER] for i in range(0, len(chosen), TOGETHER)], job, rows.forwards)
    graded = {spec: [x for b in (many if rows.forwards is None else one)[spec] for x in b.outcomes] for spec in caches}
    out = []
    for spec, own in graded.items():
        n, none = len(own), graded["none"]
        asked = sum(x.computed for b in many[spec] for x in b.outcomes)
        out.append(Measured(
            rows.positions, rows.length, rows.block, rows.tasks, rows.ignore_eos, job.clock, job.model, job.decoder,
            spec, n, sum(x.right for x in own), *lost_and_won(none, own), agreeing(none, own, whole=rows.ignore_eos),
            sum(len(x.text) for x in own) / n, sum(x.nfe for x in own) / n, sum(x.computed for x in own) / n,
            hit_rate(own), len(one[spec]), *times(one[spec], one["none"]), len(chosen), rows.forwards,
            *times(many[spec], many["none"]), sum(b.run for b in many[spec]) / asked,
        ))
    return out


def mixed(names: Sequence[str], n: int, seed: int) -> list[Item]:
    """`n` test items, the tasks taking turns."""
    each = -(-n // len(names))
    places = [name.partition("/") for name in names]
    drawn = [items(GENERATED[task], rung, "test", each, seed) for task, _, rung in places]
    return [x for turn in zip(*drawn, strict=True) for x in turn][:n]


def in_turn(
    runs: dict[str, Generator], batches: Sequence[Sequence[Item]], job: Job, forwards: int | None
) -> dict[str, list[Batch]]:
    """Every batch under every cache, after a warm-up of two forwards each; another cache is the first each time."""

    def under(spec: str, batch: Sequence[Item], forwards: int | None) -> Batch:
        rows = job.rows
        return decode_items(
            runs[spec], batch, length=rows.length, block=rows.block, ignore_eos=rows.ignore_eos, max_steps=forwards,
            clock=job.clock
        )

    specs = list(runs)
    out: dict[str, list[Batch]] = {spec: [] for spec in specs}
    for spec in specs:
        under(spec, batches[0], 2)
    for i, batch in enumerate(batches):
        first = i % len(specs)
        for spec in (*specs[first:], *specs[:first]):
            out[spec].append(under(spec, batch, forwards))
    return out


def times(own: Sequence[Batch], none: Sequence[Batch]) -> tuple[float, float]:
    """Seconds an item, and the ratio to `none`; medians over batches."""
    ratios = [a.seconds / b.seconds for a, b in zip(own, none, strict=True)]
    return statistics.median(b.seconds / len(b.outcomes) for b in own), statistics.median(ratios)


def jobs_for(
    lengths: Iterable[int], decoders: Sequence[str], caches: Sequence[str], blocks: Sequence[str],
    alone: int | None = None, batched: int | None = None, seed: int = 0, clock: Clock = "wall",
) -> list[Job]:
    """The tables: every length under every decoder, or, if none is named, under threshold and a fixed budget; `caches`
    on nano, and `blocks` on nano with block-causal attention. There a budget is left out: blocks are cut at absolute
    multiples, so how many a row has depends on its prompt, and no one budget divides evenly."""
    out = []
    for rows in (LENGTHS[x] for x in lengths):
        changed = replace(rows, alone=alone or rows.alone, batched=batched or rows.batched)
        for decoder in decoders or ("threshold:tau=0.9", rows.budget):
            cls: Any = type(get(decoder))
            if caches:
                out.append(Job(changed, decoder, tuple(caches), seed=seed, clock=clock))
            if blocks and "steps" not in options(cls):
                out.append(Job(changed, decoder, tuple(blocks), "nano:attention=block", seed, clock))
    return out


def measure_all(jobs: Iterable[Job], workers: int, notify: Callable[[object], None]) -> list[Measured]:
    """All jobs, in their order, on `workers` processes of one thread each; the longest rows start first."""
    jobs = list(jobs)
    ordered = sorted(jobs, key=lambda j: -j.rows.positions)
    done = dict(zip(ordered, spread(measure, ordered, workers, notify), strict=True))
    return [row for job in jobs for row in done[job]]
