"""The table of throughputs."""

from __future__ import annotations

from collections.abc import Sequence

from decoders_bench.common.results import markdown
from decoders_bench.throughput.measure import Throughput


def throughput_table(rows: Sequence[Throughput]) -> str:
    head = [
        "decoder", "rows at a time", "prompts", "tokens/s, engine", "tokens/s, fixed batches", "ratio",
        "slots taken, engine", "slots taken, fixed", "same texts",
    ]
    return markdown(head, [
        [
            f"`{r.decoder}`", str(r.batch), str(r.prompts), f"{r.tokens / r.engine_seconds:.0f}",
            f"{r.tokens / r.fixed_seconds:.0f}", f"{r.ratio:.2f}", f"{r.engine_occupied:.0%}",
            f"{r.fixed_occupied:.0%}", "yes" if r.same else "no",
        ]
        for r in rows
    ])
