"""The statistics kernel compared with a copy of the same logits, and with common implementations."""

from __future__ import annotations

import statistics as numbers
from collections.abc import Callable
from itertools import cycle
from typing import Any

import torch
from torch import Tensor

from decoders import stats
from decoders.engine.backends import Backend, CannotCapture, CudaGraphs, Recorded
from decoders_bench.common.stopwatch import Stopwatch
from decoders_bench.gpu.parts import Part, Task
from decoders_bench.gpu.scale import Scale

ROTATED = 2**28
"""Bytes of logits that are used in rotation, so that none are in a cache of the device when they are read again."""


def float64_confidence(x: Tensor) -> Tensor:
    """As in LLaDA's generation script: the softmax in float64, and from it the probability of the most likely token."""
    return x.double().softmax(-1).gather(-1, x.argmax(-1, keepdim=True))


Asked = Callable[[Tensor, Tensor, Tensor], object]
"""A function of logits (R, V), a tensor of the same shape for output, and (R,) uniform numbers."""
ASKED: dict[str, Asked] = {
    "copy": lambda x, y, u: y.copy_(x),
    "best": lambda x, y, u: stats.of(x).best(),
    "entropy": lambda x, y, u: stats.of(x).entropy(),
    "margin": lambda x, y, u: stats.of(x).margin(),
    "sample": lambda x, y, u: stats.of(x).sample(u, 1.0),
    "max": lambda x, y, u: x.max(-1),
    "softmax + max": lambda x, y, u: x.softmax(-1).max(-1),
    "float64": lambda x, y, u: float64_confidence(x),
}
MOVED = {"copy": 2}
"""The least number of times that every logit is moved; the other functions read it once."""


def backend_of(scale: Scale) -> Backend:
    return CudaGraphs(torch.device(scale.device)) if scale.device == "cuda" else Recorded()


def milliseconds(work: Callable[[], object], scale: Scale, each: int) -> float:
    """The median time of several runs, divided by `each`, the number of calls in a run."""
    watch = Stopwatch(torch.device(scale.device))
    work()
    watch.begin()
    for _ in range(scale.runs):
        work()
        watch.tick()
    return numbers.median(watch.steps) / each


@torch.inference_mode()
def measure(scale: Scale, rows: int, dtype: str, asked: str) -> dict[str, Any]:
    """`launched`: milliseconds from one call to the next, launched by the host; `captured`: milliseconds in a graph,
    which is the time on the device."""
    kind = getattr(torch, dtype)
    size = rows * scale.vocab * kind.itemsize
    sets = max(1, min(ROTATED // size, 32)) if scale.device == "cuda" else 1
    random = torch.Generator(scale.device).manual_seed(0)
    logits = [(3 * torch.randn(rows, scale.vocab, generator=random, device=scale.device)).to(kind) for _ in range(sets)]
    other, u = torch.empty_like(logits[0]), torch.rand(rows, dtype=torch.double, generator=random, device=scale.device)
    work, turn = ASKED[asked], cycle(logits)
    with stats.using("triton"):
        launched = milliseconds(lambda: work(next(turn), other, u), scale, 1)
        captured = captured_milliseconds(lambda: [work(x, other, u) for x in logits], scale, sets)
    moved = size * MOVED.get(asked, 1)
    best = captured or launched
    return {"launched": launched, "captured": captured, "gigabytes_per_second": moved / best / 1e6, "sets": sets}


def captured_milliseconds(body: Callable[[], object], scale: Scale, each: int) -> float | None:
    def run() -> None:
        body()

    try:
        return milliseconds(backend_of(scale).capture(run, lambda: None), scale, each)
    except CannotCapture:
        return None


def part(scale: Scale) -> Part:
    def task(rows: int, dtype: str, asked: str) -> Task:
        return Task(f"kernel/{rows}x{scale.vocab}/{dtype}/{asked}", lambda: measure(scale, rows, dtype, asked))

    every = [task(rows, dtype, asked) for rows in scale.rows for dtype in ("bfloat16", "float32") for asked in ASKED]
    return Part("kernel", 0.1, every)
