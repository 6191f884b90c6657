"""The time of a step, and of its parts, for decoders and caches on one model.

Given only a shape the weights are random; how many tokens which forward commits is then what the same decoder and cache did on `nano`
(`decoders_bench.common.replay`), and a run is cut after a number of whole windows, since steps repeat. Given a model, its own answers
decide and the prompts are items of a task. Steps are timed in a pass of their own; a second pass splits them, whose marks cost time
themselves.
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

from decoders import Blocks, Cache, Decoder, Forward, Model, Plan, Suppress, UsageError, decode, get, get_cache
from decoders.caches.entropycache import EntropyCache
from decoders.core import Canvas, Eager, Rule, Run, Windows, check, row_of
from decoders.engine import Graph, Recorded
from decoders.models.loaded import Loaded
from decoders_bench.common.outcome import CLOCKS, Clock
from decoders_bench.common.replay import Replayed, ReplayedEntropyCache, whole_blocks
from decoders_bench.common.shapes import adapted, build, scaled
from decoders_bench.common.stopwatch import Stopwatch
from decoders_bench.latency.recordings import Recordings, Wanted, cut
from decoders_bench.latency.roofline import Ceilings, step_bytes, weight_bytes
from decoders_bench.latency.split import DECISION, FORWARD, Watched, hooked, timed_cache
from decoders_bench.tasks import TASKS, items

TASK = ("chain", "hard")
"""Whose validation items are the prompts of a model that has a tokenizer."""


@dataclass(frozen=True)
class Case:
    """What is measured."""

    model: str
    """The name of a shape, or the spec of a model."""
    device: str
    dtype: str
    batch: int
    prompt: int
    """Positions; of a model with a tokenizer 0, since its prompts are those of a task."""
    length: int
    block: int
    decoder: str
    cache: str
    layers: int | None = None
    """Of the shape only so many; None: all."""
    compiled: bool = False
    graph: bool = False
    """Steps are captured graphs (`decoders.engine.Graph`)."""
    poll: int = 1
    """The host looks whether rows are done every so many steps."""
    clock: Clock = "wall"


@dataclass(frozen=True)
class Latency:
    """One way of decoding. Times are milliseconds a step of the whole batch; p50 and p95 are over all steps of all repeats, and `mean` is
    that of each step's median over repeats, so that what else the machine does in one repeat is left out."""

    case: Case
    way: str
    """`decoders`, or the peer."""
    parameters: int
    repeats: int
    forwards: int
    """Measured in each repeat."""
    nfe: float
    """Of a row, for the whole text,"""
    passes: int
    """and of the batch, which goes on until its last row is done."""
    tokens: int
    """Of the texts of all rows; neither prompt nor padding."""
    p50: float
    p95: float
    mean: float
    full: float | None
    """The median of steps that compute the whole row; None where there is no such step."""
    cached: float | None
    """And of those that do not."""
    split: dict[str, float]
    """The mean of each region (`decoders_bench.latency.split.REGIONS`), from a pass that is slower by its marks and never captured."""
    busy: float | None
    """Of the step, the time in which the device runs a kernel; None where there is no profile of it."""
    peak_bytes: int | None
    """Allocated on the device at most, weights included; None where torch cannot tell."""
    flops: float
    """Of one forward, padding left out,"""
    moved: float
    """and the bytes that it moves at least."""
    ceilings: Ceilings | None = None
    graph_bytes: int | None = None
    """Memory of the captured graphs, where there are some."""

    @property
    def tokens_per_second(self) -> float:
        """If all steps are like those that were measured."""
        return 1e3 * self.tokens / (self.mean * self.passes)

    @property
    def tokens_per_forward(self) -> float:
        """Of one row."""
        return self.tokens / self.case.batch / self.nfe

    @property
    def ours(self) -> float:
        """The share of the split step that is not the model's forward."""
        return 1 - self.split.get(FORWARD, 0.0) / sum(self.split.values())

    @property
    def idle(self) -> float | None:
        """The share of the step in which the device waits for the host."""
        return None if self.busy is None else max(1 - self.busy / self.mean, 0.0)

    @property
    def roof(self) -> float | None:
        """Milliseconds that the step cannot take less than."""
        return None if self.ceilings is None else 1e3 * self.ceilings.seconds(self.moved, self.flops)

    @property
    def achieved(self) -> float | None:
        """The roof as a share of the step."""
        return None if self.roof is None else self.roof / self.mean


