"""What caches save on a model of LLaDA's shape: milliseconds a step, and tokens a second from prompt to text.

The weights are random, so nothing is downloaded. A run on `nano` under the same cache says how many tokens are committed in which
forward and when EntropyCache refreshes (`decoders_bench.replay`), so a cache that costs forwards there costs them here. All are
measured in turn in one process, against a plain loop over the full canvas (`decoders_bench.plain`) that spends those of `none`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from decoders import Blocks, Forward, Pred, UsageError, decode, get, get_cache
from decoders.caches.entropycache import EntropyCache
from decoders.core.canvas import Canvas
from decoders.models.adapter import TransformersModel
from decoders_bench.evaluate import loaded
from decoders_bench.outcome import CLOCKS, Clock
from decoders_bench.plain import plain_decode, see_both_ways
from decoders_bench.replay import Recording, Replayed, ReplayedEntropyCache, record
from decoders_bench.tasks import TASKS, items

PLAIN = "plain loop"
RECORDED = (("chain", "hard"), ("answer_first", "hard"), ("sudoku", "hard"), ("ledger", "easy"))
"""Tasks whose validation items the recorded blocks are of, in turn."""


@dataclass(frozen=True)
class Shape:
    """Of LLaDA-8B (Nie et al. 2025, 2502.09992, appendix B.2), or smaller in its proportions."""

    hidden: int
    layers: int
    heads: int
    inner: int
    vocab: int = 126_464


SHAPES = {"llada-8b": Shape(4096, 32, 32, 12_288), "llada-1b": Shape(1792, 14, 14, 5376), "tiny": Shape(64, 2, 2, 192, 1024)}


def build(shape: Shape, device: str, dtype: torch.dtype, positions: int) -> LlamaForCausalLM:
    """Random weights, made on the device."""
    config = LlamaConfig(
        hidden_size=shape.hidden, num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.heads,
        intermediate_size=shape.inner, vocab_size=shape.vocab, max_position_embeddings=max(positions, 4096), tie_word_embeddings=False,
        bos_token_id=None, eos_token_id=None,
    )
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return LlamaForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(before)


@dataclass(frozen=True)
class Run:
    """What is measured."""

    shape: str
    device: str
    dtype: str
    batch: int
    prompt: int
    length: int
    block: int
    decoder: str = "threshold:tau=0.9"
    clock: Clock = "wall"


@dataclass(frozen=True)
class Timed:
    """One way of decoding. Milliseconds are medians over all steps of that kind in all repeats; None where there is no such step."""

    run: Run
    parameters: int
    way: str
    """A cache's spec, or the plain loop."""
    repeats: int
    nfe: int
    computed: int
    """Positions a row, in all forwards."""
    hit_rate: float
    full_ms: float
    """A step that computes every position."""
    cached_ms: float | None
    """A step that reads some from the store."""
    seconds: float
    """From prompt to text: the sum over steps of each one's median over repeats, so that what else the machine does in one repeat is
    left out."""
    ratio: float
    """Of the plain loop's seconds."""
    peak_bytes: int | None
    """Allocated on the device at most, weights included; None where torch cannot tell."""

    @property
    def tokens_per_second(self) -> float:
        """Of all rows together."""
        return self.run.batch * self.run.length / self.seconds

    @property
    def step_ms(self) -> float:
        """The mean."""
        return 1e3 * self.seconds / self.nfe


@dataclass
class Watch:
    """Milliseconds between its calls, after the device has finished."""

    device: torch.device
    read: Callable[[], float]
    """Seconds."""
    steps: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.last = self.now()

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self.read()

    def tick(self) -> None:
        now = self.now()
        self.steps.append(1e3 * (now - self.last))
        self.last = now


@dataclass(frozen=True)
class Once:
    """One way, one time."""

    steps: list[float]
    full: list[bool]
    computed: int
    reused: int
    peak: int | None


class Ways:
    """All ways of decoding, on one model."""

    def __init__(self, run: Run, net: LlamaForCausalLM, recordings: dict[str, Recording]) -> None:
        self.run, self.net, self.recordings = run, net, recordings
        see_both_ways(net)
        self.mask = net.config.vocab_size - 1
        self.model = TransformersModel(net, mask_id=self.mask)
        random = torch.Generator().manual_seed(0)
        self.prompts = torch.randint(0, self.mask, (run.batch, run.prompt), generator=random)

    def once(self, way: str, forwards: int | None = None) -> Once:
        """One run, or the first `forwards` of it."""
        device = self.model.device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        clock = Watch(device, CLOCKS[self.run.clock])
        done = self.plain(clock, forwards) if way == PLAIN else self.cached(way, clock, forwards)
        peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
        return Once(clock.steps, *done, peak)

    def plain(self, clock: Watch, forwards: int | None) -> tuple[list[bool], int, int]:
        counts = self.recordings["none"].commits[:forwards]
        plain_decode(self.net, self.prompts.to(clock.device), self.run.length, self.run.block, counts, self.mask, clock.tick)
        return [True] * len(counts), len(counts) * (self.run.prompt + self.run.length), 0

    def cached(self, way: str, clock: Watch, forwards: int | None) -> tuple[list[bool], int, int]:
        cache, recording = get_cache(way), self.recordings[way]
        decoder = Replayed(get(self.run.decoder), recording.commits)
        cache = ReplayedEntropyCache(recording.refreshes, cache.k) if isinstance(cache, EntropyCache) else cache
        asked: list[Tensor] = []

        def watch(f: Forward, p: Pred, c: Canvas) -> None:
            asked.append(f.compute)
            clock.tick()

        rows = decode(
            self.model, decoder, self.prompts.tolist(), length=self.run.length, windows=Blocks(self.run.block), cache=cache,
            max_steps=forwards, watch=watch,
        )
        whole = [bool(x[:, :-1].all()) for x in asked]
        return whole, rows[0].positions_computed, rows[0].positions_reused


def recorded(run: Run, cache: str) -> Recording:
    """What nano does with its own tasks under the decoder of a run and a cache. Raises `UsageError` for a canvas of no whole blocks."""
    nano = loaded("nano")
    blocks, rest = divmod(run.length, run.block)
    if rest:
        raise UsageError(f"a canvas of {run.length} is not made of blocks of {run.block}")
    drawn = [[(x, TASKS[task].length[rung]) for x in items(TASKS[task], rung, "validation", blocks)] for task, rung in RECORDED]
    prompts = ((nano.tokenizer.encode(x.prompt), length) for turn in zip(*drawn, strict=True) for x, length in turn)
    return record(nano, get(run.decoder), get_cache(cache), prompts, block=run.block, blocks=blocks)


def time_caches(
    run: Run, caches: Sequence[str], repeats: int, notify: Callable[[], None] = lambda: None, warm: int = 2,
) -> list[Timed]:
    """The plain loop and every cache, in turn, after `warm` forwards of each. Raises `UsageError` where CPU time would say nothing."""
    if run.clock == "cpu" and (torch.device(run.device).type != "cpu" or torch.get_num_threads() > 1):
        raise UsageError("CPU time is that of one thread: it needs --device cpu and --threads 1")
    recordings = {spec: recorded(run, spec) for spec in ("none", *caches)}
    net = build(SHAPES[run.shape], run.device, getattr(torch, run.dtype), run.prompt + run.length)
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


def timed(run: Run, net: LlamaForCausalLM, way: str, own: Sequence[Once], plain: Sequence[Once]) -> Timed:
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
    """Seconds from prompt to text, by every step's median."""
    return sum(map(statistics.median, zip(*(o.steps for o in own), strict=True))) / 1e3
