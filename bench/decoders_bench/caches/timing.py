"""The savings of caches on a model of LLaDA's shape: milliseconds per step, and tokens per second from prompt to text.

The weights are random, so nothing is downloaded. A run on `nano` under the same cache determines how many tokens each
forward pass commits and when EntropyCache refreshes (`decoders_bench.common.replay`), so additional forward passes that
a cache costs on nano are included here. All ways of decoding are measured in turn in one process. They are compared
with a plain loop over the full canvas (`decoders_bench.common.plain`) with the forward passes of `none`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from decoders import Blocks, Forward, Pred, UsageError, decode, get, get_cache
from decoders.caches.entropycache import EntropyCache
from decoders.core import Canvas, sound
from decoders_bench.common.outcome import CLOCKS, Clock
from decoders_bench.common.plain import plain_decode, see_both_ways
from decoders_bench.common.replay import Recording, Replayed, ReplayedEntropyCache, recorded, whole_blocks
from decoders_bench.common.shapes import SHAPES, adapted, build
from decoders_bench.common.stopwatch import Stopwatch
from decoders_bench.common.workload import Workload

PLAIN = "plain loop"


@dataclass(frozen=True)
class Run(Workload):
    """The parameters of a measurement, on random weights of a shape."""

    decoder: str = "threshold:tau=0.9"
    clock: Clock = "wall"


@dataclass(frozen=True)
class Timed:
    """The results of one way of decoding. Milliseconds are medians over all steps of that type in all repeats; None if
    there is no such step."""

    run: Run
    parameters: int
    way: str
    """The spec of a cache, or the plain loop."""
    repeats: int
    nfe: int
    computed: int
    """Computed positions per row, in all forward passes."""
    hit_rate: float
    full_ms: float
    """A step that computes every position."""
    cached_ms: float | None
    """A step that reads some positions from the cache."""
    seconds: float
    """Seconds from prompt to text: the sum over steps of the median over repeats of each, so that other work on the
    machine during one repeat has no effect."""
    ratio: float
    """The ratio to the plain loop's seconds."""
    peak_bytes: int | None
    """Peak memory on the device, weights included; None if torch does not report it."""

    @property
    def tokens_per_second(self) -> float:
        """Tokens per second of all rows together."""
        return self.run.batch * self.run.length / self.seconds

    @property
    def step_ms(self) -> float:
        """The mean time of a step in milliseconds."""
        return 1e3 * self.seconds / self.nfe


@dataclass(frozen=True)
class Once:
    """One run of one way of decoding."""

    steps: list[float]
    full: list[bool]
    computed: int
    reused: int
    peak: int | None


class Ways:
    """All ways of decoding, on one model."""

    def __init__(self, run: Run, net: PreTrainedModel, recordings: dict[str, Recording]) -> None:
        self.run, self.net, self.recordings = run, net, recordings
        see_both_ways(net)
        self.model = adapted(SHAPES[run.model], net)
        self.mask = SHAPES[run.model].mask_id
        random = torch.Generator().manual_seed(0)
        self.prompts = torch.randint(0, self.mask, (run.batch, run.prompt), generator=random)

    def once(self, way: str, forwards: int | None = None) -> Once:
        """One run, or the first `forwards` of it."""
        device = self.model.device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        clock = Stopwatch(device, CLOCKS[self.run.clock])
        done = self.plain(clock, forwards) if way == PLAIN else self.cached(way, clock, forwards)
        peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
        return Once(clock.steps, *done, peak)

    def plain(self, clock: Stopwatch, forwards: int | None) -> tuple[list[bool], int, int]:
        counts = self.recordings["none"].commits[:forwards]
        plain_decode(
            self.net, self.prompts.to(clock.device), self.run.length, self.run.block, counts, self.mask, clock.tick
        )
        return [True] * len(counts), len(counts) * (self.run.prompt + self.run.length), 0

    def cached(self, way: str, clock: Stopwatch, forwards: int | None) -> tuple[list[bool], int, int]:
        cache, recording = get_cache(way), self.recordings[way]
        decoder = Replayed(get(self.run.decoder), recording.commits)
        cache = ReplayedEntropyCache(recording.refreshes, cache.k) if isinstance(cache, EntropyCache) else cache
        asked: list[Tensor] = []

        def watch(f: Forward, p: Pred, c: Canvas) -> None:
            asked.append(f.compute)
            clock.tick()

        rows = sound(decode(
            self.model, decoder, self.prompts.tolist(), length=self.run.length, windows=Blocks(self.run.block),
            cache=cache, max_steps=forwards, watch=watch,
        ))
        whole = [bool(x[:, :-1].all()) for x in asked]
        return whole, rows[0].positions_computed, rows[0].positions_reused


def recording(run: Run, cache: str) -> Recording:
    """The recording of nano on its own tasks with the decoder of a run and a cache. Raises `UsageError` for a canvas
    that is not a whole number of blocks."""
    return recorded(
        get(run.decoder), get_cache(cache), "nano", block=run.block, blocks=whole_blocks(run.length, run.block)
    )


def time_caches(
    run: Run, caches: Sequence[str], repeats: int, notify: Callable[[], None] = lambda: None, warm: int = 2,
) -> list[Timed]:
    """The plain loop and every cache, in turn, after `warm` forward passes of each. Raises `UsageError` if CPU time
    would be meaningless."""
    if run.clock == "cpu" and (torch.device(run.device).type != "cpu" or torch.get_num_threads() > 1):
        raise UsageError("CPU time is that of one thread: it needs --device cpu and --threads 1")
    recordings = {spec: recording(run, spec) for spec in ("none", *caches)}
    net = build(SHAPES[run.model], run.device, getattr(torch, run.dtype), run.prompt + run.length)
    ways, names = Ways(run, net, recordings), (PLAIN, *caches)
    for way in names:
        ways.once(way, warm)
        notify()
    made: dict[str, list[Once]] = {way: [] for way in names}
    for _ in range(repeats):
        for way in names:
            made[way].append(ways.once(way))
            notify()
    return [timed(run, net, way, own, made[PLAIN]) for way, own in made.items()]


def timed(run: Run, net: PreTrainedModel, way: str, own: Sequence[Once], plain: Sequence[Once]) -> Timed:
    steps = [(ms, full) for o in own for ms, full in zip(o.steps, o.full, strict=True)]
    cached = [ms for ms, full in steps if not full]
    first, seconds = own[0], undisturbed(own)
    return Timed(
        run, sum(p.numel() for p in net.parameters()), way, len(own), len(first.steps), first.computed,
        first.reused / (first.reused + first.computed), statistics.median(ms for ms, full in steps if full),
        statistics.median(cached) if cached else None, seconds, seconds / undisturbed(plain),
        max((o.peak for o in own if o.peak is not None), default=None),
    )


def undisturbed(own: Sequence[Once]) -> float:
    """Seconds from prompt to text: the sum of the median times of the steps."""
    medians: list[float] = [statistics.median(same) for same in zip(*(o.steps for o in own), strict=True)]
    return sum(medians) / 1e3
