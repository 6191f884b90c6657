"""Cache policies on `nano`: wall time, computed positions, accuracy and agreement, each compared with `none`.

A job is a table: a length, a decoder, a model. All caches decode every batch of items in turn, and the first one
rotates, so that other work on the machine affects all of them equally; ratios are computed for each batch, and their
median is reported. nano was trained on canvases of 24 to 64 positions. On longer ones it is often or always wrong,
whatever the cache, so the tables also show the share of generated tokens that agree with `none`.
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
    """The rows of one length, and the decoders for them."""

    positions: int
    """The approximate length of a row, prompt and canvas, in positions."""
    length: int
    """The length of the canvas."""
    block: int
    tasks: tuple[str, ...]
    budget: str
    """A decoder that spends the same number of forward passes under every cache if no row ends early."""
    alone: int
    """The number of items that are decoded one by one."""
    batched: int
    """The number of items that are decoded in batches; these are graded, unless the batches are cut."""
    forwards: int | None = None
    """Batches are cut after this number of forward passes, which is enough to time them."""
    ignore_eos: bool = False


LENGTHS = {
    64: Rows(64, 32, 16, ("chain/easy", "extract/hard"), "llada:steps=8", alone=16, batched=96),
    256: Rows(256, 224, 32, ("chain/hard", "ledger/easy"), "llada:steps=56", alone=8, batched=48),
    1024: Rows(
        1024, 960, 32, ("chain/hard", "ledger/easy"), "llada:steps=120,eos=suppress", alone=2, batched=16, forwards=8,
        ignore_eos=True
    ),
}
"""On 1024 positions nano predicts the end token everywhere at once, so rows are decoded past it. With the threshold,
its canvas would fill a block per forward pass, and with the budget it is not allowed to write that token."""


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
    """The results of one cache in one table. Shares, forward passes and positions refer to the `n` graded items."""

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
    """The number of items that only `none` solves."""
    won: int
    """The number of items that only this cache solves."""
    agreement: float
    """The share of generated tokens that equal those of `none` at the same place: in the text before the first stop
    token, or with `ignore_eos` in the canvas."""
    tokens: float
    """Tokens per item before the first stop token."""
    nfe: float
    computed: float
    """Forward passes per item."""
    hit_rate: float
    alone: int
    seconds_alone: float
    """Median seconds per item."""
    ratio_alone: float
    """The ratio to the seconds under `none`, the median over items."""
    batched: int
    forwards: int | None
    seconds_batched: float
    ratio_batched: float
    padded: float
    """Positions that the model computed in batches, padding included, as a multiple of the requested ones."""

    @property
    def place(self) -> tuple[int, str, str]:
        """The table of this row."""
        return self.positions, self.model, self.decoder


def measure(job: Job) -> list[Measured]:
    """The table of a job: every cache, `none` first."""
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
    """`n` test items, from the tasks in turn."""
    each = -(-n // len(names))
    places = [name.partition("/") for name in names]
    drawn = [items(GENERATED[task], rung, "test", each, seed) for task, _, rung in places]
    return [x for turn in zip(*drawn, strict=True) for x in turn][:n]


def in_turn(
    runs: dict[str, Generator], batches: Sequence[Sequence[Item]], job: Job, forwards: int | None
) -> dict[str, list[Batch]]:
    """Every batch under every cache, after a warm-up of two forward passes each; the first cache rotates."""

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
    """Seconds per item, and the ratio to `none`; medians over batches."""
    ratios = [a.seconds / b.seconds for a, b in zip(own, none, strict=True)]
    return statistics.median(b.seconds / len(b.outcomes) for b in own), statistics.median(ratios)


def jobs_for(
    lengths: Iterable[int], decoders: Sequence[str], caches: Sequence[str], blocks: Sequence[str],
    alone: int | None = None, batched: int | None = None, seed: int = 0, clock: Clock = "wall",
) -> list[Job]:
    """The tables: every length with every decoder or, if none is named, with threshold and a fixed budget; `caches` on
    nano, and `blocks` on nano with block-causal attention. The latter has no fixed budget: blocks are cut at absolute
    multiples, so their number in a row depends on its prompt, and no single budget is divisible by all of these
    numbers."""
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
    """The results of all jobs, in their order, from `workers` processes of one thread each; the longest rows start
    first."""
    jobs = list(jobs)
    ordered = sorted(jobs, key=lambda j: -j.rows.positions)
    done = dict(zip(ordered, spread(measure, ordered, workers, notify), strict=True))
    return [row for job in jobs for row in done[job]]
