"""The time of a step, and of its parts, for decoders and caches on one model.

With a shape alone, the weights are random; each forward pass then commits as many tokens as the same decoder and cache
did on `nano` (`decoders_bench.common.replay`), and a run is cut after a whole number of windows, since steps repeat.
With a model, its own predictions are used, and the prompts are items of a task. One pass times the steps; a second one
splits them, as its time marks cost time themselves.
"""

from __future__ import annotations

import gc
import statistics
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from transformers import PreTrainedModel

from decoders import Blocks, Cache, Decoder, Forward, Model, Plan, Suppress, UsageError, decode, get, get_cache, stats
from decoders.caches.entropycache import EntropyCache
from decoders.core import Canvas, Eager, Rule, Run, Windows, check, row_of, sound
from decoders.engine import CudaGraphs, Graph, Recorded
from decoders.engine.backends import Backend
from decoders.engine.graph import Bucket, Captured, Room
from decoders.models.loaded import Loaded
from decoders_bench.common.outcome import CLOCKS
from decoders_bench.common.replay import Replayed, ReplayedEntropyCache, whole_blocks
from decoders_bench.common.shapes import adapted, build, scaled
from decoders_bench.common.stopwatch import Stopwatch
from decoders_bench.latency.launches import STORE, Launches
from decoders_bench.latency.network import network_times
from decoders_bench.latency.recordings import Recordings, Wanted, cut
from decoders_bench.latency.roofline import Ceilings, step_bytes, weight_bytes
from decoders_bench.latency.rows import Absent, Case, Latency
from decoders_bench.latency.split import CACHE, DECISION, Watched, hooked, timed_cache
from decoders_bench.tasks import TASKS, items

TASK = ("chain", "hard")
"""The task whose validation items are the prompts of a model with a tokenizer."""
LAUNCHED = 8
"""The largest number of steps whose launches are counted."""


@dataclass(frozen=True)
class Once:
    """The results of one pass."""

    steps: list[float]
    regions: list[dict[str, float]]
    canvas: Canvas | None = None
    """The final state, if the library's loop ran."""
    runner: Ticking | None = None
    """The runner of the pass, if the library's loop ran."""


@dataclass(frozen=True)
class Text:
    """The costs and the length of the texts of a batch: see `Latency`."""

    nfe: float
    passes: int
    tokens: int


@dataclass(frozen=True)
class Work:
    """The input of the decoding, and how it is decoded."""

    decoder: Decoder
    cache: Cache
    windows: Windows
    rules: tuple[Rule, ...]
    prompts: list[list[int]]
    length: int
    forwards: int | None
    """None: until all rows are done."""
    nfe: int | None
    """Forward passes of the whole text, if their number is known beforehand."""
    stop: bool


class Ticking:
    """A runner (`decoders.core.Runner`) of the library's own loop, or of a graph, that marks the end of each of its
    steps on the clock."""

    def __init__(self, clock: Stopwatch, graph: Graph | None = None) -> None:
        self.clock, self.graph = clock, graph
        self.buckets: list[Bucket] = []
        """The buckets of the steps of a graph."""

    def start(self, model: Model, plan: Plan, lay: Callable[..., Canvas]) -> Run:
        self.asked = model, plan, lay
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # if there is no graph, an error says why
            made = self.graph.start(model, plan, lay) if self.graph else Eager(model, plan, lay())
        if made is None:
            assert self.graph
            raise UsageError(f"no graph: {list(self.graph.report().eager)[-1]}")
        self.run: Run = made
        self.clock.begin()
        return self

    @property
    def canvas(self) -> Canvas:
        return self.run.canvas

    def again(self) -> Room:
        """The buffers of the graph's run, as they were at its start."""
        assert self.graph
        run = self.graph.start(*self.asked)
        assert run
        return run.room

    def step(self) -> None:
        if isinstance(self.run, Captured):
            self.buckets.append(self.run.bucket)
        with self.clock.region(DECISION):  # everything that is not in an inner region
            self.run.step()
        self.clock.tick()

    def live(self) -> bool:
        return self.run.live()

    def put(self, c: Canvas) -> None:
        self.run.put(c)


