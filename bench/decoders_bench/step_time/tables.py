"""The table of step times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from decoders_bench.common.results import markdown, rows_of
from decoders_bench.step_time.measure import Timing


def load_timings(path: Path) -> list[Timing]:
    return [Timing(**row) for row in rows_of(path)]


def timing_table(timings: Sequence[Timing]) -> str:
    rows = [
        [f"`{t.decoder}`", t.dtype, str(t.batch), f"{t.step_ms:.1f}", f"{t.bare_max_ms:.1f}", f"{t.ratio:.2f}"]
        for t in sorted(timings, key=lambda t: (t.decoder, t.dtype, t.batch))
    ]
    return markdown(["decoder", "logits", "batch", "step, ms", "bare max, ms", "ratio"], rows)
