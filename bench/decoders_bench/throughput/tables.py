"""The table of throughputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from decoders_bench.common.results import markdown, recorded_on, rows_of
from decoders_bench.throughput.first import First
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


def first_table(rows: Sequence[First]) -> str:
    head = [
        "decoder", "clients", "prompts", "median, engine", "median, batches", "p95, engine", "p95, batches",
        "same texts",
    ]
    return markdown(head, [
        [
            f"`{r.decoder}`", str(r.clients), str(r.prompts), *(
                f"{x:.2f} s" for x in (r.engine_median, r.fixed_median, r.engine_p95, r.fixed_p95)
            ), "yes" if r.same else "no",
        ]
        for r in rows
    ])


def measured_first(path: Path) -> str:
    """The waits for the first settled token in a file as text, with the environment of the measurement."""
    return f"{first_table([First(**row) for row in rows_of(path)])}\n\n{recorded_on(path)}."


def measured(path: Path) -> str:
    """The results in a file as text, with the environment of the measurement."""
    return f"{throughput_table([Throughput(**row) for row in rows_of(path)])}\n\n{recorded_on(path)}."
