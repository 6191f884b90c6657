"""Calibration of EntropyCache's default tau, which the accessible versions of its paper do not publish: it is measured
on `nano`.

Validation items on canvases of the lengths on which nano was trained, with the paper's k of 64 and with a k of 8. A
canvas of nano is shorter than 64 positions, so with the paper's k all of its decided tokens are recomputed in every
forward pass, and only the prompt and the masks of later blocks can become stale. 8 is to nano's canvas what 64 is to
one of 512.

The rule was written down before the first run:

1. A tau passes if in every setting (block, k), over the items of all tasks, the net loss is at most 1 in 100 answers
   against `none`, and at least 99 % of the generated tokens agree with it; and if every smaller tau passes.
2. Of those that pass, the default is the smallest whose computed positions, over all settings, are at most 5 % more
   than the fewest: the more cautious value is chosen if it costs almost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from decoders import Cache, Generator
from decoders.caches.entropycache import EntropyCache
from decoders_bench.common.models import loaded
from decoders_bench.common.outcome import Outcome, agreeing, decode_items, hit_rate, lost_and_won
from decoders_bench.common.statistics import mcnemar
from decoders_bench.common.workers import spread
from decoders_bench.tasks import GENERATED, Item, Split, items

NEVER = 1e9
"""A tau above every entropy: after the first forward pass nothing is refreshed."""
TAUS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, NEVER)
LOSS, AGREE, SLACK = 0.01, 0.99, 1.05


@dataclass(frozen=True)
class Sweep:
    """All taus on one task."""

    task: str
    rung: str
    block: int
    ks: tuple[int, ...] = (64, 8)
    taus: tuple[float, ...] = TAUS
    decoder: str = "threshold:tau=0.9"
    model: str = "nano"
    n: int = 100
    split: Split = "validation"
    seed: int = 0
    batch: int = 25


@dataclass(frozen=True)
class Tried:
    """The results of one tau on one task, or on all, compared with `none` on the same items."""

    task: str
    rung: str
    block: int
    k: int
    tau: float
    n: int
    right: int
    right_none: int
    lost: int
    """The number of items that only `none` solves."""
    won: int
    """The number of items that only the cache solves."""
    agreement: float
    computed: float
    """Computed positions per item."""
    computed_none: float
    hit_rate: float
    nfe: float
    nfe_none: float

    @property
    def p(self) -> float:
        """The p-value of McNemar's test for the lost and won items."""
        return mcnemar(self.lost, self.won)

    @property
    def passes(self) -> bool:
        """The first part of the rule, for this setting."""
        return self.lost - self.won <= LOSS * self.n and self.agreement >= AGREE


def sweep(job: Sweep) -> list[Tried]:
    """The results of every (k, tau) of a job."""
    task, model = GENERATED[job.task], loaded(job.model)
    chosen = items(task, job.rung, job.split, job.n, job.seed)
    length = task.length[job.rung]

    def under(cache: str | Cache) -> list[Outcome]:
        run = Generator(model, job.decoder, cache)
        parts: Iterable[Sequence[Item]] = (chosen[i : i + job.batch] for i in range(0, len(chosen), job.batch))
        return [x for part in parts for x in decode_items(run, part, length=length, block=job.block).outcomes]

    def mean(made: Sequence[Outcome], name: str) -> float:
        return float(sum(getattr(x, name) for x in made)) / job.n

    none, out = under("none"), []
    for k in job.ks:
        for tau in job.taus:
            own = under(EntropyCache(tau=tau, k=k))
            out.append(Tried(
                job.task, job.rung, job.block, k, tau, job.n, sum(x.right for x in own), sum(x.right for x in none),
                *lost_and_won(none, own), agreeing(none, own), mean(own, "computed"), mean(none, "computed"),
                hit_rate(own), mean(own, "nfe"), mean(none, "nfe"),
            ))
    return out


def calibrate(jobs: Iterable[Sweep], workers: int, notify: Callable[[object], None]) -> list[Tried]:
    """The results of all jobs, in their order, from `workers` processes of one thread each."""
    return [row for rows in spread(sweep, jobs, workers, notify) for row in rows]


def pool(rows: Sequence[Tried]) -> Tried:
    """The rows of one setting and tau merged into one: counts are added, means are weighted by items."""
    n = sum(r.n for r in rows)
    counts = {name: sum(getattr(r, name) for r in rows) for name in ("right", "right_none", "lost", "won")}
    means = ("agreement", "computed", "computed_none", "hit_rate", "nfe", "nfe_none")
    shares = {name: sum(getattr(r, name) * r.n for r in rows) / n for name in means}
    return replace(rows[0], task="all", rung="", n=n, **counts, **shares)


def pooled(rows: Sequence[Tried]) -> list[Tried]:
    """Every (block, k, tau) over all tasks, in ascending order."""
    settings = sorted({(r.block, r.k, r.tau) for r in rows})
    return [pool([r for r in rows if (r.block, r.k, r.tau) == s]) for s in settings]


def best_tau(rows: Sequence[Tried]) -> float | None:
    """The default according to the rule; None if no tau passes."""
    whole = pooled(rows)
    taus = sorted({r.tau for r in whole})
    passed = list(takewhile(lambda tau: all(r.passes for r in whole if r.tau == tau), taus))
    cost = {tau: sum(r.computed for r in whole if r.tau == tau) for tau in passed}
    return min((tau for tau in passed if cost[tau] <= SLACK * min(cost.values())), default=None)