class Bench:
    """One model, and the measurements on it."""

    def __init__(
        self, case: Case, recordings: Recordings, ceilings: Ceilings | None = None, steps: int = 16,
        loaded: Loaded | None = None,
    ) -> None:
        """`steps`: the most forward passes to measure: as many whole windows as fit, or one; without a cache, where all
        forward passes of a window are alike, exactly this number. The runs of a model that is `loaded` are not cut."""
        self.recordings, self.ceilings, self.steps, self.loaded = recordings, ceilings, steps, loaded
        self.device = torch.device(case.device)
        self.shape, self.net = None, None
        if loaded:
            self.model: Model = loaded.model
            self.net = net_of(loaded)
        else:
            self.shape = scaled(case.model, case.layers)
            self.net = build(self.shape, case.device, getattr(torch, case.dtype), case.prompt + case.length)
            self.model = adapted(self.shape, self.net)
        if case.compiled and self.net is not None:
            self.net.base_model.compile()

    def work(self, case: Case) -> Work:
        """The work of a case. Raises `UsageError` if this model, or `nano` for its recording, does not support it."""
        decoder, cache = get(case.decoder), get_cache(case.cache)
        check(self.model, decoder, cache)
        if self.loaded:
            own = items(TASKS[TASK[0]], TASK[1], "validation", case.batch)
            prompts = [self.loaded.tokenizer.encode(x.prompt) for x in own]
            rules = (Suppress(self.loaded.never),)
            return Work(decoder, cache, Blocks(case.block), rules, prompts, case.length, None, None, stop=True)
        recording = self.recordings[wanted(case)]
        if isinstance(cache, EntropyCache):
            cache = ReplayedEntropyCache(recording.refreshes, cache.k)
        prompts = random_prompts(case, self.model).tolist()
        return Work(
            Replayed(decoder, recording.commits), cache, Blocks(case.block), (), prompts, case.length,
            self.steps if cache.whole else cut(recording.commits, case.block, self.steps), len(recording.commits),
            stop=False,
        )

    def once(
        self, work: Work, clock: Stopwatch, poll: int = 1, graph: Graph | None = None, model: Model | None = None
    ) -> Once:
        """One pass, from the first forward pass on. Raises `UsageError` if a graph is requested and cannot be
        captured."""
        last: list[Canvas] = []
        runner = Ticking(clock, graph)
        sound(decode(
            model or self.model, work.decoder, work.prompts, length=work.length, windows=work.windows, cache=work.cache,
            rules=work.rules, stop=work.stop, max_steps=work.forwards, poll=poll, runner=runner, final=last.append,
        ))
        return Once(clock.steps, clock.regions, last[0], runner)

    def clock(self, case: Case) -> Stopwatch:
        return Stopwatch(self.device, CLOCKS[case.clock])

    @torch.inference_mode()
    def measure(self, case: Case, repeats: int) -> Latency:
        """The results of a case. Raises `UsageError` for a case that cannot be decoded."""
        self.graph.fuse = case.fused
        work, graph = self.work(case), self.graph if case.graph else None

        def run() -> Once:
            return self.once(work, self.clock(case), case.poll, graph)

        run()
        forget_peak(self.device)
        plainly = [run() for _ in range(repeats)]
        peak = peak_bytes(self.device)
        seen = [self.split(work, self.clock(case)) for _ in range(1 if graph else repeats)]
        (once, forwards), n = seen[0], len(plainly[0].steps)
        c = once.canvas  # the canvas of a graph is padded
        assert c is not None
        few = n if graph else min(n, 8)  # a different number of steps than the measured one would be captured first
        busy = self.busy(lambda: self.once(replace(work, forwards=few), self.clock(case), case.poll, graph), few)
        # steps between the end and the next poll have no effect
        whole = [whole_rows(f.compute, c) for f in forwards] + [False] * n
        asked = sum(int(f.want.sum()) for f in forwards) / n
        computed, reused = (float(x.sum()) / n for x in (c.store.computed, c.store.reused))
        text = Text(work.nfe, work.nfe, case.batch * case.length) if work.nfe else Text(
            float(c.clock.double().mean()), n, sum(len(row_of(c, b, work.decoder).tokens) for b in range(case.batch))
        )
        found = self.latency(
            case, "decoders", plainly, [once for once, _ in seen], text, peak, busy, float(c.store.flops.sum()) / n,
            self.moved(computed, reused, asked), whole[:n],
            self.launches(case, replace(work, forwards=min(n, LAUNCHED))),
        )
        return self.beside(found, plainly[0], whole[:n]) if graph else found

    @cached_property
    def graph(self) -> Graph:
        return Graph(backend=self.backend())
    def backend(self) -> Backend:
        """On a CPU, the substitute for CUDA graphs: it shows that a decoder can be captured, and its times mean
        nothing."""
        return CudaGraphs(self.device) if self.device.type == "cuda" else Recorded()

    def beside(self, found: Latency, once: Once, whole: Sequence[bool]) -> Latency:
        """The results with the memory of the graphs, and the time of the network alone in the same steps."""
        found = replace(found, graph_bytes=self.graph.report().bytes)
        if self.net is None or once.runner is None:
            return found
        clock = lambda: self.clock(found.case)
        times = network_times(self.net, once.runner.again(), once.runner.buckets, self.backend(), clock)
        if times is None:
            return found
        full, cached = by_kind(zip(times, whole, strict=True))
        return replace(found, network=statistics.fmean(times), network_full=full, network_cached=cached)

    def launches(self, case: Case, work: Work) -> dict[str, float]:
        """For every region, the median over the steps of a pass with the decoder and the cache themselves, since their
        replacements that replay recordings launch other operations. The statistics are those in plain torch on every
        device, so that the number is the same."""
        counter = Launches()
        work = replace(work, decoder=get(case.decoder), cache=get_cache(case.cache))
        with counter, stats.using("torch"):
            once, _ = self.split(work, counter.clock(), STORE)
        names = dict.fromkeys(name for spent in once.regions for name in spent)
        return {x: statistics.median(round(spent.get(x, 0.0)) for spent in once.regions) for x in names}

    def split(self, work: Work, clock: Stopwatch, store: str = CACHE) -> tuple[Once, list[Forward]]:
        """A pass in which all regions are timed, and its forward passes."""
        model = Watched(self.model, clock, store)
        work = replace(work, cache=timed_cache(work.cache, clock))
        with hooked(self.net, clock) if self.net is not None else nullcontext():
            return self.once(work, clock, model=model), model.forwards

    def moved(self, computed: float, reused: float, logits: float) -> float:
        """Bytes of one forward pass; 0 if the model is not a transformer whose bytes can be counted."""
        if self.net is None:
            return 0.0
        size = self.net.dtype.itemsize
        return step_bytes(
            weight_bytes(self.net), self.model.column_bytes, computed, reused, logits, size, self.model.vocab
        )

    def busy(self, work: Callable[[], object], steps: int) -> float | None:
        """Milliseconds per step in which the device is busy, from a profile of `steps` steps; None on a CPU."""
        if self.device.type != "cuda":
            return None
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            work()
            torch.cuda.synchronize(self.device)
        cuda = torch.autograd.DeviceType.CUDA  # type: ignore[attr-defined]  # torch has it there and does not export it
        kernels = [e.time_range for e in profile.events() if e.device_type == cuda]
        return covered((k.start, k.end) for k in kernels) / 1e3 / steps

    def latency(
        self, case: Case, way: str, plainly: Sequence[Once], split: Sequence[Once], text: Text, peak: int | None,
        busy: float | None, flops: float, moved: float, whole: Sequence[bool], launches: dict[str, float] | None = None,
    ) -> Latency:
        steps = [(ms, full) for o in plainly for ms, full in zip(o.steps, whole, strict=True)]
        every = sorted(ms for ms, _ in steps)
        names = dict.fromkeys(name for o in split for spent in o.regions for name in spent)
        regions = {name: typical([[spent.get(name, 0.0) for spent in o.regions] for o in split]) for name in names}
        late = every[min(int(0.95 * len(every)), len(every) - 1)]
        parameters = sum(p.numel() for p in self.net.parameters()) if self.net is not None else 0
        full, cached = by_kind(steps)
        return Latency(
            case, way, parameters, len(plainly), len(whole), text.nfe, text.passes, text.tokens,
            statistics.median(every), late, typical([o.steps for o in plainly]), full, cached, regions, busy, peak,
            flops, moved, self.ceilings, launches=launches or {},
        )


