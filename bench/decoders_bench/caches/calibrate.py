"""The default of EntropyCache's tau, which its paper does not publish in what could be read: measured on `nano`.

Validation items, on canvases of the lengths that nano was trained on, with the paper's k of 64 and with a k of 8,
because a canvas of nano is shorter than 64 positions, so that with the paper's k all of its decided tokens are
recomputed in every forward and only the prompt and the masks of later blocks can become stale. 8 is to nano's canvas
what 64 is to one of 512.

The rule was written down before the first run:

1. A tau passes if in every setting (block, k), over the items of all tasks, at most 1 in 100 answers is lost net
   against `none`, and at least 99 % of the generated tokens agree with it; and if every smaller tau does.
2. Of those that pass, the default is the smallest whose positions computed, over all settings, are at most 5 % more
   than the fewest: caution that costs nothing is taken.
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
"""A tau that no entropy reaches: after the first forward nothing is refreshed."""
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
    """One tau on one task, or on all of them, held against `none` on the same items."""

    task: str
    rung: str
    block: int
    k: int
    tau: float
    n: int
    right: int
    right_none: int
    lost: int
    """Items that only `none` has right."""
    won: int
    """Items that only the cache has right."""
    agreement: float
    computed: float
    """Positions, an item."""
    computed_none: float
    hit_rate: float
    nfe: float
    nfe_none: float

    @property
    def p(self) -> float:
        """McNemar's, for the items lost and won."""
        return mcnemar(self.lost, self.won)

    @property
    def passes(self) -> bool:
        """The first part of the rule, in this setting."""
        return self.lost - self.won <= LOSS * self.n and self.agreement >= AGREE


def sweep(job: Sweep) -> list[Tried]:
    """Every (k, tau) of a job."""
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
    """All jobs, in their order, on `workers` processes of one thread each."""
    return [row for rows in spread(sweep, jobs, workers, notify) for row in rows]


def pool(rows: Sequence[Tried]) -> Tried:
    """The rows of one setting and tau as one: counts are added, means weighted by items."""
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
    """The default that the rule gives; None if no tau passes."""
    whole = pooled(rows)
    taus = sorted({r.tau for r in whole})
    passed = list(takewhile(lambda tau: all(r.passes for r in whole if r.tau == tau), taus))
    cost = {tau: sum(r.computed for r in whole if r.tau == tau) for tau in passed}
    return min((tau for tau in passed if cost[tau] <= SLACK * min(cost.values())), default=None)
