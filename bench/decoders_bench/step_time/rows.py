"""The cost of each statistic of rows of logits: with the compiled kernel, with the torch reference, and as commonly
written, compared with a bare `logits.max(-1)` on the same logits, all measured in turn in one run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from decoders import stats
from decoders_bench.common.outcome import CLOCKS, Clock
from decoders_bench.common.results import markdown, rows_of
from decoders_bench.step_time.measure import milliseconds

COOL = 0.7  # a temperature that is not 1


@dataclass(frozen=True)
class RowTime:
    """Medians in milliseconds of CPU time or of wall time."""

    asked: str
    dtype: str
    batch: int
    vocab: int
    bare_max_ms: float
    naive_ms: float
    torch_ms: float
    compiled_ms: float
    clock: Clock = "cpu"

    @property
    def ratio(self) -> float:
        return self.compiled_ms / self.bare_max_ms


Asked = Callable[[stats.Statistics, Tensor, Tensor], object]
"""The functions that compute statistics, given uniform numbers (R,) and hashes (R,)."""
ASKED: dict[str, tuple[Asked, Callable[[Tensor], object]]] = {
    "best": (lambda s, u, h: s.best(), lambda x: x.float().softmax(-1).max(-1)),
    "entropy": (lambda s, u, h: s.entropy(), lambda x: plain_entropy(x.float().log_softmax(-1))),
    "margin": (lambda s, u, h: s.margin(), lambda x: x.float().softmax(-1).topk(2)),
    "sample": (lambda s, u, h: s.sample(u, 1.0), lambda x: x.float().softmax(-1).multinomial(1)),
    "sample, 0.7": (lambda s, u, h: s.sample(u, COOL), lambda x: (x.float() / COOL).softmax(-1).multinomial(1)),
    "race": (lambda s, u, h: s.race(h, 1.0), lambda x: (x - torch.empty_like(x).exponential_().log()).argmax(-1)),
}
"""Each statistic in the library's form, and in the common form without a library."""


def plain_entropy(log_p: Tensor) -> Tensor:
    return -(log_p.exp() * log_p).sum(-1)


@torch.inference_mode()
def time_rows(
    asked: str, dtype: torch.dtype, batch: int, vocab: int, repeats: int = 11, clock: Clock = "cpu"
) -> RowTime:
    """The times, with new random numbers in every turn. Raises `UsageError` if the kernel cannot be compiled."""
    random = torch.Generator().manual_seed(0)
    x = (3 * torch.randn(batch, vocab, generator=random)).to(dtype)
    u = torch.rand(repeats + 1, batch, dtype=torch.double, generator=random)
    h = torch.randint(-(2**63), 2**63 - 1, u.shape, generator=random)
    ours, naive = ASKED[asked]

    def by(choice: stats.Choice, turn: int) -> object:
        with stats.using(choice):
            return ours(stats.of(x), u[turn], h[turn])

    ways: list[Callable[[int], object]] = [
        lambda turn: x.max(-1), lambda turn: naive(x), lambda turn: by("torch", turn), lambda turn: by("compiled", turn)
    ]
    read = CLOCKS[clock]
    spent = [[milliseconds(partial(way, turn), read) for way in ways] for turn in range(repeats + 1)][1:]
    bare, written, plain, fast = (statistics.median(column) for column in zip(*spent, strict=True))
    return RowTime(asked, str(dtype).removeprefix("torch."), batch, vocab, bare, written, plain, fast, clock)


def load_rows(path: Path) -> list[RowTime]:
    return [RowTime(**row) for row in rows_of(path)]


def rows_table(found: Sequence[RowTime]) -> str:
    """A line for each shape; for each statistic the multiples of the bare maximum."""
    shapes = list(dict.fromkeys((r.vocab, r.batch, r.dtype) for r in found))
    of = {(r.vocab, r.batch, r.dtype, r.asked): r for r in found}
    lines = []
    for V, B, dtype in shapes:
        own = [of[V, B, dtype, asked] for asked in ASKED if (V, B, dtype, asked) in of]
        bare = statistics.median(r.bare_max_ms for r in own)
        lines.append([f"{V:,}", str(B), dtype, f"{bare:.3f}", *(multiples(r) for r in own)])
    asked = [a for a in ASKED if any(r.asked == a for r in found)]
    return markdown(["vocabulary", "rows", "logits", "bare max, ms", *asked], lines)


def multiples(r: RowTime) -> str:
    naive, plain = r.naive_ms / r.bare_max_ms, r.torch_ms / r.bare_max_ms
    return f"{naive:.1f} / {plain:.1f} / **{r.ratio:.2f}**"
