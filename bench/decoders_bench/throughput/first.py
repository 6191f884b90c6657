"""How long clients wait for their first settled token: in an engine with continuous batching, and with static
batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median, quantiles

from decoders.core import Event
from decoders.engine import Engine, Request
from decoders.job import Item, Job
from decoders.text.records import Generation, or_raise
from decoders_bench.common.outcome import CLOCKS, Clock
from decoders_bench.throughput.measure import items_of

Read = Callable[[], float]


@dataclass(frozen=True)
class First:
    """Seconds from a request to the first of its tokens that is final; each client sends its next request when its text
    has ended."""

    decoder: str
    model: str
    clients: int
    prompts: int
    engine_median: float
    engine_p95: float
    fixed_median: float
    fixed_p95: float
    same: bool
    """Whether all texts are the same both ways."""


@dataclass
class Waits:
    """The times of each request and of its first final token, by the index of the prompt, and the results."""

    read: Read
    asked: dict[int, float]
    first: dict[int, float]
    made: dict[int, Generation]

    @classmethod
    def blank(cls, read: Read) -> Waits:
        return cls(read, {}, {}, {})

    def hear(self, e: Event) -> None:
        if e.kind == "committed":
            self.first.setdefault(e.row, self.read())

    def ended(self, index: int, made: Generation, at: float) -> None:
        """For a text without a token, its end counts as its first token."""
        self.made[index] = made
        self.first.setdefault(index, at)

    @property
    def seconds(self) -> list[float]:
        return [self.first[i] - self.asked[i] for i in sorted(self.asked)]


def flowing(job: Job, items: Sequence[Item], clients: int, read: Read) -> Waits:
    """The waits in an engine with as many slots as clients."""
    found, queue = Waits.blank(read), iter(items)
    job, engine, rows = replace(job, on_event=found.hear), Engine(job.setup.model, clients), dict[Request, int]()

    def ask() -> None:
        if item := next(queue, None):
            found.asked[item.index] = read()
            rows[r := job.request(item)] = item.index
            engine.submit(r)

    for _ in range(clients):
        ask()
    while not engine.idle:
        for r in engine.step():
            if r.error:
                raise r.error
            assert isinstance(r.answer, Generation)
            found.ended(rows[r], r.answer, read())
            ask()
    return found


def batched(job: Job, items: Sequence[Item], clients: int, read: Read) -> Waits:
    """The waits with static batches: each batch has all requests that wait when the previous one has ended. A client
    receives its tokens as they become final, and sends its next request when its own text has ended."""
    found, left, times = Waits.blank(read), list(items), list[float]()
    watched = replace(job.how, watch=lambda f, p, c: times.append(read()))
    job, asks = replace(job, on_event=found.hear, how=watched), [read()] * clients
    while left:
        batch, left = left[:clients], left[clients:]
        found.asked |= {item.index: at for item, at in zip(batch, asks, strict=False)}
        times.clear()
        results = [or_raise(g) for _, g in job.answered(batch)]
        asks = sorted(times[g.nfe - 1] for g in results)
        for item, g in zip(batch, results, strict=True):
            found.ended(item.index, g, times[g.nfe - 1])
    return found


def measure_first(
    spec: str, model: str, clients: int, count: int, length: int, seed: int, repeats: int, clock: Clock
) -> First:
    """Both ways in turn, `repeats` times; medians of the medians and of the 95th percentiles."""
    job, items = items_of(spec, model, count, length, seed)
    read, found = CLOCKS[clock], {flowing: list[Waits](), batched: list[Waits]()}
    flowing(job, items[:clients], clients, read)  # the first forwards of a process are slow
    for _ in range(repeats):
        for way, runs in found.items():
            runs.append(way(job, items, clients, read))
    texts = [[w.made[x.index].text for x in items] for runs in found.values() for w in runs]
    middles = [median(median(w.seconds) for w in runs) for runs in found.values()]
    tails = [median(quantiles(w.seconds, n=20)[-1] for w in runs) for runs in found.values()]
    return First(
        spec, model, clients, len(items), middles[0], tails[0], middles[1], tails[1], all(t == texts[0] for t in texts)
    )
