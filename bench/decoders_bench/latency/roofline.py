"""What a device can do, measured, and what a step asks of it: the time that it cannot take less than (Williams,
Waterman and Patterson 2009, CACM 52:65, "Roofline")."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from decoders_bench.common.outcome import CLOCKS, Clock
from decoders_bench.common.stopwatch import Stopwatch

MEGABYTES = {"cuda": 2048, "cpu": 128}  # copied at a time: more than any cache of the device holds
SIDE = {"cuda": 8192, "cpu": 1024}  # of the square matrices


@dataclass(frozen=True)
class Ceilings:
    """Of one device, at one precision."""

    bandwidth: float
    """Bytes a second, read and written, of a copy."""
    flops: float
    """Of a product of square matrices, a multiplication and an addition being two."""

    def seconds(self, moved: float, flops: float) -> float:
        """What moving so many bytes and doing so many operations takes at least, the one beside the other."""
        return max(moved / self.bandwidth, flops / self.flops)

    def bound(self, moved: float, flops: float) -> str:
        """Which of the two it waits for."""
        return "memory" if moved / self.bandwidth > flops / self.flops else "arithmetic"


@torch.inference_mode()
def ceilings(device: str, dtype: torch.dtype, clock: Clock = "wall", repeats: int = 10) -> Ceilings:
    """Medians of `repeats`, after warming up. On a CPU with the threads that torch has."""
    where = torch.device(device)
    count = MEGABYTES[where.type] * 2**20 // dtype.itemsize
    # a product of constants is faster than any that is asked of a model
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
    """What every forward reads of the weights: all but the table of embeddings, of which it takes a few rows."""
    table = net.get_input_embeddings().weight
    head = net.get_output_embeddings().weight
    return sum(p.numel() * p.element_size() for p in net.parameters() if p is not table or p is head)


def step_bytes(
    weights: int, column_bytes: int, computed: float, reused: float, logits: float, itemsize: int, vocab: int
) -> float:
    """What one forward of a batch moves at least: the weights once, the keys and values of what is computed written and
    those of all that is seen read once, and the rows of logits written by the head and read by one pass of statistics.
    Activations are left out."""
    return weights + column_bytes * (2 * computed + reused) + 2 * logits * vocab * itemsize
