"""The measured limits of a device, and the demands of a step: the roofline model's lower bound on its time (Williams,
Waterman and Patterson 2009, CACM 52:65, "Roofline")."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from decoders_bench.common.outcome import CLOCKS, Clock
from decoders_bench.common.stopwatch import Stopwatch

MEGABYTES = {"cuda": 2048, "cpu": 128}  # size of a copy: more than any cache of the device holds
SIDE = {"cuda": 8192, "cpu": 1024}  # side of the square matrices


@dataclass(frozen=True)
class Ceilings:
    """The limits of one device, at one precision."""

    bandwidth: float
    """Bytes per second of a copy, reads and writes both counted."""
    flops: float
    """Operations per second of a product of square matrices; a multiplication and an addition are two operations."""

    def seconds(self, moved: float, flops: float) -> float:
        """The least time for moving these bytes and doing these operations, which overlap."""
        return max(moved / self.bandwidth, flops / self.flops)

    def bound(self, moved: float, flops: float) -> str:
        """Which of the two determines the least time."""
        return "memory" if moved / self.bandwidth > flops / self.flops else "arithmetic"


@torch.inference_mode()
def ceilings(device: str, dtype: torch.dtype, clock: Clock = "wall", repeats: int = 10) -> Ceilings:
    """Medians of `repeats` runs after a warm-up. On a CPU it uses torch's number of threads."""
    where = torch.device(device)
    count = MEGABYTES[where.type] * 2**20 // dtype.itemsize
    # constant matrices would be faster than the inputs of any real model
    source = torch.randn(count, dtype=dtype, device=where)
    target = torch.empty_like(source)
    a, b = (torch.randn(SIDE[where.type], SIDE[where.type], dtype=dtype, device=where) for _ in range(2))

    def seconds(work: Callable[[], object]) -> float:
        watch = Stopwatch(where, CLOCKS[clock])
        for _ in range(3):
            work()
        watch.begin()
        for _ in range(repeats):
            work()
            watch.tick()
        return statistics.median(watch.steps) / 1e3

    moved, spent = seconds(lambda: target.copy_(source)), seconds(lambda: a @ b)
    return Ceilings(2 * count * dtype.itemsize / moved, 2 * SIDE[where.type] ** 3 / spent)


def weight_bytes(net: PreTrainedModel) -> int:
    """The bytes of the weights that every forward pass reads: all but the embedding table, of which it reads a few
    rows."""
    table = net.get_input_embeddings().weight
    head = net.get_output_embeddings().weight
    return sum(p.numel() * p.element_size() for p in net.parameters() if p is not table or p is head)


def step_bytes(
    weights: int, column_bytes: int, computed: float, reused: float, logits: float, itemsize: int, vocab: int
) -> float:
    """The least bytes that a forward pass of a batch moves: the weights once, the keys and values of the computed
    positions written and those of all visible positions read once, and the rows of logits written by the head and read
    by one pass of statistics. Activations are not included."""
    return weights + column_bytes * (2 * computed + reused) + 2 * logits * vocab * itemsize