@dataclass(frozen=True)
class Absent:
    """What could not be measured, and why."""

    case: Case
    way: str
    reason: str


@dataclass(frozen=True)
class Once:
    """One pass."""

    steps: list[float]
    regions: list[dict[str, float]]
    canvas: Canvas | None = None
    """At the end, where it was the library's loop."""


@dataclass(frozen=True)
class Text:
    """What the texts of a batch take, and how long they are: see `Latency`."""

    nfe: float
    passes: int
    tokens: int


@dataclass(frozen=True)
class Work:
    """What is decoded, and how."""

    decoder: Decoder
    cache: Cache
    windows: Windows
    rules: tuple[Rule, ...]
    prompts: list[list[int]]
    length: int
    forwards: int | None
    """None: until all rows are done."""
    nfe: int | None
    """Of the whole text, where it is known before."""
    stop: bool


class Ticking:
    """A runner (`decoders.core.Runner`) of the library's own loop, or of a graph, that ends a step of the clock with each of its."""

    def __init__(self, clock: Stopwatch, graph: Graph | None = None) -> None:
        self.clock, self.graph = clock, graph

    def start(self, model: Model, plan: Plan, lay: Callable[..., Canvas]) -> Run:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # why there is no graph is raised instead
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

    def step(self) -> None:
        with self.clock.region(DECISION):  # what is not in another region inside of it
            self.run.step()
        self.clock.tick()

    def live(self) -> bool:
        return self.run.live()

    def put(self, c: Canvas) -> None:
        self.run.put(c)


class Bench:
    """One model, and everything that is measured on it."""

    def __init__(
        self, case: Case, recordings: Recordings, ceilings: Ceilings | None = None, steps: int = 16, loaded: Loaded | None = None,
    ) -> None:
        """`steps`: forwards to measure, at most: as many whole windows as they hold, or one, and without a cache, where all forwards of a
        window are alike, exactly these. Those of a model that is `loaded` are not cut."""
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
        """Raises `UsageError` for what this model, or `nano` before it, cannot decode so."""
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
            self.steps if cache.whole else cut(recording.commits, case.block, self.steps), len(recording.commits), stop=False,
        )

    def once(self, work: Work, clock: Stopwatch, poll: int = 1, graph: Graph | None = None, model: Model | None = None) -> Once:
        """One pass, from the first forward on. Raises `UsageError` where a graph is wanted and there can be none."""
        last: list[Canvas] = []
        decode(
            model or self.model, work.decoder, work.prompts, length=work.length, windows=work.windows, cache=work.cache, rules=work.rules,
            stop=work.stop, max_steps=work.forwards, poll=poll, runner=Ticking(clock, graph), final=last.append,
        )
        return Once(clock.steps, clock.regions, last[0])

    def clock(self, case: Case) -> Stopwatch:
        return Stopwatch(self.device, CLOCKS[case.clock])

    @torch.inference_mode()
    def measure(self, case: Case, repeats: int) -> Latency:
        """Raises `UsageError` for what cannot be decoded."""
        work, graph = self.work(case), self.graph if case.graph else None

        def run() -> Once:
            return self.once(work, self.clock(case), case.poll, graph)

        run()
        forget_peak(self.device)
        plainly = [run() for _ in range(repeats)]
        peak = peak_bytes(self.device)
        seen = [self.split(work, self.clock(case)) for _ in range(repeats)]
        (once, forwards), n = seen[0], len(plainly[0].steps)
        c = once.canvas  # that of a graph is padded
        assert c is not None
        short = replace(work, forwards=min(n, 8))
        busy = self.busy(lambda: self.once(short, self.clock(case), case.poll, graph), min(n, 8))
        whole = [whole_rows(f.compute, c) for f in forwards] + [False] * n  # steps between the end and the next poll do nothing
        asked = sum(int(f.want.sum()) for f in forwards) / n
        computed, reused = (float(x.sum()) / n for x in (c.store.computed, c.store.reused))
        text = Text(work.nfe, work.nfe, case.batch * case.length) if work.nfe else Text(
            float(c.clock.double().mean()), n, sum(len(row_of(c, b, work.decoder).tokens) for b in range(case.batch))
        )
        found = self.latency(
            case, "decoders", plainly, [once for once, _ in seen], text, peak, busy, float(c.store.flops.sum()) / n,
            self.moved(computed, reused, asked), whole[:n],
        )
        return replace(found, graph_bytes=graph.report().bytes) if graph else found

    @cached_property
    def graph(self) -> Graph:
        """On a CPU, what stands in for graphs there: it shows that a decoder can be captured, and no time."""
        return Graph(backend=None if self.device.type == "cuda" else Recorded())

    def split(self, work: Work, clock: Stopwatch) -> tuple[Once, list[Forward]]:
        """A pass of which all regions are timed, and its forwards."""
        model = Watched(self.model, clock)
        work = replace(work, cache=timed_cache(work.cache, clock))
        with hooked(self.net, clock) if self.net is not None else nullcontext():
            return self.once(work, clock, model=model), model.forwards

    def moved(self, computed: float, reused: float, logits: float) -> float:
        """Bytes of one forward; 0 where the model is no transformer that can be counted."""
        if self.net is None:
            return 0.0
        size = self.net.dtype.itemsize
        return step_bytes(weight_bytes(self.net), self.model.column_bytes, computed, reused, logits, size, self.model.vocab)

    def busy(self, work: Callable[[], object], steps: int) -> float | None:
        """Milliseconds a step in which the device runs something, by a profile of so many steps; None on a CPU."""
        if self.device.type != "cuda":
            return None
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            work()
            torch.cuda.synchronize(self.device)
        cuda = torch.autograd.DeviceType.CUDA  # type: ignore[attr-defined]  # torch has it there and does not export it
        kernels = [e.time_range for e in profile.events() if e.device_type == cuda]
        return covered((k.start, k.end) for k in kernels) / 1e3 / steps

    def latency(
        self, case: Case, way: str, plainly: Sequence[Once], split: Sequence[Once], text: Text, peak: int | None, busy: float | None,
        flops: float, moved: float, whole: Sequence[bool],
    ) -> Latency:
        steps = [(ms, full) for o in plainly for ms, full in zip(o.steps, whole, strict=True)]
        kinds = [[ms for ms, full in steps if full is kind] for kind in (True, False)]
        every = sorted(ms for ms, _ in steps)
        names = dict.fromkeys(name for o in split for spent in o.regions for name in spent)
        regions = {name: typical([[spent.get(name, 0.0) for spent in o.regions] for o in split]) for name in names}
        late = every[min(int(0.95 * len(every)), len(every) - 1)]
        parameters = sum(p.numel() for p in self.net.parameters()) if self.net is not None else 0
        full, cached = (statistics.median(kind) if kind else None for kind in kinds)
        return Latency(
            case, way, parameters, len(plainly), len(whole), text.nfe, text.passes, text.tokens, statistics.median(every), late,
            typical([o.steps for o in plainly]), full, cached, regions, busy, peak, flops, moved, self.ceilings,
        )