def by_kind(steps: Iterable[tuple[float, bool]]) -> tuple[float | None, float | None]:
    """The median of the steps that compute the whole row, and of the others; None if there is no such step."""
    found = list(steps)
    kinds = [[ms for ms, full in found if full is kind] for kind in (True, False)]
    full, cached = (statistics.median(kind) if kind else None for kind in kinds)
    return full, cached


def net_of(loaded: Loaded) -> PreTrainedModel | None:
    """The transformer of a model, if it has one."""
    inner = getattr(loaded.model, "model", None)
    return inner if isinstance(inner, PreTrainedModel) else None


def wanted(case: Case) -> Wanted:
    """The recording that is replayed for a case with random weights."""
    model = "nano:attention=block" if scaled(case.model).block_causal else "nano"
    return Wanted(case.decoder, case.cache, model, case.block, whole_blocks(case.length, case.block))


def random_prompts(case: Case, model: Model) -> Tensor:
    """(B, P) long, without the mask token."""
    highest = min(model.mask_id or model.vocab, model.vocab)
    return torch.randint(0, highest, (case.batch, case.prompt), generator=torch.Generator().manual_seed(0))


def whole_rows(computed: Tensor, c: Canvas) -> bool:
    """Whether each row was computed completely; in a block-causal model that is at most a block and what follows it."""
    return bool((computed | (c.column >= c.limit[:, None])).all())


def typical(repeats: Sequence[Sequence[float]]) -> float:
    """The mean over steps of the median over repeats of each."""
    return statistics.fmean(map(statistics.median, zip(*repeats, strict=True)))


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """The total length of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return total


def forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int | None:
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else None


def guarded(case: Case, way: str, measure: Callable[[], Latency]) -> Latency | Absent:
    """The result, or the reason for its absence: if one case fails, the others are still measured."""
    try:
        return measure()
    except UsageError as e:
        return Absent(case, way, str(e))
    except Exception as e:  # any error of a plugin's strategy, or out of memory
        return Absent(case, way, f"{type(e).__name__}: {next(iter(str(e).splitlines()), '')}")
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
