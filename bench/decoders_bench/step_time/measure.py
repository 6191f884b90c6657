"""The cost of a step without the model's forward pass: the time of `prepare`, the statistics, `step` and `apply` in
milliseconds, and as a multiple of a bare `logits.max(-1)` on the same logits, measured in turn in one run."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from decoders import Blocks, Plan, Pred, apply, get, prepare
from decoders.core import Exact, Shape, layout
from decoders_bench.common.outcome import CLOCKS, Clock


@dataclass(frozen=True)
class Timing:
    decoder: str
    dtype: str
    batch: int
    block: int
    vocab: int
    step_ms: float
    bare_max_ms: float
    clock: Clock = "wall"
    length: int = 0
    """Positions of the canvas; 0: one block."""

    @property
    def ratio(self) -> float:
        return self.step_ms / self.bare_max_ms


def milliseconds(f: Callable[[], object], read: Callable[[], float]) -> float:
    began = read()
    f()
    return (read() - began) * 1e3


Steps = tuple[Callable[[], object], Callable[[], object]]
"""One step without the model's forward pass, and a bare `logits.max(-1)` on its logits."""


@torch.inference_mode()
def prepared(
    spec: str, dtype: torch.dtype, batch: int, block: int = 32, vocab: int = 126_464, device: str = "cpu",
    length: int = 0,
) -> Steps:
    """Prepared for a window in which all positions are open, the first of a canvas of `length` (0: of one block)."""
    decoder = get(spec)
    plan = Plan(decoder, Blocks(block), Exact())
    shape = Shape(mask_id=vocab - 1, vocab=vocab, stop_ids=(vocab - 2,))
    c = layout(
        shape, decoder, [[1, 2, 3]] * batch, length=length or block, keys=range(batch), windows=plan.windows,
        device=device,
    )
    logits = (3 * torch.randn(batch, block, vocab, generator=torch.Generator().manual_seed(0))).to(dtype).to(device)
    f = prepare(plan, c)
    n = int(f.want.sum(-1).max())
    at = f.want.to(torch.uint8).argsort(dim=-1, descending=True, stable=True)[:, :n]
    pred = Pred(logits[:, :n].contiguous(), at, c.width)
    return torch.inference_mode()(lambda: apply(plan, c, prepare(plan, c), replace(pred))), lambda: logits.max(-1)


def time_step(
    spec: str, dtype: torch.dtype, batch: int, block: int = 32, vocab: int = 126_464, repeats: int = 21,
    clock: Clock = "wall", length: int = 0,
) -> Timing:
    """The median over `repeats` steps of a window in which all positions are open, after one warm-up; step and bare
    maximum alternate."""
    step, bare = prepared(spec, dtype, batch, block, vocab, length=length)
    step(), bare()
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(milliseconds(step, CLOCKS[clock]))
        theirs.append(milliseconds(bare, CLOCKS[clock]))
    kind = str(dtype).removeprefix("torch.")
    return Timing(spec, kind, batch, block, vocab, statistics.median(ours), statistics.median(theirs), clock, length)