def net_of(loaded: Loaded) -> PreTrainedModel | None:
    """The transformer in a model, if there is one."""
    inner = getattr(loaded.model, "model", None)
    return inner if isinstance(inner, PreTrainedModel) else None


def wanted(case: Case) -> Wanted:
    """The recording that a case of a shape replays."""
    model = "nano:attention=block" if scaled(case.model).block_causal else "nano"
    return Wanted(case.decoder, case.cache, model, case.block, whole_blocks(case.length, case.block))


def random_prompts(case: Case, model: Model) -> Tensor:
    """(B, P) long, without the mask token."""
    highest = min(model.mask_id or model.vocab, model.vocab)
    return torch.randint(0, highest, (case.batch, case.prompt), generator=torch.Generator().manual_seed(0))


def whole_rows(computed: Tensor, c: Canvas) -> bool:
    """Everything that plays a part was computed; in a block-causal model that is never more than a block and what is behind it."""
    return bool((computed | (c.column >= c.limit[:, None])).all())


def typical(repeats: Sequence[Sequence[float]]) -> float:
    """The mean over steps of each one's median over repeats."""
    return statistics.fmean(map(statistics.median, zip(*repeats, strict=True)))


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """The length of the union of intervals."""
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
    """What was measured, or why it was not: one case that cannot be is no reason to lose the others."""
    try:
        return measure()
    except UsageError as e:
        return Absent(case, way, str(e))
    except Exception as e:  # whatever a strategy that was found by its name does; out of memory is one of them
        return Absent(case, way, f"{type(e).__name__}: {next(iter(str(e).splitlines()), '')}")
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
